//! A recorded connection: the packets of both directions in the order in which they were seen.

use std::path::Path;

use oxkeeper_proto::Sid;
use oxkeeper_proto::limits::FIELD_BYTES_MAX_DEFAULT;
use oxkeeper_proto::packet::Packet;
use serde_json::Value;

/// One packet: its bytes.
pub struct Recorded {
    pub from_learner: bool,
    bytes: Vec<u8>,
}

pub struct Recording {
    pub name: String,
    pub learner: Sid,
    pub leader: Sid,
    pub packets: Vec<Recorded>,
}

impl Recorded {
    pub fn packet(&self) -> Packet<'_> {
        let split = Packet::split(&self.bytes, FIELD_BYTES_MAX_DEFAULT).expect("it was decoded");
        split.whole().expect("it is whole").0
    }
}

/// Every recorded connection of the quorum port that is whole at its beginning.
pub fn all() -> Vec<Recording> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto/tests/fixtures/quorum");
    let mut names = Vec::new();
    for version in std::fs::read_dir(&root).expect("proto has the recordings") {
        let version = version.expect("a directory can be listed").path();
        if version.is_dir() {
            for file in std::fs::read_dir(&version).expect("a version can be listed") {
                let path = file.expect("a version can be listed").path();
                let name = path.to_string_lossy().into_owned();
                // SASL has its own first bytes, an observer master its own rules.
                let ours = name.contains(".zab.c") && !name.contains("quorum-sasl");
                if ours && name.ends_with(".jsonl") {
                    names.push(path);
                }
            }
        }
    }
    names.sort();
    names.iter().filter_map(|path| read(path)).collect()
}

fn read(path: &Path) -> Option<Recording> {
    let text = std::fs::read_to_string(path).expect("a recording can be read");
    let file = path.file_name()?.to_str()?.strip_suffix(".jsonl")?;
    let (base, ends) = file.rsplit_once('.')?;
    let (learner, leader) = ends.split_once('-')?;
    let bytes = |from: &str, to: &str| {
        std::fs::read(path.with_file_name(format!("{base}.{from}-{to}.bin"))).unwrap_or_default()
    };
    let (up, down) = (bytes(learner, leader), bytes(leader, learner));
    let mut packets = Vec::new();
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).expect("a line is JSON");
        if line.get("type").is_none() {
            continue;
        }
        let from_learner = line["dir"].as_str()? == format!("{learner}>{leader}");
        let offset = usize::try_from(line["off"].as_u64()?).ok()?;
        let stream = if from_learner { &up } else { &down };
        let split = Packet::split(&stream[offset..], FIELD_BYTES_MAX_DEFAULT);
        let Some((_, rest)) = split.expect("recorded packets decode").whole() else { break };
        let bytes = stream[offset..stream.len() - rest.len()].to_vec();
        packets.push(Recorded { from_learner, bytes });
    }
    let greeted = packets.first().is_some_and(|first| {
        matches!(first.packet(), Packet::FollowerInfo { .. } | Packet::ObserverInfo { .. })
    });
    greeted.then(|| Recording {
        name: format!("{}/{file}", path.parent().unwrap().file_name().unwrap().to_str().unwrap()),
        learner: Sid(learner.parse().expect("a server id")),
        leader: Sid(leader.parse().expect("a server id")),
        packets,
    })
}

impl Recording {
    /// The first packet of one side that `pick` wants.
    pub fn find<T>(&self, pick: impl Fn(&Packet<'_>) -> Option<T>) -> Option<T> {
        self.packets.iter().find_map(|recorded| pick(&recorded.packet()))
    }

    /// The text of the configuration in NEWLEADER.
    pub fn config(&self) -> Option<String> {
        self.find(|packet| match packet {
            Packet::NewLeader { config, .. } => config.as_ref().map(|text| text.to_string()),
            _ => None,
        })
    }
}
