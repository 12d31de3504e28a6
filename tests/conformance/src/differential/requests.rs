//! Requests by chance: every operation, mostly sensible, some not.
//!
//! A request that is refused says little about the state behind it; one that is never wrong says
//! nothing about refusals. The weights here are that balance.

use super::{Generator, Step};
use crate::wire::{Acl, Blob, Request, Text, op};

/// The names that paths are made of: few, so that steps meet each other.
const NAMES: [&str; 7] = ["a", "b", "c", "d", "été", "x y", "seq-"];
/// Paths that no client library would let through, and ones that look like it.
const ODD_PATHS: [Option<&str>; 30] = [
    None,
    Some(""),
    Some("/"),
    Some("a"),
    Some("a/b"),
    Some("/a/"),
    Some("//a"),
    Some("/a//b"),
    Some("/."),
    Some("/.."),
    Some("/a/.."),
    Some("/a/./b"),
    Some("/.a"),
    Some("/a..b"),
    Some("/nul\0"),
    Some("/ctl\u{1}"),
    Some("/del\u{7f}"),
    Some("/nel\u{85}"),
    Some("/private\u{e000}"),
    Some("/special\u{fff1}"),
    Some("/feff\u{feff}"),
    Some("/clef\u{1d11e}"),
    Some("/中文"),
    Some("/zookeeper"),
    Some("/zookeeper/quota"),
    Some("/zookeeper/config"),
    Some("/zookeeper/nope"),
    Some("zookeeper"),
    Some("/zookeeper/"),
    Some("/none/at/all"),
];
/// The identity of whoever logs in as `bob:pw`.
const BOB: &str = "bob:ikIaKsbtGweaHnb/jKn7OHqbunM=";
/// The largest frame that a server takes.
const JUTE_MAX_BUFFER: usize = 0xf_ffff;
/// Requests that leave a watch, with the type it is checked and removed by.
const WATCH_PAIRS: [(i32, i32); 6] = [
    (op::EXISTS, 2),
    (op::GET_DATA, 2),
    (op::GET_CHILDREN, 1),
    (op::GET_CHILDREN2, 1),
    (op::ADD_WATCH, 4),
    (op::ADD_WATCH, 5),
];
/// How many of the latest watches the generator remembers.
const WATCHES_KNOWN: usize = 40;
/// Every operation that a client may send, as often as it is drawn.
const OPERATIONS: [(usize, i32); 25] = [
    (22, op::CREATE),
    (12, op::CREATE2),
    (4, op::CREATE_CONTAINER),
    (4, op::CREATE_TTL),
    (12, op::DELETE),
    (14, op::SET_DATA),
    (7, op::SET_ACL),
    (8, op::EXISTS),
    (9, op::GET_DATA),
    (5, op::GET_ACL),
    (6, op::GET_CHILDREN),
    (8, op::GET_CHILDREN2),
    (2, op::SYNC),
    (1, op::PING),
    (13, op::MULTI),
    (4, op::MULTI_READ),
    (6, op::ADD_WATCH),
    (5, op::REMOVE_WATCHES),
    (4, op::CHECK_WATCHES),
    (4, op::SET_WATCHES),
    (5, op::SET_WATCHES2),
    (3, op::GET_EPHEMERALS),
    (2, op::GET_ALL_CHILDREN_NUMBER),
    (2, op::WHO_AM_I),
    (1, op::RECONFIG),
];

impl Generator {
    /// Any request; some of them end the connection.
    pub(super) fn request(&mut self) -> Request {
        match self.rng.below(100) {
            0..3 => self.auth(),
            3 => Request::Raw { op: op::SASL, body: Blob(Some(vec![0, 0, 0, 1, b'x'])) },
            4 => self.unknown(),
            5..9 => self.damaged(),
            _ => self.pipelined(),
        }
    }

    /// A request whose answer cannot overtake others and does not end the connection.
    pub(super) fn pipelined(&mut self) -> Request {
        let op = self.rng.weighted(&OPERATIONS);
        self.request_of(op)
    }

