//! Which faults there are, and how they are drawn.
//!
//! A [`Fault`] says what happens in terms of places: members are named by their ids, or by the part
//! that they play when the time has come. So the same seed draws the same faults, although which
//! member leads is decided by the machine.

use std::fmt;
use std::time::Duration;

use crate::differential::rng::Rng;

/// A member, before it is known which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    /// The one of this id.
    Member(i64),
    /// Whoever leads.
    Leader,
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Who::Member(sid) => write!(f, "{sid}"),
            Who::Leader => f.write_str("the leader"),
        }
    }
}

/// How a connection is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    /// Nothing arrives, nothing breaks.
    Silent,
    /// Connections break.
    Broken,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Loss::Silent => "silently",
            Loss::Broken => "with a bang",
        })
    }
}

/// What somebody is in the middle of when the power goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Midst {
    /// Writing a snapshot of its own.
    Snapshot,
    /// Taking over the leader's snapshot.
    Snap,
    /// Forgetting what nobody else has.
    Trunc,
}

/// What happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Some are killed at once; a majority is left.
    Kill { who: Who, also: Option<i64>, away: Duration },
    /// The power fails in the whole room.
    KillAll,
    /// One stands still.
    Freeze { who: Who, lasts: Duration },
    /// Each is stopped and started by its operator, one after the other.
    Rolling,
    /// One, or two of five, cannot be reached by the others and the other way round.
    Partition { who: Who, also: Option<i64>, loss: Loss, lasts: Duration },
    /// What one sends does not arrive at the others, or what they send does not arrive there.
    OneWay { who: Who, deaf: bool, lasts: Duration },
    /// Two sides do not see each other, and one member sees both.
    Bridge { bridge: i64, lasts: Duration },
    /// Everything arrives later.
    Slow { delay: Duration, lasts: Duration },
    /// Now and then packets are lost, and come later.
    Lossy { lasts: Duration },
    /// One's disk takes nothing more.
    DiskFull { who: Who },
    /// One loses all that it holds, and comes back.
    Wipe { who: Who },
    /// One is cut off with what it was about to do, killed, and comes back.
    Overtaken { who: Who, loss: Loss },
    /// One is killed when it is in the middle of something, or its leader is.
    Amid { midst: Midst, sid: i64, leader_dies: bool },
    /// The whole ensemble freezes, each for a time of its own.
    FreezeAll { lasts: Duration },
    /// The clock of one is set so many seconds off, and set right again.
    ClockStep { who: Who, off_s: i64, lasts: Duration },
}

/// What can be done to these members.
#[derive(Clone, Copy, Debug)]
pub(super) struct Possible {
    /// The network can delay.
    pub(super) slow_links: bool,
    /// Members have clocks of their own.
    pub(super) clock_steps: bool,
}

impl Fault {
    /// The word by which faults of a kind are counted.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Fault::Kill { also: None, .. } => "kill",
            Fault::Kill { .. } => "kill-two",
            Fault::KillAll => "kill-all",
            Fault::Freeze { .. } => "freeze",
            Fault::FreezeAll { .. } => "freeze-all",
            Fault::ClockStep { .. } => "clock-step",
            Fault::Rolling => "rolling-restart",
            Fault::Partition { .. } => "partition",
            Fault::OneWay { .. } => "one-way",
            Fault::Bridge { .. } => "bridge",
            Fault::Slow { .. } => "slow",
            Fault::Lossy { .. } => "lossy",
            Fault::DiskFull { .. } => "disk-full",
            Fault::Wipe { .. } => "wipe",
            Fault::Overtaken { .. } => "overtaken",
            Fault::Amid { midst: Midst::Snapshot, .. } => "kill-in-snapshot",
            Fault::Amid { midst: Midst::Snap, .. } => "kill-in-SNAP",
            Fault::Amid { midst: Midst::Trunc, .. } => "kill-in-TRUNC",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let and = |also: &Option<i64>| also.map_or(String::new(), |sid| format!(" and {sid}"));
        write!(f, "{}: ", self.kind())?;
        match self {
            Fault::Kill { who, also, away } => write!(f, "{who}{}, for {away:?}", and(also)),
            Fault::KillAll => f.write_str("everybody"),
            Fault::Freeze { who, lasts } => write!(f, "{who}, for {lasts:?}"),
            Fault::FreezeAll { lasts } => write!(f, "everybody, for {lasts:?}"),
            Fault::ClockStep { who, off_s, lasts } => {
                write!(f, "{who}, {off_s:+} s, for {lasts:?}")
            }
            Fault::Rolling => f.write_str("everybody, one after the other"),
            Fault::Partition { who, also, loss, lasts } => {
                write!(f, "{who}{} from the others, {loss}, for {lasts:?}", and(also))
            }
            Fault::OneWay { who, deaf, lasts } => {
                write!(f, "{who} is {}, for {lasts:?}", if *deaf { "deaf" } else { "dumb" })
            }
            Fault::Bridge { bridge, lasts } => write!(f, "only {bridge} sees all, for {lasts:?}"),
            Fault::Slow { delay, lasts } => write!(f, "{delay:?} one way, for {lasts:?}"),
            Fault::Lossy { lasts } => write!(f, "for {lasts:?}"),
            Fault::DiskFull { who } | Fault::Wipe { who } => write!(f, "{who}"),
            Fault::Overtaken { who, loss } => write!(f, "{who} is cut off {loss} and killed"),
            Fault::Amid { sid, leader_dies, .. } => {
                write!(
                    f,
                    "{sid} comes to it, {} dies",
                    if *leader_dies { "its leader" } else { "it" }
                )
            }
        }
    }
}

