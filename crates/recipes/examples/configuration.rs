//! Configuration: set by an operator, heard of at once by whoever runs by it.
//!
//! ```sh
//! cargo run -p oxkeeper-recipes --example configuration -- 127.0.0.1:2181
//! ```

use oxkeeper_client::Client;
use oxkeeper_recipes::{Cached, Node, NodeCache};

type Failure = Box<dyn std::error::Error>;

const SETTINGS: &str = "/examples/settings";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let servers = std::env::args().nth(1);
    run(servers.as_deref().unwrap_or("127.0.0.1:2181")).await
}

/// An operator and a service, each with a session of its own, as if in processes of their own.
pub async fn run(servers: &str) -> Result<(), Failure> {
    let operator = Client::connect(servers).await?;
    match operator.create(SETTINGS, b"timeout = 30").parents().await {
        Err(error) if error.is_node_exists() => {
            operator.set(SETTINGS, b"timeout = 30").await?;
        }
        made => drop(made?),
    }

    let service = Client::connect(servers).await?;
    let mut settings = NodeCache::start(&service, SETTINGS).await?;
    let node = until(&mut settings, b"timeout = 30").await?;
    println!("service: {} (version {})", String::from_utf8_lossy(&node.data), node.stat.version);

    // Changed by its version: two operators do not undo each other's work.
    let seen = operator.get(SETTINGS).await?;
    operator.set(SETTINGS, b"timeout = 45").version(seen.stat.version).await?;
    let refused = operator.set(SETTINGS, b"timeout = 60").version(seen.stat.version).await;
    assert!(refused.is_err_and(|error| error.is_bad_version()));

    let node = until(&mut settings, b"timeout = 45").await?;
    println!("service: {} (version {})", String::from_utf8_lossy(&node.data), node.stat.version);
    settings.close().await;
    service.close().await;
    operator.close().await;
    Ok(())
}

/// Waits for this. A service would take whatever comes, for ever: the cache always comes to the
/// last state, however often the connection is lost on the way.
async fn until(settings: &mut NodeCache, wanted: &[u8]) -> Result<std::sync::Arc<Node>, Failure> {
    loop {
        match settings.changed().await {
            Cached::Present(node) if node.data == wanted => return Ok(node),
            Cached::Ended => return Err("the session is over".into()),
            Cached::Present(_) | Cached::Absent | Cached::Unread => {}
        }
    }
}
