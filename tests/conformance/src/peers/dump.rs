//! What Apache's own classes read from a data directory.
//!
//! The proof that our files are ZooKeeper's is that ZooKeeper opens them: a Java program loads the
//! newest snapshot, replays the logs, checks every digest on the way, and prints all it then holds.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use super::install::Peers;
use super::program::output_of;
use super::system;

/// How long a dump may take; a million znodes need some ten seconds.
const DUMP_TIMEOUT: Duration = Duration::from_secs(300);

/// A data directory as Java understands it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JavaDump {
    /// The zxid of the last transaction applied.
    pub last_zxid: i64,
    /// How many znodes Java counts, the root and its quota shadow included.
    pub node_count: usize,
    /// Java's digest of the whole tree.
    pub digest: i64,
    /// The zxids at which a digest in the log differs from the one Java computed.
    pub digest_mismatches: Vec<i64>,
    /// The zxids at which the digest of the snapshot differs.
    pub snapshot_mismatches: Vec<i64>,
    /// Sessions by id.
    pub sessions: BTreeMap<i64, DumpedSession>,
    /// Znodes by path.
    pub znodes: BTreeMap<String, DumpedZnode>,
}

/// A session found in the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DumpedSession {
    /// Its timeout, in milliseconds.
    pub timeout_ms: i32,
}

/// A znode with every field that is stored.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "the fields are those of StatPersisted, by the same names")]
pub struct DumpedZnode {
    /// The data; null and empty are two things.
    #[serde(deserialize_with = "hex_or_null")]
    pub data: Option<Vec<u8>>,
    /// The access control list.
    pub acl: Vec<DumpedAcl>,
    pub czxid: i64,
    pub mzxid: i64,
    pub pzxid: i64,
    pub ctime_ms: i64,
    pub mtime_ms: i64,
    pub version: i32,
    /// As stored: the number of changes, not what a client is shown.
    pub cversion: i32,
    pub aversion: i32,
    /// The owning session, or the marks of containers and TTL nodes.
    pub ephemeral_owner: i64,
}

/// One entry of an access control list.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DumpedAcl {
    /// The permission bits.
    pub perms: i32,
    /// The scheme, such as `world`.
    pub scheme: String,
    /// Who, in the scheme's own terms.
    pub id: String,
}

/// Lets Java read the database in `data_dir` (the parent of `version-2`), with its logs in
/// `data_log_dir` if that is another directory. The server on it must have been stopped. TTL nodes
/// are understood, as with `extendedTypesEnabled`. No data is changed, but Java deletes log files
/// that it finds empty. `properties` are system properties for Java, such as
/// `zookeeper.digest.enabled=false` for files written without digests.
///
/// # Errors
/// When Java refuses the directory, with what it says; or the directory is empty.
pub fn java_dump(
    peers: &Peers,
    data_dir: &Path,
    data_log_dir: Option<&Path>,
    properties: &[(&str, &str)],
) -> Result<JavaDump> {
    let mut jvm = vec!["-Xmx2g".into(), "-XX:+UseSerialGC".into()];
    jvm.extend(properties.iter().map(|(name, value)| format!("-D{name}={value}")));
    let mut command = peers.java(&jvm, "oxkeeper.peers.dump.DumpDirectory");
    command.arg(data_dir).args(data_log_dir);
    let output = output_of(&mut command, DUMP_TIMEOUT)?;
    let errors = system::tail(&output.stderr, 30);
    ensure!(output.success, "Java cannot read {}:\n{errors}", data_dir.display());
    parse(&output.stdout).with_context(|| format!("reading {} by Java", data_dir.display()))
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Znode {
        path: String,
        #[serde(flatten)]
        znode: DumpedZnode,
    },
    Session {
        session: i64,
        timeout_ms: i32,
    },
    Summary {
        last_zxid: i64,
        node_count: usize,
        digest: i64,
        digest_mismatches: Vec<i64>,
        snapshot_mismatches: Vec<i64>,
    },
    Done {
        #[serde(rename = "done")]
        _done: bool,
    },
}

fn parse(text: &str) -> Result<JavaDump> {
    let mut dump = JavaDump::default();
    let mut done = false;
    for text in text.lines() {
        ensure!(!done, "a line after the last: {text}");
        match serde_json::from_str(text).with_context(|| format!("not of a dump: {text}"))? {
            Line::Znode { path, znode } => drop(dump.znodes.insert(path, znode)),
            Line::Session { session, timeout_ms } => {
                dump.sessions.insert(session, DumpedSession { timeout_ms });
            }
            Line::Summary {
                last_zxid,
                node_count,
                digest,
                digest_mismatches,
                snapshot_mismatches,
            } => {
                dump = JavaDump {
                    last_zxid,
                    node_count,
                    digest,
                    digest_mismatches,
                    snapshot_mismatches,
                    ..dump
                };
            }
            Line::Done { .. } => done = true,
        }
    }
    if !done || !dump.znodes.contains_key("/") {
        bail!("it ended after {} znodes", dump.znodes.len());
    }
    Ok(dump)
}

fn hex_or_null<'de, D>(deserializer: D) -> Result<Option<Vec<u8>>, D::Error>
where
    D: serde::Deserializer<'de>,
{
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| decode_hex(&text).ok_or_else(|| serde::de::Error::custom("not hex")))
        .transpose()
}

fn decode_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok())).collect();
    let (pairs, rest) = digits.as_deref()?.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = concat!(
        r#"{"path":"/","data":"00ff","acl":[{"perms":31,"scheme":"world","id":"anyone"}],"#,
        r#""czxid":1,"mzxid":2,"pzxid":3,"ctime_ms":4,"mtime_ms":5,"#,
        r#""version":6,"cversion":7,"aversion":8,"ephemeral_owner":-9}"#,
    );

    #[test]
    fn every_line_of_a_dump_finds_its_place() {
        let text = format!(
            "{}\n{}\n{ROOT}\n{}\n{{\"done\":true}}\n",
            concat!(
                r#"{"last_zxid":4,"node_count":5,"digest":-6,"#,
                r#""digest_mismatches":[7],"snapshot_mismatches":[8]}"#
            ),
            r#"{"session":72057594037927937,"timeout_ms":3000}"#,
            ROOT.replace("\"/\"", "\"/n\"").replace("\"00ff\"", "null"),
        );
        let dump = parse(&text).unwrap();
        assert_eq!((dump.last_zxid, dump.node_count, dump.digest), (4, 5, -6));
        assert_eq!((dump.digest_mismatches, dump.snapshot_mismatches), (vec![7], vec![8]));
        assert_eq!(dump.sessions[&0x100_0000_0000_0001].timeout_ms, 3000);
        assert_eq!(dump.znodes["/"].data.as_deref(), Some(&[0, 255][..]));
        assert_eq!(dump.znodes["/"].ephemeral_owner, -9);
        assert_eq!(dump.znodes["/n"].data, None);
        assert_eq!(dump.znodes["/"].acl[0].scheme, "world");
    }

    #[test]
    fn a_dump_without_its_end_is_refused() {
        assert!(parse(ROOT).is_err());
        assert!(parse("{\"done\":true}").is_err(), "no root");
        assert!(parse(&format!("{ROOT}\n{{\"done\":true}}")).is_ok());
    }

    #[test]
    fn hex_is_pairs_of_digits() {
        assert_eq!(decode_hex(""), Some(vec![]));
        assert_eq!(decode_hex("0aF0"), Some(vec![10, 240]));
        assert_eq!(decode_hex("0"), None);
        assert_eq!(decode_hex("0g"), None);
    }
}
