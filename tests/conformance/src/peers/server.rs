//! One server on one data directory and one port: Apache's or ours, behind one type.
//!
//! A test names a configuration once, in `zoo.cfg` keys, and starts either kind with it. Settings
//! that Java takes only as system properties (`jute.maxbuffer`, `znode.container.…`) are a second
//! list: `-D` for Java, `--set` for Oxkeeper. A server counts as started when it answers `srvr`
//! with its mode; what it printed is kept in `server.log` beside its data and shown if it dies.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::install::Peers;
use super::releases::Apache;
use super::system;

/// How often a starting or stopping server is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// How long a server may take to obey SIGTERM.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
/// What a server that may be reconfigured writes into its `zoo.cfg` itself.
const DYNAMIC_FILE: &str = "dynamicConfigFile=";
/// How long one four-letter word may take.
const WORD_TIMEOUT: Duration = Duration::from_secs(10);
/// The same of a server that starts, which is asked until it serves. Java sometimes answers that it
/// does not serve yet and leaves the connection open for ten seconds.
const STARTING_WORD_TIMEOUT: Duration = Duration::from_secs(1);

/// The class that Apache's scripts start.
const JAVA_MAIN: &str = "org.apache.zookeeper.server.quorum.QuorumPeerMain";

/// Which server to start.
#[derive(Clone, Debug)]
pub enum ServerUnderTest {
    /// Apache ZooKeeper, of the version the peers pin.
    Java(Peers),
    /// Apache ZooKeeper, of any version.
    Apache(Apache),
    /// Our own binary.
    Oxkeeper {
        /// The path of the `oxkeeper` executable.
        binary: PathBuf,
    },
}

/// What a server is started with.
#[derive(Clone, Debug)]
pub struct StartOpts {
    /// Where `zoo.cfg`, `server.log` and, unless `config` has a `dataDir`, `data` are kept.
    pub dir: PathBuf,
    /// The client port, on 127.0.0.1.
    pub port: u16,
    /// Lines of `zoo.cfg` beside those that follow from `dir` and `port`; the last of a key wins.
    pub config: Vec<(String, String)>,
    /// Settings that ZooKeeper takes only as Java system properties, by their full names.
    pub properties: Vec<(String, String)>,
    /// Further arguments of the JVM; Oxkeeper has none.
    pub jvm_args: Vec<String>,
    /// How long the server may take until it serves.
    pub ready_timeout: Duration,
}

impl StartOpts {
    /// A server with ZooKeeper's defaults, every four-letter word allowed and no admin port.
    pub fn new(dir: impl Into<PathBuf>, port: u16) -> StartOpts {
        StartOpts {
            dir: dir.into(),
            port,
            config: Vec::new(),
            properties: Vec::new(),
            jvm_args: Vec::new(),
            ready_timeout: Duration::from_secs(60),
        }
    }

    /// Adds a line to `zoo.cfg`.
    #[must_use]
    pub fn config(mut self, key: &str, value: &str) -> StartOpts {
        self.config.push((key.into(), value.into()));
        self
    }

    /// Adds a setting that `zoo.cfg` of Java cannot carry.
    #[must_use]
    pub fn property(mut self, name: &str, value: &str) -> StartOpts {
        self.properties.push((name.into(), value.into()));
        self
    }

    /// What the foreign [programs](super::Program) expect: a short tick so that expiry is quick,
    /// TTL nodes on, the reaper of containers running twice a second, enforced quotas, and the
    /// superuser `super:secret`.
    #[must_use]
    pub fn for_programs(self) -> StartOpts {
        self.config("tickTime", "500")
            .config("maxClientCnxns", "0")
            .config("maxSessionTimeout", "60000")
            .config("extendedTypesEnabled", "true")
            .config("enforceQuota", "true")
            .config(
                "DigestAuthenticationProvider.superDigest",
                "super:lK75jTNcA+U9vtVEw5vB51mj/w4=",
            )
            .property("znode.container.checkIntervalMs", "500")
            .property("znode.container.maxPerMinute", "600000")
    }

