//! The recorded sessions of Java 3.9.5, replayed.
//!
//! A capture is what one connection sent and received. The client's bytes are sent again, and what
//! comes back is compared with what came then, message by message, field by field. That works
//! because a fresh server that is asked the same things in the same order uses the same zxids: the
//! score (`SCORE`) says in which order the captures came about and what connections that were not
//! recorded did between. Session ids, passwords and times are translated as in the
//! [differential](crate::differential) runs; in the bytes sent, ids and passwords of sessions that
//! a capture resumes are replaced by those this server gave.

mod capture;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::differential::client::{Client, Greeting, greet};
use crate::differential::normal::Normal;
use crate::peers::{ServerUnderTest, StartOpts};
use crate::wire::{Acl, Blob, ConnectRequest, Connection, Received, Request, op, reply};
use capture::{Capture, Line};

/// The order of everything, for the server with default settings.
const SCORE: &str = include_str!("score.txt");
/// For the server that enforces quotas.
const QUOTA_SCORE: &str = "play 62-quota-enforced\n";
/// What is not replayed, and why.
pub const LEFT_OUT: [(&str, &str); 2] = [
    ("33-sasl-digest-md5", "needs SASL, which is later work"),
    ("34-sasl-wrong-password", "needs SASL, which is later work"),
];
const SESSION_EXPIRED: i64 = -112;
/// How long a znode may take to go.
const GONE_LIMIT: Duration = Duration::from_secs(60);

/// How the replay of one capture went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The capture's name.
    pub name: String,
    /// Messages compared.
    pub compared: usize,
    /// The first difference.
    pub error: Option<String>,
}

/// Replays all captures against fresh servers.
///
/// # Errors
/// When a server cannot be run or the score cannot be followed; a difference is an outcome.
pub fn run(server: &ServerUnderTest, dir: &Path) -> Result<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    for (score, enforce_quota) in [(SCORE, false), (QUOTA_SCORE, true)] {
        let opts = StartOpts::new(dir.join(format!("quota-{enforce_quota}")), crate::free_port()?)
            .for_programs()
            .config("tickTime", "1000")
            .config("maxSessionTimeout", if enforce_quota { "20000" } else { "40000" })
            .config("enforceQuota", &enforce_quota.to_string())
            .property("znode.container.checkIntervalMs", "100000000");
        let mut running = server.start(opts)?;
        let mut replay = Replay::new(running.addr(), matches!(server, ServerUnderTest::Java(_)));
        for (at, line) in score.lines().enumerate() {
            replay.follow(line).with_context(|| format!("line {} of the score: {line}", at + 1))?;
        }
        outcomes.extend(replay.outcomes.into_values());
        running.stop()?;
    }
    Ok(outcomes)
}

/// Where the captures are.
pub fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/client/3.9.5")
}

/// A connection of the score.
enum Actor {
    /// One that was recorded.
    Recorded(Recorded),
    /// One that was not.
    Helper(Client),
}

/// Requests without an answer yet: xid and operation.
type Asked = Vec<(i32, i32)>;

/// A capture under way.
struct Recorded {
    name: String,
    capture: Capture,
    at: usize,
    connection: Connection,
    /// Operations asked and not answered, for those that answered then and for those that do now.
    asked: (Asked, Asked),
}

/// A server that is played to, and all that is known about it so far.
struct Replay {
    addr: SocketAddr,
    is_java: bool,
    actors: BTreeMap<String, Actor>,
    outcomes: BTreeMap<String, Outcome>,
    then: Normal,
    now: Normal,
    /// Sessions by the id they had then: the id they have now.
    sessions: BTreeMap<i64, i64>,
    /// Zxids that only this server has used.
    extra: Vec<i64>,
    /// The newest zxid seen.
    zxid: i64,
}

impl Replay {
    fn new(addr: SocketAddr, is_java: bool) -> Self {
        Self {
            addr,
            is_java,
            actors: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            then: Normal::recorded(),
            now: Normal::new(),
            sessions: BTreeMap::new(),
            extra: Vec::new(),
            zxid: 0,
        }
    }

