//! The net holds for ensembles: what once went wrong in Apache's, put back into ours by
//! `oxkeeper_zab::wrong`, is found by the invariants in this many of the first seeds.
//!
//! The choice of a mistake is one for the whole process, so this is one test.

use std::collections::BTreeMap;

use oxkeeper_sim::Report;
use oxkeeper_sim::world::Plan;
use oxkeeper_sim::world::Weather::{self, Epochs, Open};
use oxkeeper_zab::wrong;

/// The mistake, in which weather, and within how many seeds it must be found. Those of the epochs
/// are about a moment that has to be waited for.
const CAUGHT: [(&str, Weather, u64); 18] = [
    ("3911", Open, 160),
    ("4646", Open, 120),
    ("4685", Open, 40),
    ("4394", Open, 20),
    ("3023", Open, 40),
    ("4643", Epochs, 2500),
    ("4712", Open, 60),
    ("4785", Epochs, 200),
    ("4925", Open, 60),
    ("5094", Epochs, 20),
    ("3642", Open, 20),
    ("3104", Open, 40),
    ("2845", Open, 60),
    ("3701", Open, 60),
    ("2325", Open, 60),
    ("2418", Open, 20),
    ("3127", Open, 10),
    ("2355", Open, 20),
];

#[test]
fn every_mistake_is_caught() {
    let mut missed = Vec::new();
    for (name, weather, within) in CAUGHT {
        assert!(wrong::choose(name), "{name} is no mistake");
        let mut first = None;
        let mut by: BTreeMap<&str, u64> = BTreeMap::new();
        for seed in 0..within {
            let report = Report::of(Plan::in_weather(seed, 3, weather));
            if !report.is_good() {
                first.get_or_insert(seed);
                report.violations.iter().for_each(|v| *by.entry(v.invariant).or_default() += 1);
                break;
            }
        }
        println!("{name}: {first:?} {by:?}");
        if first.is_none() {
            missed.push(format!("{name} is not found by {within} seeds"));
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
    assert_eq!(CAUGHT.len(), wrong::Wrong::ALL.len(), "a mistake that nobody looks for");
}
