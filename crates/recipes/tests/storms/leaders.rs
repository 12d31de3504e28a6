//! Elections, barriers, and jobs at their time: who leads by the server's tree, who passed too
//! early, which tick ran twice or not at all.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex as StdMutex};
use std::time::Duration;

use oxkeeper_recipes::port::Standing;
use oxkeeper_recipes::{
    Barrier, DoubleBarrier, Election, ElectionLayout, HandOver, Job, Layout, Led, Missed, Schedule,
    Scheduler, WorkerState,
};

use crate::crew::{Complaints, Crew, Machine};
use crate::executor::Sim;
use crate::weather::{
    CALM, CHANGES, CUTS, KINDS, OUTAGES, STORM, TEMPEST, WIPES, Weather, weather,
};
use crate::world::{MS, SECOND, World};
use crate::{many, seeds};

/// How a session stands before it begins.
const OUT: Standing = Standing::Suspended(Duration::ZERO);

fn layout(seed: u64) -> ElectionLayout {
    let all = [ElectionLayout::Latch, ElectionLayout::Selector, ElectionLayout::Kazoo];
    all[(seed / KINDS % 3) as usize]
}

/// Terms that are on, by token.
type Terms = Arc<StdMutex<BTreeMap<i64, String>>>;

/// A term begins; complains if another is on whose candidate is there.
fn begin(world: &World, terms: &Terms, path: &str, token: i64, complaints: &Complaints) {
    let (mut terms, ground) = (terms.lock().unwrap(), world.lock());
    // A token is that of the candidate's own znode, and of no other.
    if ground.czxid(path).is_some_and(|czxid| czxid != token) {
        complaints.add(format!("{path} leads with token {token}"));
    }
    if ground.czxid(path) == Some(token) {
        for (other, at) in terms.iter().filter(|(other, _)| **other != token) {
            if ground.czxid(at) == Some(*other) {
                complaints.add(format!("{path} and {at} both lead"));
            }
        }
    }
    terms.insert(token, path.to_owned());
}

#[test]
fn one_leads_and_when_it_goes_another_does() {
    for seed in seeds(56) {
        let (terms, complaints): (Terms, _) = (Arc::default(), Complaints::default());
        let work = |mut own: Machine| {
            let (terms, complaints) = (Arc::clone(&terms), complaints.clone());
            async move {
                let mut led = 0;
                while led < 4 {
                    let election = Election::new(own.keeper(), "/leader").layout(layout(seed));
                    let (world, number, time) = (own.world.clone(), own.number, own.dice.below(90));
                    let (began, heard) = (Arc::clone(&terms), complaints.clone());
                    let term = election.lead(|leadership| async move {
                        let token = leadership.token().0;
                        begin(&world, &began, leadership.path(), token, &heard);
                        world.rest(number, time * MS).await;
                        began.lock().unwrap().remove(&token);
                    });
                    match term.await {
                        Ok(Led::Done(())) => led += 1,
                        Ok(Led::Lost) => {}
                        Err(error) if error.is_session_over() => {}
                        Err(error) => return complaints.add(error.to_string()),
                    }
                }
            }
        };
        let mut crew = Crew::new(seed, weather(seed), 4, work);
        let stuck = crew.finish();
        complaints.none(seed);
        assert!(stuck.is_empty(), "OXKEEPER_SEED={seed}: {stuck:?} wait for nothing");
        assert_eq!(crew.sim.world.lock().names("/leader"), [""; 0], "OXKEEPER_SEED={seed}");
    }
}

