//! A lock, and why it is not enough to hold one: the token that fences.
//!
//! ```sh
//! cargo run -p oxkeeper-recipes --example lock -- 127.0.0.1:2181
//! ```

use oxkeeper_client::Client;
use oxkeeper_recipes::port::Edit;
use oxkeeper_recipes::{Keeper, Mutex, Token};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const COUNT: &str = "/examples/count";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let servers = std::env::args().nth(1);
    run(servers.as_deref().unwrap_or("127.0.0.1:2181")).await
}

/// Three workers that count, each by reading and then writing: only one at a time may.
pub async fn run(servers: &str) -> Result<(), Failure> {
    let zk = Client::connect(servers).await?;
    match zk.create(COUNT, b"0").parents().await {
        Err(error) if error.is_node_exists() => drop(zk.set(COUNT, b"0").await?),
        made => drop(made?),
    }
    let workers: Vec<_> = (1..=3).map(|n| tokio::spawn(work(n, servers.to_owned()))).collect();
    let mut tokens = Vec::new();
    for worker in workers {
        tokens.extend(worker.await??);
    }
    let count = zk.get(COUNT).await?;
    println!("counted to {}", count.text()?);
    assert_eq!(count.text()?, "6");
    tokens.sort();
    tokens.dedup();
    assert_eq!(tokens.len(), 6, "every hold has a token of its own");
    zk.close().await;
    Ok(())
}

async fn work(worker: u32, servers: String) -> Result<Vec<Token>, Failure> {
    let zk = Client::connect(&servers).await?;
    let mutex = Mutex::new(&zk, "/examples/lock").identity(format!("worker {worker}"));
    let mut tokens = Vec::new();
    for _ in 0..2 {
        let guard = mutex.acquire().await?;
        let count: u64 = zk.get(COUNT).await?.text()?.parse()?;
        // A worker that was frozen here for longer than its session lives holds nothing any more
        // and does not know it. So it writes only if the lock is still its own: all or nothing.
        let next = (count + 1).to_string().into_bytes();
        let edits = vec![guard.check(), Edit::Set(COUNT.to_owned(), next, None)];
        Keeper::from(&zk).port().multi(edits).await?;
        println!("worker {worker}: {}, token {}", count + 1, guard.token());
        tokens.push(guard.token());
        guard.release().await?;
    }
    assert!(tokens[0] < tokens[1], "tokens grow");
    zk.close().await;
    Ok(tokens)
}
