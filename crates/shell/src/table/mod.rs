//! Every command with its options, what it does, and examples: the source of usage lines, of
//! `help` and of completion.
//!
//! The usage line of a command of ZooKeeper's shell is ZooKeeper's, letter by letter: scripts and
//! people know it. What we add to such a command stands in `help` alone.

mod ours;
mod zookeeper;

use crate::failure::Failure;
use crate::flags::{Flag, Given, OneOf, parse};

/// Which command it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // Named as they are typed.
pub enum Id {
    AddAuth,
    AddWatch,
    Close,
    Config,
    Connect,
    Copy,
    Create,
    Delete,
    DeleteAll,
    DelQuota,
    Diff,
    Edit,
    Export,
    Find,
    Get,
    GetAcl,
    GetAllChildrenNumber,
    GetEphemerals,
    Help,
    History,
    Import,
    ListQuota,
    Ls,
    Move,
    PrintWatches,
    Quit,
    Reconfig,
    Redo,
    RemoveWatches,
    Set,
    SetAcl,
    SetQuota,
    Stat,
    Sync,
    Top,
    Tree,
    Version,
    Watch,
    WhoAmI,
}

/// What `--json` is called where it is listed.
pub const JSON: Flag = Flag::switch("--json", "the result as JSON");
/// What `--dry-run` is called where it is listed.
pub const DRY_RUN: Flag = Flag::switch("--dry-run", "show what would be done, and change nothing");

/// A command.
#[derive(Debug, Clone, Copy)]
pub struct Spec {
    /// Which.
    pub id: Id,
    /// As it is typed.
    pub name: &'static str,
    /// What follows the name in its usage line.
    pub args: &'static str,
    /// Options of ZooKeeper's shell; all of them for a command of ours.
    pub flags: &'static [Flag],
    /// Options that we add to a command of ZooKeeper's.
    pub more: &'static [Flag],
    /// Options that exclude each other.
    pub one_of: Option<OneOf>,
    /// At least so many arguments.
    pub least: usize,
    /// Whether ZooKeeper's usage explains the options.
    pub explains: bool,
    /// Whether it needs a session.
    pub session: bool,
    /// Whether its arguments are paths of znodes, for completion.
    pub paths: bool,
    /// One line.
    pub about: &'static str,
    /// Lines as they are typed, each with what it does.
    pub examples: &'static [(&'static str, &'static str)],
}

/// What most commands have, to be built upon.
const PLAIN: Spec = Spec {
    id: Id::Help,
    name: "",
    args: "",
    flags: &[],
    more: &[],
    one_of: None,
    least: 0,
    explains: false,
    session: true,
    paths: true,
    about: "",
    examples: &[],
};

/// Names that are not in ZooKeeper's shell and mean the same.
const ALIASES: [(&str, &str); 3] = [("exit", "quit"), ("rm", "delete"), ("?", "help")];

/// Every command, by name.
pub fn all() -> Vec<&'static Spec> {
    let mut all: Vec<&Spec> = zookeeper::COMMANDS.iter().chain(&ours::COMMANDS).collect();
    all.sort_by_key(|spec| spec.name.to_lowercase());
    all
}

/// Whether ZooKeeper's shell has it.
pub fn is_zookeepers(spec: &Spec) -> bool {
    zookeeper::COMMANDS.iter().any(|known| known.name == spec.name)
}

/// The command of that name.
pub fn find(name: &str) -> Option<&'static Spec> {
    let name = ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, name)| name);
    all().into_iter().find(|spec| spec.name == name)
}

/// The command that was perhaps meant.
pub fn nearest(name: &str) -> Option<&'static str> {
    all()
        .into_iter()
        .map(|spec| (distance(&name.to_lowercase(), &spec.name.to_lowercase()), spec.name))
        .filter(|(distance, known)| *distance <= 1 + known.len() / 4)
        .min()
        .map(|(_, name)| name)
}

/// Letters to change, to add or to leave out.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in other.iter().enumerate() {
            let changed = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[other.len()]
}