#[test]
fn a_latch_leads_with_one_session_after_another_and_not_while_out_of_touch() {
    for seed in seeds(42) {
        let (terms, complaints): (Terms, _) = (Arc::default(), Complaints::default());
        let work = |own: Machine| {
            let (terms, complaints) = (Arc::clone(&terms), complaints.clone());
            async move {
                let sessions = own.sessions().await;
                let mut latch = Election::new(&sessions, "/leader").stand().await.unwrap();
                for _ in 0..3 {
                    let Ok(leadership) = latch.elected().await else {
                        return complaints.add("it stands no more".to_owned());
                    };
                    let token = leadership.token().0;
                    begin(&own.world, &terms, leadership.path(), token, &complaints);
                    // Leads for a while, or until it does not any more.
                    tokio::select! {
                        biased;
                        _ = latch.changed() => {}
                        () = own.rest(60 * MS) => {}
                    }
                    terms.lock().unwrap().remove(&token);
                    if latch.leadership().is_some() {
                        latch.close().await;
                        own.rest(20 * MS).await;
                        latch = Election::new(&sessions, "/leader").stand().await.unwrap();
                    }
                }
                latch.close().await;
            }
        };
        let mut crew = Crew::new(seed, weather(seed), 3, work);
        let stuck = crew.finish();
        complaints.none(seed);
        assert!(stuck.is_empty(), "OXKEEPER_SEED={seed}: {stuck:?} wait for nothing");
        assert_eq!(crew.sim.world.lock().names("/leader"), [""; 0], "OXKEEPER_SEED={seed}");
    }
}

#[test]
fn who_waits_at_a_barrier_passes_when_it_opens_whatever_the_weather() {
    for seed in seeds(30) {
        let (closed, opened) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let complaints = Complaints::default();
        let work = |mut own: Machine| {
            let (closed, opened) = (Arc::clone(&closed), Arc::clone(&opened));
            let complaints = complaints.clone();
            async move {
                loop {
                    let barrier = Barrier::new(own.keeper(), "/gate/way");
                    if own.number == 1 {
                        if barrier.close().await.is_err() {
                            continue;
                        }
                        closed.store(true, Ordering::Relaxed);
                        own.rest(3 * SECOND).await;
                        opened.store(true, Ordering::Relaxed);
                        if barrier.open().await.is_ok() {
                            return;
                        }
                        continue;
                    }
                    while !closed.load(Ordering::Relaxed) {
                        own.idle(100 * MS).await;
                    }
                    match barrier.passed().await {
                        Ok(()) if opened.load(Ordering::Relaxed) => return,
                        Ok(()) => return complaints.add("passed a closed barrier".to_owned()),
                        Err(_) => {}
                    }
                }
            }
        };
        let weather = [CUTS, OUTAGES, CALM, WIPES, CHANGES][(seed % 5) as usize];
        let mut crew = Crew::new(seed, weather, 4, work);
        assert_eq!(crew.finish(), [0; 0], "OXKEEPER_SEED={seed}");
        complaints.none(seed);
    }
}

#[test]
fn nobody_passes_because_its_server_has_not_heard_that_the_barrier_is_closed() {
    let mut sim = Sim::new(14, Weather { servers: 3, ..CALM });
    let keepers: Vec<_> = (0..12).map(|machine| sim.world.connect(machine)).collect();
    let up: Vec<_> = keepers.iter().map(|keeper| keeper.port().standing_other_than(OUT)).collect();
    for (machine, up) in up.into_iter().enumerate() {
        assert_eq!(sim.run(machine, up), Standing::Connected);
    }
    let (behind, ahead) = {
        let ground = sim.world.lock();
        let at = |seat: &usize| ground.server_of(*seat).unwrap();
        let follows = |seat: &usize| !ground.servers[at(seat)].leads();
        let behind = (0..12).find(follows).expect("the session of a follower");
        (behind, (0..12).find(|seat| at(seat) != at(&behind)).expect("another's"))
    };
    let follower = sim.world.lock().server_of(behind).unwrap();
    sim.world.lock().part(follower);
    let closing = Barrier::new(&keepers[ahead], "/gate");
    let opening = closing.clone();
    assert!(sim.run(ahead, async move { closing.close().await.unwrap() }));
    let (passed, waiting) =
        (Arc::new(AtomicBool::new(false)), Barrier::new(&keepers[behind], "/gate"));
    let seen = Arc::clone(&passed);
    sim.spawn(behind, async move {
        waiting.passed().await.unwrap();
        seen.store(true, Ordering::Relaxed);
    });
    sim.pass(300 * MS);
    sim.calm();
    sim.pass(10 * SECOND);
    assert!(!passed.load(Ordering::Relaxed), "passed a closed barrier");
    assert!(sim.run(ahead, async move { opening.open().await.unwrap() }));
    sim.pass(SECOND);
    assert!(passed.load(Ordering::Relaxed), "it is open");
}

