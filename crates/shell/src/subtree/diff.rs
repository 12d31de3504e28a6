//! `diff`: two subtrees, of one cluster or of two.
//!
//! Both are walked side by side in the same order, so nothing has to be kept.

use std::cmp::Ordering;

use serde_json::json;

use super::node::{Node, is_systems};
use super::walk::{Walk, Want};
use crate::acl;
use crate::failure::{Failure, Kind};
use crate::flags::Given;
use crate::out::Style;
use crate::path;
use crate::session;
use crate::shell::Shell;
use crate::show;

/// `diff [-with servers] [--acl] [--data] one other`.
///
/// # Errors
/// [`Kind::Differs`] if they do, and whatever keeps us from looking.
pub async fn diff(shell: &mut Shell, given: &Given) -> Result<(), Failure> {
    let one = given.args[0].as_str();
    let with = given.value("-with");
    let other = match (given.args.get(1), with) {
        (Some(other), _) => other.as_str(),
        (None, Some(_)) => one,
        (None, None) => {
            return Err(Failure::usage("diff needs two paths, or -with servers")
                .hint("for example: diff /app /backup"));
        }
    };
    path::check(other)?;
    let zk = shell.zk()?;
    let their_zk = match with {
        Some(hosts) => session::connect(hosts, &shell.options).await?,
        None => zk.clone(),
    };
    let mut ours =
        Side { walk: Walk::new(&zk, one, Want::Whole, None), root: one, host: &shell.host };
    let mut theirs = Side {
        walk: Walk::new(&their_zk, other, Want::Whole, None),
        root: other,
        host: with.unwrap_or(&shell.host),
    };
    let (mut left, mut right) = (ours.next().await?, theirs.next().await?);
    let (mut same, mut different) = (0_u64, 0_u64);
    loop {
        let order = match (&left, &right) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(left), Some(right)) => by_names(&left.below, &right.below),
        };
        let told = match order {
            Ordering::Less => {
                let told = alone(shell, &left, "one", Style::Removed);
                left = ours.next().await?;
                told
            }
            Ordering::Greater => {
                let told = alone(shell, &right, "other", Style::Added);
                right = theirs.next().await?;
                told
            }
            Ordering::Equal => {
                let told = match (&left, &right) {
                    (Some(left), Some(right)) => both(shell, given, left, right),
                    _ => false,
                };
                (left, right) = (ours.next().await?, theirs.next().await?);
                told
            }
        };
        if told {
            different += 1
        } else {
            same += 1
        }
        if shell.out.gone() {
            break;
        }
    }
    if with.is_some() {
        their_zk.close().await;
    }
    if !shell.json {
        shell.out.note(format!("{different} differ, {same} are the same"));
    }
    // Everything is said already.
    if different > 0 { Err(Failure::new(Kind::Differs, "")) } else { Ok(()) }
}

struct Side<'a> {
    walk: Walk,
    host: &'a str,
    root: &'a str,
}

impl Side<'_> {
    async fn next(&mut self) -> Result<Option<Node>, Failure> {
        let on = |failure: Failure| match failure.kind {
            Kind::NoNode => {
                let text = format!("there is nothing to compare at {} on {}", self.root, self.host);
                failure.hint(text)
            }
            _ => failure,
        };
        while let Some(found) = self.walk.next().await.map_err(on)? {
            if !is_systems(self.root, &found.path) {
                return Ok(Some(Node::of(self.root, found)));
            }
        }
        Ok(None)
    }
}

/// The order of a walk: name by name, not letter by letter, for `/` sorts among the letters.
fn by_names(one: &str, other: &str) -> Ordering {
    one.split('/').cmp(other.split('/'))
}

fn shown(below: &str) -> &str {
    if below.is_empty() { "/" } else { below }
}

fn alone(shell: &Shell, node: &Option<Node>, side: &str, style: Style) -> bool {
    let below = node.as_ref().map_or("", |node| shown(&node.below));
    if shell.json {
        shell.out.json(&json!({"path": below, "only": side}));
    } else {
        let sign = if style == Style::Removed { '-' } else { '+' };
        shell.out.line(shell.out.styled(style, &format!("{sign} {below}")));
    }
    true
}

/// Tells how two znodes of the same place differ, if they do.
fn both(shell: &Shell, given: &Given, left: &Node, right: &Node) -> bool {
    let mut ways = Vec::new();
    if left.data != right.data {
        ways.push("data");
    }
    if left.ephemeral != right.ephemeral {
        ways.push("kind");
    }
    if given.has("--acl") && !acl::same(&left.acl, &right.acl) {
        ways.push("acl");
    }
    if ways.is_empty() {
        return false;
    }
    let below = shown(&left.below);
    if shell.json {
        let mut value = json!({"path": below, "differs": ways});
        if given.has("--data") {
            for (side, node) in [("one", left), ("other", right)] {
                let mut data = json!({});
                show::data_json(&mut data, node.data.as_deref());
                value[side] = data;
            }
        }
        shell.out.json(&value);
        return true;
    }
    let sizes = format!("{} here, {} there", show::size(left.size()), show::size(right.size()));
    let about = if ways.contains(&"data") { format!(", {sizes}") } else { String::new() };
    let text = format!("~ {below} ({}{about})", ways.join(" and "));
    shell.out.line(shell.out.styled(Style::Changed, &text));
    if given.has("--data") && ways.contains(&"data") {
        for (sign, style, node) in [('-', Style::Removed, left), ('+', Style::Added, right)] {
            let text = String::from_utf8_lossy(node.data.as_deref().unwrap_or(b"null"));
            for line in text.lines() {
                shell.out.line(shell.out.styled(style, &format!("    {sign} {line}")));
            }
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_that_of_a_walk() {
        // `-` sorts before `/`, but /a/b comes directly behind /a.
        let mut paths = vec!["/a-b", "/a/b", "/a", "", "/b"];
        paths.sort_by(|one, other| by_names(one, other));
        assert_eq!(paths, ["", "/a", "/a/b", "/a-b", "/b"]);
    }
}
