//! Recipes in storms: connections break, go silent, machines freeze and die, in virtual time and
//! from a seed. Afterwards, or at every step, the test looks at the server's own tree and says
//! whether two had what one must have, whether anybody waits for nothing, and what was left behind.
//!
//! `OXKEEPER_SEED=7 cargo test -p oxkeeper-recipes --test storms` runs one seed,
//! `OXKEEPER_SEEDS=0..1000` many.

mod crew;
mod executor;
mod groups;
mod leaders;
mod locks;
mod port;
mod queues;
mod weather;
mod world;

/// The seeds of a run.
pub fn seeds(count: u64) -> std::ops::Range<u64> {
    let number = |text: &str| text.parse().expect("OXKEEPER_SEED and OXKEEPER_SEEDS are numbers");
    if let Ok(seed) = std::env::var("OXKEEPER_SEED") {
        return number(&seed)..number(&seed) + 1;
    }
    match std::env::var("OXKEEPER_SEEDS") {
        Ok(range) => {
            let (from, to) = range.split_once("..").expect("OXKEEPER_SEEDS is FROM..TO");
            number(from)..number(to)
        }
        Err(_) => 0..count,
    }
}
