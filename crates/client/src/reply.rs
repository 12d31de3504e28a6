//! The future of one request.
//!
//! It holds the number of a slot in which the outcome will be, and how to read that: no channel, no
//! box. What the user calls the path is kept for the error message, because an error that does not
//! say which znode is of no use. Dropped before the answer it gives the slot back, takes a request
//! back that was not sent, and lets go of the watch that was to be.
//!
//! Many are moved about and many are under way: it is small, and what is seldom there is boxed.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use oxkeeper_proto::OpCode;

use crate::core::{Chroot, Outcome};
use crate::driver::{Shared, SlotId};
use crate::error::{Error, ErrorKind};
use crate::label::Label;
use crate::watch::Held;

/// What the answer is read with.
pub(crate) struct Asked {
    /// The namespace that paths are told in.
    pub(crate) root: Chroot,
    /// The watch that the request leaves.
    pub(crate) watch: Option<Box<Held>>,
}

/// From an outcome to what the user asked for.
///
/// It is called under the session's lock: it moves out what is wanted, the watch that is held
/// included, and lets go of none.
pub(crate) type Read<T> = fn(&mut Outcome, &mut Asked) -> Result<T, ErrorKind>;

/// A request that was submitted: a future of its answer.
///
/// The request is on its way whether or not this is polled, and requests leave in the order in
/// which they were submitted. Dropped, a request that was not sent yet will not be; the answer to
/// one that was sent is passed over.
///
/// ```
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = oxkeeper_client::Client::connect(&servers).await?;
/// use oxkeeper_client::{Reply, Stat};
///
/// let created = zk.create("/reply", b"").send();
/// let found: Reply<Option<Stat>> = zk.exists("/reply").send();
/// // Both are on their way, in this order, whichever is awaited first.
/// assert_eq!(found.await?, created.await?.stat);
/// # Ok(())
/// # });
/// ```
#[must_use = "dropping it takes the request back if it was not sent yet"]
pub struct Reply<T> {
    at: At,
    asked: Asked,
    read: Read<T>,
    op: OpCode,
    path: Label,
}

enum At {
    Slot(Arc<Shared>, SlotId),
    /// It needed no server.
    Known(Box<Result<Outcome, ErrorKind>>),
    Fetched,
}

impl<T> Reply<T> {
    pub(crate) fn new(
        slot: Result<(Arc<Shared>, SlotId), ErrorKind>,
        op: OpCode,
        path: &str,
        asked: Asked,
        read: Read<T>,
    ) -> Reply<T> {
        let at = match slot {
            Ok((shared, slot)) => At::Slot(shared, slot),
            Err(kind) => At::Known(Box::new(Err(kind))),
        };
        Reply { at, asked, read, op, path: Label::new(path) }
    }

    /// One whose outcome is known.
    pub(crate) fn known(
        outcome: Result<Outcome, ErrorKind>,
        op: OpCode,
        path: &str,
        read: Read<T>,
    ) -> Reply<T> {
        let asked = Asked { root: Chroot::default(), watch: None };
        let at = At::Known(Box::new(outcome));
        Reply { at, asked, read, op, path: Label::new(path) }
    }
}

impl<T> Future for Reply<T> {
    type Output = Result<T, Error>;

    /// # Panics
    /// If it is polled again after its answer.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Reply { at, asked, read, op, path } = &mut *self;
        // To the place where the user has it in as few steps as can be.
        let mut read = |outcome: &mut Outcome| {
            read(outcome, asked).map_err(|kind| Error::new(kind, Some(*op), path.text()))
        };
        match at {
            At::Slot(shared, slot) => {
                let answer = shared.poll_outcome(*slot, cx, read);
                if answer.is_ready() {
                    *at = At::Fetched;
                }
                answer
            }
            At::Known(_) => match std::mem::replace(at, At::Fetched) {
                At::Known(known) => Poll::Ready(match *known {
                    Ok(mut outcome) => read(&mut outcome),
                    Err(kind) => Err(Error::new(kind, Some(*op), path.text())),
                }),
                At::Slot(..) | At::Fetched => unreachable!("looked at just now"),
            },
            At::Fetched => panic!("a reply is polled after its answer"),
        }
    }
}

impl<T> Drop for Reply<T> {
    fn drop(&mut self) {
        if let At::Slot(shared, slot) = &self.at {
            shared.abandon(*slot);
        }
    }
}

impl<T> std::fmt::Debug for Reply<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reply").field("op", &self.op).field("path", &self.path.text()).finish()
    }
}
