//! What is in the log was asked for, once: by a client before it got there, or by a server that had
//! the right to (`Integrity`).

use super::Case;

pub(super) fn check(case: &Case<'_>) -> Vec<String> {
    case.truth.unasked.iter().chain(&case.truth.repeated).cloned().collect()
}
