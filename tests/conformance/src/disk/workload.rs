//! Writes of every kind, good and bad, drawn from a seed: what a log has to hold, refused writes
//! and failed multis included.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::{Result, ensure};

use super::client::Client;
use crate::wire::{Acl, Blob, Request, op};

/// Longer than any check leaves a session without a word: its ephemerals outlive its servers.
pub const LONG_TIMEOUT_MS: i32 = 600_000;
/// Sessions under way at any time.
const SESSIONS: usize = 4;
/// The raw owner of a TTL node of one minute and something, see [`kinds`].
const TTL_MS: i64 = 75_025;
/// The names that paths are made of: few, so that requests meet each other.
const NAMES: [&str; 8] = ["/a", "/b", "/a/b", "/a/b/c", "/a/é", "/b/x y", "/d", "/d/中文"];

/// What a workload leaves behind besides a tree.
#[derive(Debug, Default)]
pub struct Left {
    /// Sessions that were not closed, with their timeouts in milliseconds.
    pub sessions: BTreeMap<i64, i32>,
    /// Their connections: dropped only when the server has gone.
    clients: Vec<Client>,
    /// Requests that succeeded, and that were refused.
    pub counts: (usize, usize),
}

impl Left {
    /// Takes a connection whose session stays.
    pub fn keep(&mut self, client: Client) {
        self.sessions.insert(client.session, client.timeout_ms);
        self.clients.push(client);
    }
}

/// Makes `count` requests from several sessions, some of which end.
///
/// # Errors
/// When the server does not play along.
pub fn run(addr: SocketAddr, seed: u64, count: usize) -> Result<Left> {
    let mut rng = Rng::new(seed);
    let mut left = Left::default();
    let mut clients = Vec::new();
    let mut made = 0;
    kinds(addr, &mut left)?;
    while made < count {
        if clients.len() < SESSIONS {
            let timeout_ms = LONG_TIMEOUT_MS - i32::try_from(rng.below(1000))?;
            let mut client = Client::connect(addr, timeout_ms)?;
            if rng.chance(70) {
                client.login("bob:pw")?;
            }
            clients.push(client);
        }
        let at = rng.below(clients.len());
        let requests: Vec<Request> = (0..1 + rng.below(12)).map(|_| request(&mut rng)).collect();
        let answers = clients[at].ask_all(&requests)?;
        let good = answers.iter().filter(|answer| answer["err"] == 0).count();
        left.counts.0 += good;
        left.counts.1 += answers.len() - good;
        made += requests.len();
        if rng.chance(3) {
            clients.swap_remove(at).close()?;
        }
    }
    clients.into_iter().for_each(|client| left.keep(client));
    let (good, bad) = left.counts;
    ensure!(good > count / 4 && bad > count / 10, "{good} succeeded, {bad} were refused");
    Ok(left)
}

/// One znode of each kind, by name, and limits on some of them.
fn kinds(addr: SocketAddr, left: &mut Left) -> Result<()> {
    let mut client = Client::connect(addr, LONG_TIMEOUT_MS)?;
    client.login("bob:pw")?;
    let plain = |path: &str, flags| create(op::CREATE, path, Blob::text("x"), flags, None);
    let quota = "/zookeeper/quota/kinds";
    let limits = Blob::text("count=100,bytes=100000");
    let requests = [
        plain("/kinds", 0),
        plain("/kinds/ephemeral", 1),
        plain("/kinds/sequential-", 2),
        plain("/kinds/both-", 3),
        create(op::CREATE_CONTAINER, "/kinds/container", Blob(None), 4, None),
        create(op::CREATE_TTL, "/kinds/ttl", Blob::text(""), 5, Some(TTL_MS)),
        create(op::CREATE_TTL, "/kinds/ttl-", Blob(Some(vec![0; 20_000])), 6, Some(TTL_MS)),
        create(op::CREATE, quota, Blob::text(""), 0, None),
        create(op::CREATE, &format!("{quota}/zookeeper_limits"), limits, 0, None),
        create(op::CREATE, &format!("{quota}/zookeeper_stats"), Blob::text("x"), 0, None),
        plain("/kinds/counted", 0),
    ];
    let answers = client.ask_all(&requests)?;
    let failed = answers.iter().zip(&requests).find(|(answer, _)| answer["err"] != 0);
    ensure!(failed.is_none(), "{failed:?}");
    left.keep(client);
    Ok(())
}

