//! Numbers with a meaning: transaction ids, session ids, server ids. All are plain 64-bit integers
//! on the wire; types keep one from being taken for the other.

use std::fmt;

/// A transaction id: the epoch in the upper 32 bits, a counter within it in the lower 32.
/// Total order of all writes of an ensemble.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Zxid(pub i64);

impl Zxid {
    /// Before any transaction.
    pub const ZERO: Zxid = Zxid(0);

    /// The leader's epoch.
    pub fn epoch(self) -> u32 {
        (self.0 as u64 >> 32) as u32
    }

    /// The counter within the epoch.
    pub fn counter(self) -> u32 {
        self.0 as u32
    }

    /// The id after this one. In an ensemble the counter must not run into the epoch: check
    /// [`Zxid::counter`] first.
    pub fn next(self) -> Zxid {
        Zxid(self.0.wrapping_add(1))
    }
}

impl fmt::Display for Zxid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:x}", self.0)
    }
}

/// A server's id: the number in its `myid` and after `server.` in the configuration. Configured ids
/// are 0 to 255 in practice, the width of a session id's top byte; on the wire any long may arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Sid(pub i64);

impl Sid {
    /// Where a vote has no server to name: a member that does not vote proposes it
    /// (`FastLeaderElection.getInitId`), and no configured id sorts below it.
    pub const NONE: Sid = Sid(i64::MIN);

    /// The hello of a very old observer that has no id of its own (`QuorumPeer.OBSERVER_ID`).
    pub const ANONYMOUS_OBSERVER: Sid = Sid(i64::MAX);
}

impl fmt::Display for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A session id. The top byte is the id of the server that created the session (1 standalone).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SessionId(pub i64);

impl SessionId {
    /// No session: what a client sends to ask for a new one.
    pub const NONE: SessionId = SessionId(0);

    /// The password that proves ownership of this session: 16 bytes of `java.util.Random` seeded
    /// with the id, so that every member of an ensemble, Java or not, computes the same
    /// (`ZooKeeperServer.generatePasswd`). It is no secret.
    pub fn password(self) -> [u8; 16] {
        const MASK: u64 = (1 << 48) - 1;
        const MULTIPLIER: u64 = 0x5_deec_e66d;
        let mut seed = (self.0 as u64 ^ 0xb341_5c00 ^ MULTIPLIER) & MASK;
        let mut out = [0; 16];
        for chunk in out.chunks_exact_mut(4) {
            seed = seed.wrapping_mul(MULTIPLIER).wrapping_add(0xb) & MASK;
            chunk.copy_from_slice(&((seed >> 16) as u32).to_le_bytes());
        }
        out
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn password_is_javas() {
        // From a captured handshake of Java 3.9.5.
        let password = SessionId(72057865031516165).password();
        let hex: String = password.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, "330652f9f15dcc859ce002a324b707d9");
    }

    #[test]
    fn zxid_parts() {
        let zxid = Zxid(0x5_0000_0007);
        assert_eq!((zxid.epoch(), zxid.counter(), zxid.to_string()), (5, 7, "0x500000007".into()));
        assert_eq!(zxid.next(), Zxid(0x5_0000_0008));
    }
}
