//! Elections over real sockets: several election ports in one process, each at an address of its
//! own of the loopback network, and peers that are none.
//!
//! Nothing here waits for time to pass, only for outcomes, up to [`ensemble::LIMIT`]. The last wait
//! of an election is made so long that only an election in which everybody was heard, or known not
//! to be there, is decided within it: a slow machine cannot change who wins.

mod electing;
mod ensemble;
mod listening;
mod strangers;
mod voter;
