//! One server of the two, doing the steps.
//!
//! A side owns its server, its connections and the translation of what it hears. [`Side::perform`]
//! does one step and returns everything that could be seen, comparable with the other side's.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::client::{Client, Greeting, greet};
use super::normal::{Normal, sort_events_of_one_change};
use super::step::{CONTROL, Password, SessionName, Step};
use crate::peers::RunningServer;
use crate::wire::request::password_of;
use crate::wire::{Blob, ConnectRequest, Connection, Request, op};

/// How many connections the random sequence plays on.
pub const SLOTS: usize = 5;
/// The timeout of every session that is not meant to expire, in milliseconds: longer than any run
/// leaves a session without a word.
pub const LONG_TIMEOUT_MS: i32 = 600_000;
/// How long a session may live beyond its timeout before the run gives up.
const EXPIRY_LIMIT: Duration = Duration::from_secs(60);
/// How often an expiring session's ephemeral is looked at.
const EXPIRY_POLL: Duration = Duration::from_millis(10);
/// The superuser of the test configuration.
const SUPER: &str = "super:secret";

/// What a step showed: one JSON object per thing seen, in order.
pub type Seen = Vec<Value>;

/// One server and everything we hold of it.
#[derive(Debug)]
pub struct Side {
    pub(super) server: RunningServer,
    pub(super) control: Option<Client>,
    slots: [Option<Client>; SLOTS],
    ids: HashMap<SessionName, i64>,
    pub(crate) normal: Normal,
    /// Whether the tree that is served was loaded, not built.
    pub(super) has_restarted: bool,
    /// The newest zxid any answer has shown.
    pub(crate) zxid: i64,
}

impl Side {
    /// Takes over a fresh server and connects the control session.
    ///
    /// # Errors
    /// When the server does not play along.
    pub fn new(server: RunningServer) -> Result<Self> {
        let mut side = Self {
            server,
            control: None,
            slots: Default::default(),
            ids: HashMap::new(),
            normal: Normal::new(),
            has_restarted: false,
            zxid: 0,
        };
        let greeting = greet(side.server.addr(), &ConnectRequest::new(LONG_TIMEOUT_MS).frame())?;
        let Greeting::Answered(reply, client) = greeting else { bail!("no control session") };
        side.learn(CONTROL, &reply);
        side.take_control(client)?;
        Ok(side)
    }

