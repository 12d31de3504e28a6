//! What a snapshot consists of, and its bytes.
//!
//! Both parts are handles taken from the tree and nothing more: they can go to another thread and
//! be encoded there, long after the tree has moved on. The bytes are Java's (`FileSnap.serialize`).

use oxkeeper_proto::{Put, SessionId, TxnDigest, Zxid};

use crate::acl_table::{AclHandle, AclId};
use crate::dir::ChildRun;
use crate::snapshot::cursor::Cursor;
use crate::tree::Tree;
use crate::znode::Node;

/// "ZKSN" (`FileSnap.SNAP_MAGIC`).
pub(crate) const MAGIC: i32 = 0x5a4b_534e;
/// The version of the format.
pub(crate) const VERSION: i32 = 2;

/// Appends the header of a file.
pub fn encode_header(out: &mut Vec<u8>) {
    out.put_int(MAGIC);
    out.put_int(VERSION);
    out.put_long(-1);
}

/// Everything of a snapshot but the znodes, captured at the beginning.
#[derive(Debug, Clone)]
pub struct SnapshotHead {
    zxid: Zxid,
    lineage: u64,
    digest: Option<i64>,
    sessions: Vec<(SessionId, i32)>,
    acls: Vec<(AclId, AclHandle)>,
}

impl SnapshotHead {
    pub(crate) fn of(tree: &Tree) -> SnapshotHead {
        SnapshotHead {
            zxid: tree.last_zxid(),
            lineage: tree.lineage(),
            digest: tree.options().digest_enabled.then(|| tree.digest()),
            sessions: tree.sessions().collect(),
            acls: tree.acls.iter().map(|(id, list)| (id, list.clone())).collect(),
        }
    }

    /// The last transaction in the snapshot: what its file is named after.
    pub fn zxid(&self) -> Zxid {
        self.zxid
    }

    /// The history it belongs to, see [`Tree::lineage`].
    pub fn lineage(&self) -> u64 {
        self.lineage
    }

    /// The tree's digest; `None` with digests off: then nothing follows the first seal.
    pub fn digest(&self) -> Option<i64> {
        self.digest
    }

    /// Appends header, sessions and access control lists.
    pub fn encode(&self, out: &mut Vec<u8>) {
        encode_header(out);
        out.put_int(self.sessions.len() as i32);
        for (session, timeout_ms) in &self.sessions {
            out.put_long(session.0);
            out.put_int(*timeout_ms);
        }
        out.put_int(self.acls.len() as i32);
        for (id, list) in &self.acls {
            out.put_long(id.on_disk());
            out.extend_from_slice(list.raw());
        }
    }

    /// Appends the end of the znodes. The first seal follows.
    pub fn encode_end(&self, out: &mut Vec<u8>) {
        out.put_string("/");
    }

    /// Appends the digest section, if there is one; false if not.
    pub fn encode_digest(&self, out: &mut Vec<u8>) -> bool {
        let Some(tree_digest) = self.digest else { return false };
        out.put_long(self.zxid.0);
        TxnDigest { version: TxnDigest::VERSION, tree_digest }.encode(out);
        true
    }

    /// Appends the last zxid. Only behind a digest section.
    pub fn encode_last_zxid(&self, out: &mut Vec<u8>) {
        out.put_long(self.zxid.0);
    }
}

/// Some znodes of a snapshot, to be encoded on any thread.
#[derive(Debug, Default)]
pub struct Chunk {
    /// Paths of directories, one behind the other.
    paths: String,
    pieces: Vec<Piece>,
    nodes: Vec<Node>,
    runs: Vec<ChildRun>,
    /// What the walk kept for nothing, dropped with the last chunk.
    leftovers: Option<Box<Cursor>>,
}

/// Children of one directory.
#[derive(Debug)]
struct Piece {
    path_start: usize,
    path_end: usize,
    what: What,
}

#[derive(Debug)]
enum What {
    Root(usize),
    Nodes(usize, usize),
    Run(usize),
}

impl Chunk {
    /// Znodes in the chunk.
    pub fn len(&self) -> usize {
        self.nodes.len() + self.runs.iter().map(|run| run.len()).sum::<usize>()
    }

    /// True if there are none: possible, and of no meaning.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends the znodes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        for piece in &self.pieces {
            let dir = &self.paths[piece.path_start..piece.path_end];
            match piece.what {
                What::Root(at) => {
                    out.put_string("");
                    put_node(&self.nodes[at], out);
                }
                What::Nodes(start, end) => put_children(dir, &self.nodes[start..end], out),
                What::Run(at) => put_children(dir, self.runs[at].items(), out),
            }
        }
    }

    pub(crate) fn push_root(&mut self, root: Node) {
        let at = self.nodes.len();
        self.nodes.push(root);
        self.push_piece("", What::Root(at));
    }

    pub(crate) fn push_run(&mut self, dir: &str, run: ChildRun) {
        let at = self.runs.len();
        self.runs.push(run);
        self.push_piece(dir, What::Run(at));
    }

    pub(crate) fn begin_nodes(&mut self, dir: &str) {
        let at = self.nodes.len();
        self.push_piece(dir, What::Nodes(at, at));
    }

    pub(crate) fn push_node(&mut self, node: Node) {
        self.nodes.push(node);
    }

    pub(crate) fn end_nodes(&mut self) {
        let len = self.nodes.len();
        if let Some(Piece { what: What::Nodes(_, end), .. }) = self.pieces.last_mut() {
            *end = len;
        }
    }

    pub(crate) fn keep_until_dropped(&mut self, cursor: Cursor) {
        self.leftovers = Some(Box::new(cursor));
    }

    fn push_piece(&mut self, dir: &str, what: What) {
        let path_start = self.paths.len();
        self.paths.push_str(dir);
        self.pieces.push(Piece { path_start, path_end: self.paths.len(), what });
    }
}

fn put_children(dir: &str, nodes: &[Node], out: &mut Vec<u8>) {
    let plain_dir = dir.bytes().all(|b| b < 0xf0);
    for node in nodes {
        if plain_dir && node.is_plain() {
            let name = node.name();
            out.put_int((dir.len() + 1 + name.len()) as i32);
            out.extend_from_slice(dir.as_bytes());
            out.push(b'/');
            out.extend_from_slice(name);
        } else {
            out.put_string(&format!("{dir}/{}", node.name_str()));
        }
        put_node(node, out);
    }
}

fn put_node(node: &Node, out: &mut Vec<u8>) {
    out.put_buffer(node.data());
    out.put_long(node.acl().on_disk());
    node.stat().encode(out);
}
