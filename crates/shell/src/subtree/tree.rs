//! `tree`: a subtree as it lies, drawn with lines.
//!
//! A line is drawn as soon as its znode is known: whether more siblings follow is known from the
//! parent, which comes first.

use serde_json::{Value, json};

use super::find::summary;
use super::walk::{Found, Walk, Want};
use crate::failure::Failure;
use crate::flags::Given;
use crate::out::Style;
use crate::path;
use crate::shell::Shell;
use crate::show;

/// `tree [-d depth] [-s] [path]`.
///
/// # Errors
/// If there is no such znode.
pub async fn tree(shell: &mut Shell, given: &Given) -> Result<(), Failure> {
    let root = given.args.first().map_or("/", String::as_str);
    let depth_max: Option<usize> = given.number("-d")?;
    let mut walk = Walk::new(&shell.zk()?, root, Want::Stat, depth_max).tolerant();
    let mut branches = Branches::default();
    let now_ms = jiff::Timestamp::now().as_millisecond();
    while let Some(found) = walk.next().await? {
        if shell.json {
            shell.out.json(&found_json(&found));
        } else {
            let lines = branches.lines(&found);
            let name = if found.depth == 0 { &found.path } else { path::name(&found.path) };
            let mut text = format!("{lines}{}", shell.styled_name(&found, name));
            if given.has("-s") {
                let about = format!("  {}", summary(&found.stat, now_ms));
                text.push_str(&shell.out.styled(Style::Dim, &about));
            }
            let more =
                depth_max.is_some_and(|max| found.depth >= max) && found.stat.num_children > 0;
            if more {
                let about = format!("  … {} below", found.stat.num_children);
                text.push_str(&shell.out.styled(Style::Dim, &about));
            }
            if found.denied {
                text.push_str(&shell.out.styled(Style::Error, "  (not permitted)"));
            }
            shell.out.line(text);
        }
        if shell.out.gone() {
            break;
        }
    }
    Ok(())
}

/// A znode for programs: a line for each.
pub fn found_json(found: &Found) -> Value {
    let mut value = json!({"path": found.path, "stat": show::stat_json(&found.stat)});
    if found.denied {
        value["denied"] = json!(true);
    }
    value
}

impl Shell {
    /// A name, in the colour of what it is.
    pub fn styled_name(&self, found: &Found, name: &str) -> String {
        match show::mode(&found.stat) {
            "ephemeral" => self.out.styled(Style::Changed, name),
            _ if found.stat.num_children > 0 => self.out.styled(Style::Bold, name),
            _ => name.to_owned(),
        }
    }
}

/// The lines left of the names: of each ancestor, how many siblings are still to come.
#[derive(Default)]
struct Branches {
    left: Vec<usize>,
}

impl Branches {
    fn lines(&mut self, found: &Found) -> String {
        self.left.truncate(found.depth);
        let mut text = String::new();
        if let Some((own, above)) = self.left.split_last_mut() {
            for left in above {
                text.push_str(if *left > 0 { "│   " } else { "    " });
            }
            *own = own.saturating_sub(1);
            text.push_str(if *own > 0 { "├── " } else { "└── " });
        }
        self.left.push(found.children.len());
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oxkeeper_client::Stat;

    #[test]
    fn branches_end_where_there_are_no_more_siblings() {
        let mut branches = Branches::default();
        let mut line = |path: &str, depth, children: &[&str]| {
            let children = children.iter().map(|name| (*name).to_owned()).collect();
            let found = Found {
                path: path.to_owned(),
                depth,
                stat: Stat::default(),
                children,
                whole: None,
                denied: false,
            };
            branches.lines(&found) + path
        };
        let lines = [
            line("a", 0, &["b", "e"]),
            line("b", 1, &["c", "d"]),
            line("c", 2, &[]),
            line("d", 2, &[]),
            line("e", 1, &["f"]),
            line("f", 2, &[]),
        ];
        let expected = ["a", "├── b", "│   ├── c", "│   └── d", "└── e", "    └── f"];
        assert_eq!(lines, expected);
    }
}
