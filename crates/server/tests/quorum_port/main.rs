//! The quorum port over real sockets: two of them, or one and a peer that this test plays. Nothing
//! here waits for time to pass, only for outcomes, up to [`bench::LIMIT`].

mod bench;
mod hostile;
mod links;
mod snapshots;
mod waiting;
