//! How each fault is done, and undone.
//!
//! Each finds all members serving. While a majority is whole and sees itself, writes must go on:
//! how long that took is told as *during*. What is undone here is what only this fault can undo;
//! the network is mended, and everybody waited for, by the caller.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::clock;
use super::draw::{Fault, Loss, Midst, Who};
use super::scene::Scene;
use super::spaces::run;
use crate::differential::rng::Rng;
use crate::wire::{Blob, ConnectRequest, Connection, Received, Request};

/// Requests answered behind each fault before everything is judged.
const SOME: usize = 60;
/// How long a member that must end may take to do so.
const ENDING: Duration = Duration::from_secs(30);
/// How long somebody may take to come to what it is to be killed in.
const COMING: Duration = Duration::from_secs(8);
/// Between two looks for a moment that does not last.
const PEEK: Duration = Duration::from_micros(300);
/// Timeout of a session that is left alone soon, ms.
const SCRIBE_TIMEOUT_MS: i32 = 30_000;
/// How long it takes until a member whose clock was set has looked at it.
const NOTICED: Duration = Duration::from_millis(1_100);
/// How long a lost packet stays lost: as long as TCP waits before it sends again.
const HICCUP: Duration = Duration::from_millis(210);

/// What there is to tell of a fault.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome {
    /// Until a write was acknowledged while the fault lasted, where one had to be.
    pub(super) during: Option<Duration>,
    /// Until all served after it was mended.
    pub(super) healed: Duration,
    /// What is worth telling.
    pub(super) note: String,
}

impl Scene {
    /// Lets it happen, mends it, and waits until all serve and the clients get on.
    ///
    /// # Errors
    /// Whatever did not go as it must.
    pub(super) fn inflict(&mut self, fault: &Fault, rng: &mut Rng) -> Result<Outcome> {
        self.check_alive()?;
        let leader = self.stage.ensemble.await_leader(None)?;
        let mut outcome = Outcome::default();
        if rng.chance(15) {
            self.stage.let_one_die(leader)?;
        }
        let who = |who: &Who| if let Who::Member(sid) = *who { sid } else { leader };
        match fault {
            Fault::Kill { who: first, also, away } => {
                self.kill(&[Some(who(first)), *also], *away, &mut outcome)?;
            }
            Fault::KillAll => self.kill_all()?,
            Fault::Freeze { who: one, lasts } => self.freeze(who(one), *lasts, &mut outcome)?,
            Fault::FreezeAll { lasts } => self.freeze_all(*lasts)?,
            Fault::ClockStep { who: one, off_s, lasts } => {
                let dir = self.member_dir(who(one));
                clock::set(&dir, *off_s)?;
                self.go_on(&self.stage.ensemble.sids(), NOTICED + *lasts, &mut outcome)?;
                clock::set(&dir, 0)?;
                std::thread::sleep(NOTICED);
            }
            Fault::Rolling => self.rolling(&mut outcome)?,
            Fault::Partition { who: one, also, loss, lasts } => {
                let these = distinct(&[Some(who(one)), *also]);
                let those = self.others(&these);
                self.net.part(&self.stage.ensemble, &these, &those, *loss)?;
                self.go_on(&those, *lasts, &mut outcome)?;
            }
            Fault::OneWay { who: one, deaf, lasts } => {
                let one = who(one);
                for other in self.others(&[one]) {
                    let (from, to) = if *deaf { (other, one) } else { (one, other) };
                    self.net.lose(&self.stage.ensemble, from, to)?;
                }
                self.go_on(&self.others(&[one]), *lasts, &mut outcome)?;
            }
            Fault::Bridge { bridge, lasts } => self.bridge(*bridge, *lasts)?,
            Fault::Slow { delay, lasts } => {
                self.net.delay(&self.stage.ensemble, *delay)?;
                self.go_on(&self.stage.ensemble.sids(), *lasts, &mut outcome)?;
            }
            Fault::Lossy { lasts } => self.lossy(*lasts, rng)?,
            Fault::DiskFull { who: one } => self.disk_full(who(one), &mut outcome)?,
            Fault::Wipe { who: one } => {
                let sid = who(one);
                self.stage.ensemble.kill(sid)?;
                self.stage.ensemble.wipe(sid)?;
                outcome.during = Some(self.await_write(&self.others(&[sid]))?);
                self.stage.ensemble.start(sid)?;
            }
            Fault::Overtaken { who: one, loss } => {
                let sid = who(one);
                self.overtake(sid, *loss, &mut outcome)?;
                self.stage.ensemble.start(sid)?;
            }
            Fault::Amid { midst, sid, leader_dies } => {
                self.amid(*midst, *sid, *leader_dies, &mut outcome)?;
            }
        }
        self.net.heal(&self.stage.ensemble)?;
        outcome.healed = self.await_healed()?;
        self.stage.load.await_progress(SOME)?;
        Ok(outcome)
    }

