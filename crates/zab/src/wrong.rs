//! Ways to be wrong, on purpose: what Apache's ensembles once did, and ours, put back.
//!
//! A net that has never caught anything proves nothing. With the feature `wrong`, which builds that
//! are meant for use refuse, a member can be told to make one of these mistakes; the simulator then
//! shows that it is caught, by what, and how soon. Without the feature [`is`] is a constant and
//! every mistake is compiled away. It is the same switch as the tree's, for the mistakes that lie
//! in the agreement and between it and the files; node and host know this crate and use it too.
//!
//! The choice is the one piece of state that a core room shares: it stands in for another program.

#[cfg(all(feature = "wrong", not(debug_assertions)))]
compile_error!("the feature `wrong` makes servers that lie; it is for debug builds alone");

/// One mistake, by the number of its issue if it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    /// NEWLEADER is acknowledged before anything of the history is on disk.
    Z3911,
    /// The epoch is on disk before the history that it stands for.
    Z4643,
    /// The epoch is, and NEWLEADER acknowledged, while the history is still being logged.
    Z4646,
    /// A proposal can be acknowledged before NEWLEADER, and a leader takes that for an offence.
    Z4685,
    /// A COMMIT between NEWLEADER and UPTODATE finds nothing that it could commit.
    Z4394,
    /// A COMMIT between NEWLEADER and UPTODATE is forgotten when broadcast begins.
    Z3023,
    /// A role ends while its last writes are still queued; they are logged in the next one.
    Z4712,
    /// NEWLEADER stands for proposals that are not logged.
    Z4785,
    /// What is committed in synchronisation is missing in the window that later learners get.
    Z4925,
    /// A TRUNC that is broken off leaves memory ahead of the disk.
    Z5094,
    /// A snapshot that was received is not saved.
    Z3642,
    /// NEWLEADER is acknowledged before the snapshot is complete.
    Z3104,
    /// A learner that has more than its leader is told that nothing is missing.
    Z2845,
    /// A truncation that was not done counts as done.
    Z3701,
    /// A member whose data is gone votes as a new one.
    Z2325,
    /// The log on disk is not asked for what is missing before the window.
    Z2418,
    /// A snapshot says that it has a transaction more than it has.
    Z3127,
    /// The end of a session that comes in synchronisation leaves its ephemerals.
    Z2355,
    /// A member whose data is gone counts, and votes, as soon as it has a history again: as with
    /// Apache's servers to this day.
    Wiped,
    /// A leader that a reconfiguration has replaced waits for the others to hang up.
    Refound,
    /// Who looks for long does not come round to who leads.
    InTurns,
    /// A configuration that is only proposed is in force for who joins just then.
    ProposedInForce,
    /// Who observes by the configuration in force does not count for the one under way.
    ObserversLeftOut,
    /// A reconfiguration may need the acknowledgement of a server that observes.
    ObserverNeeded,
    /// Who has seen a configuration that needs it does not find who leads by the one in force.
    NotAsItWas,
    /// What was proposed before a reconfiguration needs who is removed by it.
    RemovedNeeded,
    /// Who has lost its data leads because others still follow it.
    EmptiedLeads,
    /// A leader answers a sync without asking who follows.
    SyncAsksNobody,
    /// On a leader, a connection that its session has left still speaks for it.
    LeftSpeaks,
    /// What a voter needs that was proposed is not heard.
    Unheard,
    /// Half of the groups are a quorum.
    HalfTheGroups,
    /// One group is a quorum.
    OneGroup,
    /// Half of a group's weight speaks for the group.
    HalfTheWeight,
    /// What most of the voters have is committed, whatever their groups and weights.
    HeadsCounted,
}

impl Wrong {
    /// All of them, with the names they are chosen by.
    pub const ALL: [(&'static str, Wrong); 34] = [
        ("3911", Wrong::Z3911),
        ("4643", Wrong::Z4643),
        ("4646", Wrong::Z4646),
        ("4685", Wrong::Z4685),
        ("4394", Wrong::Z4394),
        ("3023", Wrong::Z3023),
        ("4712", Wrong::Z4712),
        ("4785", Wrong::Z4785),
        ("4925", Wrong::Z4925),
        ("5094", Wrong::Z5094),
        ("3642", Wrong::Z3642),
        ("3104", Wrong::Z3104),
        ("2845", Wrong::Z2845),
        ("3701", Wrong::Z3701),
        ("2325", Wrong::Z2325),
        ("2418", Wrong::Z2418),
        ("3127", Wrong::Z3127),
        ("2355", Wrong::Z2355),
        ("wiped", Wrong::Wiped),
        ("refound", Wrong::Refound),
        ("in-turns", Wrong::InTurns),
        ("proposed-in-force", Wrong::ProposedInForce),
        ("observers-left-out", Wrong::ObserversLeftOut),
        ("observer-needed", Wrong::ObserverNeeded),
        ("not-as-it-was", Wrong::NotAsItWas),
        ("removed-needed", Wrong::RemovedNeeded),
        ("emptied-leads", Wrong::EmptiedLeads),
        ("sync-asks-nobody", Wrong::SyncAsksNobody),
        ("left-speaks", Wrong::LeftSpeaks),
        ("unheard", Wrong::Unheard),
        ("half-the-groups", Wrong::HalfTheGroups),
        ("one-group", Wrong::OneGroup),
        ("half-the-weight", Wrong::HalfTheWeight),
        ("heads-counted", Wrong::HeadsCounted),
    ];
}

/// Whether this mistake is to be made.
#[cfg(not(feature = "wrong"))]
#[inline(always)]
pub const fn is(_: Wrong) -> bool {
    false
}

#[cfg(feature = "wrong")]
pub use chosen::{choose, is};

#[cfg(feature = "wrong")]
mod chosen {
    use core::sync::atomic::{AtomicU64, Ordering};

    use super::Wrong;

    /// One bit for each.
    static CHOSEN: AtomicU64 = AtomicU64::new(0);

    /// Whether this mistake is to be made.
    pub fn is(wrong: Wrong) -> bool {
        CHOSEN.load(Ordering::Relaxed) & (1 << wrong as u64) != 0
    }

    /// Makes the mistake of this name from now on, or several with `+` between their names, and no
    /// other; false, and nothing is changed, if one of them is none.
    pub fn choose(names: &str) -> bool {
        let bit = |name: &str| {
            let found = Wrong::ALL.iter().find(|(known, _)| *known == name);
            found.map(|(_, wrong)| 1 << *wrong as u64)
        };
        let bits: Option<Vec<u64>> = names.split('+').map(bit).collect();
        if let Some(bits) = &bits {
            CHOSEN.store(bits.iter().fold(0, |all, bit| all | bit), Ordering::Relaxed);
        }
        bits.is_some()
    }
}
