//! What a snapshot file says, once its bytes are uncompressed: sessions, lists, znodes, sections.
//!
//! Holds whatever comes: nothing panics; a tree that was loaded counts right, reads back from its
//! own snapshot, and from the second time on as the same tree. (The first time it may change:
//! characters beyond U+FFFF leave as Java writes them and come back repaired.)

use oxkeeper_proto::Zxid;
use oxkeeper_tree::{Tree, snapshot};

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
