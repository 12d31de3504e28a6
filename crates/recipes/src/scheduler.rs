//! Jobs that run at their time on one of many workers.
//!
//! What to do next follows from a record of what was begun and a clock, and is decided by `next`.
//! Everything else is to make sure that one worker decides at a time, and that nobody writes a
//! record who has lost the job.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::background::{Background, Stop};
use crate::contender::Token;
use crate::cron::Schedule;
use crate::election::Leadership;
use crate::error::Error;
use crate::keeper::{Keeper, join};
use crate::mutex::{Guard, Mutex};
use crate::port::{Edit, ErrorCode, Fate, Kind, New};
use crate::sessions::Sessions;

/// The longest that a worker sleeps before it looks at its clock again, which may have been set.
const NAP: Duration = Duration::from_secs(30);

/// What to do with ticks whose time passed while no worker was there to run them.
///
/// ```
/// # use std::time::Duration;
/// # use oxkeeper_recipes::{Job, Missed, Schedule};
/// let nightly = Schedule::cron("0 3 * * *").expect("a schedule");
/// let hour = Duration::from_secs(3600);
/// // Not at noon, if nobody was there at night.
/// let job = Job { missed: Missed::SkipOlderThan(hour), ..Job::new("report", nightly) };
/// assert_ne!(job.missed, Missed::default());
/// assert_eq!(Missed::default(), Missed::Once);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Missed {
    /// Run the last of them, once.
    #[default]
    Once,
    /// Run each of them, in order.
    All,
    /// Run none: only ticks that are not older than this when a worker comes to them.
    SkipOlderThan(Duration),
}

/// What to do with a tick whose worker was lost in the middle of it.
///
/// ```
/// # use oxkeeper_recipes::{HandOver, Job, Schedule};
/// let nightly = Schedule::cron("0 3 * * *").expect("a schedule");
/// // Better no mail than two.
/// let job = Job { hand_over: HandOver::Never, ..Job::new("newsletter", nightly) };
/// assert_ne!(job.hand_over, HandOver::default());
/// assert_eq!(HandOver::default(), HandOver::Again);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum HandOver {
    /// Another worker runs it again: *at least* once.
    #[default]
    Again,
    /// It is not run again: *at most* once.
    Never,
}

/// A job: the same for all its workers.
///
/// ```
/// # use oxkeeper_recipes::{HandOver, Job, Missed, Schedule};
/// let job = Job::new("report", Schedule::cron("0 3 * * *").expect("a schedule"));
/// assert_eq!((job.missed, job.hand_over), (Missed::Once, HandOver::Again));
/// assert_eq!(job.schedule.next_after(0), Some(3 * 3_600_000));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// A name in its directory.
    pub name: String,
    /// When it is due.
    pub schedule: Schedule,
    /// What becomes of ticks that nobody could run.
    pub missed: Missed,
    /// What becomes of a tick whose worker was lost.
    pub hand_over: HandOver,
}

impl Job {
    /// A job with the usual policies.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use oxkeeper_recipes::{HandOver, Job, Missed, Schedule};
    /// let often = Schedule::every(Duration::from_secs(60)).expect("a period");
    /// let job = Job { missed: Missed::All, ..Job::new("sweep", often) };
    /// assert_eq!((&*job.name, job.hand_over), ("sweep", HandOver::Again));
    /// ```
    pub fn new(name: &str, schedule: Schedule) -> Job {
        let (missed, hand_over) = (Missed::default(), HandOver::default());
        Job { name: name.to_owned(), schedule, missed, hand_over }
    }
}

/// One run of a job.
///
/// ```
/// # use std::time::Duration;
/// # use oxkeeper_client::Client;
/// # use oxkeeper_recipes::{Job, Schedule, Scheduler, Tick};
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = &Client::connect(&servers).await?;
/// # let often = Schedule::every(Duration::from_millis(20)).expect("a period");
/// # let (tell, mut ticks) = tokio::sync::mpsc::unbounded_channel();
/// let run = move |tick: Tick| {
///     let tell = tell.clone();
///     async move { drop(tell.send(tick)) }
/// };
/// let worker = Scheduler::new(zk, "/ticks").work(Job::new("sweep", often), run).await?;
/// let tick = ticks.recv().await.expect("a tick");
/// assert_eq!((tick.due_ms % 20, tick.attempt), (0, 0), "at its time, and for the first time");
/// worker.close().await;
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tick {
    /// When it was due, ms since 1970.
    pub due_ms: i64,
    /// How often it was begun before this: 0, or more after a hand-over.
    pub attempt: u32,
    /// Whoever runs it, and what to fence with.
    pub leadership: Leadership,
}

