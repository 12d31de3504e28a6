//! What a reconfiguration makes of the static file (`QuorumPeerConfig.editStaticConfig`).
//!
//! Once an ensemble's membership has changed, it lives in a dynamic file of its own: server lines,
//! groups, weights and the role leave the static file, the port for clients too if the server's
//! line has it, and the last line points to the dynamic file. ZooKeeper writes the rest of the file
//! as a hash table happens to hold it: without comments, in another order after every change, with
//! its escapes undone. Here every other line stays as it was written. Both files say the same to
//! whoever reads them.

use std::path::Path;

use crate::properties::{self, BadEscape};
use crate::value::java_trim;

/// Why a file cannot be rewritten: it is no file of properties.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: a \\u is not followed by four hexadecimal digits")]
pub struct NotRewritable {
    /// 1-based number of the line at fault.
    pub line: usize,
}

impl From<BadEscape> for NotRewritable {
    fn from(BadEscape { line }: BadEscape) -> NotRewritable {
        NotRewritable { line }
    }
}

/// The static file's content `bytes` after a change of membership that was written to
/// `dynamic_file`, an absolute path. `erase_client_port`: the dynamic file says where this server's
/// clients connect.
///
/// # Errors
/// If the content is no file of properties.
pub fn point_to_dynamic_file(
    bytes: &[u8],
    dynamic_file: &Path,
    erase_client_port: bool,
) -> Result<Vec<u8>, NotRewritable> {
    let mut out = Vec::with_capacity(bytes.len() + 64);
    let mut kept_to = 0;
    for (place, key) in properties::places(bytes)? {
        let key = java_trim(&key);
        let key = key.strip_prefix("zookeeper.").unwrap_or(key);
        if moves(key) || (erase_client_port && ["clientPort", "clientPortAddress"].contains(&key)) {
            out.extend_from_slice(&bytes[kept_to..place.start]);
            kept_to = place.end;
        }
    }
    out.extend_from_slice(&bytes[kept_to..]);
    end_last_line(&mut out);
    out.extend_from_slice(b"dynamicConfigFile=");
    put_escaped(&mut out, &dynamic_file.to_string_lossy());
    out.push(b'\n');
    Ok(out)
}

/// Whether a property's place is in the dynamic file from now on.
fn moves(key: &str) -> bool {
    ["server.", "group", "weight", "dynamicConfigFile", "peerType"]
        .iter()
        .any(|stem| key.starts_with(stem))
}

/// Makes sure that what is appended is a line of its own: a backslash at the end of the file would
/// take it for its continuation.
fn end_last_line(out: &mut Vec<u8>) {
    // A lone `\r` ends a line too, and what follows it must not make it half of an end.
    if !out.is_empty() && !out.ends_with(b"\n") {
        out.push(b'\n');
    }
    let line = out.strip_suffix(b"\n").unwrap_or(out);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1 {
        out.push(b'\n');
    }
}

