//! The election port: who is there, and whom they vote for.
//!
//! One connection joins each pair of servers and serves both directions. Whoever opened it says
//! [`Hello`], without a length before it; after that both sides send messages of
//! `length:int, payload`, each a [`Notification`]. Of two connections the one opened by the server
//! with the larger id stays, which is not this module's business.
//!
//! The bytes come from anybody who can reach the port, before anything is known about them. So
//! every length has a bound from [`crate::limits`], nothing is allocated before it is checked, and
//! what cannot be understood costs the message (a notification) or the connection (a hello, a
//! length), never more: `QuorumCnxManager`, `FastLeaderElection.Messenger.WorkerReceiver`.

use core::net::IpAddr;
use std::borrow::Cow;
use std::fmt;

use crate::codec::{DecodeError, Put, Reader};
use crate::connect::{begin_frame, end_frame};
use crate::ids::{Sid, Zxid};
use crate::limits::{CONFIG_TEXT_BYTES_MAX, ELECTION_MESSAGE_BYTES_MAX, HELLO_ADDRESSES_BYTES_MAX};
use crate::stream::Split;

/// What a server does at the moment (`QuorumPeer.ServerState`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PeerState {
    /// Looking for a leader.
    Looking,
    /// Follows one, and votes.
    Following,
    /// Leads.
    Leading,
    /// Follows one, without a vote.
    Observing,
}

impl PeerState {
    /// The number on the wire.
    pub fn code(self) -> i32 {
        match self {
            PeerState::Looking => 0,
            PeerState::Following => 1,
            PeerState::Leading => 2,
            PeerState::Observing => 3,
        }
    }

    /// The state with this number.
    pub fn from_code(value: i32) -> Result<PeerState, DecodeError> {
        Ok(match value {
            0 => PeerState::Looking,
            1 => PeerState::Following,
            2 => PeerState::Leading,
            3 => PeerState::Observing,
            value => return Err(DecodeError::Unknown { what: "peer state", value }),
        })
    }

    /// ZooKeeper's name of it.
    pub fn name(self) -> &'static str {
        match self {
            PeerState::Looking => "LOOKING",
            PeerState::Following => "FOLLOWING",
            PeerState::Leading => "LEADING",
            PeerState::Observing => "OBSERVING",
        }
    }
}

/// One server's vote, as told to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification<'a> {
    /// What the sender does.
    pub state: PeerState,
    /// Whom it votes for; its leader if it is not looking. [`Sid::NONE`] from a looking observer.
    pub leader: Sid,
    /// The last logged zxid behind the vote, as it was when the vote was cast.
    pub zxid: Zxid,
    /// The sender's round of election, its logical clock. Starts at 0 with every process.
    pub election_epoch: i64,
    /// The epoch behind the vote. Without it in the message (before 3.4): that of the zxid.
    pub peer_epoch: i64,
    /// The form of the message: 0 if it did not say, 1 without, 2 with the configuration.
    pub version: i32,
    /// The sender's configuration, the text of `/zookeeper/config`. From version 2 on.
    pub config: Option<Cow<'a, str>>,
    /// One that was proposed later, and that the sender needs a quorum of as well. Only ours say
    /// so, behind the configuration in force, where Apache's do not look.
    pub proposed: Option<Cow<'a, str>>,
}

impl<'a> Notification<'a> {
    /// The form that every server since 3.5 sends.
    pub const VERSION: i32 = 2;
    /// The shortest form (3.3): it has no peer epoch.
    const BYTES_WITHOUT_EPOCH: usize = 28;
    /// The form of 3.4, with a number behind the peer epoch that is no version.
    const BYTES_WITHOUT_VERSION: usize = 40;
    /// What a proposed configuration's length and text stand behind: "OxKn".
    const PROPOSED: [u8; 4] = [0x4f, 0x78, 0x4b, 0x6e];

