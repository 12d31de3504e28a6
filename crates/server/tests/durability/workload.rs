//! What clients do to a server, by chance: every kind of write, good and bad, from sessions that
//! come, go, fall silent and expire, while snapshots are taken and old files purged.

use std::rc::Rc;

use oxkeeper_node::Now;
use oxkeeper_proto::data::encode_acl;
use oxkeeper_proto::request::{
    CreateRequest, MultiOp, MultiRequest, PathVersion, PathWatch, SetAclRequest, SetDataRequest,
};
use oxkeeper_proto::{Acl, AclList, OPEN_ACL_UNSAFE, OpCode, Reader, Request, Zxid};
use oxkeeper_storage::SimDisk;

use crate::host::{Client, Host};
use crate::state::State;

/// One life of a server, from its boot to whatever ended it.
#[derive(Debug)]
pub struct Life {
    /// The last zxid found at the start; none if it did not start.
    pub booted: Option<Zxid>,
    /// The last zxid that anyone could have seen.
    pub served: Zxid,
    /// The state at every zxid from `booted` on, if recorded.
    pub states: Vec<Rc<State>>,
    /// Why it ended before its work was done.
    pub failure: Option<String>,
    /// When it ended.
    pub now: Now,
    /// Answers and events given.
    pub answers: u64,
}

impl Life {
    /// Boots and works for `steps` steps. Equal disks, seeds and steps make equal lives.
    pub fn run(disk: &SimDisk, now: Now, seed: u64, steps: usize, record: bool) -> Life {
        let mut host = match Host::boot(disk, now, record) {
            Ok(host) => host,
            Err(error) => {
                let failure = Some(error.to_string());
                let served = Zxid::ZERO;
                return Life { booted: None, served, states: Vec::new(), failure, now, answers: 0 };
            }
        };
        let booted = Some(host.served());
        let mut work = Work { dice: Dice(seed), clients: Vec::new() };
        let failure = work.all(&mut host, steps).err().map(|error| error.to_string());
        Life {
            booted,
            served: host.served(),
            states: host.states(),
            failure,
            now: host.now(),
            answers: host.answers,
        }
    }

    /// The recorded state at a zxid.
    pub fn state_at(&self, zxid: Zxid) -> Option<&State> {
        let first = self.states.first()?.zxid;
        let at = usize::try_from(zxid.0 - first.0).ok()?;
        self.states.get(at).map(|state| &**state)
    }
}

/// Chance from a seed (SplitMix64).
#[derive(Debug, Clone)]
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }

    fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.roll(items.len() as u64) as usize]
    }
}

struct Work {
    dice: Dice,
    clients: Vec<Client>,
}

type Done = Result<(), oxkeeper_storage::LogError>;

const CLIENTS_MAX: usize = 4;
const NAMES: [&str; 8] = ["/a", "/b", "/c", "/a/x", "/a/y", "/b/x", "/a/x/1", "/été"];

impl Work {
    fn all(&mut self, host: &mut Host, steps: usize) -> Done {
        for _ in 0..steps {
            self.step(host);
            if self.dice.roll(2) == 0 {
                host.log_turn()?;
            }
            if self.dice.roll(20) == 0 {
                host.log_idle()?;
            }
            host.snapshot_turn(self.dice.roll(4) as usize);
            self.read(host);
        }
        // Everything is answered, and a snapshot under way is brought to its end.
        while !host.is_settled() || host.snapshot_under_way() {
            host.log_turn()?;
            host.snapshot_turn(4);
        }
        self.read(host);
        host.log_idle()
    }

    fn step(&mut self, host: &mut Host) {
        match self.dice.roll(100) {
            0..10 if self.clients.len() < CLIENTS_MAX => {
                let client = host.connect(2000 + 1000 * self.dice.roll(6) as i32);
                self.clients.push(client);
            }
            10..20 => host.pass(200 + self.dice.roll(2000)),
            20..24 => self.with_client(host, |_, host, client| {
                host.send(client, &Request::CloseSession);
            }),
            24..26 if !self.clients.is_empty() => {
                let client = self.clients.remove(0);
                host.lose(&client);
            }
            _ => self.with_client(host, |dice, host, client| {
                for _ in 0..1 + dice.roll(4) {
                    request(dice, |request| host.send(client, request));
                }
            }),
        }
    }

    fn with_client(
        &mut self,
        host: &mut Host,
        act: impl FnOnce(&mut Dice, &mut Host, &mut Client),
    ) {
        if self.clients.is_empty() {
            self.clients.push(host.connect(5000));
            return;
        }
        let at = self.dice.roll(self.clients.len() as u64) as usize;
        let client = &mut self.clients[at];
        // The handshake must be over before anything else is sent.
        if client.session.0 != 0 {
            act(&mut self.dice, host, client);
        }
    }

