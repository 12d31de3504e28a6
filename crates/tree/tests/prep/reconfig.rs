//! The configuration's znode: who may change it, and what a client is told, as a client of
//! ZooKeeper was told in an ensemble that was reconfigured five times.

use oxkeeper_proto::{ErrorCode, OpCode, Payload, Put, Txn, Zxid};
use oxkeeper_tree::prep::Rules;
use oxkeeper_tree::{AuthId, Changes, Tree, TreeOptions};

use crate::logs::{ENSEMBLE, payloads};
use crate::world::*;

const CONFIG: &str = "/zookeeper/config";
const TEXT: &str = "server.1=a:1:2:participant;0.0.0.0:3\nversion=100000007";

/// What a server sent to its client while its ensemble was reconfigured.
const REPLIES: &[u8] = include_bytes!("../fixtures/3.9.5-reconfig.client.s-c.bin");

/// Body by zxid, of the replies that have one, without the connect response in front.
fn replies() -> Vec<(Zxid, &'static [u8])> {
    let (mut rest, mut out) = (REPLIES, Vec::new());
    let mut next = || -> Option<&'static [u8]> {
        let (len, tail) = rest.split_at_checked(4)?;
        let (frame, tail) = tail.split_at(u32::from_be_bytes(len.try_into().ok()?) as usize);
        rest = tail;
        Some(frame)
    };
    next();
    while let Some(frame) = next() {
        let zxid = Zxid(i64::from_be_bytes(frame[4..12].try_into().unwrap()));
        out.push((zxid, &frame[16..]));
    }
    out
}

fn reconfigure(world: &mut World, text: &str) -> Outcome {
    let outcome = world.propose(|overlay, tree, rules, ctx, out| {
        overlay.prep_reconfig(tree, rules, ctx, text, out)
    });
    check_refusal(&outcome);
    outcome
}

#[test]
fn only_who_may_write_to_the_znode_reconfigures() {
    let mut world = World::new();
    assert_eq!(reconfigure(&mut world, TEXT).prepared.error, ErrorCode::NO_AUTH);
    world.settle();
    assert_eq!(world.tree.node(CONFIG).unwrap().data(), Some(&b""[..]));
    world.auth.push(AuthId::new("super", ""));
    assert_eq!(reconfigure(&mut world, TEXT).prepared.op, OpCode::RECONFIG);
    let mut world = World::with(Rules { skip_acl: true, ..Rules::default() });
    assert_eq!(reconfigure(&mut world, TEXT).prepared.error, ErrorCode::OK);
}

#[test]
fn the_version_stays_and_everything_else_is_the_transactions() {
    let mut world = World::with(Rules { skip_acl: true, ..Rules::default() });
    reconfigure(&mut world, "version=1");
    let outcome = reconfigure(&mut world, TEXT);
    let payload = outcome.decoded();
    let Txn::SetData(set) = &payload.txn else { panic!("{payload:?}") };
    assert_eq!((&*set.path, set.data, set.version), (CONFIG, Some(TEXT.as_bytes()), -1));
    // The next in line sees it before it is applied.
    let stat = world.overlay.stat_of(&world.tree, CONFIG).unwrap();
    assert_eq!((stat.version, stat.mzxid, stat.mtime_ms), (-1, Zxid(2), world.time_ms));
    world.settle();
    let node = world.tree.node(CONFIG).unwrap();
    assert_eq!(node.data(), Some(TEXT.as_bytes()));
    assert_eq!((node.stat().version, node.stat().mzxid), (-1, Zxid(2)));
    let (code, reply) = world.replies.pop().unwrap();
    let mut expected = Vec::new();
    expected.put_buffer(Some(TEXT.as_bytes()));
    node.stat().encode(&mut expected);
    assert_eq!((code, reply), (ErrorCode::OK, expected));
}

#[test]
fn what_no_reader_of_the_log_would_accept_is_refused() {
    let rules = Rules { skip_acl: true, entry_bytes_max: 500, ..Rules::default() };
    let mut world = World::with(rules);
    let refused = reconfigure(&mut world, &"x".repeat(500)).prepared.error;
    assert_eq!(refused, ErrorCode::MARSHALLING_ERROR);
}

#[test]
fn a_client_is_told_what_javas_was() {
    let replies = replies();
    let told = |zxid| replies.iter().rfind(|(at, body)| *at == zxid && body.len() > 100);
    let mut tree = Tree::new(TreeOptions::default());
    // The leader took the configuration as of the beginning of its epoch, which stands in no log.
    let first = Payload::decode(payloads(ENSEMBLE)[0]).unwrap();
    let (_, body) = told(first.header.zxid).unwrap();
    let text_bytes = body.len() - 4 - 68;
    let text = str::from_utf8(&body[4..4 + text_bytes]).unwrap();
    assert!(text.ends_with("version=100000000"), "{text}");
    let digest = tree.digest();
    tree.init_config(text, 0x1_0000_0000, 1_795_172_062_441);
    assert_eq!(tree.digest(), digest, "the server's own znodes do not count");
    let node = tree.node(CONFIG).unwrap();
    let mut answer = Vec::new();
    answer.put_buffer(node.data());
    node.stat().encode(&mut answer);
    assert_eq!(answer, *body);
    let mut compared = 0;
    for bytes in payloads(ENSEMBLE) {
        let payload = Payload::decode(bytes).unwrap();
        let mut reply = Vec::new();
        let code = tree.apply(&payload, &mut Changes::new(), Some(&mut reply));
        if payload.header.op == OpCode::RECONFIG {
            let (_, body) = told(payload.header.zxid).unwrap();
            assert_eq!((code, &*reply), (ErrorCode::OK, *body), "{payload:?}");
            compared += 1;
        }
    }
    assert_eq!(compared, 5);
}
