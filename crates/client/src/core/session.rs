//! The session as the client knows it, and the times that follow from its timeout.

use oxkeeper_proto::{SessionId, Zxid};

use super::limits::PING_INTERVAL_MAX_US;

/// What proves that a session is ours, enough to go on with it in another client.
///
/// ```
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = oxkeeper_client::Client::connect(&servers).await?;
/// let Some(credentials) = zk.credentials() else { panic!("there is a session") };
/// assert_ne!(credentials.password, [0; 16], "who has this has the session");
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Credentials {
    /// Its id.
    pub session: SessionId,
    /// Its password.
    pub password: [u8; 16],
    /// The newest transaction that its client has seen.
    pub last_zxid: Zxid,
}

/// See the module's essay.
#[derive(Debug)]
pub(crate) struct Session {
    /// [`SessionId::NONE`] before the first handshake.
    pub(crate) id: SessionId,
    pub(crate) password: [u8; 16],
    /// Asked for, and once there was a handshake, granted.
    pub(crate) timeout_ms: i32,
    /// Never goes back.
    pub(crate) last_zxid: Zxid,
    /// Up to where watches have told everything, while they are not all armed again. Answers to
    /// the first pieces of setWatches move `last_zxid`; what the later pieces ask about is older.
    pub(crate) rearm_from: Option<Zxid>,
    /// When a server was last heard.
    pub(crate) heard_us: u64,
    /// A moment at or before which a server last heard us: when the newest request that was
    /// answered went out. The server counts the session's timeout from there or later.
    pub(crate) known_us: u64,
    /// Sessions of read-only servers are not known to others: until a server that takes writes was
    /// seen, each handshake asks for a new one (`seenRwServerBefore`).
    pub(crate) writable_seen: bool,
}

impl Session {
    pub(crate) fn new(timeout_ms: i32, resumed: Option<Credentials>) -> Session {
        let known = resumed.unwrap_or(Credentials {
            session: SessionId::NONE,
            password: [0; 16],
            last_zxid: Zxid::ZERO,
        });
        Session {
            id: known.session,
            password: known.password,
            timeout_ms,
            last_zxid: known.last_zxid,
            rearm_from: None,
            heard_us: 0,
            known_us: 0,
            writable_seen: resumed.is_some(),
        }
    }

    /// The session that the next handshake asks for.
    pub(crate) fn asked(&self) -> SessionId {
        if self.writable_seen { self.id } else { SessionId::NONE }
    }

    /// The newest zxid up to which every armed watch has been told.
    pub(crate) fn watched_to(&self) -> Zxid {
        self.rearm_from.unwrap_or(self.last_zxid)
    }

    pub(crate) fn timing(&self, hosts: usize) -> Timing {
        Timing::new(self.timeout_ms, hosts)
    }

    /// When the server may expire this session at the earliest.
    pub(crate) fn safe_until_us(&self) -> u64 {
        self.known_us.saturating_add(self.timeout_ms.max(0) as u64 * 1000)
    }
}

/// Bounds on silence, all derived from the session's timeout as `ClientCnxn.SendThread` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timing {
    /// For a dial, and again for a handshake: a share of the timeout for each host.
    pub(crate) connect_us: u64,
    /// Without a byte from the server: two thirds.
    pub(crate) read_us: u64,
    /// Out of touch for so long that the session must be gone: four thirds.
    pub(crate) expire_us: u64,
    /// Without sending anything: a third, less the second that a second ping may need.
    pub(crate) ping_us: u64,
}

/// The least time for a dial: with many hosts a share of the timeout is no time at all.
const CONNECT_US_MIN: u64 = 100_000;

impl Timing {
    fn new(timeout_ms: i32, hosts: usize) -> Timing {
        let timeout = timeout_ms.max(1) as u64;
        let read = (timeout * 2 / 3).max(1);
        let half = (read / 2).max(1);
        let ping = if half <= 1000 { half } else { (half - 1000).max(1000) };
        Timing {
            connect_us: (timeout * 1000 / hosts.max(1) as u64).max(CONNECT_US_MIN),
            read_us: read * 1000,
            expire_us: (timeout * 4 / 3).max(1) * 1000,
            ping_us: (ping * 1000).min(PING_INTERVAL_MAX_US),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_javas() {
        let timing = Timing::new(30_000, 3);
        assert_eq!(timing.connect_us, 10_000_000);
        assert_eq!(timing.read_us, 20_000_000);
        assert_eq!(timing.expire_us, 40_000_000);
        assert_eq!(timing.ping_us, 9_000_000);
        assert_eq!(Timing::new(40_000, 1).ping_us, 10_000_000, "never more than 10 s");
        assert_eq!(Timing::new(4_000, 1).ping_us, 1_000_000);
        assert_eq!(Timing::new(3_000, 1).ping_us, 1_000_000);
        assert_eq!(Timing::new(1_500, 1).ping_us, 500_000);
        assert_eq!(Timing::new(4_000, 1000).connect_us, 100_000);
    }

    #[test]
    fn two_pings_fit_before_the_connection_counts_as_silent() {
        for timeout_ms in 100..60_000 {
            let timing = Timing::new(timeout_ms, 1);
            assert!(2 * timing.ping_us <= timing.read_us, "{timeout_ms}");
            assert!(timing.read_us < timing.expire_us, "{timeout_ms}");
        }
    }
}
