//! What the field `ephemeralOwner` means (`EphemeralType`).
//!
//! One number tells four kinds of znode apart: 0 is persistent, the smallest number a container,
//! and with extended types on the top byte 0xff stands for a time to live. Everything else is the
//! session that owns the znode. The switch must be the same whenever a directory is opened: with
//! extended types off, a TTL node reads as the ephemeral of a session that does not exist.

use oxkeeper_proto::SessionId;

/// The mark of a container.
pub const CONTAINER_OWNER: i64 = i64::MIN;
/// The longest time to live, ms: 40 bits, about 34 years.
pub const TTL_MS_MAX: i64 = (1 << 40) - 1;
const EXTENDED_MASK: i64 = 0xff << 56;
const FEATURE_MASK: i64 = 0xffff << 40;

/// How owners are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OwnerRules {
    /// `zookeeper.extendedTypesEnabled`: TTL nodes exist.
    pub extended_types: bool,
    /// `zookeeper.emulate353TTLNodes`: read the TTL encoding of 3.5.3 as well.
    pub emulate_353: bool,
}

/// The kind of a znode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EphemeralType {
    /// Stays until deleted.
    Persistent,
    /// Goes with its session.
    Ephemeral(SessionId),
    /// Removed some time after its last child.
    Container,
    /// Removed when childless and unmodified for so many ms.
    Ttl(i64),
}

impl EphemeralType {
    /// Reads the field. An extended feature that nobody has defined reads as a session: Java ends
    /// the server here.
    #[inline]
    pub fn of(owner: i64, rules: OwnerRules) -> EphemeralType {
        if owner == 0 {
            return EphemeralType::Persistent;
        }
        if rules.extended_types {
            // Of the older encoding Java, too, takes only the lower 40 bits as the time.
            let old_ttl = rules.emulate_353 && owner < 0 && owner != CONTAINER_OWNER;
            let ttl = owner & EXTENDED_MASK == EXTENDED_MASK && owner & FEATURE_MASK == 0;
            if old_ttl || ttl {
                return EphemeralType::Ttl(owner & TTL_MS_MAX);
            }
        }
        match owner {
            CONTAINER_OWNER => EphemeralType::Container,
            _ => EphemeralType::Ephemeral(SessionId(owner)),
        }
    }

    /// The field for a znode of this kind; `None` for a time to live that cannot be.
    pub fn owner(self) -> Option<i64> {
        match self {
            EphemeralType::Persistent => Some(0),
            EphemeralType::Ephemeral(session) => Some(session.0),
            EphemeralType::Container => Some(CONTAINER_OWNER),
            EphemeralType::Ttl(ms @ 1..=TTL_MS_MAX) => Some(EXTENDED_MASK | ms),
            EphemeralType::Ttl(_) => None,
        }
    }

    /// The owner a client is told: the session of an ephemeral, else none.
    #[inline]
    pub fn visible_owner(self) -> SessionId {
        match self {
            EphemeralType::Ephemeral(session) => session,
            _ => SessionId::NONE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ON: OwnerRules = OwnerRules { extended_types: true, emulate_353: false };
    const OFF: OwnerRules = OwnerRules { extended_types: false, emulate_353: false };
    const OLD: OwnerRules = OwnerRules { extended_types: true, emulate_353: true };

    #[test]
    fn owners_read_as_java_reads_them() {
        let ttl = EphemeralType::Ttl(5).owner().unwrap();
        assert_eq!(ttl as u64, 0xff00_0000_0000_0005);
        assert_eq!(EphemeralType::of(ttl, ON), EphemeralType::Ttl(5));
        assert_eq!(EphemeralType::of(ttl, OFF), EphemeralType::Ephemeral(SessionId(ttl)));
        for rules in [ON, OFF, OLD] {
            assert_eq!(EphemeralType::of(0, rules), EphemeralType::Persistent);
            assert_eq!(EphemeralType::of(i64::MIN, rules), EphemeralType::Container);
            let session = 0x0100_0000_0000_0001;
            assert_eq!(EphemeralType::of(session, rules).visible_owner(), SessionId(session));
        }
        let old = i64::MIN | 77;
        assert_eq!(EphemeralType::of(old, OLD), EphemeralType::Ttl(77));
        assert_eq!(EphemeralType::of(old, ON), EphemeralType::Ephemeral(SessionId(old)));
        let unknown = 0xff00_0100_0000_0005_u64 as i64;
        assert_eq!(EphemeralType::of(unknown, ON), EphemeralType::Ephemeral(SessionId(unknown)));
    }

    #[test]
    fn a_time_to_live_has_its_limits() {
        assert_eq!(EphemeralType::Ttl(0).owner(), None);
        assert_eq!(EphemeralType::Ttl(TTL_MS_MAX + 1).owner(), None);
        assert!(EphemeralType::Ttl(TTL_MS_MAX).owner().is_some());
    }
}