    /// A word for messages: which server this is.
    pub fn name(&self) -> &'static str {
        self.server.kind().name()
    }

    /// Whether this side is held to what the deviations file says of Java.
    pub(crate) fn is_java(&self) -> bool {
        matches!(self.server.kind(), crate::peers::ServerUnderTest::Java(_))
    }

    /// Does one step.
    ///
    /// # Errors
    /// When the server cannot be understood at all: it hangs, or is gone.
    pub fn perform(&mut self, step: &Step) -> Result<Seen> {
        let mut seen = match step {
            Step::Connect { slot, session, request } => {
                self.connect(*slot, *session, request, true)?
            }
            Step::Resume { slot, session, password, read_only } => {
                self.resume(*slot, *session, *password, *read_only)?
            }
            Step::Send { slot, requests, cut } => {
                if let Some(client) = &mut self.slots[*slot] {
                    client.send(requests, *cut, self.zxid);
                }
                self.settle(*slot)?
            }
            Step::Bytes { slot, bytes } => {
                if let Some(client) = &mut self.slots[*slot] {
                    client.send_bytes(bytes.0.as_deref().unwrap_or(&[]));
                }
                self.settle(*slot)?
            }
            Step::Drop { slot } => {
                self.hang_up(*slot)?;
                Seen::new()
            }
            Step::Handshake { request, ahead } => self.handshake(request, *ahead)?,
            Step::Opening { bytes } => self.opening(bytes)?,
            Step::Expire { session, timeout_ms, requests, path, silent } => {
                self.expire(*session, *timeout_ms, requests, path, *silent)?
            }
            Step::Walk => self.walk("/")?,
            Step::Clear { top } => self.clear(top)?,
            Step::Deviate(deviation) => self.deviate(*deviation)?,
            Step::Restart { kill, enforce_quota } => self.restart(*kill, *enforce_quota)?,
            Step::Reap => self.reap()?,
        };
        seen.extend(self.fence_all()?);
        if step.ends_sessions() {
            sort_events_of_one_change(&mut seen);
        }
        if matches!(step, Step::Deviate(_)) {
            seen.retain(|line| !super::deviate::is_own_event(line));
        }
        Ok(seen)
    }

    // ---- connections ------------------------------------------------------------------------

    /// Sends a handshake for `slot`; a session that it makes or resumes is known as `session`.
    fn connect(
        &mut self,
        slot: usize,
        session: SessionName,
        request: &ConnectRequest,
        new: bool,
    ) -> Result<Seen> {
        self.hang_up(slot)?;
        match greet(self.server.addr(), &request.frame())? {
            Greeting::Closed => Ok(vec![json!({ "slot": slot, "op": "closed" })]),
            Greeting::Answered(mut reply, mut client) => {
                if new {
                    self.learn(session, &reply);
                }
                self.normal.connect(&mut reply);
                reply["slot"] = slot.into();
                let mut seen = vec![reply];
                let refused = seen[0]["sessionId"] == 0;
                let rest =
                    if refused { client.until_closed()? } else { client.settle(&mut self.zxid)? };
                let open = self.take(Some(slot), rest, &mut seen);
                self.slots[slot] = open.then_some(client);
                Ok(seen)
            }
        }
    }

    fn resume(
        &mut self,
        slot: usize,
        session: SessionName,
        password: Password,
        read_only: Option<bool>,
    ) -> Result<Seen> {
        let Some(id) = self.ids.get(&session).copied() else { return Ok(Seen::new()) };
        let mut bytes = password_of(id);
        bytes[3] ^= u8::from(password == Password::Wrong);
        let request = ConnectRequest {
            last_zxid: self.zxid,
            session: id,
            password: Blob((password != Password::Null).then_some(bytes)),
            read_only,
            ..ConnectRequest::new(LONG_TIMEOUT_MS)
        };
        self.connect(slot, session, &request, false)
    }

    fn learn(&mut self, session: SessionName, reply: &Value) {
        if let Some(id) = reply["sessionId"].as_i64().filter(|id| *id != 0) {
            self.ids.insert(session, id);
            self.normal.name_session(id, session);
        }
    }

    fn hang_up(&mut self, slot: usize) -> Result<()> {
        self.slots[slot].take().map_or(Ok(()), Client::hang_up)
    }

    /// Reads what a slot has to say after something was sent there.
    fn settle(&mut self, slot: usize) -> Result<Seen> {
        let mut seen = Seen::new();
        if let Some(mut client) = self.slots[slot].take() {
            let lines = client.settle(&mut self.zxid)?;
            self.slots[slot] = self.take(Some(slot), lines, &mut seen).then_some(client);
        }
        Ok(seen)
    }

    /// Makes lines comparable and adds them; false if they end with a close.
    pub(super) fn take(&mut self, slot: Option<usize>, lines: Vec<Value>, seen: &mut Seen) -> bool {
        let open = lines.last().is_none_or(|line| line["op"] != "closed");
        for mut line in lines {
            self.zxid = self.zxid.max(line["zxid"].as_i64().unwrap_or(0));
            self.normal.reply(&mut line);
            line["slot"] = slot.into();
            seen.push(line);
        }
        open
    }

    /// Collects what the other connections were told meanwhile.
    fn fence_all(&mut self) -> Result<Seen> {
        let mut seen = Seen::new();
        self.slots.iter_mut().flatten().for_each(Client::send_fence);
        for slot in 0..SLOTS {
            let Some(mut client) = self.slots[slot].take() else { continue };
            let mut lines = Vec::new();
            let open = client.read_fence(&mut lines, &mut self.zxid)?;
            if !open {
                lines.push(json!({ "op": "closed" }));
            }
            self.take(Some(slot), lines, &mut seen);
            self.slots[slot] = open.then_some(client);
        }
        Ok(seen)
    }

    // ---- connections of a moment ------------------------------------------------------------

    fn handshake(&mut self, request: &ConnectRequest, ahead: Option<i64>) -> Result<Seen> {
        let mut request = request.clone();
        if let Some(ahead) = ahead {
            request.last_zxid = self.zxid.saturating_add(ahead);
        }
        let mut seen = Seen::new();
        match greet(self.server.addr(), &request.frame())? {
            Greeting::Closed => seen.push(json!({ "op": "closed" })),
            Greeting::Answered(mut reply, mut client) => {
                let refused = reply["sessionId"] == 0;
                self.normal.connect(&mut reply);
                if let Some(id) = reply["sessionId"].as_i64().filter(|id| *id != 0) {
                    // It ends at once and gets no name; that it is of the usual form must do.
                    reply["sessionId"] = json!({ "server": id >> 56 });
                }
                seen.push(reply);
                if !refused {
                    client.send(&[Request::Bare { op: op::CLOSE_SESSION }], None, 0);
                }
                let lines = client.until_closed()?;
                self.take(None, lines, &mut seen);
            }
        }
        Ok(seen)
    }

    fn opening(&mut self, bytes: &Blob) -> Result<Seen> {
        let mut connection = Connection::open(self.server.addr())?;
        connection.send(bytes.0.as_deref().unwrap_or(&[]));
        let rest =
            connection.receive_rest()?.context("bytes that are no handshake keep it open")?;
        Ok(vec![json!({ "rest": crate::wire::reply::blob(&rest), "op": "closed" })])
    }

    fn expire(
        &mut self,
        session: SessionName,
        timeout_ms: i32,
        requests: &[Request],
        path: &str,
        silent: bool,
    ) -> Result<Seen> {
        let greeting = greet(self.server.addr(), &ConnectRequest::new(timeout_ms).frame())?;
        let Greeting::Answered(mut reply, mut client) = greeting else {
            return Ok(vec![json!({ "op": "closed" })]);
        };
        self.learn(session, &reply);
        self.normal.connect(&mut reply);
        let mut seen = vec![reply];
        client.send(requests, None, self.zxid);
        let lines = client.settle(&mut self.zxid)?;
        let since = Instant::now();
        self.take(None, lines, &mut seen);
        let open = silent.then_some(client);
        self.until_gone(path)?;
        // The fence of settle is the last the server heard; it cannot have been before `since`
        // by more than its way here took, which rounding down to whole ticks never eats up.
        let lived = since.elapsed();
        if lived + Duration::from_millis(50)
            < Duration::from_millis(timeout_ms.unsigned_abs().into())
        {
            seen.push(json!({ "expired early, after ms": lived.as_millis().to_string() }));
        }
        if let Some(mut client) = open {
            let lines = client.until_closed()?;
            self.take(None, lines, &mut seen);
        }
        Ok(seen)
    }

    /// Waits until a znode no longer exists.
    pub(super) fn until_gone(&mut self, path: &str) -> Result<()> {
        let since = Instant::now();
        loop {
            let exists = Request::Read { op: op::EXISTS, path: Some(path.into()), watch: false };
            if self.ask(exists)?["err"] == -101 {
                return Ok(());
            }
            ensure!(since.elapsed() < EXPIRY_LIMIT, "{path} is still there after {EXPIRY_LIMIT:?}");
            std::thread::sleep(EXPIRY_POLL);
        }
    }

    // ---- the control connection -------------------------------------------------------------

    fn take_control(&mut self, client: Client) -> Result<()> {
        self.control = Some(client);
        let auth = Request::Auth { scheme: Some("digest".into()), auth: Blob::text(SUPER) };
        let reply = self.ask(auth)?;
        ensure!(reply["err"] == 0, "no superuser: {reply}");
        Ok(())
    }

    /// Asks by the control connection and returns the one answer.
    pub(super) fn ask(&mut self, request: Request) -> Result<Value> {
        let mut answers = self.ask_all(std::slice::from_ref(&request))?;
        // A fence that shows has met a zxid of which no reply had told, such as a new session's.
        answers.retain(|answer| answer["op"] != "ping");
        ensure!(answers.len() == 1, "{request:?} by the control session: {answers:?}");
        Ok(answers.remove(0))
    }

    /// Asks many things at once by the control connection.
    pub(super) fn ask_all(&mut self, requests: &[Request]) -> Result<Seen> {
        let mut client = self.control.take().context("the control connection is closed")?;
        let mut seen = Seen::new();
        client.send(requests, None, self.zxid);
        let lines = client.settle(&mut self.zxid)?;
        if self.take(None, lines, &mut seen) {
            self.control = Some(client);
        }
        for line in &mut seen {
            // How often it has asked for something to be gone is a matter of time.
            line["xid"] = Value::Null;
        }
        Ok(seen)
    }

    // ---- life and death ---------------------------------------------------------------------

    fn restart(&mut self, kill: bool, enforce_quota: bool) -> Result<Seen> {
        let setting = ("enforceQuota".to_owned(), enforce_quota.to_string());
        self.server.opts_mut().config.push(setting);
        self.come_back(kill)
    }

    /// Ends the server, starts it again, and takes up the control session.
    pub(super) fn come_back(&mut self, kill: bool) -> Result<Seen> {
        let mut seen = self.stop(kill)?;
        self.server.restart()?;
        seen.push(self.resume_control()?);
        Ok(seen)
    }

    /// Gives up all connections and ends the server.
    ///
    /// # Errors
    /// When it does not obey.
    pub fn stop(&mut self, kill: bool) -> Result<Seen> {
        self.has_restarted = true;
        self.slots = Default::default();
        self.control = None;
        if kill {
            self.server.kill()?;
            return Ok(Seen::new());
        }
        let status = self.server.stop()?;
        // Java ends with 143 (128 + SIGTERM), ours with 0: processes, not protocol.
        let odd = !self.is_java() && !status.success();
        Ok(odd.then(|| json!({ "stopped with": status.to_string() })).into_iter().collect())
    }

    /// Goes on with another server that has opened this one's directory.
    ///
    /// # Errors
    /// When that one does not know the control session.
    pub fn take_over(&mut self, server: RunningServer) -> Result<()> {
        self.server = server;
        self.resume_control().map(drop)
    }

    /// The ids of sessions by name, as far as they have one.
    pub fn session_ids(&self, names: &[SessionName]) -> Vec<i64> {
        names.iter().filter_map(|name| self.ids.get(name).copied()).collect()
    }

    fn resume_control(&mut self) -> Result<Value> {
        let id = self.ids[&CONTROL];
        let request = ConnectRequest {
            last_zxid: self.zxid,
            session: id,
            password: Blob(Some(password_of(id))),
            ..ConnectRequest::new(LONG_TIMEOUT_MS)
        };
        match greet(self.server.addr(), &request.frame())? {
            Greeting::Answered(mut reply, client) => {
                ensure!(reply["sessionId"] != 0, "the control session is lost: {reply}");
                self.normal.connect(&mut reply);
                self.take_control(client)?;
                Ok(reply)
            }
            Greeting::Closed => bail!("the control session is refused after a restart"),
        }
    }
}
