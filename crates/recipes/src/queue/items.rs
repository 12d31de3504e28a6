//! Names and bytes of items.
//!
//! | layout | name | data |
//! |---|---|---|
//! | ZooKeeper | `qn-` number | as it is |
//! | Curator | `queue-` number | framed |
//! | Curator, priority | `queue-`, 1 for ≥ 0 or 0 for < 0, eight hex digits, number | framed |
//! | Curator, delay | `queue-\|` hex ms `\|` number | framed |
//! | kazoo | `entry-` three digits `-` number | as it is |
//!
//! A frame of Curator's (`ItemSerializer`) is the version `00 01 00 01`, then per item `01`, its
//! length as an int and its bytes, then `02`.

use crate::error::Error;
use crate::port::Kind;

/// The priority that kazoo takes when none is named.
pub(crate) const PRIORITY: i32 = 100;

const VERSION: [u8; 4] = [0, 1, 0, 1];
const ITEM: u8 = 1;
const END: u8 = 2;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Names {
    Zookeeper,
    Curator,
    CuratorPriority,
    CuratorDelay,
    KazooPriority,
}

/// An item in its place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    /// When it can be taken, ms since 1970; 0 for at once.
    pub due_ms: i64,
    pub name: String,
}

impl Names {
    pub(crate) fn parents(self) -> Kind {
        match self {
            Names::Zookeeper | Names::KazooPriority => Kind::Persistent,
            Names::Curator | Names::CuratorPriority | Names::CuratorDelay => Kind::Container,
        }
    }

    /// A name without its number.
    pub(crate) fn stem(self, priority: i32, due_ms: i64) -> Result<String, Error> {
        Ok(match self {
            Names::Zookeeper => "qn-".to_owned(),
            Names::Curator => "queue-".to_owned(),
            Names::CuratorPriority => {
                format!("queue-{}{priority:08X}", u8::from(priority >= 0))
            }
            Names::CuratorDelay if due_ms > 0 => format!("queue-|{due_ms:08X}|"),
            Names::KazooPriority if (0..1000).contains(&priority) => {
                format!("entry-{priority:03}-")
            }
            Names::CuratorDelay => {
                return Err(Error::Invalid(format!("{due_ms} is no moment after 1970")));
            }
            Names::KazooPriority => {
                return Err(Error::Invalid(format!("priority {priority} is not in 0 to 999")));
            }
        })
    }

    /// The items among these names, the first to be taken first.
    pub(crate) fn in_order(self, names: Vec<String>) -> Vec<Entry> {
        let mut all: Vec<Entry> = names
            .into_iter()
            .filter_map(|name| Some(Entry { due_ms: self.due(&name)?, name }))
            .collect();
        all.sort();
        all
    }

    /// When an item is due; `None` for a name that is none.
    fn due(self, name: &str) -> Option<i64> {
        let prefix = match self {
            Names::Zookeeper => "qn-",
            Names::Curator | Names::CuratorPriority | Names::CuratorDelay => "queue-",
            Names::KazooPriority => "entry-",
        };
        let rest = name.strip_prefix(prefix)?;
        if self != Names::CuratorDelay {
            return Some(0);
        }
        // Curator takes an item without a moment as due.
        let moment = rest.strip_prefix('|').and_then(|rest| rest.split_once('|'));
        Some(moment.and_then(|(hex, _)| i64::from_str_radix(hex, 16).ok()).unwrap_or(0))
    }

    /// The data of one item.
    pub(crate) fn pack(self, data: &[u8]) -> Vec<u8> {
        match self {
            Names::Zookeeper | Names::KazooPriority => data.to_vec(),
            Names::Curator | Names::CuratorPriority | Names::CuratorDelay => {
                let mut out = Vec::with_capacity(data.len() + 10);
                out.extend(VERSION);
                out.push(ITEM);
                out.extend((data.len() as u32).to_be_bytes());
                out.extend(data);
                out.push(END);
                out
            }
        }
    }

