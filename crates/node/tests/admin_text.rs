//! The four-letter words against the text recorded from ZooKeeper 3.9.5, byte for byte.

use std::collections::BTreeSet;

use oxkeeper_node::admin::{
    AdminView, ConfigView, ConnLine, ENVIRONMENT_NAMES, EnsembleView, GlobalSessions, MemberView,
    Mode, SessionsView, TRACE_MASK_DEFAULT, WatchDump, answer, refusal,
};
use oxkeeper_node::metrics::{DetailedSummary, Gauges, Metrics, QuotaGauges, Value};
use oxkeeper_proto::{AdminWord, OpCode, SessionId, Zxid};
use oxkeeper_tree::watch::{ConnKey, ReportBy, ReportLine, WatchCounts};

const VERSION: &str =
    "3.9.5-293c895a8d966a3ecb92872be4a1daf87d725da2, built on 2026-02-11 20:18 UTC";
const SESSION: SessionId = SessionId(0x10000223f760000);

fn golden(name: &str) -> String {
    let path = format!("{}/tests/fixtures/text/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn serving() -> AdminView {
    AdminView {
        serving: true,
        version: VERSION.into(),
        trace_mask: TRACE_MASK_DEFAULT,
        ..AdminView::default()
    }
}

/// Both texts with the lines in order: for words that print as a hash table has it.
fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

fn asker(port: u16) -> ConnLine {
    ConnLine {
        peer: ([127, 0, 0, 1], port).into(),
        interest_ops: 0,
        queued: 0,
        received: 1,
        sent: 0,
        session: SessionId::NONE,
        last_op: None,
        established_ms: 0,
        timeout_ms: 0,
        last_cxid: -1,
        last_zxid: Zxid(-1),
        last_response_ms: 0,
        last_latency_ms: 0,
        latency_min_ms: 0,
        latency_avg_ms: 0,
        latency_max_ms: 0,
    }
}

fn client() -> ConnLine {
    ConnLine {
        peer: ([127, 0, 0, 1], 46960).into(),
        interest_ops: 1,
        queued: 0,
        received: 10,
        sent: 14,
        session: SESSION,
        last_op: Some(OpCode::CREATE),
        established_ms: 1_795_171_814_913,
        timeout_ms: 30_000,
        last_cxid: 9,
        last_zxid: Zxid(7),
        last_response_ms: 2_244_610,
        last_latency_ms: 1,
        latency_min_ms: 0,
        latency_avg_ms: 2,
        latency_max_ms: 6,
    }
}

#[test]
fn words_without_any_state() {
    let view = serving();
    for word in [
        AdminWord::Ruok,
        AdminWord::Crst,
        AdminWord::Srst,
        AdminWord::Isro,
        AdminWord::Gtmk,
        AdminWord::Hash,
    ] {
        assert_eq!(answer(word, 0, &view), golden(&format!("standalone.{}", word.name())));
    }
    assert_eq!(answer(AdminWord::Stmk, 511, &view), golden("standalone.stmk"));
    let reader = AdminView { mode: Mode::ReadOnly, ..serving() };
    assert_eq!(answer(AdminWord::Isro, 0, &reader), golden("read-only.isro"));
    assert_eq!(answer(AdminWord::TelnetClose, 0, &view), "");
}

#[test]
fn what_is_not_whitelisted_is_refused() {
    assert_eq!(refusal(AdminWord::Mntr), golden("not-whitelisted.mntr"));
    assert_eq!(refusal(AdminWord::Ruok), golden("not-whitelisted.ruok"));
}

#[test]
fn what_is_said_while_not_serving() {
    let view = AdminView { serving: false, environment: recorded_environment(), ..serving() };
    let mut compared = 0;
    for word in AdminWord::ALL {
        // stmk was not recorded; it needs no serving server either.
        if word != AdminWord::Stmk {
            let recorded = golden(&format!("not-serving.{}", word.name()));
            assert_eq!(answer(word, 0, &view), recorded, "{}", word.name());
            compared += 1;
        }
    }
    assert_eq!(compared, 17);
    assert_eq!(answer(AdminWord::Stmk, -1, &view), "-1");
}

/// The values of envi are replaced in the recordings, its names and their order are not.
fn recorded_environment() -> Vec<(&'static str, String)> {
    let version = Some(VERSION.to_owned());
    ENVIRONMENT_NAMES
        .into_iter()
        .zip(std::iter::once(version).chain(std::iter::repeat(None)))
        .map(|(name, value)| (name, value.unwrap_or_else(|| "<...>".into())))
        .collect()
}

#[test]
fn envi() {
    let view = AdminView { environment: recorded_environment(), ..serving() };
    assert_eq!(answer(AdminWord::Envi, 0, &view), golden("standalone.envi"));
}

#[test]
fn srvr_standalone() {
    let gauges = Gauges {
        min_latency: 1,
        avg_latency: 2.6,
        max_latency: 6,
        packets_received: 20,
        packets_sent: 23,
        num_alive_connections: 2,
        znode_count: 11,
        ..Gauges::default()
    };
    let view = AdminView { zxid: Zxid(7), gauges, ..serving() };
    assert_eq!(answer(AdminWord::Srvr, 0, &view), golden("standalone.srvr"));
}

#[test]
fn srvr_of_members() {
    let mut view = AdminView { zxid: Zxid(0x1_0000_0002), mode: Mode::Leader, ..serving() };
    view.gauges.packets_received = 3;
    view.gauges.packets_sent = 2;
    view.gauges.num_alive_connections = 1;
    view.gauges.znode_count = 6;
    view.proposal_sizes = Some([86, 48, 86]);
    assert_eq!(answer(AdminWord::Srvr, 0, &view), golden("leader.srvr"));
    view.mode = Mode::Observer;
    view.proposal_sizes = None;
    assert_eq!(answer(AdminWord::Srvr, 0, &view), golden("observer.srvr"));
    view.mode = Mode::Follower;
    view.gauges = Gauges {
        min_latency: 9,
        avg_latency: 12.0,
        max_latency: 15,
        packets_received: 6,
        packets_sent: 5,
        num_alive_connections: 2,
        znode_count: 6,
        ..Gauges::default()
    };
    assert_eq!(answer(AdminWord::Srvr, 0, &view), golden("follower.srvr"));
    view.mode = Mode::ReadOnly;
    view.zxid = Zxid(0x1_0000_0006);
    view.gauges = Gauges {
        min_latency: 1,
        avg_latency: 1.0,
        max_latency: 1,
        packets_received: 28,
        packets_sent: 29,
        num_alive_connections: 2,
        znode_count: 8,
        ..Gauges::default()
    };
    assert_eq!(answer(AdminWord::Srvr, 0, &view), golden("read-only.srvr"));
}

#[test]
fn stat_lists_connections_briefly() {
    let mut view = AdminView { zxid: Zxid(7), ..serving() };
    view.gauges.packets_received = 1;
    view.gauges.packets_sent = 1;
    view.gauges.num_alive_connections = 2;
    view.gauges.znode_count = 11;
    view.connections = vec![asker(47066), ConnLine { received: 0, sent: 0, ..client() }];
    assert_eq!(answer(AdminWord::Stat, 0, &view), golden("standalone.stat"));
}

#[test]
fn cons_lists_them_at_length() {
    let view = AdminView { connections: vec![asker(46974), client()], ..serving() };
    assert_eq!(answer(AdminWord::Cons, 0, &view), golden("standalone.cons"));
    let before_the_first_reply =
        ConnLine { last_op: None, last_cxid: -1, last_zxid: Zxid(-1), ..client() };
    let view = AdminView { connections: vec![before_the_first_reply], ..serving() };
    let text = answer(AdminWord::Cons, 0, &view);
    assert!(text.contains(",lop=NA,est=1795171814913,to=30000,lzxid=0xffffffffffffffff,lresp="));
}

fn config(client_port: i32) -> ConfigView {
    ConfigView {
        client_port,
        secure_client_port: -1,
        data_dir: "<version-2>".into(),
        data_log_dir: "<version-2>".into(),
        tick_time_ms: 2_000,
        client_cnxns_max: 60,
        session_timeout_min_ms: 4_000,
        session_timeout_max_ms: 40_000,
        listen_backlog: -1,
        server_id: 0,
        ensemble: None,
    }
}

#[test]
fn conf_and_dirs() {
    let mut view = AdminView { config: config(24_500), ..serving() };
    view.data_dir_bytes = 67_109_358;
    view.log_dir_bytes = 67_109_358;
    assert_eq!(answer(AdminWord::Conf, 0, &view), golden("standalone.conf"));
    assert_eq!(answer(AdminWord::Dirs, 0, &view), golden("standalone.dirs"));
    for (role, sid, peer_type) in [("follower", 1, 0), ("leader", 2, 0), ("observer", 3, 1)] {
        let recorded = golden(&format!("{role}.conf"));
        let at = recorded.find("server.1=").expect("a membership");
        view.config = ConfigView { server_id: sid, ..config(24_500 + sid as i32) };
        view.config.ensemble = Some(EnsembleView {
            init_limit: 10,
            sync_limit: 5,
            election_alg: 3,
            election_port: (24_520 + sid).to_string(),
            quorum_port: (24_510 + sid).to_string(),
            peer_type,
            membership: Some(recorded[at..].into()),
        });
        view.data_dir_bytes = 67_109_543;
        view.log_dir_bytes = 67_109_543;
        assert_eq!(answer(AdminWord::Conf, 0, &view), recorded, "{role}");
    }
    // Without a quorum there is no membership to tell of.
    let ensemble = view.config.ensemble.expect("a member's");
    let ensemble = EnsembleView {
        election_port: "27022".into(),
        quorum_port: "27012".into(),
        peer_type: 0,
        membership: None,
        ..ensemble
    };
    view.config = ConfigView { server_id: 2, ensemble: Some(ensemble), ..config(27_002) };
    view.data_dir_bytes = 67_110_194;
    view.log_dir_bytes = 67_110_194;
    assert_eq!(answer(AdminWord::Conf, 0, &view), golden("read-only.conf"));
}

/// 2026-11-20, UTC, as the recordings say it.
fn at(minute: i64, second: i64) -> i64 {
    1_795_171_800_000 + ((minute - 50) * 60 + second) * 1_000
}

#[test]
fn dump() {
    let view = AdminView {
        sessions: SessionsView {
            local: None,
            global: GlobalSessions::Buckets(vec![(at(50, 46), vec![SESSION])]),
        },
        ephemerals: vec![(SESSION, vec!["/w/e".into()])],
        connection_buckets: vec![
            (at(50, 30), vec![(([127, 0, 0, 1], 47004).into(), SessionId::NONE)]),
            (at(50, 50), vec![(([127, 0, 0, 1], 46960).into(), SESSION)]),
        ],
        ..serving()
    };
    assert_eq!(answer(AdminWord::Dump, 0, &view), golden("standalone.dump"));
    let session = SessionId(0x1000022734b0000);
    let view = AdminView {
        sessions: SessionsView {
            local: None,
            global: GlobalSessions::Timeouts(vec![(session, 30_000)]),
        },
        ephemerals: vec![(session, vec!["/w".into()])],
        connection_buckets: vec![
            (at(50, 40), vec![(([127, 0, 0, 1], 46140).into(), SessionId::NONE)]),
            (at(51, 0), vec![(([127, 0, 0, 1], 46084).into(), session)]),
        ],
        ..serving()
    };
    assert_eq!(answer(AdminWord::Dump, 0, &view), golden("follower.dump"));
}

/// Where there are local sessions, they come first and the others are called global.
#[test]
fn dump_with_local_sessions() {
    // 19:10:00 of the same day.
    let at = |second: i64| at(50, 0) + (8 * 60 + 20) * 60_000 + second * 1_000;
    let of_leader =
        [0x400016adacb0000, 0x300016ad9070000, 0x100016ad9050000].map(SessionId).to_vec();
    let timeouts = [0x100016ad9050000, 0x300016ad9070000, 0x400016adacb0000]
        .map(|id| (SessionId(id), 30_000))
        .to_vec();
    let paths = ["/o", "/w", "/f"].map(|path| vec![path.to_owned()]);
    let ephemerals: Vec<_> = of_leader.iter().copied().zip(paths).collect();
    let of = |local: i64, global, ports: [u16; 3], session: i64| {
        let conn = |port: u16, id: i64| (([127, 0, 0, 1], port).into(), SessionId(id));
        let sessions = SessionsView { local: Some(vec![(at(42), vec![SessionId(local)])]), global };
        let [asker, one, other] = ports;
        let connection_buckets = vec![
            (at(20), vec![]),
            (at(30), vec![conn(asker, 0)]),
            (at(50), vec![conn(one, local), conn(other, session)]),
        ];
        AdminView { sessions, ephemerals: ephemerals.clone(), connection_buckets, ..serving() }
    };
    let global = GlobalSessions::Buckets(vec![(at(42), of_leader.clone())]);
    let view = of(0x300016ad9070001, global, [45136, 45100, 45086], 0x300016ad9070000);
    assert_eq!(answer(AdminWord::Dump, 0, &view), golden("leader-local.dump"));
    let global = GlobalSessions::Timeouts(timeouts);
    let view = of(0x100016ad9050001, global, [33044, 33016, 33006], 0x100016ad9050000);
    assert_eq!(answer(AdminWord::Dump, 0, &view), golden("follower-local.dump"));
}

#[test]
fn watches() {
    let mut watches = WatchDump::default();
    let mut push =
        |by, line| watches.push(by, line, |ConnKey(key)| SessionId(SESSION.0 + i64::from(key)));
    let first = ReportLine::Connection(ConnKey(0));
    for line in [first, ReportLine::Path("/w"), ReportLine::Path("/")] {
        push(ReportBy::Connection, line);
    }
    for line in [ReportLine::Path("/w"), first, ReportLine::Path("/"), first] {
        push(ReportBy::Path, line);
    }
    let view = AdminView {
        watch_counts: WatchCounts { data: 2, child: 1, data_paths: 2, data_connections: 1 },
        watches: watches.clone(),
        ..serving()
    };
    assert_eq!(answer(AdminWord::Wchs, 0, &view), golden("standalone.wchs"));
    assert_eq!(answer(AdminWord::Wchc, 0, &view), golden("standalone.wchc"));
    let text = answer(AdminWord::Wchp, 0, &view);
    assert_eq!(text, "/\n\t0x10000223f760000\n/w\n\t0x10000223f760000\n\n");
    assert_eq!(sorted(&text), sorted(&golden("standalone.wchp")));

    // A second Front that knows one of the paths joins its group.
    for line in [ReportLine::Path("/w"), ReportLine::Connection(ConnKey(1))] {
        watches.push(ReportBy::Path, line, |_| SessionId(5));
    }
    assert_eq!(watches.path_count(), 2);
    let text = answer(AdminWord::Wchp, 0, &AdminView { watches, ..serving() });
    assert!(text.ends_with("/w\n\t0x10000223f760000\n\t0x5\n\n"));
}

#[test]
fn hash_lists_digests() {
    let digests = vec![(Zxid(0x80), 123_456), (Zxid(0x1_0000_0100), -5)];
    let view = AdminView { digests, ..serving() };
    assert_eq!(answer(AdminWord::Hash, 0, &view), "80: 123456\n100000100: -5\n");
}

fn monitored() -> AdminView {
    let gauges = Gauges {
        ephemerals_count: 1,
        num_alive_connections: 2,
        znode_count: 11,
        global_sessions: 1,
        last_client_response_size: -1,
        packets_sent: 5,
        packets_received: 5,
        max_client_response_size: -1,
        watch_count: 3,
        max_file_descriptor_count: 20_000,
        approximate_data_size: 160,
        open_file_descriptor_count: 79,
        uptime: 430,
        min_client_response_size: -1,
        ..Gauges::default()
    };
    let mut metrics = Metrics { bytes_received_count: 20, ..Metrics::default() };
    metrics.read_per_namespace.entry("w").expect("room");
    for key in ["q", "zookeeper", "w"] {
        metrics.write_per_namespace.entry(key).expect("room");
    }
    let quota = QuotaGauges {
        namespace: "q".into(),
        bytes_limit: 100,
        count_usage: 1,
        count_limit: 10,
        bytes_usage: 3,
    };
    AdminView { gauges, metrics, quotas: vec![quota], ..serving() }
}

#[test]
fn mntr_standalone() {
    let text = answer(AdminWord::Mntr, 0, &monitored());
    let recorded = golden("standalone.mntr");
    assert_eq!(text.lines().count(), 518);
    // Everything stands where ZooKeeper 3.9.5 puts it, but for the order of namespaces.
    let both = |text: &str| -> Vec<String> {
        text.lines().filter(|line| !line.contains("_write_per_namespace")).map(Into::into).collect()
    };
    assert_eq!(both(&text), both(&recorded));
    assert_eq!(sorted(&text), sorted(&recorded));
}

fn names(text: &str) -> BTreeSet<&str> {
    text.lines().map(|line| line.split('\t').next().unwrap()).collect()
}

#[test]
fn mntr_of_a_leader_has_its_names() {
    let mut view = monitored();
    view.quotas.clear();
    view.put_member(leader());
    view.metrics = Metrics::default();
    for key in ["w", "zookeeper"] {
        view.metrics.write_per_namespace.entry(key).expect("room");
    }
    for key in ["1", "3"] {
        view.metrics.learner_handler_qp_size.entry(key).expect("room");
        view.metrics.learner_handler_qp_time_ms.entry(key).expect("room");
    }
    let text = answer(AdminWord::Mntr, 0, &view);
    let recorded = golden("leader.mntr");
    assert_eq!(names(&text), names(&recorded));
    let line = "zk_peer_state\tleading - broadcast";
    assert_eq!(text.lines().nth(2), Some(line));
    assert_eq!(recorded.lines().nth(2), Some(line));
    view.gauges.unresolved_peer_names = Some(0);
    let more = answer(AdminWord::Mntr, 0, &view);
    let ours: Vec<_> = names(&more).difference(&names(&recorded)).copied().collect();
    assert_eq!(ours, ["zk_unresolved_peer_names"]);
}

fn leader() -> MemberView {
    MemberView {
        mode: Mode::Leader,
        peer_state: Some("leading - broadcast".into()),
        uptime_ms: 470,
        quorum_size: Some(2),
        learners: Some(2),
        synced_followers: Some(1),
        synced_non_voting_followers: Some(0),
        synced_observers: Some(1),
        pending_syncs: Some(0),
        leader_uptime_ms: Some(414),
        proposal_sizes: Some([86, 48, 86]),
        ..MemberView::default()
    }
}

/// The lines of mntr that say what a server is, in the order recorded, with the values recorded.
#[test]
fn mntr_says_what_each_member_is() {
    let learner =
        MemberView { mode: Mode::Follower, quorum_size: Some(2), ..MemberView::default() };
    let follower =
        MemberView { peer_state: Some("following - broadcast".into()), ..learner.clone() };
    let observer = MemberView {
        mode: Mode::Observer,
        peer_state: Some("observing - broadcast".into()),
        observer_master_id: Some(2),
        ..learner
    };
    let reader = MemberView::default();
    for (name, member) in [
        ("leader", leader()),
        ("follower", follower),
        ("observer", observer),
        ("read-only", reader),
    ] {
        let (mut standalone, mut view) = (serving(), serving());
        standalone.gauges.uptime = 1;
        view.put_member(member);
        let plain = answer(AdminWord::Mntr, 0, &standalone);
        let known: BTreeSet<&str> = names(&plain);
        let own = |text: &str| -> Vec<String> {
            let said = |line: &&str| {
                let name = line.split('\t').next().unwrap_or(line);
                name == "zk_server_state" || !known.contains(name)
            };
            let of_sets = |line: &&str| line.contains("_per_namespace") || line.contains("_qp_");
            text.lines().filter(said).filter(|line| !of_sets(line)).map(Into::into).collect()
        };
        let recorded = golden(&format!("{name}.mntr"));
        // How long it has led is another matter each time.
        let timeless = |lines: Vec<String>| -> Vec<String> {
            lines.into_iter().filter(|line| !line.starts_with("zk_leader_uptime\t")).collect()
        };
        let text = answer(AdminWord::Mntr, 0, &view);
        assert_eq!(timeless(own(&text)), timeless(own(&recorded)), "{name}");
        assert_eq!(text.contains("zk_leader_uptime\t414"), name == "leader");
    }
}

#[test]
fn mntr_prints_what_was_recorded() {
    let mut view = serving();
    for took_ms in [1, 2, 2, 3, 40] {
        view.metrics.readlatency.record(took_ms);
    }
    view.metrics.fsynctime.record(7);
    *view.metrics.quota_exceeded_error_per_namespace.entry("q").expect("room") += 2;
    view.gauges.avg_latency = view.metrics.readlatency.summary().avg();
    let text = answer(AdminWord::Mntr, 0, &view);
    for line in [
        "zk_avg_latency\t9.6",
        "zk_avg_readlatency\t9.6",
        "zk_min_readlatency\t1",
        "zk_max_readlatency\t40",
        "zk_cnt_readlatency\t5",
        "zk_sum_readlatency\t48",
        "zk_p50_readlatency\t2",
        "zk_p999_readlatency\t40",
        "zk_avg_fsynctime\t7.0",
        "zk_q_quota_exceeded_error_per_namespace\t2",
    ] {
        assert!(text.lines().any(|have| have == line), "{line}");
    }
}

/// The recorded follower has latencies: its sums and counts give its averages and percentiles.
#[test]
fn recorded_averages_follow_from_their_sums() {
    let mut compared = 0;
    for role in ["standalone", "leader", "follower", "observer"] {
        let text = golden(&format!("{role}.mntr"));
        let value = |name: String| {
            let prefix = format!("zk_{name}\t");
            text.lines().find_map(|line| line.strip_prefix(&prefix).map(str::to_owned))
        };
        for line in Metrics::TABLE {
            let number = |kind: &str| {
                value(format!("{kind}_{}", line.name)).and_then(|text| text.parse::<u64>().ok())
            };
            let (Some(count), Some(sum)) = (number("cnt"), number("sum")) else { continue };
            let (Some(min), Some(max)) = (number("min"), number("max")) else { continue };
            if !(1..=2).contains(&count) {
                continue;
            }
            let mut summary = DetailedSummary::default();
            summary.record(min);
            if count == 2 {
                summary.record(max);
            }
            assert_eq!(summary.summary().sum(), sum, "{role} {}", line.name);
            let mut view = serving();
            view.metrics.readlatency = summary;
            let ours = answer(AdminWord::Mntr, 0, &view);
            for kind in ["avg", "p50", "p95", "p99", "p999"] {
                let Some(expected) = value(format!("{kind}_{}", line.name)) else { continue };
                let shown = format!("zk_{kind}_readlatency\t{expected}");
                assert!(ours.lines().any(|have| have == shown), "{role} {}: {shown}", line.name);
                compared += 1;
            }
        }
    }
    assert!(compared > 50, "only {compared} values were compared");
}

#[test]
fn every_metric_of_the_table_is_visited_in_order() {
    let mut visited = Vec::new();
    Metrics::default().each(|description, value| {
        assert!(matches!(
            (value, description.name.contains("namespace")),
            (Value::CounterSet(_) | Value::SummarySet(_), true) | (_, false)
        ));
        visited.push(description.name);
    });
    let table: Vec<_> = Metrics::TABLE.iter().map(|line| line.name).collect();
    assert_eq!(visited, table);
}

/// `docs/words.md` names what is always 0: exactly the metrics that nobody adds to.
#[test]
fn the_manual_names_the_metrics_that_are_not_counted() {
    let read = |path: &str| {
        let path = format!("{}/../../{path}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
    };
    let sources = [
        "crates/node/src/stats.rs",
        "crates/server/src/host_stats.rs",
        "crates/server/src/admin/report.rs",
    ];
    let sources: String = sources.into_iter().map(read).collect();
    let counted = |name: &str| {
        let field = format!("metrics.{name}");
        sources.match_indices(&field).any(|(at, _)| {
            let behind = sources[at + field.len()..].trim_start();
            behind.starts_with("+=") || behind.starts_with(".merge")
        })
    };
    let manual = read("docs/words.md");
    let (_, rest) = manual.split_once("## What is always 0").expect("the section");
    let (section, _) = rest.split_once("Of the gauges").expect("its end");
    let named: BTreeSet<&str> = section.split('`').skip(1).step_by(2).collect();
    let named: BTreeSet<&str> = named.into_iter().filter(|name| *name != "ensemble").collect();
    let table = Metrics::TABLE.iter().map(|line| line.name);
    let silent: BTreeSet<&str> = table.filter(|name| !counted(name)).collect();
    assert_eq!(named, silent);
}
