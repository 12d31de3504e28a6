//! Whose server a member is, and where the programs are.
//!
//! A kind is a word of the command line; the programs behind it are fetched or built once a run,
//! and only those that the run has members of.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, Error, Result};

use crate::peers::{Peers, Release, ServerUnderTest};

/// Whose server a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Apache ZooKeeper of this release.
    Apache(Release),
    /// Ours.
    Oxkeeper,
}

impl Kind {
    /// Apache's of the release that all else is compared with.
    pub const JAVA: Kind = Kind::Apache(Release::V3_9);
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Apache(Release::V3_9) => f.write_str("java"),
            Kind::Apache(release) => release.fmt(f),
            Kind::Oxkeeper => f.write_str("ours"),
        }
    }
}

/// `ours`, `java`, or a release such as `3.8`.
impl FromStr for Kind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Kind> {
        match text {
            "ours" | "oxkeeper" => Ok(Kind::Oxkeeper),
            "java" => Ok(Kind::JAVA),
            _ => text.parse().map(Kind::Apache).context("ours, java or a release of ZooKeeper"),
        }
    }
}

/// Members by kind: those that vote in the order of their ids, and whoever observes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mixture {
    /// Participants.
    pub voting: Vec<Kind>,
    /// An observer.
    pub observing: Option<Kind>,
}

impl Mixture {
    /// The same of Java's alone.
    pub fn without_ours(&mut self) {
        for kind in self.voting.iter_mut().chain(&mut self.observing) {
            if *kind == Kind::Oxkeeper {
                *kind = Kind::JAVA;
            }
        }
    }
}

/// `java,java,ours`, or observed by another `java,java,java+ours`.
impl FromStr for Mixture {
    type Err = Error;

    fn from_str(text: &str) -> Result<Mixture> {
        let (voting, observing) = match text.split_once('+') {
            Some((voting, observing)) => (voting, Some(observing)),
            None => (text, None),
        };
        Ok(Mixture {
            voting: voting.split(',').map(str::parse).collect::<Result<Vec<Kind>>>()?,
            observing: observing.map(str::parse).transpose()?,
        })
    }
}

impl fmt::Display for Mixture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let voting: Vec<String> = self.voting.iter().map(Kind::to_string).collect();
        f.write_str(&voting.join(","))?;
        self.observing.map_or(Ok(()), |kind| write!(f, "+{kind}"))
    }
}

/// The servers of all kinds that a run has, fetched or built.
#[derive(Clone, Debug)]
pub struct Programs {
    by_kind: BTreeMap<Kind, ServerUnderTest>,
}

impl Programs {
    /// Fetches what is missing of `kinds`. `oxkeeper` is our binary, if one of them is ours.
    ///
    /// # Errors
    /// When a release cannot be fetched, or a binary of ours is needed and there is none.
    pub fn fetch(
        peers: &Peers,
        kinds: impl IntoIterator<Item = Kind>,
        oxkeeper: Option<PathBuf>,
        progress: &mut dyn FnMut(&str),
    ) -> Result<Programs> {
        let mut by_kind = BTreeMap::new();
        for kind in kinds {
            let program = match kind {
                Kind::Apache(release) => ServerUnderTest::Apache(peers.apache(release, progress)?),
                Kind::Oxkeeper => ServerUnderTest::Oxkeeper {
                    binary: oxkeeper.clone().context("no binary of ours")?,
                },
            };
            by_kind.insert(kind, program);
        }
        Ok(Programs { by_kind })
    }

    /// Ours alone.
    pub fn ours(binary: PathBuf) -> Programs {
        let program = ServerUnderTest::Oxkeeper { binary };
        Programs { by_kind: BTreeMap::from([(Kind::Oxkeeper, program)]) }
    }

    pub(super) fn of(&self, kind: Kind) -> Result<ServerUnderTest> {
        self.by_kind.get(&kind).cloned().with_context(|| format!("{kind} was not fetched"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mixtures_are_read_as_they_are_printed() {
        for text in ["java,3.5.10,ours", "ours", "java,java,java+ours"] {
            assert_eq!(text.parse::<Mixture>().unwrap().to_string(), text);
        }
        let mixture: Mixture = "oxkeeper,3.8+3.9".parse().unwrap();
        assert_eq!(mixture.to_string(), "ours,3.8.6+java");
        for text in ["java,etcd", "", "java+", "java+ours,ours"] {
            assert!(text.parse::<Mixture>().is_err(), "{text}");
        }
    }
}
