//! How long a silent session lives.
//!
//! `ExpiryQueue` rounds a session's deadline up to the next tick: it lives for its timeout and at
//! most a tick longer. One session alone cannot show much, because nobody outside knows where in
//! the tick it began; several, begun at different places in it, must show some that lived hardly
//! longer than their timeout, and none that lived shorter. However slow the machine, that the
//! shortest excess is a whole tick is no accident.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

use crate::Findings;
use crate::differential::client::{Client, Greeting, greet};
use crate::peers::{ServerUnderTest, StartOpts};
use crate::wire::{Acl, Blob, ConnectRequest, Request, op};

const TICK: Duration = Duration::from_millis(1_000);
const TIMEOUT: Duration = Duration::from_millis(2_000);
/// Sessions, begun one after the other within one tick.
const SESSIONS: u32 = 10;
/// How far our own measuring may be off: what we call the last word is when its answer came.
const SLACK: Duration = Duration::from_millis(20);
/// How long any of them may take.
const LIMIT: Duration = Duration::from_secs(30);

/// Lets sessions expire on a fresh server.
///
/// # Errors
/// When the server cannot be run, or a session does not expire at all.
pub fn run(server: &ServerUnderTest, dir: &Path) -> Result<Findings> {
    let opts = StartOpts::new(dir, crate::free_port()?)
        .for_programs()
        .config("tickTime", &TICK.as_millis().to_string());
    let mut running = server.start(opts)?;
    let connect = |timeout: Duration| -> Result<Client> {
        let timeout_ms = i32::try_from(timeout.as_millis())?;
        match greet(running.addr(), &ConnectRequest::new(timeout_ms).frame())? {
            Greeting::Answered(_, client) => Ok(client),
            Greeting::Closed => bail!("no new session"),
        }
    };
    let mut watcher = connect(LIMIT)?;
    let mut silent = Vec::new();
    for at in 0..SESSIONS {
        let mut client = connect(TIMEOUT)?;
        let path = format!("/silent-{at}");
        ask(&mut client, &ephemeral(&path))?;
        silent.push((path, Instant::now(), client));
        std::thread::sleep(TICK / SESSIONS);
    }
    let mut lived = Vec::new();
    let began = Instant::now();
    while !silent.is_empty() {
        ensure!(began.elapsed() < LIMIT, "{} sessions do not expire", silent.len());
        for at in (0..silent.len()).rev() {
            if !exists(&mut watcher, &silent[at].0)? {
                lived.push(silent.swap_remove(at).1.elapsed());
            }
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    running.stop()?;
    Ok(Findings { checks: lived.len(), errors: judge(&lived) })
}

fn judge(lived: &[Duration]) -> Vec<String> {
    let mut errors = Vec::new();
    if let Some(shortest) = lived.iter().min() {
        if *shortest + SLACK < TIMEOUT {
            errors.push(format!("a session of {TIMEOUT:?} expired after {shortest:?}"));
        }
        if *shortest > TIMEOUT + TICK / 2 {
            errors.push(format!(
                "of {} sessions of {TIMEOUT:?} begun all over a tick of {TICK:?}, none lived \
                 shorter than {shortest:?}",
                lived.len()
            ));
        }
    }
    errors
}

fn ephemeral(path: &str) -> Request {
    Request::Create {
        op: op::CREATE,
        path: Some(path.to_owned()),
        data: Blob(None),
        acl: Acl::open(),
        flags: 1,
        ttl: None,
    }
}

fn exists(client: &mut Client, path: &str) -> Result<bool> {
    let path = Some(path.to_owned());
    Ok(ask(client, &Request::Read { op: op::EXISTS, path, watch: false })? == 0)
}

/// Asks and returns the error code.
fn ask(client: &mut Client, request: &Request) -> Result<i64> {
    client.send(std::slice::from_ref(request), None, 0);
    let lines = client.settle(&mut 0)?;
    let code = lines.iter().find(|line| line["op"] != "ping").and_then(|line| line["err"].as_i64());
    code.ok_or_else(|| anyhow::anyhow!("{request:?} is not answered: {lines:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_too_long_and_a_moment_too_short_are_seen() {
        let ms = Duration::from_millis;
        assert!(judge(&[ms(2_010), ms(2_500), ms(2_990)]).is_empty());
        assert!(judge(&[ms(2_010), ms(9_000)]).is_empty(), "a slow machine");
        assert_eq!(judge(&[ms(3_010), ms(3_500)]).len(), 1, "a tick too long");
        assert_eq!(judge(&[ms(1_500), ms(2_500)]).len(), 1, "too short");
    }
}
