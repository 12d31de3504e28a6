//! A server in this process, on a port of its own, for all tests of one binary; or another that is
//! named from outside.

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::channel;

use oxkeeper_client::{Builder, Client};
use oxkeeper_config::{Config, Options, OsFiles};

static SERVER: OnceLock<SocketAddr> = OnceLock::new();
static PLACES: AtomicU32 = AtomicU32::new(0);

/// Names another server to run the tests against: `cargo xtask conformance client` does, of
/// Apache's and of ensembles. It needs a tick of 200 ms, sessions of 200 ms to 60 s, and extended
/// types.
const OTHER: &str = "OXKEEPER_TEST_SERVER";

/// Where it listens. It ends with the process.
pub fn addr() -> SocketAddr {
    *SERVER.get_or_init(|| match std::env::var(OTHER) {
        Ok(other) => other.parse().expect("an address"),
        Err(_) => start(&[]),
    })
}

/// Starts one more, with settings of its own.
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

/// A part of the tree for one test.
pub async fn place() -> String {
    let place = PLACES.fetch_add(1, Ordering::Relaxed);
    let place = format!("/t{}-{place}", std::process::id());
    let zk = Client::connect(&addr().to_string()).await.expect("a session");
    zk.create(&place, b"").await.expect("created");
    zk.close().await;
    place
}

/// A client that sees a part of the tree of its own.
pub async fn builder() -> Builder {
    Client::builder(&format!("{}{}", addr(), place().await))
}

pub async fn client() -> Client {
    builder().await.connect().await.expect("a session")
}
