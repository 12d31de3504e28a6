//! What must hold of every run, one file each.
//!
//! Those that ZooKeeper's own TLA+ states have its names (`Zab.tla`); the others say what clients
//! are promised. Each looks at the [`History`] alone, with the help of [`Truth`], and returns every
//! breach it finds, as a sentence.
//!
//! They are stated for any number of servers; with one they speak of its lives.

mod acknowledged_kept;
mod agreement;
mod client_tells_true;
mod digest_equal;
mod ephemeral_dies_with_session;
mod global_primary_order;
mod integrity;
mod linearizable_writes;
mod liveness;
mod local_primary_order;
mod one_configuration;
mod prefix_consistency;
mod primary_integrity;
mod protocol_kept;
mod recovery_clean;
mod sequence_numbers;
mod sequential_reads;
mod session_fifo;
mod total_order;
mod watch_once_in_order;

use crate::history::{Entry, History};
use crate::replay::Truth;

/// What there is to judge by.
#[derive(Debug)]
pub struct Case<'a> {
    /// What was seen.
    pub history: &'a History,
    /// The order of everything.
    pub ledger: &'a [Entry],
    /// What it should have come to.
    pub truth: &'a Truth,
}

/// One breach of one invariant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Of which.
    pub invariant: &'static str,
    /// What was found.
    pub what: String,
}

type Check = fn(&Case<'_>) -> Vec<String>;

/// All of them by name.
pub const ALL: [(&str, Check); 20] = [
    ("prefix_consistency", prefix_consistency::check),
    ("integrity", integrity::check),
    ("agreement", agreement::check),
    ("total_order", total_order::check),
    ("local_primary_order", local_primary_order::check),
    ("global_primary_order", global_primary_order::check),
    ("primary_integrity", primary_integrity::check),
    ("digest_equal", digest_equal::check),
    ("acknowledged_kept", acknowledged_kept::check),
    ("linearizable_writes", linearizable_writes::check),
    ("sequential_reads", sequential_reads::check),
    ("session_fifo", session_fifo::check),
    ("watch_once_in_order", watch_once_in_order::check),
    ("ephemeral_dies_with_session", ephemeral_dies_with_session::check),
    ("sequence_numbers", sequence_numbers::check),
    ("one_configuration", one_configuration::check),
    ("protocol_kept", protocol_kept::check),
    ("recovery_clean", recovery_clean::check),
    ("client_tells_true", client_tells_true::check),
    ("liveness", liveness::check),
];

/// Holds a run against all of them.
pub fn judge(history: &History) -> Vec<Violation> {
    let truth = Truth::of(history);
    let case = Case { history, ledger: history.ledger(), truth: &truth };
    let breaches = ALL.iter().flat_map(|(invariant, check)| {
        check(&case).into_iter().map(|what| Violation { invariant, what })
    });
    breaches.collect()
}
