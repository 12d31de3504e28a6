//! `config`, `reconfig` and local watches on an ensemble of three, typed into ZooKeeper's shell and
//! into ours: the same dialogues, one after the other, on the same servers.
//!
//! A dialogue leaves the members as it found them. Members 4 and 5 are observers that nobody
//! starts: a change waits for those who vote. Ports are written by their names (`q4`, `e4`, `c4`),
//! versions of the configuration are numbered in the order in which they appear.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::{say, typed_into};
use crate::Findings;
use crate::ensemble::{Ensemble, Kind, Plan, Programs};
use crate::peers::Peers;
use crate::transcript::{self, Case, Normaliser};

/// Lines, and below which chroot.
const DIALOGUES: [(&str, &str); 2] = [
    (
        "",
        "\
reconfig -remove 3
addauth digest super:secret
config
config -c
config -s
config -w
reconfig -add server.4=127.0.0.1:q4:e4:observer;127.0.0.1:c4
config -c
reconfig -s -remove 4
reconfig -add server.4=127.0.0.1:q4:e4:observer;c4,server.5=127.0.0.1:q5:e5:observer;127.0.0.1:c5
config -c
reconfig -remove 4,5
reconfig -members <all>
reconfig -file <file>
reconfig -remove 9
reconfig -v 1 -remove 3
reconfig -add server.4=nonsense
reconfig -members server.1=nonsense
reconfig
reconfig -add a -members b
reconfig -members a -file b
reconfig -v zz -remove 3
config
create /app x
get -w /app
removewatches /app -d -l
set /app y
get -w /app
removewatches /app -l
set /app z
removewatches /app -l
ls -w /app
removewatches /app -c -l
create /app/a x
deleteall /app
quit",
    ),
    (
        "/zookeeper",
        "\
addauth digest super:secret
config -w
config -c
reconfig -add server.4=127.0.0.1:q4:e4:observer;127.0.0.1:c4
reconfig -remove 4
ls /
quit",
    ),
];

/// Types all dialogues into both shells, on three servers of this kind.
///
/// # Errors
/// When the servers or a shell cannot be run.
pub(super) fn run(
    peers: &Peers,
    kind: Kind,
    binary: &Path,
    dir: &Path,
    progress: &mut dyn FnMut(&str),
) -> Result<Findings> {
    let mut findings = Findings::default();
    let programs = Programs::fetch(peers, [kind], Some(binary.to_owned()), progress)?;
    let plan = Plan::new(&[kind; 3], dir).reconfigurable(&[kind; 2]);
    let mut ensemble = Ensemble::lay_out(&programs, &plan)?;
    ensemble.start_all(&[1, 2, 3])?;
    ensemble.await_serving(&[1, 2, 3])?;
    let lines: Vec<String> = [1, 2, 3]
        .iter()
        .map(|sid| format!("server.{sid}=127.0.0.1:q{sid}:e{sid}:participant;127.0.0.1:c{sid}"))
        .map(|line| ensemble.with_ports(&line))
        .collect();
    let file = dir.join("members.cfg");
    std::fs::write(&file, lines.join("\n") + "\n")?;
    let stage = Stage { ensemble, file, all: lines.join(",") };

    progress("on an ensemble");
    let addr = stage.ensemble.addr(1)?.to_string();
    // So that no version is one that a later dialogue does not see.
    let first = format!("addauth digest super:secret\nreconfig -members {}\n", stage.all);
    let (exit, _, err) = say(binary, &addr, &["-waitforconnection".to_owned()], &first)?;
    ensure!(exit == 0, "the first reconfiguration: {err}");
    for (number, (chroot, typed)) in DIALOGUES.iter().enumerate() {
        let (case, ours) = stage.dialogue(peers, binary, &(addr.clone() + chroot), typed)?;
        // What everybody hears, and what the last line of it says.
        findings.checks += case.outcome.len();
        let difference = transcript::difference(&case, &ours);
        findings.errors.extend(difference.map(|text| format!("dialogue {number}: {text}")));
    }
    Ok(findings)
}

