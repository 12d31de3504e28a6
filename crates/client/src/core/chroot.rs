//! Paths: what may stand in one, and the chroot under which a client sees the tree.
//!
//! Inside the client every path is the server's. It is translated where it comes in with a request
//! and where it goes out with an answer or an event.

use std::borrow::Cow;

/// Why a path cannot be sent (`PathUtils.validatePath`).
///
/// ```
/// use oxkeeper_client::{PathError, check_path};
///
/// assert_eq!(check_path("/a//b", false), Err(PathError::EmptyName(3)));
/// assert_eq!(PathError::Relative.to_string(), "a path must start with /");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// There is none.
    #[error("a path must not be empty")]
    Empty,
    /// It is not absolute.
    #[error("a path must start with /")]
    Relative,
    /// It ends in a slash.
    #[error("a path must not end with /")]
    TrailingSlash,
    /// Two slashes in a row.
    #[error("an empty name at byte {0}")]
    EmptyName(usize),
    /// `.` or `..`.
    #[error("a relative name at byte {0}")]
    RelativeName(usize),
    /// A character that no path may hold.
    #[error("the character {found:?} at byte {at}")]
    Character {
        /// What.
        found: char,
        /// Where.
        at: usize,
    },
}

/// Checks a path as servers do, before it is sent. A sequential create may end in a slash, because
/// the rules are for the name that the server completes.
///
/// ```
/// use oxkeeper_client::{PathError, check_path};
///
/// assert_eq!(check_path("/jobs/job 7", false), Ok(()));
/// assert_eq!(check_path("/jobs/", false), Err(PathError::TrailingSlash));
/// assert_eq!(check_path("/jobs/", true), Ok(()), "the server completes the name");
/// ```
pub fn check_path(path: &str, sequential: bool) -> Result<(), PathError> {
    if path.is_empty() {
        return Err(PathError::Empty);
    }
    if !path.starts_with('/') {
        return Err(PathError::Relative);
    }
    if path == "/" || is_plain(path.as_bytes()) {
        return Ok(());
    }
    let mut start = 1;
    for name in path[1..].split('/') {
        let last = start + name.len() == path.len();
        match name {
            "" if last && sequential => {}
            "" if last => return Err(PathError::TrailingSlash),
            "" => return Err(PathError::EmptyName(start)),
            "." | ".." if !(last && sequential) => return Err(PathError::RelativeName(start)),
            _ => {}
        }
        if let Some((at, found)) = name.char_indices().find(|(_, c)| forbidden(*c)) {
            return Err(PathError::Character { found, at: start + at });
        }
        start += name.len() + 1;
    }
    Ok(())
}

/// Nothing in it has to be looked at twice: printable ASCII, no name that is empty or begins with a
/// dot. So are nearly all paths, and every request has one.
fn is_plain(path: &[u8]) -> bool {
    const ODD: u8 = 1;
    const DOT: u8 = 2;
    const SLASH: u8 = 4;
    const KINDS: [u8; 256] = {
        let mut kinds = [ODD; 256];
        let mut byte = 0x20;
        while byte < 0x7f {
            kinds[byte] = 0;
            byte += 1;
        }
        kinds[b'.' as usize] = DOT;
        kinds[b'/' as usize] = SLASH;
        kinds
    };
    let (mut found, mut unwanted) = (0, ODD);
    for byte in path {
        let kind = KINDS[usize::from(*byte)];
        found |= kind & unwanted;
        // Behind a slash neither a dot nor another.
        unwanted = ODD | (kind & SLASH) | ((kind & SLASH) >> 1);
    }
    found == 0 && unwanted == ODD
}

/// Java looks at UTF-16 units: characters beyond the basic plane are surrogates to it.
fn forbidden(c: char) -> bool {
    matches!(c, '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{e000}'..='\u{f8ff}'
        | '\u{fff0}'..='\u{ffff}' | '\u{10000}'..)
}

/// The part of the tree that a client sees as its root.
///
/// ```
/// use oxkeeper_client::core::Chroot;
///
/// let app = Chroot::new("/app")?;
/// assert_eq!(app.server_path("/a".into()), "/app/a");
/// assert_eq!(app.client_path("/app/a"), Some("/a"));
/// # Ok::<(), oxkeeper_client::PathError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Chroot(Box<str>);

impl Chroot {
    /// The subtree at `path`; `/` and the empty path are the whole tree.
    ///
    /// ```
    /// use oxkeeper_client::core::Chroot;
    ///
    /// assert_eq!(Chroot::new("/"), Ok(Chroot::default()));
    /// assert!(Chroot::new("app").is_err());
    /// ```
    pub fn new(path: &str) -> Result<Chroot, PathError> {
        if path.is_empty() || path == "/" {
            return Ok(Chroot::default());
        }
        check_path(path, false)?;
        Ok(Chroot(path.into()))
    }

