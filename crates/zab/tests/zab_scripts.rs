//! Leading and learning as text: what one server is told, and what it does.
//!
//! Each file of `scripts/sync`, `broadcast` and `ours` is one story. Lines with `>` are inputs; the
//! indented ones below them are the effects, which this test writes anew and compares. Everything
//! else is for the reader, except the lines at the top that set the scene:
//!
//! ```text
//! me 1                        our id
//! members 1 2 3 4o            the configuration; 4 is an observer, 5' has moved to other ports
//! disk 1:4 accepted=1 current=1 [log 1:1 1:2 1:3 1:4]
//! set window=2 | nolog        how many committed transactions memory keeps; no DIFF from disk
//! set links=2                 how many learners may be connected
//! set unlogged                as an observer we keep no log (syncEnabled=false)
//! set ours | watchful         we are one of ours, and can hand over; and pulse
//! set snaps=1 diffs=1         learners synchronised at once
//! set reconnect=1000 redial=50 connect=2   delays and limit of connecting to a leader
//! set keeps id=7 seed=9        we keep the ensemble's number: the one known, one to be made
//! set reconfig version=1:5     of the configuration
//! set silence=900             how long one of ours may be silent
//! set hears | emptied         we know of members without a voice; we are one: our data was lost
//! history 1:3 1 2             the configuration that our tree ends with: its version and members
//! seen 1:3 1 2                the same of one that was proposed, by our files
//! ```
//! `ours`, `watchful`, `keeps`, `sums` or `hears` behind FOLLOWERINFO, OBSERVERINFO or LEADERINFO:
//! so is the other one. `silent`: it hears, and has no voice itself; `snap`: it hears, and needs a
//! snapshot. `config=1:7`: that is the version of the learner's configuration. A PROPOSAL or INFORM
//! with `of 1 2 3o` behind its zxid is a reconfiguration, and has these members.
//! A zxid is written `epoch:counter`. Packets to and from link N are written as in
//! `> 7 PROPOSAL 1:5`. `UPDATE_SCRIPTS=1 cargo test` writes what happens into the files, to be read
//! before it is believed.

mod entries;

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use oxkeeper_proto::packet::{
    ForwardedRequest, LearnerInfo, Ours, Packet, TouchedSessions, put_touched,
};
use oxkeeper_proto::{Capabilities, OpCode, SessionId, Sid, Zxid};
use oxkeeper_zab::quorum::{Membership, QuorumVerifier};
use oxkeeper_zab::{
    Disk, Effect, Epochs, Input, LinkId, LogSurvey, Outgoing, Peer, Recovered, Settings, Verdict,
    election,
};

use self::entries::{entry, reconfiguration};

#[test]
fn every_script_plays_as_written() {
    let mut failures = String::new();
    let mut played = 0;
    for folder in ["sync", "broadcast", "ours"] {
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts").join(folder);
        for entry in std::fs::read_dir(&scripts).unwrap() {
            let path = entry.unwrap().path();
            let written = std::fs::read_to_string(&path).unwrap();
            let happened = play(&written);
            played += 1;
            if written != happened {
                let _ = writeln!(failures, "{}:\n{happened}", path.display());
                if std::env::var_os("UPDATE_SCRIPTS").is_some() {
                    std::fs::write(&path, &happened).unwrap();
                }
            }
        }
    }
    assert!(failures.is_empty(), "not as written:\n{failures}");
    assert!(played >= 10, "only {played} scripts");
}

fn zxid(text: &str) -> Zxid {
    let (epoch, counter) = text.split_once(':').unwrap_or_else(|| panic!("zxid {text:?}"));
    Zxid(epoch.parse::<i64>().unwrap() << 32 | counter.parse::<i64>().unwrap())
}

fn show(zxid: Zxid) -> String {
    format!("{}:{}", zxid.epoch(), zxid.counter())
}

/// What ours can do.
const OURS: u64 = Capabilities::LEADER_TRANSFER;

/// What ours can do that are on the watch for each other.
const WATCHFUL: u64 = OURS | Capabilities::QUICK_PING;

