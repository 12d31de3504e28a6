//! The four-letter words of a running server, in the shape recorded from ZooKeeper 3.9.5: the same
//! lines and keys in the same order, whatever the numbers.

use std::collections::BTreeSet;
use std::io::{Read, Write};

use oxkeeper_proto::ErrorCode;
use oxkeeper_proto::response::xid;

use crate::client::{Client, dial, word};
use crate::server::{Server, Setup};

fn golden(name: &str) -> String {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../node/tests/fixtures/text");
    std::fs::read_to_string(format!("{dir}/standalone.{name}.txt")).unwrap()
}

/// What the recordings were taken of: one session, its watches, an ephemeral, a quota.
fn as_recorded(server: &Server) -> Client {
    let mut client = Client::connect(server.addr, 30_000);
    for (path, data) in [
        ("/w", &b"data"[..]),
        ("/q", b"abc"),
        ("/zookeeper/quota/q", b""),
        ("/zookeeper/quota/q/zookeeper_limits", b"count=10,bytes=100"),
        ("/zookeeper/quota/q/zookeeper_stats", b"count=1,bytes=3"),
    ] {
        assert_eq!(client.create(path, data).err, ErrorCode::OK, "{path}");
    }
    assert_eq!(client.create_ephemeral("/w/e").err, ErrorCode::OK);
    client.watch("/w");
    client.watch("/");
    client
}

/// Numbers and dates become placeholders.
fn masked(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let (line, date) = match line.split_once("expire at ") {
            Some((before, _)) => (before, "expire at <date>:"),
            None => (line, ""),
        };
        for c in line.chars() {
            let in_hex = out.ends_with("0x#") || out.ends_with("#x#");
            match c.is_ascii_digit() || (in_hex && c.is_ascii_hexdigit()) {
                true if out.ends_with('#') => {}
                true => out.push('#'),
                false => out.push(c),
            }
        }
        out.push_str(date);
        out.push('\n');
    }
    out
}

/// The part of each line before a separator.
fn keys(text: &str, separator: char) -> Vec<&str> {
    text.lines().map(|line| line.split(separator).next().unwrap_or(line)).collect()
}

#[test]
fn conf_envi_and_srvr_have_their_lines_in_order() {
    let server = Setup::new().start();
    let _client = as_recorded(&server);
    for (name, separator) in [("conf", '='), ("envi", '='), ("srvr", ':'), ("dirs", ':')] {
        let (ours, theirs) = (word(server.addr, name), golden(name));
        assert_eq!(keys(&ours, separator), keys(&theirs, separator), "{name}");
        assert!(ours.ends_with('\n'), "{name}");
    }
    let conf = word(server.addr, "conf");
    assert!(conf.contains(&format!("clientPort={}\n", server.addr.port())), "{conf}");
    let sizes = word(server.addr, "dirs");
    let size: u64 = keys_and_values(&sizes)[0].1.trim().parse().unwrap();
    // Log and snapshot, with what is reserved ahead: the same in both words.
    assert!(size > 64 << 20, "{sizes}");
    assert!(conf.contains(&format!("dataDirSize={size}\ndataLogDir=")), "{conf}{sizes}");
    let data_dir = server.data_dir().canonicalize().unwrap().join("version-2");
    assert!(conf.contains(&format!("dataDir={}\n", data_dir.display())), "{conf}");
}

fn keys_and_values(text: &str) -> Vec<(&str, &str)> {
    text.lines().filter_map(|line| line.split_once(':')).collect()
}

/// As kazoo and the usual exporters cut it.
#[test]
fn the_version_is_the_release_whose_behaviour_this_is() {
    let server = Setup::new().start();
    let srvr = word(server.addr, "srvr");
    let version = srvr.lines().next().unwrap().strip_prefix("Zookeeper version: ").unwrap();
    let numbers: Vec<u32> =
        version.split('-').next().unwrap().split('.').map(|n| n.parse().unwrap()).collect();
    assert_eq!(numbers, [3, 9, 5]);
    assert!(version.contains("-oxkeeper-") && version.contains(", built on 20"), "{version}");
    let envi = word(server.addr, "envi");
    assert!(envi.contains(&format!("\nzookeeper.version={version}\n")), "{envi}");
    assert!(word(server.addr, "mntr").starts_with(&format!("zk_version\t{version}\n")));
}

