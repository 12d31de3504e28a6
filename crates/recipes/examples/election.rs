//! A leader, and the next one when it leaves.
//!
//! ```sh
//! cargo run -p oxkeeper-recipes --example election -- 127.0.0.1:2181
//! ```

use oxkeeper_client::Client;
use oxkeeper_recipes::Election;

type Failure = Box<dyn std::error::Error>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let servers = std::env::args().nth(1);
    run(servers.as_deref().unwrap_or("127.0.0.1:2181")).await
}

/// Two candidates.
pub async fn run(servers: &str) -> Result<(), Failure> {
    let (one, two) = (Client::connect(servers).await?, Client::connect(servers).await?);
    let mut first = Election::new(&one, "/examples/leader").identity("one").stand().await?;
    let leads = first.elected().await?;
    println!("one leads, token {}", leads.token());

    let mut second = Election::new(&two, "/examples/leader").identity("two").stand().await?;
    assert!(second.leadership().is_none(), "one at a time");

    // The leader leaves. Had it died, its session would have to expire first.
    first.close().await;
    let follows = second.elected().await?;
    println!("two leads, token {}", follows.token());
    assert!(follows.token() > leads.token(), "whatever the first still does can be told apart");
    second.close().await;
    one.close().await;
    two.close().await;
    Ok(())
}
