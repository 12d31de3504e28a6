//! Which server next, and how long to wait before it.
//!
//! The list is shuffled once, so that the clients of an ensemble spread over it, and then walked
//! round and round (`StaticHostProvider`). Names stay names: whoever dials resolves them, each
//! time anew. The first dial is immediate. Every further one waits a random time within a window
//! that doubles with each full round without success: clients that lost the same server come back
//! spread out, and an ensemble that is down is not hammered.
//!
//! When the ensemble changes, some clients move so that every server ends up with an equal share,
//! each drawing for itself (ZOOKEEPER-1355; `StaticHostProvider.updateServerList`).

use super::chance::Chance;
use super::chroot::{Chroot, PathError};
use super::limits::HOSTS_MAX;

/// The port of a host that names none.
///
/// ```
/// use oxkeeper_client::core::{ConnectString, PORT_DEFAULT};
///
/// assert_eq!(ConnectString::parse("zk1")?.hosts()[0].port, PORT_DEFAULT);
/// # Ok::<(), oxkeeper_client::ConnectStringError>(())
/// ```
pub const PORT_DEFAULT: u16 = 2181;

/// A server as the user named it.
///
/// ```
/// use oxkeeper_client::core::ConnectString;
///
/// let connect = ConnectString::parse("[2001:db8::1]:2182")?;
/// let host = &connect.hosts()[0];
/// assert_eq!((host.name.as_str(), host.port), ("2001:db8::1", 2182));
/// # Ok::<(), oxkeeper_client::ConnectStringError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Host {
    /// A name or an address, without brackets.
    pub name: String,
    /// The client port.
    pub port: u16,
}

/// Why a connect string cannot be used.
///
/// ```
/// use oxkeeper_client::ConnectStringError;
/// use oxkeeper_client::core::ConnectString;
///
/// assert_eq!(ConnectString::parse(" , /app"), Err(ConnectStringError::NoHost));
/// let error = ConnectString::parse("zk1:port").expect_err("no port");
/// assert_eq!(error.to_string(), r#""zk1:port" is not host, host:port or [address]:port"#);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectStringError {
    /// No host is named.
    #[error("the connect string names no host")]
    NoHost,
    /// More than anybody runs.
    #[error("{0} hosts in the connect string, at most {HOSTS_MAX} are accepted")]
    TooManyHosts(usize),
    /// Not a host with an optional port.
    #[error("{0:?} is not host, host:port or [address]:port")]
    Host(String),
    /// The part behind the hosts is no path.
    #[error("the chroot of the connect string: {0}")]
    Chroot(#[from] PathError),
}

/// Hosts and chroot: `host[:port][,host[:port]…][/chroot]` (`ConnectStringParser`).
///
/// ```
/// use oxkeeper_client::core::ConnectString;
///
/// let connect = ConnectString::parse("zk1, zk2:2182/app")?;
/// assert_eq!(connect.hosts().len(), 2);
/// assert_eq!(connect.chroot().path(), "/app");
/// # Ok::<(), oxkeeper_client::ConnectStringError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectString {
    hosts: Vec<Host>,
    chroot: Chroot,
}

impl ConnectString {
    /// Reads a connect string. IPv6 addresses stand in brackets; spaces around hosts and empty
    /// entries are passed over.
    ///
    /// ```
    /// use oxkeeper_client::core::ConnectString;
    ///
    /// assert!(ConnectString::parse("zk1:2181,zk2:2181").is_ok());
    /// assert!(ConnectString::parse("2001:db8::1").is_err(), "an address of IPv6 needs brackets");
    /// assert!(ConnectString::parse("zk1/app/").is_err());
    /// ```
    pub fn parse(text: &str) -> Result<ConnectString, ConnectStringError> {
        let (hosts, chroot) = text.find('/').map_or((text, ""), |at| text.split_at(at));
        let chroot = Chroot::new(chroot)?;
        let hosts = hosts.split(',').map(str::trim).filter(|host| !host.is_empty());
        let hosts: Vec<Host> = hosts.map(parse_host).collect::<Result<_, _>>()?;
        match hosts.len() {
            0 => Err(ConnectStringError::NoHost),
            len if len > HOSTS_MAX => Err(ConnectStringError::TooManyHosts(len)),
            _ => Ok(ConnectString { hosts, chroot }),
        }
    }

