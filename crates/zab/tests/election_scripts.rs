//! Elections as text: what one server is told, and what it does.
//!
//! Each file of `scripts/election` is one story. Lines with `>` are inputs; the indented ones
//! below them are the effects, which this test writes anew and compares. Everything else is for
//! the reader, except the lines at the top that set the scene:
//!
//! ```text
//! me 1                            our id
//! members 1 2 3 4o                the configuration; 4 is an observer
//! group 1=1:2:3 / weight 3=0      lines of it, for hierarchical ones
//! version 7                       another than 0
//! config new@5 = 1 2 4            another configuration, of version 5, under a name
//! set reconfig | patient | next=new   reconfigEnabled; no early end; a last seen configuration
//! standing zxid=0x5 epoch=1 [observer]
//! ```
//! A vote is written `3 zxid=0x5 epoch=1 round=2`. A missing zxid, epoch or round is 0, 0 or 1.
//!
//! `UPDATE_SCRIPTS=1 cargo test` writes what happens into the files, to be read before it is
//! believed.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use oxkeeper_proto::ids::{Sid, Zxid};
use oxkeeper_proto::notification::{Notification, PeerState};
use oxkeeper_zab::election::{Effect, Election, Settings, Standing};
use oxkeeper_zab::quorum::{Membership, QuorumVerifier, Role};
use oxkeeper_zab::vote::{Configs, Vote};

#[test]
fn every_script_plays_as_written() {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts/election");
    let mut played = 0;
    let mut failures = String::new();
    for entry in std::fs::read_dir(&scripts).unwrap() {
        let path = entry.unwrap().path();
        let written = std::fs::read_to_string(&path).unwrap();
        let happened = Script::play(&written);
        played += 1;
        if written != happened {
            let _ = writeln!(failures, "{}:\n{}", path.display(), diff(&written, &happened));
            if std::env::var_os("UPDATE_SCRIPTS").is_some() {
                std::fs::write(&path, &happened).unwrap();
            }
        }
    }
    assert!(failures.is_empty(), "\n{failures}");
    assert!(played >= 20, "only {played} scripts in {}", scripts.display());
}

#[test]
fn a_wrong_effect_is_noticed() {
    let script = "me 1\nmembers 1 2 3\n> look\n  2 3 <- LOOKING 1 zxid=0x0 epoch=0 round=1\n  \
                  wake at 200\n> from 2: LOOKING 2\n";
    let right = format!("{script}  2 3 <- LOOKING 2 zxid=0x0 epoch=0 round=1\n");
    assert_eq!(Script::play(&right), right);
    let wrong = right.replace("LOOKING 2 zxid", "LOOKING 1 zxid");
    let shown = diff(&wrong, &Script::play(&wrong));
    assert!(shown.contains("\n-  2 3 <- LOOKING 1 zxid"), "{shown}");
    assert!(shown.contains("\n+  2 3 <- LOOKING 2 zxid"), "{shown}");
}

/// The lines that differ, with those around them.
fn diff(written: &str, happened: &str) -> String {
    let (old, new): (Vec<_>, Vec<_>) = (written.lines().collect(), happened.lines().collect());
    let same = old.iter().zip(&new).take_while(|(one, other)| one == other).count();
    let rest = old.len().min(new.len()) - same;
    let tails = old.iter().rev().zip(new.iter().rev());
    let tail = tails.take_while(|(one, other)| one == other).count().min(rest);
    let mut out = String::new();
    for line in &old[same.saturating_sub(4)..same] {
        let _ = writeln!(out, " {line}");
    }
    for line in &old[same..old.len() - tail] {
        let _ = writeln!(out, "-{line}");
    }
    for line in &new[same..new.len() - tail] {
        let _ = writeln!(out, "+{line}");
    }
    out
}

struct Script {
    me: Sid,
    members: String,
    configs: BTreeMap<String, Arc<QuorumVerifier>>,
    next: Option<Arc<QuorumVerifier>>,
    settings: Settings,
    standing: Standing,
    election: Option<Election>,
    now_ms: u64,
    wake_ms: Option<u64>,
    out: String,
}