    /// Follows one line of the score.
    fn follow(&mut self, line: &str) -> Result<()> {
        let mut words: Vec<&str> =
            line.split('#').next().unwrap_or("").split_whitespace().collect();
        match words.first() {
            Some(&"ours") if self.is_java => return Ok(()),
            Some(&"java") if !self.is_java => return Ok(()),
            Some(&("ours" | "java")) => drop(words.remove(0)),
            _ => {}
        }
        let count = |text: &str| text.parse::<usize>().context("not a number");
        match words.as_slice() {
            [] => Ok(()),
            ["play", case] => {
                self.open("play", case)?;
                self.play("play", usize::MAX)?;
                drop(self.actors.remove("play"));
                Ok(())
            }
            ["wipe"] => {
                self.helper("wipe")?;
                self.close("wipe")
            }
            ["extra"] => {
                self.extra.push(self.zxid);
                Ok(())
            }
            ["gone", path] => self.until_gone(path),
            [name, "open", case] => self.open(name, case),
            [name, "next", n] => self.play(name, count(n)?),
            [name, "rest"] => self.play(name, usize::MAX),
            [name, "skip", n] => (0..count(n)?).try_for_each(|_| self.skip(name)),
            [name, "refused", n, code] => {
                let code = code.parse()?;
                (0..count(n)?).try_for_each(|_| self.refused(name, code))
            }
            [name, "new"] => self.helper(name),
            [name, "call", request @ ..] => self.call(name, request).map(drop),
            [name, "close"] => self.close(name),
            [name, "drop"] => self.actors.remove(*name).map(drop).context("nobody of that name"),
            _ => bail!("not a line of a score"),
        }
    }

    // ---- connections that were recorded -----------------------------------------------------

    fn open(&mut self, name: &str, case: &str) -> Result<()> {
        let recorded = Recorded {
            name: case.to_owned(),
            capture: Capture::load(&directory(), case)?,
            at: 0,
            connection: Connection::open(self.addr)?,
            asked: Default::default(),
        };
        let outcome = Outcome { name: case.to_owned(), compared: 0, error: None };
        self.outcomes.insert(case.to_owned(), outcome);
        self.actors.insert(name.to_owned(), Actor::Recorded(recorded));
        self.play(name, 1)
    }

    fn recorded(&mut self, name: &str) -> Result<Recorded> {
        match self.actors.remove(name) {
            Some(Actor::Recorded(recorded)) => Ok(recorded),
            _ => bail!("{name} plays no capture"),
        }
    }

    /// Sends the next `count` frames of a capture, and compares what comes after each.
    fn play(&mut self, name: &str, count: usize) -> Result<()> {
        let mut recorded = self.recorded(name)?;
        let mut sent = 0;
        while let Some(line) = recorded.capture.lines.get(recorded.at).cloned() {
            // A close belongs to whatever caused it, not to the frame before.
            if matches!(line, Line::Client(_) | Line::End) && sent == count {
                break;
            }
            sent += usize::from(matches!(line, Line::Client(_)));
            recorded.at += 1;
            let found = self.line(&mut recorded, &line)?;
            let outcome = self.outcomes.entry(recorded.name.clone()).or_insert_with(|| Outcome {
                name: recorded.name.clone(),
                compared: 0,
                error: None,
            });
            outcome.compared += 1;
            if let Some(error) = found
                && outcome.error.is_none()
            {
                outcome.error = Some(format!("line {}: {error}", recorded.at));
            }
        }
        self.actors.insert(name.to_owned(), Actor::Recorded(recorded));
        Ok(())
    }

    /// One line of a capture; what was wrong, if anything.
    fn line(&mut self, recorded: &mut Recorded, line: &Line) -> Result<Option<String>> {
        let expected = match line {
            Line::Client(bytes) => {
                let bytes = self.translated(bytes, recorded);
                recorded.connection.send(&bytes);
                return Ok(None);
            }
            Line::Text(text) => {
                let found = recorded.connection.receive_rest()?;
                let found = String::from_utf8_lossy(&found.unwrap_or_default()).into_owned();
                let equal = keys(&found) == keys(text);
                return Ok((!equal).then(|| format!("{text:?} then, {found:?} now")));
            }
            Line::End => match recorded.connection.receive()? {
                Received::Closed => return Ok(None),
                other => return Ok(Some(format!("closed then, {other:?} now"))),
            },
            Line::Server(frame) => frame,
        };
        match recorded.connection.receive()? {
            Received::Frame(found) => Ok(self.compare(recorded, expected, &found)),
            other => {
                let expected = understand(expected, &mut recorded.asked.0);
                // Whether a request behind closeSession is still answered is a race in Java: it
                // was when the capture was made, and mostly is not.
                if expected["err"] == SESSION_EXPIRED && other == Received::Closed {
                    return Ok(None);
                }
                Ok(Some(format!("{expected} then, {other:?} now")))
            }
        }
    }

    fn compare(&mut self, recorded: &mut Recorded, then: &[u8], now: &[u8]) -> Option<String> {
        let mut then = understand(then, &mut recorded.asked.0);
        let mut now = understand(now, &mut recorded.asked.1);
        self.zxid = self.zxid.max(now["zxid"].as_i64().unwrap_or(0));
        if then["op"] == "connect" {
            if let (Some(old), Some(new)) = (then["sessionId"].as_i64(), now["sessionId"].as_i64())
            {
                let name = u32::try_from(self.sessions.len()).unwrap_or(u32::MAX);
                if old != 0 && self.sessions.insert(old, new).is_none() {
                    self.then.name_session(old, name);
                    self.now.name_session(new, name);
                }
            }
            self.then.connect(&mut then);
            self.now.connect(&mut now);
        } else {
            self.then.reply(&mut then);
            self.now.reply(&mut now);
            self.align(&mut now);
        }
        (then != now).then(|| format!("\n  then {then}\n   now {now}"))
    }

