//! The lock recipe: ephemeral sequential znodes, each waiting for the one before it.
//!
//! Contenders check among themselves, in this process, that there is never more than one holder.
//! Names carry the contender, so that one whose request was not answered finds its znode again.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::session::{Session, Told};
use super::worker::create;
use super::{Lock, NO_NODE, Shared};
use crate::wire::{Request, op};

/// How long a lock is held, and how long until it is wanted again.
const HOLD: Duration = Duration::from_millis(15);
/// Between two looks at a lock that others have. They are told by a watch; the look only keeps the
/// session alive.
const LOOK: Duration = Duration::from_millis(50);
const EPHEMERAL_SEQUENTIAL: i32 = 3;

pub(super) struct Contender<'a> {
    shared: &'a Shared,
    lock: &'a Lock,
    me: usize,
    session: Session,
}

impl<'a> Contender<'a> {
    pub(super) fn begin(shared: &'a Shared, lock: &'a Lock, me: usize) -> Result<Contender<'a>> {
        let session = shared.begin(me)?;
        Ok(Contender { shared, lock, me, session })
    }

    /// Takes the lock and gives it back until the load is over. With `keep`, it is given back only
    /// then, and must still be ours.
    pub(super) fn run(mut self, keep: bool) -> Result<()> {
        while !self.shared.is_over() {
            if !keep && self.shared.gate.is_closed() {
                self.session.ping()?;
                self.shared.gate.park(self.me, Some(0), LOOK);
                continue;
            }
            let Some(own) = self.acquire(keep)? else { break };
            self.lock.enter(self.me)?;
            if keep {
                self.lock.taken.store(true, std::sync::atomic::Ordering::SeqCst);
                while !self.shared.is_over() {
                    self.session.ping()?;
                    self.shared.gate.wait(Duration::from_millis(200));
                }
                let names = self.queue()?.context("the queue of the lock that was kept")?;
                ensure!(names.first() == Some(&own), "the lock that was kept is {:?}'s", names);
            } else {
                std::thread::sleep(HOLD);
            }
            self.lock.leave();
            self.remove_all()?;
            std::thread::sleep(HOLD);
        }
        self.remove_all()?;
        self.session.close()
    }

    /// The znode with which we hold the lock; none if the load is over before.
    fn acquire(&mut self, keep: bool) -> Result<Option<String>> {
        let tag = self.tag();
        let path = format!("{}/{tag}", self.lock.path);
        loop {
            let Some(names) = self.queue()? else { continue };
            if !names.iter().any(|name| name.starts_with(&tag)) {
                if self.shared.is_over() {
                    return Ok(None);
                }
                match self.session.ask(create(&path, "", EPHEMERAL_SEQUENTIAL))? {
                    Told::Refused(code) => bail!("a lock's znode is refused with {code}"),
                    Told::Done { .. } | Told::Unknown => continue,
                }
            }
            let first = names.first().context("a queue of at least ours")?;
            if first.starts_with(&tag) {
                return Ok(Some(first.clone()));
            }
            if self.shared.is_over() && !keep {
                return Ok(None);
            }
            self.await_predecessor(&names, &tag)?;
        }
    }

    /// Waits for the one before us.
    fn await_predecessor(&mut self, names: &[String], tag: &str) -> Result<()> {
        let at = names.iter().position(|name| name.starts_with(tag)).context("ours")?;
        let before = format!("{}/{}", self.lock.path, names[at - 1]);
        let read = Request::Read { op: op::GET_DATA, path: Some(before.clone()), watch: true };
        match self.session.ask(read)? {
            Told::Done { .. } => {}
            Told::Refused(NO_NODE) | Told::Unknown => return Ok(()),
            Told::Refused(code) => bail!("watching {before} is refused with {code}"),
        }
        while !self.shared.is_over() {
            if self.session.next_event().is_some_and(|event| event.path == before) {
                return Ok(());
            }
            self.session.ping()?;
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    fn tag(&self) -> String {
        format!("c{}-", self.me)
    }

    /// Who waits, the first first; none if nobody can say.
    fn queue(&mut self) -> Result<Option<Vec<String>>> {
        let path = Some(self.lock.path.clone());
        let told = self.session.ask_all(&[
            Request::Path { op: op::SYNC, path: path.clone() },
            Request::Read { op: op::GET_CHILDREN, path, watch: false },
        ])?;
        let Some((_, body)) = told[1].done().filter(|_| told[0].done().is_some()) else {
            ensure!(!matches!(told[1], Told::Refused(_)), "{}: {told:?}", self.lock.path);
            return Ok(None);
        };
        let names = body["children"].as_array().context("children")?.iter();
        let mut names: Vec<String> =
            names.filter_map(|name| name.as_str().map(str::to_owned)).collect();
        names.sort_by_key(|name| name.rsplit_once('-').map(|(_, number)| number.to_owned()));
        Ok(Some(names))
    }

    fn remove_all(&mut self) -> Result<()> {
        loop {
            let Some(names) = self.queue()? else { continue };
            let tag = self.tag();
            let own: Vec<_> = names.into_iter().filter(|name| name.starts_with(&tag)).collect();
            if own.is_empty() {
                return Ok(());
            }
            for name in own {
                let path = Some(format!("{}/{name}", self.lock.path));
                let told =
                    self.session.ask(Request::PathInt { op: op::DELETE, path, number: -1 })?;
                if let Told::Refused(code) = told {
                    ensure!(code == NO_NODE, "giving a lock back fails with {code}");
                }
            }
        }
    }
}
