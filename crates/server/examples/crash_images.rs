//! Cuts the power of many servers, for as long as one likes:
//!
//! ```text
//! cargo run --release -p oxkeeper-server --example crash_images -- [FIRST-SEED] [SEEDS]
//! ```
//!
//! Each seed is a server that lives eight times, cut each time somewhere in its work or its
//! recovery. The first difference ends the run with the seed that shows it again. The test
//! `durability` does a few of these on every run.

use std::time::Instant;

#[path = "../tests/durability/host.rs"]
mod host;
#[path = "../tests/durability/lives.rs"]
mod lives;
#[path = "../tests/durability/state.rs"]
mod state;
#[path = "../tests/durability/workload.rs"]
mod workload;

fn main() {
    let numbers: Vec<u64> =
        std::env::args().skip(1).map(|word| word.parse().expect("a number")).collect();
    let first = numbers.first().copied().unwrap_or(1_000);
    let count = numbers.get(1).copied().unwrap_or(1_000);
    let began = Instant::now();
    let mut answers = 0;
    for seed in first..first + count {
        answers += lives::lives(seed, 8);
        if (seed - first + 1).is_multiple_of(100) {
            println!("{} servers in {:.0?}", seed - first + 1, began.elapsed());
        }
    }
    println!(
        "{count} servers from seed {first}, {answers} answers: nothing lost in {:.0?}",
        began.elapsed()
    );
}