/// The raw owners of the znodes that [`run`] makes first, as they are stored.
pub fn stored_owners() -> [(&'static str, i64); 3] {
    const TTL_MARK: i64 = 0xff << 56;
    [("/kinds/container", i64::MIN), ("/kinds/ttl", TTL_MARK | TTL_MS), ("/kinds/counted", 0)]
}

fn create(op: i32, path: &str, data: Blob, flags: i32, ttl: Option<i64>) -> Request {
    Request::Create { op, path: Some(path.to_owned()), data, acl: Acl::open(), flags, ttl }
}

fn request(rng: &mut Rng) -> Request {
    let path = (*rng.pick(&NAMES)).to_owned();
    let number = *rng.pick(&[-1, -1, -1, -1, 0, 3]);
    match rng.below(20) {
        0..8 => random_create(rng, path),
        8..11 => Request::SetData { path: Some(path), data: data(rng), version: number },
        11..14 => Request::PathInt { op: op::DELETE, path: Some(path), number },
        14 => Request::SetAcl { path: Some(path), acl: acl(rng), version: number },
        15..19 => {
            let parts = (0..1 + rng.below(5)).map(|_| part(rng)).collect();
            Request::Multi { op: op::MULTI, parts }
        }
        _ => Request::Path { op: op::SYNC, path: Some(path) },
    }
}

fn part(rng: &mut Rng) -> Request {
    let path = (*rng.pick(&NAMES)).to_owned();
    match rng.below(8) {
        0..4 => random_create(rng, path),
        4 => Request::SetData { path: Some(path), data: data(rng), version: -1 },
        5 => Request::PathInt { op: op::CHECK, path: Some("/".into()), number: -1 },
        _ => Request::PathInt { op: op::DELETE, path: Some(path), number: -1 },
    }
}

/// Each operation with its own flags: Java logs wrong digests for others.
fn random_create(rng: &mut Rng, path: String) -> Request {
    let ttl = 1_000_000 + i64::try_from(rng.below(1000)).unwrap_or(0);
    let (op, flags, ttl) = *rng.pick(&[
        (op::CREATE, 0, None),
        (op::CREATE2, 0, None),
        (op::CREATE, 0, None),
        (op::CREATE, 1, None),
        (op::CREATE2, 1, None),
        (op::CREATE, 2, None),
        (op::CREATE2, 3, None),
        (op::CREATE_CONTAINER, 4, None),
        (op::CREATE_TTL, 5, Some(ttl)),
        (op::CREATE_TTL, 6, Some(ttl)),
    ]);
    Request::Create { op, path: Some(path), data: data(rng), acl: acl(rng), flags, ttl }
}

fn data(rng: &mut Rng) -> Blob {
    let length = *rng.pick(&[0, 1, 10, 100, 1000, 5000]);
    Blob((!rng.chance(10)).then(|| (0..length).map(|_| rng.next().to_le_bytes()[0]).collect()))
}

/// Mostly open; lists that shut others out, that name their creator, and one that is refused.
fn acl(rng: &mut Rng) -> Option<Vec<Acl>> {
    let list = match rng.below(10) {
        0 => vec![Acl::new(31, "auth", "")],
        1 => vec![Acl::new(1, "world", "anyone"), Acl::new(31, "ip", "127.0.0.1")],
        2 => vec![Acl::new(31, "digest", "bob:ikIaKsbtGweaHnb/jKn7OHqbunM=")],
        3 => vec![Acl::new(31, "unheard-of", "x")],
        _ => return Acl::open(),
    };
    Some(list)
}

/// Chance from a seed (SplitMix64): a seed means the same requests for ever.
struct Rng(u64);

impl Rng {
    fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap_or(0)
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }
}
