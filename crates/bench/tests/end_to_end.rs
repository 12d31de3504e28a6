//! The whole command against servers of canned answers, in this process, over loopback.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Parser;
use oxkeeper_bench::BenchArgs;
use oxkeeper_bench::args::BenchCommand;
use oxkeeper_bench::canned::Canned;
use oxkeeper_bench::catalogue::{Kind, PRESETS, Plan, chosen};
use oxkeeper_bench::compare::compare;
use oxkeeper_bench::engine::{Clock, Engine, Load, Reply, Span, Work};
use oxkeeper_bench::progress::Progress;
use oxkeeper_bench::report::ScenarioReport;
use oxkeeper_bench::target::{Role, Target};
use oxkeeper_proto::connect::{ConnectResponse, begin_frame, end_frame};
use oxkeeper_proto::response::ReplyHeader;
use oxkeeper_proto::{ErrorCode, OpCode, SessionId, Zxid};

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    bench: BenchArgs,
}

/// A server of canned answers that serves until the test process ends.
fn canned() -> SocketAddr {
    let server = Canned::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = server.address().unwrap();
    std::thread::spawn(move || server.run());
    address
}

/// Runs a scenario as the command line would, on the given servers.
fn run(words: &str, targets: &[(Role, SocketAddr)]) -> anyhow::Result<ScenarioReport> {
    let short = "bench --duration 0.1 --warmup 0.02 --rounds 2 --connections 8 --znodes 500 ";
    let words = format!("{short}{words}");
    let args = Command::try_parse_from(words.split(' ')).unwrap().bench;
    let mut targets: Vec<Target> = targets
        .iter()
        .map(|(role, address)| {
            Target::new(*role, vec![*address], &[std::process::id()], None).unwrap()
        })
        .collect();
    let plan = Plan::new(chosen(&args.scenarios)[0], &args)?;
    compare(&plan, &mut targets, &Progress::silent())
}

#[test]
fn every_scenario_that_has_a_limit_runs_and_counts() {
    let address = canned();
    for preset in PRESETS.iter().filter(|preset| preset.kind.has_limit()) {
        let report = run(preset.name, &[(Role::Server, address)]).unwrap();
        let server = &report.servers[0];
        assert!(!report.has_errors(), "{}: {:?}", preset.name, server.errors);
        assert_eq!(server.rounds.len(), 2, "{}", preset.name);
        let per_second: Vec<f64> = server
            .median
            .iter()
            .filter(|figure| figure.name.ends_with("s per second"))
            .map(|figure| figure.value)
            .collect();
        assert!(per_second[0] > 10.0, "{}: {per_second:?}", preset.name);
        let text = report.text();
        assert!(text.starts_with(preset.name) && text.contains("p50"), "{text}");
    }
}

#[test]
fn two_servers_take_turns_and_are_divided() {
    let targets = [(Role::Server, canned()), (Role::Against, canned()), (Role::Limit, canned())];
    let report = run("set-pipelined", &targets).unwrap();
    for ratios in [&report.against, &report.limit] {
        let speed = ratios["ops per second"];
        // The same program under the same load: far apart only if the division is wrong.
        assert!((0.02..50.0).contains(&speed), "{speed}");
    }
    let text = report.text();
    assert_eq!(text.lines().nth(1).unwrap().matches("ratio").count(), 2, "{text}");
}

#[test]
fn a_fixed_rate_is_kept_and_timed_from_when_requests_were_due() {
    let report = run("paced --rate 2000", &[(Role::Server, canned())]).unwrap();
    let figure = |name: &str| {
        let found = report.servers[0].median.iter().find(|figure| figure.name == name);
        found.unwrap_or_else(|| panic!("no {name} in {}", report.text())).value
    };
    let rate = figure("ops per second");
    // A closed load makes a hundred times that. Less than asked for is a generator that a busy
    // machine does not let run.
    assert!((200.0..2500.0).contains(&rate), "{rate}");
    assert!(figure("get p50") > 0.0 && figure("set p99") > 0.0);
}

