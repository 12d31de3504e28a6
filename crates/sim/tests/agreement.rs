//! The net holds for ensembles: what once went wrong in Apache's, put back into ours by
//! `oxkeeper_zab::wrong`, is found by the invariants in this many of the first seeds.
//!
//! The choice of a mistake is one for the whole process, so this is one test.

use std::collections::BTreeMap;

use oxkeeper_sim::Report;
use oxkeeper_sim::world::Plan;
use oxkeeper_zab::wrong;

/// The mistake, and the first seed that must have found it.
const CAUGHT: [(&str, u64); 18] = [
    ("3911", 100),
    ("4643", 100),
    ("4646", 100),
    ("4685", 100),
    ("4394", 100),
    ("3023", 100),
    ("4712", 100),
    ("4785", 100),
    ("4925", 100),
    ("5094", 100),
    ("3642", 100),
    ("3104", 100),
    ("2845", 100),
    ("3701", 100),
    ("2325", 100),
    ("2418", 100),
    ("3127", 100),
    ("2355", 100),
];

#[test]
fn every_mistake_is_caught() {
    let mut missed = Vec::new();
    for (name, within) in CAUGHT {
        assert!(wrong::choose(name), "{name} is no mistake");
        let mut first = None;
        let mut by: BTreeMap<&str, u64> = BTreeMap::new();
        for seed in 0..within {
            let report = Report::of(Plan::of_servers(seed, 3));
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
