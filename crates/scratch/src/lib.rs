//! A server to try things on: ours, in this process, on a port of its own and with a directory that
//! vanishes.
//!
//! The client's and the recipes' tests stand on it, and every example in their documentation, which
//! so is not only compiled but run: the lines that begin the server are hidden there. Where
//! connections are to be lost there is a [`Proxy`]. It knows no client, because the clients' tests
//! know it.

mod proxy;

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::sync::mpsc::channel;
use std::time::Duration;

use oxkeeper_config::{Config, Options, OsFiles};

pub use proxy::Proxy;

/// Names another server to use instead: `cargo xtask conformance client` does, one of Apache's or a
/// member of an ensemble. It needs a tick of 200 ms, sessions of 200 ms to 60 s, and extended
/// types.
pub const OTHER: &str = "OXKEEPER_TEST_SERVER";

/// How long an example may take. One that hangs has to say so.
const PATIENCE: Duration = Duration::from_secs(60);

/// What an example may fail with.
pub type Failure = Box<dyn std::error::Error>;

/// Where this process' server listens. It begins when it is first asked for, and ends with the
/// process.
///
/// # Panics
/// If the server does not begin, or [`OTHER`] is no address.
pub fn addr() -> SocketAddr {
    static SERVER: OnceLock<SocketAddr> = OnceLock::new();
    *SERVER.get_or_init(|| match std::env::var(OTHER) {
        Ok(other) => other.parse().expect("an address"),
        Err(_) => start(&[]),
    })
}

/// Starts one more server, with settings of its own (`key=value`), and tells where it listens. It
/// ends with the process.
///
/// # Panics
/// If it does not begin.
pub fn start(settings: &[&str]) -> SocketAddr {
    let (ready, listening) = channel();
    let own: Vec<String> = settings.iter().map(|text| (*text).to_owned()).collect();
    std::thread::spawn(move || {
        let dir = tempfile::tempdir().expect("a directory");
        let mut set = vec![
            "clientPort=0".to_owned(),
            format!("dataDir={}", dir.path().display()),
            "tickTime=200".to_owned(),
            "minSessionTimeout=200".to_owned(),
            "maxSessionTimeout=60000".to_owned(),
            "extendedTypesEnabled=true".to_owned(),
            "forceSync=no".to_owned(),
        ];
        // The number of a member is in a file, not among the settings.
        for setting in own {
            match setting.strip_prefix("myid=") {
                Some(id) => std::fs::write(dir.path().join("myid"), id).expect("written"),
                None => set.push(setting),
            }
        }
        let options = Options { set, allow_unknown_keys: false };
        let config = Config::without_file(&options, &OsFiles).expect("a configuration");
        let served = oxkeeper_server::serve(&config, |it| ready.send(it.addr).expect("heard"));
        served.expect("it serves until the process ends");
    });
    listening.recv().expect("it begins to listen")
}

/// Runs an example, which is told where the server is.
///
/// ```
/// oxkeeper_scratch::example(async |servers| {
///     assert!(servers.starts_with("127.0.0.1:"));
///     Ok(())
/// });
/// ```
///
/// # Panics
/// If the example fails, or takes longer than a minute.
pub fn example(work: impl AsyncFnOnce(String) -> Result<(), Failure>) {
    let servers = addr().to_string();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = runtime
        .expect("a runtime")
        .block_on(async { tokio::time::timeout(PATIENCE, work(servers)).await });
    match done {
        Ok(Ok(())) => {}
        Ok(Err(failure)) => panic!("{failure}"),
        Err(_) => panic!("it takes longer than {PATIENCE:?}"),
    }
}
