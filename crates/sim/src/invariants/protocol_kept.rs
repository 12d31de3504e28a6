//! No member ever has reason to say that another breaks the protocol, and none says so.

use super::Case;

pub(super) fn check(case: &Case<'_>) -> Vec<String> {
    case.history.accusations.clone()
}
