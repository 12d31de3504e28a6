//! Subtrees as a tar archive, which every tar can list and unpack.
//!
//! The data of `/a/b` is the file `a/b/.data`. What tar has no place for stands in extended headers
//! (POSIX.1-2001) before it, as attributes `user.oxkeeper.…`: the path, the ACL, the mode, whether
//! the data is null. Only those are read back; the file's name is for people. A last header counts
//! the znodes, and the archive ends with two blocks of zeros.

use std::io::{Read, Write};

use oxkeeper_client::Stat;
use serde_json::Value;

use super::node::Node;
use crate::acl;
use crate::failure::{Failure, Kind};
use crate::show;

const BLOCK: usize = 512;
/// What stands before the count in the last header.
const COUNTED: &str = "oxkeeper znodes ";
/// Bytes of an extended header; a path and an ACL are far below.
const EXTENDED_MAX_BYTES: u64 = 4 << 20;
/// Bytes of data; no server takes more.
const DATA_MAX_BYTES: u64 = 64 << 20;

/// Writes a znode.
pub fn node(out: &mut impl Write, node: &Node, stat: &Stat) -> std::io::Result<()> {
    let name = format!("{}/.data", node.below).trim_start_matches('/').to_owned();
    let mut records = vec![
        ("path", name.clone()),
        ("SCHILY.xattr.user.oxkeeper.path", node.below.clone()),
        (
            "SCHILY.xattr.user.oxkeeper.acl",
            Value::from_iter(node.acl.iter().map(acl::json)).to_string(),
        ),
        ("SCHILY.xattr.user.oxkeeper.mode", show::mode(stat).to_owned()),
        ("SCHILY.xattr.user.oxkeeper.stat", show::stat_json(stat).to_string()),
    ];
    if node.data.is_none() {
        records.push(("SCHILY.xattr.user.oxkeeper.null", "1".to_owned()));
    }
    let mtime_s = stat.mtime_ms.max(0).unsigned_abs() / 1_000;
    extended(out, b'x', &records)?;
    entry(out, &name, b'0', mtime_s, node.data.as_deref().unwrap_or_default())
}

/// Writes the end.
pub fn end(out: &mut impl Write, count: u64) -> std::io::Result<()> {
    extended(out, b'g', &[("comment", format!("{COUNTED}{count}"))])?;
    out.write_all(&[0; 2 * BLOCK])
}

fn extended(out: &mut impl Write, kind: u8, records: &[(&str, String)]) -> std::io::Result<()> {
    let mut body = String::new();
    for (key, value) in records {
        // The length counts its own digits.
        let rest = key.len() + value.len() + 3;
        let mut length = rest + 1;
        while length != rest + length.to_string().len() {
            length = rest + length.to_string().len();
        }
        body.push_str(&format!("{length} {key}={value}\n"));
    }
    entry(out, "pax", kind, 0, body.as_bytes())
}

fn entry(
    out: &mut impl Write,
    name: &str,
    kind: u8,
    mtime_s: u64,
    body: &[u8],
) -> std::io::Result<()> {
    let mut header = [0_u8; BLOCK];
    let cut = name.len().min(100);
    header[..cut].copy_from_slice(&name.as_bytes()[..cut]);
    let mut put =
        |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(100, "0000644\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{:011o}\0", body.len()));
    put(136, &format!("{:011o}\0", mtime_s & 0o77_777_777_777));
    put(148, "        ");
    put(257, "ustar\x0000");
    header[156] = kind;
    let sum = checksum(&header);
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    out.write_all(&header)?;
    out.write_all(body)?;
    out.write_all(&[0; BLOCK][..body.len().next_multiple_of(BLOCK) - body.len()])
}

fn checksum(header: &[u8; BLOCK]) -> u32 {
    let body: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    let field: u32 = header[148..156].iter().map(|byte| u32::from(*byte)).sum();
    body - field + 8 * 32
}

