//! Network namespaces: each member in one of its own, all on one bridge.
//!
//! Here the kernel's own TCP meets real losses. Where a packet is not to arrive, its sender is told
//! that its neighbour has a hardware address that nobody has: so packets of one direction between
//! two members vanish without a sound, connections being opened included, and need no kernel module
//! to do so. A cable is pulled by setting a member's interface down.
//!
//! Clients are not in the way of faults; they reach a member at a port of the loopback device, from
//! which [a door](Door) leads into its namespace.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::thread::JoinHandle;

use anyhow::{Context, Result, bail, ensure};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::oneshot;

/// Where everything for nobody goes: an address that is only ever local.
const NOBODY: &str = "02:00:00:00:00:fe";
/// The number of those that are made to see whether they can be.
const TRIAL: usize = 999;
/// The device in each namespace.
const DEVICE: &str = "eth0";

/// Namespaces for members 1 to `count`, until dropped.
#[derive(Debug)]
pub(super) struct Spaces {
    name: String,
    subnet: String,
    count: i64,
    /// Whose packets to whom vanish.
    lost: BTreeSet<(i64, i64)>,
    down: BTreeSet<i64>,
}

impl Spaces {
    /// Makes them. `number` tells apart those of one process.
    ///
    /// # Errors
    /// When we have no right to.
    pub(super) fn new(number: usize, count: i64) -> Result<Spaces> {
        let pid = std::process::id();
        // Names of devices have at most 15 bytes.
        let name = format!("ox{pid:x}n{number}");
        let subnet = format!("10.{}.{}", 128 + pid % 100, (pid / 100 + number as u32) % 250);
        let (lost, down) = (BTreeSet::new(), BTreeSet::new());
        // From here on, what was made is taken away again when this value goes.
        let spaces = Spaces { name, subnet, count, lost, down };
        let bridge = spaces.bridge();
        ip(&format!("link add {bridge} type bridge"))?;
        ip(&format!("address add {}/24 dev {bridge}", spaces.host()))?;
        ip(&format!("link set {bridge} up"))?;
        for sid in 1..=count {
            let (space, cable) = (spaces.space(sid), spaces.cable(sid));
            ip(&format!("netns add {space}"))?;
            ip(&format!("link add {cable} type veth peer name {DEVICE} netns {space}"))?;
            ip(&format!("link set {cable} master {bridge} up"))?;
            ip(&format!("-n {space} link set lo up"))?;
            ip(&format!("-n {space} address add {}/24 dev {DEVICE}", spaces.addr(sid)))?;
            ip(&format!("-n {space} link set {DEVICE} up"))?;
        }
        Ok(spaces)
    }

    /// The words before a member's command.
    pub(super) fn enter(&self, sid: i64) -> String {
        format!("ip netns exec {}", self.space(sid))
    }

    /// Where a member is found by the others.
    pub(super) fn addr(&self, sid: i64) -> Ipv4Addr {
        let text = format!("{}.{sid}", self.subnet);
        text.parse().unwrap_or(Ipv4Addr::UNSPECIFIED)
    }

    fn host(&self) -> String {
        format!("{}.254", self.subnet)
    }

    fn space(&self, sid: i64) -> String {
        format!("{}m{sid}", self.name)
    }

    fn cable(&self, sid: i64) -> String {
        format!("{}c{sid}", self.name)
    }

    fn bridge(&self) -> String {
        format!("{}b", self.name)
    }

    /// From now on nothing that `from` sends arrives at `to`.
    pub(super) fn lose(&mut self, from: i64, to: i64) -> Result<()> {
        let (space, addr) = (self.space(from), self.addr(to));
        self.lost.insert((from, to));
        ip(&format!(
            "-n {space} neighbour replace {addr} lladdr {NOBODY} nud permanent dev {DEVICE}"
        ))
    }

    /// From now on it does again.
    pub(super) fn find(&mut self, from: i64, to: i64) -> Result<()> {
        if self.lost.remove(&(from, to)) {
            let (space, addr) = (self.space(from), self.addr(to));
            ip(&format!("-n {space} neighbour del {addr} dev {DEVICE}"))?;
        }
        Ok(())
    }