    fn others(&self, than: &[i64]) -> Vec<i64> {
        let mut sids = self.stage.ensemble.sids();
        sids.retain(|sid| !than.contains(sid));
        sids
    }

    /// The fault lasts so long; these are a majority, see each other, and must do writes.
    fn go_on(&self, these: &[i64], lasts: Duration, outcome: &mut Outcome) -> Result<()> {
        let began = Instant::now();
        // Nobody has to be quick when the fault is gone before it can be noticed.
        outcome.during = Some(self.await_write(these)?);
        std::thread::sleep(lasts.saturating_sub(began.elapsed()));
        Ok(())
    }

    fn kill(
        &mut self,
        victims: &[Option<i64>],
        away: Duration,
        outcome: &mut Outcome,
    ) -> Result<()> {
        let victims = distinct(victims);
        for &sid in &victims {
            self.stage.ensemble.kill(sid)?;
        }
        self.go_on(&self.others(&victims), away, outcome)?;
        victims.into_iter().try_for_each(|sid| self.stage.ensemble.start(sid))
    }

    fn kill_all(&mut self) -> Result<()> {
        let all = self.stage.ensemble.sids();
        all.iter().try_for_each(|&sid| self.stage.ensemble.kill(sid))?;
        all.iter().try_for_each(|&sid| self.stage.ensemble.start(sid))
    }

    fn freeze(&mut self, sid: i64, lasts: Duration, outcome: &mut Outcome) -> Result<()> {
        self.stage.ensemble.freeze(sid)?;
        self.go_on(&self.others(&[sid]), lasts, outcome)?;
        self.stage.ensemble.thaw(sid)
    }

    fn freeze_all(&mut self, lasts: Duration) -> Result<()> {
        let all = self.stage.ensemble.sids();
        let step = lasts / u32::try_from(all.len())?;
        all.iter().try_for_each(|&sid| self.stage.ensemble.freeze(sid))?;
        all.iter().try_for_each(|&sid| {
            std::thread::sleep(step);
            self.stage.ensemble.thaw(sid)
        })
    }

    /// As an operator does it: the next one when the last one serves.
    fn rolling(&mut self, outcome: &mut Outcome) -> Result<()> {
        let mut worst = Duration::ZERO;
        let all = self.stage.ensemble.sids();
        for &sid in &all {
            self.stage.ensemble.stop(sid)?;
            worst = worst.max(self.await_write(&self.others(&[sid]))?);
            self.stage.ensemble.start(sid)?;
            self.stage.ensemble.await_serving(&all)?;
        }
        outcome.during = Some(worst);
        Ok(())
    }

    /// The first half does not see the second half; the bridge sees both.
    fn bridge(&mut self, bridge: i64, lasts: Duration) -> Result<()> {
        let others = self.others(&[bridge]);
        let (left, right) = others.split_at(others.len() / 2);
        self.net.part(&self.stage.ensemble, left, right, Loss::Silent)?;
        // Which side the bridge is on is for them to find out, and may take until it is mended.
        std::thread::sleep(lasts);
        Ok(())
    }

    fn lossy(&mut self, lasts: Duration, rng: &mut Rng) -> Result<()> {
        let began = Instant::now();
        let all = self.stage.ensemble.sids();
        while began.elapsed() < lasts {
            let (from, to) = (*rng.pick(&all), *rng.pick(&all));
            if from != to {
                self.net.lose(&self.stage.ensemble, from, to)?;
                std::thread::sleep(HICCUP);
                self.net.find(&self.stage.ensemble, from, to)?;
            }
        }
        Ok(())
    }

    /// Nothing more can be written: the server ends, and is started when there is room again.
    fn disk_full(&mut self, sid: i64, outcome: &mut Outcome) -> Result<()> {
        let pid = self.pid(sid)?;
        let filler = self.small_disk(sid).map(|dir| dir.join("filler"));
        match &filler {
            Some(path) => {
                outcome.note = format!("{sid}, a small disk");
                fill(path).context("filling the disk")?;
            }
            None => {
                outcome.note = format!("{sid}, a limit");
                run("prlimit", &format!("--pid {pid} --fsize=0:unlimited"))?;
            }
        }
        outcome.during = Some(self.await_write(&self.others(&[sid]))?);
        let began = Instant::now();
        while !has_ended(pid) {
            ensure!(began.elapsed() < ENDING, "server {sid} goes on although its disk is full");
            std::thread::sleep(Duration::from_millis(20));
        }
        // Takes what is left of it; its directory and its log stay.
        self.stage.ensemble.kill(sid)?;
        if let Some(path) = filler {
            std::fs::remove_file(path)?;
        }
        self.stage.ensemble.start(sid)
    }

