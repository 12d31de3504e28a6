//! The net is shown to hold: servers that do wrong are caught.
//!
//! Our binary, built with the feature `wrong`, makes one mistake at a time: see the module `wrong`
//! of `oxkeeper-tree`. Each must be caught by one of the parts that a right server passes: by the
//! differential run, within a number of operations that a run in CI goes well beyond, or, where
//! only time tells, by the sessions left to expire. The same binary making no mistake must pass, or
//! it would prove nothing that it fails otherwise.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::Findings;
use crate::differential::{self, Plan};
use crate::expiry;
use crate::peers::{Peers, ServerUnderTest};

/// The mistakes, by the names the binary knows them by, and what must catch each.
const MISTAKES: [(&str, Catcher); 15] = [
    ("wire-cversion", Catcher::Differential),
    ("pzxid-not-moved", Catcher::Differential),
    ("event-after-reply", Catcher::Differential),
    ("watch-fired-twice", Catcher::Differential),
    ("delete-checked-on-node", Catcher::Differential),
    ("failed-multi-half-applied", Catcher::Differential),
    ("sequence-per-prefix", Catcher::Differential),
    ("exists-watch-lost", Catcher::Differential),
    ("close-leaves-ephemeral", Catcher::Differential),
    ("quota-on-wrong-node", Catcher::Differential),
    ("timeout-off-by-a-tick", Catcher::Expiry),
    ("null-data-empty", Catcher::Differential),
    ("event-unfiltered", Catcher::Differential),
    ("child-of-ephemeral", Catcher::Differential),
    ("acl-unmasked", Catcher::Differential),
];
/// Operations within which the differential run must catch a mistake: half of a run in CI, which
/// the same binary must pass when it makes none.
const OPS: u64 = 5_000;
/// Where the sequences start. Fixed: what is shown here is that the net can catch, every time. The
/// second and third are for a mistake that the first happens to miss.
const SEEDS: [u64; 3] = [1, 2, 3];

/// The part that catches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Catcher {
    Differential,
    Expiry,
}

/// Lets `binary` make every mistake, and none.
///
/// # Errors
/// When a server cannot be run.
pub fn run(
    peers: &Peers,
    binary: &Path,
    dir: &Path,
    progress: &mut dyn FnMut(&str),
) -> Result<Findings> {
    fs::create_dir_all(dir)?;
    let mut findings = Findings::default();
    let right = ServerUnderTest::Oxkeeper { binary: binary.to_owned() };
    if let Some(caught) = differential(peers, &right, dir, SEEDS[0])? {
        findings.errors.push(format!("making no mistake, it was caught: {caught}"));
    }
    for (name, catcher) in MISTAKES {
        let server = ServerUnderTest::Oxkeeper { binary: making(binary, name, dir)? };
        let caught = match catcher {
            Catcher::Differential => SEEDS
                .into_iter()
                .map(|seed| differential(peers, &server, dir, seed))
                .find(|caught| !matches!(caught, Ok(None)))
                .unwrap_or(Ok(None)),
            Catcher::Expiry => expire(&server, dir),
        };
        findings.checks += 1;
        match caught.with_context(|| format!("a server with {name}"))? {
            Some(caught) => progress(&format!("{name}: caught {caught}")),
            None => findings.errors.push(format!("{name} was not caught")),
        }
    }
    Ok(findings)
}

/// A command that is `binary` making one mistake.
fn making(binary: &Path, name: &str, dir: &Path) -> Result<PathBuf> {
    let script = dir.join(name);
    let binary = binary.to_str().context("a path that is not UTF-8")?;
    fs::write(&script, format!("#!/bin/sh\nexec '{binary}' \"$@\" --wrong {name}\n"))?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    Ok(script)
}

fn differential(
    peers: &Peers,
    server: &ServerUnderTest,
    dir: &Path,
    seed: u64,
) -> Result<Option<String>> {
    let plan = Plan {
        oracle: ServerUnderTest::Java(peers.clone()),
        examined: server.clone(),
        config: Vec::new(),
        seed,
        ops: OPS,
        minimise: Duration::ZERO,
        dir: dir.join("differential"),
    };
    let found = differential::run(&plan, &mut |_| {})?.err();
    Ok(found.map(|found| {
        let last = found.steps.last().map_or(String::new(), |step| format!("{step:?}"));
        let last: String = last.chars().take(70).collect();
        let after = found.after_ops;
        format!("by the differential run of seed {seed} after {after} operations, at {last}…")
    }))
}

fn expire(server: &ServerUnderTest, dir: &Path) -> Result<Option<String>> {
    let findings = expiry::run(server, &dir.join("expiry"))?;
    let first = findings.errors.into_iter().next();
    Ok(first.map(|error| format!("by {} expiring sessions: {error}", findings.checks)))
}
