//! Paths: what may be one, and how they come apart.
//!
//! A path is text to everybody but two rules: which characters may stand in it, checked where a
//! client names a znode to write, and where the last slash is, which separates a child's name from
//! its parent. The root is spelled `/` by clients and `""` inside the server: that is what is left
//! of `/a` when the name is cut off. Java counts characters in UTF-16 units and so do the
//! positions reported here; anything beyond the basic plane is two surrogates there and refused.

use std::fmt;

/// Where the server keeps its own znodes (`Quotas.procZookeeper`).
pub const ZOOKEEPER: &str = "/zookeeper";
/// Everything with this prefix stays out of digests (`ZooDefs.ZOOKEEPER_NODE_SUBTREE`).
pub const ZOOKEEPER_SUBTREE: &str = "/zookeeper/";
/// Where quotas are kept (`Quotas.quotaZookeeper`).
pub const QUOTA: &str = "/zookeeper/quota";
/// The dynamic configuration (`ZooDefs.CONFIG_NODE`).
pub const CONFIG: &str = "/zookeeper/config";

/// Why a text is no path. The fault is the client's; the answer is BADARGUMENTS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathError {
    /// The rule that was broken.
    pub reason: PathFault,
    /// The UTF-16 unit at which it was.
    pub at: usize,
}

/// The rules of [`validate`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathFault {
    /// Nothing at all.
    Empty,
    /// Not starting with a slash.
    NotAbsolute,
    /// Ending with a slash, though not the root.
    TrailingSlash,
    /// Two slashes in a row.
    EmptyName,
    /// `.` or `..` as a name.
    Relative,
    /// U+0000.
    Null,
    /// A control character, a private one, a surrogate or one of the last sixteen.
    Character,
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = match self.reason {
            PathFault::Empty => return f.write_str("the path is empty"),
            PathFault::NotAbsolute => return f.write_str("the path does not start with /"),
            PathFault::TrailingSlash => return f.write_str("the path ends with /"),
            PathFault::EmptyName => "an empty name",
            PathFault::Relative => "a relative name",
            PathFault::Null => "a null character",
            PathFault::Character => "an invalid character",
        };
        write!(f, "{reason} at {}", self.at)
    }
}

impl std::error::Error for PathError {}

/// Checks a path that a client wants to write to (`PathUtils.validatePath`).
#[inline]
pub fn validate(path: &str) -> Result<(), PathError> {
    if is_plain(path.as_bytes()) { Ok(()) } else { validate_slowly(path) }
}

/// True if the path is certainly one: printable ASCII, and no name that is empty or starts with a
/// dot. Without an early way out, so that many bytes are looked at at once.
#[inline]
fn is_plain(bytes: &[u8]) -> bool {
    let [b'/', names @ ..] = bytes else { return false };
    if names.last().is_none_or(|&last| last == b'/') {
        return false;
    }
    let odd = |odd, (&byte, &before): (&u8, &u8)| {
        let character = byte.wrapping_sub(0x20) >= 0x5f;
        let name = before == b'/' && (byte == b'/' || byte == b'.');
        odd | character | name
    };
    !names.iter().zip(bytes).fold(false, odd)
}

#[cold]
fn validate_slowly(path: &str) -> Result<(), PathError> {
    let bytes = path.as_bytes();
    match bytes {
        [] => return fault(path, PathFault::Empty, 0),
        b"/" => return Ok(()),
        [b'/', ..] => {}
        _ => return fault(path, PathFault::NotAbsolute, 0),
    }
    let mut name_start = 1;
    for (at, &byte) in bytes.iter().enumerate().skip(1) {
        match byte {
            b'/' => {
                check_name(path, name_start, at)?;
                name_start = at + 1;
            }
            0x20..0x7f => {}
            _ => check_character(path, at)?,
        }
    }
    if name_start == bytes.len() {
        return fault(path, PathFault::TrailingSlash, name_start - 1);
    }
    check_name(path, name_start, bytes.len())
}

#[inline]
fn check_name(path: &str, start: usize, end: usize) -> Result<(), PathError> {
    match &path.as_bytes()[start..end] {
        [] => fault(path, PathFault::EmptyName, end),
        [b'.'] | [b'.', b'.'] => fault(path, PathFault::Relative, end - 1),
        _ => Ok(()),
    }
}