/// How far a clock is set off, at most: a day.
const OFF_S_MAX: usize = 86_400;

/// The next fault for members 1 to `count`.
pub(super) fn draw(rng: &mut Rng, count: i64, possible: Possible) -> Fault {
    let who = who(rng, count);
    let loss = if rng.chance(60) { Loss::Silent } else { Loss::Broken };
    let sid = any(rng, count);
    // A second one of five; if it turns out to be the first, there is only one.
    let also = (count == 5 && rng.chance(50)).then(|| any(rng, count));
    let also = also.filter(|&sid| who != Who::Member(sid));
    let lasts = Duration::from_millis(u64::try_from(300 + rng.below(3_700)).unwrap_or(300));
    let short = lasts / 4;
    let off_s = i64::try_from(rng.below(OFF_S_MAX)).unwrap_or(0) + 1;
    let off_s = if rng.chance(50) { -off_s } else { off_s };
    if possible.clock_steps && rng.chance(15) {
        return Fault::ClockStep { who, off_s, lasts };
    }
    match rng.below(100) {
        0..13 => Fault::Kill { who, also, away: short },
        13..17 => Fault::KillAll,
        17..25 => Fault::Freeze { who, lasts },
        25..27 => Fault::FreezeAll { lasts },
        27..33 => Fault::Rolling,
        33..47 => Fault::Partition { who, also, loss, lasts },
        47..55 => Fault::OneWay { who, deaf: rng.chance(50), lasts },
        55..60 => Fault::Bridge { bridge: sid, lasts },
        60..64 if possible.slow_links => {
            Fault::Slow { delay: Duration::from_millis(5 + lasts.as_millis() as u64 / 50), lasts }
        }
        60..68 => Fault::Lossy { lasts },
        68..75 => Fault::DiskFull { who },
        75..81 => Fault::Wipe { who },
        81..88 => Fault::Overtaken { who: Who::Leader, loss },
        88..93 => Fault::Amid { midst: Midst::Snapshot, sid, leader_dies: false },
        93..97 => Fault::Amid { midst: Midst::Snap, sid, leader_dies: rng.chance(40) },
        _ => Fault::Amid { midst: Midst::Trunc, sid, leader_dies: false },
    }
}

fn who(rng: &mut Rng, count: i64) -> Who {
    if rng.chance(45) { Who::Leader } else { Who::Member(any(rng, count)) }
}

fn any(rng: &mut Rng, count: i64) -> i64 {
    let at = rng.below(usize::try_from(count).unwrap_or(1));
    i64::try_from(at).unwrap_or(0) + 1
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const ALL: Possible = Possible { slow_links: true, clock_steps: true };

    #[test]
    fn a_seed_draws_the_same_faults_and_many_seeds_draw_all_kinds() {
        let drawn = |seed| {
            let mut rng = Rng::new(seed);
            (0..50).map(|_| draw(&mut rng, 5, ALL)).collect::<Vec<_>>()
        };
        assert_eq!(drawn(7), drawn(7));
        let kinds: BTreeSet<_> = (0..40).flat_map(drawn).map(|fault| fault.kind()).collect();
        assert_eq!(kinds.len(), 18, "{kinds:?}");
    }

    #[test]
    fn three_members_never_lose_two_by_one_fault() {
        let mut rng = Rng::new(1);
        for _ in 0..500 {
            let two = matches!(
                draw(&mut rng, 3, ALL),
                Fault::Kill { also: Some(_), .. } | Fault::Partition { also: Some(_), .. }
            );
            assert!(!two);
        }
    }
}
