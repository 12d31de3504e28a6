//! config and reconfig: the members of the ensemble.
//!
//! Options that do not go together are refused before anything is sent. Whether the members make
//! sense is for the leader to say, which alone knows.

use std::collections::BTreeMap;

use oxkeeper_client::Reconfig;
use serde_json::json;

use crate::failure::Failure;
use crate::flags::Given;
use crate::session::Watched;
use crate::shell::{OnPath, Shell};
use crate::show;
use crate::table;

const PATH: &str = "/zookeeper/config";

/// `config [-c] [-w] [-s]`.
///
/// # Errors
/// If it cannot be read.
pub async fn config(shell: &mut Shell, given: &Given) -> Result<(), Failure> {
    let session = shell.session()?;
    // Below a chroot it has no path to be watched at.
    let data = if given.has("-w") && session.zk.chroot().is_empty() {
        let (data, event) = session.zk.get(PATH).watch().await.on(PATH)?;
        session.tell(Watched::Data, PATH, event);
        data
    } else {
        session.zk.config().await.on(PATH)?
    };
    let text = String::from_utf8_lossy(data.bytes.as_deref().unwrap_or(b"null")).into_owned();
    if shell.json {
        let (version, clients) = client_addresses(&text);
        let mut value = json!({"config": text, "version": version, "clients": clients});
        if given.has("-s") {
            value["stat"] = show::stat_json(&data.stat);
        }
        shell.out.json(&value);
        return Ok(());
    }
    if given.has("-c") {
        let (version, clients) = client_addresses(&text);
        shell.out.line(format!("{version} {}", clients.join(",")));
    } else {
        shell.out.line(&text);
    }
    if given.has("-s") {
        shell.print_stat(&data.stat);
    }
    Ok(())
}

/// The version of a configuration, and where clients connect to its members.
fn client_addresses(config: &str) -> (String, Vec<String>) {
    let mut version = String::new();
    let mut members = BTreeMap::new();
    for line in config.lines() {
        let Some((key, value)) = line.split_once('=') else { continue };
        if key == "version" {
            value.trim().clone_into(&mut version);
        }
        // server.1=host:2888:3888:participant;0.0.0.0:2181
        let Some(id) = key.strip_prefix("server.") else { continue };
        let Some((_, client)) = value.rsplit_once(';') else { continue };
        let client = client.trim();
        // A port alone is served on every address.
        let address = match client.contains(':') {
            true => client.to_owned(),
            false => format!("0.0.0.0:{client}"),
        };
        members.insert(id.trim().to_owned(), address);
    }
    (version, members.into_values().collect())
}

/// `reconfig …`.
///
/// # Errors
/// If the options do not go together, the file cannot be read, or the ensemble refuses.
pub async fn reconfig(shell: &mut Shell, given: &Given) -> Result<(), Failure> {
    let change = change(given)?;
    let zk = shell.zk()?;
    if given.has("--dry-run") {
        let now = zk.config().await.on(PATH)?;
        if shell.json {
            let now = String::from_utf8_lossy(now.bytes());
            let (add, remove) = (&change.joining, &change.leaving);
            let would = json!({"add": add, "remove": remove, "members": change.members});
            shell.out.json(&json!({"config": now, "would": would}));
            return Ok(());
        }
        shell.out.line(String::from_utf8_lossy(now.bytes()));
        for (what, value) in
            [("add", &change.joining), ("remove", &change.leaving), ("become", &change.members)]
        {
            if let Some(value) = value {
                shell.out.line(format!("would {what} {value}"));
            }
        }
        return Ok(());
    }
    let data = zk.reconfig(change).await.on("")?;
    let text = String::from_utf8_lossy(data.bytes()).into_owned();
    if shell.json {
        shell.out.json(&json!({"config": text, "stat": show::stat_json(&data.stat)}));
        return Ok(());
    }
    shell.out.line(format!("Committed new configuration:\n{text}"));
    if given.has("-s") {
        shell.print_stat(&data.stat);
    }
    Ok(())
}

fn change(given: &Given) -> Result<Reconfig, Failure> {
    let [file, members, add, remove] =
        ["-file", "-members", "-add", "-remove"].map(|flag| given.value(flag));
    let whole = file.is_some() || members.is_some();
    let steps = add.is_some() || remove.is_some();
    if !whole && !steps {
        let spec = table::find("reconfig").ok_or_else(|| Failure::usage("reconfig"))?;
        return Err(spec.misused());
    }
    let from_version = match given.value("-v") {
        None => None,
        Some(text) => Some(i64::from_str_radix(text, 16).map_err(|_| {
            Failure::usage("-v must be followed by a long (configuration version)")
                .hint("in hexadecimal, as version= in what config prints")
        })?),
    };
    if whole && steps {
        return Err(Failure::usage(
            "Can't use -file or -members together with -add or -remove (mixing incremental and \
             non-incremental modes is not allowed)",
        ));
    }
    if file.is_some() && members.is_some() {
        return Err(Failure::usage(
            "Can't use -file and -members together (conflicting non-incremental modes)",
        ));
    }
    let lower = |text: Option<&str>| text.map(str::to_lowercase);
    let members = match file {
        Some(file) => Some(members_of(file)?),
        None => lower(members),
    };
    Ok(Reconfig { joining: lower(add), leaving: lower(remove), members, from_version })
}

/// The lines of a configuration file that name members; the servers check them.
fn members_of(file: &str) -> Result<String, Failure> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::file(format!("Error processing {file}"), &error))?;
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| {
            ["server.", "group.", "weight."].iter().any(|prefix| line.starts_with(prefix))
        })
        .collect();
    if lines.is_empty() {
        return Err(Failure::usage(format!("{file} names no member"))
            .hint("members are lines like server.1=host:2888:3888;2181"));
    }
    Ok(lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_connect_where_the_members_say() {
        let config = "server.1=h1:2888:3888:participant;10.0.0.1:2181\n\
                      server.2=h2:2888:3888:observer;2182\nserver.3=h3:1:2:participant\nversion=1a";
        let (version, clients) = client_addresses(config);
        assert_eq!(version, "1a");
        assert_eq!(clients, ["10.0.0.1:2181", "0.0.0.0:2182"]);
    }

    #[test]
    fn modes_of_reconfig_do_not_mix() {
        let of = |line: &str| {
            let spec = table::find("reconfig").unwrap();
            change(&spec.parse(&crate::line::words(line)).unwrap())
        };
        assert!(of("-add a -file b").unwrap_err().message.starts_with("Can't use -file or"));
        assert!(of("-members a -file b").unwrap_err().message.starts_with("Can't use -file and"));
        assert!(of("-v zz -remove 1").unwrap_err().message.starts_with("-v must be"));
        let change = of("-v 1A -add Server.4=H:1:2;3").unwrap();
        assert_eq!(change.from_version, Some(0x1a));
        assert_eq!(change.joining.as_deref(), Some("server.4=h:1:2;3"));
    }
}
