//! A server's life: bind, recover, run, stop. The port is bound first, because that is the quickest
//! of the ways to fail and touches nothing. Who comes while a server alone recovers waits in the
//! system's queue: there is nobody else to ask. A member of an ensemble listens only when it has
//! recovered, so that its clients go to the others at once.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use oxkeeper_config::{Config, Ensemble, ExitCode};
use oxkeeper_node::{Core, Front, FrontId};
use oxkeeper_proto::Zxid;
use oxkeeper_proto::notification::Address;
use oxkeeper_storage::{DataDir, LogError, OsDisk, TxnLog, TxnLogOptions, read_ensemble_id};
use oxkeeper_zab as zab;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{JoinError, LocalSet};

use crate::StartError;
use crate::admin::AdminContext;
use crate::boot::{self, BootOptions, Booted};
use crate::client_port::{self, Door, Listening};
use crate::clock::Clock;
use crate::dynamic_config::{self, DynamicConfig, DynamicConfigError};
use crate::election_port::{self, ElectionPort};
use crate::ensemble::{self, Member, Voice};
use crate::fan_out::FanOut;
use crate::history_thread::HistoryThread;
use crate::host_stats::{HostStats, Reports};
use crate::io_thread::{CorePart, Ended, IoThread};
use crate::log_thread::{FlushPolicy, LogThread, LogWorker};
use crate::mailbox::Mailbox;
use crate::member::boot_member;
use crate::quorum_port::QuorumPort;
use crate::settings::settings;
use crate::snapshot_thread::{PurgePolicy, SnapshotPolicy, SnapshotThread};
use crate::tree_lock::TreeLock;
use crate::{descriptors, ensemble_settings};

/// What a server that is ready has to say.
#[derive(Debug, Clone)]
pub struct Ready {
    /// Where it listens.
    pub addr: SocketAddr,
    /// Where its data is.
    pub data_dir: PathBuf,
    /// Znodes recovered.
    pub znodes: usize,
    /// From the start of the process's work to here.
    pub took: Duration,
}

/// Runs a server until a signal ends it. `ready` is called once it listens.
///
/// # Errors
/// If it cannot start, or if its log cannot be written any more.
pub fn serve(config: &Config, ready: impl FnOnce(&Ready)) -> Result<(), StartError> {
    let began = Instant::now();
    descriptors::raise_limit();
    let runtime = runtime()?;
    let local = LocalSet::new();
    local.block_on(&runtime, async {
        survive_file_size_limit();
        let bound = client_port::bind(config).await?;
        let seed = random_seed();
        let addr = bound.addr();
        let booting = Instant::now();
        let options = BootOptions::new(config, seed);
        let host = Arc::new(HostStats::default());
        let (listener, booted, joining) = match &config.ensemble {
            None => {
                let listener = bound.listen()?;
                (listener, boot::boot(OsDisk, &options)?, None)
            }
            Some(ensemble) => {
                let member = ensemble_settings::boot(ensemble);
                let (booted, recovered) = boot_member(OsDisk, &options, member)?;
                let joining = Joining::open(config, ensemble, &booted.dir, recovered, seed);
                let joining = joining.await?;
                (bound.listen()?, booted, Some(joining))
            }
        };
        host.booted(booting.elapsed(), &booted.report);
        let server = Server::start(config, booted, options, addr, host, joining)?;
        server.run(config, listener, began, ready).await
    })
}

/// What a member has before its core runs.
struct Joining {
    peer: zab::Peer,
    quorum: QuorumPort,
    election: ElectionPort,
    handle: election_port::Handle,
    heard: election_port::Events,
    files: Option<DynamicConfig>,
}

impl Joining {
    async fn open(
        config: &Config,
        ensemble: &Ensemble,
        dir: &DataDir<OsDisk>,
        recovered: zab::Recovered,
        seed: u64,
    ) -> Result<Joining, StartError> {
        let unusable = |error: DynamicConfigError| StartError {
            message: error.to_string(),
            code: ExitCode::InvalidInvocation,
        };
        let files = DynamicConfig::new(config);
        if let Some(files) = &files {
            files.back_up().map_err(unusable)?;
        }
        let membership = dynamic_config::membership(config).map_err(unusable)?;
        let Some(membership) = membership else { return Err(unexpected("no membership".into())) };
        let settings = ensemble_settings::quorum_port(config, ensemble);
        let quorum = QuorumPort::open(settings, &membership).await?;
        let mut settings = ensemble_settings::election_port(ensemble);
        settings.unresolved = quorum.unresolved_names().clone();
        let (handle, heard, election) = ElectionPort::open(settings, &membership).await?;
        let kept_id = read_ensemble_id(dir.disk(), dir.snapshot_dir())
            .map_err(|error| unexpected(error.to_string()))?;
        let agreement = ensemble_settings::agreement(config, ensemble, kept_id, seed);
        let voting = ensemble_settings::voting(config, ensemble);
        let peer = zab::Peer::new(agreement, voting, membership, recovered);
        Ok(Joining { peer, quorum, election, handle, heard, files })
    }
}

