//! What happens when: virtual time and the order of events.
//!
//! Time stands still while anything happens and then jumps to the next thing that does. Of two
//! things at the same microsecond the one that was planned first comes first, so the order is total
//! and depends on the seed alone.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::net::{End, WireId};

/// Microseconds since the world began.
pub type Micros = u64;

/// One millisecond.
pub const MS: Micros = 1000;
/// One second.
pub const SECOND: Micros = 1_000_000;

/// A part of a server that runs by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// The I/O thread with this number; the first has the core.
    Io(usize),
    /// The log thread.
    Log,
    /// The snapshot thread.
    Snapshots,
    /// The thread that reads history for learners.
    History,
}

/// Something that is going to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// Bytes, or the end of them, reach this end of a wire.
    Arrival {
        /// Which wire.
        wire: WireId,
        /// Where they arrive.
        to: End,
    },
    /// A part of a server gets to run.
    Turn {
        /// Which server.
        server: usize,
        /// Which of its lives; a turn of an earlier one is void.
        life: u64,
        /// Which part.
        stage: Stage,
    },
    /// A server is started.
    Start {
        /// Which.
        server: usize,
    },
    /// A server is asked to end, or is ended if it has not gone by itself.
    Stop {
        /// Which.
        server: usize,
        /// At once, and with this long until it starts again.
        down: Option<Micros>,
    },
    /// A client looks at what it has to do.
    Client(usize),
    /// The storm does the next thing it has in mind.
    Storm,
    /// The power fails for many.
    Blackout,
    /// Something happens to a server that was waited for.
    Ambush(usize),
    /// A fault ends.
    Relief(usize),
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Planned {
    at: Micros,
    nth: u64,
    event: Event,
}

/// The time, and everything that is planned.
#[derive(Debug, Default)]
pub struct Agenda {
    now: Micros,
    planned: BinaryHeap<Reverse<Planned>>,
    count: u64,
}

impl Agenda {
    /// The virtual time.
    pub fn now(&self) -> Micros {
        self.now
    }

    /// Plans an event so long from now.
    pub fn plan(&mut self, delay: Micros, event: Event) {
        self.plan_at(self.now + delay, event);
    }

    /// Plans an event for a moment; one that is past counts as now.
    pub fn plan_at(&mut self, at: Micros, event: Event) {
        let planned = Planned { at: at.max(self.now), nth: self.count, event };
        self.count += 1;
        self.planned.push(Reverse(planned));
    }

    /// Lets the time jump to the next event, unless that lies beyond `until`.
    pub fn next(&mut self, until: Micros) -> Option<Event> {
        if self.planned.peek()?.0.at > until {
            return None;
        }
        let Reverse(planned) = self.planned.pop()?;
        self.now = planned.at;
        Some(planned.event)
    }

    /// How many events there have been or will be, so far as anybody knows.
    pub fn count(&self) -> u64 {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_and_then_as_they_were_planned() {
        let mut agenda = Agenda::default();
        agenda.plan(5, Event::Client(1));
        agenda.plan(3, Event::Client(2));
        agenda.plan(5, Event::Client(3));
        agenda.plan(3, Event::Storm);
        let mut order = Vec::new();
        while let Some(event) = agenda.next(10) {
            order.push((agenda.now(), event));
        }
        let client = Event::Client;
        assert_eq!(order, [(3, client(2)), (3, Event::Storm), (5, client(1)), (5, client(3))]);
    }

    #[test]
    fn the_time_does_not_pass_the_bound() {
        let mut agenda = Agenda::default();
        agenda.plan(5, Event::Storm);
        assert_eq!(agenda.next(4), None);
        assert_eq!((agenda.now(), agenda.next(5)), (0, Some(Event::Storm)));
    }
}