/// A value that is read as `text`: the file is ISO-8859-1 and knows escapes.
fn put_escaped(out: &mut Vec<u8>, text: &str) {
    let mut first = true;
    for unit in text.encode_utf16() {
        match u8::try_from(unit) {
            Ok(b'\\') => out.extend_from_slice(br"\\"),
            Ok(b' ') if first => out.extend_from_slice(br"\ "),
            Ok(byte @ b' '..=b'~') => out.push(byte),
            _ => out.extend_from_slice(format!("\\u{unit:04x}").as_bytes()),
        }
        first = false;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    macro_rules! java {
        ($file:literal) => {
            include_bytes!(concat!("../tests/fixtures/reconfigured/", $file))
        };
    }

    /// What a file says, whatever the order.
    fn says(bytes: &[u8]) -> BTreeMap<String, String> {
        let properties = properties::read(bytes).unwrap();
        properties.into_iter().map(|p| (p.key, java_trim(&p.value).to_owned())).collect()
    }

    fn last_line(bytes: &[u8]) -> &[u8] {
        bytes.split_inclusive(|byte| *byte == b'\n').next_back().unwrap()
    }

    fn rewritten(text: &str, erase: bool) -> String {
        let out = point_to_dynamic_file(text.as_bytes(), Path::new("/d.1"), erase).unwrap();
        String::from_utf8(out).unwrap()
    }

    /// Three servers of version 3.9.5: the start of the ensemble, a server that joins, and a change
    /// to groups, which gives server 1 a port for clients in its line.
    #[test]
    fn the_file_says_what_javas_says() {
        let one: [(&[u8], &str, bool); 3] = [
            (java!("1-1-started.cfg"), "/srv/zookeeper/1/zoo.cfg.dynamic.100000000", false),
            (java!("1-2-committed.cfg"), "/srv/zookeeper/1/zoo.cfg.dynamic.100000002", false),
            (java!("1-3-groups.cfg"), "/srv/zookeeper/1/zoo.cfg.dynamic.100000003", true),
        ];
        let two: [(&[u8], &str, bool); 3] = [
            (java!("2-1-started.cfg"), "/srv/zookeeper/2/zoo.cfg.dynamic.100000000", true),
            (java!("2-2-committed.cfg"), "/srv/zookeeper/2/zoo.cfg.dynamic.100000002", true),
            (java!("2-3-groups.cfg"), "/srv/zookeeper/2/zoo.cfg.dynamic.100000003", true),
        ];
        let before: [&[u8]; 2] = [java!("1-0-before.cfg"), java!("2-0-before.cfg")];
        for (before, steps) in before.into_iter().zip([one, two]) {
            let mut file = before.to_vec();
            for (java, dynamic_file, erase) in steps {
                file = point_to_dynamic_file(&file, Path::new(dynamic_file), erase).unwrap();
                assert_eq!(says(&file), says(java));
                assert_eq!(last_line(&file), last_line(java));
                // Taking over from Java changes nothing but the order.
                let path = Path::new(dynamic_file);
                assert_eq!(point_to_dynamic_file(java, path, erase).unwrap(), java);
            }
        }
    }

    #[test]
    fn comments_order_and_spelling_stay() {
        let text = "# ours\n\n  tickTime : 2000\nserver.1=a:1:2\n! theirs\nserver.2=b:\\\n   1:2\n\
                    zookeeper.weight.1=1\npeerType=observer\ndynamicConfigFile=/old\nsnapCount=\\\n\
                    \x20 7\nclientPort=1\nclientPortAddress=h\nclientPortListenBacklog=9\n# end\n";
        let kept = "# ours\n\n  tickTime : 2000\n! theirs\nsnapCount=\\\n  7\n";
        let port = "clientPort=1\nclientPortAddress=h\n";
        let end = "clientPortListenBacklog=9\n# end\ndynamicConfigFile=/d.1\n";
        assert_eq!(rewritten(text, false), format!("{kept}{port}{end}"));
        let erased = rewritten(text, true);
        assert_eq!(erased, format!("{kept}{end}"));
        assert_eq!(rewritten(&erased, true), erased);
    }

    #[test]
    fn the_last_line_is_one_of_its_own() {
        for (text, before) in [
            ("", ""),
            ("a=1", "a=1\n"),
            ("a=1\r\n", "a=1\r\n"),
            ("a=1\\\r", "a=1\\\r\n\n"),
            ("a=1\\", "a=1\\\n\n"),
            ("a=1\\\n", "a=1\\\n\n"),
            ("a=1\\\\\n", "a=1\\\\\n"),
            ("a=1\nserver.1=b:1:2", "a=1\n"),
            ("a=1\nserver.1=b:1:2\\", "a=1\n"),
            ("# note\\", "# note\\\n\n"),
        ] {
            let file = rewritten(text, false);
            assert_eq!(file, format!("{before}dynamicConfigFile=/d.1\n"), "{text:?}");
            assert_eq!(says(file.as_bytes())["dynamicConfigFile"], "/d.1", "{text:?}");
            assert_eq!(rewritten(&file, false), file, "{text:?}");
        }
    }

    #[test]
    fn every_path_is_read_back_as_it_was() {
        for path in ["/a b/c=d:e", "/back\\slash", "/dàta/\u{1f980}", " /blank", "/#!\t"] {
            let file = point_to_dynamic_file(b"", Path::new(path), false).unwrap();
            assert!(file.is_ascii());
            let read = properties::read(&file).unwrap().pop().unwrap();
            assert_eq!(read.value, path);
        }
    }

    #[test]
    fn what_is_no_file_of_properties_stays_alone() {
        let refused = point_to_dynamic_file(b"a=1\nb\\u12=2\n", Path::new("/d"), false);
        assert_eq!(refused, Err(NotRewritable { line: 2 }));
    }

    mod any_file {
        use proptest::prelude::*;

        use super::*;

        /// Something like a file, with everything that ends, continues or hides a line.
        const FILE: &str = "((server\\.1|group\\.1|a|clientPort|#|!|b\\\\)[=: ]{0,2}[ab\\\\]{0,3}\
                            (\r\n|\n|\r|\\\\\n|\\\\\r\n)){0,8}(a=b\\\\?|server\\.1=\\\\)?";

        proptest! {
            #[test]
            fn what_stays_says_the_same(text in FILE, erase: bool) {
                let Ok(file) = point_to_dynamic_file(text.as_bytes(), Path::new("/d"), erase) else {
                    return Ok(());
                };
                let mut expected = says(text.as_bytes());
                let goes = |key: &str| moves(key) || (erase && key == "clientPort");
                expected.retain(|key, _| !goes(key));
                expected.insert("dynamicConfigFile".to_owned(), "/d".to_owned());
                prop_assert_eq!(says(&file), expected);
            }
        }
    }
}
