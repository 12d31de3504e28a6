//! Whose turn it is: the names of contenders, decided without a client.
//!
//! Contenders of a lock are sequential znodes in one directory. Two peoples of clients order them
//! differently: Curator sorts by what follows the last `lock-`, kazoo by the ten digits that follow
//! `__lock__`. Neither sees the other's names as a contender, or sees it at a wrong place, and then
//! two own the lock. So a directory belongs to one [`Layout`], and any other name in it is an
//! error rather than an order.
//!
//! | layout | begins with | mutex, selector | latch | reader | writer |
//! |---|---|---|---|---|---|
//! | Curator | `_c_UUID-` | `lock-N` | `latch-N` | `__READ__N` | `__WRIT__N` |
//! | kazoo | 32 hex digits | `__lock__N` | the mutex | `__rlock__N` | the mutex |
//!
//! N is the directory's counter in ten digits.
//!
//! Sources: `StandardLockInternalsDriver`, `InterProcessReadWriteLock`, kazoo's `recipe/lock.py`.

use crate::error::Error;
use crate::keeper::Keeper;
use crate::port::Kind;

/// Whose names a directory follows.
///
/// ```
/// # use oxkeeper_client::Client;
/// # use oxkeeper_recipes::{Layout, Mutex};
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = &Client::connect(&servers).await?;
/// let ours = Mutex::new(zk, "/layouts/java").acquire().await?; // beside Curator's clients
/// assert!(ours.path().contains("-lock-"));
/// let ours = Mutex::new(zk, "/layouts/python").layout(Layout::Kazoo).acquire().await?;
/// assert!(ours.path().contains("__lock__"));
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Layout {
    /// Apache Curator's: excludes and is excluded by Curator's recipes.
    #[default]
    Curator,
    /// kazoo's: excludes and is excluded by kazoo's recipes.
    Kazoo,
}

impl Layout {
    /// The parents that its own clients make.
    pub(crate) fn parents(self) -> Kind {
        match self {
            Layout::Curator => Kind::Container,
            Layout::Kazoo => Kind::Persistent,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Layout::Curator => "Curator",
            Layout::Kazoo => "kazoo",
        }
    }
}

/// What a contender wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Part {
    /// A mutex, or the leadership of a selector.
    Mutex,
    /// The leadership of Curator's latch.
    Latch,
    /// To read, as one of many.
    Read,
    /// To write, alone.
    Write,
    /// A lease of Curator's semaphore.
    Lease,
}

impl Part {
    /// What stands between the unique part and the number.
    fn stem(self, layout: Layout) -> &'static str {
        match (layout, self) {
            (Layout::Curator, Part::Mutex) => "lock-",
            (Layout::Curator, Part::Latch) => "latch-",
            (Layout::Curator, Part::Read) => "__READ__",
            (Layout::Curator, Part::Write) => "__WRIT__",
            (Layout::Curator, Part::Lease) => "lease-",
            (Layout::Kazoo, Part::Read) => "__rlock__",
            (Layout::Kazoo, _) => "__lock__",
        }
    }

    /// What may stand in one directory with this.
    fn family(self) -> &'static [Part] {
        match self {
            Part::Mutex => &[Part::Mutex],
            Part::Latch => &[Part::Latch],
            Part::Read | Part::Write => &[Part::Read, Part::Write],
            Part::Lease => &[Part::Lease],
        }
    }
}

/// The unique beginning of a contender's name, by which it is found again.
pub(crate) fn mark(layout: Layout, keeper: &Keeper) -> String {
    match layout {
        Layout::Curator => format!("_c_{}-", keeper.uuid()),
        Layout::Kazoo => keeper.hex(),
    }
}

/// A contender's name without its number.
pub(crate) fn stem(layout: Layout, part: Part, mark: &str) -> String {
    format!("{mark}{}", part.stem(layout))
}

/// A name, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Contestant {
    /// By which they are ordered.
    pub number: i32,
    /// What it wants.
    pub part: Part,
    /// Its name.
    pub name: String,
}

/// What a contender has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It is its turn.
    Held,
    /// Nothing, until this one is gone.
    Behind(String),
    /// It is not among them: its znode is gone.
    Absent,
}