    /// Decodes a message's payload. Bytes behind the last field are ignored.
    ///
    /// # Errors
    /// The message is to be dropped; the connection may stay. `Truncated` means that it ends early,
    /// not that more of it may come.
    pub fn decode(payload: &'a [u8]) -> Result<Notification<'a>, DecodeError> {
        let mut reader = Reader::new(payload);
        let state = reader.i32()?;
        let leader = Sid(reader.i64()?);
        let zxid = Zxid(reader.i64()?);
        let election_epoch = reader.i64()?;
        let peer_epoch = match payload.len() {
            Self::BYTES_WITHOUT_EPOCH => i64::from(zxid.epoch()),
            _ => reader.i64()?,
        };
        let version = match payload.len() {
            Self::BYTES_WITHOUT_EPOCH | Self::BYTES_WITHOUT_VERSION => 0,
            _ => reader.i32()?,
        };
        let config = if version > 1 { Some(decode_config(&mut reader)?) } else { None };
        let proposed = config.as_ref().and_then(|_| decode_proposed(&mut reader));
        Ok(Notification {
            state: PeerState::from_code(state)?,
            leader,
            zxid,
            election_epoch,
            peer_epoch,
            version,
            config,
            proposed,
        })
    }

    /// Appends the payload: with its configuration as version 2 or later, without as 40 bytes,
    /// which are read as version 0.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_int(self.state.code());
        out.put_long(self.leader.0);
        out.put_long(self.zxid.0);
        out.put_long(self.election_epoch);
        out.put_long(self.peer_epoch);
        match &self.config {
            Some(text) => {
                out.put_int(self.version.max(Self::VERSION));
                out.put_buffer(Some(text.as_bytes()));
                self.encode_proposed(out, text.len());
            }
            None => out.put_int(1),
        }
    }

    /// A proposed configuration is left out where the message would get too long: the vote is what
    /// has to arrive.
    fn encode_proposed(&self, out: &mut Vec<u8>, config_bytes: usize) {
        let room = CONFIG_TEXT_BYTES_MAX.saturating_sub(config_bytes + 8);
        if let Some(text) = self.proposed.as_ref().filter(|text| text.len() <= room) {
            out.extend_from_slice(&Self::PROPOSED);
            out.put_buffer(Some(text.as_bytes()));
        }
    }

    /// Appends the whole message, its length first. A configuration beyond
    /// [`crate::limits::CONFIG_TEXT_BYTES_MAX`] makes a message that nobody accepts.
    pub fn encode_message(&self, out: &mut Vec<u8>) {
        let start = begin_frame(out);
        self.encode(out);
        end_frame(out, start);
    }

    /// The same, borrowing nothing.
    pub fn into_owned(self) -> Notification<'static> {
        let owned = |text: Cow<'a, str>| Cow::Owned(text.into_owned());
        Notification { config: self.config.map(owned), proposed: self.proposed.map(owned), ..self }
    }
}

/// A configuration's text must end where the message does, or before.
fn decode_config<'a>(reader: &mut Reader<'a>) -> Result<Cow<'a, str>, DecodeError> {
    let len = reader.i32()?;
    let max = reader.rest().len();
    match usize::try_from(len) {
        Ok(bytes) if bytes <= max => Ok(String::from_utf8_lossy(reader.take(bytes)?)),
        _ => Err(DecodeError::Length { len, max }),
    }
}

/// What stands behind the configuration, if ours have put it there. Anything else is ignored.
fn decode_proposed<'a>(reader: &mut Reader<'a>) -> Option<Cow<'a, str>> {
    let text = reader.rest().strip_prefix(&Notification::PROPOSED)?;
    decode_config(&mut Reader::new(text)).ok()
}

/// A length on the election port that closes the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an election message of {len} bytes, 1 to {ELECTION_MESSAGE_BYTES_MAX} are accepted")]
pub struct MessageLength {
    /// What was announced.
    pub len: i32,
}