#[test]
fn all_come_before_one_is_in_and_all_go_before_one_is_out() {
    let (mut whole, mut runs) = (0, 0);
    for seed in seeds(42) {
        let layout = if seed % 2 == 0 { Layout::Curator } else { Layout::Kazoo };
        // Who has come, who has begun to go, and whose session has ended on the way.
        let counts = Arc::new(StdMutex::new((0, 0, 0)));
        let early = Arc::new(AtomicBool::new(false));
        let complaints = Complaints::default();
        let work = |mut own: Machine| {
            let (counts, complaints) = (Arc::clone(&counts), complaints.clone());
            let early = Arc::clone(&early);
            async move {
                own.idle(800 * MS).await;
                let barrier = DoubleBarrier::new(own.keeper(), "/meeting", 4).layout(layout);
                counts.lock().unwrap().0 += 1;
                let entered = barrier.enter().await;
                let (come, ..) = *counts.lock().unwrap();
                // Who is told that its session has ended counts as gone from then on.
                let inside = match entered {
                    Ok(inside) => inside,
                    Err(error) if error.is_session_over() => return counts.lock().unwrap().2 += 1,
                    Err(error) => return complaints.add(error.to_string()),
                };
                if come < 4 {
                    complaints.add("in before all had come".to_owned());
                }
                own.idle(300 * MS).await;
                counts.lock().unwrap().1 += 1;
                match inside.leave().await {
                    Ok(()) => {}
                    Err(error) if error.is_session_over() => return counts.lock().unwrap().2 += 1,
                    Err(error) => return complaints.add(error.to_string()),
                }
                if counts.lock().unwrap().1 < 4 {
                    early.store(true, Ordering::Relaxed);
                }
            }
        };
        // kazoo's layout does not promise it to those who are out of touch.
        let weather = match layout {
            Layout::Curator => [CUTS, OUTAGES, WIPES][(seed / 2 % 3) as usize],
            Layout::Kazoo => CALM,
        };
        let mut crew = Crew::new(seed, weather, 4, work);
        let stuck = crew.finish();
        complaints.none(seed);
        runs += 1;
        // Three of four wait for the fourth, as they should: it is not to come again.
        if counts.lock().unwrap().2 == 0 {
            whole += 1;
            assert!(stuck.is_empty(), "OXKEEPER_SEED={seed}: {stuck:?} wait for nothing");
            assert_eq!(crew.sim.world.lock().names("/meeting"), [""; 0], "OXKEEPER_SEED={seed}");
            let early = early.load(Ordering::Relaxed);
            assert!(!early, "OXKEEPER_SEED={seed}: out before all had gone");
        }
    }
    assert!(
        whole * 10 >= runs * 9 || !many(),
        "{whole} of {runs} runs without the end of a session"
    );
}

#[test]
fn who_looks_when_the_first_has_left_a_double_barrier_of_kazoo_again_is_in() {
    let mut sim = Sim::new(15, CALM);
    let done = Arc::new(StdMutex::new(0));
    let [late, quick] = [0, 1].map(|machine| {
        let (keeper, done) = (sim.world.connect(machine), Arc::clone(&done));
        async move {
            let meeting = DoubleBarrier::new(&keeper, "/meeting", 2).layout(Layout::Kazoo);
            meeting.enter().await.unwrap().leave().await.unwrap();
            *done.lock().unwrap() += 1;
        }
    });
    sim.spawn(0, late);
    sim.pass(SECOND);
    // It does not get to hear that all have come until the other has gone, and the mark with it.
    sim.world.lock().freeze(0, SECOND);
    sim.spawn(1, quick);
    sim.pass(900 * MS);
    assert_eq!(sim.world.lock().names("/meeting").len(), 1);
    assert_eq!(*done.lock().unwrap(), 0);
    sim.pass(10 * SECOND);
    assert_eq!(*done.lock().unwrap(), 2);
    assert_eq!(sim.world.lock().names("/meeting"), [""; 0]);
}