/// Everybody in a directory, in order.
///
/// # Errors
/// A name that is not of this layout and family, or one that the counter has spoilt.
pub(crate) fn lineup(
    layout: Layout,
    part: Part,
    dir: &str,
    names: Vec<String>,
) -> Result<Vec<Contestant>, Error> {
    let mut all = Vec::with_capacity(names.len());
    for name in names {
        match parse(layout, part, &name) {
            Some((part, Some(number))) => all.push(Contestant { number, part, name }),
            Some((_, None)) => return Err(Error::Wrapped { dir: dir.to_owned(), name }),
            None => {
                let layout = layout.name();
                return Err(Error::Foreign { dir: dir.to_owned(), name, layout });
            }
        }
    }
    all.sort_by(|a, b| (a.number, &a.name).cmp(&(b.number, &b.name)));
    Ok(all)
}

/// Which part a name plays and its number, `None` for one that is negative.
fn parse(layout: Layout, part: Part, name: &str) -> Option<(Part, Option<i32>)> {
    // Ten digits, or a minus and ten: what `%010d` makes of an i32.
    let digits = name.len() - name.bytes().rev().take_while(u8::is_ascii_digit).count();
    let (rest, digits) = name.split_at(digits);
    if digits.len() < 9 || digits.len() > 10 {
        return None;
    }
    let (rest, negative) = match rest.strip_suffix('-') {
        // Stems of Curator's end in a minus themselves.
        Some(bare) if part.family().iter().all(|part| !rest.ends_with(part.stem(layout))) => {
            (bare, true)
        }
        _ => (rest, false),
    };
    let of = |part: &&Part| {
        let unique = rest.strip_suffix(part.stem(layout));
        unique.is_some_and(|unique| is_mark(layout, unique))
    };
    let part = part.family().iter().find(of)?;
    if negative {
        return Some((*part, None));
    }
    (digits.len() == 10).then(|| (*part, digits.parse().ok()))
}

/// Curator without protection writes nothing before its stem.
fn is_mark(layout: Layout, unique: &str) -> bool {
    match layout {
        Layout::Curator => {
            let uuid = unique.strip_prefix("_c_").and_then(|rest| rest.strip_suffix('-'));
            unique.is_empty()
                || uuid.is_some_and(|uuid| {
                    uuid.len() == 36 && uuid.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
                })
        }
        Layout::Kazoo => unique.len() == 32 && unique.bytes().all(|b| b.is_ascii_hexdigit()),
    }
}

