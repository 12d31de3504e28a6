//! Traces of a machine: paths and hosts that exist in one place only.
//!
//! A clone must build and pass anywhere, behind any mirror. So no file names a directory of the
//! machine it was written on, and no file names a package registry: cargo, Maven and pip know
//! theirs from their own settings. Addresses that do appear are those of an allow-list, so that a
//! new one is a decision.

use crate::repo::Fault;

/// Directories at the root of a file system that say whose machine it was.
const HOMES: [&str; 5] = ["work", "root", "farm", "home", "Users"];

/// The same below the directory for temporary files.
const TEMPORARY: [&str; 2] = ["zk-src", "target-"];

/// Hosts that an address may name.
const HOSTS: [&str; 19] = [
    "127.0.0.1",
    "[::1]",
    "localhost",
    "0.0.0.0",
    "example.com",
    "example.org",
    "www.apache.org",
    "zookeeper.apache.org",
    "issues.apache.org",
    "curator.apache.org",
    "maven.apache.org",
    "www.w3.org",
    "kazoo.readthedocs.io",
    "docs.rs",
    "doc.rust-lang.org",
    "www.rust-lang.org",
    "rustup.rs",
    "keepachangelog.com",
    "semver.org",
];

/// Every line of a text file. Lock files name their registry by nature, and a fuzz corpus says
/// nothing at all.
pub fn check(path: &str, text: &str) -> Vec<Fault> {
    if path.ends_with(".lock") || path.starts_with("fuzz/corpus/") {
        return Vec::new();
    }
    let mut faults = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if let Some(found) = machine_path(line) {
            let what = format!("{found}: a path of one machine");
            faults.push(Fault::at(path, index + 1, what));
        }
        for host in hosts(line) {
            // A host that is put together from parts, or left to the reader, names nobody.
            let open = host.is_empty() || host.starts_with(['{', '$', '<']);
            if !open && !HOSTS.contains(&host) {
                let what = format!("{host}: not a host that this repository speaks of");
                faults.push(Fault::at(path, index + 1, what));
            }
        }
    }
    faults
}

/// A machine's directory, if the line names one from the root on.
fn machine_path(line: &str) -> Option<String> {
    let homes = HOMES.iter().map(|name| format!("/{name}/"));
    let temporary = TEMPORARY.iter().map(|name| format!("/tmp/{name}"));
    let beside = std::iter::once(format!("../{}/", "shared"));
    homes.chain(temporary).chain(beside).find(|dir| {
        line.match_indices(dir.as_str()).any(|(at, _)| {
            let before = line[..at].chars().next_back();
            !before.is_some_and(|c| c.is_ascii_alphanumeric() || "_./-".contains(c))
        })
    })
}

/// The hosts of the web addresses in a line.
fn hosts(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices("://").filter_map(|(at, separator)| {
        let scheme = &line[..at];
        if !scheme.ends_with("http") && !scheme.ends_with("https") {
            return None;
        }
        let rest = &line[at + separator.len()..];
        let end = rest.find(|c: char| "/ \"'`<>)|,;\\".contains(c)).unwrap_or(rest.len());
        let host = &rest[..end];
        // The port, but not the colons of a bracketed address.
        let port = host.rfind(':').filter(|&colon| !host[colon..].contains(']'));
        Some(host[..port.unwrap_or(host.len())].trim_end_matches('.'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_a_machine_are_faults() {
        for name in HOMES {
            let line = format!("see /{name}/me/notes");
            assert_eq!(check("a.md", &line).len(), 1, "{line}");
        }
        for name in TEMPORARY {
            let line = format!("\"/tmp/{name}/x\"");
            assert_eq!(check("a.rs", &line).len(), 1, "{line}");
        }
        assert_eq!(check("a.md", &format!("in ../{}/design.md", "shared")).len(), 1);
        let fine = "src/work/queue.rs, /workers/, ./root/x, /tmp/zookeeper";
        assert_eq!(check("a.md", fine), []);
    }

    #[test]
    fn hosts_outside_the_list_are_faults() {
        let registry = format!("index = \"{}://packages.internal:8443/simple\"", "https");
        let faults = check("a.toml", &registry);
        assert_eq!(faults.len(), 1);
        assert!(faults[0].what.starts_with("packages.internal:"), "{}", faults[0]);
        assert_eq!(check("Cargo.lock", &registry), []);
        for fine in [
            "http://127.0.0.1:8080/commands and https://docs.rs/tokio.",
            "http://[::1]:2181 or format!(\"http://{host}/\")",
            "https://zookeeper.apache.org",
            "zk://somewhere",
        ] {
            assert_eq!(check("a.md", fine), [], "{fine}");
        }
    }
}