    /// The hosts in the order they were named; never empty.
    ///
    /// ```
    /// use oxkeeper_client::core::ConnectString;
    ///
    /// let connect = ConnectString::parse("zk2,zk1,zk2")?;
    /// let names: Vec<_> = connect.hosts().iter().map(|host| host.name.as_str()).collect();
    /// assert_eq!(names, ["zk2", "zk1", "zk2"]);
    /// # Ok::<(), oxkeeper_client::ConnectStringError>(())
    /// ```
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// The chroot.
    ///
    /// ```
    /// use oxkeeper_client::core::ConnectString;
    ///
    /// assert_eq!(ConnectString::parse("zk1,zk2/team/app")?.chroot().path(), "/team/app");
    /// # Ok::<(), oxkeeper_client::ConnectStringError>(())
    /// ```
    pub fn chroot(&self) -> &Chroot {
        &self.chroot
    }
}

fn parse_host(text: &str) -> Result<Host, ConnectStringError> {
    let fault = || ConnectStringError::Host(text.to_owned());
    let (name, port) = match text.strip_prefix('[') {
        Some(bracketed) => bracketed.split_once(']').ok_or_else(fault)?,
        None => text.rfind(':').map_or((text, ""), |at| text.split_at(at)),
    };
    let port = match (port, port.strip_prefix(':')) {
        // Java passes over a colon with nothing behind it.
        ("" | ":", _) => PORT_DEFAULT,
        (_, Some(digits)) => digits.parse().map_err(|_| fault())?,
        _ => return Err(fault()),
    };
    let bare_v6 = !text.starts_with('[') && name.contains(':');
    if name.is_empty() || bare_v6 || name.contains(char::is_whitespace) || port == 0 {
        return Err(fault());
    }
    Ok(Host { name: name.to_owned(), port })
}

/// The window of the random delay before a dial, ms.
///
/// ```
/// use oxkeeper_client::Backoff;
///
/// let gentle = Backoff { max_ms: 30_000, ..Backoff::default() };
/// assert_eq!(gentle, Backoff { first_ms: 100, max_ms: 30_000 });
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// Its size in the first round through the hosts.
    pub first_ms: u64,
    /// What it grows to.
    pub max_ms: u64,
}

impl Default for Backoff {
    /// Java waits up to 1 s before every dial but the first, and one more when it comes back to
    /// where it was. A tenth of that serves a single lost server better; a lost ensemble is asked
    /// as seldom as Java does.
    fn default() -> Self {
        Backoff { first_ms: 100, max_ms: 2000 }
    }
}

/// The shuffled list and the place in it.
#[derive(Debug)]
pub(crate) struct Hosts {
    list: Vec<Host>,
    next: usize,
    /// The host dialled last.
    last: Option<usize>,
    /// Dials since the last session was established, or ever.
    tried: usize,
    backoff: Backoff,
    /// Where a probe found a writable server: dialled next.
    preferred: Option<usize>,
    probe: usize,
    moving: Option<Move>,
}

/// On the way to a better place after the list has changed.
#[derive(Debug)]
struct Move {
    /// Hosts that were in the list before, and those that are new in it, still to be tried.
    old: Vec<usize>,
    new: Vec<usize>,
    /// Out of [`ODDS`]: how likely a new one is tried first.
    odds_of_new: u64,
}

/// Probabilities are counted in parts of this.
const ODDS: u64 = 1 << 32;

impl Hosts {
    pub(crate) fn new(mut list: Vec<Host>, backoff: Backoff, chance: &mut Chance) -> Hosts {
        chance.shuffle(&mut list);
        Hosts {
            list,
            next: 0,
            last: None,
            tried: 0,
            backoff,
            preferred: None,
            probe: 0,
            moving: None,
        }
    }

