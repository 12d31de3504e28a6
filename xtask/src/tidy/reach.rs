//! Every Rust file is compiled by someone.
//!
//! A file that no `mod` names looks like code, is searched and read as code, and is checked by
//! nobody. The walk starts at the targets that cargo knows and follows `mod`, `#[path]` and
//! `include!`; what git holds beyond that is a fault.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result};

use super::source::{closing, mask, words};
use crate::repo::{self, Fault};

/// Compares the walk with the listing.
pub fn check(root: &Path, rust: &[String]) -> Result<Vec<Fault>> {
    let mut roots = targets(root, &root.join("Cargo.toml"))?;
    for own in ["fuzz/Cargo.toml", "crates/client/compare/Cargo.toml"] {
        if root.join(own).is_file() {
            roots.extend(targets(root, &root.join(own))?);
        }
    }
    let mut texts = BTreeMap::new();
    for path in rust {
        texts.insert(path.clone(), std::fs::read_to_string(root.join(path))?);
    }
    Ok(unreachable(&texts, &roots))
}

/// The root file of every target of a workspace, as paths from the root of the repository.
fn targets(root: &Path, manifest: &Path) -> Result<Vec<String>> {
    let metadata = repo::cargo_metadata(manifest, false)?;
    let packages = metadata["packages"].as_array().context("cargo metadata lists packages")?;
    let mut paths = Vec::new();
    for target in packages.iter().flat_map(|package| package["targets"].as_array()).flatten() {
        let path = target["src_path"].as_str().context("a target has a source file")?;
        let path = Path::new(path).strip_prefix(root).context("a target outside the repository")?;
        paths.push(path.to_str().context("a path that is not UTF-8")?.to_owned());
    }
    Ok(paths)
}

/// Files of `texts` that cannot be reached from `roots`.
fn unreachable(texts: &BTreeMap<String, String>, roots: &[String]) -> Vec<Fault> {
    let mut seen = BTreeSet::new();
    let mut next: Vec<(String, PathBuf)> =
        roots.iter().map(|path| (path.clone(), parent(path))).collect();
    while let Some((path, children)) = next.pop() {
        let Some(text) = texts.get(&path) else { continue };
        if seen.insert(path.clone()) {
            next.extend(named_files(&path, &children, text, texts));
        }
    }
    let what = "no `mod` names this file: nobody compiles it";
    texts.keys().filter(|path| !seen.contains(*path)).map(|path| Fault::of(path, what)).collect()
}

fn parent(path: &str) -> PathBuf {
    Path::new(path).parent().unwrap_or(Path::new("")).to_owned()
}

/// The files that one file names, each with the directory in which its own modules lie.
fn named_files(
    path: &str,
    children: &Path,
    text: &str,
    texts: &BTreeMap<String, String>,
) -> Vec<(String, PathBuf)> {
    let code = mask(text);
    let mut found = Vec::new();
    let mut inline: Vec<(usize, usize, String)> = Vec::new();
    for start in words(&code, "mod") {
        let rest = code[start + 3..].trim_start();
        let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let after = start + 3 + (code.len() - start - 3 - rest.len()) + name.len();
        let behind = code[after..].trim_start();
        inline.retain(|&(_, end, _)| end > start);
        if behind.starts_with('{') {
            let open = after + (code.len() - after - behind.len());
            inline.push((open, closing(&code, open), name));
        } else if behind.starts_with(';') {
            let mut dir = children.to_owned();
            dir.extend(inline.iter().map(|(_, _, name)| name));
            if let Some(file) = path_attribute(&code, text, start) {
                let file = normal(&parent(path).join(file));
                found.push((file.clone(), parent(&file)));
                continue;
            }
            let flat = normal(&dir.join(format!("{name}.rs")));
            let nested = normal(&dir.join(&name).join("mod.rs"));
            let file = if texts.contains_key(&flat) { flat } else { nested };
            found.push((file, dir.join(&name)));
        }
    }
    for start in words(&code, "include!") {
        let quoted = text[start..].split('"').nth(1).unwrap_or_default();
        let file = normal(&parent(path).join(quoted));
        found.push((file.clone(), parent(&file)));
    }
    found
}

/// The file of a `#[path = ".."]` that stands before the `mod` at `start`.
fn path_attribute<'t>(code: &str, text: &'t str, start: usize) -> Option<&'t str> {
    let from = code[..start].rfind([';', '}', '{']).map_or(0, |at| at + 1);
    let at = from + code[from..start].find("#[path")?;
    text[at..start].split('"').nth(1)
}

/// The path with `..` worked out, as the listing writes it.
fn normal(path: &Path) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for component in path.components() {
        match component {
            Component::ParentDir => drop(parts.pop()),
            Component::Normal(part) => parts.extend(part.to_str()),
            _ => {}
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_no_module_names_is_a_fault() {
        let texts: BTreeMap<String, String> = [
            ("a/src/lib.rs", "mod flat; mod dir;\n#[cfg(test)]\n#[path = \"odd.rs\"]\nmod even;"),
            ("a/src/flat.rs", "mod below; mod inner { mod deep; }"),
            ("a/src/flat/below.rs", "include!(\"../gen/table.rs\");"),
            ("a/src/flat/inner/deep.rs", ""),
            ("a/src/dir/mod.rs", "pub(crate) mod leaf;"),
            ("a/src/dir/leaf.rs", ""),
            ("a/src/odd.rs", ""),
            ("a/src/gen/table.rs", ""),
            ("a/src/lost.rs", "mod also_lost;"),
            ("a/src/also_lost.rs", "// mod lost;"),
            ("a/tests/process.rs", ""),
        ]
        .into_iter()
        .map(|(path, text)| (path.to_owned(), text.to_owned()))
        .collect();
        let roots = ["a/src/lib.rs".to_owned(), "a/tests/process.rs".to_owned()];
        let lost: Vec<String> =
            unreachable(&texts, &roots).into_iter().map(|fault| fault.path).collect();
        assert_eq!(lost, ["a/src/also_lost.rs", "a/src/lost.rs"]);
    }
}
