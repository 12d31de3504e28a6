//! Ensembles that we start ourselves: directories, ports, processes, and their ends.
//!
//! Every server has a directory with its `zoo.cfg`, its data and its log. A server that ends
//! without having been told to is an error wherever it is noticed, with the end of its log.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::launch::Probe;
use crate::members::{Mode, state};
use crate::target::{Role, Target};

/// How long an ensemble may take until all its servers serve.
const FORMED_MAX: Duration = Duration::from_secs(300);

/// How long a server may take to end.
const STOP_MAX: Duration = Duration::from_secs(60);

/// Pause between two looks at an ensemble.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Pause between two attempts to be served: what a start is off by.
const PROBE_EVERY: Duration = Duration::from_micros(500);

/// How much of a dead server's log is shown.
const LOG_BYTES_SHOWN: usize = 2000;

/// What runs a server.
#[derive(Debug, Clone)]
pub enum Program {
    /// Our binary.
    Oxkeeper(PathBuf),
    /// Apache's main class.
    Java {
        /// As `java -cp` takes it.
        class_path: String,
        /// What comes before it.
        arguments: Vec<String>,
    },
}

impl Program {
    /// Whose it is.
    pub fn name(&self) -> &'static str {
        match self {
            Program::Oxkeeper(_) => "oxkeeper",
            Program::Java { .. } => "zookeeper",
        }
    }
}

/// What all ensembles of a run have in common.
#[derive(Debug, Clone)]
pub struct Ground {
    /// Their directories are made here.
    pub dir: PathBuf,
    /// The first port to try.
    pub base_port: u16,
    /// Further lines of `zoo.cfg`.
    pub lines: Vec<(String, String)>,
    /// Leave the directories.
    pub keep: bool,
}

struct Server {
    dir: PathBuf,
    client: SocketAddr,
    child: Option<Child>,
    frozen: bool,
}

/// One ensemble.
pub struct Cluster {
    program: Program,
    dir: PathBuf,
    keep: bool,
    servers: Vec<Server>,
}

impl Cluster {
    /// Writes down `count` servers that have never run, in a directory of this name.
    ///
    /// # Errors
    /// When there are no free ports or the directory cannot be written.
    pub fn new(ground: &Ground, program: &Program, name: &str, count: usize) -> Result<Cluster> {
        let dir = ground.dir.join(name);
        ensure!(!dir.exists(), "{} is there already", dir.display());
        let ports = free_ports(ground.base_port, count * 3)?;
        let members: String = (0..count)
            .map(|index| {
                let (quorum, election) = (ports[count + index], ports[2 * count + index]);
                format!("server.{}=127.0.0.1:{quorum}:{election}\n", index + 1)
            })
            .collect();
        let mut servers = Vec::with_capacity(count);
        for (index, port) in ports[..count].iter().enumerate() {
            let id = index + 1;
            let dir = dir.join(format!("server-{id}"));
            let data = dir.join("data");
            fs::create_dir_all(&data)
                .with_context(|| format!("cannot create {}", data.display()))?;
            fs::write(data.join("myid"), format!("{id}\n"))?;
            // A server alone has no members to list.
            let members = if count == 1 { "" } else { &members };
            fs::write(dir.join("zoo.cfg"), zoo_cfg(&data, *port, &ground.lines, members))?;
            let client = (Ipv4Addr::LOCALHOST, *port).into();
            servers.push(Server { dir, client, child: None, frozen: false });
        }
        Ok(Cluster { program: program.clone(), dir, keep: ground.keep, servers })
    }

    /// How many servers it has.
    pub fn len(&self) -> usize {
        self.servers.len()
    }

    /// Whether it has none; it never is.
    pub fn is_empty(&self) -> bool {
        self.servers.is_empty()
    }

    /// Where the clients of a server go.
    pub fn address(&self, index: usize) -> SocketAddr {
        self.servers[index].client
    }