    /// One is cut off while it has work, killed, and does not see what the others do next.
    fn overtake(&mut self, sid: i64, loss: Loss, outcome: &mut Outcome) -> Result<()> {
        let others = self.others(&[sid]);
        self.net.part(&self.stage.ensemble, &[sid], &others, loss)?;
        // Long enough that clients hand it what nobody else will hear of.
        std::thread::sleep(Duration::from_millis(150));
        self.stage.ensemble.kill(sid)?;
        self.net.part(&self.stage.ensemble, &[sid], &others, Loss::Broken)?;
        outcome.during = Some(self.await_write(&others)?);
        self.net.heal(&self.stage.ensemble)
    }

    /// A leader logs what nobody else hears of, and dies; the next one has done nothing since. The
    /// clients pause, until somebody lets them go on: their writes would make it a snapshot.
    fn leave_extra(&mut self, leader: i64) -> Result<()> {
        self.pause()?;
        let others = self.others(&[leader]);
        let mut client = Connection::open(self.stage.ensemble.addr(leader)?)?;
        client.send(&ConnectRequest::new(SCRIBE_TIMEOUT_MS).frame());
        let greeting = client.receive()?;
        ensure!(matches!(greeting, Received::Frame(_)), "no session at server {leader}");
        for &other in &others {
            self.net.lose(&self.stage.ensemble, leader, other)?;
        }
        for (xid, data) in (1..).zip(["one", "two", "three"]) {
            let (path, data) = (Some("/load".to_owned()), Blob::text(data));
            client.send(&Request::SetData { path, data, version: -1 }.frame(xid, 0));
        }
        std::thread::sleep(Duration::from_millis(150));
        self.stage.ensemble.kill(leader)?;
        self.net.part(&self.stage.ensemble, &[leader], &others, Loss::Broken)?;
        self.stage.ensemble.await_leader(Some(leader))?;
        self.net.heal(&self.stage.ensemble)
    }

    fn amid(
        &mut self,
        midst: Midst,
        sid: i64,
        leader_dies: bool,
        outcome: &mut Outcome,
    ) -> Result<()> {
        let victim = match midst {
            Midst::Snapshot => sid,
            Midst::Snap => {
                self.stage.ensemble.kill(sid)?;
                self.stage.ensemble.wipe(sid)?;
                let leader = self.stage.ensemble.await_leader(Some(sid))?;
                self.stage.ensemble.start(sid)?;
                if leader_dies { leader } else { sid }
            }
            Midst::Trunc => {
                let leader = self.stage.ensemble.await_leader(None)?;
                self.leave_extra(leader)?;
                self.stage.ensemble.start(leader)?;
                leader
            }
        };
        let began = Instant::now();
        let mut found = false;
        let told = self.truncations();
        while !found && began.elapsed() < COMING {
            found = match midst {
                Midst::Snapshot => self.is_writing(sid, "unfinished-"),
                Midst::Snap => self.is_writing(sid, "unfinished-received-"),
                Midst::Trunc => self.truncations() > told,
            };
            std::thread::sleep(PEEK);
        }
        let missed = if found { "in the middle" } else { "too late" };
        outcome.note = format!("{victim} dies {missed}, after {:?}", began.elapsed());
        self.check_alive()?;
        self.stage.ensemble.kill(victim)?;
        self.resume()?;
        outcome.during =
            self.await_write(&self.others(&[victim, sid])).ok().filter(|_| victim == sid);
        self.stage.ensemble.start(victim)
    }

    /// Whether a file is there whose name begins so.
    fn is_writing(&self, sid: i64, prefix: &str) -> bool {
        let dir = self.member_dir(sid).join("data/version-2");
        let Ok(entries) = std::fs::read_dir(dir) else { return false };
        entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
    }

    /// How often a leader has planned to have a learner forget something.
    fn truncations(&self) -> usize {
        let logs = self.stage.ensemble.sids().into_iter();
        let logs = logs.filter_map(|sid| self.stage.ensemble.log(sid).ok());
        logs.map(|log| log.matches("plan=Trunc").count()).sum()
    }
}

/// Without those that are there twice, or not at all.
fn distinct(sids: &[Option<i64>]) -> Vec<i64> {
    let mut sids: Vec<i64> = sids.iter().flatten().copied().collect();
    sids.dedup();
    sids
}

/// Writes until nothing more fits.
fn fill(path: &Path) -> std::io::Result<()> {
    use std::io::Write;
    let mut file = std::fs::File::create(path)?;
    let mut size = 1 << 20;
    while size > 0 {
        match file.write_all(&vec![b'f'; size]) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::StorageFull => size /= 2,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether a process is gone, or only waits to be buried.
fn has_ended(pid: u32) -> bool {
    match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => {
            let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.trim().chars().next());
            state == Some('Z')
        }
        Err(_) => true,
    }
}
