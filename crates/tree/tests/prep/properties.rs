//! Whatever is asked, however deep the pipeline: the tree becomes what was foretold.

use oxkeeper_proto::request::CreateRequest;
use oxkeeper_proto::{ErrorCode, OpCode, SessionId};
use oxkeeper_tree::prep::Rules;
use proptest::prelude::*;

use crate::world::*;

/// One write, by small numbers so that writes meet each other.
#[derive(Debug, Clone)]
enum Write {
    Create { kind: usize, path: usize, data: u8, acl: usize },
    Delete { path: usize, version: i32 },
    SetData { path: usize, data: u8, version: i32 },
    SetAcl { path: usize, acl: usize, version: i32 },
    Check { path: usize, version: i32 },
    DeleteContainer { path: usize },
    CloseSession { session: usize },
    CreateSession,
    Error,
    Multi(Vec<Write>),
}

#[derive(Debug, Clone)]
struct Step {
    session: usize,
    write: Write,
    /// How many of those under way are applied afterwards.
    applied: usize,
}

const PATHS: [&str; 12] = [
    "/",
    "/a",
    "/b",
    "/a/a",
    "/a/b",
    "/a/a/a",
    "/b/a",
    "/a/q",
    "/zookeeper/a",
    "/zookeeper",
    "/a//b",
    "",
];
const KINDS: [(OpCode, i32, i64); 10] = [
    (OpCode::CREATE, 0, -1),
    (OpCode::CREATE2, 0, -1),
    (OpCode::CREATE, 1, -1),
    (OpCode::CREATE2, 2, -1),
    (OpCode::CREATE, 3, -1),
    (OpCode::CREATE_CONTAINER, 4, -1),
    (OpCode::CREATE_TTL, 5, 100),
    (OpCode::CREATE_TTL, 6, 100),
    (OpCode::CREATE, 4, -1),
    (OpCode::CREATE_TTL, 0, -1),
];
const SESSIONS: [SessionId; 3] = [SESSION, OTHER, SessionId(-5)];

fn acls() -> [Vec<u8>; 4] {
    [
        acl(&[(31, "world", "anyone")]),
        acl(&[(31, "auth", ""), (31, "auth", "")]),
        acl(&[(17, "world", "anyone"), (12, "ip", "127.0.0.0/8")]),
        acl(&[(31, "nothing", "a")]),
    ]
}

/// What may stand in a multi.
fn part() -> impl Strategy<Value = Write> {
    let path = 0..PATHS.len();
    let version = prop_oneof![4 => Just(-1), 1 => 0..3i32];
    prop_oneof![
        6 => (0..KINDS.len(), path.clone(), any::<u8>(), 0..40usize).prop_map(
            |(kind, path, data, acl)| Write::Create { kind, path, data, acl }
        ),
        4 => (path.clone(), version.clone())
            .prop_map(|(path, version)| Write::Delete { path, version }),
        2 => (path.clone(), any::<u8>(), version.clone())
            .prop_map(|(path, data, version)| Write::SetData { path, data, version }),
        1 => (path, version).prop_map(|(path, version)| Write::Check { path, version }),
    ]
}

fn write() -> impl Strategy<Value = Write> {
    prop_oneof![
        12 => part(),
        1 => (0..PATHS.len(), 0..4usize, -1..3i32)
            .prop_map(|(path, acl, version)| Write::SetAcl { path, acl, version }),
        3 => prop::collection::vec(part(), 0..6).prop_map(Write::Multi),
        1 => (0..PATHS.len()).prop_map(|path| Write::DeleteContainer { path }),
        1 => (0..SESSIONS.len()).prop_map(|session| Write::CloseSession { session }),
        1 => Just(Write::CreateSession),
        1 => Just(Write::Error),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (0..SESSIONS.len(), write(), prop_oneof![4 => Just(0), 1 => 0..8usize])
        .prop_map(|(session, write, applied)| Step { session, write, applied });
    prop::collection::vec(step, 1..80)
}

fn data(byte: &u8) -> Option<&[u8]> {
    match byte % 4 {
        0 => None,
        1 => Some(&[]),
        _ => Some(std::slice::from_ref(byte)),
    }
}

fn request<'a>(
    write: &'a Write,
    acls: &'a [Vec<u8>; 4],
    body: &'a mut Vec<u8>,
) -> oxkeeper_proto::Request<'a> {
    use oxkeeper_proto::{AclList, Request};
    match write {
        Write::Create { kind, path, data: byte, acl } => {
            let (op, flags, ttl_ms) = KINDS[*kind];
            let acl = AclList::from_raw(&acls[if *acl < 4 { *acl } else { 0 }]).unwrap();
            let data = data(byte);
            let path = PATHS[*path];
            Request::Create(CreateRequest { op, path: path.into(), data, acl, flags, ttl_ms })
        }
        Write::Delete { path, version } => delete(PATHS[*path], *version),
        Write::SetData { path, data: byte, version } => {
            set_data(PATHS[*path], data(byte).unwrap_or(&[]), *version)
        }
        Write::SetAcl { path, acl, version } => set_acl(PATHS[*path], &acls[*acl], *version),
        Write::Check { path, version } => check(PATHS[*path], *version),
        Write::Multi(writes) => {
            let mut none = vec![Vec::new(); writes.len()];
            let ops =
                writes.iter().zip(&mut none).map(|(write, none)| op(request(write, acls, none)));
            *body = multi_body(ops);
            multi(body)
        }
        _ => unreachable!("not a client's"),
    }
}