/// A member's ports, not served yet.
struct Ports {
    quorum: QuorumPort,
    election: ElectionPort,
    heard: election_port::Events,
}

struct Server {
    first: Rc<IoThread>,
    mailboxes: Arc<[Arc<Mailbox>]>,
    others: Vec<JoinHandle<()>>,
    door: Arc<Door>,
    ports: Option<Ports>,
    /// Where clients are to connect, when that changes.
    moves: watch::Receiver<Option<Address>>,
}

impl Server {
    fn start(
        config: &Config,
        booted: Booted<OsDisk>,
        options: BootOptions,
        addr: SocketAddr,
        host: Arc<HostStats>,
        joining: Option<Joining>,
    ) -> Result<Server, StartError> {
        let seed = options.tree.hash_seed;
        let Booted { dir, shared, wants_snapshot, .. } = booted;
        let clock = Clock::new();
        let threads = io_threads(config);
        let settings = Arc::new(settings(config, seed, threads));
        let mailboxes: Arc<[Arc<Mailbox>]> = (0..threads).map(|_| Arc::default()).collect();
        let door = Arc::new(Door::new(config, addr.port()));
        let mut core = Core::new(Arc::clone(&settings), &shared, clock.now());
        let is_member = joining.is_some();
        if wants_snapshot {
            core.request_snapshot();
        }
        let log = log_worker(config, &dir, shared.tree.last_zxid(), is_member.then_some(options));
        let reports = Arc::new(Reports {
            mailbox: Arc::clone(&mailboxes[0]),
            host: Arc::clone(&host),
            is_member,
        });
        let log = LogThread::run(log, Arc::clone(&reports)).map_err(no_thread)?;
        let policy = SnapshotPolicy {
            compression: boot::compression(config),
            zxid_section: config.storage.serialize_last_processed_zxid,
            purge: purge(config, dir.created_by_us()),
        };
        let admin = Arc::new(AdminContext::new(config, &dir, Arc::clone(&door), host));
        let snapshots = SnapshotThread::start(Arc::clone(&dir), policy, Arc::clone(&reports))
            .map_err(no_thread)?;
        let shared = Arc::new(TreeLock::new(shared));
        let front = Front::new(FrontId(0), Arc::clone(&settings));
        let mut ports = None;
        let (clients_at, moves) = watch::channel(None);
        let member = match joining {
            None => None,
            Some(Joining { peer, quorum, election, handle, heard, files }) => {
                clients_at.send_replace(ensemble::clients_at(&peer));
                core.join(peer, threads as u16, clock.now());
                let history = HistoryThread::start(dir, reports).map_err(no_thread)?;
                ports = Some(Ports { quorum: quorum.clone(), election, heard });
                Some(Member::new(quorum, handle, history, files, clients_at))
            }
        };
        let part = CorePart { core, log, snapshots, member };
        let first = IoThread::new(
            clock,
            Arc::clone(&shared),
            Arc::clone(&mailboxes),
            Arc::clone(&admin),
            front,
            Some(part),
            fan_out(&mailboxes),
        );
        let mut others = Vec::new();
        for index in 1..threads {
            let front = Front::new(FrontId(index as u16), Arc::clone(&settings));
            let (shared, mailboxes) = (Arc::clone(&shared), Arc::clone(&mailboxes));
            others.push(start_thread(clock, shared, mailboxes, Arc::clone(&admin), front)?);
        }
        Ok(Server { first, mailboxes, others, door, ports, moves })
    }

