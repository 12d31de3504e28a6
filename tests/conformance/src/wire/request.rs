//! What a client sends.
//!
//! A [`Request`] is named by the shape of its body, not by its operation: what is sent is free to
//! be nonsense (flags of another kind, null paths, unknown numbers), and one shape serves many
//! operations. Its `Debug` form is what a trace prints, hence short.

use std::fmt;

use super::{op, op_name, xid};

/// A jute string; null is another thing than empty.
pub type Text = Option<String>;

/// A jute buffer; null is another thing than empty.
#[derive(Clone, PartialEq, Eq)]
pub struct Blob(pub Option<Vec<u8>>);

impl Blob {
    /// A buffer with the bytes of `text`.
    pub fn text(text: &str) -> Self {
        Self(Some(text.as_bytes().to_vec()))
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            None => f.write_str("null"),
            Some(bytes) if bytes.len() > 40 => write!(f, "{} bytes", bytes.len()),
            Some(bytes) => write!(f, "b\"{}\"", bytes.escape_ascii()),
        }
    }
}

/// One entry of an access control list.
#[derive(Clone, PartialEq, Eq)]
pub struct Acl {
    /// The permission bits.
    pub perms: i32,
    /// The scheme, such as `world`.
    pub scheme: Text,
    /// Who, in the scheme's own terms.
    pub id: Text,
}

impl Acl {
    /// An entry with everything said.
    pub fn new(perms: i32, scheme: &str, id: &str) -> Self {
        Self { perms, scheme: Some(scheme.to_owned()), id: Some(id.to_owned()) }
    }

    /// The list that lets everybody do everything.
    pub fn open() -> Option<Vec<Self>> {
        Some(vec![Self::new(31, "world", "anyone")])
    }
}

impl fmt::Debug for Acl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |text: &Text| text.clone().unwrap_or_else(|| "null".to_owned());
        write!(f, "{}:{}:{}", part(&self.scheme), part(&self.id), self.perms)
    }
}

/// A request after the handshake.
#[derive(Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are the protocol's, in its order")]
pub enum Request {
    /// create, create2, createContainer; createTTL when a ttl is there.
    Create {
        op: i32,
        path: Text,
        data: Blob,
        acl: Option<Vec<Acl>>,
        flags: i32,
        ttl: Option<i64>,
    },
    SetData {
        path: Text,
        data: Blob,
        version: i32,
    },
    SetAcl {
        path: Text,
        acl: Option<Vec<Acl>>,
        version: i32,
    },
    /// Reads that may leave a watch.
    Read {
        op: i32,
        path: Text,
        watch: bool,
    },
    /// A path alone.
    Path {
        op: i32,
        path: Text,
    },
    /// A path and an int: delete, check, addWatch, checkWatches, removeWatches.
    PathInt {
        op: i32,
        path: Text,
        number: i32,
    },
    /// multi and multiRead. A part keeps only its body.
    Multi {
        op: i32,
        parts: Vec<Request>,
    },
    Reconfig {
        joining: Text,
        leaving: Text,
        members: Text,
        config_id: i64,
    },
    Auth {
        scheme: Text,
        auth: Blob,
    },
    /// setWatches and setWatches2; the zxid counts back from the newest one seen.
    SetWatches {
        op: i32,
        back: i64,
        lists: Vec<Vec<Text>>,
    },
    /// No body at all.
    Bare {
        op: i32,
    },
    /// Any body.
    Raw {
        op: i32,
        body: Blob,
    },
    /// The first `keep` bytes of a body, and then `tail`.
    Damaged {
        request: Box<Request>,
        keep: usize,
        tail: Blob,
    },
}

impl Request {
    /// Whether it, or a part of it, sets the data or the ACL of `/`.
    pub fn writes_root(&self) -> bool {
        match self {
            Self::SetData { path, .. } | Self::SetAcl { path, .. } => path.as_deref() == Some("/"),
            Self::Multi { parts, .. } => parts.iter().any(Self::writes_root),
            Self::Damaged { request, .. } => request.writes_root(),
            _ => false,
        }
    }

