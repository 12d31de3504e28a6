//! mntr: one line per number, `zk_<name>`, tab, value (`MonitorCommand`).
//!
//! The names and their order come from the tables in [`crate::metrics`]; here is only how each kind
//! of metric unfolds into lines: a summary into five, one with percentiles into nine, a set into
//! those of every key it has seen.

use core::fmt::Display;
use std::fmt::Write as _;

use super::java_text;
use super::view::AdminView;
use crate::metrics::{DetailedSummary, GaugeValue, Keyed, QuotaGauges, Summary, Value};

/// The percentiles of a detailed summary and the names they have.
const PERCENTILES: [(&str, u16); 4] = [("p50", 500), ("p95", 950), ("p99", 990), ("p999", 999)];

pub(super) fn mntr(out: &mut String, view: &AdminView) {
    line(out, "version", &view.version);
    line(out, "server_state", view.mode.name());
    if let Some(state) = &view.peer_state {
        line(out, "peer_state", state);
    }
    if let Some(sid) = view.observer_master_id {
        line(out, "observer_master_id", sid);
    }
    view.gauges.each(|description, value| match value {
        GaugeValue::Int(value) => line(out, description.name, value),
        GaugeValue::Float(value) => line(out, description.name, java_text::double(value)),
    });
    quotas(out, &view.quotas);
    view.metrics.each(|description, value| metric(out, description.name, value));
}

fn line(out: &mut String, name: &str, value: impl Display) {
    let _ = writeln!(out, "zk_{name}\t{value}");
}

/// The quotas of each namespace, one number of all namespaces after the other.
fn quotas(out: &mut String, quotas: &[QuotaGauges]) {
    type Column = (&'static str, fn(&QuotaGauges) -> i64);
    let columns: [Column; 4] = [
        ("bytes_limit", |quota| quota.bytes_limit),
        ("count_usage", |quota| quota.count_usage),
        ("count_limit", |quota| quota.count_limit),
        ("bytes_usage", |quota| quota.bytes_usage),
    ];
    for (name, value) in columns {
        for quota in quotas {
            let name = format!("{}_quota_{name}_per_namespace", quota.namespace);
            line(out, &name, value(quota));
        }
    }
}

fn metric(out: &mut String, name: &str, value: Value<'_>) {
    match value {
        Value::Counter(count) => line(out, name, count),
        Value::CounterSet(set) => keyed(out, name, set, |out, name, count| line(out, name, count)),
        Value::Summary(value) => summary(out, name, value),
        Value::Detailed(value) => detailed(out, name, value),
        Value::SummarySet(set) => keyed(out, name, set, summary),
        Value::DetailedSet(set) => keyed(out, name, set, detailed),
    }
}

fn keyed<T: Default>(
    out: &mut String,
    name: &str,
    set: &Keyed<T>,
    show: impl Fn(&mut String, &str, &T),
) {
    for (key, value) in set.iter() {
        show(out, &format!("{key}_{name}"), value);
    }
}

fn summary(out: &mut String, name: &str, value: &Summary) {
    let _ = writeln!(out, "zk_avg_{name}\t{}", java_text::double(value.avg()));
    for (prefix, number) in
        [("min", value.min()), ("max", value.max()), ("cnt", value.count()), ("sum", value.sum())]
    {
        let _ = writeln!(out, "zk_{prefix}_{name}\t{number}");
    }
}

fn detailed(out: &mut String, name: &str, value: &DetailedSummary) {
    summary(out, name, value.summary());
    for (prefix, permille) in PERCENTILES {
        let _ = writeln!(out, "zk_{prefix}_{name}\t{}", value.percentile(permille));
    }
}
