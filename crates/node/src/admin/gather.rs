//! From what Fronts and the core hold to what the words print.
//!
//! Small conversions, so that every host fills a view in the same way: a connection's line, and the
//! buckets in which ZooKeeper keeps connections that may expire (`NIOServerCnxnFactory`), which
//! `dump` prints although nothing here is kept that way.

use std::collections::BTreeMap;

use core::net::SocketAddr;

use oxkeeper_proto::SessionId;

use super::view::ConnLine;
use crate::front::ConnView;
use crate::messages::Now;

impl From<&ConnView> for ConnLine {
    fn from(conn: &ConnView) -> ConnLine {
        let stats = &conn.stats;
        let interest_ops = match (conn.asking, conn.reading, conn.writing) {
            (true, ..) | (_, false, false) => 0,
            (_, true, false) => 1,
            (_, false, true) => 4,
            (_, true, true) => 5,
        };
        ConnLine {
            peer: conn.peer.addr,
            interest_ops,
            queued: conn.queued as u64,
            received: stats.received,
            sent: stats.sent,
            session: conn.session,
            last_op: stats.last_op,
            established_ms: conn.opened_wall_ms,
            timeout_ms: conn.timeout_ms,
            last_cxid: stats.last_cxid,
            last_zxid: stats.last_zxid,
            last_response_ms: stats.last_response_ms,
            last_latency_ms: stats.last_latency_ms,
            latency_min_ms: if stats.latency_count == 0 { 0 } else { stats.latency_min_ms },
            latency_avg_ms: stats.latency_sum_ms.checked_div(stats.latency_count).unwrap_or(0),
            latency_max_ms: stats.latency_max_ms,
        }
    }
}

/// Connections by the moment at which ZooKeeper would give them up unheard: the end of the interval
/// (`zookeeper.nio.sessionlessCnxnTimeout`, ms) in which their session times out.
pub fn connection_buckets(
    conns: &[ConnView],
    now: Now,
    interval_ms: u64,
) -> Vec<(i64, Vec<(SocketAddr, SessionId)>)> {
    let interval_ms = interval_ms.max(1);
    let mut buckets: BTreeMap<u64, Vec<(SocketAddr, SessionId)>> = BTreeMap::new();
    for conn in conns {
        let timeout_ms = if conn.session == SessionId::NONE { 0 } else { conn.timeout_ms.max(0) };
        let due_ms = conn.heard_us / 1_000 + timeout_ms as u64;
        let end_ms = (due_ms / interval_ms + 1) * interval_ms;
        buckets.entry(end_ms).or_default().push((conn.peer.addr, conn.session));
    }
    let to_wall = |mono_ms: u64| now.wall_ms + mono_ms as i64 - now.mono_ms() as i64;
    buckets.into_iter().map(|(end_ms, conns)| (to_wall(end_ms), conns)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::front::ConnStats;
    use crate::messages::{ConnId, Peer};

    fn conn(port: u16, session: i64, heard_ms: u64) -> ConnView {
        ConnView {
            id: ConnId { slot: 0, generation: 0 },
            peer: Peer { addr: ([10, 0, 0, 1], port).into() },
            session: SessionId(session),
            timeout_ms: 30_000,
            queued: 2,
            reading: true,
            writing: false,
            asking: false,
            opened_wall_ms: 5,
            heard_us: heard_ms * 1_000,
            stats: ConnStats::new(),
        }
    }

    #[test]
    fn a_line_says_what_the_socket_waits_for_and_never_divides_by_nothing() {
        let mut view = conn(1, 7, 0);
        let fresh = ConnLine::from(&view);
        assert_eq!((fresh.interest_ops, fresh.latency_min_ms, fresh.latency_avg_ms), (1, 0, 0));
        view.writing = true;
        view.stats.latency_min_ms = 2;
        view.stats.latency_sum_ms = 11;
        view.stats.latency_count = 4;
        let line = ConnLine::from(&view);
        assert_eq!((line.interest_ops, line.latency_min_ms, line.latency_avg_ms), (5, 2, 2));
        view.asking = true;
        assert_eq!(ConnLine::from(&view).interest_ops, 0);
    }

    #[test]
    fn buckets_end_with_the_interval_of_the_timeout() {
        let now = Now { mono_us: 100_000_000, wall_ms: 1_000_000 };
        let conns = [conn(1, 7, 95_000), conn(2, 0, 99_000), conn(3, 8, 99_999)];
        let address = |port: u16| SocketAddr::from(([10, 0, 0, 1], port));
        let expected = vec![
            (1_000_000, vec![(address(2), SessionId::NONE)]),
            (1_030_000, vec![(address(1), SessionId(7)), (address(3), SessionId(8))]),
        ];
        assert_eq!(connection_buckets(&conns, now, 10_000), expected);
    }
}