    async fn run(
        self,
        config: &Config,
        listener: Listening,
        began: Instant,
        ready: impl FnOnce(&Ready),
    ) -> Result<(), StartError> {
        let addr = listener.addr();
        let znodes = self.first.shared.read().tree.node_count();
        let data_dir = config.storage.data_dir.clone();
        ready(&Ready { addr, data_dir, znodes, took: began.elapsed() });
        let accepting = tokio::task::spawn_local(client_port::accept(
            listener,
            self.moves.clone(),
            Arc::clone(&self.door),
            Rc::clone(&self.first),
            self.targets(),
        ));
        let sessionless = config.limits.sessionless_cnxn_timeout_ms;
        let sweeping = tokio::task::spawn_local(expire_sessionless(
            Arc::clone(&self.mailboxes),
            u64::from(sessionless),
        ));
        let limit = config.limits.request_throttle.shutdown_timeout_ms;
        let limit = Duration::from_millis(u64::from(limit));
        // A task, because the runtime looks at what it was given to wait for at every turn.
        let ended = tokio::task::spawn_local(self.until_it_ends(accepting, limit)).await;
        sweeping.abort();
        ended.unwrap_or_else(|died| std::panic::resume_unwind(died.into_panic()))
    }

    async fn until_it_ends(
        mut self,
        accepting: tokio::task::JoinHandle<()>,
        limit: Duration,
    ) -> Result<(), StartError> {
        let (mut port_failed, quorum) = match self.ports.take() {
            Some(ports) => {
                let quorum = ports.quorum.clone();
                (tokio::task::spawn_local(serve_ports(Rc::clone(&self.first), ports)), Some(quorum))
            }
            None => (tokio::task::spawn_local(std::future::pending()), None),
        };
        let first = Rc::clone(&self.first);
        // A task among the connections' tasks, so that its turn comes behind theirs without the
        // runtime asking the kernel for more in between.
        let mut running = tokio::task::spawn_local(async move { first.run().await });
        let ended = tokio::select! {
            ended = &mut running => ended,
            failed = &mut port_failed => {
                let died = |died: JoinError| std::panic::resume_unwind(died.into_panic());
                return Err(failed.unwrap_or_else(died));
            }
            _ = stop_signal() => {
                accepting.abort();
                self.drain(&mut running, limit).await
            }
        };
        let ended = ended.unwrap_or_else(|died| std::panic::resume_unwind(died.into_panic()));
        port_failed.abort();
        if let Some(quorum) = quorum {
            quorum.end().await;
        }
        self.stop(ended)
    }

    /// The threads that take connections. With four threads or more the first one's time belongs
    /// to the core alone.
    fn targets(&self) -> Vec<Arc<Mailbox>> {
        let first = if self.mailboxes.len() >= 4 { 1 } else { 0 };
        self.mailboxes[first..].to_vec()
    }

    /// Answers what was taken, then ends.
    async fn drain(
        &mut self,
        running: &mut tokio::task::JoinHandle<Ended>,
        limit: Duration,
    ) -> Result<Ended, JoinError> {
        tracing::info!("stopping: no more requests are taken, those taken are answered");
        self.mailboxes[0].put_work(Box::new(|thread| thread.retire()));
        match tokio::time::timeout(limit, running).await {
            Ok(ended) => ended,
            Err(_) => {
                tracing::warn!("some clients did not take their answers in time");
                Ok(Ended::Stopped)
            }
        }
    }

    fn stop(self, ended: Ended) -> Result<(), StartError> {
        if let Ended::LogFailed(error) = ended {
            // Nothing that waits for this log may be answered: the process ends here and now.
            return Err(log_failed(&error));
        }
        if let Ended::Fatal(fatal) = ended {
            let message = format!("stopping: {fatal}");
            return Err(StartError { message, code: ExitCode::UnexpectedError });
        }
        for thread in self.others {
            let _ = thread.join();
        }
        self.first.with(|state| {
            if let Some(part) = &mut state.core {
                part.snapshots.stop();
                part.log.stop();
            }
        });
        // What was answered is safe, but the last words to the log may not have been taken.
        if let Some(error) = self.mailboxes[0].take_failure() {
            return Err(log_failed(&error));
        }
        tracing::info!("stopped");
        Ok(())
    }
}

/// Serves a member's ports; ends only in trouble.
async fn serve_ports(first: Rc<IoThread>, ports: Ports) -> StartError {
    let Ports { quorum, election, heard } = ports;
    let quorum = quorum.run(Rc::new(Voice::new(Rc::clone(&first))));
    let listening = tokio::task::spawn_local(ensemble::listen(first, heard));
    let failed = tokio::select! {
        error = quorum => error,
        Err(error) = election.run() => error,
    };
    listening.abort();
    failed
}