/// Ticks that were begun: due, attempt, token; and those that were finished.
#[derive(Default)]
struct Runs {
    begun: Vec<(i64, u32, i64)>,
    done: Vec<i64>,
}

fn jobs(seed: u64, hand_over: HandOver, missed: Missed) -> Runs {
    let runs: Arc<StdMutex<Runs>> = Arc::default();
    let all = [STORM, TEMPEST, WIPES, CALM, TEMPEST, STORM, CHANGES];
    let weather = all[(seed % 7) as usize];
    let mut sim = Sim::new(seed, weather);
    for machine in 0..3 {
        let (world, runs) = (sim.world.clone(), Arc::clone(&runs));
        let connecting = world.clone();
        sim.spawn(machine, async move {
            let connect = move || std::future::ready(Ok::<_, String>(connecting.connect(machine)));
            let sessions = oxkeeper_recipes::Sessions::renewed(connect).await.unwrap();
            let schedule = Schedule::every(Duration::from_millis(500)).unwrap();
            let job = Job { hand_over, missed, ..Job::new("sweep", schedule) };
            let run = move |tick: oxkeeper_recipes::Tick| {
                let (world, runs) = (world.clone(), Arc::clone(&runs));
                async move {
                    let token = tick.token().0;
                    runs.lock().unwrap().begun.push((tick.due_ms, tick.attempt, token));
                    world.rest(machine, 120 * MS).await;
                    runs.lock().unwrap().done.push(tick.due_ms);
                }
            };
            let mut worker = Scheduler::new(&sessions, "/jobs").work(job, run).await.unwrap();
            while !matches!(worker.changed().await, WorkerState::Ended(_)) {}
        });
    }
    sim.pass(12 * SECOND);
    if seed % 2 == 1 {
        sim.kill((seed % 3) as usize);
        sim.pass(12 * SECOND);
    }
    sim.calm();
    sim.pass(20 * SECOND);
    drop(sim);
    std::mem::take(&mut *runs.lock().unwrap())
}

#[test]
fn a_tick_runs_once_and_is_handed_over_when_its_worker_is_lost() {
    let mut handed_over = 0;
    for seed in seeds(28) {
        let never = jobs(seed, HandOver::Never, Missed::Once);
        let mut ticks: Vec<i64> = never.begun.iter().map(|(due, ..)| *due).collect();
        let begun = ticks.len();
        ticks.sort_unstable();
        ticks.dedup();
        assert_eq!(ticks.len(), begun, "OXKEEPER_SEED={seed}: a tick ran twice");
        assert!(begun > 20, "OXKEEPER_SEED={seed}: only {begun} ticks");

        let again = jobs(seed, HandOver::Again, Missed::All);
        let mut seen: BTreeMap<i64, (u32, i64)> = BTreeMap::new();
        // In the order of tokens: who was frozen may go on for a moment, behind who came next.
        let mut begun = again.begun.clone();
        begun.sort_by_key(|(due, attempt, token)| (*token, *due, *attempt));
        for (due, attempt, token) in &begun {
            match seen.insert(*due, (*attempt, *token)) {
                None => {}
                Some((before, older)) => {
                    handed_over += 1;
                    assert!(
                        *attempt > before && *token >= older,
                        "OXKEEPER_SEED={seed}: tick {due} twice as {before} and {attempt}"
                    );
                }
            }
        }
        // None is left out between the first and the last.
        let dues: Vec<i64> = seen.keys().copied().collect();
        let gap = dues.windows(2).find(|pair| pair[1] - pair[0] != 500);
        assert_eq!(gap, None, "OXKEEPER_SEED={seed}");
        for due in dues.iter().rev().skip(1) {
            assert!(again.done.contains(due), "OXKEEPER_SEED={seed}: {due} was never finished");
        }
    }
    assert!(handed_over > 0 || !many(), "no worker was lost in the middle of a tick");
}

