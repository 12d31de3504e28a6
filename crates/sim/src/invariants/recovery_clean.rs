//! A server starts on whatever it has left itself, however it was ended, and finds nothing amiss.

use super::Case;

pub(super) fn check(case: &Case<'_>) -> Vec<String> {
    let amiss = case.history.holdings.iter().filter_map(|holding| {
        let amiss = holding.amiss.as_ref()?;
        Some(format!("server {}, life {}: {amiss}", holding.server, holding.life))
    });
    case.history.failed_starts.iter().cloned().chain(amiss).collect()
}