impl Tick {
    /// Greater with every change of worker.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::{Job, Schedule, Scheduler, Tick};
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// # let often = Schedule::every(Duration::from_millis(20)).expect("a period");
    /// # let (tell, mut ticks) = tokio::sync::mpsc::unbounded_channel();
    /// let run = move |tick: Tick| {
    ///     let tell = tell.clone();
    ///     async move { drop(tell.send(tick.token())) }
    /// };
    /// let worker = Scheduler::new(zk, "/tick-tokens").work(Job::new("sweep", often), run).await?;
    /// let (first, second) = (ticks.recv().await, ticks.recv().await);
    /// assert!(first.is_some() && first == second, "one worker, one token");
    /// worker.close().await;
    /// # Ok(())
    /// # });
    /// ```
    pub fn token(&self) -> Token {
        self.leadership.token()
    }
}

/// What is known of a job, written in its znode as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    /// The last tick that was begun, ms since 1970, or from when on ticks count.
    tick: i64,
    /// It was begun and not finished.
    running: bool,
    /// How often it was begun.
    attempts: u32,
    /// Who wrote this.
    token: i64,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Run {
        tick: i64,
        attempt: u32,
    },
    /// Count this tick as dealt with.
    Skip {
        tick: i64,
    },
    Sleep(Duration),
    /// There is no tick any more.
    Never,
}

/// Decides. All there is to know is in the record and the clock.
fn next(job: &Job, record: &Record, now_ms: i64) -> Next {
    if record.running {
        return match job.hand_over {
            HandOver::Again => Next::Run { tick: record.tick, attempt: record.attempts },
            HandOver::Never => Next::Skip { tick: record.tick },
        };
    }
    let Some(first) = job.schedule.next_after(record.tick) else { return Next::Never };
    if first > now_ms {
        return Next::Sleep(Duration::from_millis(first.abs_diff(now_ms)).min(NAP));
    }
    match job.missed {
        Missed::All => Next::Run { tick: first, attempt: 0 },
        Missed::Once => Next::Run { tick: last_due(job, first, now_ms), attempt: 0 },
        Missed::SkipOlderThan(age) => {
            let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
            let last = last_due(job, first, now_ms);
            match now_ms.saturating_sub(last) <= age {
                true => Next::Run { tick: last, attempt: 0 },
                false => Next::Skip { tick: last },
            }
        }
    }
}

/// The last tick that is due, from one that is. Ticks are looked for from behind, in steps that
/// double, so that a year of missed seconds costs no year.
fn last_due(job: &Job, first: i64, now_ms: i64) -> i64 {
    let mut last = first;
    let mut back = 1_000;
    while back < now_ms.saturating_sub(first) {
        match job.schedule.next_after(now_ms - back) {
            Some(tick) if tick <= now_ms => {
                last = last.max(tick);
                break;
            }
            _ => back *= 2,
        }
    }
    while let Some(tick) = job.schedule.next_after(last).filter(|tick| *tick <= now_ms) {
        last = tick;
    }
    last
}

/// Runs jobs, each tick on one of all workers that know the job.
///
/// A job's workers contend for its mutex; whoever has it waits for the next tick, writes down that
/// it begins, runs it, and writes down that it is done. Both are written in one transaction with a
/// look at the mutex, so nobody who has lost it writes any more.
///
/// | in `DIR/JOB` | |
/// |---|---|
/// | data, persistent | `{"tick":ms,"running":bool,"attempts":n,"token":n}` |
/// | `lock` | a mutex in Curator's layout |
///
/// # Guarantees
/// - A tick is begun by one worker, in order of ticks, whatever the clocks of workers are.
/// - A worker that dies, or is out of touch for too long, is followed by another: at once if it
///   left, or when its session has expired.
/// - A tick is never begun twice with [`HandOver::Never`], and never left undone with
///   [`HandOver::Again`] and [`Missed::All`], as long as some worker lives.
///
/// # What it does not guarantee
/// A worker that was frozen in the middle of a tick may go on for a moment when it thaws, while
/// another has begun the tick again. [`Tick::token`] tells them apart.
///
/// ```
/// # use oxkeeper_client::Client;
/// # use oxkeeper_recipes::{Job, Schedule, Scheduler, WorkerState};
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = &Client::connect(&servers).await?;
/// let job = Job::new("nightly-report", Schedule::cron("0 3 * * *")?);
/// let mut worker = Scheduler::new(zk, "/jobs")
///     .work(job, |tick| async move { println!("report of {}", tick.due_ms) })
///     .await?;
/// assert!(matches!(worker.changed().await, WorkerState::OnDuty));
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone)]
pub struct Scheduler {
    sessions: Sessions,
    dir: String,
}