/// Splits the first message off what follows the hello; the record is its payload.
pub fn split_message(bytes: &[u8]) -> Result<Split<'_, &[u8]>, MessageLength> {
    let Some((head, rest)) = bytes.split_first_chunk::<4>() else {
        return Ok(Split::Incomplete { needed: 4 - bytes.len() });
    };
    let len = i32::from_be_bytes(*head);
    if len <= 0 || len as usize > ELECTION_MESSAGE_BYTES_MAX {
        return Err(MessageLength { len });
    }
    Ok(match rest.split_at_checked(len as usize) {
        Some((payload, rest)) => Split::Whole(payload, rest),
        None => Split::Incomplete { needed: len as usize - rest.len() },
    })
}

/// How a hello is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HelloForm {
    /// The id alone (3.4).
    Bare,
    /// One address (`PROTOCOL_VERSION_V1`).
    V1,
    /// All addresses (`PROTOCOL_VERSION_V2`, since 3.6 with `multiAddress.enabled`).
    V2,
}

/// A host, as a name or an IP address without brackets, and a port. Names are kept as names: they
/// are resolved anew at every dial and compared as text.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    /// The host.
    pub host: Box<str>,
    /// The TCP port.
    pub port: u16,
}

/// The first words on a connection to the election port (`QuorumCnxManager.InitialMessage`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// How it was or is to be written.
    pub form: HelloForm,
    /// Who opened the connection.
    pub sid: Sid,
    /// Where the sender's own election port is, wildcards left out. A hint only: whoever sends a
    /// hello can claim anything. Empty: take the configured ones.
    pub addresses: Vec<Address>,
}

/// Why a hello is refused. The connection is to be closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HelloError {
    /// It begins with no id and no version that is known.
    #[error("a hello of unknown version {version}")]
    Version {
        /// What it begins with.
        version: i64,
    },
    /// Its addresses are too long, or missing.
    #[error("a hello with {len} bytes of addresses, 1 to {HELLO_ADDRESSES_BYTES_MAX} are accepted")]
    Length {
        /// What was announced.
        len: i32,
    },
    /// An address cannot be understood.
    #[error("a hello from server {sid} with an address that is none: {text:?}")]
    Address {
        /// Who it claims to be.
        sid: Sid,
        /// The beginning of the address, as text.
        text: Box<str>,
    },
}

const HELLO_V1: i64 = -65536;
const HELLO_V2: i64 = -65535;

impl Hello {
    /// Splits the hello off the first bytes of a connection.
    ///
    /// # Errors
    /// The connection is to be closed.
    pub fn split(bytes: &[u8]) -> Result<Split<'_, Hello>, HelloError> {
        let Some((first, rest)) = bytes.split_first_chunk::<8>() else {
            return Ok(Split::Incomplete { needed: 8 - bytes.len() });
        };
        let form = match i64::from_be_bytes(*first) {
            HELLO_V1 => HelloForm::V1,
            HELLO_V2 => HelloForm::V2,
            sid if sid >= 0 => {
                let hello = Hello { form: HelloForm::Bare, sid: Sid(sid), addresses: Vec::new() };
                return Ok(Split::Whole(hello, rest));
            }
            version => return Err(HelloError::Version { version }),
        };
        let Some((sid, rest)) = rest.split_first_chunk::<8>() else {
            return Ok(Split::Incomplete { needed: 12 - rest.len() });
        };
        let Some((len, rest)) = rest.split_first_chunk::<4>() else {
            return Ok(Split::Incomplete { needed: 4 - rest.len() });
        };
        let (sid, len) = (Sid(i64::from_be_bytes(*sid)), i32::from_be_bytes(*len));
        if len <= 0 || len as usize > HELLO_ADDRESSES_BYTES_MAX {
            return Err(HelloError::Length { len });
        }
        let Some((text, rest)) = rest.split_at_checked(len as usize) else {
            return Ok(Split::Incomplete { needed: len as usize - rest.len() });
        };
        Ok(Split::Whole(Hello { form, sid, addresses: addresses(sid, text)? }, rest))
    }

    /// Appends the hello. It never says what its reader would refuse: [`HelloForm::V1`] has room
    /// for the first address, V2 for as many as fit, and without any the id stands alone.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let (version, addresses_max) = match self.form {
            HelloForm::Bare => (HELLO_V1, 0),
            HelloForm::V1 => (HELLO_V1, 1),
            HelloForm::V2 => (HELLO_V2, self.addresses.len()),
        };
        let mut text = String::new();
        for address in self.addresses.iter().take(addresses_max).map(Address::to_string) {
            if text.len() + 1 + address.len() > HELLO_ADDRESSES_BYTES_MAX {
                break;
            }
            if !text.is_empty() {
                text.push('|');
            }
            text.push_str(&address);
        }
        if text.is_empty() {
            return out.put_long(self.sid.0);
        }
        out.put_long(version);
        out.put_long(self.sid.0);
        out.put_buffer(Some(text.as_bytes()));
    }
}