/// What ours can do that keep the number of their ensemble.
const KEEPS: u64 = OURS | Capabilities::ENSEMBLE_ID;

/// What ours can do that know of members without a voice.
const HEARS: u64 = OURS | Capabilities::PROBATION;

/// What ours can do that say with one packet what stands for many.
const SUMS: u64 = OURS | Capabilities::CUMULATIVE;

struct Scene {
    settings: Settings,
    config: String,
    version: i64,
    seen: Option<Arc<QuorumVerifier>>,
    recovered: Recovered,
    peer: Option<Peer>,
    now_ms: u64,
    /// Votes are shown.
    votes: bool,
    out: String,
}

fn play(script: &str) -> String {
    let mut scene = Scene {
        settings: Settings::new(Sid(1)),
        config: String::new(),
        version: 0,
        seen: None,
        recovered: Recovered::default(),
        peer: None,
        now_ms: 0,
        votes: false,
        out: String::new(),
    };
    for line in script.lines() {
        if line.starts_with("  ") {
            continue;
        }
        let _ = writeln!(scene.out, "{line}");
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.first() {
            Some(&">") => scene.input(&words[1..]),
            Some(_) if scene.peer.is_none() => scene.set(&words),
            _ => {}
        }
    }
    scene.out
}

impl Scene {
    fn set(&mut self, words: &[&str]) {
        match words[0] {
            "me" => self.settings.sid = Sid(words[1].parse().unwrap()),
            "members" => self.config = members(&words[1..]),
            "history" => {
                let config = configuration(words[1], &words[2..]);
                self.recovered.config = config.to_string();
            }
            "seen" => self.seen = Some(configuration(words[1], &words[2..])),
            "disk" => {
                self.recovered.last_logged = zxid(words[1]);
                for word in &words[2..] {
                    match word.split_once('=') {
                        Some(("accepted", epoch)) => {
                            self.recovered.epochs.accepted = epoch.parse().unwrap();
                        }
                        Some(("current", epoch)) => {
                            self.recovered.epochs.current = epoch.parse().unwrap();
                        }
                        _ if *word == "log" => {}
                        _ => self.recovered.tail.push(entry(zxid(word))),
                    }
                }
            }
            "set" => {
                for word in &words[1..] {
                    match word.split_once('=') {
                        Some(("window", count)) => {
                            self.settings.committed_count_max = count.parse().unwrap();
                        }
                        _ if *word == "unlogged" => self.settings.sync_enabled = false,
                        _ if *word == "reconfig" => self.settings.reconfig_enabled = true,
                        _ if *word == "masters" => self.settings.observer_masters = true,
                        _ if *word == "votes" => self.votes = true,
                        Some(("snaps", count)) => {
                            self.settings.snap_syncs_max = count.parse().unwrap();
                        }
                        Some(("links", count)) => {
                            self.settings.links_max = count.parse().unwrap();
                        }
                        Some(("diffs", count)) => {
                            self.settings.diff_syncs_max = count.parse().unwrap();
                        }
                        Some(("reconnect", ms)) => {
                            self.settings.observer_reconnect_delay_ms = ms.parse().unwrap();
                        }
                        Some(("redial", ms)) => self.settings.redial_ms = ms.parse().unwrap(),
                        Some(("connect", ticks)) => {
                            self.settings.connect_limit = ticks.parse().unwrap();
                        }
                        Some(("id", id)) => self.settings.ensemble_id = id.parse().unwrap(),
                        Some(("seed", id)) => self.settings.ensemble_seed = id.parse().unwrap(),
                        Some(("version", zxid)) => self.version = crate::zxid(zxid).0,
                        Some(("silence", ms)) => {
                            self.settings.silence_ms = Some(ms.parse().unwrap());
                        }
                        _ if *word == "ours" => self.settings.capabilities = OURS,
                        _ if *word == "keeps" => self.settings.capabilities = KEEPS,
                        _ if *word == "sums" => self.settings.capabilities = SUMS,
                        _ if *word == "hears" => self.settings.capabilities = HEARS,
                        _ if *word == "emptied" => self.recovered.trusted = false,
                        _ if *word == "watchful" => self.settings.capabilities = WATCHFUL,
                        _ => self.settings.snapshot_size_permille = None,
                    }
                }
            }
            _ => {}
        }
    }

