//! Paths of znodes: whether they can be sent, said in the words of ZooKeeper's shell.

use crate::failure::Failure;

/// Checks a path before anything is sent (`PathUtils.validatePath`).
///
/// # Errors
/// What is wrong with it.
pub fn check(path: &str) -> Result<(), Failure> {
    wrong(path).map_or(Ok(()), |text| {
        let failure = Failure::usage(text);
        Err(if path.starts_with('/') || path.is_empty() {
            failure
        } else {
            failure.hint(format!("paths are absolute: /{path}"))
        })
    })
}

fn wrong(path: &str) -> Option<String> {
    if path.is_empty() {
        return Some("Path length must be > 0".to_owned());
    }
    if !path.starts_with('/') {
        return Some("Path must start with / character".to_owned());
    }
    if path.len() == 1 {
        return None;
    }
    if path.ends_with('/') {
        return Some("Path must not end with / character".to_owned());
    }
    let mut at = 0;
    for name in path.split('/').skip(1) {
        at += 1;
        let end = at + name.chars().count();
        let reason = match name {
            "" => Some(format!("empty node name specified @{at}")),
            "." => Some(format!("relative paths not allowed @{at}")),
            ".." => Some(format!("relative paths not allowed @{}", at + 1)),
            _ => name.chars().position(forbidden).map(|nth| match name.chars().nth(nth) {
                Some('\0') => format!("null character not allowed @{}", at + nth),
                _ => format!("invalid character @{}", at + nth),
            }),
        };
        if let Some(reason) = reason {
            return Some(format!("Invalid path string \"{path}\" caused by {reason}"));
        }
        at = end;
    }
    None
}

fn forbidden(c: char) -> bool {
    matches!(
        c,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{e000}'..='\u{f8ff}' | '\u{fff0}'..='\u{ffff}'
    )
}

/// The path of a child.
pub fn child(parent: &str, name: &str) -> String {
    if parent == "/" { format!("/{name}") } else { format!("{parent}/{name}") }
}

/// The last name of a path.
pub fn name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// What `path` is below `root`, with a slash before it; empty for the root itself.
pub fn below<'a>(root: &str, path: &'a str) -> &'a str {
    if root == "/" {
        return if path == "/" { "" } else { path };
    }
    path.strip_prefix(root).unwrap_or(path)
}

/// Puts what [`below`] made under another root.
pub fn under(root: &str, below: &str) -> String {
    match (root, below) {
        ("/", "") => "/".to_owned(),
        ("/", below) => below.to_owned(),
        (root, below) => format!("{root}{below}"),
    }
}

/// Whether `path` is `root` or lies in its subtree.
pub fn within(root: &str, path: &str) -> bool {
    root == "/" || path == root || path.strip_prefix(root).is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_paths_are_told_as_java_tells_them() {
        for (path, text) in [
            ("", "Path length must be > 0"),
            ("relative", "Path must start with / character"),
            ("//", "Path must not end with / character"),
            (
                "/shell//x",
                "Invalid path string \"/shell//x\" caused by empty node name specified @7",
            ),
            (
                "/shell/.",
                "Invalid path string \"/shell/.\" caused by relative paths not allowed @7",
            ),
            (
                "/shell/../x",
                "Invalid path string \"/shell/../x\" caused by relative paths not allowed @8",
            ),
            ("/a\u{1}", "Invalid path string \"/a\u{1}\" caused by invalid character @2"),
        ] {
            assert_eq!(wrong(path).as_deref(), Some(text), "{path:?}");
        }
        for path in ["/", "/a", "/a/...", "/grüße/😀", "/a b"] {
            assert_eq!(wrong(path), None, "{path:?}");
        }
    }

    #[test]
    fn a_path_is_moved_from_root_to_root() {
        for (from, path, to, moved) in [
            ("/a", "/a/b", "/c", "/c/b"),
            ("/a", "/a", "/c", "/c"),
            ("/", "/b", "/c", "/c/b"),
            ("/", "/", "/c", "/c"),
            ("/a", "/a/b", "/", "/b"),
            ("/a", "/a", "/", "/"),
        ] {
            assert_eq!(under(to, below(from, path)), moved);
        }
        assert!(within("/a", "/a/b") && within("/", "/a") && !within("/a", "/ab"));
    }
}