    /// What is in an item's data.
    pub(crate) fn unpack(self, path: &str, data: Vec<u8>) -> Result<Vec<Vec<u8>>, Error> {
        match self {
            Names::Zookeeper | Names::KazooPriority => Ok(vec![data]),
            Names::Curator | Names::CuratorPriority | Names::CuratorDelay => unframe(&data)
                .map_err(|problem| Error::Data {
                    path: path.to_owned(),
                    problem: problem.to_owned(),
                }),
        }
    }
}

fn unframe(data: &[u8]) -> Result<Vec<Vec<u8>>, &'static str> {
    let mut rest = data.strip_prefix(&VERSION).ok_or("no frame of Curator's queue")?;
    let mut parts = Vec::new();
    loop {
        match rest {
            [END, ..] => return Ok(parts),
            [ITEM, a, b, c, d, after @ ..] => {
                let len = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
                let (part, after) = after.split_at_checked(len).ok_or("a frame cut short")?;
                parts.push(part.to_vec());
                rest = after;
            }
            [ITEM, ..] | [] => return Err("a frame cut short"),
            [_, ..] => return Err("a frame with an unknown mark"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_those_of_curator_and_kazoo() {
        let stem = |names: Names, priority, due| names.stem(priority, due).unwrap();
        assert_eq!(stem(Names::Zookeeper, 1, 1), "qn-");
        assert_eq!(stem(Names::Curator, 1, 1), "queue-");
        assert_eq!(stem(Names::CuratorPriority, 10, 0), "queue-10000000A");
        assert_eq!(stem(Names::CuratorPriority, -1, 0), "queue-0FFFFFFFF");
        assert_eq!(stem(Names::CuratorDelay, 0, 0x1234_5678_9ABC), "queue-|123456789ABC|");
        assert_eq!(stem(Names::CuratorDelay, 0, 255), "queue-|000000FF|");
        assert_eq!(stem(Names::KazooPriority, 7, 0), "entry-007-");
        assert!(Names::KazooPriority.stem(1000, 0).is_err());
        assert!(Names::CuratorDelay.stem(0, 0).is_err());
    }

    #[test]
    fn delays_are_ordered_by_their_moment_and_not_by_their_digits() {
        let names = ["queue-|123456789ABC|0000000001", "queue-|FF000000|0000000002", "other"];
        let all = Names::CuratorDelay.in_order(names.map(str::to_owned).to_vec());
        let order: Vec<_> = all.iter().map(|entry| (entry.due_ms, entry.name.as_str())).collect();
        assert_eq!(order, [(0xff00_0000, names[1]), (0x1234_5678_9abc, names[0])]);
    }

    #[test]
    fn frames_are_read_and_broken_ones_are_said() {
        assert_eq!(Names::Curator.pack(b"ab"), b"\0\x01\0\x01\x01\0\0\0\x02ab\x02");
        let two = b"\0\x01\0\x01\x01\0\0\0\x01a\x01\0\0\0\0\x02";
        assert_eq!(unframe(two).unwrap(), [b"a".to_vec(), Vec::new()]);
        for end in 0..two.len() {
            assert!(unframe(&two[..end]).is_err(), "{end}");
        }
        assert!(unframe(b"\0\x01\0\x01\x01\xff\xff\xff\xffa\x02").is_err());
    }

    proptest! {
        #[test]
        fn priorities_sort_as_numbers_do(mut list in prop::collection::vec(any::<i32>(), 2..20)) {
            let stem = |p: &i32| Names::CuratorPriority.stem(*p, 0).unwrap();
            let name = |p: &i32| format!("{}0000000001", stem(p));
            let names = list.iter().map(name).collect();
            let sorted = Names::CuratorPriority.in_order(names);
            list.sort_unstable();
            let expected: Vec<String> = list.iter().map(name).collect();
            prop_assert_eq!(sorted.into_iter().map(|e| e.name).collect::<Vec<_>>(), expected);
        }

        #[test]
        fn no_frame_panics(data in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = unframe(&[&VERSION[..], &data].concat());
        }
    }
}
