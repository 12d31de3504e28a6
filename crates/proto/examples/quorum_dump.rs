//! Prints one direction of a connection between servers, a line per message.
//!
//! For looking into mixed ensembles: capture a server port, put one direction's bytes into a file
//! (`tshark -r FILE -qz follow,tcp,raw,N`, or any tool that reassembles TCP), then
//!
//! ```sh
//! cargo run -p oxkeeper-proto --example quorum_dump -- leader-to-follower.bin
//! ```
//!
//! Which port it is shows in the first bytes: a hello, or the length of a message, which is 28 or
//! more, or the type of a packet, which is not. Each line begins with the offset in the stream. A
//! message that cannot be understood ends the listing, with what is wrong with it, and exit code 1.

use std::process::ExitCode;

use oxkeeper_proto::limits::FRAME_BYTES_CEILING;
use oxkeeper_proto::notification::split_message;
use oxkeeper_proto::packet::SNAPSHOT_SIGNATURE;
use oxkeeper_proto::{
    Capabilities, Hello, Notification, OpCode, Packet, Payload, QuorumAuth, Reader, Request, Split,
    Txn,
};

/// No line is longer: a multi can be a megabyte.
const COLUMNS: usize = 240;

fn main() -> ExitCode {
    let files: Vec<_> = std::env::args_os().skip(1).collect();
    if files.is_empty() {
        eprintln!("quorum_dump FILE...: bytes of one direction of a connection between servers");
        return ExitCode::from(2);
    }
    let mut sound = true;
    for file in &files {
        if files.len() > 1 {
            println!("== {}", file.display());
        }
        let told = std::fs::read(file).map_err(|error| error.to_string());
        if let Err(error) = told.and_then(|bytes| Dump { whole: &bytes, rest: &bytes }.run()) {
            println!("{}: {error}", file.display());
            sound = false;
        }
    }
    if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A stream on its way to the terminal.
struct Dump<'a> {
    whole: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Dump<'a> {
    fn run(mut self) -> Result<(), String> {
        let first = self.rest.first_chunk().map_or(0, |first| i32::from_be_bytes(*first));
        match first {
            // Both versions of the hello begin with these four bytes.
            -1 => {
                self.hello()?;
                self.auth()?;
                self.notifications()
            }
            _ => {
                self.auth()?;
                let first = self.rest.first_chunk().map_or(0, |first| i32::from_be_bytes(*first));
                if first >= 28 { self.notifications() } else { self.packets() }
            }
        }
    }

    /// Takes one record off the stream and prints it; false at the end.
    fn take<T, E: ToString>(
        &mut self,
        split: Result<Split<'a, T>, E>,
        text: impl FnOnce(&T) -> String,
    ) -> Result<Option<T>, String> {
        let at = self.whole.len() - self.rest.len();
        match split {
            Ok(Split::Whole(record, rest)) => {
                let mut line: String = text(&record).chars().take(COLUMNS).collect();
                if line.chars().count() == COLUMNS {
                    line.push('…');
                }
                println!("{at:>8}  {line}");
                self.rest = rest;
                Ok(Some(record))
            }
            Ok(Split::Incomplete { .. }) if self.rest.is_empty() => Ok(None),
            Ok(Split::Incomplete { needed }) => {
                let cut = self.rest.len();
                println!("{at:>8}  cut: {cut} bytes of a message, {needed} or more are missing");
                self.rest = &[];
                Ok(None)
            }
            Err(error) => Err(format!("at {at}: {}", error.to_string())),
        }
    }

    fn hello(&mut self) -> Result<(), String> {
        self.take(Hello::split(self.rest), |hello| {
            let addresses: Vec<_> = hello.addresses.iter().map(ToString::to_string).collect();
            format!("HELLO {:?} from {} at {}", hello.form, hello.sid, addresses.join(" | "))
        })?;
        Ok(())
    }

    fn auth(&mut self) -> Result<(), String> {
        while QuorumAuth::is_next(self.rest) == Some(true) {
            self.take(QuorumAuth::split(self.rest), |message| {
                let token = message.token.map(String::from_utf8_lossy);
                format!("SASL {:?} {token:?}", message.status)
            })?;
        }
        Ok(())
    }

    fn notifications(&mut self) -> Result<(), String> {
        while self.take(split_message(self.rest), |payload| notification(payload))?.is_some() {}
        Ok(())
    }

    fn packets(&mut self) -> Result<(), String> {
        loop {
            // Whatever bound the servers had: what they accepted is shown.
            let split = Packet::split(self.rest, FRAME_BYTES_CEILING);
            match self.take(split, packet)? {
                Some(Packet::Snap { .. }) => self.snapshot(),
                Some(_) => {}
                None => return Ok(()),
            }
        }
    }

    fn snapshot(&mut self) {
        let signature = SNAPSHOT_SIGNATURE.as_bytes();
        let end = self.rest.windows(signature.len()).position(|window| window == signature);
        let len = end.map_or(self.rest.len(), |end| end + signature.len());
        let at = self.whole.len() - self.rest.len();
        let cut = if end.is_none() { ", cut" } else { "" };
        println!("{at:>8}  … {len} bytes of snapshot{cut}");
        self.rest = &self.rest[len..];
    }
}

fn notification(payload: &[u8]) -> String {
    match Notification::decode(payload) {
        Ok(vote) => format!(
            "{} leader {} zxid {} round {:#x} epoch {:#x} version {} config {:?}",
            vote.state.name(),
            vote.leader,
            vote.zxid,
            vote.election_epoch,
            vote.peer_epoch,
            vote.version,
            vote.config,
        ),
        Err(error) => format!("ignored, {} bytes: {error}", payload.len()),
    }
}