/// The addresses of a hello. Empty ones at the end are none, as `String.split` has it.
fn addresses(sid: Sid, text: &[u8]) -> Result<Vec<Address>, HelloError> {
    let text = String::from_utf8_lossy(text);
    let listed = text.trim_end_matches('|');
    let mut addresses = Vec::new();
    for text in listed.split('|').filter(|_| !listed.is_empty()) {
        match Address::parse(text) {
            Some(address) if address.is_wildcard() => {}
            Some(address) => addresses.push(address),
            None => {
                let text = text.chars().take(80).collect();
                return Err(HelloError::Address { sid, text });
            }
        }
    }
    Ok(addresses)
}

impl Address {
    /// Reads `host:port` or `[host]:port`; the brackets are what lets a host hold colons
    /// (`ConfigUtils.getHostAndPort`). `None` if it is neither, or the host is empty or has
    /// characters that no name has.
    pub fn parse(text: &str) -> Option<Address> {
        let (host, port) = match text.strip_prefix('[') {
            Some(text) => text.split_once("]:")?,
            None => text.split_once(':')?,
        };
        let port = port.parse().ok()?;
        let nameless = |c: char| c.is_control() || c.is_whitespace() || "[]|\u{fffd}".contains(c);
        let named = !host.is_empty() && !host.contains(nameless);
        named.then(|| Address { host: host.into(), port })
    }

    /// Whether the host is the address that means *every address of this machine*: fit to listen
    /// at, useless to others.
    pub fn is_wildcard(&self) -> bool {
        self.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified())
    }
}