/// Checks the character that starts at byte `at`; bytes within a character pass, their first byte
/// was checked.
fn check_character(path: &str, at: usize) -> Result<(), PathError> {
    if !path.is_char_boundary(at) {
        return Ok(());
    }
    match path[at..].chars().next() {
        Some('\0') => fault(path, PathFault::Null, at),
        Some(
            '\u{1}'..='\u{1f}'
            | '\u{7f}'..='\u{9f}'
            | '\u{e000}'..='\u{f8ff}'
            | '\u{fff0}'..=char::MAX,
        ) => fault(path, PathFault::Character, at),
        _ => Ok(()),
    }
}

#[cold]
fn fault(path: &str, reason: PathFault, at_byte: usize) -> Result<(), PathError> {
    Err(PathError { reason, at: path[..at_byte].encode_utf16().count() })
}

/// The parent and the last name; `None` if there is no slash. The parent of a child of the root
/// is `""`.
#[inline]
pub fn split(path: &str) -> Option<(&str, &str)> {
    let slash = path.bytes().rposition(|b| b == b'/')?;
    Some((&path[..slash], &path[slash + 1..]))
}

/// The same path with the root spelled as the server spells it inside.
#[inline]
pub fn canonical(path: &str) -> &str {
    if path == "/" { "" } else { path }
}

/// True for the znodes that exist from the beginning and cannot be deleted
/// (`DataTree.isSpecialPath`).
pub fn is_special(path: &str) -> bool {
    matches!(path, "/" | ZOOKEEPER | QUOTA | CONFIG)
}

/// True if the znode's digest counts in the digest of the tree.
#[inline]
pub fn is_digested(path: &str) -> bool {
    !path.starts_with(ZOOKEEPER_SUBTREE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_are_those_of_java() {
        let good = [
            "/",
            "/a",
            "/a/b",
            "/...",
            "/a/..b",
            "/a.",
            "/.a",
            "/é",
            "/\u{a0}",
            "/\u{d7ff}",
            "/\u{f900}",
            "/\u{ffef}",
            "/a b",
            "/zookeeper",
        ];
        for path in good {
            assert_eq!(validate(path), Ok(()), "{path:?}");
        }
        let bad = [
            ("", PathFault::Empty, 0),
            ("a", PathFault::NotAbsolute, 0),
            ("a/b", PathFault::NotAbsolute, 0),
            ("/a/", PathFault::TrailingSlash, 2),
            ("//", PathFault::EmptyName, 1),
            ("/a//b", PathFault::EmptyName, 3),
            ("/.", PathFault::Relative, 1),
            ("/..", PathFault::Relative, 2),
            ("/a/./b", PathFault::Relative, 3),
            ("/a/../b", PathFault::Relative, 4),
            ("/a\0", PathFault::Null, 2),
            ("/\u{1}", PathFault::Character, 1),
            ("/\u{1f}", PathFault::Character, 1),
            ("/\u{7f}", PathFault::Character, 1),
            ("/\u{9f}", PathFault::Character, 1),
            ("/é\u{e000}", PathFault::Character, 2),
            ("/\u{f8ff}", PathFault::Character, 1),
            ("/\u{fff0}", PathFault::Character, 1),
            ("/\u{ffff}", PathFault::Character, 1),
            ("/\u{1f600}", PathFault::Character, 1),
        ];
        for (path, reason, at) in bad {
            assert_eq!(validate(path), Err(PathError { reason, at }), "{path:?}");
        }
    }

    #[test]
    fn splitting_finds_the_last_slash() {
        assert_eq!(split("/a/b"), Some(("/a", "b")));
        assert_eq!(split("/a"), Some(("", "a")));
        assert_eq!(split("/"), Some(("", "")));
        assert_eq!(split("a/b"), Some(("a", "b")));
        assert_eq!(split("a"), None);
        assert_eq!(split(""), None);
    }

    #[test]
    fn only_what_lies_below_the_servers_own_znode_is_left_out_of_digests() {
        assert!(is_digested(""));
        assert!(is_digested("/zookeeper"));
        assert!(is_digested("/zookeeperx"));
        assert!(!is_digested("/zookeeper/quota"));
    }
}
