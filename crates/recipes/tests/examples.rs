//! The examples, run: each says by assertions what it shows. `cargo xtask conformance client` runs
//! this file against Apache's servers as well.

// Each has a `main` of its own.
#![allow(dead_code)]

#[path = "../examples/barrier.rs"]
mod barrier;
#[path = "../examples/configuration.rs"]
mod configuration;
#[path = "../examples/election.rs"]
mod election;
#[path = "../examples/lock.rs"]
mod lock;
#[path = "../examples/queue.rs"]
mod queue;
#[path = "../examples/registry.rs"]
mod registry;
#[path = "../examples/schedule.rs"]
mod schedule;

use std::fmt::Debug;
use std::time::Duration;

use oxkeeper_client::Client;

/// Long: the machine may be slow, and a session that is to expire takes its time.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs an example in a part of the tree of its own.
async fn shown<E: Debug>(place: &str, run: impl AsyncFnOnce(&str) -> Result<(), E>) {
    let place = format!("/shown-{place}-{}", std::process::id());
    let server = oxkeeper_scratch::addr().to_string();
    let zk = Client::connect(&server).await.expect("a session");
    zk.create(&place, b"").await.expect("created");
    let servers = format!("{server}{place}");
    let done = tokio::time::timeout(PATIENCE, run(&servers)).await;
    done.expect("it ends").expect("it shows what it is for");
}

#[tokio::test]
async fn barriers() {
    shown("barrier", barrier::run).await;
}

#[tokio::test]
async fn settings() {
    shown("configuration", configuration::run).await;
}

#[tokio::test]
async fn leaders() {
    shown("election", election::run).await;
}

#[tokio::test]
async fn locks() {
    shown("lock", lock::run).await;
}

#[tokio::test]
async fn queues() {
    shown("queue", queue::run).await;
}

#[tokio::test]
async fn services() {
    shown("registry", registry::run).await;
}

#[tokio::test]
async fn schedules() {
    shown("schedule", schedule::run).await;
}
