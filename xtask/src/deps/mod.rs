//! `cargo xtask deps`: who may know whom, and why each foreign crate is here.
//!
//! The arrows of ARCHITECTURE.md are what keeps the core a value: once `tree` may reach a socket,
//! every test of it may too. They are checked against what cargo says, not against what manifests
//! seem to say, and the core rooms are checked through everything they pull in.

mod table;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::repo::{self, Fault};
use crate::tidy::named_crates;
use table::{FORBIDDEN_BELOW_CORE, ROOMS, Room};

/// As much of `cargo metadata` as we read.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_members: Vec<String>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    manifest_path: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
    path: Option<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Edge>,
}

#[derive(Deserialize)]
struct Edge {
    pkg: String,
    dep_kinds: Vec<EdgeKind>,
}

#[derive(Deserialize)]
struct EdgeKind {
    kind: Option<String>,
}

/// What one crate of the workspace asks for.
#[derive(Clone, Debug, Default)]
struct Uses {
    manifest: String,
    /// Crates of ours, and foreign crates, that the product code may name.
    ours: BTreeSet<String>,
    foreign: BTreeSet<String>,
    /// The same for tests and build scripts.
    test_ours: BTreeSet<String>,
    test_foreign: BTreeSet<String>,
    /// Everything linked in the end, foreign and ours.
    closure: BTreeSet<String>,
    /// Crate names that the sources speak of.
    named: BTreeSet<String>,
}

/// Checks the workspace.
pub fn run(words: &[String]) -> Result<()> {
    ensure!(words.is_empty(), "deps takes no words");
    let root = repo::root()?;
    let metadata = repo::cargo_metadata(&root.join("Cargo.toml"), true)?;
    let metadata: Metadata = serde_json::from_value(metadata)?;
    let mut uses = uses(&metadata)?;
    for (name, one) in &mut uses {
        let manifest = std::path::Path::new(&one.manifest);
        let dir = manifest.parent().with_context(|| format!("{name}: manifest without a place"))?;
        one.named = named_crates(dir)?;
        one.manifest = manifest.strip_prefix(&root)?.to_string_lossy().into_owned();
    }
    let mut faults = check(&ROOMS, &uses);
    let architecture = std::fs::read_to_string(root.join("ARCHITECTURE.md"))?;
    faults.extend(untold(&ROOMS, &architecture));
    let linked = uses.get("oxkeeper").map_or(0, |binary| binary.closure.len());
    repo::verdict(faults, &format!("deps: {} rooms; the binary links {linked} crates", uses.len()))
}

/// Turns cargo's answer into one entry per crate of the workspace.
fn uses(metadata: &Metadata) -> Result<BTreeMap<String, Uses>> {
    let names: BTreeMap<&str, &str> =
        metadata.packages.iter().map(|p| (p.id.as_str(), p.name.as_str())).collect();
    let links: BTreeMap<&str, Vec<&str>> = metadata
        .resolve
        .nodes
        .iter()
        .map(|node| {
            let linked = |edge: &&Edge| edge.dep_kinds.iter().any(|kind| kind.kind.is_none());
            let deps = node.deps.iter().filter(linked).map(|edge| edge.pkg.as_str()).collect();
            (node.id.as_str(), deps)
        })
        .collect();
    let mut all = BTreeMap::new();
    for package in &metadata.packages {
        if !metadata.workspace_members.contains(&package.id) {
            continue;
        }
        let mut uses = Uses { manifest: package.manifest_path.clone(), ..Uses::default() };
        for dependency in &package.dependencies {
            let set = match (dependency.path.is_some(), dependency.kind.is_none()) {
                (true, true) => &mut uses.ours,
                (true, false) => &mut uses.test_ours,
                (false, true) => &mut uses.foreign,
                (false, false) => &mut uses.test_foreign,
            };
            set.insert(dependency.name.clone());
        }
        let mut next = vec![package.id.as_str()];
        let mut seen = BTreeSet::new();
        while let Some(id) = next.pop() {
            if seen.insert(id) {
                next.extend(links.get(id).context("a package without a node")?);
            }
        }
        seen.remove(package.id.as_str());
        uses.closure = seen.iter().map(|id| names[id].to_owned()).collect();
        all.insert(package.name.clone(), uses);
    }
    Ok(all)
}

/// Compares what is used with what may be.
fn check(rooms: &[Room], all: &BTreeMap<String, Uses>) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (name, uses) in all {
        match rooms.iter().find(|room| room.name == name) {
            Some(room) => faults.extend(check_room(room, uses)),
            None => faults.push(Fault::of(
                &uses.manifest,
                format!("{name} is a new room: give it its arrows in xtask/src/deps/table.rs"),
            )),
        }
    }
    faults
}

