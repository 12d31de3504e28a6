//! The four-letter words: gathering what they show.
//!
//! What a word prints is decided in `oxkeeper_node::admin`, from a view. Here the view is filled,
//! each word's part of it only. What several threads hold is asked of each through its mailbox
//! ([`gather`]), in steps of bounded cost, and waited for without blocking; what needs the disk or
//! much formatting happens on a thread of its own.
//!
//! # Bounds
//! A report may take [`REPORT_BYTES_MAX`]. Reports that grow with the number of clients, watches or
//! ephemerals are made one at a time, and the next is begun when the last one's client has read it
//! or [`READ_TIME_MAX`] has passed; of the others, [`REPORTS_AT_ONCE`] are under way.

mod environment;
mod gather;
mod report;

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use oxkeeper_config::{Config, Ensemble, FourLetterWhitelist};
use oxkeeper_node::admin::{self, AdminView, ConfigView, EnsembleView, TRACE_MASK_DEFAULT};
use oxkeeper_node::{AdminRequest, ConnId};
use oxkeeper_proto::AdminWord;
use oxkeeper_storage::{DataDir, OsDisk};
use tokio::sync::{Semaphore, oneshot};

use crate::client_port::Door;
use crate::host_stats::HostStats;
use crate::io_thread::IoThread;

pub use environment::VERSION;

/// Bytes of one report, and roughly of what is gathered for it. Enough for a million watches on
/// paths of 100 bytes; beyond it the report is refused rather than the machine's memory taken.
pub const REPORT_BYTES_MAX: usize = 256 << 20;

/// Small reports made at the same time. Each may keep a thread busy; monitoring asks seldom.
pub const REPORTS_AT_ONCE: usize = 4;

/// How long the client of a large report may take to read it.
pub const READ_TIME_MAX: Duration = Duration::from_secs(30);

/// FastLeaderElection, the only one that is left of four.
const ELECTION_ALG: i64 = 3;

/// What does not change while the server runs, and what all threads count together.
#[derive(Debug)]
pub struct AdminContext {
    whitelist: FourLetterWhitelist,
    config: ConfigView,
    data_dir: PathBuf,
    log_dir: PathBuf,
    /// The interval in which ZooKeeper collects connections that may expire, ms.
    sessionless_timeout_ms: u64,
    door: Arc<Door>,
    host: Arc<HostStats>,
    trace_mask: AtomicI64,
    small: Semaphore,
    large: Semaphore,
}

impl AdminContext {
    /// Takes what the reports need from the configuration.
    pub fn new(
        config: &Config,
        dir: &DataDir<OsDisk>,
        door: Arc<Door>,
        host: Arc<HostStats>,
    ) -> Self {
        AdminContext {
            whitelist: config.admin.four_letter_whitelist.clone(),
            config: config_view(config, dir),
            data_dir: dir.snapshot_dir().to_owned(),
            log_dir: dir.log_dir().to_owned(),
            sessionless_timeout_ms: u64::from(config.limits.sessionless_cnxn_timeout_ms),
            door,
            host,
            trace_mask: AtomicI64::new(TRACE_MASK_DEFAULT),
            small: Semaphore::new(REPORTS_AT_ONCE),
            large: Semaphore::new(1),
        }
    }

    /// The view every word starts from.
    fn view(&self) -> AdminView {
        AdminView {
            serving: true,
            version: VERSION.to_owned(),
            trace_mask: self.trace_mask.load(Ordering::Relaxed),
            ..AdminView::default()
        }
    }
}

fn config_view(config: &Config, dir: &DataDir<OsDisk>) -> ConfigView {
    let shown = |path: &Path| path.display().to_string();
    ConfigView {
        // It may change: the report asks the door.
        client_port: -1,
        secure_client_port: -1,
        data_dir: shown(dir.snapshot_dir()),
        data_log_dir: shown(dir.log_dir()),
        tick_time_ms: i64::from(config.sessions.tick_time_ms),
        client_cnxns_max: i64::from(config.limits.max_client_cnxns),
        session_timeout_min_ms: i64::from(config.sessions.min_session_timeout_ms),
        session_timeout_max_ms: i64::from(config.sessions.max_session_timeout_ms),
        listen_backlog: config.listen.backlog.map_or(-1, i64::from),
        // Only members of an ensemble have an id that shows.
        server_id: config.ensemble.as_ref().map_or(0, |ensemble| ensemble.my_id),
        ensemble: config.ensemble.as_ref().map(ensemble_view),
    }
}

