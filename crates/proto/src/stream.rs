//! Records on a stream that has no lengths of its own.
//!
//! A client's frames say how long they are. What servers say to each other mostly does not: where a
//! hello or a packet ends is known only after its fields. [`Split`] is what looking at the bytes
//! received so far can tell; a reader keeps them, gets more and looks again.

/// The first record of a stream, if all of it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Split<'a, T> {
    /// The record, and the bytes behind it.
    Whole(T, &'a [u8]),
    /// More bytes are needed, at the least so many (never 0). The number was announced by the peer
    /// and is bounded by the record's limits: a good hint for when to look again, a bad one for
    /// how much to allocate.
    Incomplete {
        /// How many.
        needed: usize,
    },
}

impl<'a, T> Split<'a, T> {
    /// The record and the rest, `None` if it is not whole.
    pub fn whole(self) -> Option<(T, &'a [u8])> {
        match self {
            Split::Whole(record, rest) => Some((record, rest)),
            Split::Incomplete { .. } => None,
        }
    }
}