/// As a hello has it: an IPv6 address in brackets (`NetUtils.formatInetAddr`).
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(bytes: &[u8]) -> Hello {
        Hello::split(bytes).unwrap().whole().expect("whole").0
    }

    fn hello(version: i64, addresses: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_long(version);
        out.put_long(7);
        out.put_buffer(Some(addresses));
        out
    }

    fn hosts(addresses: &str) -> Result<Vec<String>, HelloError> {
        let bytes = hello(HELLO_V2, addresses.as_bytes());
        let (hello, rest) = Hello::split(&bytes)?.whole().expect("whole");
        assert!(rest.is_empty());
        Ok(hello.addresses.iter().map(|a| format!("{} {}", a.host, a.port)).collect())
    }

    #[test]
    fn addresses_are_read_as_java_reads_them() {
        for (text, expected) in [
            ("zoo1.example:3888", &["zoo1.example 3888"][..]),
            ("10.0.0.1:3888|[2001:db8::1]:3889", &["10.0.0.1 3888", "2001:db8::1 3889"]),
            ("[zoo1]:1", &["zoo1 1"]),
            ("zoo1:1|", &["zoo1 1"]),
            ("|", &[]),
            // Wildcards say nothing to others; what merely looks like one is a name.
            ("0.0.0.0:3888", &[]),
            ("[::]:3888|[0:0:0:0:0:0:0:0]:1|zoo1:2", &["zoo1 2"]),
            ("0.0.0.0.example:3888", &["0.0.0.0.example 3888"]),
        ] {
            let hosts = hosts(text).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(hosts, expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_and_named() {
        for text in [
            "zoo1",
            "zoo1:",
            "zoo1:x",
            "zoo1:-1",
            "zoo1:65536",
            ":3888",
            "2001:db8::1:3888",
            "[2001:db8::1",
            "[2001:db8::1]",
            "[2001:db8::1]3888",
            "[]:1",
            "|zoo1:1",
            "zoo 1:1",
            "zoo1:1:2",
            "zoo\n1:1",
        ] {
            assert!(matches!(hosts(text), Err(HelloError::Address { sid: Sid(7), .. })), "{text}");
        }
        let long = "x".repeat(2000);
        let Err(error) = hosts(&long) else { panic!("accepted") };
        assert!(error.to_string().len() < 200, "a log line of {} bytes", error.to_string().len());
    }

    #[test]
    fn a_hello_has_a_version_or_is_an_id() {
        assert_eq!(split(&5i64.to_be_bytes()).form, HelloForm::Bare);
        assert_eq!(split(&i64::MAX.to_be_bytes()).sid, Sid::ANONYMOUS_OBSERVER);
        assert_eq!(split(&hello(HELLO_V1, b"a:1")).form, HelloForm::V1);
        // Both versions are parsed alike.
        assert_eq!(split(&hello(HELLO_V1, b"a:1|b:2")).addresses.len(), 2);
        for version in [-1, -65534, -65537, i64::MIN] {
            assert_eq!(Hello::split(&hello(version, b"a:1")), Err(HelloError::Version { version }));
        }
    }

    #[test]
    fn the_addresses_of_a_hello_are_bounded_before_they_come() {
        for (len, fits) in [(0, false), (-1, false), (1, true), (2048, true), (2049, false)] {
            let mut bytes = hello(HELLO_V1, b"");
            bytes[16..20].copy_from_slice(&i32::to_be_bytes(len));
            match Hello::split(&bytes) {
                Ok(Split::Incomplete { needed }) => assert!(fits && needed == len as usize),
                other => assert!(!fits && other == Err(HelloError::Length { len }), "{len}"),
            }
        }
    }

    #[test]
    fn a_hello_never_says_what_is_refused() {
        let address = |host: &str| Address { host: host.into(), port: 3888 };
        let written = |form, hosts: &[&str]| {
            let addresses = hosts.iter().map(|host| address(host)).collect();
            let mut out = Vec::new();
            Hello { form, sid: Sid(1), addresses }.encode(&mut out);
            split(&out)
        };
        assert_eq!(written(HelloForm::V1, &["a", "b"]).addresses, [address("a")]);
        assert_eq!(written(HelloForm::V2, &["a", "::1"]).addresses, [address("a"), address("::1")]);
        assert_eq!(written(HelloForm::V2, &[]).form, HelloForm::Bare);
        let long = "x".repeat(1500);
        assert_eq!(written(HelloForm::V2, &["a", &long, &long]).addresses.len(), 2);
        assert_eq!(written(HelloForm::V1, &[&long.repeat(2)]).form, HelloForm::Bare);
    }

    fn looking() -> Notification<'static> {
        Notification {
            state: PeerState::Looking,
            leader: Sid(3),
            zxid: Zxid(0x5_0000_0007),
            election_epoch: 2,
            peer_epoch: 9,
            version: 2,
            config: Some("server.1=a:1:2\nversion=0".into()),
            proposed: None,
        }
    }

    #[test]
    fn older_forms_are_told_by_their_size() {
        let mut bytes = Vec::new();
        looking().encode(&mut bytes);
        let whole = Notification::decode(&bytes).unwrap();
        assert_eq!(whole, looking());
        // 3.3: the epoch is that of the zxid. 3.4: the number behind the epoch is no version.
        let oldest = Notification::decode(&bytes[..28]).unwrap();
        assert_eq!(oldest, Notification { peer_epoch: 5, version: 0, config: None, ..looking() });
        let old = Notification::decode(&bytes[..40]).unwrap();
        assert_eq!(old, Notification { version: 0, config: None, ..looking() });
        for len in (0..bytes.len()).filter(|len| ![28, 40].contains(len)) {
            assert!(Notification::decode(&bytes[..len]).is_err(), "{len} bytes are no message");
        }
    }

    #[test]
    fn a_proposed_configuration_stands_where_apaches_do_not_look() {
        let mut plain = Vec::new();
        looking().encode(&mut plain);
        let told = Notification { proposed: Some("version=5".into()), ..looking() };
        let mut bytes = Vec::new();
        told.encode(&mut bytes);
        assert_eq!(bytes[..plain.len()], plain, "what Apache's read");
        assert_eq!(bytes[plain.len()..], *b"OxKn\0\0\0\x09version=5");
        assert_eq!(Notification::decode(&bytes).unwrap(), told);
        // Cut off, or something else: the vote counts all the same.
        for len in plain.len()..bytes.len() {
            assert_eq!(Notification::decode(&bytes[..len]).unwrap(), looking(), "{len}");
        }
        bytes[plain.len()] ^= 1;
        assert_eq!(Notification::decode(&bytes).unwrap(), looking());
        // Where there is no room for both, the one in force goes alone.
        let long: Cow<'_, str> = "x".repeat(CONFIG_TEXT_BYTES_MAX - 16).into();
        for (text, both) in [("12345678", true), ("123456789", false)] {
            let told = Notification {
                config: Some(long.clone()),
                proposed: Some(text.into()),
                ..looking()
            };
            let mut bytes = Vec::new();
            told.encode_message(&mut bytes);
            let (payload, _) = split_message(&bytes).unwrap().whole().expect("not too long");
            assert_eq!(Notification::decode(payload).unwrap().proposed.is_some(), both);
        }
    }

    #[test]
    fn a_version_without_configuration_may_be_followed_by_anything() {
        let mut bytes = Vec::new();
        Notification { config: None, ..looking() }.encode(&mut bytes);
        bytes.extend_from_slice(&[0xff; 4]);
        let decoded = Notification::decode(&bytes).unwrap();
        assert_eq!((decoded.version, decoded.config), (1, None));
        bytes[36..40].copy_from_slice(&2i32.to_be_bytes());
        assert_eq!(
            Notification::decode(&bytes),
            Err(DecodeError::Length { len: -1, max: 0 }),
            "a null configuration"
        );
    }

    #[test]
    fn a_configuration_ends_within_its_message() {
        let mut bytes = Vec::new();
        looking().encode(&mut bytes);
        let len = bytes.len() as i32 - 44;
        bytes[40..44].copy_from_slice(&(len + 1).to_be_bytes());
        assert!(Notification::decode(&bytes).is_err());
        bytes[40..44].copy_from_slice(&(len - 2).to_be_bytes());
        assert!(Notification::decode(&bytes).unwrap().config.unwrap().ends_with("version"));
    }

    #[test]
    fn unknown_states_are_an_error_of_the_message() {
        let mut bytes = Vec::new();
        looking().encode(&mut bytes);
        bytes[3] = 4;
        let error = Notification::decode(&bytes).unwrap_err();
        assert_eq!(error, DecodeError::Unknown { what: "peer state", value: 4 });
        for code in 0..4 {
            assert_eq!(PeerState::from_code(code).unwrap().code(), code);
        }
    }

    #[test]
    fn messages_have_a_length_from_one_to_half_a_megabyte() {
        let mut out = Vec::new();
        looking().encode_message(&mut out);
        out.push(9);
        let (payload, rest) = split_message(&out).unwrap().whole().unwrap();
        assert_eq!((Notification::decode(payload), rest), (Ok(looking()), &[9][..]));
        for (len, fits) in [(0, false), (-1, false), (1, true), (524_288, true), (524_289, false)] {
            match split_message(&i32::to_be_bytes(len)) {
                Ok(Split::Incomplete { needed }) => assert!(fits && needed == len as usize),
                other => assert!(!fits && other == Err(MessageLength { len }), "{len}"),
            }
        }
    }
}