    /// The text of `zoo.cfg`.
    fn zoo_cfg(&self) -> String {
        let defaults = [
            ("dataDir", self.dir.join("data").display().to_string()),
            ("clientPort", self.port.to_string()),
            ("clientPortAddress", Ipv4Addr::LOCALHOST.to_string()),
            ("admin.enableServer", "false".into()),
            ("4lw.commands.whitelist", "*".into()),
        ];
        let mut lines: Vec<(&str, &str)> = defaults.iter().map(|(k, v)| (*k, v.as_str())).collect();
        for (key, value) in &self.config {
            lines.retain(|(earlier, _)| earlier != key);
            lines.push((key, value));
        }
        lines.iter().map(|(key, value)| format!("{key}={value}\n")).collect()
    }

    /// The directory given as `dataDir`, the one that holds `version-2`.
    pub fn data_dir(&self) -> PathBuf {
        match self.config.iter().rfind(|(key, _)| key == "dataDir") {
            Some((_, value)) => PathBuf::from(value),
            None => self.dir.join("data"),
        }
    }
}

impl ServerUnderTest {
    /// Starts a server and waits until it serves. A data directory that exists is opened.
    ///
    /// # Errors
    /// When it cannot be started, ends early, or does not serve in time; with the end of its log.
    pub fn start(&self, opts: StartOpts) -> Result<RunningServer> {
        fs::create_dir_all(opts.data_dir())
            .with_context(|| format!("cannot create {}", opts.data_dir().display()))?;
        let mut server = self.prepare(opts);
        server.launch()?;
        server.wait_until_serving()?;
        Ok(server)
    }

    /// A server that does not run yet, for [`RunningServer::launch`].
    pub fn prepare(&self, opts: StartOpts) -> RunningServer {
        RunningServer { kind: self.clone(), opts, child: None }
    }

    /// A word for messages: which server this is.
    pub fn name(&self) -> &'static str {
        match self {
            ServerUnderTest::Java(_) | ServerUnderTest::Apache(_) => "java",
            ServerUnderTest::Oxkeeper { .. } => "oxkeeper",
        }
    }

    fn command(&self, opts: &StartOpts, zoo_cfg: &Path) -> Command {
        match self {
            ServerUnderTest::Java(peers) => {
                let mut command = peers.java(&jvm_args(opts), JAVA_MAIN);
                command.arg(zoo_cfg);
                command
            }
            ServerUnderTest::Apache(apache) => {
                let mut command = apache.java(&jvm_args(opts), JAVA_MAIN);
                command.arg(zoo_cfg);
                command
            }
            ServerUnderTest::Oxkeeper { binary } => {
                let mut command = Command::new(binary);
                command.arg("serve").arg(zoo_cfg);
                for (name, value) in &opts.properties {
                    command.arg("--set").arg(format!("{name}={value}"));
                }
                command
            }
        }
    }
}

fn jvm_args(opts: &StartOpts) -> Vec<String> {
    let mut jvm = vec!["-Xmx512m".into(), "-XX:+UseSerialGC".into()];
    jvm.extend(opts.properties.iter().map(|(k, v)| format!("-D{k}={v}")));
    jvm.extend(opts.jvm_args.iter().cloned());
    jvm
}

/// What is sent to a process that is not to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Stands still, sockets open (SIGSTOP).
    Freeze,
    /// Goes on (SIGCONT).
    Thaw,
    /// Prints what its threads do, if it is Java's (SIGQUIT); ours would end.
    Threads,
}

/// A server process; killed when dropped.
#[derive(Debug)]
pub struct RunningServer {
    kind: ServerUnderTest,
    opts: StartOpts,
    child: Option<Child>,
}

