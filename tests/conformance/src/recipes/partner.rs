//! A program of Curator's or kazoo's that does what it is told.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::peers::Peers;

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(40);

type Mailboxes = Arc<Mutex<HashMap<String, UnboundedSender<String>>>>;

/// See the module. Answers are kept by who gave them.
pub struct Partner {
    child: Child,
    input: Mutex<ChildStdin>,
    senders: Mailboxes,
    receivers: tokio::sync::Mutex<HashMap<String, UnboundedReceiver<String>>>,
}

impl Partner {
    /// One of Curator's.
    pub fn curator(peers: &Peers, addr: SocketAddr) -> Result<Partner> {
        let jvm = ["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"].map(String::from);
        Partner::start(peers.java(&jvm, "oxkeeper.peers.recipes.Partner"), addr)
    }

    /// One of kazoo's.
    pub fn kazoo(peers: &Peers, addr: SocketAddr) -> Result<Partner> {
        Partner::start(peers.python("partner.py"), addr)
    }

    fn start(mut command: Command, addr: SocketAddr) -> Result<Partner> {
        let mut child = command
            .arg(addr.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .with_context(|| format!("cannot run {command:?}"))?;
        let input = Mutex::new(child.stdin.take().context("its input")?);
        let output = BufReader::new(child.stdout.take().context("its output")?);
        let senders: Mailboxes = Arc::default();
        let told = Arc::clone(&senders);
        // It ends with the partner's output.
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let (who, answer) = line.split_once(' ').unwrap_or((&line, ""));
                let boxes = told.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(sender) = boxes.get(who) {
                    let _ = sender.send(answer.to_owned());
                }
            }
            told.lock().unwrap_or_else(PoisonError::into_inner).clear();
        });
        let receivers = tokio::sync::Mutex::default();
        let partner = Partner { child, input, senders, receivers };
        // Said by nobody's command, so that it must be listened for from the beginning.
        partner.listen_to("revocation")?;
        Ok(partner)
    }

    fn listen_to(&self, who: &str) -> Result<()> {
        let mut senders = self.senders.lock().unwrap_or_else(PoisonError::into_inner);
        if !senders.contains_key(who) {
            let (sender, receiver) = unbounded_channel();
            senders.insert(who.to_owned(), sender);
            let mut receivers = self.receivers.try_lock().context("one listens at a time")?;
            receivers.insert(who.to_owned(), receiver);
        }
        Ok(())
    }

    /// Tells it a line and does not wait.
    pub fn tell(&self, line: &str) -> Result<()> {
        self.listen_to(line.split(' ').next().unwrap_or(line))?;
        let mut input = self.input.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(input, "{line}")?;
        Ok(input.flush()?)
    }

    /// Waits for the next answer of somebody, which must be this.
    pub async fn hears(&self, who: &str, expected: &str) -> Result<()> {
        let mut receivers = self.receivers.lock().await;
        let receiver = receivers.get_mut(who).context("nobody of that name was told anything")?;
        let answer = tokio::time::timeout(ANSWER, receiver.recv()).await;
        let answer = answer.with_context(|| format!("no answer from {who}"))?;
        let answer = answer.context("the partner has ended")?;
        ensure!(answer == expected, "{who} says {answer:?}, expected {expected:?}");
        Ok(())
    }

    /// Tells it a line and waits for the answer, which must be this.
    pub async fn expect(&self, line: &str, expected: &str) -> Result<()> {
        self.tell(line)?;
        let who = line.split(' ').next().unwrap_or(line);
        self.hears(who, expected).await.with_context(|| format!("told {line:?}"))
    }
}

impl Drop for Partner {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