    /// Its path, empty for the whole tree.
    ///
    /// ```
    /// use oxkeeper_client::core::Chroot;
    ///
    /// assert_eq!(Chroot::new("/app")?.path(), "/app");
    /// assert_eq!(Chroot::new("/")?.path(), "");
    /// # Ok::<(), oxkeeper_client::PathError>(())
    /// ```
    pub fn path(&self) -> &str {
        &self.0
    }

    /// The server's path of what the client calls `path`.
    ///
    /// ```
    /// use oxkeeper_client::core::Chroot;
    ///
    /// let app = Chroot::new("/app")?;
    /// assert_eq!(app.server_path("/".into()), "/app");
    /// assert_eq!(app.server_path("/a/b".into()), "/app/a/b");
    /// # Ok::<(), oxkeeper_client::PathError>(())
    /// ```
    pub fn server_path<'a>(&self, path: Cow<'a, str>) -> Cow<'a, str> {
        match (&*self.0, &*path) {
            ("", _) => path,
            (root, "/") => Cow::Owned(root.to_owned()),
            (root, path) => Cow::Owned([root, path].concat()),
        }
    }

    /// The client's name for a server's path, `None` if it lies outside. Unlike Java's, a chroot
    /// `/app` does not hold `/apple`.
    ///
    /// ```
    /// use oxkeeper_client::core::Chroot;
    ///
    /// let app = Chroot::new("/app")?;
    /// assert_eq!(app.client_path("/app"), Some("/"));
    /// assert_eq!(app.client_path("/apple"), None);
    /// # Ok::<(), oxkeeper_client::PathError>(())
    /// ```
    pub fn client_path<'a>(&self, path: &'a str) -> Option<&'a str> {
        match path.strip_prefix(&*self.0)? {
            "" => Some("/"),
            inside if inside.starts_with('/') => Some(inside),
            _ => None,
        }
    }

    /// The same for what a server answers. A path outside is returned as it is: requests that pass
    /// by the chroot are answered in the server's words, as `/zookeeper/config` is.
    pub(crate) fn strip(&self, path: &str) -> String {
        self.client_path(path).unwrap_or(path).to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_looked_at_once_is_what_a_second_look_would_take() {
        for byte in 0..=255u8 {
            for text in [[b'/', byte, b'a'], [b'/', b'a', byte], [byte, b'a', b'b']] {
                let Ok(path) = std::str::from_utf8(&text) else { continue };
                // Looked at twice as soon as anything in it is odd, like this.
                let slow = format!("{path}/é");
                if path.starts_with('/') && is_plain(path.as_bytes()) {
                    assert_eq!(check_path(&slow, false), Ok(()), "{path:?}");
                }
            }
        }
        for (path, plain) in [("/a/b", true), ("/a.b", true), ("/.a", false), ("/a//b", false)] {
            assert_eq!(is_plain(path.as_bytes()), plain, "{path}");
        }
        assert!(!is_plain(b"/a/") && !is_plain(b"/") && !is_plain("/é".as_bytes()));
    }

    #[test]
    fn paths_are_checked_as_servers_check_them() {
        for good in ["/", "/a", "/a/b", "/a.b", "/...", "/a/..b", "/é", "/a b"] {
            assert_eq!(check_path(good, false), Ok(()), "{good}");
        }
        let bad = [
            ("", PathError::Empty),
            ("a", PathError::Relative),
            ("/a/", PathError::TrailingSlash),
            ("//", PathError::EmptyName(1)),
            ("/a//b", PathError::EmptyName(3)),
            ("/./b", PathError::RelativeName(1)),
            ("/a/..", PathError::RelativeName(3)),
            ("/a\0", PathError::Character { found: '\0', at: 2 }),
            ("/a/\u{7f}", PathError::Character { found: '\u{7f}', at: 3 }),
            ("/\u{e000}", PathError::Character { found: '\u{e000}', at: 1 }),
            ("/\u{1f600}", PathError::Character { found: '\u{1f600}', at: 1 }),
        ];
        for (path, error) in bad {
            assert_eq!(check_path(path, false), Err(error), "{path:?}");
        }
        assert_eq!(check_path("/a/", true), Ok(()), "the server adds the digits");
        assert_eq!(check_path("/a/..", true), Ok(()));
        assert!(check_path("/a//", true).is_err());
    }

    #[test]
    fn the_way_out_undoes_the_way_in_and_knows_what_lies_outside() {
        let chroot = Chroot::new("/app").unwrap();
        for path in ["/", "/a", "/app", "/a/b"] {
            let server = chroot.server_path(path.into());
            assert_eq!(chroot.client_path(&server), Some(path));
        }
        assert_eq!(chroot.server_path("/".into()), "/app");
        assert_eq!(chroot.client_path("/apple"), None);
        assert_eq!(chroot.strip("/zookeeper/config"), "/zookeeper/config");
        let none = Chroot::new("/").unwrap();
        assert_eq!(none.server_path("/a".into()), "/a");
        assert_eq!(none.client_path("/a"), Some("/a"));
        assert_eq!(none.client_path("/"), Some("/"));
        assert!(Chroot::new("/a/").is_err());
    }
}