/// Whether a file begins as an archive does.
pub fn is_archive(start: &[u8]) -> bool {
    start.get(257..262) == Some(b"ustar")
}

/// What the extended headers before a file said.
#[derive(Debug, Default)]
struct Said {
    below: Option<String>,
    acl: String,
    mode: Option<String>,
    null: bool,
}

/// Reads what was written.
pub struct Entries<R> {
    from: R,
    at: u64,
    nodes: u64,
    counted: Option<u64>,
    ended: bool,
}

impl<R: Read> Entries<R> {
    /// Reads an archive.
    pub fn new(from: R) -> Entries<R> {
        Entries { from, at: 0, nodes: 0, counted: None, ended: false }
    }

    fn wrong(&self, what: &str) -> Failure {
        Failure::new(Kind::File, format!("offset {}: {what}", self.at))
            .hint("import reads what export wrote")
    }

    fn take(&mut self, bytes: &mut [u8]) -> Result<(), Failure> {
        let read = self.from.read_exact(bytes);
        read.map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => self.wrong("it ends here: it was cut off"),
            _ => Failure::file(format!("offset {}", self.at), &error),
        })?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    fn body(&mut self, size: u64, max: u64) -> Result<Vec<u8>, Failure> {
        if size > max {
            return Err(self.wrong(&format!("an entry of {size} bytes, at most {max} are read")));
        }
        let mut body = vec![0; size as usize];
        self.take(&mut body)?;
        let mut padding = [0; BLOCK];
        let rest = body.len().next_multiple_of(BLOCK) - body.len();
        self.take(&mut padding[..rest])?;
        Ok(body)
    }

    /// The next znode; none behind the end.
    ///
    /// # Errors
    /// If it is no archive of ours, damaged, or cut off.
    pub fn next_node(&mut self) -> Result<Option<Node>, Failure> {
        let mut said = Said::default();
        while !self.ended {
            let mut header = [0; BLOCK];
            self.take(&mut header)?;
            if header == [0; BLOCK] {
                self.ended = true;
                if self.counted != Some(self.nodes) {
                    let counted = self.counted.unwrap_or_default();
                    let text = format!("{counted} znodes were exported, {} are here", self.nodes);
                    return Err(self.wrong(&text));
                }
                break;
            }
            if octal(&header[148..156]) != Some(u64::from(checksum(&header))) {
                return Err(self.wrong("a header whose checksum is wrong"));
            }
            let size = octal(&header[124..136]).ok_or_else(|| self.wrong("a size that is none"))?;
            match header[156] {
                b'x' | b'g' => {
                    let body = self.body(size, EXTENDED_MAX_BYTES)?;
                    self.records(&body, &mut said)?;
                }
                b'0' | 0 => {
                    let body = self.body(size, DATA_MAX_BYTES)?;
                    return self.node(said, body).map(Some);
                }
                _ => {
                    let kind = char::from(header[156]);
                    return Err(self.wrong(&format!("an entry of kind {kind:?}, no znode")));
                }
            }
        }
        Ok(None)
    }

    fn records(&mut self, body: &[u8], said: &mut Said) -> Result<(), Failure> {
        let mut rest = body;
        while !rest.is_empty() {
            let (key, value, length) =
                record(rest).ok_or_else(|| self.wrong("an extended header that is none"))?;
            match key {
                "SCHILY.xattr.user.oxkeeper.path" => said.below = Some(value.to_owned()),
                "SCHILY.xattr.user.oxkeeper.acl" => value.clone_into(&mut said.acl),
                "SCHILY.xattr.user.oxkeeper.mode" => said.mode = Some(value.to_owned()),
                "SCHILY.xattr.user.oxkeeper.null" => said.null = true,
                "comment" => {
                    let count = value.strip_prefix(COUNTED).and_then(|count| count.parse().ok());
                    self.counted = count.or(self.counted);
                }
                _ => {}
            }
            rest = &rest[length..];
        }
        Ok(())
    }

    fn node(&mut self, said: Said, body: Vec<u8>) -> Result<Node, Failure> {
        let (Some(below), Some(mode)) = (said.below, said.mode) else {
            return Err(self.wrong("a file without the headers of a znode"));
        };
        let acl = match serde_json::from_str(&said.acl) {
            Ok(Value::Array(list)) => list.iter().map(acl::from_json).collect::<Option<Vec<_>>>(),
            _ => None,
        };
        let acl = acl.ok_or_else(|| self.wrong("an ACL that is none"))?;
        self.nodes += 1;
        Ok(Node { below, data: (!said.null).then_some(body), acl, ephemeral: mode == "ephemeral" })
    }
}