    pub(super) fn burst(&mut self, slot: usize) -> Step {
        let count = 2 + self.rng.below(12);
        let mut requests: Vec<Request> = (0..count).map(|_| self.pipelined()).collect();
        if self.rng.chance(30) {
            self.add_watch_pair(&mut requests);
        }
        if self.rng.chance(12) {
            self.add_guarded(&mut requests);
        }
        // What follows a setACL too closely is judged by chance (D12).
        if let Some(at) = requests.iter().position(|request| request.op() == op::SET_ACL) {
            requests.truncate(at + 1);
        }
        // Quotas are compared with what has been applied, of writes in a row some by chance (D16).
        let mut writes = 0;
        requests.retain(|request| {
            writes += usize::from(changes_quota(request));
            !self.enforcing || writes < 2 || !changes_quota(request)
        });
        let cut = self.rng.chance(20).then(|| self.rng.below(300));
        Step::Send { slot, requests, cut }
    }

    /// A watch, and somewhere behind it what checks and removes it.
    fn add_watch_pair(&mut self, requests: &mut Vec<Request>) {
        let at = self.rng.below(requests.len());
        let (set, kind) = *self.rng.pick(&WATCH_PAIRS);
        let path = self.some_path();
        let watch = match set {
            op::ADD_WATCH => Request::PathInt { op: set, path: path.clone(), number: kind - 4 },
            _ => Request::Read { op: set, path: path.clone(), watch: true },
        };
        let kind = if self.rng.chance(30) { 3 } else { kind };
        requests.insert(at, watch);
        for op in [op::CHECK_WATCHES, op::REMOVE_WATCHES] {
            let at = at + 1 + self.rng.below(requests.len() - at);
            requests.insert(at, Request::PathInt { op, path: path.clone(), number: kind });
        }
    }

    /// A znode of which most clients may not know all: a watch that waits for it, and a look at its
    /// list.
    fn add_guarded(&mut self, requests: &mut Vec<Request>) {
        let unseen = vec![Acl::new(30, "world", "anyone")];
        let masked = vec![Acl::new(1, "world", "anyone"), Acl::new(31, "digest", BOB)];
        let acl = Some(if self.rng.chance(50) { unseen } else { masked });
        let (path, data) = (self.fresh_child(), self.data());
        requests.push(Request::Read { op: op::EXISTS, path: path.clone(), watch: true });
        let (op, flags, ttl) = (op::CREATE, 0, None);
        requests.push(Request::Create { op, path: path.clone(), data, acl, flags, ttl });
        requests.push(Request::Path { op: op::GET_ACL, path });
    }

    pub(super) fn ephemeral(&mut self) -> Request {
        let (path, data) = (self.new_path(), self.data());
        let flags = *self.rng.pick(&[1, 3]);
        Request::Create { op: op::CREATE, path, data, acl: Acl::open(), flags, ttl: None }
    }

    fn request_of(&mut self, op: i32) -> Request {
        match op {
            op::CREATE | op::CREATE2 | op::CREATE_CONTAINER | op::CREATE_TTL => self.create(op),
            op::SET_DATA => {
                let (path, data, version) = (self.some_path(), self.data(), self.version());
                Request::SetData { path, data, version }
            }
            op::SET_ACL => self.set_acl(),
            op::EXISTS | op::GET_DATA | op::GET_CHILDREN | op::GET_CHILDREN2 => {
                let (path, watch) = (self.path(), self.rng.chance(35));
                if watch && path.is_some() {
                    self.note_watch(&path);
                }
                Request::Read { op, path, watch }
            }
            op::DELETE | op::CHECK => {
                let number = self.version();
                Request::PathInt { op, path: self.some_path(), number }
            }
            op::ADD_WATCH => {
                let number = *self.rng.pick(&[0, 0, 0, 1, 1, 1, 2, -1]);
                let path = self.some_path();
                self.note_watch(&path);
                Request::PathInt { op, path, number }
            }
            op::REMOVE_WATCHES | op::CHECK_WATCHES => {
                let number = *self.rng.pick(&[1, 1, 2, 2, 3, 3, 3, 4, 4, 5, 5, 0, 6, -1]);
                let slot = self.slot;
                let mine: Vec<&Text> = self
                    .watched
                    .iter()
                    .filter(|(at, _)| *at == slot)
                    .map(|(_, path)| path)
                    .collect();
                let path = if !mine.is_empty() && self.rng.chance(75) {
                    (*self.rng.pick(&mine)).clone()
                } else {
                    self.some_path()
                };
                Request::PathInt { op, path, number }
            }
            op::SET_WATCHES | op::SET_WATCHES2 => self.set_watches(op),
            op::MULTI => self.multi(),
            op::MULTI_READ => self.multi_read(),
            op::RECONFIG => self.reconfig(),
            op::PING | op::WHO_AM_I => Request::Bare { op },
            op::GET_ALL_CHILDREN_NUMBER => {
                // The empty path is a deviation (D15).
                let path = self.path().filter(|path| !path.is_empty());
                Request::Path { op, path }
            }
            _ => Request::Path { op, path: self.path() },
        }
    }