    fn start(&mut self) {
        let config =
            QuorumVerifier::parse(&format!("{}version={:x}", self.config, self.version), false)
                .unwrap();
        let membership = Membership::new(Arc::new(config), self.seen.clone());
        let reconfig_enabled = self.settings.reconfig_enabled;
        let voting = election::Settings { reconfig_enabled, ..Default::default() };
        let (settings, recovered) = (self.settings.clone(), self.recovered.clone());
        let mut peer = Peer::new(settings, voting, membership, recovered);
        peer.start(0);
        while peer.poll_effect().is_some() {}
        self.peer = Some(peer);
    }

    fn input(&mut self, words: &[&str]) {
        if self.peer.is_none() {
            self.start();
        }
        let peer = self.peer.as_mut().unwrap();
        let now_ms = self.now_ms;
        let link = |word: &str| LinkId(word.parse().unwrap());
        let disk = |disk| Input::Disk(disk);
        match words[0] {
            "lead" => peer.handle(now_ms, Input::Elected(self.settings.sid)),
            "learn" => peer.handle(now_ms, Input::Elected(Sid(words[1].parse().unwrap()))),
            "observer" => peer.handle(now_ms, Input::ObserverLinked(link(words[1]))),
            "linked" => peer.handle(now_ms, Input::Linked(link(words[1]))),
            "unlinked" => peer.handle(now_ms, Input::Unlinked(link(words[1]))),
            "synced" => peer.handle(now_ms, disk(Disk::Synced(zxid(words[1])))),
            "failed" => peer.handle(now_ms, disk(Disk::Failed)),
            "epochs" => {
                let (accepted, current) = (words[1].parse().unwrap(), words[2].parse().unwrap());
                peer.handle(now_ms, disk(Disk::EpochsSaved(Epochs { accepted, current })));
            }
            "truncated" | "reloaded" | "installed" => {
                let generation = words[1].parse().unwrap();
                let last = words.get(2).map_or(Zxid::ZERO, |word| zxid(word));
                let report = match words[0] {
                    "truncated" => Disk::Truncated { generation, last },
                    "reloaded" => Disk::Reloaded { generation, last },
                    _ => Disk::SnapshotInstalled { generation },
                };
                peer.handle(now_ms, disk(report));
            }
            "opened" => {
                let opened = Input::SnapshotOpened { link: link(words[1]), zxid: zxid(words[2]) };
                peer.handle(now_ms, opened);
            }
            "surveyed" => {
                let survey = (words.len() > 2).then(|| LogSurvey {
                    at_or_before: zxid(words[2]),
                    after: zxid(words[3]),
                    log_bytes: 1,
                    snapshot_bytes: 100,
                });
                peer.handle(now_ms, Input::LogSurveyed { link: link(words[1]), survey });
            }
            "read" => {
                let entries = words[2..].iter().map(|word| entry(zxid(word))).collect();
                peer.handle(now_ms, Input::LogRead { link: link(words[1]), entries });
            }
            "propose" => match peer.next_zxid(0) {
                Some(zxid) => drop(peer.propose(now_ms, entry(zxid), None)),
                None => drop(writeln!(self.out, "  nothing can be proposed")),
            },
            "at" => {
                self.now_ms = words[1].parse().unwrap();
                peer.wake(self.now_ms);
            }
            _ if self.more_input(words) => {}
            _ => {
                let text = words[1..].join(" ");
                let Some(peer) = &mut self.peer else { return };
                with_packet(&text, |packet| {
                    let verdict = peer.packet(now_ms, link(words[0]), packet);
                    if let (Verdict::ForNode(_), true) = (verdict, self.settings.observer_masters) {
                        let _ = writeln!(self.out, "  for the node");
                    }
                });
            }
        }
        self.effects();
    }

