//! The net holds: a good history in which one thing is changed afterwards is a bad one, and the
//! invariant that says so is the one that is about that thing.

use oxkeeper_proto::Zxid;
use oxkeeper_sim::asked::{Asked, Edit};
use oxkeeper_sim::history::{Fate, Heard, History};
use oxkeeper_sim::invariants::judge;
use oxkeeper_sim::model::parent_of;
use oxkeeper_sim::world::{Plan, World};

/// What a seed leaves that has something of everything in it.
fn history() -> History {
    let mut world = World::new(Plan::new(2));
    world.run();
    let history = world.leave().history;
    assert_eq!(judge(&history), []);
    history
}

/// Who finds what was changed.
fn found(doctor: impl FnOnce(&mut History)) -> Vec<&'static str> {
    let mut history = history();
    doctor(&mut history);
    let mut found: Vec<_> = judge(&history).iter().map(|violation| violation.invariant).collect();
    found.dedup();
    found
}

#[test]
fn another_transaction_in_the_same_place() {
    let found = found(|history| history.applied[20].hash ^= 1);
    assert_eq!(found, ["prefix_consistency"]);
}

#[test]
fn a_transaction_left_out() {
    let found = found(|history| _ = history.applied.remove(20));
    assert_eq!(found, ["prefix_consistency"]);
}

#[test]
fn a_transaction_that_nobody_asked_for() {
    let found = found(|history| {
        let written = |op: &&mut oxkeeper_sim::history::Op| op.asked.is_write();
        let op = history.ops.iter_mut().find(written).unwrap();
        op.xid += 100_000;
    });
    assert!(found.contains(&"integrity"), "{found:?}");
}

#[test]
fn a_number_given_twice() {
    let found = found(|history| {
        let told = history.ops.iter().enumerate().filter_map(|(at, op)| {
            let Asked::Edit(Edit::Create(create)) = &op.asked else { return None };
            let reply = op.reply.as_ref().filter(|reply| reply.err.is_ok())?;
            let plain = create.op == oxkeeper_proto::OpCode::CREATE;
            (create.mode.is_sequential() && plain)
                .then(|| (create.path.clone(), reply.zxid, at, reply.body.clone()))
        });
        let mut told: Vec<_> = told.collect();
        told.sort();
        let pair = told
            .windows(2)
            .find(|pair| pair[0].0 == pair[1].0 && parent_of(&pair[0].0) == "/queue");
        let (at, body) = pair.map(|pair| (pair[1].2, pair[0].3.clone())).unwrap();
        history.ops[at].reply.as_mut().unwrap().body = body;
    });
    assert_eq!(found, ["linearizable_writes", "sequence_numbers"]);
}

#[test]
fn an_answer_of_another_state() {
    let found = found(|history| {
        let read = |op: &&mut oxkeeper_sim::history::Op| {
            matches!(op.asked, Asked::GetData(..))
                && op.reply.as_ref().is_some_and(|r| r.err.is_ok())
        };
        let op = history.ops.iter_mut().find(read).unwrap();
        *op.reply.as_mut().unwrap().body.last_mut().unwrap() ^= 1;
    });
    assert_eq!(found, ["sequential_reads"]);
}

#[test]
fn a_write_ordered_before_one_that_was_known_when_it_was_sent() {
    let found = found(|history| {
        // The answer of a late write is made out to have come before everything.
        let late = |op: &&mut oxkeeper_sim::history::Op| op.asked.is_write() && op.reply.is_some();
        let op = history.ops.iter_mut().rev().find(late).unwrap();
        op.reply.as_mut().unwrap().at = 0;
    });
    assert!(found.contains(&"linearizable_writes"), "{found:?}");
}

#[test]
fn an_event_unheard_and_an_event_heard_twice() {
    let event =
        |heard: &(u64, Heard)| matches!(heard.1, Heard::Event { zxid, .. } if zxid > Zxid(0));
    let lost = found(|history| {
        let conn = history.conns.iter_mut().find(|conn| conn.open && conn.heard.iter().any(event));
        let conn = conn.unwrap();
        let at = conn.heard.iter().position(event).unwrap();
        conn.heard.remove(at);
    });
    let twice = found(|history| {
        let conn = history.conns.iter_mut().find(|conn| conn.heard.iter().any(event)).unwrap();
        let at = conn.heard.iter().position(event).unwrap();
        conn.heard.insert(at, conn.heard[at].clone());
    });
    assert_eq!((lost, twice), (vec!["watch_once_in_order"], vec!["watch_once_in_order"]));
}

#[test]
fn a_client_that_says_what_it_cannot_know() {
    let found = found(|history| {
        let (_, fate) = history.fates.iter_mut().find(|(_, fate)| *fate == Fate::Unknown).unwrap();
        *fate = Fate::Answered(Zxid(1));
    });
    assert_eq!(found, ["client_tells_true"]);
}

#[test]
fn a_log_damaged_where_nothing_was_lost() {
    let amiss = Some("a gap in the log".to_owned());
    assert_eq!(found(|history| history.holdings[1].amiss = amiss), ["recovery_clean"]);
}

#[test]
fn a_client_that_never_gets_its_answer() {
    let found = found(|history| history.unfinished.push("client 1 waits".to_owned()));
    assert_eq!(found, ["liveness"]);
}
