//! A service registry: instances come and go, and callers know who is there.
//!
//! ```sh
//! cargo run -p oxkeeper-recipes --example registry -- 127.0.0.1:2181
//! ```

use oxkeeper_client::{BoxFuture, Client, Error};
use oxkeeper_recipes::{Change, Provider, Registry, ServiceInstance, Sessions};

type Failure = Box<dyn std::error::Error>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let servers = std::env::args().nth(1);
    run(servers.as_deref().unwrap_or("127.0.0.1:2181")).await
}

/// Two instances of a service, and a caller.
pub async fn run(servers: &str) -> Result<(), Failure> {
    // A session may expire; what is registered is registered anew with the next one.
    let one = Registry::new(&Sessions::renewed(sessions(servers)).await?, "/examples/services");
    let two = Registry::new(&Sessions::renewed(sessions(servers)).await?, "/examples/services");
    let first = one.register(ServiceInstance::new("mail", "1", "10.0.0.1", 25)).await?;
    let second = two.register(ServiceInstance::new("mail", "2", "10.0.0.2", 25)).await?;

    let caller = Client::connect(servers).await?;
    let provider = Registry::new(&caller, "/examples/services").provider("mail").await?;
    until(&provider, 2).await?;
    for _ in 0..4 {
        let instance = provider.next().ok_or("nobody is there")?;
        println!("caller: asks {} at {:?}", instance.id, instance.address);
    }

    // It leaves. Had it died, it would go with its session.
    first.close().await;
    until(&provider, 1).await?;
    let left = provider.next().ok_or("nobody is there")?;
    println!("caller: only {} is left", left.id);
    assert_eq!(left.id, "2");
    second.close().await;
    Ok(())
}

/// How a session is made, now and when it has expired.
fn sessions(servers: &str) -> impl Fn() -> BoxFuture<Result<Client, Error>> + use<> {
    let servers = servers.to_owned();
    move || {
        let servers = servers.clone();
        Box::pin(async move { Client::connect(&servers).await })
    }
}

/// Waits until so many instances are known.
async fn until(provider: &Provider, count: usize) -> Result<(), Failure> {
    let mut changes = provider.cache().changes();
    while provider.all().len() != count {
        if let Change::Ended = changes.next().await {
            return Err("the session is over".into());
        }
    }
    Ok(())
}
