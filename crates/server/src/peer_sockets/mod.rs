//! How servers find each other: listening and calling, as both ports of an ensemble do it.

pub(crate) mod dial;
pub(crate) mod listen;
mod unresolved;

use oxkeeper_proto::Sid;
use oxkeeper_proto::notification::Address;
use oxkeeper_zab::quorum::{Membership, QuorumServer};

pub use self::unresolved::UnresolvedNames;

/// One of the two ports of a server in an ensemble.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Port {
    /// Where votes are told.
    Election,
    /// Where learners find their leader.
    Quorum,
}

impl Port {
    /// Its name in messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Port::Election => "election port",
            Port::Quorum => "quorum port",
        }
    }

    /// Its addresses in the line of a server.
    pub(crate) fn addresses_in(self, server: &QuorumServer) -> Vec<Address> {
        match self {
            Port::Election => server.election_addresses().collect(),
            Port::Quorum => server.quorum_addresses().collect(),
        }
    }

    /// Where a server listens by the committed configuration, or by the one that is to bring it in.
    pub(crate) fn addresses_of(self, sid: Sid, membership: &Membership) -> Vec<Address> {
        let its = membership.known().find_map(|config| config.server(sid));
        its.map(|server| self.addresses_in(server)).unwrap_or_default()
    }
}