    /// Remembers where this slot has asked for watches lately.
    fn note_watch(&mut self, path: &Text) {
        self.watched.push_back((self.slot, path.clone()));
        if self.watched.len() > WATCHES_KNOWN {
            self.watched.pop_front();
        }
    }

    fn create(&mut self, op: i32) -> Request {
        let flags = match op {
            op::CREATE_CONTAINER => self.rng.weighted(&[(12, 4), (1, 5), (1, 9), (1, -1)]),
            op::CREATE_TTL => self.rng.weighted(&[(9, 5), (6, 6), (1, 0), (1, 3), (1, 4), (1, 7)]),
            // 4 is a deviation (D02), provoked apart.
            _ => self.rng.weighted(&[
                (20, 0),
                (8, 1),
                (6, 2),
                (6, 3),
                (1, 5),
                (1, 6),
                (1, 7),
                (1, -1),
            ]),
        };
        // Negative with flags that are not of TTL kill the oracle (D01).
        let ttls: &[i64] = match flags {
            5 | 6 if self.rng.chance(80) => &[1, 20, 1 << 39, (1 << 40) - 1],
            5 | 6 => &[1 << 40, 0, -1, i64::MAX, i64::MIN],
            _ => &[0, 5],
        };
        let ttl = (op == op::CREATE_TTL).then(|| *self.rng.pick(ttls));
        let (path, data, acl) = (self.new_path(), self.data(), self.acl());
        Request::Create { op, path, data, acl, flags, ttl }
    }

    fn set_acl(&mut self) -> Request {
        let (path, acl, version) = (self.some_path(), self.acl(), self.version());
        // A locked root would end all creation, for everybody, until the next clearing.
        let acl = if matches!(path.as_deref(), Some("/" | "")) { Acl::open() } else { acl };
        Request::SetAcl { path, acl, version }
    }

    fn set_watches(&mut self, op: i32) -> Request {
        let count = if op == op::SET_WATCHES { 3 } else { 5 };
        let mut lists = vec![Vec::new(); count];
        for list in &mut lists {
            // A null among them is a deviation (D09).
            *list = (0..self.rng.below(4)).map(|_| self.path()).filter(Option::is_some).collect();
        }
        let back = *self.rng.pick(&[0, 1, 3, 10, 50, 1000, -1, i64::MAX]);
        Request::SetWatches { op, back, lists }
    }

    fn multi(&mut self) -> Request {
        const PARTS: [(usize, i32); 7] = [
            (10, op::CREATE),
            (5, op::CREATE2),
            (1, op::CREATE_CONTAINER),
            (1, op::CREATE_TTL),
            (5, op::DELETE),
            (7, op::SET_DATA),
            (5, op::CHECK),
        ];
        let sound = self.rng.chance(60);
        let mut parts: Vec<Request> = (0..self.rng.below(7))
            .map(|_| {
                let op = self.rng.weighted(&PARTS);
                if sound { self.sound_part(op) } else { self.part(op) }
            })
            .collect();
        if self.rng.chance(4) {
            let op = *self.rng.pick(&[op::GET_DATA, op::EXISTS, op::SET_ACL, op::SYNC, op::PING]);
            parts.push(self.request_of(op));
        }
        Request::Multi { op: op::MULTI, parts }
    }