/// A worker of a job, until it is closed or dropped.
///
/// ```
/// # use oxkeeper_client::Client;
/// # use oxkeeper_recipes::{Job, Mutex, Schedule, Scheduler, Worker, WorkerState};
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = &Client::connect(&servers).await?;
/// # let other = &Client::connect(&servers).await?;
/// let nightly = Schedule::cron("0 3 * * *").expect("a schedule");
/// let mut worker: Worker =
///     Scheduler::new(zk, "/workers").work(Job::new("report", nightly), |_| async {}).await?;
/// while !matches!(worker.changed().await, WorkerState::OnDuty) {}
/// worker.close().await;
/// let next = Mutex::new(other, "/workers/report/lock").acquire().await?;
/// assert!(next.release().await?, "another may have the job");
/// # Ok(())
/// # });
/// ```
#[derive(Debug)]
pub struct Worker {
    state: watch::Receiver<WorkerState>,
    task: Background,
}

/// What a worker is at.
///
/// ```
/// # use oxkeeper_client::Client;
/// # use oxkeeper_recipes::{Job, Schedule, Scheduler, WorkerState};
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = &Client::connect(&servers).await?;
/// let never = Schedule::cron("0 0 30 2 *").expect("a schedule");
/// let mut worker =
///     Scheduler::new(zk, "/worker-states").work(Job::new("nothing", never), |_| async {}).await?;
/// assert!(matches!(worker.state(), WorkerState::StandingBy));
/// while !matches!(worker.changed().await, WorkerState::Ended(None)) {}
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone)]
pub enum WorkerState {
    /// Others have the job.
    StandingBy,
    /// It has the job.
    OnDuty,
    /// It works no more: no session, a refusal, or a schedule without further ticks (`None`).
    Ended(Option<Error>),
}

impl Scheduler {
    /// The jobs of this directory.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::{Job, Schedule, Scheduler, WorkerState};
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let nightly = Schedule::cron("0 3 * * *").expect("a schedule");
    /// let jobs = Scheduler::new(zk, "/jobs-new");
    /// let mut worker = jobs.work(Job::new("report", nightly), |_| async {}).await?;
    /// while !matches!(worker.changed().await, WorkerState::OnDuty) {}
    /// assert_eq!(zk.children("/jobs-new").await?, ["report"]);
    /// # Ok(())
    /// # });
    /// ```
    pub fn new(sessions: impl Into<Sessions>, dir: &str) -> Scheduler {
        Scheduler { sessions: sessions.into(), dir: dir.to_owned() }
    }

    /// Becomes a worker of a job. Ticks count from the moment when its first worker ever came. The
    /// run is dropped, at an await, when the job may have gone to another.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::{Job, Schedule, Scheduler, Tick};
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// # let (tell, mut ticks) = tokio::sync::mpsc::unbounded_channel();
    /// let often = Schedule::every(Duration::from_millis(20)).expect("a period");
    /// let run = move |tick: Tick| {
    ///     let tell = tell.clone();
    ///     async move { drop(tell.send(tick.due_ms)) }
    /// };
    /// let worker = Scheduler::new(zk, "/jobs-work").work(Job::new("sweep", often), run).await?;
    /// let (first, second) = (ticks.recv().await, ticks.recv().await);
    /// assert!(first < second);
    /// worker.close().await;
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// There is no session, or a name that cannot be one.
    pub async fn work<F, R>(&self, job: Job, run: F) -> Result<Worker, Error>
    where
        F: Fn(Tick) -> R + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        if job.name.is_empty() || job.name.contains('/') {
            return Err(Error::Invalid(format!("{:?} is no name of a job", job.name)));
        }
        let keeper = self.sessions.current().await?;
        let (tell, state) = watch::channel(WorkerState::StandingBy);
        let path = join(&self.dir, &job.name);
        let duty = Duty { sessions: self.sessions.clone(), path, job, run, tell };
        let task = Background::spawn(&keeper, |stop| duty.stand_by(stop));
        Ok(Worker { state, task })
    }
}

impl Worker {
    /// What it is at.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::{Job, Schedule, Scheduler, WorkerState};
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let nightly = Schedule::cron("0 3 * * *").expect("a schedule");
    /// let job = Job::new("report", nightly);
    /// let worker = Scheduler::new(zk, "/worker-state").work(job, |_| async {}).await?;
    /// assert!(matches!(worker.state(), WorkerState::StandingBy), "it has just come");
    /// # Ok(())
    /// # });
    /// ```
    pub fn state(&self) -> WorkerState {
        self.state.borrow().clone()
    }

