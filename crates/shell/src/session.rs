//! The session of a shell: begun, ended, and what its watches say.
//!
//! ZooKeeper's shell has one watcher for everything, so a change is told once, however many watches
//! see it; this keeps to that. A one-shot watch is held until it fires, for `removewatches` to
//! find.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use oxkeeper_client::{
    Client, EventType, Loss, OneShot, State, StateStream, WatchEvent, WatchItem, WatchStream,
};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::failure::{Failure, Kind};
use crate::options::Options;
use crate::out::{Out, Style};

/// Without `-waitforconnection` a server has to be there; this long its network may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many events are remembered, to tell none twice.
const REMEMBERED: usize = 128;

/// A session with a server.
pub struct Session {
    /// The client.
    pub zk: Client,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    teller: Arc<Teller>,
}

/// What a watch is on, by the table that it stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Watched {
    /// Data, of `get`, `stat` and `config`.
    Data,
    /// Children, of `ls`.
    Children,
    /// A persistent watch of either mode.
    Persistent,
}

impl Watched {
    fn removed(self) -> &'static str {
        match self {
            Watched::Data => "DataWatchRemoved",
            Watched::Children => "ChildWatchRemoved",
            Watched::Persistent => "PersistentWatchRemoved",
        }
    }
}

/// Prints events.
pub struct Teller {
    out: Out,
    json: bool,
    /// Whether changes of the connection are told.
    connection: bool,
    on: Arc<AtomicBool>,
    told: Mutex<Told>,
}

#[derive(Default)]
struct Told {
    recent: VecDeque<(EventType, String, i64)>,
    live: HashMap<(Watched, String), usize>,
}

impl Teller {
    /// A teller that says what `on` permits.
    pub fn new(out: &Out, options: &Options, on: &Arc<AtomicBool>) -> Arc<Teller> {
        Arc::new(Teller {
            out: out.clone(),
            json: options.json,
            connection: !options.quiet,
            on: Arc::clone(on),
            told: Mutex::default(),
        })
    }

    fn say(&self, state: &str, event: &str, path: &str, zxid: i64) {
        if !self.on.load(Ordering::Relaxed) {
            return;
        }
        if self.json {
            let value = json!({"watch": {"event": event, "path": path, "zxid": zxid}});
            return self.out.unasked(&format!("{value}\n"));
        }
        let head = self.out.styled(Style::Changed, "WATCHER::");
        self.out.unasked(&format!(
            "\n{head}\n\nWatchedEvent state:{state} type:{event} path:{path} zxid: {zxid}\n"
        ));
    }

    fn event(&self, event: &WatchEvent) {
        let zxid = event.zxid.map_or(-1, |zxid| zxid.0);
        {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            let seen = (event.kind, event.path.clone(), zxid);
            if zxid >= 0 && told.recent.contains(&seen) {
                return;
            }
            told.recent.push_back(seen);
            if told.recent.len() > REMEMBERED {
                told.recent.pop_front();
            }
        }
        self.say("SyncConnected", event_name(event.kind), &event.path, zxid);
    }

    fn armed(&self, what: Watched, path: &str) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        *told.live.entry((what, path.to_owned())).or_default() += 1;
    }

    /// One watch less; whether there was one that nobody has told of yet.
    fn disarmed(&self, what: Watched, path: &str, all: bool) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (what, path.to_owned());
        match told.live.get_mut(&key) {
            Some(count) if *count > 1 && !all => {
                *count -= 1;
                true
            }
            Some(_) => told.live.remove(&key).is_some(),
            None => false,
        }
    }

    fn lost(&self, what: Watched, path: &str, loss: &Loss) {
        // That the session ended is told once, as a change of its state.
        if self.disarmed(what, path, true) && matches!(loss, Loss::Removed) {
            self.say("SyncConnected", what.removed(), path, -1);
        }
    }

    fn state(&self, state: &State) {
        if !self.connection {
            return;
        }
        let name = match state {
            State::Connecting | State::Closed { .. } => return,
            State::Connected { read_only: true, .. } => "ConnectedReadOnly",
            State::Connected { .. } => "SyncConnected",
            State::Suspended { .. } => "Disconnected",
            State::Expired => "Expired",
            State::AuthFailed => "AuthFailed",
        };
        self.say(name, "None", "null", -1);
    }
}