    /// Any part. Inside a multi it is the flags that decide what is made, whatever the operation
    /// (`Op.Create.getOpcode`), so more goes together there.
    fn part(&mut self, op: i32) -> Request {
        let mut part = self.request_of(op);
        if let Request::Create { op, flags, acl, ttl, .. } = &mut part {
            if *op != op::CREATE_CONTAINER && ttl.is_none() && self.rng.chance(10) {
                *flags = 4;
            }
            // Null is a deviation here (D10).
            acl.get_or_insert_default();
        }
        part
    }

    /// A part that has a fair chance to succeed, so that some long multis do.
    fn sound_part(&mut self, op: i32) -> Request {
        match op {
            op::CREATE | op::CREATE2 => {
                let (path, data) = (self.fresh_child(), self.data());
                let flags = *self.rng.pick(&[0, 1, 2, 3]);
                Request::Create { op, path, data, acl: Acl::open(), flags, ttl: None }
            }
            op::SET_DATA => {
                Request::SetData { path: self.known_path(), data: self.data(), version: -1 }
            }
            op::DELETE | op::CHECK => Request::PathInt { op, path: self.known_path(), number: -1 },
            _ => self.part(op),
        }
    }

    fn multi_read(&mut self) -> Request {
        let mut parts: Vec<Request> = (0..self.rng.below(5))
            .map(|_| {
                let op = *self.rng.pick(&[op::GET_DATA, op::GET_CHILDREN]);
                Request::Read { op, path: self.some_path(), watch: self.rng.chance(20) }
            })
            .collect();
        if self.rng.chance(8) {
            let op = *self.rng.pick(&[op::EXISTS, op::GET_CHILDREN2, op::DELETE]);
            // Writes alone are a deviation (D11).
            if op != op::DELETE || !parts.is_empty() {
                parts.push(self.request_of(op));
            }
        }
        Request::Multi { op: op::MULTI_READ, parts }
    }

    fn reconfig(&mut self) -> Request {
        let text = |text: &str| Some(text.to_owned());
        let (joining, leaving, members) = match self.rng.below(4) {
            0 => (text("server.2=h:1:2:participant;3"), None, None),
            1 => (None, text("1"), None),
            2 => (None, None, text("server.1=h:1:2:participant;3")),
            _ => (None, None, None),
        };
        Request::Reconfig { joining, leaving, members, config_id: *self.rng.pick(&[-1, 0, 7]) }
    }

    fn auth(&mut self) -> Request {
        const AUTHS: [(&str, &str); 8] = [
            ("digest", "bob:pw"),
            ("digest", "bob:pw"),
            ("digest", "second:id"),
            ("digest", "nocolon"),
            ("digest", ""),
            ("ip", ""),
            ("world", "anyone"),
            ("nosuch", "x"),
        ];
        let (scheme, auth) = self.rng.pick(&AUTHS);
        let auth = if self.rng.chance(5) { Blob(None) } else { Blob::text(auth) };
        Request::Auth { scheme: Some((*scheme).to_owned()), auth }
    }

    fn unknown(&mut self) -> Request {
        let op = *self.rng.pick(&[10, 23, 99, 108, 1000, -12, -1, i32::MIN, op::CHECK, 0]);
        if op == op::CHECK {
            return self.request_of(op);
        }
        let bytes = *self.rng.pick(&[0, 4, 9, 100]);
        Request::Raw { op, body: Blob(Some(vec![1; bytes])) }
    }