    /// The operation number.
    pub fn op(&self) -> i32 {
        match self {
            Self::Create { op, .. }
            | Self::Read { op, .. }
            | Self::Path { op, .. }
            | Self::PathInt { op, .. }
            | Self::Multi { op, .. }
            | Self::SetWatches { op, .. }
            | Self::Bare { op }
            | Self::Raw { op, .. } => *op,
            Self::SetData { .. } => op::SET_DATA,
            Self::SetAcl { .. } => op::SET_ACL,
            Self::Reconfig { .. } => op::RECONFIG,
            Self::Auth { .. } => op::AUTH,
            Self::Damaged { request, .. } => request.op(),
        }
    }

    /// The xid that clients use for it; `next` unless the operation has one of its own.
    pub fn xid(&self, next: i32) -> i32 {
        match self.op() {
            op::PING => xid::PING,
            op::AUTH => xid::AUTH,
            op::SET_WATCHES | op::SET_WATCHES2 => xid::SET_WATCHES,
            _ => next,
        }
    }

    /// The frame, length included. `zxid` is what relative ones count back from.
    pub fn frame(&self, xid: i32, zxid: i64) -> Vec<u8> {
        let mut out = Out::default();
        out.int(xid);
        out.int(self.op());
        self.body(&mut out, zxid);
        out.into_frame()
    }

    fn body(&self, out: &mut Out, zxid: i64) {
        match self {
            Self::Create { path, data, acl, flags, ttl, .. } => {
                out.text(path).blob(data).acl(acl).int(*flags);
                if let Some(ttl) = ttl {
                    out.long(*ttl);
                }
            }
            Self::SetData { path, data, version } => drop(out.text(path).blob(data).int(*version)),
            Self::SetAcl { path, acl, version } => drop(out.text(path).acl(acl).int(*version)),
            Self::Read { path, watch, .. } => drop(out.text(path).bool(*watch)),
            Self::Path { path, .. } => drop(out.text(path)),
            Self::PathInt { path, number, .. } => drop(out.text(path).int(*number)),
            Self::Multi { parts, .. } => {
                for part in parts {
                    out.int(part.op()).bool(false).int(-1);
                    part.body(out, zxid);
                }
                out.int(-1).bool(true).int(-1);
            }
            Self::Reconfig { joining, leaving, members, config_id } => {
                out.text(joining).text(leaving).text(members).long(*config_id);
            }
            Self::Auth { scheme, auth } => drop(out.int(0).text(scheme).blob(auth)),
            Self::SetWatches { back, lists, .. } => {
                out.long(zxid.saturating_sub(*back));
                for list in lists {
                    out.count(list.len());
                    for path in list {
                        out.text(path);
                    }
                }
            }
            Self::Bare { .. } => {}
            Self::Raw { body, .. } => out.0.extend_from_slice(body.0.as_deref().unwrap_or(&[])),
            Self::Damaged { request, keep, tail } => {
                let start = out.0.len();
                request.body(out, zxid);
                out.0.truncate(start.saturating_add(*keep).min(out.0.len()));
                out.0.extend_from_slice(tail.0.as_deref().unwrap_or(&[]));
            }
        }
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = |path: &Text| path.as_ref().map_or("null".to_owned(), |p| format!("{p:?}"));
        let name = op_name(self.op());
        match self {
            Self::Create { path: p, data, acl, flags, ttl, .. } => {
                write!(f, "{name} {} {data:?} {acl:?} flags {flags}", path(p))?;
                ttl.map_or(Ok(()), |ttl| write!(f, " ttl {ttl}"))
            }
            Self::SetData { path: p, data, version } => {
                write!(f, "{name} {} {data:?} version {version}", path(p))
            }
            Self::SetAcl { path: p, acl, version } => {
                write!(f, "{name} {} {acl:?} version {version}", path(p))
            }
            Self::Read { path: p, watch, .. } => {
                write!(f, "{name} {}{}", path(p), if *watch { " watch" } else { "" })
            }
            Self::Path { path: p, .. } => write!(f, "{name} {}", path(p)),
            Self::PathInt { path: p, number, .. } => write!(f, "{name} {} {number}", path(p)),
            Self::Multi { parts, .. } => write!(f, "{name} {parts:?}"),
            Self::Reconfig { joining, leaving, members, config_id } => {
                write!(f, "{name} {joining:?} {leaving:?} {members:?} {config_id}")
            }
            Self::Auth { scheme, auth } => write!(f, "{name} {} {auth:?}", path(scheme)),
            Self::SetWatches { back, lists, .. } => {
                write!(f, "{name} {back} zxids back")?;
                for list in lists {
                    let list: Vec<String> = list.iter().map(path).collect();
                    write!(f, " [{}]", list.join(", "))?;
                }
                Ok(())
            }
            Self::Bare { .. } => write!(f, "{name}"),
            Self::Raw { body, .. } => write!(f, "{name} body {body:?}"),
            Self::Damaged { request, keep, tail } => {
                write!(f, "({request:?}) cut to {keep} bytes, then {tail:?}")
            }
        }
    }
}

