//! The client as its users have it, against a server of ours in this process, with a proxy between
//! them where connections are to be lost.

mod cuts;
mod dials;
mod life;
mod operations;
mod pace;
mod page;
mod protocol;
mod server;
mod tap;
mod watching;

use std::future::Future;
use std::time::Duration;

/// Waits for what must come; a test that hangs says where.
#[track_caller]
pub fn soon<F: Future>(what: F) -> impl Future<Output = F::Output> {
    let at = std::panic::Location::caller();
    async move {
        let waited = tokio::time::timeout(Duration::from_secs(30), what).await;
        waited.unwrap_or_else(|_| panic!("nothing came, {at}"))
    }
}
