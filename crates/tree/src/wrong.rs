//! Ways to be wrong, on purpose.
//!
//! A net that has never caught anything proves nothing. With the feature `wrong`, which builds that
//! are meant for use refuse, a server can be told to make one of these mistakes; the conformance
//! run then shows that it is caught, by what, and how soon. Without the feature [`is`] is a
//! constant and every mistake is compiled away.
//!
//! The choice is the one piece of state that a core room shares: it stands in for another program.

#[cfg(all(feature = "wrong", not(debug_assertions)))]
compile_error!("the feature `wrong` makes servers that lie; it is for debug builds alone");

/// One mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    /// Clients are shown the stored cversion, which counts creations alone.
    WireCversion,
    /// A deletion leaves the parent's pzxid where it was.
    PzxidNotMoved,
    /// A client hears of its own change after the answer.
    EventAfterReply,
    /// A standard watch stays when it has fired.
    WatchFiredTwice,
    /// DELETE is asked of the znode, not of its parent.
    DeleteCheckedOnNode,
    /// What precedes the failed part of a multi is done.
    FailedMultiHalfApplied,
    /// Sequence numbers count the siblings with the same prefix.
    SequencePerPrefix,
    /// exists leaves no watch where there is no znode.
    ExistsWatchLost,
    /// A session's end spares one of its ephemerals.
    CloseLeavesEphemeral,
    /// The outermost quota counts, not the innermost.
    QuotaOnWrongNode,
    /// Sessions live a tick longer.
    TimeoutOffByATick,
    /// A znode created with null data holds empty data.
    NullDataEmpty,
    /// Events go to whoever watches, allowed to read or not.
    EventUnfiltered,
    /// Ephemerals may have children.
    ChildOfEphemeral,
    /// getACL shows digests to whoever may not administer.
    AclUnmasked,
}

impl Wrong {
    /// All of them, with the names they are chosen by.
    pub const ALL: [(&'static str, Wrong); 15] = [
        ("wire-cversion", Wrong::WireCversion),
        ("pzxid-not-moved", Wrong::PzxidNotMoved),
        ("event-after-reply", Wrong::EventAfterReply),
        ("watch-fired-twice", Wrong::WatchFiredTwice),
        ("delete-checked-on-node", Wrong::DeleteCheckedOnNode),
        ("failed-multi-half-applied", Wrong::FailedMultiHalfApplied),
        ("sequence-per-prefix", Wrong::SequencePerPrefix),
        ("exists-watch-lost", Wrong::ExistsWatchLost),
        ("close-leaves-ephemeral", Wrong::CloseLeavesEphemeral),
        ("quota-on-wrong-node", Wrong::QuotaOnWrongNode),
        ("timeout-off-by-a-tick", Wrong::TimeoutOffByATick),
        ("null-data-empty", Wrong::NullDataEmpty),
        ("event-unfiltered", Wrong::EventUnfiltered),
        ("child-of-ephemeral", Wrong::ChildOfEphemeral),
        ("acl-unmasked", Wrong::AclUnmasked),
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
    use core::sync::atomic::{AtomicU32, Ordering};

    use super::Wrong;

    static CHOSEN: AtomicU32 = AtomicU32::new(u32::MAX);

    /// Whether this mistake is to be made.
    pub fn is(wrong: Wrong) -> bool {
        CHOSEN.load(Ordering::Relaxed) == wrong as u32
    }

    /// Makes the mistake of this name from now on; false if there is none.
    pub fn choose(name: &str) -> bool {
        let found = Wrong::ALL.iter().find(|(known, _)| *known == name);
        if let Some((_, wrong)) = found {
            CHOSEN.store(*wrong as u32, Ordering::Relaxed);
        }
        found.is_some()
    }
}