    /// Inputs beyond those of a plain leader or learner; false if it is none of them.
    fn more_input(&mut self, words: &[&str]) -> bool {
        let Some(peer) = &mut self.peer else { return false };
        let now_ms = self.now_ms;
        let link = |word: &str| LinkId(word.parse().unwrap());
        match words[0] {
            "handover" => {
                let begun = peer.hand_over(now_ms);
                let _ = writeln!(self.out, "  {}", if begun { "begun" } else { "nobody can" });
            }
            // Time is later, but nothing has had a turn yet.
            "stalled" => self.now_ms = words[1].parse().unwrap(),
            "kept" => {
                let id = words[1].parse().unwrap();
                peer.handle(now_ms, Input::Disk(Disk::EnsembleIdSaved(id)));
            }
            "progress" => peer.handle(now_ms, Input::Progress(link(words[1]))),
            "touched" => {
                let mut touched = Vec::new();
                for word in &words[2..] {
                    put_touched(&mut touched, SessionId(word.parse().unwrap()), 4000);
                }
                peer.answer_ping(crate::zxid(words[1]), touched.into());
            }
            "revalidate" => {
                peer.revalidate(SessionId(words[1].parse().unwrap()), 4000);
            }
            "reconfigure" => match peer.next_zxid(0) {
                Some(zxid) => {
                    let config = configuration(&show(zxid), &words[1..]);
                    let _ = peer.propose(now_ms, reconfiguration(&config), Some(config));
                }
                None => drop(writeln!(self.out, "  nothing can be proposed")),
            },
            "stay" => peer.may_lead(now_ms, false),
            "refused" => peer.handle(now_ms, Input::DialFailed(Sid(words[1].parse().unwrap()))),
            _ => return false,
        }
        true
    }

    fn effects(&mut self) {
        let Some(peer) = &mut self.peer else { return };
        while let Some(effect) = peer.poll_effect() {
            let line = match effect {
                Effect::Send(link, packet) => format!("{} <- {}", link.0, sent(&packet)),
                Effect::Close(link, why) => format!("close {}: {why}", link.0),
                Effect::Append(entry) => format!("append {}", show(entry.zxid)),
                Effect::Hold(entry) => format!("hold {}", show(entry.zxid)),
                Effect::SaveEpochs(epochs) => {
                    format!("save accepted={} current={}", epochs.accepted, epochs.current)
                }
                Effect::Commit(zxid) => format!("commit {}", show(zxid)),
                Effect::FastForward(zxid) => format!("fast forward to {}", show(zxid)),
                Effect::Truncate { generation, to } => {
                    format!("truncate to {} generation {generation}", show(to))
                }
                Effect::ReceiveSnapshot { generation, link, zxid } => {
                    let zxid = show(zxid);
                    format!("receive snapshot {zxid} from {} generation {generation}", link.0)
                }
                Effect::Reload { generation } => format!("reload generation {generation}"),
                Effect::SurveyLog { link, peer } => {
                    format!("survey the log for {} at {}", link.0, show(peer))
                }
                Effect::ReadLog { link, after, to } => {
                    format!("read the log for {}: {} to {}", link.0, show(after), show(to))
                }
                Effect::OpenSnapshot { link, at_least } => {
                    format!("open a snapshot for {}, at least to {}", link.0, show(at_least))
                }
                Effect::SendSnapshot(link) => format!("{} <- the snapshot", link.0),
                Effect::SaveTrust => "save that we count again".to_owned(),
                Effect::Notify { to, state, vote, .. } if self.votes => {
                    format!("{to} is told {state:?} {}", vote.leader)
                }
                Effect::Notify { .. } => continue,
                Effect::ConfigSeen(config) => format!("seen: the configuration of {}", of(&config)),
                Effect::ConfigHeard(config) => format!("heard: that of {}", of(&config)),
                Effect::ConfigActive(config) => format!("in force: that of {}", of(&config)),
                other => format!("{other:?}"),
            };
            let _ = writeln!(self.out, "  {line}");
        }
    }
}