#[test]
fn mntr_has_exactly_zookeepers_keys() {
    for threads in [1, 3] {
        let server = Setup::new().set("oxkeeper.ioThreads", threads).start();
        let mut client = as_recorded(&server);
        assert_eq!(client.get("/w").unwrap(), b"data");
        let set = |text: &str| -> BTreeSet<String> {
            keys(text, '\t').into_iter().map(str::to_owned).collect()
        };
        let (ours, theirs) = (word(server.addr, "mntr"), golden("mntr"));
        let (ours_set, theirs_set) = (set(&ours), set(&theirs));
        let missing: Vec<_> = theirs_set.difference(&ours_set).collect();
        let more: Vec<_> = ours_set.difference(&theirs_set).collect();
        assert!(missing.is_empty() && more.is_empty(), "missing {missing:?}, more {more:?}");
        assert_eq!(ours.lines().count(), ours_set.len(), "each once");
    }
}

/// What was done shows in the numbers: counted by whichever thread it happened on.
#[test]
fn mntr_counts_what_happened() {
    let server = Setup::new().set("oxkeeper.ioThreads", 3).start();
    let mut clients: Vec<Client> = (0..4).map(|_| Client::connect(server.addr, 10_000)).collect();
    assert_eq!(clients[0].create("/a", b"12345").err, ErrorCode::OK);
    for client in &mut clients {
        client.sync_and_watch("/a");
        assert_eq!(client.get("/a").unwrap(), b"12345");
    }
    clients[1].send_set("/a", b"123");
    for (at, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.receive().unwrap().xid, xid::NOTIFICATION);
        if at == 1 {
            assert_eq!(client.receive().unwrap().err, ErrorCode::OK);
        }
    }
    let text = word(server.addr, "mntr");
    let number = |name: &str| -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("zk_{name}\t")));
        line.unwrap_or_else(|| panic!("no {name}")).parse().unwrap()
    };
    assert_eq!(number("num_alive_connections"), 5.0);
    assert_eq!(number("global_sessions"), 4.0);
    assert_eq!(number("znode_count"), 6.0);
    assert_eq!(number("connection_request_count"), 4.0);
    // Opening a session is a write.
    assert_eq!(number("cnt_updatelatency"), 4.0 + 2.0);
    assert_eq!(number("cnt_readlatency"), 12.0);
    assert_eq!(number("sum_node_changed_watch_count"), 4.0);
    assert_eq!(number("cnt_a_write_per_namespace"), 2.0);
    assert_eq!(number("sum_a_write_per_namespace"), 12.0);
    // Four reads of data and four of the stat alone.
    assert_eq!(number("sum_a_read_per_namespace"), 4.0 * (2.0 + 5.0 + 68.0) + 4.0 * (2.0 + 68.0));
    assert_eq!(number("cnt_dbinittime"), 1.0);
    assert_eq!(number("cnt_snapshottime"), 0.0);
    assert!(number("cnt_fsynctime") >= 3.0);
    assert!(number("open_file_descriptor_count") > 5.0);
    assert!(number("max_file_descriptor_count") > number("open_file_descriptor_count"));
    assert!(number("watch_bytes") > 0.0 && number("bytes_received_count") > 0.0);

    assert_eq!(word(server.addr, "srst"), "Server stats reset.\n");
    let text = word(server.addr, "mntr");
    for line in ["zk_cnt_updatelatency\t0", "zk_cnt_a_write_per_namespace\t0", "zk_watch_bytes\t0"]
    {
        assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
    }
}

impl Client {
    fn sync_and_watch(&mut self, path: &str) {
        let sync = oxkeeper_proto::Request::Sync(Some(path.into()));
        assert_eq!(self.call(oxkeeper_proto::OpCode::SYNC, &sync).err, ErrorCode::OK);
        self.watch(path);
    }

    fn send_set(&mut self, path: &str, data: &[u8]) {
        let set = oxkeeper_proto::request::SetDataRequest {
            path: path.into(),
            data: Some(data),
            version: -1,
        };
        self.send(oxkeeper_proto::OpCode::SET_DATA, &oxkeeper_proto::Request::SetData(set));
    }
}

