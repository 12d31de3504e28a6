//! The client library, against Apache's servers and ours.
//!
//! Its own tests, and the examples of tasks, run against a server that stands alone and against
//! each member of an ensemble of three, whichever server is examined. Every example in the
//! documentation of the library and of the recipes runs against Apache's as it does, with the
//! tests of the workspace, against ours. Then a session works on the
//! ensemble while its members are killed one after the other, and what the client said of every
//! operation is compared with what the tree says: nothing happened twice, nothing that "did not
//! happen" did, and the session with its ephemeral znodes is still there.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use oxkeeper_client::{Client, Fate};
use serde_json::Value;

use crate::Findings;
use crate::ensemble::{Ensemble, Kind, PATIENCE, Plan, Programs};
use crate::peers::{Peers, ServerUnderTest, StartOpts};

/// Tests that have servers of their own, whatever is examined.
const OWN_SERVER: [&str; 6] = [
    "operations::containers_and_what_has_a_time_to_live_go_by_themselves",
    "watching::out_of_touch_a_watch_is_removed_here_if_that_is_asked_for",
    "watching::a_dropped_watch_is_gone",
    "life::a_server_without_its_quorum_will_do_for_reads_until_another_is_found",
    "life::while_on_a_server_without_its_quorum_the_others_are_asked_whether_they_take_writes",
    "life::the_list_of_servers_follows_the_ensemble",
];

/// What the tests expect of a server.
const CONFIG: [(&str, &str); 6] = [
    ("tickTime", "200"),
    ("minSessionTimeout", "200"),
    ("maxSessionTimeout", "60000"),
    ("extendedTypesEnabled", "true"),
    ("maxClientCnxns", "0"),
    ("4lw.commands.whitelist", "*"),
];

/// Tasks that count in the session under attack, and how far each counts.
const COUNTERS: usize = 8;
const COUNT: i32 = 400;

/// Runs everything.
///
/// # Errors
/// When a server or the tests cannot be run.
pub fn run(
    peers: &Peers,
    examined: &ServerUnderTest,
    dir: &Path,
    progress: &mut dyn FnMut(&str),
) -> Result<Findings> {
    let mut findings = Findings::default();
    let tests = build(progress)?;
    progress("alone");
    let opts = StartOpts::new(dir.join("alone"), crate::free_port()?);
    let opts = CONFIG.iter().fold(opts, |opts, (key, value)| opts.config(key, value));
    let mut alone = examined.start(opts)?;
    own_tests(&tests, alone.addr(), "alone", &mut findings)?;
    alone.stop()?;
    if !matches!(examined, ServerUnderTest::Oxkeeper { .. }) {
        progress("the examples of the documentation");
        let opts = StartOpts::new(dir.join("documented"), crate::free_port()?);
        let opts = CONFIG.iter().fold(opts, |opts, (key, value)| opts.config(key, value));
        let mut documented = examined.start(opts)?;
        documentation(documented.addr(), &mut findings)?;
        documented.stop()?;
    }

    let (kind, binary) = match examined {
        ServerUnderTest::Oxkeeper { binary } => (Kind::Oxkeeper, Some(binary.clone())),
        ServerUnderTest::Java(_) | ServerUnderTest::Apache(_) => (Kind::JAVA, None),
    };
    let programs = Programs::fetch(peers, [kind], binary, progress)?;
    let plan = Plan::new(&[kind; 3], dir.join("ensemble"));
    let plan = CONFIG.iter().skip(1).fold(plan, |plan, (key, value)| plan.config(key, value));
    let mut ensemble = Ensemble::lay_out(&programs, &plan)?;
    ensemble.start_all(&[1, 2, 3])?;
    ensemble.await_serving(&[1, 2, 3])?;
    for sid in [1, 2, 3] {
        progress(&format!("member {sid}"));
        own_tests(&tests, ensemble.addr(sid)?, &format!("member {sid}"), &mut findings)?;
    }
    progress("members are killed");
    match under_attack(&mut ensemble) {
        Ok(checks) => findings.checks += checks,
        Err(error) => findings.errors.push(format!("members are killed: {error:#}")),
    }
    Ok(findings)
}

/// Builds the library's tests, and the recipes' examples as a test, and tells where they are.
fn build(progress: &mut dyn FnMut(&str)) -> Result<Vec<PathBuf>> {
    progress("building the library's tests and the examples");
    let output = cargo()
        .args(["test", "--quiet", "--package", "oxkeeper-client", "--test", "driver"])
        .args(["--package", "oxkeeper-recipes", "--test", "examples"])
        .args(["--no-run", "--message-format", "json"])
        .stderr(Stdio::inherit())
        .output()
        .context("running cargo")?;
    ensure!(output.status.success(), "the library's tests do not build");
    let tests: Vec<PathBuf> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter_map(|message| message["executable"].as_str().map(PathBuf::from))
        .collect();
    ensure!(tests.len() == 2, "cargo tells of {} executables", tests.len());
    Ok(tests)
}