/// The lines of members, as a script names them.
fn members(words: &[&str]) -> String {
    let mut lines = String::new();
    for member in words {
        let sid = member.trim_end_matches(['o', '\'']);
        let role = if member.contains('o') { "observer" } else { "participant" };
        let ports = if member.contains('\'') { "3:4" } else { "1:2" };
        let _ = writeln!(lines, "server.{sid}=h{sid}:{ports}:{role}");
    }
    lines
}

fn configuration(version: &str, words: &[&str]) -> Arc<QuorumVerifier> {
    let text = format!("{}version={:x}", members(words), zxid(version).0);
    Arc::new(QuorumVerifier::parse(&text, false).unwrap())
}

/// A configuration's version.
fn of(config: &QuorumVerifier) -> String {
    show(Zxid(config.version()))
}

fn sent(packet: &Outgoing) -> String {
    let packet = packet.as_packet();
    let name = packet.kind().name().unwrap_or("?");
    match packet {
        Packet::UpToDate | Packet::Sync | Packet::Ours(Ours::Pulse { .. } | Ours::Counted) => {
            name.to_owned()
        }
        Packet::Ours(Ours::Handover { zxid, successor }) => {
            format!("{name} {} to {successor}", show(zxid))
        }
        Packet::Request(request) => {
            format!("{name} of session {} cxid {}", request.session.0, request.cxid)
        }
        Packet::Ping { zxid, touched: Some(touched) } => {
            let sessions: Vec<i64> = touched.iter().map(|(session, _)| session.0).collect();
            format!("{name} {} heard from {sessions:?}", show(zxid))
        }
        Packet::Revalidate { session, .. } => format!("{name} {}?", session.0),
        Packet::Revalidated { session, valid } => format!("{name} {} {valid}", session.0),
        Packet::Ours(Ours::Ensemble { id }) => format!("{name} {id:#x}"),
        Packet::FollowerInfo { zxid, info } => {
            let theirs = Capabilities::from_trailing(info.trailing);
            let needs = |bit| theirs.is_some_and(|theirs| theirs.has(bit));
            let silent = if needs(Capabilities::NO_VOICE) { " without a voice" } else { "" };
            let snap = if needs(Capabilities::WANTS_SNAPSHOT) { " wants a snapshot" } else { "" };
            format!("{name} {}{silent}{snap}", show(zxid))
        }
        Packet::AckEpoch { zxid, current_epoch } => {
            format!("{name} {} current={current_epoch}", show(zxid))
        }
        Packet::NewLeader { zxid, config: Some(text) } if !text.ends_with("version=0") => {
            let config = QuorumVerifier::parse(&text, false).unwrap();
            format!("{name} {}, configuration of {}", show(zxid), of(&config))
        }
        Packet::CommitAndActivate { zxid, designated_leader } => {
            format!("{name} {}, led by {designated_leader}", show(zxid))
        }
        other => format!("{name} {}", show(other.zxid())),
    }
}

