//! Subtrees as lines of JSON: a head, a line for each znode, and an end that counts them, so that
//! a file that was cut off is not taken for a small one.

use std::io::{BufRead, Write};

use oxkeeper_client::Stat;
use serde_json::{Value, json};

use super::node::Node;
use crate::acl;
use crate::failure::{Failure, Kind};
use crate::show;

/// The form that is written; others are refused.
const FORM: u64 = 1;
/// No line is longer: a server's largest data as base64, and more than enough around it.
const LINE_MAX_BYTES: u64 = 128 << 20;

/// Writes the head.
pub fn head(out: &mut impl Write, root: &str) -> std::io::Result<()> {
    writeln!(out, "{}", json!({"oxkeeper_export": FORM, "root": root}))
}

/// Writes a znode.
pub fn node(out: &mut impl Write, node: &Node, stat: &Stat) -> std::io::Result<()> {
    let path = if node.below.is_empty() { "/" } else { &node.below };
    let mut value = json!({"path": path});
    show::data_json(&mut value, node.data.as_deref());
    value["acl"] = node.acl.iter().map(acl::json).collect();
    value["stat"] = show::stat_json(stat);
    writeln!(out, "{value}")
}

/// Writes the end.
pub fn end(out: &mut impl Write, count: u64) -> std::io::Result<()> {
    writeln!(out, "{}", json!({"end": count}))
}

/// Reads what was written.
pub struct Lines<R> {
    from: R,
    line: u64,
    nodes: u64,
    ended: bool,
}

impl<R: BufRead> Lines<R> {
    /// Reads the head.
    ///
    /// # Errors
    /// If it is none.
    pub fn open(from: R) -> Result<Lines<R>, Failure> {
        let mut lines = Lines { from, line: 0, nodes: 0, ended: false };
        let head = lines.value()?;
        match head.as_ref().and_then(|head| head["oxkeeper_export"].as_u64()) {
            Some(FORM) => Ok(lines),
            Some(form) => Err(lines.wrong(&format!("form {form}, and only {FORM} is known"))),
            None => Err(lines.wrong("not the head of an export")),
        }
    }

    fn wrong(&self, what: &str) -> Failure {
        Failure::new(Kind::File, format!("line {}: {what}", self.line))
            .hint("import reads what export wrote")
    }

    fn value(&mut self) -> Result<Option<Value>, Failure> {
        let mut text = Vec::new();
        self.line += 1;
        let told = |error| Failure::file(format!("line {}", self.line), &error);
        let mut limited = std::io::Read::take(&mut self.from, LINE_MAX_BYTES);
        limited.read_until(b'\n', &mut text).map_err(told)?;
        if text.is_empty() {
            return Ok(None);
        }
        let value =
            serde_json::from_slice(&text).map_err(|error| self.wrong(&error.to_string()))?;
        Ok(Some(value))
    }

    /// The next znode; none behind the end.
    ///
    /// # Errors
    /// If a line is no znode, or there is no end.
    pub fn next_node(&mut self) -> Result<Option<Node>, Failure> {
        if self.ended {
            return Ok(None);
        }
        let Some(value) = self.value()? else {
            return Err(self.wrong("it ends here, without its end: it was cut off"));
        };
        if let Some(count) = value["end"].as_u64() {
            self.ended = true;
            if count != self.nodes {
                let text = format!("{count} znodes were exported, {} are here", self.nodes);
                return Err(self.wrong(&text));
            }
            return Ok(None);
        }
        self.nodes += 1;
        match read(&value) {
            Some(node) => Ok(Some(node)),
            None => Err(self.wrong("not a znode with path, data, acl and stat")),
        }
    }
}

fn read(value: &Value) -> Option<Node> {
    let path = value["path"].as_str()?;
    let below = if path == "/" { "" } else { path };
    let acl = value["acl"].as_array()?.iter().map(acl::from_json).collect::<Option<Vec<_>>>()?;
    let ephemeral = value["stat"]["mode"].as_str()? == "ephemeral";
    Some(Node { below: below.to_owned(), data: show::data_from_json(value)?, acl, ephemeral })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(nodes: &[Node]) -> Vec<u8> {
        let mut out = Vec::new();
        head(&mut out, "/app").unwrap();
        for one in nodes {
            node(&mut out, one, &Stat::default()).unwrap();
        }
        end(&mut out, nodes.len() as u64).unwrap();
        out
    }

    fn sample(below: &str, data: Option<&[u8]>) -> Node {
        let data = data.map(<[u8]>::to_vec);
        Node { below: below.to_owned(), data, acl: acl::open(), ephemeral: false }
    }

    fn read_all(bytes: &[u8]) -> Result<Vec<Node>, Failure> {
        let mut lines = Lines::open(bytes)?;
        let mut nodes = Vec::new();
        while let Some(node) = lines.next_node()? {
            nodes.push(node);
        }
        Ok(nodes)
    }

    #[test]
    fn what_is_written_is_read_back() {
        let nodes = [sample("", None), sample("/a", Some(b"")), sample("/a/b", Some(&[0, 255]))];
        assert_eq!(read_all(&written(&nodes)).unwrap(), nodes);
    }

    #[test]
    fn a_file_that_was_cut_off_is_not_taken_for_a_small_one() {
        let whole = written(&[sample("", None), sample("/a", Some(b"x"))]);
        for cut in 0..whole.len() - 1 {
            let told = read_all(&whole[..cut]);
            // Without its last line end it is complete.
            assert!(told.is_err(), "cut at {cut}: {told:?}");
        }
    }

    #[test]
    fn other_files_are_refused() {
        for text in ["", "{}\n", "[1]\n", "{\"oxkeeper_export\":2}\n", "PK\x03\x04"] {
            assert_eq!(read_all(text.as_bytes()).unwrap_err().kind, Kind::File, "{text:?}");
        }
        let text = "{\"oxkeeper_export\":1}\n{\"path\":\"/a\"}\n";
        assert!(read_all(text.as_bytes()).unwrap_err().message.starts_with("line 2: not a znode"));
    }
}