/// ZooKeeper's name of an event.
pub fn event_name(kind: EventType) -> &'static str {
    match kind {
        EventType::NodeCreated => "NodeCreated",
        EventType::NodeDeleted => "NodeDeleted",
        EventType::NodeDataChanged => "NodeDataChanged",
        EventType::NodeChildrenChanged => "NodeChildrenChanged",
    }
}

/// A client of `hosts`, once it has a session.
///
/// # Errors
/// If there is no server in time, or the text names none.
pub async fn connect(hosts: &str, options: &Options) -> Result<Client, Failure> {
    let patience = if options.wait { options.timeout } else { PATIENCE.min(options.timeout) };
    let mut builder = Client::builder(hosts)
        .session_timeout(options.timeout)
        .read_only(options.read_only)
        .connect_within(patience);
    for (scheme, proof) in &options.auth {
        builder = builder.auth(scheme, proof);
    }
    builder.connect().await.map_err(|error| {
        let failure = Failure::new(
            Kind::Connection,
            format!("KeeperErrorCode = ConnectionLoss: {hosts}: {error}"),
        );
        let hint = if options.wait {
            "is a server running there? -timeout gives it longer"
        } else {
            "is a server running there? -waitforconnection waits for it"
        };
        match error.code() {
            Some(_) => failure.hint(hint),
            None => Failure::usage(format!("{hosts}: {error}")).hint(
                "servers are host:port, several with commas, and a chroot: h1:2181,h2:2181/app",
            ),
        }
    })
}

impl Session {
    /// Begins one, and tells of its changes from now on; that it is connected, if `told` is set.
    ///
    /// # Errors
    /// As [`connect`].
    pub async fn begin(
        hosts: &str,
        options: &Options,
        teller: Arc<Teller>,
        told: bool,
    ) -> Result<Session, Failure> {
        let zk = connect(hosts, options).await?;
        let mut states = zk.states();
        if let Some(first) = states.next().await.filter(|_| told) {
            teller.state(&first);
        }
        let follower = tokio::spawn(follow_states(states, Arc::clone(&teller)));
        Ok(Session { zk, tasks: Mutex::new(vec![follower]), teller })
    }

    /// How the prompt names its state.
    pub fn state_name(&self) -> &'static str {
        match self.zk.state() {
            State::Connecting | State::Suspended { .. } => "CONNECTING",
            State::Connected { read_only: true, .. } => "CONNECTEDREADONLY",
            State::Connected { .. } => "CONNECTED",
            State::AuthFailed => "AUTH_FAILED",
            State::Expired | State::Closed { .. } => "CLOSED",
        }
    }

    /// Tells of a watch that fires once.
    pub fn tell(&self, what: Watched, path: &str, watch: OneShot) {
        let (teller, path) = (Arc::clone(&self.teller), path.to_owned());
        teller.armed(what, &path);
        self.keep(tokio::spawn(async move {
            match watch.await {
                Ok(event) => {
                    teller.disarmed(what, &path, false);
                    teller.event(&event);
                }
                Err(loss) => teller.lost(what, &path, &loss),
            }
        }));
    }

    /// Tells of a watch that stays.
    pub fn follow(&self, path: &str, mut watch: WatchStream) {
        let (teller, path) = (Arc::clone(&self.teller), path.to_owned());
        teller.armed(Watched::Persistent, &path);
        self.keep(tokio::spawn(async move {
            while let Some(item) = watch.next().await {
                match item {
                    WatchItem::Event(event) => teller.event(&event),
                    WatchItem::Gap => {
                        let text = "changes may have been missed: the connection was away";
                        teller.out.note(teller.out.styled_note(Style::Dim, text));
                    }
                    WatchItem::Lost(loss) => teller.lost(Watched::Persistent, &path, &loss),
                }
            }
        }));
    }

    fn keep(&self, task: JoinHandle<()>) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.retain(|task| !task.is_finished());
        tasks.push(task);
    }

    /// Ends it; nothing is told after that.
    pub async fn end(self) {
        for task in self.tasks.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            task.abort();
        }
        self.zk.close().await;
    }
}

async fn follow_states(mut states: StateStream, teller: Arc<Teller>) {
    while let Some(state) = states.next().await {
        teller.state(&state);
    }
}