impl RunningServer {
    /// Where clients connect.
    pub fn addr(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.opts.port))
    }

    /// The process id; none while stopped.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// What it was started with; a change takes effect at the next [`restart`](Self::restart).
    pub fn opts_mut(&mut self) -> &mut StartOpts {
        &mut self.opts
    }

    /// The directory given as `dataDir`.
    pub fn data_dir(&self) -> PathBuf {
        self.opts.data_dir()
    }

    /// Which server this is.
    pub fn kind(&self) -> &ServerUnderTest {
        &self.kind
    }

    /// Where its files are.
    pub fn dir(&self) -> &Path {
        &self.opts.dir
    }

    /// Everything the server has printed since its directory was made.
    pub fn log_path(&self) -> PathBuf {
        self.opts.dir.join("server.log")
    }

    /// Asks the server to end (SIGTERM), waits until it has, and returns how it ended.
    ///
    /// # Errors
    /// When it is not running, or does not obey in half a minute (it is then killed).
    pub fn stop(&mut self) -> Result<ExitStatus> {
        let mut child = self.child.take().context("the server is not running")?;
        // The standard library has no SIGTERM; every POSIX shell does.
        let pid = child.id().to_string();
        system::run(Command::new("sh").args(["-c", "kill -TERM \"$0\"", &pid]))?;
        let deadline = Instant::now() + STOP_TIMEOUT;
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                end(&mut child);
                bail!("{} ignored SIGTERM for {STOP_TIMEOUT:?}", self.kind.name());
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    /// Ends the server at once (SIGKILL), as a power cut ends a process.
    ///
    /// # Errors
    /// When it is not running.
    pub fn kill(&mut self) -> Result<()> {
        let mut child = self.child.take().context("the server is not running")?;
        end(&mut child);
        Ok(())
    }

    /// Starts the server again on its directory and port, stopping it first if it still runs.
    ///
    /// # Errors
    /// As [`stop`](Self::stop) and [`ServerUnderTest::start`].
    pub fn restart(&mut self) -> Result<()> {
        if self.child.is_some() {
            self.stop()?;
        }
        self.launch()?;
        self.wait_until_serving()
    }

    /// Goes on as another kind of server, on the same directory, from the next start on.
    pub fn replace(&mut self, kind: ServerUnderTest) {
        self.kind = kind;
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When it is not running.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        let pid = self.pid().context("the server is not running")?.to_string();
        let script = match signal {
            Signal::Freeze => "kill -STOP \"$0\"",
            Signal::Thaw => "kill -CONT \"$0\"",
            Signal::Threads => "kill -QUIT \"$0\"",
        };
        system::run(Command::new("sh").args(["-c", script, &pid]))
    }

    /// Whether the process is there; with how it ended and the end of its log if it has ended by
    /// itself.
    ///
    /// # Errors
    /// When it has.
    pub fn check_alive(&mut self) -> Result<bool> {
        let Some(child) = &mut self.child else { return Ok(false) };
        match child.try_wait()? {
            None => Ok(true),
            Some(status) => {
                self.child = None;
                bail!("{} ended with {status}:\n{}", self.kind.name(), self.log_tail())
            }
        }
    }

    /// Starts the process, which must not be running, and does not wait until it serves.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn launch(&mut self) -> Result<()> {
        let zoo_cfg = self.opts.dir.join("zoo.cfg");
        fs::create_dir_all(&self.opts.dir)?;
        // A server that was reconfigured has written there which file has its members.
        let own = fs::read_to_string(&zoo_cfg).is_ok_and(|text| text.contains(DYNAMIC_FILE));
        if !own {
            fs::write(&zoo_cfg, self.opts.zoo_cfg())?;
        }
        let log = OpenOptions::new().create(true).append(true).open(self.log_path())?;
        let mut command = self.kind.command(&self.opts, &zoo_cfg);
        command.current_dir(&self.opts.dir).stdin(Stdio::null());
        command.stdout(log.try_clone()?).stderr(log);
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        self.child = Some(child);
        Ok(())
    }

    fn wait_until_serving(&mut self) -> Result<()> {
        let deadline = Instant::now() + self.opts.ready_timeout;
        let (addr, name) = (self.addr(), self.kind.name());
        while let Some(child) = &mut self.child {
            if let Some(status) = child.try_wait()? {
                self.child = None;
                bail!("{name} ended with {status} while starting:\n{}", self.log_tail());
            }
            let said = four_letter_word_within(addr, "srvr", STARTING_WORD_TIMEOUT);
            if said.is_ok_and(|said| said.contains("\nMode: ")) {
                return Ok(());
            }
            if Instant::now() > deadline {
                let limit = self.opts.ready_timeout;
                bail!("{name} does not serve on {addr} after {limit:?}:\n{}", self.log_tail());
            }
            std::thread::sleep(POLL_INTERVAL);
        }
        Ok(())
    }

    /// The last that it printed.
    pub fn log_tail(&self) -> String {
        let mut text = Vec::new();
        let read = File::open(self.log_path()).and_then(|mut log| log.read_to_end(&mut text));
        match read {
            Ok(_) => system::tail(&String::from_utf8_lossy(&text), 20),
            Err(error) => format!("(its log cannot be read: {error})"),
        }
    }
}