#[test]
fn a_latch_that_hears_nothing_does_not_lead() {
    let mut sim = Sim::new(12, CALM);
    let keeper = sim.world.connect(0);
    let own = keeper.clone();
    let latch = sim.run(0, async move {
        let mut latch = Election::new(&own, "/leader").stand().await.unwrap();
        latch.elected().await.unwrap();
        latch
    });
    assert!(latch.leadership().is_some());
    let mut ground = sim.world.lock();
    let thaws = ground.now.mono_us + 3500 * MS;
    ground.servers[0].freeze(thaws);
    drop(ground);
    sim.pass(3400 * MS);
    let standing = keeper.port().standing();
    assert!(matches!(standing, Standing::Suspended(_)), "{standing:?}");
    assert!(latch.leadership().is_none(), "another may lead before it is back");
}

#[test]
fn who_has_lost_the_job_does_not_write_that_a_tick_is_done() {
    let mut sim = Sim::new(11, CALM);
    let keeper = sim.world.connect(0);
    let begun: Arc<StdMutex<Vec<(i64, u32, i64)>>> = Arc::default();
    let (own, heard) = (keeper.clone(), Arc::clone(&begun));
    let run = move |tick: oxkeeper_recipes::Tick| {
        let (own, heard) = (own.clone(), Arc::clone(&heard));
        async move {
            let mut heard = heard.lock().unwrap();
            heard.push((tick.due_ms, tick.attempt, tick.token().0));
            if heard.len() == 1 {
                // The lock is taken away just before the end: the session sends this first.
                let taken = own.port().delete(tick.leadership.path(), None);
                own.port().spawn(Box::pin(async move { drop(taken.await) }));
            }
        }
    };
    let worker = sim.run(0, async move {
        let schedule = Schedule::every(Duration::from_millis(500)).unwrap();
        let job = Job { missed: Missed::All, ..Job::new("sweep", schedule) };
        Scheduler::new(&keeper, "/jobs").work(job, run).await.unwrap()
    });
    sim.pass(5 * SECOND);
    drop(worker);
    let begun = begun.lock().unwrap();
    let [(due, 0, older), (again, 1, token), ..] = begun[..] else { panic!("{begun:?}") };
    assert!(due == again && token > older, "{begun:?}");
}

#[test]
fn what_somebody_else_writes_of_a_job_is_not_overwritten() {
    let mut sim = Sim::new(13, CALM);
    let (keeper, operator) = (sim.world.connect(0), sim.world.connect(1));
    // By hand: it goes on in a year.
    let year_ms = sim.world.lock().now.wall_ms + 365 * 86_400_000;
    let record = format!(r#"{{"tick":{year_ms},"running":false,"attempts":0,"token":0}}"#);
    let begun = Arc::new(StdMutex::new(0));
    let (data, count) = (record.clone().into_bytes(), Arc::clone(&begun));
    let run = move |_| {
        let (operator, data) = (operator.clone(), data.clone());
        *count.lock().unwrap() += 1;
        async move {
            operator.port().set("/jobs/sweep", data, None).await.unwrap();
        }
    };
    let worker = sim.run(0, async move {
        let schedule = Schedule::every(Duration::from_millis(500)).unwrap();
        Scheduler::new(&keeper, "/jobs").work(Job::new("sweep", schedule), run).await.unwrap()
    });
    sim.pass(5 * SECOND);
    assert_eq!(*begun.lock().unwrap(), 1, "ticks of a job that was put off");
    let found = sim.world.lock().data("/jobs/sweep").unwrap();
    assert_eq!(String::from_utf8(found).unwrap(), record);
    drop(worker);
}