#[test]
fn what_makes_no_sense_is_refused_with_a_reason() {
    let nobody = Canned::bind("127.0.0.1:0".parse().unwrap()).unwrap().address().unwrap();
    let error = run("get-single", &[(Role::Server, nobody)]).err().unwrap();
    assert!(format!("{error:#}").contains("is a server listening?"), "{error:#}");
    for bad in [
        "bench no-such-scenario",
        "bench --window 0",
        "bench --rate 0",
        "bench --duration -1",
        "bench --against-pid 7",
    ] {
        assert!(Command::try_parse_from(bad.split(' ')).is_err(), "{bad}");
    }
    let odd = Command::try_parse_from(["bench", "mix", "--mix", "get,fly"]).unwrap().bench;
    let error = Plan::new(chosen(&odd.scenarios)[0], &odd).err().unwrap();
    assert!(error.to_string().contains("\"fly\" is no operation"), "{error}");
}

#[test]
fn a_server_here_is_found_by_its_port() {
    let mut target = Target::new(Role::Server, vec![canned()], &[], None).unwrap();
    let words = ["bench", "mem-empty"];
    let args = Command::try_parse_from(words).unwrap().bench;
    let plan = Plan::new(chosen(&args.scenarios)[0], &args).unwrap();
    assert_eq!(plan.kind, Kind::Empty);
    let targets = std::slice::from_mut(&mut target);
    let report = compare(&plan, targets, &Progress::silent()).unwrap();
    // The server is this very process, and it was found by its port.
    assert!(report.servers[0].median[0].value > 1_000_000.0, "{}", report.text());
}

/// Accepts one connection, grants a session, waits for as many requests as there are `xids`, and
/// answers them under those.
fn scripted(xids: &'static [i32]) -> SocketAddr {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut buffer = [0; 4096];
        stream.read_exact(&mut buffer[..49]).unwrap();
        let mut out = Vec::new();
        let start = begin_frame(&mut out);
        ConnectResponse::granted(SessionId(1), 30_000, Some(false)).encode(&mut out);
        end_frame(&mut out, start);
        stream.write_all(&out).unwrap();
        stream.read_exact(&mut buffer[..12 * xids.len()]).unwrap();
        out.clear();
        for xid in xids {
            let start = begin_frame(&mut out);
            ReplyHeader { xid: *xid, zxid: Zxid(1), err: ErrorCode::OK }.encode(&mut out);
            end_frame(&mut out, start);
        }
        stream.write_all(&out).unwrap();
        // Whatever follows is read, so that the socket stays open until the generator leaves.
        while stream.read(&mut buffer).is_ok_and(|len| len > 0) {}
    });
    address
}

#[test]
fn connections_are_spread_over_all_servers_of_an_ensemble() {
    // Each grants one session and no more.
    let servers: Vec<SocketAddr> = (0..3).map(|_| scripted(&[])).collect();
    assert!(Engine::connect(&servers, 3, 30_000, Clock::start()).is_ok());
}

#[test]
fn an_ensemble_is_one_side_of_a_comparison() {
    let words = "bench set-pipelined --duration 0.1 --warmup 0.02 --rounds 1 --znodes 500";
    let args = Command::try_parse_from(words.split(' ')).unwrap().bench;
    let plan = Plan::new(chosen(&args.scenarios)[0], &args).unwrap();
    let me = std::process::id();
    let ensemble = vec![canned(), canned(), canned()];
    let mut targets = [
        Target::new(Role::Server, ensemble.clone(), &[me; 3], None).unwrap(),
        Target::new(Role::Against, vec![canned()], &[me], None).unwrap(),
    ];
    let report = compare(&plan, &mut targets, &Progress::silent()).unwrap();
    assert!(!report.has_errors());
    assert_eq!(report.servers[0].address.matches(',').count(), 2);
    // All "processes" are this one: named three times, it is counted three times.
    let own = |index: usize| {
        let all = &report.servers[index].median;
        let of = |name: &str| all.iter().find(|figure| figure.name == name).unwrap().value;
        of("CPU per op") / of("generator CPU per op")
    };
    assert!((2.5..3.5).contains(&own(0)) && (0.8..1.2).contains(&own(1)), "{} {}", own(0), own(1));
}

