//! Barriers: wait until the way is free, and begin and end together.
//!
//! ```sh
//! cargo run -p oxkeeper-recipes --example barrier -- 127.0.0.1:2181
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use oxkeeper_client::Client;
use oxkeeper_recipes::{Barrier, DoubleBarrier};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const WORKERS: usize = 3;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let servers = std::env::args().nth(1);
    run(servers.as_deref().unwrap_or("127.0.0.1:2181")).await
}

/// Workers that wait for a migration, and then do a piece of work in step.
pub async fn run(servers: &str) -> Result<(), Failure> {
    let operator = Client::connect(servers).await?;
    let migration = Barrier::new(&operator, "/examples/migration");
    migration.close().await?;
    let done = Arc::new(AtomicUsize::new(0));
    let workers: Vec<_> = (1..=WORKERS)
        .map(|n| tokio::spawn(work(n, servers.to_owned(), Arc::clone(&done))))
        .collect();
    println!("operator: migrating");
    assert_eq!(done.load(Ordering::SeqCst), 0, "nobody has passed");
    migration.open().await?;
    for worker in workers {
        worker.await??;
    }
    operator.close().await;
    Ok(())
}

async fn work(worker: usize, servers: String, done: Arc<AtomicUsize>) -> Result<(), Failure> {
    let zk = Client::connect(&servers).await?;
    Barrier::new(&zk, "/examples/migration").passed().await?;
    let step = DoubleBarrier::new(&zk, "/examples/step", WORKERS);
    let inside = step.enter().await?;
    println!("worker {worker}: all {WORKERS} are here");
    done.fetch_add(1, Ordering::SeqCst);
    inside.leave().await?;
    println!("worker {worker}: all {WORKERS} are done");
    assert_eq!(done.load(Ordering::SeqCst), WORKERS);
    zk.close().await;
    Ok(())
}