    /// Waits until that changes.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::{Job, Schedule, Scheduler, WorkerState};
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let nightly = Schedule::cron("0 3 * * *").expect("a schedule");
    /// let job = Job::new("report", nightly);
    /// let mut worker = Scheduler::new(zk, "/worker-changed").work(job, |_| async {}).await?;
    /// assert!(matches!(worker.changed().await, WorkerState::OnDuty), "nobody else knows the job");
    /// # Ok(())
    /// # });
    /// ```
    pub async fn changed(&mut self) -> WorkerState {
        let _ = self.state.changed().await;
        self.state.borrow_and_update().clone()
    }

    /// Works no more; what runs is dropped, and handed over as after a death.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::{Job, Mutex, Schedule, Scheduler, WorkerState};
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let nightly = Schedule::cron("0 3 * * *").expect("a schedule");
    /// let job = Job::new("report", nightly);
    /// let mut worker = Scheduler::new(zk, "/worker-close").work(job, |_| async {}).await?;
    /// while !matches!(worker.changed().await, WorkerState::OnDuty) {}
    /// worker.close().await;
    /// let next = Mutex::new(zk, "/worker-close/report/lock").acquire().await?;
    /// assert!(next.release().await?, "another may have the job");
    /// # Ok(())
    /// # });
    /// ```
    pub async fn close(self) {
        self.task.close().await;
    }
}

struct Duty<F> {
    sessions: Sessions,
    path: String,
    job: Job,
    run: F,
    tell: watch::Sender<WorkerState>,
}