    /// Pulls a member's cable; its clients are cut off as well.
    pub(super) fn unplug(&mut self, sid: i64) -> Result<()> {
        self.down.insert(sid);
        ip(&format!("link set {} down", self.cable(sid)))
    }

    /// Everything arrives again.
    pub(super) fn heal(&mut self) -> Result<()> {
        for (from, to) in self.lost.clone() {
            self.find(from, to)?;
        }
        for sid in std::mem::take(&mut self.down) {
            ip(&format!("link set {} up", self.cable(sid)))?;
        }
        Ok(())
    }
}

impl Drop for Spaces {
    fn drop(&mut self) {
        // Nothing can be done about what will not go, and the next run does not meet it.
        for sid in 1..=self.count {
            // A namespace takes its devices along, but later: until then their names are taken.
            ip(&format!("link del {}", self.cable(sid))).ok();
            ip(&format!("netns del {}", self.space(sid))).ok();
        }
        ip(&format!("link del {}", self.bridge())).ok();
    }
}

/// Whether this machine lets us have namespaces; if not, why.
pub(super) fn available() -> Result<()> {
    let spaces = Spaces::new(TRIAL, 2)?;
    let out = Command::new("sh")
        .args(["-c", &format!("{} true", spaces.enter(2))])
        .output()
        .context("sh")?;
    ensure!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr).trim());
    Ok(())
}

fn ip(words: &str) -> Result<()> {
    run("ip", words)
}

/// Runs a command of the system, and says what it said if it fails.
pub(crate) fn run(program: &str, words: &str) -> Result<()> {
    let mut command = Command::new(program);
    command.args(words.split_whitespace());
    let out = command.output().with_context(|| format!("{program} is not here"))?;
    if !out.status.success() {
        bail!("{program} {words}: {}", String::from_utf8_lossy(&out.stderr).trim());
    }
    Ok(())
}

/// A small disk of its own for a directory.
pub(super) fn mount_small(dir: &Path, megabytes: u32) -> Result<()> {
    std::fs::create_dir_all(dir)?;
    run("mount", &format!("-t tmpfs -o size={megabytes}m oxkeeper-faults {}", dir.display()))
}

/// Takes it away.
pub(super) fn unmount(dir: &Path) -> Result<()> {
    run("umount", &format!("-l {}", dir.display()))
}

/// Ports of the loopback device that lead to others.
#[derive(Debug)]
pub(super) struct Doors {
    ending: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Doors {
    /// Opens them: from where to where.
    pub(super) fn open(doors: Vec<(SocketAddr, SocketAddr)>) -> Result<Doors> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (ending, ended) = oneshot::channel();
        for (from, to) in doors {
            let listener = std::net::TcpListener::bind(from)?;
            listener.set_nonblocking(true)?;
            let _inside = runtime.enter();
            runtime.spawn(keep(TcpListener::from_std(listener)?, to));
        }
        let thread = std::thread::Builder::new().name("doors".to_owned()).spawn(move || {
            // Told to end or left alone, it is the same.
            runtime.block_on(ended).ok();
        })?;
        Ok(Doors { ending: Some(ending), thread: Some(thread) })
    }
}

impl Drop for Doors {
    fn drop(&mut self) {
        self.ending.take().map(|ending| ending.send(()).ok());
        self.thread.take().map(|thread| thread.join().ok());
    }
}

async fn keep(listener: TcpListener, to: SocketAddr) {
    loop {
        // An accept fails for the connection's own reasons; the next may not.
        let Ok((mut near, _)) = listener.accept().await else { continue };
        tokio::spawn(async move {
            // Whatever happens to a connection, its ends see it by themselves.
            if let Ok(mut far) = TcpStream::connect(to).await {
                near.set_nodelay(true).and_then(|()| far.set_nodelay(true)).ok();
                tokio::io::copy_bidirectional(&mut near, &mut far).await.ok();
            }
        });
    }
}
