//! Users of kazoo beside our own clients: `peers/kazoo/faults.py`, and what it tells.
//!
//! Its lines carry times of the monotonic clock. One question at the beginning relates them to
//! ours: the answer was made between asking and hearing it, so of every moment of the program we
//! know between which two of ours it was, and take the one that accuses nobody wrongly.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::disk::client::Client;
use crate::disk::served::Served;
use crate::ensemble::PATIENCE;
use crate::mixed::load::history::{Behind, Entry, Fate, What, judge};
use crate::peers::Peers;

/// Timeout of the session that reads the tree, ms.
const TIMEOUT_MS: i32 = 30_000;

/// The program; it ends with this value.
pub(super) struct Foreign {
    child: Child,
    commands: ChildStdin,
    lines: Receiver<Value>,
    clock: Clock,
    history: Vec<Entry>,
    complaints: Vec<String>,
}

/// A moment of theirs, and the two of ours that it lies between.
#[derive(Clone, Copy, Debug)]
struct Clock {
    theirs: f64,
    before: Instant,
    after: Instant,
}

impl Clock {
    fn shift(from: Instant, seconds: f64) -> Instant {
        let by = Duration::from_secs_f64(seconds.abs());
        if seconds < 0.0 { from.checked_sub(by).unwrap_or(from) } else { from + by }
    }

    /// Not later than it was.
    fn earliest(&self, theirs: f64) -> Instant {
        Self::shift(self.before, theirs - self.theirs)
    }

    /// Not earlier than it was.
    fn latest(&self, theirs: f64) -> Instant {
        Self::shift(self.after, theirs - self.theirs)
    }
}

impl Foreign {
    /// Starts it, and waits until its clients are at work.
    ///
    /// # Errors
    /// When it does not come to that.
    pub(super) fn start(peers: &Peers, servers: &[SocketAddr]) -> Result<Foreign> {
        let hosts: Vec<String> = servers.iter().map(SocketAddr::to_string).collect();
        let mut command = peers.python("faults.py");
        command.arg(hosts.join(",")).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context("starting kazoo")?;
        let commands = child.stdin.take().context("its input")?;
        let out = child.stdout.take().context("its output")?;
        let (told, lines) = channel();
        std::thread::spawn(move || {
            let lines = BufReader::new(out).lines().map_while(std::io::Result::ok);
            for line in lines {
                let value = serde_json::from_str(&line).unwrap_or(Value::String(line));
                if told.send(value).is_err() {
                    break;
                }
            }
        });
        let now = Instant::now();
        let clock = Clock { theirs: 0.0, before: now, after: now };
        let (history, complaints) = (Vec::new(), Vec::new());
        let mut foreign = Foreign { child, commands, lines, clock, history, complaints };
        foreign.await_line("ready")?;
        let before = Instant::now();
        foreign.command("clock")?;
        let theirs = foreign.await_line("clock")?.as_f64().context("a clock")?;
        foreign.clock = Clock { theirs, before, after: Instant::now() };
        // What was told before the clocks were compared is placed by the wrong one.
        foreign.history.iter_mut().for_each(|entry| entry.asked = now);
        foreign.history.iter_mut().for_each(|entry| entry.told = Instant::now());
        Ok(foreign)
    }

    fn command(&mut self, word: &str) -> Result<()> {
        writeln!(self.commands, "{word}").with_context(|| format!("telling kazoo to {word}"))
    }

    /// Takes lines until one has this field, and returns it.
    fn await_line(&mut self, field: &str) -> Result<Value> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = match self.lines.recv_timeout(left) {
                Ok(line) => line,
                Err(RecvTimeoutError::Timeout) => bail!("kazoo is not {field} after {PATIENCE:?}"),
                Err(RecvTimeoutError::Disconnected) => bail!("kazoo has ended, not {field}"),
            };
            if let Some(value) = line.get(field) {
                return Ok(value.clone());
            }
            match line.get("complaint").and_then(Value::as_str) {
                Some(complaint) => self.complaints.push(complaint.to_owned()),
                None => {
                    let entry = entry(&line, &self.clock);
                    self.history.push(entry.with_context(|| format!("kazoo says {line}"))?);
                }
            }
        }
    }

    /// Its clients stand still.
    ///
    /// # Errors
    /// They do not, or have found something wrong.
    pub(super) fn pause(&mut self) -> Result<()> {
        self.command("pause")?;
        self.await_line("paused")?;
        ensure!(self.complaints.is_empty(), "{}", self.complaints.join("\n"));
        Ok(())
    }

    /// They go on.
    ///
    /// # Errors
    /// The program has ended.
    pub(super) fn resume(&mut self) -> Result<()> {
        self.command("resume")
    }

    /// Whether what they were told can be true, with the tree that a member serves.
    ///
    /// # Errors
    /// It cannot.
    pub(super) fn judge(&mut self, member: SocketAddr) -> Result<()> {
        let mut client = Client::connect(member, TIMEOUT_MS)?;
        let tree = Served::read(&mut client)?;
        client.close()?;
        let verdict = judge(&self.history, &tree.0);
        ensure!(verdict.complaints.is_empty(), "kazoo: {}", verdict.complaints.join("\n"));
        Ok(())
    }

    /// Ends it; how many requests were answered.
    ///
    /// # Errors
    /// When one of its clients has found something wrong.
    pub(super) fn finish(mut self) -> Result<usize> {
        self.command("finish")?;
        self.await_line("finished")?;
        ensure!(self.complaints.is_empty(), "{}", self.complaints.join("\n"));
        let done = self.history.iter().filter(|entry| matches!(entry.fate, Fate::Done { .. }));
        Ok(done.count())
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        // It fails only if it is gone already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// One line of the program.
fn entry(line: &Value, clock: &Clock) -> Option<Entry> {
    let text = |name: &str| line.get(name).and_then(Value::as_str).map(str::to_owned);
    let number = |name: &str| line.get(name).and_then(Value::as_i64);
    let path = text("path")?;
    let what = match line.get("op")?.as_str()? {
        "set" => What::Set { path, value: text("value")? },
        // What the server had read is not told by kazoo; that a sync is obeyed it checks itself.
        "read" => What::Read { path, behind: Behind::Nothing },
        "create" => What::Create { path },
        "delete" => What::Delete { path },
        "sequential" => What::Sequential { prefix: path },
        _ => return None,
    };
    let fate = match line.get("fate")?.as_str()? {
        "done" => {
            Fate::Done { zxid: number("zxid")?, version: number("version")?, text: text("text")? }
        }
        "unknown" => Fate::Unknown,
        _ => return None,
    };
    Some(Entry {
        by: usize::try_from(number("by")?).ok()?,
        asked: clock.earliest(line.get("asked")?.as_f64()?),
        told: clock.latest(line.get("told")?.as_f64()?),
        what,
        fate,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_kazoo_says_becomes_history() {
        let now = Instant::now();
        let clock = Clock { theirs: 100.0, before: now, after: now + Duration::from_millis(10) };
        let line = json!({ "by": 1, "op": "set", "path": "/kazoo/register-0", "value": "k1-1",
            "asked": 101.0, "told": 101.5, "fate": "done", "zxid": 7, "version": 3, "text": "" });
        let entry = entry(&line, &clock).unwrap();
        assert_eq!(entry.asked, now + Duration::from_secs(1));
        assert_eq!(entry.told, now + Duration::from_millis(1_510));
        assert_eq!(entry.fate, Fate::Done { zxid: 7, version: 3, text: String::new() });
        assert!(super::entry(&json!({ "op": "set" }), &clock).is_none());
    }
}