/// Whose turn it is among those in order. Readers wait for the nearest writer before them, all
/// others for the nearest of anybody: whoever leaves wakes as few as can be.
pub(crate) fn turn(lineup: &[Contestant], own: &str) -> Turn {
    let Some(place) = lineup.iter().position(|other| other.name == own) else {
        return Turn::Absent;
    };
    let before = &lineup[..place];
    let ahead = match lineup[place].part {
        Part::Read => before.iter().rfind(|other| other.part == Part::Write),
        Part::Mutex | Part::Latch | Part::Write | Part::Lease => before.last(),
    };
    ahead.map_or(Turn::Held, |other| Turn::Behind(other.name.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const A: &str = "_c_0f0e0d0c-0b0a-0908-0706-050403020100-";
    const HEX: &str = "0123456789abcdef0123456789abcdef";

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    fn of(layout: Layout, part: Part, list: &[&str]) -> Result<Vec<Contestant>, Error> {
        lineup(layout, part, "/dir", names(list))
    }

    #[test]
    fn contenders_are_ordered_by_their_number_and_wait_for_the_one_before() {
        let list =
            [&format!("{A}lock-0000000012"), &format!("{A}lock-0000000003"), "lock-0000000007"];
        let list = list.map(|name| name as &str);
        let all = of(Layout::Curator, Part::Mutex, &list).unwrap();
        assert_eq!(turn(&all, list[1]), Turn::Held);
        assert_eq!(turn(&all, list[2]), Turn::Behind(list[1].to_owned()));
        assert_eq!(turn(&all, list[0]), Turn::Behind(list[2].to_owned()));
        assert_eq!(turn(&all, "lock-0000000008"), Turn::Absent);
    }

    #[test]
    fn readers_wait_for_the_nearest_writer_and_writers_for_anybody() {
        let list = ["__WRIT__0000000001", "__READ__0000000002", "__WRIT__0000000003"];
        let more = ["__READ__0000000004", "__READ__0000000005"];
        let all = of(Layout::Curator, Part::Read, &[&list[..], &more[..]].concat()).unwrap();
        assert_eq!(turn(&all, list[1]), Turn::Behind(list[0].into()));
        assert_eq!(turn(&all, list[2]), Turn::Behind(list[1].into()));
        assert_eq!(turn(&all, more[1]), Turn::Behind(list[2].into()));
        assert_eq!(turn(&all[1..2], list[1]), Turn::Held);
        assert_eq!(turn(&all[3..], more[1]), Turn::Held, "readers share");
    }

    #[test]
    fn names_of_others_are_an_error_and_not_an_order() {
        let hex = format!("{HEX}__lock__0000000001");
        let read = format!("{HEX}__rlock__0000000001");
        let foreign = [
            (Layout::Curator, Part::Mutex, hex.as_str()),
            (Layout::Curator, Part::Mutex, "latch-0000000001"),
            (Layout::Curator, Part::Mutex, "__WRIT__0000000001"),
            (Layout::Curator, Part::Mutex, "lock-000000001"),
            (Layout::Curator, Part::Mutex, "lock-"),
            (Layout::Curator, Part::Mutex, "clock-0000000001"),
            (Layout::Curator, Part::Mutex, "_c_x-lock-0000000001"),
            (Layout::Kazoo, Part::Mutex, "lock-0000000001"),
            (Layout::Kazoo, Part::Mutex, &read),
            (Layout::Kazoo, Part::Mutex, "abc__lock__0000000001"),
            (Layout::Kazoo, Part::Mutex, "lease_holder"),
        ];
        for (layout, part, name) in foreign {
            let found = of(layout, part, &[name]);
            assert!(matches!(found, Err(Error::Foreign { .. })), "{layout:?} {name}: {found:?}");
        }
        assert!(of(Layout::Kazoo, Part::Mutex, &[&hex]).is_ok());
        assert!(of(Layout::Kazoo, Part::Write, &[&hex, &read]).is_ok());
    }

    #[test]
    fn a_counter_that_went_around_is_said() {
        for (layout, name) in [
            (Layout::Curator, "lock--2147483648".to_owned()),
            (Layout::Curator, format!("{A}lock--000000001")),
            (Layout::Kazoo, format!("{HEX}__lock__-2147483648")),
        ] {
            let found = of(layout, Part::Mutex, &[&name]);
            assert!(matches!(found, Err(Error::Wrapped { .. })), "{name}: {found:?}");
        }
    }

    proptest! {
        /// Whoever is there, one has its turn, and following who waits for whom ends with it.
        #[test]
        fn waiting_leads_to_the_one_whose_turn_it_is(
            numbers in prop::collection::btree_set(0i32.., 1..20),
        ) {
            let list: Vec<String> = numbers.iter().map(|n| format!("lock-{n:010}")).collect();
            let all = lineup(Layout::Curator, Part::Mutex, "/dir", list.clone()).unwrap();
            let held: Vec<_> = list.iter().filter(|n| turn(&all, n) == Turn::Held).collect();
            prop_assert_eq!(held, vec![&list[0]]);
            for name in &list[1..] {
                let Turn::Behind(other) = turn(&all, name) else { panic!("two") };
                prop_assert!(other < *name);
            }
        }

        /// Of readers and writers, either readers alone have it or one writer.
        #[test]
        fn a_writer_is_alone(kinds in prop::collection::vec(any::<bool>(), 1..20)) {
            let name = |(at, writes): (usize, &bool)| match writes {
                true => format!("__WRIT__{at:010}"),
                false => format!("__READ__{at:010}"),
            };
            let list: Vec<String> = kinds.iter().enumerate().map(name).collect();
            let all = lineup(Layout::Curator, Part::Write, "/dir", list.clone()).unwrap();
            let held: Vec<_> = list.iter().filter(|n| turn(&all, n) == Turn::Held).collect();
            prop_assert!(!held.is_empty());
            prop_assert!(held.len() == 1 || held.iter().all(|n| n.contains("READ")));
        }

        #[test]
        fn no_name_panics(name in ".{0,60}", kazoo: bool) {
            let layout = if kazoo { Layout::Kazoo } else { Layout::Curator };
            let _ = lineup(layout, Part::Write, "/dir", vec![name]);
        }
    }
}
