//! How a learner gets the leader's history: DIFF, TRUNC, both, or SNAP. A pure decision
//! (`LearnerHandler.syncFollower`), the first rule that matches wins.
//!
//! A plan only says what to send first; whatever stands behind it in the leader's history follows
//! as PROPOSAL and COMMIT, from the log on disk as long as the window in memory does not reach
//! back so far, then from the window.
//!
//! Two differences from Apache's, both towards safety. TRUNC names only a transaction that the
//! leader has: with an empty window Apache may name the bare zxid of its epoch, and a learner that
//! cuts there keeps a hole. And a DIFF from disk is planned from what the log is known to hold, not
//! tried and thrown away.

use oxkeeper_proto::Zxid;

use crate::cursors::Window;
use crate::messages::LogSurvey;
use crate::wrong::{self, Wrong};

/// What to send to a learner first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// It misses at most transactions: DIFF with the last one committed, then those behind its own.
    Diff {
        /// The zxid of the packet.
        header: Zxid,
    },
    /// It has too many: TRUNC.
    Trunc {
        /// The last one to keep.
        to: Zxid,
    },
    /// It has too many, and misses those behind the common part: TRUNC, then those.
    TruncDiff {
        /// The last one to keep.
        to: Zxid,
    },
    /// Nothing in common, or too far: SNAP.
    Snap,
    /// It depends on the log on disk: ask, then plan again.
    SurveyLog,
}

/// The leader's side of the decision.
#[derive(Debug)]
pub struct Leads<'a> {
    /// The committed transactions in memory.
    pub window: &'a Window,
    /// The last transaction committed, or the bare zxid of the epoch once it is established
    /// (`lastProcessedZxid`).
    pub last_processed: Zxid,
    /// `forceSnapshotSync`, or the last attempt to serve this learner from the log failed.
    pub force_snapshot: bool,
    /// As in [`crate::Settings::snapshot_size_permille`].
    pub snapshot_size_permille: Option<u64>,
}

/// The log on disk, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Log {
    /// Not looked at yet.
    Unknown,
    /// It does not reach back to the learner's last transaction.
    TooShort,
    /// What it holds there.
    Surveyed(LogSurvey),
}

/// Decides how a learner whose last logged transaction is `peer` is synchronised.
pub fn sync_plan(peer: Zxid, leader: &Leads<'_>, log: Log) -> Plan {
    let window = leader.window;
    let max = window.last();
    if leader.force_snapshot {
        return Plan::Snap;
    }
    if leader.last_processed == peer {
        return Plan::Diff { header: peer };
    }
    // A bare epoch zxid is no transaction: such a learner has everything before it, no more.
    let bare = peer.counter() == 0;
    if peer > max && wrong::is(Wrong::Z2845) {
        return Plan::Diff { header: max };
    }
    if peer > max && !bare {
        return if is_place(max) { Plan::Trunc { to: max } } else { Plan::Snap };
    }
    let Some(min) = window.first() else {
        return beyond_window(peer, max, leader, log);
    };
    if peer < min {
        return beyond_window(peer, max, leader, log);
    }
    if peer > max {
        return Plan::Snap;
    }
    let (before, after) = window.around(peer);
    at_divergence(peer, bare, before.unwrap_or(window.before()), after, max)
}

/// The learner's last transaction is older than what memory holds.
fn beyond_window(peer: Zxid, max: Zxid, leader: &Leads<'_>, log: Log) -> Plan {
    let Some(permille) = leader.snapshot_size_permille else { return Plan::Snap };
    if peer >= max {
        // Equal with an empty window: nothing is missing. But nothing proves it where there never
        // was a transaction. A bare zxid beyond it: as in memory.
        let equal = peer == max && max != Zxid::ZERO;
        return if equal { Plan::Diff { header: max } } else { Plan::Snap };
    }
    match log {
        Log::Unknown => Plan::SurveyLog,
        Log::TooShort => Plan::Snap,
        Log::Surveyed(survey) => {
            // What memory holds begins behind all that the log could give: a server that started
            // from the snapshot of an epoch without transactions. Read in vain, the log would be
            // given up for this learner only when it is already on its way.
            let before = leader.window.before();
            if peer < before && survey.after > before {
                return Plan::Snap;
            }
            let limit = u128::from(survey.snapshot_bytes) * u128::from(permille) / 1000;
            if limit > 0 && u128::from(survey.log_bytes) > limit {
                return Plan::Snap;
            }
            let bare = peer.counter() == 0;
            at_divergence(peer, bare, survey.at_or_before, Some(survey.after), max)
        }
    }
}

