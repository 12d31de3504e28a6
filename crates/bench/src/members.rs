//! The servers behind one target: one alone, or the members of an ensemble.
//!
//! What a request costs an ensemble is what it costs all of its processes together. How much of
//! that falls on the leader is worth knowing by itself, since the leader is what cannot be had
//! more of; so members are told apart by what their `srvr` says they are.

use std::net::SocketAddr;

use oxkeeper_proto::Zxid;

use crate::procfs::CpuTime;
use crate::session::admin_word;

/// What a member says it is, in the line `Mode:` of `srvr`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// Part of an ensemble, taking its orders; clients are usually here.
    Follower,
    /// The same without a vote.
    Observer,
    /// Proposes what others acknowledge.
    Leader,
    /// No ensemble.
    Standalone,
    /// It does not say, or does not serve.
    Unknown,
}

impl Mode {
    /// The mode in the text of `srvr`.
    pub fn in_srvr(text: &str) -> Mode {
        match text.lines().find_map(|line| line.strip_prefix("Mode: ")) {
            Some("follower") => Mode::Follower,
            Some("observer") => Mode::Observer,
            Some("leader") => Mode::Leader,
            Some("standalone") => Mode::Standalone,
            _ => Mode::Unknown,
        }
    }

    /// Whether it carries out what another one leads.
    pub fn learns(self) -> bool {
        matches!(self, Mode::Follower | Mode::Observer)
    }
}

/// The zxid in the text of `srvr`.
pub fn zxid_in_srvr(text: &str) -> Option<Zxid> {
    let digits = text.lines().find_map(|line| line.strip_prefix("Zxid: 0x"))?;
    i64::from_str_radix(digits.trim(), 16).ok().map(Zxid)
}

/// What a server says of itself now; nothing if it cannot be asked.
pub fn state(address: SocketAddr) -> (Mode, Option<Zxid>) {
    let text = admin_word(address, "srvr").unwrap_or_default();
    (Mode::in_srvr(&text), zxid_in_srvr(&text))
}

/// One server.
#[derive(Debug, Clone)]
pub struct Member {
    /// Where its clients go.
    pub address: SocketAddr,
    /// Its process, if it can be seen.
    pub pid: Option<u32>,
    /// What it said it was when it was last asked.
    pub mode: Mode,
}

/// The processes of all members.
#[derive(Debug, Clone, Default)]
pub struct Processes(Vec<(u32, Mode)>);

impl Processes {
    /// One process.
    pub fn one(pid: u32) -> Processes {
        Processes(vec![(pid, Mode::Standalone)])
    }

    /// Those of all members; none unless all are known, for a sum with a part missing misleads.
    pub fn of(members: &[Member]) -> Processes {
        let all: Option<Vec<_>> =
            members.iter().map(|member| Some((member.pid?, member.mode))).collect();
        Processes(all.unwrap_or_default())
    }

    /// Process ids with what each one is.
    pub fn iter(&self) -> impl Iterator<Item = (u32, Mode)> {
        self.0.iter().copied()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// CPU times up to now; `None` if any is unknown.
    pub fn cpu(&self) -> Option<CpuTimes> {
        let times: Option<Vec<_>> =
            self.iter().map(|(pid, mode)| Some((mode, CpuTime::of(pid).ok()?))).collect();
        times.filter(|times| !times.is_empty()).map(CpuTimes)
    }
}

/// CPU times of all members up to some moment.
#[derive(Debug)]
pub struct CpuTimes(Vec<(Mode, CpuTime)>);

/// CPU time spent between two moments, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spent {
    /// By all members.
    pub all_ns: u64,
    /// By the leader, if there is one.
    pub leader_ns: Option<u64>,
    /// By a follower or observer, the mean of them.
    pub follower_ns: Option<u64>,
}

impl CpuTimes {
    /// What was spent between `earlier` and this.
    pub fn since(&self, earlier: &CpuTimes) -> Spent {
        let pairs = self.0.iter().zip(&earlier.0);
        let each: Vec<(Mode, u64)> =
            pairs.map(|((mode, now), (_, then))| (*mode, now.since_ns(then))).collect();
        Spent::of(&each)
    }
}

impl Spent {
    fn of(each: &[(Mode, u64)]) -> Spent {
        let all_ns = each.iter().map(|(_, ns)| ns).sum();
        let leader_ns = each.iter().find(|(mode, _)| *mode == Mode::Leader).map(|(_, ns)| *ns);
        let learners: Vec<u64> =
            each.iter().filter(|(mode, _)| mode.learns()).map(|(_, ns)| *ns).collect();
        let follower_ns = learners.iter().sum::<u64>().checked_div(learners.len() as u64);
        Spent { all_ns, leader_ns, follower_ns }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_what_its_srvr_says() {
        let text = "Latency min/avg/max: 0/0.0/0\nZxid: 0x10000002a\nMode: leader\nNode count: 5\n";
        assert_eq!(Mode::in_srvr(text), Mode::Leader);
        assert_eq!(zxid_in_srvr(text), Some(Zxid(0x1_0000_002a)));
        let silent = "This ZooKeeper instance is not currently serving requests\n";
        assert_eq!((Mode::in_srvr(silent), zxid_in_srvr(silent)), (Mode::Unknown, None));
    }

    #[test]
    fn time_is_summed_and_told_apart_by_role() {
        let each = [(Mode::Follower, 10), (Mode::Leader, 70), (Mode::Observer, 20)];
        let spent = Spent { all_ns: 100, leader_ns: Some(70), follower_ns: Some(15) };
        assert_eq!(Spent::of(&each), spent);
        let alone = Spent { all_ns: 5, leader_ns: None, follower_ns: None };
        assert_eq!(Spent::of(&[(Mode::Standalone, 5)]), alone);
    }

    #[test]
    fn a_missing_process_leaves_no_sum() {
        let address = "127.0.0.1:1".parse().unwrap();
        let member = |pid| Member { address, pid, mode: Mode::Follower };
        assert!(Processes::of(&[member(Some(1)), member(None)]).is_empty());
        assert_eq!(Processes::of(&[member(Some(1)), member(Some(2))]).iter().count(), 2);
    }
}
