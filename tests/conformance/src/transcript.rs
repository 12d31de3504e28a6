//! Transcripts of ZooKeeper's shell: what was typed, and what Apache ZooKeeper 3.9.5 made of it.
//!
//! A case is a command given as words (`$ …`) or lines piped into one shell (`< …`), then its exit
//! code, what it printed on either stream (`out|`, `err|`) and the watches that fired (`evt|`).
//! Dates, zxids, sessions and the server's address are replaced in the order in which they appear,
//! as `Normaliser.java` does it.
//!
//! `oxkeeper shell` has to print the same on standard output. On standard error it says the same
//! sentences, with a hint behind, without the list of all commands and without Java's stack traces.
//! Its exit code tells what kind of failure it was, where ZooKeeper's is 1. Self-contained, because
//! the tests of the command include this file as well.

use std::collections::HashMap;

/// A command or a dialogue, and what came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Case {
    /// What was typed; one line for a command given as words.
    pub typed: Vec<String>,
    /// Whether it was piped in.
    pub piped: bool,
    /// The recorded lines.
    pub outcome: Vec<String>,
}

/// Reads the cases of a recording.
pub fn parse(text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut open = false;
    for line in text.lines() {
        if line.is_empty() || line.starts_with('#') {
            open = false;
            continue;
        }
        let typed = line.strip_prefix("$ ").or(line.strip_prefix("< "));
        if let Some(typed) = typed {
            let piped = line.starts_with('<');
            if !open || !piped {
                cases.push(Case { piped, ..Case::default() });
                open = true;
            }
            if let Some(case) = cases.last_mut() {
                case.typed.push(typed.to_owned());
            }
        } else if let Some(case) = cases.last_mut() {
            case.outcome.push(line.to_owned());
        }
    }
    cases
}

impl Case {
    /// The words of a command: quotes keep blanks together.
    pub fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        let mut rest = self.typed[0].trim_start();
        while !rest.is_empty() {
            let (word, after) = match rest.strip_prefix('"').and_then(|inner| inner.split_once('"'))
            {
                Some((word, after)) => (word, after),
                None => rest.split_once(' ').unwrap_or((rest, "")),
            };
            words.push(word.to_owned());
            rest = after.trim_start();
        }
        words
    }
}

/// Replaces what differs from run to run.
#[derive(Debug, Default)]
pub struct Normaliser {
    address: String,
    numbers: HashMap<(bool, String), usize>,
    zxids: usize,
    sessions: usize,
}

impl Normaliser {
    /// For a server at this address.
    pub fn new(address: &str) -> Normaliser {
        Normaliser { address: address.to_owned(), ..Normaliser::default() }
    }

    /// The lines of an outcome, as they are recorded.
    pub fn outcome(&mut self, exit: i32, out: &str, err: &str) -> Vec<String> {
        let mut lines = vec![format!("exit {exit}")];
        let (out, events) = without_events(out);
        for line in trimmed(&out) {
            let line = format!("out| {}", self.line(line));
            lines.push(line.trim_end().to_owned());
        }
        sort_identities(&mut lines);
        for line in trimmed(err) {
            let line = format!("err| {}", self.line(line));
            lines.push(line.trim_end().to_owned());
        }
        for (kind, path, zxid) in events {
            // The changes of the connection come when they come.
            if kind != "None" {
                let zxid = self.number(true, &format!("{zxid:x}"));
                lines.push(format!("evt| {kind} {path} {zxid}"));
            }
        }
        lines
    }

    fn line(&mut self, line: &str) -> String {
        let mut line =
            line.replace(&self.address, "<server>").replace("(CONNECTING)", "(CONNECTED)");
        for field in ["ctime = ", "mtime = "] {
            if let Some(at) = line.find(field) {
                line.replace_range(at + field.len().., "<date>");
            }
        }
        for (field, zxid) in [
            ("cZxid = 0x", true),
            ("mZxid = 0x", true),
            ("pZxid = 0x", true),
            ("Owner = 0x", false),
        ] {
            if let Some(at) = line.find(field) {
                let from = at + field.len();
                let number = self.number(zxid, &line[from..]);
                line.replace_range(from.., &number);
            }
        }
        line
    }

    fn number(&mut self, zxid: bool, value: &str) -> String {
        if value == "0" {
            return "0".to_owned();
        }
        let next = if zxid { &mut self.zxids } else { &mut self.sessions };
        let number = self.numbers.entry((zxid, value.to_owned())).or_insert_with(|| {
            *next += 1;
            *next
        });
        format!("<{} {number}>", if zxid { "zxid" } else { "session" })
    }
}

/// Lines without the empty ones at the end, as Java splits them.
fn trimmed(text: &str) -> impl Iterator<Item = &str> {
    let text = text.trim_end_matches('\n');
    text.split('\n').filter(move |_| !text.is_empty())
}

type Event = (String, String, i64);

/// Takes the blocks of fired watches out of an output.
fn without_events(out: &str) -> (String, Vec<Event>) {
    let mut text = String::new();
    let mut events = Vec::new();
    let mut rest = out;
    while let Some(at) = rest.find('\n') {
        text.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let line = after.split('\n').next().unwrap_or_default();
        let block = line == "WATCHER::" || line.starts_with("WatchedEvent ");
        if block && after.len() > line.len() {
            events.extend(event(line));
            rest = &after[line.len() + 1..];
        } else {
            text.push('\n');
            rest = after;
        }
    }
    text.push_str(rest);
    (text, events)
}

