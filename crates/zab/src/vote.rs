//! Ballots and their order.