fn octal(field: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(field).ok()?.trim_matches(['\0', ' ']);
    u64::from_str_radix(text, 8).ok()
}

/// `17 key=value\n`: the key, the value and the length.
fn record(bytes: &[u8]) -> Option<(&str, &str, usize)> {
    let blank = bytes.iter().position(|byte| *byte == b' ')?;
    let length: usize = std::str::from_utf8(&bytes[..blank]).ok()?.parse().ok()?;
    let record = bytes.get(blank + 1..length)?.strip_suffix(b"\n")?;
    let (key, value) = std::str::from_utf8(record).ok()?.split_once('=')?;
    Some((key, value, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(below: &str, data: Option<&[u8]>) -> Node {
        let (mut acl, _) = acl::parse("world:anyone:r,digest:u:p=:cdrwa");
        acl.push(acl::entry_of(1, "x509", "CN=a,OU=b"));
        Node { below: below.to_owned(), data: data.map(<[u8]>::to_vec), acl, ephemeral: false }
    }

    fn written(nodes: &[Node]) -> Vec<u8> {
        let mut out = Vec::new();
        for one in nodes {
            node(&mut out, one, &Stat::default()).unwrap();
        }
        end(&mut out, nodes.len() as u64).unwrap();
        out
    }

    fn read_all(bytes: &[u8]) -> Result<Vec<Node>, Failure> {
        let mut entries = Entries::new(bytes);
        let mut nodes = Vec::new();
        while let Some(node) = entries.next_node()? {
            nodes.push(node);
        }
        Ok(nodes)
    }

    fn samples() -> Vec<Node> {
        let long = format!("/{}/grüße", "x".repeat(150));
        vec![
            sample("", None),
            sample("/a", Some(b"")),
            sample("/a/b=c", Some(&[7; 513])),
            sample(&long, Some(b"one\ntwo")),
        ]
    }

    #[test]
    fn what_is_written_is_read_back() {
        let archive = written(&samples());
        assert!(is_archive(&archive) && archive.len().is_multiple_of(BLOCK));
        assert_eq!(read_all(&archive).unwrap(), samples());
    }

    #[test]
    fn an_archive_that_was_cut_off_or_damaged_is_refused() {
        let archive = written(&samples());
        for blocks in 0..archive.len() / BLOCK - 2 {
            assert!(read_all(&archive[..blocks * BLOCK]).is_err(), "cut at block {blocks}");
        }
        let mut damaged = archive.clone();
        damaged[130] ^= 1;
        assert!(read_all(&damaged).unwrap_err().message.contains("checksum"));
        let none = read_all(&[0; 2 * BLOCK]).unwrap_err().message;
        assert!(none.contains("0 znodes"), "an archive of nothing counts nothing: {none}");
    }

    #[test]
    fn a_size_out_of_bounds_costs_nothing() {
        let mut archive = written(&samples());
        archive[124..136].copy_from_slice(b"77777777777\0");
        let mut header = [0; BLOCK];
        header.copy_from_slice(&archive[..BLOCK]);
        let sum = format!("{:06o}\0 ", checksum(&header));
        archive[148..156].copy_from_slice(sum.as_bytes());
        assert!(read_all(&archive).unwrap_err().message.contains("at most"));
    }
}