#[test]
fn connections_sessions_and_watches_are_listed_as_recorded() {
    let server = Setup::new().set("oxkeeper.ioThreads", 2).start();
    let mut client = as_recorded(&server);
    for name in ["dump", "wchs", "wchc", "wchp"] {
        let (ours, theirs) = (masked(&word(server.addr, name)), masked(&golden(name)));
        let sorted = |text: &str| {
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        assert_eq!(sorted(&ours), sorted(&theirs), "{name}:\n{ours}\n---\n{theirs}");
    }
    // The exact layout where the order is given.
    let session = client.session;
    assert_eq!(word(server.addr, "wchp"), format!("/\n\t{session}\n/w\n\t{session}\n\n"));
    let cons = word(server.addr, "cons");
    let own = cons.lines().find(|line| line.contains("sid=")).unwrap();
    let names = |line: &str| -> Vec<String> {
        let inside = line.split_once('(').unwrap().1.trim_end_matches(')');
        inside.split(',').map(|pair| pair.split('=').next().unwrap().to_owned()).collect()
    };
    let recorded = golden("cons");
    let theirs = recorded.lines().find(|line| line.contains("sid=")).unwrap();
    assert_eq!(names(own), names(theirs));
    assert!(own.contains(&format!("sid={session},lop=EXIS")), "{own}");
    assert!(own.contains(&format!("[1](queued=0,recved={}", 9)), "{own}");
    let asking = cons.lines().find(|line| !line.contains("sid=") && !line.is_empty()).unwrap();
    assert!(asking.contains("[0](queued=0,recved=1,sent=0)"), "{asking}");
    assert!(cons.ends_with("\n\n"), "{cons:?}");

    let stat = word(server.addr, "stat");
    assert_eq!(keys(&stat, ':').len(), keys(&golden("stat"), ':').len(), "{stat}");
    assert_eq!(word(server.addr, "crst"), "Connection stats reset.\n");
    let cons = word(server.addr, "cons");
    let own = cons.lines().find(|line| line.contains("sid=")).unwrap();
    assert!(own.contains("recved=0,sent=0") && own.contains("lop=NA"), "{own}");
    assert_eq!(client.ping().err, ErrorCode::OK);
}

#[test]
fn short_words_answer_as_recorded() {
    let server = Setup::new().start();
    for name in ["ruok", "isro", "gtmk", "srst", "crst", "hash"] {
        assert_eq!(word(server.addr, name), golden(name), "{name}");
    }
    let mut stream = dial(server.addr);
    stream.write_all(b"stmk\0\0\0\0\0\0\x01\xff").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert_eq!((text.as_str(), word(server.addr, "gtmk").as_str()), ("511", "511"));
    // A line end or anything else behind a word changes nothing.
    let mut stream = dial(server.addr);
    stream.write_all(b"ruok\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert_eq!(text, "imok");
}

/// hash shows one digest for every 128th transaction.
#[test]
fn hash_shows_digests() {
    let server = Setup::new().start();
    let mut client = Client::connect(server.addr, 10_000);
    for n in 0..300 {
        assert_eq!(client.create(&format!("/n{n}"), b"").err, ErrorCode::OK);
    }
    let text = word(server.addr, "hash");
    let zxids: Vec<&str> = keys(&text, ':');
    assert_eq!(zxids, ["80", "100"], "{text}");
}

/// A report over very many watches is made in steps: those who are served meanwhile do not wait for
/// it, and its client may take its time.
#[test]
fn a_large_report_holds_nobody_up() {
    let server = Setup::new().set("oxkeeper.ioThreads", 1).start();
    let mut watcher = Client::connect(server.addr, 30_000);
    let mut out = Vec::new();
    const WATCHES: usize = 60_000;
    for n in 0..WATCHES {
        let path = format!("/a-path-of-some-length-that-does-not-exist/{n:08}");
        let exists = oxkeeper_proto::Request::Exists(crate::client::read(&path, true));
        watcher.encode(oxkeeper_proto::OpCode::EXISTS, &exists, &mut out);
        if n % 500 == 499 {
            watcher.stream.write_all(&out).unwrap();
            out.clear();
            for _ in 0..500 {
                assert_eq!(watcher.receive().unwrap().err, ErrorCode::NO_NODE);
            }
        }
    }
    let mut other = Client::connect(server.addr, 30_000);
    let mut report = dial(server.addr);
    report.write_all(b"wchp").unwrap();
    // While it is made and lies unread: service, and small reports.
    for n in 0..50 {
        assert_eq!(other.create(&format!("/during-{n}"), b"").err, ErrorCode::OK);
        assert_eq!(word(server.addr, "ruok"), "imok");
    }
    assert!(word(server.addr, "mntr").contains(&format!("zk_watch_count\t{WATCHES}\n")));
    let mut text = String::new();
    report.read_to_string(&mut text).unwrap();
    assert_eq!(text.lines().filter(|line| line.starts_with('/')).count(), WATCHES);
    assert!(text.ends_with("\n\n"));
    // The next one is not kept waiting by a client that left without reading.
    let mut gone = dial(server.addr);
    gone.write_all(b"wchc").unwrap();
    drop(gone);
    let text = word(server.addr, "wchs");
    assert_eq!(text, format!("1 connections watching {WATCHES} paths\nTotal watches:{WATCHES}\n"));
}