/// What of it does not change while the server runs; the rest is the core's.
fn ensemble_view(ensemble: &Ensemble) -> EnsembleView {
    EnsembleView {
        init_limit: i64::from(ensemble.init_limit),
        sync_limit: i64::from(ensemble.sync_limit),
        election_alg: ELECTION_ALG,
        ..EnsembleView::default()
    }
}

/// Large reports on their way to their clients: told when the connection is over.
#[derive(Debug, Default)]
pub struct Deliveries {
    under_way: RefCell<HashMap<ConnId, oneshot::Sender<()>>>,
}

impl Deliveries {
    fn follow(&self, id: ConnId) -> oneshot::Receiver<()> {
        let (over, told) = oneshot::channel();
        self.under_way.borrow_mut().insert(id, over);
        told
    }

    /// A connection is over.
    pub fn connection_closed(&self, id: ConnId) {
        let mut under_way = self.under_way.borrow_mut();
        if !under_way.is_empty() {
            under_way.remove(&id);
        }
    }
}

/// Answers the words asked since the last turn, or sets about it.
pub fn answer(thread: &Rc<IoThread>) {
    for asked in thread.take_admin() {
        match at_once(&thread.admin, &asked) {
            Some(text) => reply(thread, asked.conn, text),
            None => {
                let thread = Rc::clone(thread);
                tokio::task::spawn_local(async move { answer_later(&thread, asked).await });
            }
        }
    }
}

/// The answer to a word for which nobody need be asked.
fn at_once(context: &AdminContext, asked: &AdminRequest) -> Option<String> {
    let word = asked.word;
    if !context.whitelist.allows(word.name()) {
        return Some(admin::refusal(word));
    }
    let mut view = AdminView { serving: asked.serving, ..context.view() };
    match word {
        AdminWord::Ruok | AdminWord::Gtmk => {}
        // Only a member of an ensemble can be read-only.
        AdminWord::Isro if context.config.ensemble.is_none() => {}
        AdminWord::Stmk => context.trace_mask.store(asked.argument, Ordering::Relaxed),
        AdminWord::Envi => view.environment = environment::environment(),
        _ if !asked.serving => {}
        _ => return None,
    }
    Some(admin::answer(word, asked.argument, &view))
}

/// Whether a report grows with what clients do.
fn is_large(word: AdminWord) -> bool {
    use AdminWord::{Cons, Dump, Stat, Wchc, Wchp, Wchs};
    matches!(word, Cons | Dump | Stat | Wchc | Wchp | Wchs)
}

async fn answer_later(thread: &Rc<IoThread>, asked: AdminRequest) {
    let large = is_large(asked.word);
    let turns = if large { &thread.admin.large } else { &thread.admin.small };
    // The semaphores are never closed.
    let Ok(_turn) = turns.acquire().await else { return };
    let text = match report::report(thread, asked.word).await {
        Ok(text) if text.len() <= REPORT_BYTES_MAX => text,
        Ok(_) | Err(report::NoReport::TooLarge) => {
            tracing::warn!(
                word = asked.word.name(),
                limit = REPORT_BYTES_MAX,
                "a report was refused for its size"
            );
            format!("{} would take more than {REPORT_BYTES_MAX} bytes.\n", asked.word.name())
        }
        Err(report::NoReport::Stopping) => String::new(),
    };
    if thread.with(|state| state.front.state(asked.conn).close_now) {
        return;
    }
    let over = large.then(|| thread.admin_deliveries.follow(asked.conn));
    reply(thread, asked.conn, text);
    if let Some(over) = over
        && tokio::time::timeout(READ_TIME_MAX, over).await.is_err()
    {
        thread.with(|state| state.front.give_up_admin(asked.conn));
        thread.attend();
    }
}

fn reply(thread: &Rc<IoThread>, conn: ConnId, text: String) {
    thread.with(|state| state.front.answer_admin(conn, text));
    thread.attend();
}