    fn read(&mut self, host: &mut Host) {
        for client in &mut self.clients {
            host.read(client);
        }
        let (here, gone) =
            std::mem::take(&mut self.clients).into_iter().partition(|c| host.talks_to(c));
        self.clients = here;
        let gone: Vec<Client> = gone;
        gone.iter().for_each(|client| host.lose(client));
    }
}

/// Draws a request and hands it on.
fn request(dice: &mut Dice, send: impl FnOnce(&Request<'_>)) {
    let path = *dice.pick(&NAMES);
    let data = vec![b'0' + dice.roll(10) as u8; *dice.pick(&[0, 1, 20, 100, 600, 3000])];
    let data = (dice.roll(9) > 0).then_some(&data[..]);
    let version = *dice.pick(&[-1, -1, -1, 0, 1, 7]);
    let acl = acl(dice);
    let acl = AclList::from_raw(&acl).unwrap();
    match dice.roll(20) {
        0..7 => send(&Request::Create(create(dice, path, data, acl))),
        7..10 => send(&Request::SetData(SetDataRequest { path: path.into(), data, version })),
        10..13 => send(&Request::Delete(PathVersion { path: path.into(), version })),
        13 => send(&Request::SetAcl(SetAclRequest { path: path.into(), acl, version })),
        14..17 => {
            let mut ops = Vec::new();
            for _ in 0..1 + dice.roll(4) {
                let path = *dice.pick(&NAMES);
                ops.push(match dice.roll(6) {
                    0..3 => MultiOp::Create(create(dice, path, data, OPEN_ACL_UNSAFE)),
                    3 => MultiOp::Delete(PathVersion { path: path.into(), version: -1 }),
                    4 => MultiOp::Check(PathVersion { path: "/".into(), version: -1 }),
                    _ => MultiOp::SetData(SetDataRequest { path: path.into(), data, version: -1 }),
                });
            }
            multi(ops, send);
        }
        // Together, or what was counted before the limits came would not be what a start counts.
        17 => multi(
            ["", "/zookeeper_limits", "/zookeeper_stats"]
                .map(|end| format!("/zookeeper/quota/a{end}"))
                .iter()
                .map(|path| MultiOp::Create(create_plain(path, Some(b"count=20,bytes=-1"))))
                .collect(),
            send,
        ),
        18 => send(&Request::Exists(PathWatch { path: path.into(), watch: true })),
        _ => send(&Request::Ping),
    }
}

/// A create of any kind, some of which must fail.
fn create<'a>(
    dice: &mut Dice,
    path: &'a str,
    data: Option<&'a [u8]>,
    acl: AclList<'a>,
) -> CreateRequest<'a> {
    let (op, flags, ttl_ms) = *dice.pick(&[
        (OpCode::CREATE, 0, -1),
        (OpCode::CREATE, 0, -1),
        (OpCode::CREATE2, 0, -1),
        (OpCode::CREATE, 1, -1),
        (OpCode::CREATE2, 1, -1),
        (OpCode::CREATE, 2, -1),
        (OpCode::CREATE2, 3, -1),
        (OpCode::CREATE_CONTAINER, 4, -1),
        (OpCode::CREATE_TTL, 5, 3000),
        (OpCode::CREATE_TTL, 6, 900_000),
    ]);
    CreateRequest { op, path: path.into(), data, acl, flags, ttl_ms }
}

fn create_plain<'a>(path: &'a str, data: Option<&'a [u8]>) -> CreateRequest<'a> {
    let acl = OPEN_ACL_UNSAFE;
    CreateRequest { op: OpCode::CREATE, path: path.into(), data, acl, flags: 0, ttl_ms: -1 }
}

fn multi(ops: Vec<MultiOp<'_>>, send: impl FnOnce(&Request<'_>)) {
    let mut body = Vec::new();
    MultiRequest::encode_ops(&mut body, ops);
    let multi = MultiRequest::decode(&mut Reader::new(&body)).unwrap();
    send(&Request::Multi(multi));
}

/// Mostly open, now and then a list that shuts others out, or one that is refused.
fn acl(dice: &mut Dice) -> Vec<u8> {
    let mut out = Vec::new();
    match dice.roll(8) {
        0 => encode_acl(&mut out, &[Acl::new(31, "digest", "bob:fwzM1zR7nNdUQJTpXuAJvDMNfQk=")]),
        1 => {
            encode_acl(&mut out, &[Acl::new(1, "world", "anyone"), Acl::new(30, "ip", "127.0.0.1")])
        }
        2 => encode_acl(&mut out, &[Acl::new(31, "nonsense", "x")]),
        _ => out.extend_from_slice(OPEN_ACL_UNSAFE.raw()),
    }
    out
}