fn packet(packet: &Packet<'_>) -> String {
    let details = match packet {
        Packet::Request(request) => {
            let body = match Request::decode(request.op, &mut Reader::new(request.body)) {
                Ok(Some(body)) => asked(&body),
                Ok(None) => format!("{} of {} bytes", request.op, request.body.len()),
                Err(error) => format!("{}: {error}", request.op),
            };
            let by = request.identities.map(|list| {
                let list = list.iter().map(|one| {
                    format!("{}:{}", one.scheme.unwrap_or_default(), one.id.unwrap_or_default())
                });
                list.collect::<Vec<_>>().join(",")
            });
            format!(
                "session {} cxid {} by {}: {body}",
                request.session,
                request.cxid,
                by.as_deref().unwrap_or("the server itself"),
            )
        }
        Packet::Proposal { entry, .. } | Packet::Inform { entry, .. } => transaction(entry),
        Packet::InformAndActivate { designated_leader, entry, .. } => {
            format!("leader {designated_leader}, {}", transaction(entry))
        }
        Packet::Ping { touched: Some(touched), .. } => {
            let sessions = touched.iter().map(|(session, ms)| format!("{session} {ms} ms"));
            format!("heard from {:?}", sessions.collect::<Vec<_>>())
        }
        Packet::Revalidate { session, timeout_ms } => format!("{session} {timeout_ms} ms?"),
        Packet::Revalidated { session, valid } => format!("{session} valid: {valid}"),
        Packet::CommitAndActivate { designated_leader, .. } => {
            format!("leader {designated_leader}")
        }
        Packet::NewLeader { config, .. } => format!("{config:?}"),
        Packet::FollowerInfo { info, .. } | Packet::ObserverInfo { info, .. } => format!(
            "server {} protocol {:#x} config {:#x}{}",
            info.sid,
            info.protocol_version,
            info.config_version,
            trailer(info.trailing),
        ),
        Packet::LeaderInfo { protocol_version, trailing, .. } => {
            format!("protocol {protocol_version:#x}{}", trailer(trailing))
        }
        Packet::AckEpoch { current_epoch, .. } => format!("current epoch {current_epoch}"),
        Packet::Ours(ours) => format!("{ours:?}"),
        Packet::Unknown { data: bytes, .. } => data(*bytes),
        Packet::Ack { .. }
        | Packet::Commit { .. }
        | Packet::Ping { touched: None, .. }
        | Packet::Sync
        | Packet::UpToDate
        | Packet::Diff { .. }
        | Packet::Trunc { .. }
        | Packet::Snap { .. } => String::new(),
    };
    format!("{} {} {details}", packet.kind(), packet.zxid()).trim_end().to_owned()
}

fn transaction(entry: &[u8]) -> String {
    match Payload::decode(entry) {
        Ok(Payload { header, txn, digest }) => {
            let digest = digest.map_or(String::new(), |d| format!(" digest {:#x}", d.tree_digest));
            let done = done(header.op, &txn);
            format!("session {} cxid {}{digest} {done}", header.session, header.cxid)
        }
        Err(error) => format!("{} bytes that are no transaction: {error}", entry.len()),
    }
}

/// A request in a few words.
fn asked(request: &Request<'_>) -> String {
    let op = request.op();
    match request {
        Request::Create(create) => format!("{op} {} {}", create.path, data(create.data)),
        Request::Delete(one) | Request::Check(one) => format!("{op} {} @{}", one.path, one.version),
        Request::SetData(set) => format!("{op} {} @{} {}", set.path, set.version, data(set.data)),
        Request::SetAcl(set) => format!("{op} {} @{}", set.path, set.version),
        Request::Multi(multi) => format!("{op} of {}", multi.len()),
        Request::CreateSession | Request::CloseSession => op.to_string(),
        other => format!("{other:?}"),
    }
}

/// A transaction in a few words; `@` is the version afterwards.
fn done(op: OpCode, txn: &Txn<'_>) -> String {
    match txn {
        Txn::Create(create) => {
            let owned = if create.ephemeral { " ephemeral" } else { "" };
            format!("{op}{owned} {} {}", create.path, data(create.data))
        }
        Txn::Delete(path) => format!("{op} {path}"),
        Txn::SetData(set) => format!("{op} {} @{} {}", set.path, set.version, data(set.data)),
        Txn::SetAcl(set) => format!("{op} {} @{}", set.path, set.version),
        Txn::Check(check) => format!("{op} {} @{}", check.path, check.version),
        Txn::CreateSession(timeout_ms) => format!("{op} {timeout_ms} ms"),
        Txn::CloseSession(None) => op.to_string(),
        Txn::CloseSession(Some(paths)) => format!("{op} {:?}", paths.iter().collect::<Vec<_>>()),
        Txn::Error(code) => format!("{op} {code}"),
        Txn::Multi(multi) => {
            let subs = multi.iter().map(|(op, sub)| done(op, &sub));
            format!("{op}: {}", subs.collect::<Vec<_>>().join("; "))
        }
    }
}

fn data(data: Option<&[u8]>) -> String {
    data.map_or("null".to_owned(), |bytes| format!("\"{}\"", bytes.escape_ascii()))
}

fn trailer(trailing: &[u8]) -> String {
    match Capabilities::from_trailing(trailing) {
        Some(ours) => {
            format!(", one of ours: abilities {:#x} ensemble {:#x}", ours.bits, ours.ensemble_id)
        }
        None if trailing.is_empty() => String::new(),
        None => format!(", and {} bytes of unknown meaning", trailing.len()),
    }
}