    /// Where all clients go.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.servers.iter().map(|server| server.client).collect()
    }

    /// The process of a server that runs.
    pub fn pid(&self, index: usize) -> Option<u32> {
        self.servers[index].child.as_ref().map(Child::id)
    }

    /// Starts one server and does not wait for it.
    ///
    /// # Errors
    /// When its program cannot be run.
    pub fn start(&mut self, index: usize) -> Result<()> {
        let server = &mut self.servers[index];
        if server.child.is_some() {
            return Ok(());
        }
        let log = File::options().create(true).append(true).open(server.dir.join("log"))?;
        let mut command = match &self.program {
            Program::Oxkeeper(path) => {
                let mut command = Command::new(path);
                command.args(["serve", "zoo.cfg"]);
                command
            }
            Program::Java { class_path, arguments } => {
                let mut command = Command::new("java");
                command.args(arguments).arg("-cp").arg(class_path);
                command.args(["org.apache.zookeeper.server.quorum.QuorumPeerMain", "zoo.cfg"]);
                command
            }
        };
        let child = command
            .current_dir(&server.dir)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("running {:?}", command.get_program()))?;
        server.child = Some(child);
        Ok(())
    }

    /// Starts all servers at once; how long it takes until one of them answers a request.
    ///
    /// # Errors
    /// When a server ends, or none serves in time.
    pub fn start_all(&mut self) -> Result<Duration> {
        let start = Instant::now();
        (0..self.len()).try_for_each(|index| self.start(index))?;
        let mut probes: Vec<Probe> = self.addresses().into_iter().map(Probe::new).collect();
        loop {
            if probes.iter_mut().any(Probe::served) {
                return Ok(start.elapsed());
            }
            self.check()?;
            self.in_time(start, "serve")?;
            std::thread::sleep(PROBE_EVERY);
        }
    }

    /// Waits until all servers that are not frozen serve, under one leader; who that is.
    ///
    /// # Errors
    /// When a server ends, or it takes too long.
    pub fn formed(&mut self) -> Result<usize> {
        let start = Instant::now();
        loop {
            if let Some(leader) = self.leader() {
                return Ok(leader);
            }
            self.check()?;
            self.in_time(start, "form an ensemble")?;
            std::thread::sleep(LOOK_EVERY);
        }
    }

    fn in_time(&self, start: Instant, what: &str) -> Result<()> {
        if start.elapsed() < FORMED_MAX {
            return Ok(());
        }
        let states: Vec<String> = (0..self.len())
            .map(|index| format!("server {} is {:?}", index + 1, state(self.address(index)).0))
            .collect();
        let limit = FORMED_MAX.as_secs();
        bail!("the servers did not {what} within {limit} s: {}", states.join(", "))
    }

    /// The only leader, if everybody runs and serves under it.
    fn leader(&self) -> Option<usize> {
        let mut leaders = Vec::new();
        for (index, server) in self.servers.iter().enumerate() {
            if server.frozen {
                return None;
            }
            match state(server.client).0 {
                Mode::Leader => leaders.push(index),
                // Only where there is nobody else.
                Mode::Standalone if self.len() == 1 => leaders.push(index),
                Mode::Standalone => return None,
                Mode::Follower | Mode::Observer => {}
                Mode::Unknown => return None,
            }
        }
        if let [leader] = leaders[..] { Some(leader) } else { None }
    }

    /// Sees to it that every server that should run does.
    ///
    /// # Errors
    /// When one has ended, with the end of its log.
    pub fn check(&mut self) -> Result<()> {
        for (index, server) in self.servers.iter_mut().enumerate() {
            let Some(child) = &mut server.child else { continue };
            if let Some(status) = child.try_wait()? {
                server.child = None;
                // What it left is worth a look.
                self.keep = true;
                let log = server.dir.join("log");
                let (id, shown, log) = (index + 1, end_of(&log), log.display());
                bail!("server {id} ended by itself with {status}; the end of {log}:\n{shown}");
            }
        }
        Ok(())
    }

    /// Kills a server, as a power failure of its process would.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn kill(&mut self, index: usize) -> Result<()> {
        let server = &mut self.servers[index];
        server.frozen = false;
        if let Some(mut child) = server.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Stops a server in its tracks: its connections stay open and silent.
    pub fn freeze(&mut self, index: usize) {
        self.signal(index, Signal::STOP);
        self.servers[index].frozen = true;
    }

    /// Lets it go on.
    pub fn thaw(&mut self, index: usize) {
        self.signal(index, Signal::CONT);
        self.servers[index].frozen = false;
    }

    fn signal(&self, index: usize, signal: Signal) {
        let pid = self.pid(index).and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            let _ = kill_process(pid, signal);
        }
    }

    /// Asks all servers to end, and waits until they have.
    ///
    /// # Errors
    /// When one does not, and has to be killed.
    pub fn stop_all(&mut self) -> Result<()> {
        for index in 0..self.len() {
            self.thaw(index);
            self.signal(index, Signal::TERM);
        }
        let start = Instant::now();
        for index in 0..self.len() {
            while let Some(child) = &mut self.servers[index].child {
                if child.try_wait()?.is_some() {
                    self.servers[index].child = None;
                } else if start.elapsed() > STOP_MAX {
                    self.keep = true;
                    self.kill(index)?;
                    let (id, limit) = (index + 1, STOP_MAX.as_secs());
                    bail!("server {id} did not end within {limit} s of SIGTERM");
                } else {
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
        }
        Ok(())
    }

    /// Empties the disk of a server that does not run; what is left is who it is.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub fn wipe(&mut self, index: usize) -> Result<()> {
        let server = &self.servers[index];
        ensure!(server.child.is_none(), "a server that runs cannot be wiped");
        let data = server.dir.join("data");
        for entry in fs::read_dir(&data)? {
            let entry = entry?;
            if entry.file_name() == "myid" {
                continue;
            }
            match entry.file_type()?.is_dir() {
                true => fs::remove_dir_all(entry.path())?,
                false => fs::remove_file(entry.path())?,
            }
        }
        Ok(())
    }

    /// The ensemble as something to load, with its processes.
    ///
    /// # Errors
    /// When a server cannot be asked what it is.
    pub fn target(&self, role: Role) -> Result<Target> {
        let pids: Vec<u32> = (0..self.len()).filter_map(|index| self.pid(index)).collect();
        let mut target = Target::new(role, self.addresses(), &pids, None)?;
        target.look()?;
        Ok(target)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for index in 0..self.len() {
            let _ = self.kill(index);
        }
        if !self.keep {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

/// The configuration of one server, with the limits of ZooKeeper's sample.
fn zoo_cfg(data: &Path, port: u16, lines: &[(String, String)], members: &str) -> String {
    let data = data.display().to_string();
    let defaults = [
        ("tickTime", "2000".into()),
        ("initLimit", "10".into()),
        ("syncLimit", "5".into()),
        ("dataDir", data),
        ("clientPort", port.to_string()),
        ("clientPortAddress", "127.0.0.1".into()),
        ("maxClientCnxns", "0".into()),
        ("admin.enableServer", "false".into()),
        ("4lw.commands.whitelist", "*".to_owned()),
    ];
    let mut all: Vec<(&str, &str)> = defaults.iter().map(|(k, v)| (*k, v.as_str())).collect();
    for (key, value) in lines {
        all.retain(|(known, _)| known != key);
        all.push((key, value));
    }
    let text: String = all.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
    text + members
}

/// Free ports of this machine, from `first` on. Chosen below the range from which the kernel takes
/// ports of outgoing connections, or a client might sit on the port of a server that is down.
fn free_ports(first: u16, count: usize) -> Result<Vec<u16>> {
    let listeners: Vec<TcpListener> = (first..u16::MAX)
        .filter_map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok())
        .take(count)
        .collect();
    ensure!(listeners.len() == count, "there are no {count} free ports from {first} on");
    listeners.iter().map(|listener| Ok(listener.local_addr()?.port())).collect()
}

fn end_of(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let from = text.len().saturating_sub(LOG_BYTES_SHOWN);
    String::from_utf8_lossy(&text[from..]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ground(name: &str) -> Ground {
        let dir = std::env::temp_dir().join(format!("bench-{name}-{}", std::process::id()));
        Ground { dir, base_port: 23_000, lines: Vec::new(), keep: false }
    }

    #[test]
    fn lines_of_the_command_line_replace_the_usual_ones() {
        let lines = [("tickTime".to_owned(), "500".to_owned())];
        let text = zoo_cfg(Path::new("/d"), 2181, &lines, "server.1=a:1:2\n");
        assert!(text.contains("tickTime=500\n") && !text.contains("2000"), "{text}");
        assert!(text.ends_with("server.1=a:1:2\n"));
    }

    #[test]
    fn ensembles_side_by_side_get_ports_of_their_own() {
        let taken = free_ports(23_000, 4).unwrap();
        let _held: Vec<TcpListener> =
            taken.iter().map(|port| TcpListener::bind(("127.0.0.1", *port)).unwrap()).collect();
        let others = free_ports(23_000, 4).unwrap();
        assert!(others.iter().all(|port| !taken.contains(port)), "{taken:?} {others:?}");
    }

    #[test]
    fn a_server_that_ends_by_itself_is_an_error_with_its_log() {
        let ground = ground("ended");
        // It prints its arguments and ends well, which no server should.
        let program = Program::Oxkeeper("echo".into());
        let mut cluster = Cluster::new(&ground, &program, "one", 1).unwrap();
        let error = cluster.start_all().unwrap_err().to_string();
        assert!(error.contains("ended by itself") && error.contains("serve zoo.cfg"), "{error}");
        assert!(cluster.dir.exists(), "what it left is kept");
        cluster.keep = false;
        drop(cluster);
        let _ = fs::remove_dir(&ground.dir);
    }

    #[test]
    fn a_wiped_server_still_knows_who_it_is() {
        let ground = ground("wiped");
        let program = Program::Oxkeeper("true".into());
        let mut cluster = Cluster::new(&ground, &program, "three", 3).unwrap();
        let data = cluster.servers[1].dir.join("data");
        fs::create_dir(data.join("version-2")).unwrap();
        fs::write(data.join("version-2/log.1"), "x").unwrap();
        cluster.wipe(1).unwrap();
        let left: Vec<_> = fs::read_dir(&data).unwrap().flatten().map(|e| e.file_name()).collect();
        assert_eq!(left, ["myid"]);
        assert_eq!(fs::read_to_string(data.join("myid")).unwrap(), "2\n");
        drop(cluster);
        assert!(!ground.dir.join("three").exists());
        let _ = fs::remove_dir(&ground.dir);
    }
}