fn log_failed(error: &LogError) -> StartError {
    StartError { message: format!("stopping: {error}"), code: ExitCode::TxnlogErrorTakingSnapshot }
}

/// The log that goes on behind `last`. `boot` says how a member reads its files again.
fn log_worker(
    config: &Config,
    dir: &Arc<DataDir<OsDisk>>,
    last: Zxid,
    boot: Option<BootOptions>,
) -> LogWorker<OsDisk> {
    let (options, policy) = (log_options(config), flush_policy(config));
    match boot {
        Some(boot) => LogWorker::member(Arc::clone(dir), boot, options, last, policy),
        None => {
            let log = TxnLog::new(*dir.disk(), dir.log_dir().to_owned(), options, last);
            LogWorker::new(log, policy)
        }
    }
}

fn start_thread(
    clock: Clock,
    shared: Arc<TreeLock>,
    mailboxes: Arc<[Arc<Mailbox>]>,
    admin: Arc<AdminContext>,
    front: Front,
) -> Result<JoinHandle<()>, StartError> {
    let runtime = runtime()?;
    let name = format!("io-{}", front.id().0);
    std::thread::Builder::new()
        .name(name)
        .spawn(move || {
            let local = LocalSet::new();
            local.block_on(&runtime, async {
                let thread =
                    IoThread::new(clock, shared, mailboxes, admin, front, None, FanOut::alone());
                let _ = tokio::task::spawn_local(async move { thread.run().await }).await;
            });
        })
        .map_err(no_thread)
}

fn runtime() -> Result<tokio::runtime::Runtime, StartError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| unexpected(format!("cannot start the runtime: {error}")))
}

/// Few cores are best spent without handing anything from thread to thread; with more, the core's
/// thread is kept free of connections.
fn io_threads(config: &Config) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let default = if cores < 4 { 1 } else { (cores / 2).max(2) };
    config.io_threads.unwrap_or(default).clamp(1, 256)
}

/// With more I/O threads, each of them sends to its own clients, and nobody helps.
fn fan_out(mailboxes: &[Arc<Mailbox>]) -> FanOut {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    match mailboxes {
        [only] if cpus > 1 => FanOut::with_helper(Arc::clone(only)),
        _ => FanOut::alone(),
    }
}

fn log_options(config: &Config) -> TxnLogOptions {
    let storage = &config.storage;
    TxnLogOptions {
        prealloc_bytes: storage.pre_alloc_size_kb * 1024,
        size_limit_bytes: storage.txn_log_size_limit_kb.map(|kb| kb * 1024),
        force_sync: storage.force_sync,
    }
}

fn flush_policy(config: &Config) -> FlushPolicy {
    FlushPolicy {
        delay: Duration::from_millis(config.storage.flush_delay_ms),
        batch_max: config.storage.max_batch_size as usize,
        slow: Duration::from_millis(config.storage.fsync_warning_threshold_ms),
    }
}

fn purge(config: &Config, created_by_us: bool) -> Option<PurgePolicy> {
    let purge = boot::purge_policy(config, created_by_us);
    if purge.is_none() && config.storage.purge.interval_hours.is_some() {
        tracing::info!(
            "old snapshots and logs are kept until someone removes them: this directory \
            was there before, and autopurge.purgeInterval is not set"
        );
    }
    purge
}

async fn expire_sessionless(mailboxes: Arc<[Arc<Mailbox>]>, timeout_ms: u64) {
    let mut interval = tokio::time::interval(Duration::from_millis((timeout_ms / 4).max(100)));
    loop {
        interval.tick().await;
        for mailbox in mailboxes.iter() {
            mailbox.put_work(Box::new(move |thread| {
                let now = thread.clock.now();
                thread.with(|state| state.front.expire_sessionless(now, timeout_ms));
            }));
        }
    }
}

/// Where files may not grow beyond a limit, the system ends a process that tries. Once the signal
/// is handled, the write fails instead, and the server can say which file it was.
fn survive_file_size_limit() {
    let _ = signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()));
}

async fn stop_signal() {
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// Different in every process: it keeps clients from choosing names that collide in the tables.
fn random_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::process::id())
}

fn no_thread(error: std::io::Error) -> StartError {
    unexpected(format!("cannot start a thread: {error}"))
}

fn unexpected(message: String) -> StartError {
    StartError { message, code: ExitCode::UnexpectedError }
}