fn check_room(room: &Room, uses: &Uses) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut fault = |what: String| faults.push(Fault::of(&uses.manifest, what));
    let name = room.name;
    for other in &uses.ours {
        if !room.knows.contains(&other.as_str()) {
            fault(format!("{name} must not know {other}"));
        }
    }
    for other in &uses.test_ours {
        if !room.knows.contains(&other.as_str()) && !room.tests_know.contains(&other.as_str()) {
            fault(format!("the tests of {name} must not know {other}"));
        }
    }
    for foreign in &uses.foreign {
        if !room.budget.iter().any(|(allowed, _)| allowed == foreign) {
            fault(format!("{foreign} has no written reason in the budget of {name}"));
        }
        if !uses.named.contains(&foreign.replace('-', "_")) {
            fault(format!("{name} asks for {foreign} and never names it"));
        }
    }
    for foreign in &uses.test_foreign {
        let in_budget = room.budget.iter().chain(room.test_budget).any(|(a, _)| a == foreign);
        if !in_budget {
            fault(format!("{foreign} has no written reason in the test budget of {name}"));
        }
    }
    for (allowed, _) in room.budget {
        if !uses.foreign.contains(*allowed) {
            fault(format!("{name} does without {allowed}: take it off its budget"));
        }
    }
    if room.core {
        for (crate_name, why) in FORBIDDEN_BELOW_CORE {
            if uses.closure.contains(*crate_name) {
                fault(format!("{name} pulls in {crate_name}: {why}"));
            }
        }
    }
    faults
}

/// Foreign crates of the product that ARCHITECTURE.md gives no reason for.
fn untold(rooms: &[Room], architecture: &str) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (name, _) in rooms.iter().filter(|room| room.product).flat_map(|room| room.budget) {
        if !architecture.contains(&format!("`{name}`")) {
            let what = format!("`{name}` is a dependency and its reason is not told");
            faults.push(Fault::of("ARCHITECTURE.md", what));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOW: Room = Room {
        name: "low",
        core: true,
        product: true,
        knows: &[],
        tests_know: &[],
        budget: &[("bytes", "shared slices")],
        test_budget: &[("proptest", "properties")],
    };
    const HIGH: Room = Room {
        name: "high",
        core: false,
        product: true,
        knows: &["low"],
        tests_know: &["side"],
        budget: &[],
        test_budget: &[],
    };

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn good() -> BTreeMap<String, Uses> {
        let low = Uses {
            foreign: set(&["bytes"]),
            test_foreign: set(&["proptest"]),
            named: set(&["bytes"]),
            closure: set(&["bytes"]),
            ..Uses::default()
        };
        let high = Uses {
            ours: set(&["low"]),
            test_ours: set(&["side"]),
            closure: set(&["low", "bytes"]),
            ..Uses::default()
        };
        [("low".to_owned(), low), ("high".to_owned(), high)].into()
    }

    fn faults_after(change: impl FnOnce(&mut BTreeMap<String, Uses>)) -> Vec<String> {
        let mut uses = good();
        change(&mut uses);
        check(&[LOW, HIGH], &uses).into_iter().map(|fault| fault.what).collect()
    }

    #[test]
    fn the_arrows_hold_in_one_direction() {
        assert_eq!(faults_after(|_| ()), [""; 0]);
        let low = |uses: &mut BTreeMap<String, Uses>| {
            uses.get_mut("low").expect("is there").ours = set(&["high"]);
        };
        assert_eq!(faults_after(low), ["low must not know high"]);
        let tests = |uses: &mut BTreeMap<String, Uses>| {
            uses.get_mut("low").expect("is there").test_ours = set(&["high"]);
        };
        assert_eq!(faults_after(tests), ["the tests of low must not know high"]);
    }

    #[test]
    fn every_foreign_crate_needs_a_reason_and_a_use() {
        let more = |uses: &mut BTreeMap<String, Uses>| {
            uses.get_mut("high").expect("is there").foreign = set(&["left-pad"]);
        };
        let found = faults_after(more);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains("no written reason"));
        assert!(found[1].contains("never names it"));
        let less = |uses: &mut BTreeMap<String, Uses>| {
            uses.get_mut("low").expect("is there").foreign.clear();
        };
        assert_eq!(faults_after(less), ["low does without bytes: take it off its budget"]);
        let tests = |uses: &mut BTreeMap<String, Uses>| {
            uses.get_mut("high").expect("is there").test_foreign = set(&["mockall"]);
        };
        assert!(faults_after(tests)[0].contains("test budget"));
    }

    #[test]
    fn a_core_room_is_pure_through_everything_it_links() {
        let (forbidden, _) = FORBIDDEN_BELOW_CORE[0];
        let deep = |uses: &mut BTreeMap<String, Uses>| {
            uses.get_mut("low").expect("is there").closure.insert(forbidden.to_owned());
        };
        assert!(faults_after(deep)[0].starts_with(&format!("low pulls in {forbidden}")));
        let new = |uses: &mut BTreeMap<String, Uses>| {
            uses.insert("attic".to_owned(), Uses::default());
        };
        assert!(faults_after(new)[0].contains("attic is a new room"));
    }

    #[test]
    fn a_reason_that_is_not_told_is_a_fault() {
        assert_eq!(untold(&[LOW], "`bytes`: shared slices"), []);
        assert_eq!(untold(&[LOW], "bytes are nice").len(), 1);
    }

    #[test]
    fn the_table_draws_no_circle() {
        for room in &ROOMS {
            let mut next: Vec<&str> = room.knows.to_vec();
            while let Some(name) = next.pop() {
                assert_ne!(name, room.name, "{name} knows itself by a detour");
                let other = ROOMS.iter().find(|other| other.name == name);
                next.extend(other.expect("an arrow ends at a room").knows);
            }
        }
    }
}