struct Stage {
    ensemble: Ensemble,
    /// A file with all members.
    file: PathBuf,
    /// All members.
    all: String,
}

impl Stage {
    /// What ZooKeeper's shell makes of it, and ours.
    fn dialogue(
        &self,
        peers: &Peers,
        binary: &Path,
        server: &str,
        typed: &str,
    ) -> Result<(Case, Vec<String>)> {
        let text = self.ensemble.with_ports(typed) + "\n";
        let file = self.file.to_str().context("a path in UTF-8")?;
        let text = text.replace("<all>", &self.all).replace("<file>", file);
        let theirs = self.outcome(theirs(peers, server, &text)?);
        let ours = say(binary, server, &["-waitforconnection".to_owned()], &text)?;
        let typed = typed.lines().map(str::to_owned).collect();
        Ok((Case { typed, piped: true, outcome: theirs }, self.outcome(ours)))
    }

    fn outcome(&self, (exit, out, err): (i32, String, String)) -> Vec<String> {
        let server = self.ensemble.with_names("127.0.0.1:c1");
        let [out, err] = [out, err].map(|text| numbered(&self.ensemble.with_names(&text)));
        let mut lines = Normaliser::new(&server).outcome(exit, &out, &err);
        lines.iter_mut().for_each(sort_addresses);
        lines
    }
}

/// Versions of the configuration by the order in which they appear.
fn numbered(text: &str) -> String {
    let mut text = text.to_owned();
    let mut number = 0;
    while let Some(at) = text.find("version=").filter(|_| number < 100) {
        let rest = &text[at + "version=".len()..];
        let end = rest.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(rest.len());
        let version = rest[..end].to_owned();
        number += 1;
        text.replace_range(at..at + "version=".len() + end, &format!("version <{number}>"));
        if version.len() > 3 {
            text = text.replace(&format!("version={version}"), &format!("version <{number}>"));
            text = text.replace(&format!("{version} "), &format!("<{number}> "));
        }
    }
    text
}

/// ZooKeeper's shell names the addresses of clients in the order of a hash table.
fn sort_addresses(line: &mut String) {
    let (before, list) = line.rsplit_once(' ').unwrap_or_default();
    let mut addresses: Vec<&str> = list.split(',').collect();
    if before.ends_with('>') && addresses.len() > 1 {
        addresses.sort_unstable();
        *line = format!("{before} {}", addresses.join(","));
    }
}

fn theirs(peers: &Peers, server: &str, input: &str) -> Result<(i32, String, String)> {
    let jvm = [
        "-Xmx128m",
        "-XX:TieredStopAtLevel=1",
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=off",
        "-Duser.timezone=UTC",
    ];
    let jvm = jvm.map(String::from);
    let mut command: Command = peers.java(&jvm, "org.apache.zookeeper.ZooKeeperMain");
    command.args(["-server", server, "-waitforconnection"]);
    let (exit, out, err) = typed_into(command, input)?;
    // What its terminal library says about there being no terminal.
    let noise = |line: &&str| line.contains("jline") || line.contains("system terminal");
    let err: String =
        err.lines().filter(|line| !noise(line)).fold(String::new(), |all, line| all + line + "\n");
    Ok((exit, out, err))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_numbered_as_they_appear() {
        let text = "a\nversion=10000000a\n10000000a h:1\nversion=200000001\nversion=10000000a";
        let expected = "a\nversion <1>\n<1> h:1\nversion <2>\nversion <1>";
        assert_eq!(numbered(text), expected);
    }

    #[test]
    fn addresses_are_sorted_and_nothing_else_is() {
        for (line, sorted) in [
            ("out| 4] <1> h:2,<server>,h:1", "out| 4] <1> <server>,h:1,h:2"),
            ("out| [a, b]", "out| [a, b]"),
            ("out| server.1=b:1:2;c,a", "out| server.1=b:1:2;c,a"),
        ] {
            let mut line = line.to_owned();
            sort_addresses(&mut line);
            assert_eq!(line, sorted);
        }
    }
}
