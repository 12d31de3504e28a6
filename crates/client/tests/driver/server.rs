//! Clients of the server that all tests of this binary share, or of another that is named from
//! outside: each sees a part of the tree of its own.

use std::sync::atomic::{AtomicU32, Ordering};

use oxkeeper_client::{Builder, Client};
pub use oxkeeper_scratch::{addr, start};

use crate::soon;

static PLACES: AtomicU32 = AtomicU32::new(0);

/// A part of the tree for one test.
pub async fn place() -> String {
    let place = PLACES.fetch_add(1, Ordering::Relaxed);
    let place = format!("/t{}-{place}", std::process::id());
    let zk = Client::connect(&addr().to_string()).await.expect("a session");
    zk.create(&place, b"").await.expect("created");
    soon(zk.close()).await;
    place
}

/// A client that sees a part of the tree of its own.
pub async fn builder() -> Builder {
    Client::builder(&format!("{}{}", addr(), place().await))
}

pub async fn client() -> Client {
    builder().await.connect().await.expect("a session")
}
