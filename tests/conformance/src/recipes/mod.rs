//! Our recipes with Curator's and kazoo's, on one server.
//!
//! A partner is a program of Curator's or kazoo's that does what it is told on a line of its input.
//! Each scenario has ours and the partner contend, wait for, hand over to and read each other, in
//! both directions. The counters that two hammer are protected by nothing but the lock: two owners
//! at once would lose an addition. [`attack`] has ours alone, on an ensemble whose members are
//! killed.

pub mod attack;
mod partner;

use std::collections::BTreeSet;
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use oxkeeper_client::Client;
use oxkeeper_recipes::{
    AtomicValue, Barrier, Counter, CounterLayout, DelayQueue, DoubleBarrier, Election,
    ElectionLayout, Error, Group, GroupLayout, Layout, Led, LockingQueue, Mutex, Partitioner,
    PriorityQueue, Queue, QueueLayout, ReadWriteLock, Registry, Semaphore, ServiceInstance,
    ServiceType, Share,
};
use serde_json::json;

use crate::Findings;
use crate::peers::Peers;
use partner::Partner;

/// How long anything may take that must come.
const SOON: Duration = Duration::from_secs(30);
/// How long is waited for what must not come.
const BRIEF_MS: u64 = 400;
/// The class of payloads that the partner's services have.
const PAYLOAD: &str = "oxkeeper.peers.recipes.Payload";
/// Additions of each side to a counter that a lock protects.
const BLOWS: i64 = 40;

/// Runs all scenarios against the server at `addr`.
///
/// # Errors
/// When a partner or the client cannot be run. A scenario that fails is a finding.
pub fn run(peers: &Peers, addr: SocketAddr, progress: &mut dyn FnMut(&str)) -> Result<Findings> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut findings = Findings::default();
        for layout in [Layout::Curator, Layout::Kazoo] {
            let stage = Stage::new(peers, addr, layout).await?;
            stage.run(&mut findings, progress).await;
            stage.zk.close().await;
        }
        Ok(findings)
    })
}

/// Ours and one partner.
struct Stage {
    zk: Client,
    partner: Partner,
    layout: Layout,
    /// Below this everything happens.
    root: &'static str,
}

macro_rules! scenarios {
    ($self:ident, $findings:ident, $progress:ident: $($name:ident),* $(,)?) => {{
        $({
            let name = concat!(stringify!($name)).replace('_', " ");
            $progress(&format!("{}: {name}", $self.root));
            $findings.checks += 1;
            let run = tokio::time::timeout(SOON * 2, $self.$name()).await;
            let run = run.unwrap_or_else(|_| Err(anyhow::anyhow!("it hangs")));
            if let Err(error) = run {
                $findings.errors.push(format!("{}: {name}: {error:#}", $self.root));
            }
        })*
    }};
}

impl Stage {
    async fn new(peers: &Peers, addr: SocketAddr, layout: Layout) -> Result<Stage> {
        let (partner, root) = match layout {
            Layout::Curator => (Partner::curator(peers, addr)?, "/with-curator"),
            Layout::Kazoo => (Partner::kazoo(peers, addr)?, "/with-kazoo"),
        };
        let zk = Client::connect(&addr.to_string()).await?;
        Ok(Stage { zk, partner, layout, root })
    }

    async fn run(&self, findings: &mut Findings, progress: &mut dyn FnMut(&str)) {
        scenarios!(self, findings, progress:
            a_mutex_excludes_both_ways,
            a_mutex_protects_what_both_hammer,
            readers_share_and_writers_exclude_both_ways,
            a_semaphore_counts_both,
            leaders_follow_each_other,
            barriers_hold_and_open_for_both,
            a_double_barrier_is_passed_together,
            a_foreign_name_is_refused,
            counters_count_on,
            groups_see_each_other,
        );
        match self.layout {
            Layout::Curator => scenarios!(self, findings, progress:
                a_latch_follows_ours_and_ours_follows_it,
                an_owner_of_curator_hears_our_revocation,
                queues_of_curator_are_read_both_ways,
                services_are_found_both_ways,
            ),
            Layout::Kazoo => scenarios!(self, findings, progress:
                queues_of_kazoo_are_read_both_ways,
                things_are_shared_out_with_kazoo,
            ),
        }
    }

    fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.root)
    }

    async fn a_mutex_excludes_both_ways(&self) -> Result<()> {
        let path = self.path("mutex");
        let mutex = Mutex::new(&self.zk, &path).layout(self.layout);
        let ours = mutex.acquire().await?;
        self.partner.expect(&format!("a acquire mutex {path} {BRIEF_MS}"), "no").await?;
        self.partner.tell(&format!("a acquire mutex {path} 20000"))?;
        self.until(2, || async { Ok(mutex.participants().await?.len()) }).await?;
        let first = ours.token();
        ours.release().await?;
        self.partner.hears("a", "yes").await?;
        ensure!(mutex.try_acquire().await?.is_none(), "we have what the partner has");
        let waiting = tokio::spawn({
            let mutex = mutex.clone();
            async move { mutex.acquire().await }
        });
        self.until(2, || async { Ok(mutex.participants().await?.len()) }).await?;
        ensure!(!waiting.is_finished(), "acquired while the partner has it");
        self.partner.expect("a release", "ok").await?;
        let ours = tokio::time::timeout(SOON, waiting).await???;
        ensure!(ours.token() > first, "the token fell");
        ensure!(ours.release().await?, "it was lost");
        Ok(())
    }

    async fn a_mutex_protects_what_both_hammer(&self) -> Result<()> {
        for (kind, name) in [("mutex", "hammer"), ("write", "hammer-rw")] {
            let (path, counter) = (self.path(name), self.path(&format!("{name}-count")));
            self.zk.create(&counter, b"0").parents().await?;
            for who in ["a", "b"] {
                self.partner.tell(&format!("{who} hammer {kind} {path} {counter} {BLOWS}"))?;
            }
            let mutex = match kind {
                "mutex" => Mutex::new(&self.zk, &path).layout(self.layout),
                _ => ReadWriteLock::new(&self.zk, &path).layout(self.layout).write().clone(),
            };
            let mut last = None;
            for _ in 0..BLOWS {
                let guard = mutex.acquire().await?;
                ensure!(last < Some(guard.token()), "the token fell");
                last = Some(guard.token());
                let now: i64 = self.number(&counter).await?;
                tokio::time::sleep(Duration::from_millis(1)).await;
                self.zk.set(&counter, (now + 1).to_string().as_bytes()).await?;
                guard.release().await?;
            }
            self.partner.hears("a", "ok").await?;
            self.partner.hears("b", "ok").await?;
            let counted = self.number(&counter).await?;
            ensure!(counted == 3 * BLOWS, "{kind}: {counted} of {} additions", 3 * BLOWS);
        }
        Ok(())
    }

    async fn readers_share_and_writers_exclude_both_ways(&self) -> Result<()> {
        let path = self.path("rw");
        let lock = ReadWriteLock::new(&self.zk, &path).layout(self.layout);
        let reading = lock.read().acquire().await?;
        self.partner.expect(&format!("a acquire read {path} 10000"), "yes").await?;
        self.partner.expect(&format!("b acquire write {path} {BRIEF_MS}"), "no").await?;
        ensure!(lock.write().try_acquire().await?.is_none(), "a writer beside readers");
        reading.release().await?;
        self.partner.expect("a release", "ok").await?;
        let writing = lock.write().acquire().await?;
        self.partner.expect(&format!("a acquire read {path} {BRIEF_MS}"), "no").await?;
        let reading = lock.downgrade(writing).await?;
        self.partner.expect(&format!("a acquire read {path} 10000"), "yes").await?;
        reading.release().await?;
        self.partner.expect("a release", "ok").await?;
        self.partner.expect(&format!("b acquire write {path} 10000"), "yes").await?;
        ensure!(lock.read().try_acquire().await?.is_none(), "a reader beside a writer");
        self.partner.expect("b release", "ok").await
    }

    async fn a_semaphore_counts_both(&self) -> Result<()> {
        let path = self.path("semaphore");
        let semaphore = Semaphore::new(&self.zk, &path, 2).layout(self.layout);
        let ours = semaphore.acquire().await?;
        let kind = "semaphore:2";
        self.partner.expect(&format!("a acquire {kind} {path} 10000"), "yes").await?;
        self.partner.expect(&format!("b acquire {kind} {path} {BRIEF_MS}"), "no").await?;
        let none = semaphore.acquire_within(Duration::from_millis(BRIEF_MS)).await?;
        ensure!(none.is_none(), "a third lease");
        self.partner.expect("a release", "ok").await?;
        let second = semaphore.acquire().await?;
        ensure!(second.token() > ours.token(), "the token fell");
        ours.release().await?;
        self.partner.expect(&format!("a acquire {kind} {path} 10000"), "yes").await?;
        second.release().await?;
        self.partner.expect("a release", "ok").await
    }

    async fn leaders_follow_each_other(&self) -> Result<()> {
        let path = self.path("leader");
        let layout = match self.layout {
            Layout::Curator => ElectionLayout::Selector,
            Layout::Kazoo => ElectionLayout::Kazoo,
        };
        let election = Election::new(&self.zk, &path).layout(layout).identity("ours");
        let led = election
            .lead(|_| async {
                self.partner.expect(&format!("a elect {path} {BRIEF_MS}"), "no").await?;
                let all = election.candidates().await?;
                ensure!(all.first().is_some_and(|one| one.data == b"ours"), "we lead");
                Ok(())
            })
            .await?;
        match led {
            Led::Done(done) => done?,
            Led::Lost => bail!("leadership was lost"),
        }
        self.partner.expect(&format!("a elect {path} 10000"), "yes").await?;
        let all = election.candidates().await?;
        ensure!(all.len() == 1 && all[0].data == b"a", "the partner leads: {all:?}");
        self.partner.expect("a release", "ok").await
    }

    async fn barriers_hold_and_open_for_both(&self) -> Result<()> {
        let path = self.path("barrier");
        let barrier = Barrier::new(&self.zk, &path);
        barrier.close().await?;
        self.partner.expect(&format!("a pass {path} {BRIEF_MS}"), "no").await?;
        self.partner.tell(&format!("a pass {path} 20000"))?;
        barrier.open().await?;
        self.partner.hears("a", "yes").await?;
        self.partner.expect(&format!("a close {path}"), "ok").await?;
        let brief = Duration::from_millis(BRIEF_MS);
        ensure!(!barrier.passed_within(brief).await?, "it is closed");
        self.partner.expect(&format!("a open {path}"), "ok").await?;
        ensure!(barrier.passed_within(SOON).await?, "it is open");
        Ok(())
    }

    async fn a_double_barrier_is_passed_together(&self) -> Result<()> {
        let path = self.path("double");
        let barrier = DoubleBarrier::new(&self.zk, &path, 2).layout(self.layout);
        self.partner.tell(&format!("a enter {path} 2"))?;
        let inside = tokio::time::timeout(SOON, barrier.enter()).await??;
        self.partner.hears("a", "ok").await?;
        self.partner.tell("a release")?;
        tokio::time::timeout(SOON, inside.leave()).await??;
        self.partner.hears("a", "ok").await
    }

    async fn a_foreign_name_is_refused(&self) -> Result<()> {
        let path = self.path("foreign");
        self.partner.expect(&format!("a acquire mutex {path} 10000"), "yes").await?;
        let other = match self.layout {
            Layout::Curator => Layout::Kazoo,
            Layout::Kazoo => Layout::Curator,
        };
        let found = Mutex::new(&self.zk, &path).layout(other).acquire().await;
        ensure!(matches!(found, Err(Error::Foreign { .. })), "{found:?}");
        self.partner.expect("a release", "ok").await
    }

    async fn counters_count_on(&self) -> Result<()> {
        let kinds = match self.layout {
            Layout::Curator => &[("long", CounterLayout::Long), ("int", CounterLayout::Int)][..],
            Layout::Kazoo => &[("decimal", CounterLayout::Decimal), ("int", CounterLayout::Int)],
        };
        for (kind, layout) in kinds {
            let path = self.path(&format!("counter-{kind}"));
            let counter = Counter::of(AtomicValue::new(&self.zk, &path), *layout);
            self.partner.expect(&format!("a add {kind} {path} 5"), "5").await?;
            ensure!(counter.add(-7).await? == -2, "we add to what the partner wrote");
            self.partner.expect(&format!("a add {kind} {path} 300"), "298").await?;
            ensure!(counter.get().await? == 298, "we read what the partner wrote");
        }
        if self.layout == Layout::Curator {
            let path = self.path("counter-int");
            self.partner.expect(&format!("a add shared {path} 2"), "300").await?;
        }
        Ok(())
    }

    async fn groups_see_each_other(&self) -> Result<()> {
        let kinds = match self.layout {
            Layout::Curator => &[("", GroupLayout::Curator)][..],
            Layout::Kazoo => {
                &[("party ", GroupLayout::Party), ("shallow ", GroupLayout::ShallowParty)]
            }
        };
        for (kind, layout) in kinds {
            let path = self.path(&format!("group-{layout:?}"));
            let group = Group::new(&self.zk, &path).layout(*layout);
            let ours = group.join("ours", b"1").await?;
            self.partner.expect(&format!("a join {kind}{path} theirs"), "ok").await?;
            self.until(2, || async { Ok(group.members().await?.len()) }).await?;
            let ids: Vec<_> = group.members().await?.into_iter().map(|one| one.id).collect();
            ensure!(ids == ["ours", "theirs"], "{ids:?}");
            self.partner.expect(&format!("b members {kind}{path}"), "ours,theirs").await?;
            self.partner.expect("a release", "ok").await?;
            self.until(1, || async { Ok(group.members().await?.len()) }).await?;
            ours.close().await;
        }
        Ok(())
    }

    async fn a_latch_follows_ours_and_ours_follows_it(&self) -> Result<()> {
        let path = self.path("latch");
        let election = Election::new(&self.zk, &path).identity("ours");
        let mut latch = election.stand().await?;
        let first = latch.elected().await?;
        self.partner.expect(&format!("a stand {path}"), "ok").await?;
        self.partner.expect(&format!("a leads {BRIEF_MS}"), "no").await?;
        self.partner.expect(&format!("b leader {path}"), "ours").await?;
        latch.close().await;
        self.partner.expect("a leads 20000", "yes").await?;
        let mut latch = election.stand().await?;
        self.until(2, || async { Ok(election.candidates().await?.len()) }).await?;
        let all = election.candidates().await?;
        ensure!(all[0].data == b"a", "the partner leads: {all:?}");
        // Somebody takes the leader's znode away: it is ours then.
        self.zk.delete(&all[0].path).await?;
        let second = tokio::time::timeout(SOON, latch.elected()).await??;
        ensure!(second.token() > first.token(), "the token fell");
        latch.close().await;
        Ok(())
    }

    async fn an_owner_of_curator_hears_our_revocation(&self) -> Result<()> {
        let path = self.path("revocable");
        let mutex = Mutex::new(&self.zk, &path);
        self.partner.expect(&format!("a acquire revocable {path} 10000"), "yes").await?;
        let all = mutex.participants().await?;
        ensure!(mutex.revoke(&all[0]).await?, "it is there");
        self.partner.hears("revocation", "heard").await?;
        self.partner.expect("a release", "ok").await
    }

    async fn queues_of_curator_are_read_both_ways(&self) -> Result<()> {
        let path = self.path("simple");
        let simple = Queue::of(&self.zk, &path, QueueLayout::Zookeeper);
        simple.put(b"ours").await?;
        self.partner.expect(&format!("a take simple {path}"), "ours").await?;
        self.partner.expect(&format!("a put simple {path} theirs"), "ok").await?;
        ensure!(simple.take().await?.into_bytes() == b"theirs", "simple");

        let path = self.path("queue");
        let queue = Queue::of(&self.zk, &path, QueueLayout::Curator);
        self.partner.expect(&format!("a put queue {path} theirs"), "ok").await?;
        ensure!(queue.take().await?.into_bytes() == b"theirs", "queue");
        queue.put(b"ours").await?;
        self.partner.expect(&format!("a take queue {path}"), "ours").await?;

        let path = self.path("priority");
        let priority = PriorityQueue::new(&self.zk, &path, Layout::Curator);
        self.partner.expect(&format!("a put priority {path} last 70000"), "ok").await?;
        self.partner.expect(&format!("a put priority {path} first -3"), "ok").await?;
        priority.put(b"second", 4).await?;
        for item in ["first", "second", "last"] {
            ensure!(priority.take().await?.into_bytes() == item.as_bytes(), "{item}");
        }
        priority.put(b"ours", -1).await?;
        self.partner.expect(&format!("a take priority {path}"), "ours").await?;

        let path = self.path("delay");
        let delay = DelayQueue::new(&self.zk, &path);
        self.partner.expect(&format!("a put delay {path} far 99999999999999"), "ok").await?;
        self.partner.expect(&format!("a put delay {path} near 1000"), "ok").await?;
        ensure!(delay.take().await?.into_bytes() == b"near", "near");
        ensure!(delay.try_take().await?.is_none(), "far");
        delay.put(b"ours", 2000).await?;
        self.partner.expect(&format!("a take delay {path}"), "ours").await?;

        let path = self.path("locked");
        let (entries, taken) = (format!("{path}/entries"), format!("{path}/taken"));
        let locking = LockingQueue::curator(&self.zk, &entries, &taken);
        locking.put(b"claimed").await?;
        locking.put(b"free").await?;
        let claim = locking.claim().await?;
        self.partner.expect(&format!("a take locked {path}"), "free").await?;
        ensure!(claim.data() == b"claimed" && claim.consume().await?, "it is ours");
        Ok(())
    }

    async fn services_are_found_both_ways(&self) -> Result<()> {
        let base = self.path("services");
        let registry = Registry::new(&self.zk, &base);
        self.partner
            .expect(&format!("a register {base} mail theirs 10.0.0.9 2525 7"), "ok")
            .await?;
        ensure!(registry.services().await? == ["mail"], "the service is there");
        let mut found = registry.instances("mail").await?;
        let theirs = found.pop().context("nobody is registered")?;
        let read = ServiceInstance {
            ssl_port: Some(2526),
            payload: json!({"@class": PAYLOAD, "zone": "west", "weight": 7}),
            uri_spec: theirs.uri_spec.clone(),
            registration_time_utc: theirs.registration_time_utc,
            ..ServiceInstance::new("mail", "theirs", "10.0.0.9", 2525)
        };
        ensure!(theirs == read && found.is_empty(), "we read {theirs:?}, and {found:?}");
        ensure!(theirs.registration_time_utc > 1_700_000_000_000, "{theirs:?}");

        // Ours has a payload of their class and their pattern of addresses.
        let ours = ServiceInstance {
            payload: json!({"@class": PAYLOAD, "zone": "east", "weight": 9}),
            uri_spec: theirs.uri_spec.clone(),
            ..ServiceInstance::new("mail", "ours", "10.0.0.7", 25)
        };
        let node = registry.register(ours).await?;
        let permanent = ServiceInstance {
            service_type: ServiceType::Permanent,
            enabled: false,
            ..ServiceInstance::new("mail", "closed", "10.0.0.8", 26)
        };
        drop(registry.register(permanent).await?);
        let both = "closed@10.0.0.8:26 null none PERMANENT disabled none,\
                    ours@10.0.0.7:25 null east:9 DYNAMIC enabled mail:10.0.0.7:25,\
                    theirs@10.0.0.9:2525 2526 west:7 DYNAMIC enabled mail:10.0.0.9:2525";
        self.partner.expect(&format!("b find {base} mail"), both).await?;
        self.partner.expect(&format!("b names {base}"), "mail").await?;
        self.partner.expect(&format!("b provided {base} mail"), "ours,theirs").await?;
        let provider = registry.provider("mail").await?;
        let ids = || provider.all().into_iter().map(|one| one.id).collect::<Vec<_>>();
        ensure!(ids() == ["ours", "theirs"], "{:?}", ids());
        self.fields_are_theirs(&base).await?;

        node.close().await;
        self.partner.expect(&format!("b provided {base} mail"), "theirs").await?;
        self.partner.expect("a release", "ok").await?;
        self.until(0, || async { Ok(provider.all().len()) }).await?;
        ensure!(registry.unregister("mail", "closed").await?, "it stays until it is taken out");
        Ok(())
    }

    /// The fields of ours are those of theirs, but for the one that older readers do not know.
    async fn fields_are_theirs(&self, base: &str) -> Result<()> {
        let mut all = Vec::new();
        for id in ["ours", "theirs"] {
            let data = self.zk.get(&format!("{base}/mail/{id}")).await?;
            let json: serde_json::Map<_, _> = serde_json::from_slice(data.bytes())?;
            let names = json.keys().filter(|name| *name != "enabled").cloned();
            all.push(names.collect::<BTreeSet<_>>());
        }
        ensure!(all[0] == all[1], "ours has the fields {:?}, theirs {:?}", all[0], all[1]);
        Ok(())
    }

    async fn queues_of_kazoo_are_read_both_ways(&self) -> Result<()> {
        let path = self.path("queue");
        let queue = PriorityQueue::new(&self.zk, &path, Layout::Kazoo);
        self.partner.expect(&format!("a put queue {path} last 300"), "ok").await?;
        self.partner.expect(&format!("a put queue {path} first 2"), "ok").await?;
        queue.put(b"second", 20).await?;
        self.partner.expect(&format!("a take queue {path}"), "first").await?;
        ensure!(queue.take().await?.into_bytes() == b"second", "second");
        ensure!(queue.take().await?.into_bytes() == b"last", "last");

        let path = self.path("locking");
        let locking = LockingQueue::new(&self.zk, &path);
        locking.put(b"1").await?;
        self.partner.expect(&format!("a put locked {path} 2"), "ok").await?;
        let claim = locking.claim().await?;
        ensure!(claim.data() == b"1", "the first");
        self.partner.expect(&format!("a claim {path}"), "2").await?;
        ensure!(locking.try_claim().await?.is_none(), "both are claimed");
        claim.release().await?;
        self.partner.expect("a release", "ok").await?;
        ensure!(locking.claim().await?.consume().await?, "it is ours");
        self.partner.expect(&format!("a take locked {path}"), "2").await?;
        ensure!(locking.is_empty().await?, "all was consumed");
        Ok(())
    }

    async fn things_are_shared_out_with_kazoo(&self) -> Result<()> {
        let path = self.path("partition");
        let settle = Duration::from_millis(500);
        let things = ["a", "b", "c", "d"];
        let mut ours = Partitioner::settling(&self.zk, &path, things, "m1", settle).await?;
        self.partner.tell(&format!("m2 partition {path} a,b,c,d"))?;
        loop {
            match tokio::time::timeout(SOON, ours.changed()).await? {
                Share::Own(parts) if parts.len() == 2 => {
                    let names: Vec<_> = parts.iter().map(|part| part.name.as_str()).collect();
                    ensure!(names == ["a", "c"], "{names:?}");
                    break;
                }
                Share::Release => ours.release(),
                Share::Own(_) | Share::Waiting => {}
                Share::Ended => bail!("it ended"),
            }
        }
        self.partner.hears("m2", "b,d").await?;
        self.partner.expect("m2 release", "ok").await?;
        ours.close().await;
        Ok(())
    }

    async fn number(&self, path: &str) -> Result<i64> {
        Ok(std::str::from_utf8(self.zk.get(path).await?.bytes())?.parse()?)
    }

    /// Waits until so many are there.
    async fn until<F>(&self, count: usize, look: impl Fn() -> F) -> Result<()>
    where
        F: Future<Output = Result<usize>>,
    {
        let began = std::time::Instant::now();
        loop {
            let found = look().await?;
            if found == count {
                return Ok(());
            }
            ensure!(began.elapsed() < SOON, "{found} are there, {count} are waited for");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