/// A packet as a script writes it.
fn with_packet(text: &str, take: impl FnOnce(&Packet<'_>)) {
    let words: Vec<&str> = text.split_whitespace().collect();
    let numbered = words.get(1).filter(|word| word.contains(':'));
    let at = numbered.map_or(Zxid(-1), |word| zxid(word));
    let entry = match words.get(2) {
        Some(&"of") => reconfiguration(&configuration(words[1], &words[3..])),
        _ => entry(at),
    };
    let mut trailing = Vec::new();
    let mut touched = Vec::new();
    for word in &words {
        let bits = match *word {
            "ours" => OURS,
            "watchful" => WATCHFUL,
            "keeps" => KEEPS,
            "sums" => SUMS,
            "hears" => HEARS,
            "silent" => HEARS | Capabilities::NO_VOICE,
            "snap" => HEARS | Capabilities::WANTS_SNAPSHOT,
            _ => continue,
        };
        let id = words.iter().find_map(|word| word.strip_prefix("id="));
        let ensemble_id = id.map_or(0, |id| id.parse().unwrap());
        Capabilities { bits, ensemble_id }.encode(&mut trailing);
    }
    let config = words.iter().find_map(|word| word.strip_prefix("config="));
    let info = |sid: &str| LearnerInfo {
        sid: Sid(sid.parse().unwrap()),
        protocol_version: LearnerInfo::PROTOCOL_VERSION,
        config_version: config.map_or(0, |version| zxid(version).0),
        trailing: &trailing,
    };
    let packet = match words[0] {
        "FOLLOWERINFO" => Packet::FollowerInfo { zxid: at, info: info(words[2]) },
        "OBSERVERINFO" => Packet::ObserverInfo { zxid: at, info: info(words[2]) },
        "LEADERINFO" => Packet::LeaderInfo {
            zxid: at,
            protocol_version: LearnerInfo::PROTOCOL_VERSION,
            trailing: &trailing,
        },
        "ACKEPOCH" => Packet::AckEpoch { zxid: at, current_epoch: words[2].parse().unwrap() },
        "DIFF" => Packet::Diff { zxid: at },
        "TRUNC" => Packet::Trunc { zxid: at },
        "SNAP" => Packet::Snap { zxid: at },
        "PROPOSAL" => Packet::Proposal { zxid: at, entry: &entry.payload },
        "INFORM" => Packet::Inform { zxid: at, entry: &entry.payload },
        "COMMIT" => Packet::Commit { zxid: at },
        "COMMITANDACTIVATE" => Packet::CommitAndActivate {
            zxid: at,
            designated_leader: Sid(words[2].parse().unwrap()),
        },
        "INFORMANDACTIVATE" => Packet::InformAndActivate {
            zxid: at,
            designated_leader: Sid(words[words.len() - 1].parse().unwrap()),
            entry: &entry.payload,
        },
        "NEWLEADER" => {
            let config = words.get(2).map(|text| text.replace("\\n", "\n").into());
            Packet::NewLeader { zxid: at, config }
        }
        "UPTODATE" => Packet::UpToDate,
        "ACK" => Packet::Ack { zxid: at },
        "PING" => Packet::Ping { zxid: at, touched: None },
        _ => further_packet(&words, at, &mut touched),
    };
    take(&packet);
}

/// A packet between the servers' nodes, or of ours.
fn further_packet<'a>(words: &[&str], at: Zxid, touched: &'a mut Vec<u8>) -> Packet<'a> {
    match words[0] {
        "PONG" => {
            for word in &words[2..] {
                put_touched(touched, SessionId(word.parse().unwrap()), 4000);
            }
            let touched = TouchedSessions::from_raw(touched).unwrap();
            Packet::Ping { zxid: at, touched: Some(touched) }
        }
        "REQUEST" | "SYNCREQUEST" => Packet::Request(ForwardedRequest {
            session: SessionId(words[1].parse().unwrap()),
            cxid: words[2].parse().unwrap(),
            op: if words[0] == "REQUEST" { OpCode::CREATE } else { OpCode::SYNC },
            body: &[],
            identities: None,
        }),
        "SYNC" => Packet::Sync,
        "REVALIDATE" => {
            let session = SessionId(words[1].parse().unwrap());
            Packet::Revalidate { session, timeout_ms: 4000 }
        }
        "REVALIDATED" => {
            let session = SessionId(words[1].parse().unwrap());
            Packet::Revalidated { session, valid: words[2] == "true" }
        }
        "ENSEMBLE" => Packet::Ours(Ours::Ensemble { id: words[1].parse().unwrap() }),
        "COUNTED" => Packet::Ours(Ours::Counted),
        "PULSE" => {
            let interval_ms = words[1].parse().unwrap();
            Packet::Ours(Ours::Pulse { interval_ms })
        }
        "HANDOVER" => {
            let successor = Sid(words[2].parse().unwrap());
            Packet::Ours(Ours::Handover { zxid: at, successor })
        }
        other => panic!("no packet {other:?} in scripts"),
    }
}