impl Script {
    fn play(text: &str) -> String {
        let standing =
            Standing { role: Role::Participant, last_logged: Zxid::ZERO, current_epoch: 0 };
        let mut script = Script {
            me: Sid(1),
            members: String::new(),
            configs: BTreeMap::new(),
            next: None,
            settings: Settings::default(),
            standing,
            election: None,
            now_ms: 0,
            wake_ms: None,
            out: String::new(),
        };
        for line in text.lines().filter(|line| !line.starts_with("  ")) {
            script.out.push_str(line);
            script.out.push('\n');
            match line.strip_prefix("> ") {
                Some(input) => script.input(input),
                None => script.scene(line),
            }
        }
        script.out
    }

    fn scene(&mut self, line: &str) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "me" => self.me = Sid(rest.parse().unwrap()),
            "members" => self.members = members(rest),
            "version" => self.members += &format!("version={rest}\n"),
            "group" | "weight" => self.members += &format!("{word}.{rest}\n"),
            "config" => {
                let (name, rest) = rest.split_once(" = ").unwrap();
                let (name, version) = name.split_once('@').unwrap();
                let text = format!("{}version={version}", members(rest));
                let config = QuorumVerifier::parse(&text, false).unwrap();
                self.configs.insert(name.to_owned(), Arc::new(config));
            }
            "set" => match rest.split_once('=') {
                Some(("next", name)) => self.next = Some(Arc::clone(&self.configs[name])),
                None if rest == "reconfig" => self.settings.reconfig_enabled = true,
                None if rest == "patient" => self.settings.finish_early = false,
                _ => panic!("{line}"),
            },
            "standing" => self.standing = standing(rest),
            "" | "#" => {}
            _ => panic!("neither scene nor input nor remark: {line}"),
        }
    }

    fn input(&mut self, input: &str) {
        if self.election.is_none() {
            let config = Arc::new(QuorumVerifier::parse(&self.members, false).unwrap());
            let membership = Membership::new(config, self.next.clone());
            let settings = self.settings.clone();
            self.election = Some(Election::new(self.me, membership, self.standing, settings));
        }
        let now_ms = self.now_ms;
        let (word, rest) = input.split_once(' ').unwrap_or((input, ""));
        if word == "wait" {
            return self.wait(rest.parse().unwrap());
        }
        let election = self.election.as_mut().unwrap();
        match word {
            "look" => {
                if let Some(given) = rest.split_once("with ").map(|(_, given)| given) {
                    self.standing = standing(given);
                }
                let delay = rest.split(' ').find_map(|word| word.strip_prefix("delay="));
                let delay_ms = delay.map_or(0, |delay| delay.parse().unwrap());
                election.look(now_ms, self.standing, delay_ms);
            }
            "from" => {
                let (sid, rest) = rest.split_once(": ").unwrap();
                let (state, vote) = rest.split_once(' ').unwrap();
                let text = |name: &str| Cow::Owned(self.configs[name].to_string());
                let (config, proposed) = (value(vote, "config"), value(vote, "proposed"));
                let version = value(vote, "v").map_or(2, |version| version.parse().unwrap());
                let vote = parse_vote(vote);
                let told = Notification {
                    config: config.map(text),
                    proposed: proposed.map(text),
                    version,
                    ..vote.notification(parse_state(state), &Configs::default())
                };
                election.notification(now_ms, Sid(sid.parse().unwrap()), &told);
            }
            "down" => election.peer_down(now_ms, Sid(rest.parse().unwrap())),
            "up" => election.peer_up(Sid(rest.parse().unwrap())),
            "established" => election.established(rest.parse().unwrap()),
            "designate" => {
                let vote = parse_vote(rest);
                let state = election.designate(vote.leader, vote.zxid);
                let _ = writeln!(self.out, "  now {}", shown_state(state));
            }
            "propose" => {
                let current = Arc::clone(election.membership().current());
                let next = Some(Arc::clone(&self.configs[rest]));
                let role = self.standing.role;
                election.reconfigure(now_ms, Membership::new(current, next), role);
            }
            "reconfigure" => {
                let config = Arc::clone(&self.configs[rest]);
                let role =
                    if config.is_observer(self.me) { Role::Observer } else { Role::Participant };
                election.reconfigure(now_ms, Membership::new(config, None), role);
            }
            _ => panic!("no such input: {input}"),
        }
        self.effects();
    }

    /// Lets time pass, and wakes the election whenever it wished.
    fn wait(&mut self, ms: u64) {
        let end_ms = self.now_ms + ms;
        while let Some(at_ms) = self.election.as_ref().unwrap().deadline_ms() {
            if at_ms > end_ms {
                break;
            }
            self.now_ms = at_ms;
            self.election.as_mut().unwrap().tick(at_ms);
            let _ = writeln!(self.out, "  at {at_ms}");
            self.effects();
        }
        self.now_ms = end_ms;
    }

    fn effects(&mut self) {
        let election = self.election.as_mut().unwrap();
        let mut last: Option<(String, Vec<String>)> = None;
        let mut lines = Vec::new();
        while let Some(effect) = election.poll_effect() {
            let line = match effect {
                Effect::Send { to, state, vote, configs } => {
                    let membership = election.membership();
                    assert_eq!(*configs.in_force, *membership.current().to_string());
                    let seen = membership.last_seen().map(ToString::to_string);
                    assert_eq!(configs.proposed.as_deref(), seen.as_deref());
                    let said = format!("<- {} {}", shown_state(state), shown_vote(&vote));
                    match &mut last {
                        Some((same, tos)) if *same == said => tos.push(to.to_string()),
                        _ => {
                            lines.extend(last.replace((said, vec![to.to_string()])).map(joined));
                        }
                    }
                    continue;
                }
                Effect::Adopt(config) => format!("adopt version {:x}", config.version()),
                Effect::Hear(config) => format!("hear of version {:x}", config.version()),
                Effect::Decided { state, vote } => {
                    format!("decided: {} under {}", shown_state(state), shown_vote(&vote))
                }
            };
            lines.extend(last.take().map(joined));
            lines.push(line);
        }
        lines.extend(last.take().map(joined));
        let wake_ms = election.deadline_ms();
        if wake_ms != self.wake_ms {
            lines.extend(wake_ms.map(|at_ms| format!("wake at {at_ms}")));
            self.wake_ms = wake_ms;
        }
        for line in lines {
            let _ = writeln!(self.out, "  {line}");
        }
    }
}