    /// Takes a new list. True if this client is one of those that have to move.
    pub(crate) fn replace(&mut self, mut list: Vec<Host>, chance: &mut Chance) -> bool {
        chance.shuffle(&mut list);
        let mine = self.list[self.last.unwrap_or(self.next)].clone();
        let before = self.list.len() as u64;
        let (old, new): (Vec<_>, Vec<_>) =
            (0..list.len()).partition(|at| self.list.contains(&list[*at]));
        let (all, kept) = (list.len() as u64, old.len() as u64);
        let stays = list.iter().position(|host| *host == mine);
        let odds_of_new = if all > before {
            // Every server is to have before/all of what it had; the new ones get the rest.
            let moves = stays.is_none() || chance.below(all) >= before;
            moves.then_some(ODDS)
        } else if stays.is_none() {
            // Servers left: those that stay take more, up to an equal share.
            let of_old = kept * (before - all) * ODDS / (all * (before - kept)).max(1);
            Some(ODDS - of_old.min(ODDS))
        } else {
            None
        };
        self.list = list;
        self.preferred = None;
        self.last = stays;
        self.next = stays.map_or(0, |at| (at + 1) % self.list.len());
        self.probe = self.next;
        self.moving = odds_of_new.map(|odds_of_new| Move { old, new, odds_of_new });
        self.moving.is_some()
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// How long to wait before the next dial, µs.
    pub(crate) fn delay_us(&self, chance: &mut Chance) -> u64 {
        if self.preferred.is_some() || self.moving.is_some() {
            return 0;
        }
        let rounds = (self.tried / self.list.len()).min(32) as u32;
        let window_ms = self.backoff.first_ms.saturating_mul(1 << rounds);
        chance.below(window_ms.min(self.backoff.max_ms).saturating_mul(1000))
    }

    /// The host to dial now.
    pub(crate) fn next(&mut self, chance: &mut Chance) -> Host {
        let better = self.moving.as_mut().and_then(|moving| {
            let new_first = chance.below(ODDS) < moving.odds_of_new;
            let (first, second) = match new_first {
                true => (&mut moving.new, &mut moving.old),
                false => (&mut moving.old, &mut moving.new),
            };
            first.pop().or_else(|| second.pop())
        });
        if better.is_none() {
            self.moving = None;
        }
        let at = better.or(self.preferred.take()).unwrap_or(self.next);
        self.last = Some(at);
        self.next = (at + 1) % self.list.len();
        self.tried = self.tried.saturating_add(1);
        self.list[at].clone()
    }

    pub(crate) fn established(&mut self) {
        self.tried = 0;
        self.moving = None;
        self.probe = self.next;
    }

    /// The host to ask whether it takes writes: one after the other, the current one last.
    pub(crate) fn next_probe(&mut self) -> (usize, Host) {
        let at = self.probe;
        self.probe = (at + 1) % self.list.len();
        (at, self.list[at].clone())
    }

    pub(crate) fn prefer(&mut self, at: usize) {
        self.preferred = Some(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str, port: u16) -> Host {
        Host { name: name.into(), port }
    }

    #[test]
    fn connect_strings_are_read_as_java_reads_them() {
        let read = ConnectString::parse("a, b:2182,[::1]:2183,[fe80::1],c:/app/x").unwrap();
        let hosts = [
            host("a", 2181),
            host("b", 2182),
            host("::1", 2183),
            host("fe80::1", 2181),
            host("c", 2181),
        ];
        assert_eq!(read.hosts(), hosts);
        assert_eq!(read.chroot().path(), "/app/x");
        assert_eq!(ConnectString::parse("a/").unwrap().chroot().path(), "");
        assert_eq!(ConnectString::parse(""), Err(ConnectStringError::NoHost));
        assert_eq!(ConnectString::parse("/a"), Err(ConnectStringError::NoHost));
        for bad in ["a:b", "a:99999", "::1", ":2181", "[::1", "[::1]x", "a b", "a:0"] {
            assert!(matches!(ConnectString::parse(bad), Err(ConnectStringError::Host(_))), "{bad}");
        }
        assert!(matches!(ConnectString::parse("a/b/"), Err(ConnectStringError::Chroot(_))));
        let many = vec!["a"; HOSTS_MAX + 1].join(",");
        assert!(matches!(ConnectString::parse(&many), Err(ConnectStringError::TooManyHosts(_))));
    }

    #[test]
    fn every_host_is_tried_before_one_is_tried_again() {
        let list: Vec<_> = (0..5).map(|n| host("h", 2000 + n)).collect();
        let mut chance = Chance::new(3);
        let mut hosts = Hosts::new(list.clone(), Backoff::default(), &mut chance);
        let mut round: Vec<_> = (0..5).map(|_| hosts.next(&mut chance)).collect();
        let again: Vec<_> = (0..5).map(|_| hosts.next(&mut chance)).collect();
        assert_eq!(round, again);
        round.sort();
        assert_eq!(round, list);
    }

    #[test]
    fn the_window_doubles_with_each_round_up_to_its_bound_and_a_session_resets_it() {
        let list = vec![host("a", 1), host("b", 1)];
        let mut chance = Chance::new(1);
        let mut hosts = Hosts::new(list, Backoff { first_ms: 100, max_ms: 300 }, &mut chance);
        let widest = |hosts: &Hosts, chance: &mut Chance| {
            (0..2000).map(|_| hosts.delay_us(chance)).max().unwrap() / 10_000 + 1
        };
        let mut seen = Vec::new();
        for _ in 0..7 {
            seen.push(widest(&hosts, &mut chance));
            hosts.next(&mut chance);
        }
        assert_eq!(seen, [10, 10, 20, 20, 30, 30, 30]);
        hosts.established();
        assert_eq!(widest(&hosts, &mut chance), 10);
    }

    /// Where 20,000 clients, spread over `before`, are once the list has changed to `after`.
    fn spread(before: &[u16], after: &[u16]) -> Vec<(u16, u32)> {
        let list = |ports: &[u16]| ports.iter().map(|port| host("h", *port)).collect::<Vec<_>>();
        let mut counts: Vec<_> = after.iter().map(|port| (*port, 0)).collect();
        for seed in 0..20_000 {
            let mut chance = Chance::new(seed);
            let mut hosts = Hosts::new(list(before), Backoff::default(), &mut chance);
            let mut at = hosts.next(&mut chance);
            hosts.established();
            if hosts.replace(list(after), &mut chance) {
                assert_eq!(hosts.delay_us(&mut chance), 0);
                at = hosts.next(&mut chance);
            }
            let count = counts.iter_mut().find(|(port, _)| *port == at.port);
            count.expect("a host of the new list").1 += 1;
        }
        counts
    }

    #[test]
    fn clients_stay_evenly_spread_however_the_ensemble_changes() {
        let changes: [(&[u16], &[u16]); 6] = [
            (&[1, 2, 3], &[1, 2, 3, 4, 5]),
            (&[1, 2, 3, 4, 5], &[1, 2, 3]),
            (&[1, 2, 3], &[2, 3, 4]),
            (&[1, 2, 3], &[4, 5, 6]),
            (&[1, 2, 3, 4], &[3, 4, 5]),
            (&[1, 2], &[2, 3, 4]),
        ];
        for (before, after) in changes {
            let counts = spread(before, after);
            let share = 20_000 / after.len() as u32;
            let even = counts.iter().all(|(_, n)| n.abs_diff(share) < share / 10);
            assert!(even, "{before:?} to {after:?}: {counts:?}");
        }
    }

    #[test]
    fn who_need_not_move_stays_and_who_moves_tries_everybody() {
        let mut chance = Chance::new(1);
        let old = vec![host("a", 1), host("b", 1)];
        let mut hosts = Hosts::new(old.clone(), Backoff::default(), &mut chance);
        hosts.next(&mut chance);
        assert!(!hosts.replace(old, &mut chance), "the same");
        let new: Vec<_> = (2..6).map(|port| host("c", port)).collect();
        assert!(hosts.replace(new.clone(), &mut chance));
        let mut tried: Vec<_> = (0..4).map(|_| hosts.next(&mut chance)).collect();
        tried.sort();
        assert_eq!(tried, new);
    }
}