/// Whether a log can end there: a transaction, or the beginning. A leader that began with the
/// snapshot of an epoch without any knows the epoch's bare zxid as its last.
fn is_place(zxid: Zxid) -> bool {
    zxid.counter() > 0 || zxid == Zxid::ZERO
}

/// `before` and `after` are the leader's transactions around the learner's last.
fn at_divergence(peer: Zxid, bare: bool, before: Zxid, after: Option<Zxid>, max: Zxid) -> Plan {
    match after {
        _ if before == peer || bare => Plan::Diff { header: max },
        // A learner of Apache's cannot cut across epochs.
        Some(after)
            if after.epoch() == peer.epoch()
                && before.epoch() == peer.epoch()
                && is_place(before) =>
        {
            Plan::TruncDiff { to: before }
        }
        _ => Plan::Snap,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::messages::Entry;

    fn z(epoch: i64, counter: i64) -> Zxid {
        Zxid(epoch << 32 | counter)
    }

    fn window(before: Zxid, zxids: &[Zxid]) -> Window {
        let mut window = Window::new(before, 500, 1 << 20);
        for zxid in zxids {
            window.push(Entry { zxid: *zxid, payload: Bytes::new() });
        }
        window
    }

    struct Case {
        name: &'static str,
        peer: Zxid,
        window: Window,
        last_processed: Zxid,
        log: Log,
        plan: Plan,
    }

    fn case(name: &'static str, peer: Zxid, window: Window, last: Zxid, log: Log, plan: Plan) {
        let case = Case { name, peer, window, last_processed: last, log, plan };
        let leader = Leads {
            window: &case.window,
            last_processed: case.last_processed,
            force_snapshot: false,
            snapshot_size_permille: Some(330),
        };
        assert_eq!(sync_plan(case.peer, &leader, case.log), case.plan, "{}", case.name);
        let forced = Leads { force_snapshot: true, ..leader };
        assert_eq!(sync_plan(case.peer, &forced, case.log), Plan::Snap, "{} forced", case.name);
    }

    fn survey(at_or_before: Zxid, after: Zxid, log_bytes: u64, snapshot_bytes: u64) -> Log {
        Log::Surveyed(LogSurvey { at_or_before, after, log_bytes, snapshot_bytes })
    }

    const NO: Log = Log::Unknown;

    /// Found by the simulator: such a learner cut its log where it could, which was elsewhere.
    #[test]
    fn nobody_cuts_at_an_epoch() {
        let w = || window(z(2, 0), &[]);
        case("ahead of an epoch without any", z(2, 1), w(), z(2, 0), NO, Plan::Snap);
        case(
            "ahead of nothing",
            z(2, 1),
            window(z(0, 0), &[]),
            z(0, 0),
            NO,
            Plan::Trunc { to: z(0, 0) },
        );
    }

    #[test]
    fn within_the_window() {
        let w = || window(z(1, 3), &[z(1, 4), z(1, 5), z(1, 6), z(2, 1), z(2, 2)]);
        let last = z(2, 2);
        case("equal", z(2, 2), w(), last, NO, Plan::Diff { header: last });
        case("first of the window", z(1, 4), w(), last, NO, Plan::Diff { header: last });
        case("at an epoch's end", z(1, 6), w(), last, NO, Plan::Diff { header: last });
        case("bare zxid of the epoch", z(2, 0), w(), last, NO, Plan::Diff { header: last });
        case("ahead", z(2, 5), w(), last, NO, Plan::Trunc { to: last });
        case("other epoch (snap-other-epoch)", z(1, 8), w(), last, NO, Plan::Snap);
        case("established, nothing in it", z(2, 2), w(), z(3, 0), NO, Plan::Diff { header: last });
        case("bare and equal", z(3, 0), w(), z(3, 0), NO, Plan::Diff { header: z(3, 0) });
        case("uncommitted of the epoch before (trunc-join)", z(2, 4), w(), z(3, 0), NO, {
            Plan::Trunc { to: last }
        });
        case("bare, of an epoch without a transaction", z(3, 0), w(), z(4, 0), NO, Plan::Snap);
    }

    #[test]
    fn a_hole_within_an_epoch_is_cut_before_it() {
        // Only a log that an older server damaged has one.
        let w = || window(z(1, 3), &[z(1, 4), z(1, 7)]);
        case("in the hole", z(1, 6), w(), z(1, 7), NO, Plan::TruncDiff { to: z(1, 4) });
    }

    #[test]
    fn before_the_window() {
        let w = || window(z(1, 3), &[z(1, 4), z(2, 1)]);
        let last = z(2, 1);
        let diff = Plan::Diff { header: last };
        case("ask first", z(1, 1), w(), last, NO, Plan::SurveyLog);
        case("just before", z(1, 3), w(), last, NO, Plan::SurveyLog);
        case("no log", z(1, 1), w(), last, Log::TooShort, Plan::Snap);
        case("wiped", Zxid::ZERO, w(), last, Log::TooShort, Plan::Snap);
        let log = survey(z(1, 1), z(1, 2), 33, 100);
        case("found (diff-txnlog)", z(1, 1), w(), last, log, diff);
        let log = survey(z(1, 1), z(1, 2), 34, 100);
        case("more log than a third of the snapshot", z(1, 1), w(), last, log, Plan::Snap);
        let log = survey(z(1, 1), z(1, 2), 1 << 40, 0);
        case("no snapshot to compare with", z(1, 1), w(), last, log, diff);
    }

    #[test]
    fn memory_that_begins_with_a_bare_epoch() {
        // A server started from the snapshot of an epoch without transactions. The log has nothing
        // between the learner's last one and that, and there would be nothing to send.
        let log = survey(z(1, 4), z(5, 1), 1, 100);
        case("nothing since", z(1, 4), window(z(3, 0), &[]), z(3, 0), log, Plan::Snap);
        let since = window(z(3, 0), &[z(5, 1)]);
        case("something since", z(1, 4), since, z(5, 1), log, Plan::Snap);
    }

    #[test]
    fn divergence_that_only_the_log_shows() {
        let w = || window(z(2, 5), &[z(2, 6)]);
        let log = survey(z(2, 1), z(2, 3), 1, 0);
        case("same epoch", z(2, 2), w(), z(2, 6), log, Plan::TruncDiff { to: z(2, 1) });
        let log = survey(z(1, 4), z(2, 1), 1, 0);
        case("other epoch", z(1, 7), w(), z(2, 6), log, Plan::Snap);
        case("bare", z(2, 0), w(), z(2, 6), log, Plan::Diff { header: z(2, 6) });
    }

    #[test]
    fn an_empty_window() {
        let empty = || window(z(1, 3), &[]);
        case("both empty (cold-start)", z(0, 0), window(z(0, 0), &[]), z(0, 0), NO, {
            Plan::Diff { header: Zxid::ZERO }
        });
        case(
            "both empty, epoch established",
            z(0, 0),
            window(z(0, 0), &[]),
            z(1, 0),
            NO,
            Plan::Snap,
        );
        case("equal", z(1, 3), empty(), z(1, 3), NO, Plan::Diff { header: z(1, 3) });
        let diff = Plan::Diff { header: z(1, 3) };
        case("equal, epoch established", z(1, 3), empty(), z(2, 0), NO, diff);
        case("ahead", z(1, 4), empty(), z(2, 0), NO, Plan::Trunc { to: z(1, 3) });
        case("behind", z(1, 2), empty(), z(1, 3), NO, Plan::SurveyLog);
        case("behind, no log", z(1, 2), empty(), z(1, 3), Log::TooShort, Plan::Snap);
    }

    #[test]
    fn the_log_is_not_read_when_told_so() {
        let w = window(z(1, 3), &[z(1, 4)]);
        let leader = Leads {
            window: &w,
            last_processed: z(1, 4),
            force_snapshot: false,
            snapshot_size_permille: None,
        };
        assert_eq!(sync_plan(z(1, 1), &leader, NO), Plan::Snap);
        let unlimited = Leads { snapshot_size_permille: Some(0), ..leader };
        let log = survey(z(1, 1), z(1, 2), 1 << 40, 1);
        assert_eq!(sync_plan(z(1, 1), &unlimited, log), Plan::Diff { header: z(1, 4) });
    }
}
