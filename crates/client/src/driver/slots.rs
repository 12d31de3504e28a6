//! Who waits for which request.
//!
//! A request costs no channel: its outcome is left in a slot, under the lock that is held anyway,
//! and the future that waits for it looks there. Requests end nearly always in the order in which
//! they were submitted, so the way from a ticket to its slot is the front of a queue.

use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

use crate::core::{Outcome, Ticket, Unsent, Watcher};

/// A place in [`Slots`].
pub(crate) type SlotId = u32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nobody's; the next free one.
    Free(Option<SlotId>),
    /// Under way.
    Waiting,
    /// Under way, and nobody wants to know.
    Abandoned,
    /// Ended, not yet fetched.
    Done,
}

/// What is in a slot while there is nothing in it.
const NOTHING: Outcome = Outcome::NotSent(Unsent::Cancelled);

#[derive(Debug)]
struct Slot {
    ticket: Ticket,
    /// Who is registered if the request succeeds.
    watcher: Option<Watcher>,
    state: State,
    /// Who waits.
    waker: Option<Waker>,
    /// While it is done, how it ended.
    outcome: Outcome,
}

/// See the module's essay.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    slots: Vec<Slot>,
    free: Option<SlotId>,
    used: usize,
    order: VecDeque<(Ticket, SlotId)>,
}

impl Slots {
    /// A slot for a request that was just submitted: tickets only rise. `wanted` is whether
    /// somebody will fetch the outcome.
    pub(crate) fn insert(
        &mut self,
        ticket: Ticket,
        watcher: Option<Watcher>,
        wanted: bool,
    ) -> SlotId {
        let state = if wanted { State::Waiting } else { State::Abandoned };
        self.used += 1;
        let id = match self.free {
            Some(id) => {
                let slot = &mut self.slots[id as usize];
                let State::Free(next) = slot.state else { unreachable!("the list of free slots") };
                self.free = next;
                (slot.ticket, slot.watcher, slot.state) = (ticket, watcher, state);
                id
            }
            None => {
                let (waker, outcome) = (None, NOTHING);
                self.slots.push(Slot { ticket, watcher, state, waker, outcome });
                // Bounded by the requests that one client may have under way, and by futures.
                (self.slots.len() - 1) as SlotId
            }
        };
        self.order.push_back((ticket, id));
        id
    }

    /// Leaves an outcome and returns who is to be woken, and the watcher of a request whose user
    /// has gone.
    pub(crate) fn complete(
        &mut self,
        ticket: Ticket,
        outcome: Outcome,
    ) -> (Option<Waker>, Option<Watcher>) {
        let id = match self.order.front() {
            Some((first, _)) if *first == ticket => self.order.pop_front(),
            _ => match self.order.binary_search_by_key(&ticket, |(ticket, _)| *ticket) {
                Ok(at) => self.order.remove(at),
                Err(_) => None,
            },
        };
        let Some((_, id)) = id else { return (None, None) };
        let slot = &mut self.slots[id as usize];
        match slot.state {
            State::Waiting => {
                slot.state = State::Done;
                slot.outcome = outcome;
                (slot.waker.take(), None)
            }
            State::Abandoned | State::Done | State::Free(_) => {
                let watcher = slot.watcher;
                self.release(id);
                (None, watcher)
            }
        }
    }

    /// Takes from the outcome what is wanted of it. It is not moved first: what a server says of a
    /// znode is long, and every copy of it costs as much as all else here.
    pub(crate) fn poll<T>(
        &mut self,
        id: SlotId,
        cx: &mut Context<'_>,
        read: impl FnOnce(&mut Outcome) -> T,
    ) -> Poll<T> {
        let slot = &mut self.slots[id as usize];
        let taken = match slot.state {
            State::Waiting => {
                match &mut slot.waker {
                    Some(waker) => waker.clone_from(cx.waker()),
                    none => *none = Some(cx.waker().clone()),
                }
                return Poll::Pending;
            }
            State::Done => read(&mut slot.outcome),
            State::Abandoned | State::Free(_) => unreachable!("a future holds its slot"),
        };
        self.release(id);
        Poll::Ready(taken)
    }

    /// The future is dropped. Returns the ticket of a request that is still under way.
    pub(crate) fn abandon(&mut self, id: SlotId) -> Option<Ticket> {
        let slot = &mut self.slots[id as usize];
        match slot.state {
            State::Waiting => {
                slot.state = State::Abandoned;
                slot.waker = None;
                Some(slot.ticket)
            }
            State::Done => {
                self.release(id);
                None
            }
            State::Abandoned | State::Free(_) => None,
        }
    }

    /// Requests under way, and those whose outcome nobody has fetched yet.
    pub(crate) fn used(&self) -> usize {
        self.used
    }

    /// Tickets under way, the oldest first.
    pub(crate) fn tickets(&self) -> Vec<Ticket> {
        self.order.iter().map(|(ticket, _)| *ticket).collect()
    }

    fn release(&mut self, id: SlotId) {
        let slot = &mut self.slots[id as usize];
        (slot.state, slot.watcher, slot.outcome) = (State::Free(self.free), None, NOTHING);
        self.free = Some(id);
        self.used -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome() -> Outcome {
        Outcome::NotSent(Unsent::Cancelled)
    }

    #[test]
    fn outcomes_go_to_their_own_slots_in_whatever_order_they_come() {
        let mut slots = Slots::default();
        let ids: Vec<_> = (1..=3).map(|n| slots.insert(Ticket(n), None, true)).collect();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(slots.poll(ids[1], &mut cx, |of| of.clone()).is_pending());
        let other = Outcome::Unknown(crate::core::Cause::Silent);
        assert!(slots.complete(Ticket(2), other.clone()).0.is_some(), "its waker");
        slots.complete(Ticket(1), outcome());
        assert_eq!(slots.poll(ids[1], &mut cx, |of| of.clone()), Poll::Ready(other));
        assert!(slots.poll(ids[2], &mut cx, |of| of.clone()).is_pending());
        assert_eq!(slots.poll(ids[0], &mut cx, |of| of.clone()), Poll::Ready(outcome()));
        assert_eq!(slots.tickets(), [Ticket(3)]);
        assert_eq!(slots.used(), 1);
        slots.complete(Ticket(99), outcome());
    }

    #[test]
    fn slots_are_used_again_and_the_watcher_of_an_abandoned_request_is_named() {
        let mut slots = Slots::default();
        let id = slots.insert(Ticket(1), Some(Watcher(7)), true);
        assert_eq!(slots.abandon(id), Some(Ticket(1)));
        assert_eq!(slots.complete(Ticket(1), outcome()).1, Some(Watcher(7)));
        for n in 2..1000 {
            let id = slots.insert(Ticket(n), None, true);
            slots.complete(Ticket(n), outcome());
            assert_eq!(slots.abandon(id), None, "it has ended");
        }
        assert_eq!((slots.slots.len(), slots.used()), (1, 0));
    }
}