impl<F, R> Duty<F>
where
    F: Fn(Tick) -> R + Send + Sync + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    async fn stand_by(self, mut stop: Stop) {
        let working = async {
            loop {
                match self.have_it_once().await {
                    Ok(true) => {}
                    Ok(false) => break self.tell.send(WorkerState::Ended(None)),
                    Err(error) if error.is_session_over() => {
                        if self.sessions.current().await.is_err() {
                            break self.tell.send(WorkerState::Ended(Some(error)));
                        }
                    }
                    Err(error) => break self.tell.send(WorkerState::Ended(Some(error))),
                }
                let _ = self.tell.send(WorkerState::StandingBy);
            }
        };
        tokio::select! {
            biased;
            () = stop.asked() => {}
            _ = working => {}
        }
    }

    /// Waits for the job, and works for as long as it has it; false if there is no more to do.
    async fn have_it_once(&self) -> Result<bool, Error> {
        let keeper = self.sessions.current().await?;
        // The mutex would make it as a container, which goes when nobody is there, and the record
        // with it.
        let new = New { path: self.path.clone(), data: Vec::new(), kind: Kind::Persistent };
        keeper.create_shared(&new, Kind::Persistent).await?;
        let guard = Mutex::new(&keeper, &join(&self.path, "lock")).acquire().await?;
        let _ = self.tell.send(WorkerState::OnDuty);
        tokio::select! {
            biased;
            () = guard.lapsed() => Ok(true),
            done = self.on_duty(&keeper, &guard) => match done {
                // It was taken from us: we stand by again.
                Err(Error::Gone { .. }) => Ok(true),
                done => done.map(|()| false),
            },
        }
    }

    async fn on_duty(&self, keeper: &Keeper, guard: &Guard) -> Result<(), Error> {
        let (mut record, mut version) = self.read(keeper).await?;
        loop {
            let now_ms = keeper.port().wall_ms();
            let (tick, attempt) = match next(&self.job, &record, now_ms) {
                Next::Never => return Ok(()),
                Next::Sleep(time) => {
                    keeper.sleep(time).await;
                    continue;
                }
                Next::Skip { tick } => {
                    record = Record { tick, running: false, attempts: 0, token: guard.token().0 };
                    version = self.write(keeper, guard, &record, version).await?;
                    continue;
                }
                Next::Run { tick, attempt } => (tick, attempt),
            };
            let attempts = attempt.saturating_add(1);
            record = Record { tick, running: true, attempts, token: guard.token().0 };
            version = self.write(keeper, guard, &record, version).await?;
            let leadership = Leadership::of(guard);
            (self.run)(Tick { due_ms: tick, attempt, leadership }).await;
            record.running = false;
            version = self.write(keeper, guard, &record, version).await?;
        }
    }

    /// The record and its version. Without one, ticks count from now on.
    async fn read(&self, keeper: &Keeper) -> Result<(Record, i32), Error> {
        let gone = || Error::Gone { path: self.path.clone() };
        let (data, stat) = keeper.get(&self.path).await?.ok_or_else(gone)?;
        if data.is_empty() {
            let tick = keeper.port().wall_ms();
            return Ok((Record { tick, running: false, attempts: 0, token: 0 }, stat.version));
        }
        let record = serde_json::from_slice(&data).map_err(|error| Error::Data {
            path: self.path.clone(),
            problem: format!("no record of a job: {error}"),
        })?;
        Ok((record, stat.version))
    }

    /// Writes the record, if the mutex is still ours and nobody has written since: its version.
    async fn write(
        &self,
        keeper: &Keeper,
        guard: &Guard,
        record: &Record,
        version: i32,
    ) -> Result<i32, Error> {
        let data = serde_json::to_vec(record)
            .map_err(|error| Error::Invalid(format!("a record that is no JSON: {error}")))?;
        loop {
            let set = Edit::Set(self.path.clone(), data.clone(), Some(version));
            let failure = match keeper.multi(vec![guard.check(), set]).await {
                Ok(_) => return Ok(version.wrapping_add(1)),
                Err(failure) => failure,
            };
            if failure.session_over {
                return Err(Error::SessionOver);
            } else if failure.fate == Fate::Unknown {
                keeper.sync(&self.path).await?;
                match keeper.get(&self.path).await? {
                    Some((_, stat)) if stat.version == version => {}
                    // The token is ours alone.
                    Some((found, stat)) if found == data => return Ok(stat.version),
                    _ => return Err(Error::Gone { path: guard.path() }),
                }
            } else {
                return Err(match failure.code {
                    Some(ErrorCode::NO_NODE | ErrorCode::BAD_VERSION) => {
                        Error::Gone { path: guard.path() }
                    }
                    _ => failure.into(),
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(missed: Missed, hand_over: HandOver) -> Job {
        let schedule = Schedule::every(Duration::from_secs(10)).unwrap();
        Job { missed, hand_over, ..Job::new("job", schedule) }
    }

    fn record(tick: i64, running: bool) -> Record {
        Record { tick, running, attempts: u32::from(running), token: 1 }
    }

    #[test]
    fn a_tick_waits_for_its_time_and_runs_then() {
        let job = job(Missed::Once, HandOver::Again);
        let wait = Next::Sleep(Duration::from_millis(4_000));
        assert_eq!(next(&job, &record(20_000, false), 26_000), wait);
        let run = Next::Run { tick: 30_000, attempt: 0 };
        assert_eq!(next(&job, &record(20_000, false), 30_000), run);
        // A clock that is behind: the tick that was run is not run again.
        assert!(matches!(next(&job, &record(20_000, false), 3_000), Next::Sleep(_)));
    }

    #[test]
    fn missed_ticks_are_run_as_the_policy_says() {
        let of = |missed| next(&job(missed, HandOver::Again), &record(20_000, false), 75_000);
        assert_eq!(of(Missed::All), Next::Run { tick: 30_000, attempt: 0 });
        assert_eq!(of(Missed::Once), Next::Run { tick: 70_000, attempt: 0 });
        let young = Missed::SkipOlderThan(Duration::from_secs(5));
        assert_eq!(of(young), Next::Run { tick: 70_000, attempt: 0 });
        let younger = Missed::SkipOlderThan(Duration::from_secs(4));
        assert_eq!(of(younger), Next::Skip { tick: 70_000 });
    }

    #[test]
    fn a_tick_whose_worker_was_lost_is_handed_over_as_the_policy_says() {
        let of = |hand_over| next(&job(Missed::All, hand_over), &record(20_000, true), 75_000);
        assert_eq!(of(HandOver::Again), Next::Run { tick: 20_000, attempt: 1 });
        assert_eq!(of(HandOver::Never), Next::Skip { tick: 20_000 });
    }

    #[test]
    fn years_of_missed_ticks_cost_nothing() {
        let second = Schedule::every(Duration::from_millis(1)).unwrap();
        let job = Job::new("job", second);
        let now = 1_700_000_000_123;
        assert_eq!(next(&job, &record(0, false), now), Next::Run { tick: now, attempt: 0 });
        let leap = Job::new("job", Schedule::cron("0 0 29 2 *").unwrap());
        let run = next(&leap, &record(0, false), now);
        assert_eq!(run, Next::Run { tick: 1_582_934_400_000, attempt: 0 });
    }
}
