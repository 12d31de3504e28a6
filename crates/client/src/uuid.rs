//! Numbers that nobody else has.
//!
//! A protected znode is recognised by a number in its name, in the form that Curator gives it: a
//! UUID of version 4. The standard library's hasher is keyed from the system's source of
//! randomness, which is all the randomness that is needed here.

use std::hash::{BuildHasher, RandomState};
use std::time::{SystemTime, UNIX_EPOCH};

/// A random UUID, version 4, in its usual form. The hasher's keys come from the system's source of
/// randomness; the time parts what one pair of keys may hash twice.
pub(crate) fn random() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let half = |of: u8| RandomState::new().hash_one((now, of));
    let (high, low) = (half(0), half(1));
    let high = high & !0xf000 | 0x4000;
    let low = low & !(3 << 62) | 1 << 63;
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xffff,
        low >> 48,
        low & 0xffff_ffff_ffff
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_have_the_usual_form_and_differ() {
        let all: std::collections::BTreeSet<_> = (0..1000).map(|_| random()).collect();
        assert_eq!(all.len(), 1000);
        for uuid in all {
            let parts: Vec<_> = uuid.split('-').map(str::len).collect();
            assert_eq!(parts, [8, 4, 4, 4, 12]);
            assert_eq!(&uuid[14..15], "4");
            assert!("89ab".contains(&uuid[19..20]), "{uuid}");
        }
    }
}
