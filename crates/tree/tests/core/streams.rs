//! Snapshots on their way between servers: taken out of a file, read from a stream.

use oxkeeper_proto::{OpCode, TxnDigest, Zxid};
use oxkeeper_tree::LoadError;
use oxkeeper_tree::snapshot::{self, Body, SIGNATURE};

use crate::support::{
    File, FileError, OPTIONS, Writer, payload, set_acl, set_data, snapshot_of, state,
};

fn server() -> Writer {
    let mut writer = Writer::new();
    for n in 0..300 {
        writer.create(&format!("/n{n}"));
        writer.create(&format!("/n{n}/slash"));
    }
    writer.create_ephemeral(1, "/n7/e");
    writer.apply(1, OpCode::SET_ACL, set_acl("/n9", &crate::support::acl_of("someone"), 1));
    writer.set("/n3", "/");
    writer
}

/// The body of a file, in pieces of about so many bytes.
fn body(file: &[u8], enough: usize) -> Result<Vec<Vec<u8>>, LoadError<FileError>> {
    let (mut body, mut source) = (Body::default(), File::new(file));
    let mut pieces = Vec::new();
    loop {
        let mut piece = Vec::new();
        let done = body.copy(&mut source, &mut piece, enough)?;
        pieces.push(piece);
        if done {
            return Ok(pieces);
        }
    }
}

#[test]
fn a_body_is_what_stands_between_header_and_seal() {
    let mut server = server();
    let file = snapshot_of(&mut server.tree);
    let seals = 13 + 20 + 13 + 8 + 13;
    let expected = &file[16..file.len() - seals];
    for enough in [1, 100, 5000, usize::MAX] {
        let pieces = body(&file, enough).unwrap();
        assert!(pieces.concat() == expected, "in pieces of {enough}");
        let (_, all_but_last) = pieces.split_last().unwrap();
        assert!(all_but_last.iter().all(|piece| (enough..enough + 200).contains(&piece.len())));
    }
    let stream = [expected, SIGNATURE, b"more"].concat();
    let mut source = File::new(&stream);
    let zxid = server.tree.last_zxid();
    let loaded = snapshot::load_stream(&mut source, OPTIONS, zxid).unwrap();
    assert_eq!(state(&loaded.tree), state(&server.tree));
    assert_eq!(loaded.unreadable_acls, 0);
    use snapshot::SnapshotSource;
    assert_eq!(source.next_bytes(18).unwrap(), b"\0\0\0\x0aBenWasHeremore");
}

#[test]
fn damage_shows_before_the_end_of_the_body() {
    let mut server = server();
    let file = snapshot_of(&mut server.tree);
    for at in (0..file.len() - 60).step_by(37) {
        let mut damaged = file.clone();
        damaged[at] ^= 4;
        assert!(body(&damaged, 1000).is_err(), "at {at}");
        assert!(body(&file[..at], 1000).is_err(), "cut at {at}");
    }
}

/// A leader of Apache's sends its tree while it changes: transactions come that are in it already.
#[test]
fn what_was_sent_while_it_changed_is_compared_once_it_has_settled() {
    let mut leader = Writer::new();
    leader.create("/a");
    // The stream is said to end here, and has the next three as well.
    let named = Zxid(leader.zxid);
    let mut digests = Vec::new();
    let mut stream = Vec::new();
    for round in 1..=6 {
        leader.set("/a", &round.to_string());
        digests.push(leader.tree.digest());
        if round == 3 {
            stream = body(&snapshot_of(&mut leader.tree), usize::MAX).unwrap().concat();
        }
    }
    let loaded = snapshot::load_stream(&mut File::new(&stream), OPTIONS, named).unwrap();
    let mut learner = Writer { tree: loaded.tree, zxid: named.0, ..Writer::new() };
    let mut mismatches = Vec::new();
    for (round, digest) in (1..).zip(&digests) {
        learner.zxid += 1;
        let text = round.to_string();
        let set = set_data("/a", Some(text.as_bytes()), round);
        let mut told = payload(1, learner.zxid, OpCode::SET_DATA, set);
        let wrong = i64::from(round == 5);
        told.digest = Some(TxnDigest { version: 2, tree_digest: digest + wrong });
        learner.tree.apply(&told, &mut learner.changes, None);
        mismatches.push(learner.tree.stats().digest_mismatches);
    }
    // The first two miss theirs, and nobody is told; the fifth misses a wrong one.
    assert_eq!(mismatches, [0, 0, 0, 0, 1, 1]);
    assert_eq!(state(&learner.tree).znodes.get("/a"), state(&leader.tree).znodes.get("/a"));
}