/// The first frame of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are the protocol's, in its order")]
pub struct ConnectRequest {
    pub protocol_version: i32,
    pub last_zxid: i64,
    pub timeout_ms: i32,
    pub session: i64,
    pub password: Blob,
    /// Clients before 3.4 do not send it.
    pub read_only: Option<bool>,
}

impl ConnectRequest {
    /// A new session, as current clients ask for one.
    pub fn new(timeout_ms: i32) -> Self {
        Self {
            protocol_version: 0,
            last_zxid: 0,
            timeout_ms,
            session: 0,
            password: Blob(Some(vec![0; 16])),
            read_only: Some(false),
        }
    }

    /// The frame, length included.
    pub fn frame(&self) -> Vec<u8> {
        let mut out = Out::default();
        out.int(self.protocol_version).long(self.last_zxid).int(self.timeout_ms);
        out.long(self.session).blob(&self.password);
        if let Some(read_only) = self.read_only {
            out.bool(read_only);
        }
        out.into_frame()
    }
}

/// The password of a session, which follows from its id (`ZooKeeperServer.generatePasswd`): sixteen
/// bytes of `java.util.Random`.
pub fn password_of(session: i64) -> Vec<u8> {
    const MASK: u64 = (1 << 48) - 1;
    let mut seed = (session.cast_unsigned() ^ 0xB341_5C00 ^ 0x5_DEEC_E66D) & MASK;
    let mut password = Vec::with_capacity(16);
    for _ in 0..4 {
        seed = seed.wrapping_mul(0x5_DEEC_E66D).wrapping_add(0xB) & MASK;
        let [.., a, b, c, d] = (seed >> 16).to_be_bytes();
        password.extend_from_slice(&[d, c, b, a]);
    }
    password
}

/// jute's primitives, written.
#[derive(Default)]
struct Out(Vec<u8>);

impl Out {
    fn int(&mut self, value: i32) -> &mut Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    fn long(&mut self, value: i64) -> &mut Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    fn bool(&mut self, value: bool) -> &mut Self {
        self.0.push(u8::from(value));
        self
    }

    fn count(&mut self, count: usize) -> &mut Self {
        self.int(i32::try_from(count).expect("lists of the generator are short"))
    }

    fn bytes(&mut self, bytes: Option<&[u8]>) -> &mut Self {
        match bytes {
            None => self.int(-1),
            Some(bytes) => {
                self.count(bytes.len()).0.extend_from_slice(bytes);
                self
            }
        }
    }

    fn text(&mut self, text: &Text) -> &mut Self {
        self.bytes(text.as_deref().map(str::as_bytes))
    }

    fn blob(&mut self, blob: &Blob) -> &mut Self {
        self.bytes(blob.0.as_deref())
    }

    fn acl(&mut self, acl: &Option<Vec<Acl>>) -> &mut Self {
        let Some(acl) = acl else { return self.int(-1) };
        self.count(acl.len());
        for entry in acl {
            self.int(entry.perms).text(&entry.scheme).text(&entry.id);
        }
        self
    }

    fn into_frame(self) -> Vec<u8> {
        let mut frame = Out::default();
        frame.bytes(Some(&self.0));
        frame.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From `01-connect-ping-close` of the golden captures of 3.9.5.
    #[test]
    fn passwords_follow_from_session_ids() {
        // 41-session-resumed: the session and the password that Java gave it.
        let password = password_of(72_057_865_031_516_184);
        let hex: String = password.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, "3b589ef9d1867506287ac46e65c4fc6e");
    }

    #[test]
    fn a_damaged_body_keeps_its_header() {
        let whole = Request::Path { op: op::SYNC, path: Some("/abc".into()) };
        let request = Request::Damaged { request: whole.into(), keep: 6, tail: Blob::text("!") };
        let expected = [0, 0, 0, 15, 0, 0, 0, 7, 0, 0, 0, 9, 0, 0, 0, 4, b'/', b'a', b'!'];
        assert_eq!(request.frame(7, 0), expected);
    }
}
