//! A queue of work that must be done, even if a worker dies over it.
//!
//! ```sh
//! cargo run -p oxkeeper-recipes --example queue -- 127.0.0.1:2181
//! ```

use std::collections::BTreeSet;

use oxkeeper_client::Client;
use oxkeeper_recipes::LockingQueue;

type Failure = Box<dyn std::error::Error + Send + Sync>;

const ORDERS: &str = "/examples/orders";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let servers = std::env::args().nth(1);
    run(servers.as_deref().unwrap_or("127.0.0.1:2181")).await
}

/// A shop that takes orders, a worker that dies over one of them, and one that does all.
pub async fn run(servers: &str) -> Result<(), Failure> {
    let shop = Client::connect(servers).await?;
    let orders = LockingQueue::new(&shop, ORDERS);
    for order in 1..=4 {
        orders.put(format!("order {order}").as_bytes()).await?;
    }

    let careless = Client::connect(servers).await?;
    let claim = LockingQueue::new(&careless, ORDERS).claim().await?;
    let token = claim.token();
    println!("careless: has {}", String::from_utf8_lossy(&claim.data()));
    // It goes with its session, and the order is for others again. Without a goodbye that takes
    // as long as the session's timeout.
    careless.close().await;

    let worker = Client::connect(servers).await?;
    let orders = LockingQueue::new(&worker, ORDERS);
    let mut done = BTreeSet::new();
    while done.len() < 4 {
        let claim = orders.claim().await?;
        let order = String::from_utf8_lossy(&claim.data()).into_owned();
        println!("worker: has {order}, token {}", claim.token());
        assert!(claim.token() > token, "later than the one that was lost");
        // Done, and gone from the queue, or it was not ours any more.
        assert!(claim.consume().await?);
        assert!(done.insert(order), "an order is consumed once");
    }
    worker.close().await;
    shop.close().await;
    Ok(())
}