#[test]
fn ensembles_are_asked_for_beside_scenarios_and_not_with_them() {
    let words = ["bench", "ensemble", "leader-killed", "--times", "5", "--json"];
    let bench = Command::try_parse_from(words).unwrap().bench;
    assert!(matches!(bench.command, Some(BenchCommand::Ensemble(args)) if args.load.json));
    for bad in [
        "bench set-single ensemble",
        "bench ensemble mem-znodes",
        "bench ensemble --servers 0",
        "bench --hosts a:1 ensemble load",
    ] {
        assert!(Command::try_parse_from(bad.split(' ')).is_err(), "{bad}");
    }
}

/// Three requests without a body.
struct Three {
    sent: usize,
    answered: usize,
}

impl Work for Three {
    fn kinds(&self) -> &[&'static str] {
        &["ask"]
    }

    fn next(&mut self, _conn: usize, xid: i32, out: &mut Vec<u8>) -> Option<u8> {
        if self.sent == 3 {
            return None;
        }
        self.sent += 1;
        let start = begin_frame(out);
        out.extend_from_slice(&xid.to_be_bytes());
        out.extend_from_slice(&107_i32.to_be_bytes());
        end_frame(out, start);
        Some(0)
    }

    fn reply(&mut self, reply: &Reply<'_>, _now_ns: u64) -> ErrorCode {
        self.answered += 1;
        reply.err
    }

    fn finished(&self) -> bool {
        self.answered == 3
    }
}

fn ask_three(xids: &'static [i32]) -> anyhow::Result<u64> {
    let clock = Clock::start();
    let mut engine = Engine::connect(&[scripted(xids)], 1, 30_000, clock)?;
    let span = Span { from_ns: 0, until_ns: Duration::from_secs(60).as_nanos() as u64 };
    let mut work = Three { sent: 0, answered: 0 };
    Ok(engine.run(&mut work, Load::Closed(3), span)?.replies)
}

#[test]
fn replies_in_the_wrong_order_are_an_error() {
    assert_eq!(ask_three(&[1, 2, 3]).unwrap(), 3);
    let error = ask_three(&[1, 3, 2]).unwrap_err();
    assert!(error.to_string().contains("replies out of order"), "{error}");
}

/// Reads over one connection, the first of which the generator itself is slow to send.
struct Stalling {
    stall: Option<Duration>,
}

impl Work for Stalling {
    fn kinds(&self) -> &[&'static str] {
        &["exists"]
    }

    fn next(&mut self, _conn: usize, xid: i32, out: &mut Vec<u8>) -> Option<u8> {
        if let Some(stall) = self.stall.take() {
            let start = std::time::Instant::now();
            while start.elapsed() < stall {}
        }
        let start = begin_frame(out);
        out.extend_from_slice(&xid.to_be_bytes());
        out.extend_from_slice(&OpCode::EXISTS.0.to_be_bytes());
        end_frame(out, start);
        Some(0)
    }
}

#[test]
fn requests_that_a_stall_delays_count_from_when_they_were_due() {
    let clock = Clock::start();
    let mut engine = Engine::connect(&[canned()], 1, 30_000, clock).unwrap();
    let until_ns = clock.now_ns() + 300_000_000;
    let mut work = Stalling { stall: Some(Duration::from_millis(100)) };
    let span = Span { from_ns: 0, until_ns };
    let tally = engine.run(&mut work, Load::Open(1000.0), span).unwrap();
    engine.close().unwrap();
    // 100 were due while nothing was sent; timed from their sending they would all look quick.
    let late = tally.latency(0).count_between(20_000_000, u64::MAX);
    assert!(late >= 75, "{late} of {} replies were late", tally.replies);
    assert!(tally.replies >= 290, "{} replies", tally.replies);
}