fn event(line: &str) -> Option<Event> {
    let (_, rest) = line.split_once(" type:")?;
    let (kind, rest) = rest.split_once(" path:")?;
    let (path, zxid) = rest.split_once(" zxid: ")?;
    Some((kind.to_owned(), path.to_owned(), zxid.parse().ok()?))
}

/// Java answers whoAmI in the order of a hash table, which nobody can mean.
fn sort_identities(lines: &mut [String]) {
    for at in 0..lines.len() {
        if lines[at].ends_with("Auth scheme: User") {
            let identity = |line: &String| line.split(' ').count() == 3 && line.contains(": ");
            let count = lines[at + 1..].iter().take_while(|line| identity(line)).count();
            lines[at + 1..at + 1 + count].sort();
        }
    }
}

/// What is not as in ZooKeeper's shell on purpose, by the command typed; docs/deviations.md.
const OURS: [&str; 5] = [
    "help",
    // Waits for the server, and says that there is none.
    "connect 127.0.0.1:1",
    // Waits for the answer, which is a refusal.
    "addauth nosuch x",
    "addauth digest",
    "reconfig -file /nonexistent",
];

/// How our outcome differs from the recorded one, if it does in a way that is not meant.
pub fn difference(case: &Case, ours: &[String]) -> Option<String> {
    if OURS.contains(&case.typed[0].as_str()) {
        return None;
    }
    let expected = comparable(&case.outcome);
    let found = comparable(ours);
    // Where Java dies of an exception, ours fails and says why.
    let died = case.outcome.iter().any(|line| line.starts_with("err| Exception in thread"));
    let pick = |lines: &[String]| -> Vec<String> {
        lines.iter().filter(|line| !died || !line.starts_with("err|")).cloned().collect()
    };
    let (expected, found) = (pick(&expected), pick(&found));
    let at = (0..expected.len().max(found.len())).find(|at| expected.get(*at) != found.get(*at))?;
    let none = "(nothing)".to_owned();
    Some(format!(
        "{}\n  line {}: {}\n  not:     {}\n  all:\n    {}",
        case.typed[0],
        at + 1,
        found.get(at).unwrap_or(&none),
        expected.get(at).unwrap_or(&none),
        ours.join("\n    "),
    ))
}

/// The lines that have to agree.
fn comparable(lines: &[String]) -> Vec<String> {
    lines
        .iter()
        .filter(|line| {
            let noise = ["err|   hint: ", "err| ZooKeeper -server host:port", "err| \t"];
            !noise.iter().any(|start| line.starts_with(start))
        })
        .map(|line| match line.strip_prefix("exit ") {
            // Every kind of failure has a code of its own; a shell that finds no command, 127.
            Some("0" | "127") => line.clone(),
            Some(_) => "exit with a failure".to_owned(),
            None if line.contains("ZooKeeper CLI version: ") => {
                let before = line.split("ZooKeeper CLI version: ").next().unwrap_or_default();
                format!("{before}<version>")
            }
            None => line.replace("Command not found: Command not found ", "Command not found: "),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_are_commands_or_dialogues() {
        let text = "# x\n\n$ ls /\nexit 0\nout| []\n\n< get /a\n< quit\nexit 1\nerr| no\n";
        let cases = parse(text);
        assert_eq!((cases.len(), cases[1].typed.len()), (2, 2));
        assert!(!cases[0].piped && cases[1].piped);
        assert_eq!(cases[0].outcome, ["exit 0", "out| []"]);
        let case = Case { typed: vec!["create /a \"two words\" \"\"".into()], ..Case::default() };
        assert_eq!(case.words(), ["create", "/a", "two words", ""]);
    }

    #[test]
    fn what_differs_from_run_to_run_is_replaced() {
        let mut normaliser = Normaliser::new("127.0.0.1:1");
        let out = "Connecting to 127.0.0.1:1\n\nWATCHER::\n\nWatchedEvent state:SyncConnected \
                   type:NodeCreated path:/a zxid: 255\ncZxid = 0xff\nctime = Thu Jan 01\n\n";
        let lines = normaliser.outcome(0, out, "");
        let expected = [
            "exit 0",
            "out| Connecting to <server>",
            "out| cZxid = 0x<zxid 1>",
            "out| ctime = <date>",
            "evt| NodeCreated /a <zxid 1>",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn a_difference_is_found_and_a_hint_is_none() {
        let typed = vec!["get /a".to_owned()];
        let outcome: Vec<String> =
            ["exit 1", "out| x", "err| Node does not exist: /a"].map(String::from).to_vec();
        let case = Case { typed, piped: false, outcome: outcome.clone() };
        let mut ours = outcome;
        "exit 4".clone_into(&mut ours[0]);
        ours.push("err|   hint: look".to_owned());
        assert_eq!(difference(&case, &ours), None);
        "exit 0".clone_into(&mut ours[0]);
        assert!(difference(&case, &ours).is_some(), "that it failed has to be told");
        "exit 4".clone_into(&mut ours[0]);
        "out| y".clone_into(&mut ours[1]);
        assert!(difference(&case, &ours).is_some());
    }
}
