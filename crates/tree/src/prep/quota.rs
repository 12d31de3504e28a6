//! Quotas at the moment of a write (`ZooKeeperServer.checkQuota`).
//!
//! Only with `zookeeper.enforceQuota`; hard limits refuse, soft ones leave a line in the log. What
//! is compared is the *committed* usage: writes under way do not count, not even earlier ones of
//! the same multi.

use super::*;

/// A client may write at any rate above a soft limit; the log is told this often, ms.
const WARNING_INTERVAL_MS: i64 = 1000;

impl Prep<'_, '_> {
    /// Refuses what takes the quota above the path beyond a hard limit.
    pub(super) fn check_quota(&mut self, path: &str, znodes: i64, bytes: i64) -> Checked {
        if !self.rules.enforce_quota {
            return Ok(());
        }
        let Some(quota) = self.tree.quota_for(path) else { return Ok(()) };
        let (limits, used) = (&quota.limits, &quota.stats);
        let count = (limits.count, limits.count_hard_limit);
        self.check_limit(&quota.root, "count", (used.count, znodes), count)?;
        let size = (limits.bytes, limits.byte_hard_limit);
        self.check_limit(&quota.root, "bytes", (used.bytes, bytes), size)
    }

    /// `used` is what there is and what comes on top, `limits` the soft and the hard one, −1 for
    /// none. A hard limit makes the soft one meaningless.
    fn check_limit(
        &mut self,
        root: &str,
        what: &str,
        (used, more): (i64, i64),
        (soft, hard): (i64, i64),
    ) -> Checked {
        let is_hard = hard > -1;
        let limit = if is_hard { hard } else { soft };
        let used = used.saturating_add(more);
        if more == 0 || limit < 0 || used <= limit {
            return Ok(());
        }
        if self.overlay.may_warn(self.ctx.time_ms, WARNING_INTERVAL_MS) {
            let strength = if is_hard { "hard" } else { "soft" };
            tracing::warn!(path = root, used, limit, "quota exceeded: {strength} limit of {what}");
        }
        if is_hard { Err(ErrorCode::QUOTA_EXCEEDED) } else { Ok(()) }
    }
}