    /// Counts zxids as if those that only this server has used had not been.
    fn align(&self, value: &mut Value) {
        match value {
            Value::Object(fields) => {
                for (key, value) in fields {
                    match value.as_i64() {
                        Some(zxid) if key.ends_with("zxid") => {
                            let extra = self.extra.iter().filter(|extra| **extra <= zxid).count();
                            *value = json!(zxid - i64::try_from(extra).unwrap_or(0));
                        }
                        _ => self.align(value),
                    }
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.align(item)),
            _ => {}
        }
    }

    /// The bytes of a client frame with this server's session ids, passwords and zxids.
    fn translated(&self, bytes: &[u8], recorded: &mut Recorded) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        let extra = i64::try_from(self.extra.len()).unwrap_or(0);
        if recorded.at == 1 {
            self.translate_handshake(&mut bytes, extra);
        } else if let (Some(xid), Some(op)) = (int_at(&bytes, 4), int_at(&bytes, 8)) {
            recorded.asked.0.push((xid, op));
            recorded.asked.1.push((xid, op));
            if matches!(op, op::SET_WATCHES | op::SET_WATCHES2) {
                shift_zxid(&mut bytes, 12, extra);
            }
        }
        bytes
    }

    fn translate_handshake(&self, bytes: &mut [u8], extra: i64) {
        const ID: std::ops::Range<usize> = 20..28;
        const PASSWORD: std::ops::Range<usize> = 32..48;
        let id = bytes.get(ID).and_then(|id| id.try_into().ok()).map(i64::from_be_bytes);
        let known = id.and_then(|id| self.sessions.get(&id).map(|new| (id, *new)));
        if let Some((old, new)) = known {
            bytes[ID].copy_from_slice(&new.to_be_bytes());
            if bytes[PASSWORD] == crate::wire::request::password_of(old) {
                bytes[PASSWORD].copy_from_slice(&crate::wire::request::password_of(new));
            }
            shift_zxid(bytes, 8, extra);
        }
    }

    /// Leaves out the next frame and what was received after it.
    fn skip(&mut self, name: &str) -> Result<()> {
        let mut recorded = self.recorded(name)?;
        recorded.at += 1;
        while let Some(Line::Server(_)) = recorded.capture.lines.get(recorded.at) {
            recorded.at += 1;
        }
        self.actors.insert(name.to_owned(), Actor::Recorded(recorded));
        Ok(())
    }

    /// Sends the next frame and expects an error in place of what was received then.
    fn refused(&mut self, name: &str, code: i64) -> Result<()> {
        let mut recorded = self.recorded(name)?;
        let line = recorded.capture.lines.get(recorded.at).cloned().context("no line is left")?;
        recorded.at += 1;
        self.line(&mut recorded, &line)?;
        let Received::Frame(found) = recorded.connection.receive()? else { bail!("no answer") };
        let found = understand(&found, &mut recorded.asked.1);
        self.zxid = self.zxid.max(found["zxid"].as_i64().unwrap_or(0));
        if found["err"] != code
            && let Some(outcome) = self.outcomes.get_mut(&recorded.name)
        {
            outcome.error.get_or_insert(format!("line {}: {code} expected, {found}", recorded.at));
        }
        recorded.at -= 1;
        recorded.asked.0.pop();
        self.actors.insert(name.to_owned(), Actor::Recorded(recorded));
        self.skip(name)
    }

    // ---- connections that were not ----------------------------------------------------------

    fn helper(&mut self, name: &str) -> Result<()> {
        match greet(self.addr, &ConnectRequest::new(30_000).frame())? {
            Greeting::Answered(_, mut client) => {
                // The session's own zxid shows in the fence.
                client.settle(&mut self.zxid)?;
                self.actors.insert(name.to_owned(), Actor::Helper(client));
                Ok(())
            }
            Greeting::Closed => bail!("no new session"),
        }
    }

    fn ask(&mut self, name: &str, request: &Request) -> Result<Value> {
        let Some(Actor::Helper(client)) = self.actors.get_mut(name) else {
            bail!("{name} is not connected")
        };
        client.send(std::slice::from_ref(request), None, 0);
        let lines = client.settle(&mut self.zxid)?;
        lines.into_iter().find(|line| line["op"] != "event").context("no answer")
    }