impl Drop for RunningServer {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            end(child);
        }
    }
}

/// Kills a child and reaps it. Both fail only if it is gone already, which is what we want.
fn end(child: &mut Child) {
    child.kill().ok();
    child.wait().ok();
}

/// Sends a four-letter word and returns all the server answers.
///
/// # Errors
/// When the server cannot be reached or does not close the connection in time.
pub fn four_letter_word(addr: SocketAddr, word: &str) -> io::Result<String> {
    four_letter_word_within(addr, word, WORD_TIMEOUT)
}

/// [`four_letter_word`] for a server that may stand still.
///
/// # Errors
/// The same.
pub fn four_letter_word_within(
    addr: SocketAddr,
    word: &str,
    limit: Duration,
) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&addr, limit)?;
    stream.set_read_timeout(Some(limit))?;
    stream.write_all(word.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// A port of 127.0.0.1 that nobody listens on now.
///
/// # Errors
/// When the system has none left.
pub fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(command: &Command) -> Vec<String> {
        command.get_args().map(|arg| arg.to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn a_later_line_replaces_an_earlier_one() {
        let opts = StartOpts::new("/d", 2181).config("dataDir", "/other").config("tickTime", "5");
        let text = opts.config("tickTime", "500").zoo_cfg();
        assert_eq!(
            text,
            "clientPort=2181\nclientPortAddress=127.0.0.1\nadmin.enableServer=false\n\
             4lw.commands.whitelist=*\ndataDir=/other\ntickTime=500\n"
        );
    }

    #[test]
    fn the_data_directory_is_the_one_the_server_is_told() {
        assert_eq!(StartOpts::new("/d", 1).data_dir(), Path::new("/d/data"));
        let opts = StartOpts::new("/d", 1).config("dataDir", "/a").config("dataDir", "/b");
        assert_eq!(opts.data_dir(), Path::new("/b"));
        assert!(opts.zoo_cfg().contains("dataDir=/b\n"));
    }

    #[test]
    fn system_properties_become_settings_of_ours() {
        let ours = ServerUnderTest::Oxkeeper { binary: "/bin/oxkeeper".into() };
        let opts = StartOpts::new("/d", 1).property("jute.maxbuffer", "4096");
        let command = ours.command(&opts, Path::new("/d/zoo.cfg"));
        assert_eq!(command.get_program(), "/bin/oxkeeper");
        assert_eq!(args(&command), ["serve", "/d/zoo.cfg", "--set", "jute.maxbuffer=4096"]);
    }

    #[test]
    fn a_server_that_cannot_start_is_reported_with_its_log() {
        let dir = std::env::temp_dir().join(format!("oxkeeper-start-{}", std::process::id()));
        // `sh serve zoo.cfg` looks for a script called serve: it prints that and ends.
        let shell = ServerUnderTest::Oxkeeper { binary: "/bin/sh".into() };
        let error = shell.start(StartOpts::new(&dir, free_port().unwrap())).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("ended with") && text.contains("serve"), "{text}");
        fs::remove_dir_all(&dir).unwrap();
    }
}