    /// A request with bytes missing at its end, or too many.
    fn damaged(&mut self) -> Request {
        let request = self.pipelined();
        let length = request.frame(0, 0).len().saturating_sub(12);
        if self.rng.chance(3) {
            // As long as jute.maxbuffer allows, and one byte longer.
            let tail = JUTE_MAX_BUFFER - 8 - length + self.rng.below(2);
            let tail = Blob(Some(vec![0; tail]));
            return Request::Damaged { request: request.into(), keep: length, tail };
        }
        // Not 0xff: behind a cut, that could be a null path (D09, D10) or a ttl of −1 (D01).
        let (keep, tail) = match self.rng.below(3) {
            0 => (length, vec![0x7f; 1 + self.rng.below(20)]),
            1 => (self.rng.below(length.max(1)), vec![0x7f; self.rng.below(9)]),
            _ => (self.rng.below(length.max(1)), Vec::new()),
        };
        Request::Damaged { request: request.into(), keep, tail: Blob(Some(tail)) }
    }

    // ---- quotas -----------------------------------------------------------------------------

    /// The znodes of a quota as client libraries make them, or a change of one there is.
    pub(super) fn quota(&mut self, slot: usize) -> Step {
        let Some(path) = self.known_path().filter(|path| path != "/") else {
            return self.burst(slot);
        };
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent).to_owned();
        let mut requests = Vec::new();
        if self.rng.chance(75) {
            // One within another: only the inner counts.
            if !parent.is_empty() && self.rng.chance(60) {
                self.set_quota(&parent, &mut requests);
            }
            self.set_quota(&path, &mut requests);
        } else {
            let (limits, stats) = (quota_node(&path, "limits"), quota_node(&path, "stats"));
            requests.push(match self.rng.below(4) {
                0 => Request::PathInt { op: op::DELETE, path: Some(limits), number: -1 },
                1 => Request::PathInt { op: op::DELETE, path: Some(stats), number: -1 },
                2 => Request::Read { op: op::GET_DATA, path: Some(stats), watch: true },
                _ => Request::SetData { path: Some(limits), data: self.limits(), version: -1 },
            });
        }
        let name = *self.rng.pick(&NAMES);
        let mut then = vec![plain(&format!("{path}/{name}"), self.data())];
        for path in [&path, &parent] {
            let path = Some(quota_node(path, "stats"));
            then.push(Request::Read { op: op::GET_DATA, path, watch: false });
        }
        self.queue.push_back(Step::Send { slot, requests: then, cut: None });
        Step::Send { slot, requests, cut: None }
    }

    /// The znodes of a quota, parents first.
    fn set_quota(&mut self, path: &str, requests: &mut Vec<Request>) {
        let place = format!("/zookeeper/quota{path}");
        let ends = place.match_indices('/').map(|(at, _)| at).skip(3);
        for end in ends.chain([place.len()]) {
            requests.push(plain(&place[..end], Blob::text("")));
        }
        requests.push(plain(&quota_node(path, "limits"), self.limits()));
        requests.push(plain(&quota_node(path, "stats"), Blob::text("count=0,bytes=0")));
    }

    fn limits(&mut self) -> Blob {
        const LIMITS: [&str; 7] = [
            "count=3,bytes=-1",
            "count=-1,bytes=20",
            "count=2,bytes=10",
            "count=-1,bytes=-1=;byteHardLimit=-1;countHardLimit=3",
            "count=-1,bytes=-1=;byteHardLimit=30;countHardLimit=-1",
            "count=1,bytes=5=;byteHardLimit=60;countHardLimit=5",
            "count=-1,bytes=-1",
        ];
        Blob::text(self.rng.pick::<&str>(&LIMITS))
    }

    // ---- values -----------------------------------------------------------------------------

    fn known_path(&mut self) -> Text {
        match self.known.len() {
            0 => Some("/".to_owned()),
            count => self.known.iter().nth(self.rng.below(count)).cloned(),
        }
    }

    fn fresh_child(&mut self) -> Text {
        let parent = if self.rng.chance(30) { None } else { self.known_path() };
        let parent = parent.filter(|path| path != "/" && path.matches('/').count() < 4);
        Some(format!("{}/{}", parent.unwrap_or_default(), self.rng.pick(&NAMES)))
    }

    /// A path to ask about.
    fn path(&mut self) -> Text {
        match self.rng.below(100) {
            0..75 => self.known_path(),
            75..90 => self.fresh_child(),
            90..96 => Some("/".to_owned()),
            _ => self.rng.pick(&ODD_PATHS).map(str::to_owned),
        }
    }

    /// A path to write to: null would be a deviation (D10).
    fn some_path(&mut self) -> Text {
        self.path().or_else(|| self.known_path())
    }

    /// A path to create.
    fn new_path(&mut self) -> Text {
        let path = match self.rng.below(100) {
            0..89 => self.fresh_child(),
            // An empty last name is legal for a sequential znode.
            89..93 => self.known_path().map(|path| format!("{path}/")),
            93..97 => self.known_path(),
            _ => self.rng.pick(&ODD_PATHS).map(str::to_owned),
        };
        path.or_else(|| self.known_path())
    }

    fn version(&mut self) -> i32 {
        self.rng.weighted(&[
            (30, -1),
            (6, 0),
            (4, 1),
            (2, 2),
            (1, 3),
            (1, -2),
            (1, i32::MAX),
            (1, i32::MIN),
        ])
    }

    fn data(&mut self) -> Blob {
        match self.rng.below(20) {
            0 | 1 => Blob(None),
            2 | 3 => Blob(Some(Vec::new())),
            4 => Blob(Some(vec![0, 255, 254, 10])),
            5 => Blob(Some(vec![b'k'; 2_000])),
            _ => Blob::text(&"data"[..1 + self.rng.below(4)]),
        }
    }

    fn acl(&mut self) -> Option<Vec<Acl>> {
        let list = |entries: &[(i32, &str, &str)]| {
            Some(entries.iter().map(|(perms, scheme, id)| Acl::new(*perms, scheme, id)).collect())
        };
        match self.rng.below(110) {
            0 => None,
            1 => list(&[]),
            2 => list(&[(31, "nosuch", "x")]),
            3 => list(&[(31, "world", "someone")]),
            4 => list(&[(31, "digest", "nocolon")]),
            5 => list(&[(31, "digest", "a:b:c")]),
            6 => list(&[(31, "ip", "not-an-address")]),
            7 => list(&[(31, "ip", "127.0.0.1/99")]),
            8 => Some(vec![Acl { perms: 31, scheme: None, id: None }]),
            9 => list(&[(0, "world", "anyone")]),
            10 => list(&[(99, "world", "anyone")]),
            11 | 12 => list(&[(31, "auth", "")]),
            13 => list(&[(1, "world", "anyone"), (31, "auth", "ignored")]),
            14 => list(&[(31, "ip", "127.0.0.1"), (1, "world", "anyone"), (31, "ip", "127.0.0.1")]),
            15 => list(&[(31, "ip", "127.0.0.0/8")]),
            16 => list(&[(31, "ip", "10.0.0.0/8"), (3, "world", "anyone")]),
            17 => list(&[(31, "ip", "::1")]),
            18 | 19 => list(&[(31, "digest", BOB)]),
            20 => list(&[(1, "world", "anyone"), (31, "digest", BOB)]),
            21 => list(&[(30, "world", "anyone")]),
            22 => list(&[(15, "world", "anyone")]),
            23 => list(&[(1, "world", "anyone")]),
            24 => list(&[(1, "world", "anyone"), (2, "world", "anyone"), (1, "world", "anyone")]),
            25 => list(&[(31, "super", "")]),
            26 => list(&[(31, "sasl", "bob")]),
            _ => Acl::open(),
        }
    }
}

/// Whether it may change what counts for a quota.
fn changes_quota(request: &Request) -> bool {
    match request {
        Request::Damaged { request, .. } => changes_quota(request),
        _ => matches!(
            request.op(),
            op::CREATE
                | op::CREATE2
                | op::CREATE_CONTAINER
                | op::CREATE_TTL
                | op::DELETE
                | op::SET_DATA
                | op::MULTI
        ),
    }
}

/// Where the limits or the statistics of a quota are.
fn quota_node(path: &str, what: &str) -> String {
    format!("/zookeeper/quota{path}/zookeeper_{what}")
}

fn plain(path: &str, data: Blob) -> Request {
    let path = Some(path.to_owned());
    Request::Create { op: op::CREATE, path, data, acl: Acl::open(), flags: 0, ttl: None }
}
