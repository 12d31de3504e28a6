//! A job that is due again and again, on one of many workers.
//!
//! ```sh
//! cargo run -p oxkeeper-recipes --example schedule -- 127.0.0.1:2181
//! ```

use std::time::Duration;

use oxkeeper_client::Client;
use oxkeeper_recipes::{Job, Missed, Schedule, Scheduler, Tick, Worker};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

type Failure = Box<dyn std::error::Error>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let servers = std::env::args().nth(1);
    run(servers.as_deref().unwrap_or("127.0.0.1:2181")).await
}

/// Three workers for one job; the one that has it leaves after its third tick.
pub async fn run(servers: &str) -> Result<(), Failure> {
    let (ran, mut runs) = unbounded_channel();
    let mut workers = Vec::new();
    for name in ["one", "two", "three"] {
        workers.push((name, work(name, servers, &ran).await?));
    }
    let mut ticks: Vec<(&str, i64)> = Vec::new();
    while ticks.len() < 6 {
        let (worker, due_ms) = runs.recv().await.ok_or("nobody works")?;
        println!("worker {worker}: the tick of {due_ms}");
        assert!(ticks.last().is_none_or(|(_, last)| due_ms > *last), "each runs once, in order");
        ticks.push((worker, due_ms));
        if ticks.len() == 3 {
            // The others take over at once. Had it died, its session would have to expire first.
            let on_duty = workers.iter().position(|(name, _)| *name == worker);
            let (name, (worker, zk)) = workers.remove(on_duty.ok_or("a stranger")?);
            println!("worker {name} leaves");
            worker.close().await;
            zk.close().await;
        }
    }
    assert_ne!(ticks[2].0, ticks[5].0);
    for (_, (worker, zk)) in workers {
        worker.close().await;
        zk.close().await;
    }
    Ok(())
}

/// Ticks of every day would be `Schedule::cron("30 3 * * *")?`.
async fn work(
    name: &'static str,
    servers: &str,
    ran: &UnboundedSender<(&'static str, i64)>,
) -> Result<(Worker, Client), Failure> {
    let zk = Client::connect(servers).await?;
    let schedule = Schedule::every(Duration::from_millis(100)).ok_or("no period")?;
    let job = Job { missed: Missed::Once, ..Job::new("report", schedule) };
    let ran = ran.clone();
    let run = move |tick: Tick| {
        let ran = ran.clone();
        async move {
            // The job itself. Its token fences it: `tick.leadership.check()`.
            let _ = ran.send((name, tick.due_ms));
        }
    };
    let worker = Scheduler::new(&zk, "/examples/jobs").work(job, run).await?;
    Ok((worker, zk))
}
