//! What a round has measured: named figures, their medians and their ratios.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use oxkeeper_proto::ErrorCode;
use serde::Serialize;

use crate::drive::Cost;
use crate::tally::Tally;
use crate::units::Unit;

/// One figure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figure {
    /// What it is, for people and for JSON.
    pub name: String,
    /// What it counts.
    pub unit: Unit,
    /// How much, in the base unit.
    pub value: f64,
}

/// The figures of one round, the most telling first, and what else has to be said.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// In the order in which they are shown.
    pub all: Vec<Figure>,
    /// Refusals by code.
    pub errors: BTreeMap<i32, u64>,
}

impl Figures {
    /// Adds one.
    pub fn add(&mut self, name: impl Into<String>, unit: Unit, value: f64) {
        self.all.push(Figure { name: name.into(), unit, value });
    }

    /// Takes in those of another measurement, each name led by `prefix`.
    pub fn add_all(&mut self, prefix: &str, other: Figures) {
        for figure in other.all {
            self.add(format!("{prefix}, {}", figure.name), figure.unit, figure.value);
        }
        for (code, count) in other.errors {
            *self.errors.entry(code).or_default() += count;
        }
    }

    /// Adds one if it could be measured.
    pub fn add_known(&mut self, name: &str, unit: Unit, value: Option<f64>) {
        if let Some(value) = value {
            self.add(name, unit, value);
        }
    }

    /// Adds CPU per thing and things per second.
    pub fn add_cost(&mut self, thing: &str, count: u64, cost: Cost) {
        if count == 0 {
            return;
        }
        let per = |ns: Option<u64>| ns.map(|ns| ns as f64 / count as f64);
        self.add_known(&format!("CPU per {thing}"), Unit::Ns, per(cost.server_ns));
        self.add_known(&format!("leader CPU per {thing}"), Unit::Ns, per(cost.leader_ns));
        self.add_known(&format!("follower CPU per {thing}"), Unit::Ns, per(cost.follower_ns));
        let plural = if thing.ends_with("ch") { "es" } else { "s" };
        let name = format!("{thing}{plural} per second");
        self.add(name, Unit::PerSecond, count as f64 / cost.seconds);
        self.add_known(&format!("generator CPU per {thing}"), Unit::Ns, per(cost.own_ns));
    }

    /// Adds percentiles of times, each name led by `prefix`.
    pub fn add_percentiles(&mut self, prefix: &str, times: &Histogram<u64>, which: &[&str]) {
        if times.is_empty() {
            return;
        }
        for name in which {
            let value = match *name {
                "p50" => times.value_at_quantile(0.5),
                "p99" => times.value_at_quantile(0.99),
                "p999" => times.value_at_quantile(0.999),
                _ => times.max(),
            };
            let name = if prefix.is_empty() { (*name).into() } else { format!("{prefix} {name}") };
            self.add(name, Unit::Ns, value as f64);
        }
    }

    /// Adds percentiles of everything, and of each kind when there are several.
    pub fn add_latencies(&mut self, tally: &Tally, kinds: &[&str]) {
        const WHICH: [&str; 4] = ["p50", "p99", "p999", "max"];
        self.add_percentiles("", &tally.all_latencies(), &WHICH);
        let seen: Vec<usize> =
            (0..kinds.len()).filter(|kind| !tally.latency(*kind).is_empty()).collect();
        if seen.len() > 1 {
            for kind in seen {
                self.add_percentiles(kinds[kind], tally.latency(kind), &WHICH[..3]);
            }
        }
    }

    /// Takes note of refusals.
    pub fn add_errors(&mut self, tally: &Tally) {
        for (code, count) in &tally.errors {
            *self.errors.entry(*code).or_default() += count;
        }
    }
}

/// The median of every figure over all rounds, in the order of the first round.
pub fn medians(rounds: &[Figures]) -> Vec<Figure> {
    let mut names: Vec<(&str, Unit)> = Vec::new();
    for figure in rounds.iter().flat_map(|round| &round.all) {
        if !names.iter().any(|(name, _)| *name == figure.name) {
            names.push((&figure.name, figure.unit));
        }
    }
    names
        .into_iter()
        .map(|(name, unit)| {
            let of_round =
                |round: &Figures| round.all.iter().find(|f| f.name == name).map(|f| f.value);
            let value = median(rounds.iter().filter_map(of_round).collect());
            Figure { name: name.to_owned(), unit, value }
        })
        .collect()
}

/// The middle value; of an even number, the mean of the two in the middle.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        _ if values.is_empty() => f64::NAN,
        0 => (values[middle - 1] + values[middle]) / 2.0,
        _ => values[middle],
    }
}

/// Every figure of `ours` divided by the same of `theirs`, where both are known.
pub fn ratios(ours: &[Figure], theirs: &[Figure]) -> BTreeMap<String, f64> {
    let mut ratios = BTreeMap::new();
    for figure in ours {
        let other = theirs.iter().find(|other| other.name == figure.name);
        if let Some(other) = other.filter(|other| other.value != 0.0) {
            ratios.insert(figure.name.clone(), figure.value / other.value);
        }
    }
    ratios
}

/// Refusals as text: `12 × NONODE, 1 × BADVERSION`.
pub fn errors_text(errors: &BTreeMap<i32, u64>) -> String {
    let parts: Vec<String> = errors
        .iter()
        .map(|(code, count)| match ErrorCode(*code).name() {
            Some(name) => format!("{count} × {name}"),
            None => format!("{count} × error {code}"),
        })
        .collect();
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(values: &[(&str, f64)]) -> Figures {
        let mut figures = Figures::default();
        values.iter().for_each(|(name, value)| figures.add(*name, Unit::Ns, *value));
        figures
    }

    fn shown(figures: &[Figure]) -> Vec<(&str, f64)> {
        figures.iter().map(|figure| (figure.name.as_str(), figure.value)).collect()
    }

    #[test]
    fn one_bad_round_does_not_move_the_median() {
        let rounds = [
            round(&[("b", 3.0), ("a", 1.0)]),
            round(&[("b", 900.0), ("a", 2.0)]),
            round(&[("b", 4.0)]),
        ];
        assert_eq!(shown(&medians(&rounds)), [("b", 4.0), ("a", 1.5)]);
    }

    #[test]
    fn ratios_are_ours_over_theirs() {
        let ours = round(&[("CPU", 2.0), ("only ours", 1.0), ("idle", 3.0)]);
        let theirs = round(&[("CPU", 16.0), ("idle", 0.0)]);
        let found = ratios(&ours.all, &theirs.all);
        assert_eq!(found, BTreeMap::from([("CPU".to_owned(), 0.125)]));
    }

    #[test]
    fn cost_is_spread_over_what_was_done() {
        let mut figures = Figures::default();
        let cost = Cost {
            seconds: 2.0,
            server_ns: Some(5_000_000),
            leader_ns: Some(3_000_000),
            follower_ns: Some(1_000_000),
            own_ns: None,
        };
        figures.add_cost("op", 1000, cost);
        let expected = [
            ("CPU per op", 5000.0),
            ("leader CPU per op", 3000.0),
            ("follower CPU per op", 1000.0),
            ("ops per second", 500.0),
        ];
        assert_eq!(shown(&figures.all), expected);
        let mut nothing = Figures::default();
        nothing.add_cost("op", 0, cost);
        assert!(nothing.all.is_empty());
    }

    #[test]
    fn refusals_are_named() {
        let errors = BTreeMap::from([(ErrorCode::NO_NODE.0, 12), (-9999, 1)]);
        assert_eq!(errors_text(&errors), "1 × error -9999, 12 × NONODE");
    }
}