/// The examples in the documentation against this server, which has nothing in it.
fn documentation(server: SocketAddr, findings: &mut Findings) -> Result<()> {
    for package in ["oxkeeper-client", "oxkeeper-recipes"] {
        let mut command = cargo();
        command.args(["test", "--doc", "--package", package]);
        judge(command, server, &format!("documentation of {package}"), findings)?;
    }
    Ok(())
}

fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    cargo
}

/// The library's own tests and the examples against this server.
fn own_tests(
    tests: &[PathBuf],
    server: SocketAddr,
    name: &str,
    findings: &mut Findings,
) -> Result<()> {
    tests.iter().try_for_each(|tests| tests_of(tests, server, name, findings))
}

/// The tests of one executable.
fn tests_of(tests: &Path, server: SocketAddr, name: &str, findings: &mut Findings) -> Result<()> {
    let mut command = Command::new(tests);
    for own in OWN_SERVER {
        command.args(["--skip", own]);
    }
    judge(command, server, name, findings)
}

/// Runs tests against this server and counts what they say.
fn judge(
    mut command: Command,
    server: SocketAddr,
    name: &str,
    findings: &mut Findings,
) -> Result<()> {
    command.env("OXKEEPER_TEST_SERVER", server.to_string()).env("RUST_BACKTRACE", "0");
    let output = command.stdin(Stdio::null()).output().context("running the library's tests")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let passed = text.lines().filter(|line| line.ends_with("... ok")).count();
    findings.checks += passed;
    if !output.status.success() {
        let from = text.find("\nfailures:").unwrap_or_default();
        findings.errors.push(format!("{name}: {}", &text[from..]));
    } else if passed == 0 {
        bail!("{name}: no test ran");
    }
    Ok(())
}

/// A session at work while one member after the other is killed and comes back.
fn under_attack(ensemble: &mut Ensemble) -> Result<usize> {
    let hosts: Vec<String> = ensemble.addrs().iter().map(ToString::to_string).collect();
    let counted = Arc::new(AtomicU64::new(0));
    let own = Arc::clone(&counted);
    let session = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(at_work(&hosts.join(","), &own))
    });
    ensemble.under_attack(3, &counted, COUNTERS as u64 * COUNT as u64, session)
}

/// The session: counts, and looks at the end whether everything is as it was said.
async fn at_work(hosts: &str, counted: &Arc<AtomicU64>) -> Result<usize> {
    let builder = Client::builder(hosts).session_timeout(Duration::from_secs(30));
    let zk = builder.connect().await?;
    let session = zk.session_id();
    zk.create("/made", b"").await?;
    zk.create("/here", b"").ephemeral().await?;
    let counters: Vec<_> = (0..COUNTERS)
        .map(|at| tokio::spawn(count(zk.clone(), format!("/n{at}"), Arc::clone(counted))))
        .collect();
    let mut made = 0;
    for counter in counters {
        made += tokio::time::timeout(PATIENCE, counter).await.context("a counter hangs")???;
    }
    ensure!(zk.session_id() == session, "the session is another");
    let here = zk.exists("/here").await?;
    ensure!(here.map(|stat| stat.ephemeral_owner) == session, "the ephemeral znode is gone");
    let found = zk.children("/made").await?.len();
    ensure!(found == made, "{made} protected znodes were created, and {found} are there");
    ensure!(zk.close().await, "nobody confirmed that the session is closed");
    Ok(COUNTERS * usize::try_from(COUNT)? + made)
}

/// Counts in a znode whose version says how often it was set: each step either happened or did not,
/// and the client must not be wrong about it. Returns how many protected znodes it has created.
async fn count(zk: Client, path: String, counted: Arc<AtomicU64>) -> Result<usize> {
    match zk.create(&path, b"").await {
        Err(error) if error.fate() == Fate::Unknown => ensure!(zk.exists(&path).await?.is_some()),
        created => drop(created?),
    }
    let (mut done, mut made) = (0, 0);
    while done < COUNT {
        match zk.set(&path, &(done + 1).to_be_bytes()).version(done).await {
            Ok(stat) => {
                ensure!(stat.version == done + 1, "{path}: version {} is new", stat.version);
                done += 1;
            }
            Err(error) if error.is_temporary() => {
                let stat = loop {
                    match zk.get(&path).await {
                        Err(error) if error.is_temporary() => {}
                        data => break data?.stat,
                    }
                };
                let unknown = error.fate() == Fate::Unknown && stat.version == done + 1;
                ensure!(unknown || stat.version == done, "{path}: {done} {error} {stat:?}");
                done = stat.version;
            }
            Err(error) => bail!("{path}, {done}: {error}"),
        }
        counted.fetch_add(1, Ordering::Relaxed);
        if done % 20 == 0 {
            zk.create("/made/x-", b"").sequential().protected().await?;
            made += 1;
        }
    }
    Ok(made)
}
