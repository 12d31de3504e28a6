//! Proof against the real thing: differential runs, golden captures and foreign clients.
//!
//! Nothing here is linked into the product. The crate drives a server from outside, over its
//! client port, and compares what it sees with what Apache ZooKeeper 3.9.5 does with the same
//! bytes. `docs/deviations.md` lists the differences that are meant; every other one is a failure.

pub mod differential;
pub mod options;
pub mod peers;
pub mod wire;

pub use options::{Options, Target};

/// Runs the parts that `options` selects, and fails on the first difference that is not a
/// documented deviation.
///
/// # Errors
/// Whatever kept a part from running to its end, or the difference it found, with the command
/// that replays it.
pub fn run(options: &Options) -> anyhow::Result<()> {
    anyhow::bail!("no part is called {:?}", options.only.as_deref().unwrap_or("(any)"))
}