fn joined((said, tos): (String, Vec<String>)) -> String {
    format!("{} {said}", tos.join(" "))
}

fn members(ids: &str) -> String {
    let line = |id: &str| match id.strip_suffix('o') {
        Some(id) => format!("server.{id}=h{id}:1:2:observer\n"),
        None => format!("server.{id}=h{id}:1:2:participant\n"),
    };
    ids.split_whitespace().map(line).collect()
}

fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.split_whitespace().find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
}

fn long(text: &str) -> i64 {
    match text {
        "none" => i64::MIN,
        "max" => i64::MAX,
        _ => match text.strip_prefix("0x") {
            Some(hex) => i64::from_str_radix(hex, 16).unwrap(),
            None => text.parse().unwrap(),
        },
    }
}

fn shown_long(long: i64) -> String {
    match long {
        i64::MIN => "none".to_owned(),
        i64::MAX => "max".to_owned(),
        long => long.to_string(),
    }
}

fn standing(text: &str) -> Standing {
    Standing {
        role: if text.contains("observer") { Role::Observer } else { Role::Participant },
        last_logged: Zxid(value(text, "zxid").map_or(0, long)),
        current_epoch: value(text, "epoch").map_or(0, long),
    }
}

fn parse_vote(text: &str) -> Vote {
    Vote {
        leader: Sid(long(text.split_whitespace().next().unwrap())),
        zxid: Zxid(value(text, "zxid").map_or(0, long)),
        peer_epoch: value(text, "epoch").map_or(0, long),
        election_epoch: value(text, "round").map_or(1, long),
    }
}

fn shown_vote(vote: &Vote) -> String {
    let zxid = match vote.zxid {
        Zxid(i64::MIN) => "none".to_owned(),
        zxid => zxid.to_string(),
    };
    format!(
        "{} zxid={zxid} epoch={} round={}",
        shown_long(vote.leader.0),
        shown_long(vote.peer_epoch),
        shown_long(vote.election_epoch)
    )
}

fn parse_state(text: &str) -> PeerState {
    match text {
        "LOOKING" => PeerState::Looking,
        "FOLLOWING" => PeerState::Following,
        "LEADING" => PeerState::Leading,
        "OBSERVING" => PeerState::Observing,
        _ => panic!("no such state: {text}"),
    }
}

fn shown_state(state: PeerState) -> &'static str {
    match state {
        PeerState::Looking => "LOOKING",
        PeerState::Following => "FOLLOWING",
        PeerState::Leading => "LEADING",
        PeerState::Observing => "OBSERVING",
    }
}