impl Spec {
    /// Reads the words behind the name.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn parse(&self, words: &[String]) -> Result<Given, Failure> {
        if self.takes_words_as_they_are() {
            let json = words.iter().any(|word| word == JSON.name);
            let args = words.iter().filter(|word| *word != JSON.name).cloned().collect();
            return Ok(Given::of(args, if json { &[JSON.name] } else { &[] }));
        }
        let flags: Vec<Flag> = self.flags.iter().chain(self.more).copied().chain([JSON]).collect();
        let given = parse(&flags, self.one_of, words).map_err(|failure| {
            let hint = format!("help {} shows how it is used", self.name);
            match failure.hint {
                Some(_) => failure,
                None => failure.hint(hint),
            }
        })?;
        if given.args.len() < self.least {
            return Err(self.misused());
        }
        Ok(given)
    }

    /// Commands whose arguments ZooKeeper's shell does not look at: `redo -1` is out of range, and
    /// no option.
    fn takes_words_as_they_are(&self) -> bool {
        matches!(
            self.id,
            Id::Close
                | Id::Connect
                | Id::History
                | Id::PrintWatches
                | Id::Quit
                | Id::Redo
                | Id::WhoAmI
        )
    }

    /// The usage, as the failure of who did not keep to it.
    pub fn misused(&self) -> Failure {
        let failure = Failure::usage(self.usage());
        match self.examples.first() {
            Some((example, _)) => failure.hint(format!("for example: {example}")),
            None => failure,
        }
    }

    /// The usage line, with the options where ZooKeeper explains them.
    pub fn usage(&self) -> String {
        let line = format!("{} {}", self.name, self.args);
        if !self.explains {
            return line;
        }
        let mut flags: Vec<(String, &str)> = self
            .flags
            .iter()
            .map(|flag| {
                let value = if flag.value.is_some() { " <arg>" } else { "" };
                (format!("{}{value}", flag.name), flag.about)
            })
            .collect();
        flags.sort();
        let width = flags.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        let lines = flags.iter().map(|(name, about)| format!("\n {name:<width$}   {about}"));
        lines.fold(line, |text, flag| text + &flag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usages_are_zookeepers() {
        let usage = |name| find(name).unwrap().usage();
        assert_eq!(usage("ls"), "ls [-s] [-w] [-R] path");
        assert_eq!(
            usage("set"),
            "set path data [-s] [-v version] [-b]\n -b         Supply data in base64 format\n \
             -s         Print znode stats additionally\n -v <arg>   Set with an expected version"
        );
    }

    #[test]
    fn every_name_is_there_once_and_explained() {
        let mut names: Vec<&str> = all().iter().map(|spec| spec.name).collect();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
        for spec in all() {
            assert!(!spec.about.is_empty() && !spec.examples.is_empty(), "{}", spec.name);
            for (example, _) in spec.examples {
                let words = crate::line::words(example);
                assert_eq!(words[0], spec.name, "{example}");
                spec.parse(&words[1..]).unwrap_or_else(|failure| panic!("{example}: {failure:?}"));
            }
        }
    }

    #[test]
    fn all_commands_of_zookeepers_shell_are_here() {
        let theirs = "addWatch addauth close config connect create delete deleteall delquota get \
                      getAcl getAllChildrenNumber getEphemerals history listquota ls \
                      printwatches quit reconfig redo removewatches set setAcl setquota stat sync \
                      version whoami";
        for name in theirs.split_whitespace() {
            assert!(find(name).is_some_and(is_zookeepers), "{name}");
        }
        assert_eq!(zookeeper::COMMANDS.len(), theirs.split_whitespace().count());
    }

    #[test]
    fn whatever_deletes_or_overwrites_can_be_tried_first() {
        let dry =
            |spec: &&Spec| spec.flags.iter().chain(spec.more).any(|flag| flag.name == DRY_RUN.name);
        let names: Vec<&str> = all().into_iter().filter(dry).map(|spec| spec.name).collect();
        let all = "cp delete deleteall delquota edit export import mv reconfig set setAcl setquota";
        assert_eq!(names.join(" "), all);
    }

    #[test]
    fn a_slip_is_recognised() {
        assert_eq!(nearest("sett"), Some("set"));
        assert_eq!(nearest("deletall"), Some("deleteall"));
        assert_eq!(nearest("getacl"), Some("getAcl"));
        assert_eq!(nearest("frobnicate"), None);
    }
}