/// A payload, with the order of what a closeSession lists left out: what was committed comes first.
fn comparable(payload: &[u8]) -> (Vec<u8>, Vec<String>) {
    let decoded = oxkeeper_proto::Payload::decode(payload).unwrap();
    let oxkeeper_proto::Txn::CloseSession(Some(list)) = decoded.txn else {
        return (payload.to_vec(), Vec::new());
    };
    let mut paths: Vec<_> = list.iter().map(|path| path.into_owned()).collect();
    paths.sort();
    let mut rest = Vec::new();
    decoded.header.encode(&mut rest);
    decoded.digest.expect("digests are on").encode(&mut rest);
    (rest, paths)
}

fn run(steps: &[Step], pipelined: bool, rules: Rules) -> World {
    let mut world = World::with(rules);
    world.auth.push(oxkeeper_tree::AuthId::new("digest", "a:b"));
    let acls = acls();
    for step in steps {
        world.session = SESSIONS[step.session];
        let outcome = match &step.write {
            Write::DeleteContainer { path } => world.propose(|overlay, tree, rules, ctx, out| {
                overlay.prep_delete_container(tree, rules, ctx, PATHS[*path], out)
            }),
            Write::CloseSession { session } => world.propose(|overlay, tree, rules, ctx, out| {
                overlay.prep_close_session(tree, rules, ctx, SESSIONS[*session], out)
            }),
            Write::CreateSession => world.propose(|overlay, tree, rules, ctx, out| {
                overlay.prep_create_session(tree, rules, ctx, 4000, out)
            }),
            Write::Error => world.propose(|overlay, _, _, ctx, out| {
                overlay.prep_error(ctx, ErrorCode::MARSHALLING_ERROR, out)
            }),
            write => world.request(&request(write, &acls, &mut Vec::new())),
        };
        check_refusal(&outcome);
        world.history.push(outcome.payload);
        let count = if pipelined { step.applied.min(world.under_way.len()) } else { 1 };
        world.apply(count);
    }
    world.settle();
    world
}

fn config() -> ProptestConfig {
    ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    /// Digests hold after every transaction, what was accepted is applied without error, and the
    /// depth of the pipeline changes no byte of any transaction nor any reply.
    #[test]
    fn the_pipeline_changes_nothing(steps in steps()) {
        let rules = Rules { owners: extended(), ..Rules::default() };
        let deep = run(&steps, true, rules.clone());
        let flat = run(&steps, false, rules);
        for (at, (deep, flat)) in deep.history.iter().zip(&flat.history).enumerate() {
            prop_assert_eq!(comparable(deep), comparable(flat), "step {}", at);
        }
        prop_assert_eq!(&deep.replies, &flat.replies);
        prop_assert_eq!(deep.tree.digest(), flat.tree.digest());
        for (payload, (code, _)) in deep.history.iter().zip(&deep.replies) {
            let payload = oxkeeper_proto::Payload::decode(payload).unwrap();
            let expected = match payload.txn {
                oxkeeper_proto::Txn::Error(code) => code,
                _ => ErrorCode::OK,
            };
            prop_assert_eq!(*code, expected, "{:?}", payload);
        }
    }

    /// Nothing larger than an entry is ever proposed, and taking it back leaves no trace.
    #[test]
    fn no_transaction_outgrows_its_entry(steps in steps(), entry_bytes_max in 90usize..260) {
        let rules = Rules { owners: extended(), entry_bytes_max, ..Rules::default() };
        let world = run(&steps, true, rules);
        for payload in &world.history {
            prop_assert!(payload.len() <= entry_bytes_max);
        }
    }

    /// Without digests the transactions are the same but for them.
    #[test]
    fn digests_are_only_added(steps in steps()) {
        let rules = Rules { owners: extended(), digest_enabled: false, ..Rules::default() };
        let without = run(&steps, true, rules.clone());
        let with = run(&steps, true, Rules { digest_enabled: true, ..rules });
        for (without, with) in without.history.iter().zip(&with.history) {
            let mut with = oxkeeper_proto::Payload::decode(with).unwrap();
            with.digest = None;
            let without = oxkeeper_proto::Payload::decode(without).unwrap();
            prop_assert_eq!(without, with);
        }
    }
}
