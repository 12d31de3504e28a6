//! What a snapshot file says, once its bytes are uncompressed: sessions, lists, znodes, sections.
//!
//! Holds whatever comes: nothing panics; a tree that was loaded counts right, reads back from its
//! own snapshot, and from the second time on as the same tree. (The first time it may change:
//! characters beyond U+FFFF leave as Java writes them and come back repaired.)

use oxkeeper_proto::Zxid;
use oxkeeper_tree::snapshot::{Body, Loaded, SIGNATURE};
use oxkeeper_tree::{Tree, TreeOptions, snapshot};

use crate::snapshot_file::{File, end, head, load};
use crate::state::{options, state};

/// The first byte chooses options, whether seals are compared, and whether the beginning that every
/// file has is there or understood; the second is the zxid of the file's name.
pub fn run(data: &[u8]) {
    let [bits, zxid, rest @ ..] = data else { return };
    let options = options(*bits);
    let mut bytes = Vec::new();
    if bits & 0x10 == 0 {
        bytes.extend_from_slice(b"ZKSN\0\0\0\x02\xff\xff\xff\xff\xff\xff\xff\xff");
    }
    bytes.extend_from_slice(rest);
    let mut file = File { bytes: &bytes, at: 0, seals: bits & 8 != 0 };
    let zxid = Zxid(i64::from(*zxid));
    let Ok(mut loaded) = snapshot::load(&mut file, options, zxid) else { return };
    assert_eq!(loaded.tree.last_zxid(), zxid);
    assert_eq!(state(&sent(&bytes, options, zxid).tree), state(&loaded.tree));
    let first = state(&loaded.tree);
    assert_eq!(first.unreachable, 0, "every znode has a parent");
    loaded.tree.remove_orphans();
    state(&loaded.tree);

    let once = snapshot_of(&mut loaded.tree);
    let mut second = load(&once, options, zxid).expect("what we write can be read");
    let twice = snapshot_of(&mut second.tree);
    let third = load(&twice, options, zxid).expect("what we write can be read");
    assert_eq!(third.tree.stats().digest_mismatches, 0);
    assert_eq!(state(&third.tree), state(&second.tree));
    assert_eq!(third.tree.ephemeral_count(), second.tree.ephemeral_count());
}

/// The tree of a learner to which the file was sent, in small pieces.
fn sent(file: &[u8], options: TreeOptions, zxid: Zxid) -> Loaded {
    let mut file = File { bytes: file, at: 0, seals: false };
    let (mut body, mut stream) = (Body::default(), Vec::new());
    loop {
        let mut piece = Vec::new();
        let done = body.copy(&mut file, &mut piece, 50).expect("what can be read can be sent");
        stream.extend(piece);
        if done {
            break;
        }
    }
    stream.extend_from_slice(SIGNATURE);
    let mut stream = File { bytes: &stream, at: 0, seals: false };
    let loaded = snapshot::load_stream(&mut stream, options, zxid);
    assert_eq!(stream.bytes.len() - stream.at, SIGNATURE.len());
    loaded.expect("what was sent can be read")
}

/// The whole file of a snapshot during which nothing changes.
fn snapshot_of(tree: &mut Tree) -> Vec<u8> {
    let begun = tree.snapshot_begin().expect("no other is under way");
    let mut file = head(&begun);
    while let Some(chunk) = tree.snapshot_next(7) {
        chunk.encode(&mut file);
    }
    end(&begun, &mut file);
    file
}