    fn call(&mut self, name: &str, words: &[&str]) -> Result<Value> {
        let path = words.get(1).map(|path| (*path).to_owned());
        let data = Blob::text(words.get(2).copied().unwrap_or(""));
        let create = |op: i32, flags: i32| Request::Create {
            op,
            path: path.clone(),
            data: data.clone(),
            acl: Acl::open(),
            flags,
            ttl: None,
        };
        let request = match words.first() {
            Some(&"create") => create(op::CREATE, 0),
            Some(&"createContainer") => create(op::CREATE_CONTAINER, 4),
            Some(&"setData") => Request::SetData { path, data, version: -1 },
            Some(&"setACL") => Request::SetAcl { path, acl: Acl::open(), version: -1 },
            Some(&"delete") => Request::PathInt { op: op::DELETE, path, number: -1 },
            Some(&"exists") => Request::Read { op: op::EXISTS, path, watch: false },
            _ => bail!("no such request"),
        };
        self.ask(name, &request)
    }

    fn close(&mut self, name: &str) -> Result<()> {
        self.ask(name, &Request::Bare { op: op::CLOSE_SESSION })?;
        self.actors.remove(name);
        Ok(())
    }

    fn until_gone(&mut self, path: &str) -> Result<()> {
        const CONTROL: &str = "control";
        self.helper(CONTROL)?;
        self.extra.push(self.zxid);
        let since = Instant::now();
        while self.call(CONTROL, &["exists", path])?["err"] == 0 {
            ensure!(since.elapsed() < GONE_LIMIT, "{path} stays");
            std::thread::sleep(Duration::from_millis(50));
        }
        self.close(CONTROL)?;
        self.extra.push(self.zxid);
        Ok(())
    }
}

/// A frame's content as a message, by what was asked.
fn understand(frame: &[u8], asked: &mut Asked) -> Value {
    let Some(header) = reply::Header::parse(frame) else { return json!("headless") };
    if header.xid == crate::wire::xid::NOTIFICATION {
        return reply::parse(frame, op::NOTIFICATION);
    }
    match asked.iter().position(|(xid, _)| *xid == header.xid) {
        Some(at) => reply::parse(frame, asked.remove(at).1),
        None => reply::parse_connect(frame),
    }
}

/// The parts of an administrative text that do not change: what stands before each colon.
fn keys(text: &str) -> Vec<&str> {
    text.lines().map(|line| line.split(':').next().unwrap_or(line)).collect()
}

fn int_at(bytes: &[u8], at: usize) -> Option<i32> {
    Some(i32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// Adds to a zxid in bytes to be sent; 0 means none.
fn shift_zxid(bytes: &mut [u8], at: usize, by: i64) {
    if let Some(place) = bytes.get_mut(at..at + 8) {
        let mut zxid = [0; 8];
        zxid.copy_from_slice(place);
        let zxid = i64::from_be_bytes(zxid);
        if zxid > 0 {
            place.copy_from_slice(&zxid.saturating_add(by).to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_capture_is_in_a_score_or_left_out_with_a_reason() {
        let mut names: Vec<String> = std::fs::read_dir(directory())
            .unwrap()
            .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
            .filter_map(|name| name.strip_suffix(".jsonl").map(str::to_owned))
            .collect();
        names.sort();
        assert!(names.len() > 30, "{} captures", names.len());
        for name in names {
            let named = |text: &str| text.split_whitespace().any(|word| word == name);
            let left_out = LEFT_OUT.iter().any(|(left_out, _)| *left_out == name);
            assert!(left_out != (named(SCORE) || named(QUOTA_SCORE)), "{name}");
        }
    }

    /// Our reading of the recorded bytes against the reading recorded with them.
    #[test]
    fn captures_are_understood_as_they_were_recorded() {
        let mut compared = 0;
        for entry in std::fs::read_dir(directory()).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "jsonl") {
                continue;
            }
            let case = path.file_stem().unwrap().to_str().unwrap();
            let capture = Capture::load(&directory(), case).unwrap();
            let mut asked = Vec::new();
            let mut first = true;
            for (line, recorded) in capture.lines.iter().zip(&capture.recorded) {
                match line {
                    Line::Client(bytes) if !std::mem::take(&mut first) => {
                        asked.extend(int_at(bytes, 4).zip(int_at(bytes, 8)));
                    }
                    Line::Server(frame) => {
                        let message = understand(frame, &mut asked);
                        assert_eq!(message.get("undecodable"), None, "{case}: {message}");
                        for key in ["xid", "err", "path", "data", "stat", "children", "passwd"] {
                            if let Some(expected) = recorded.get(key) {
                                assert_eq!(&message[key], expected, "{case}: {key} of {message}");
                                compared += 1;
                            }
                        }
                    }
                    _ => {}
                }
            }
        }
        assert!(compared > 700, "{compared} fields");
    }
}
