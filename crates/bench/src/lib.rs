//! A load generator for any ZooKeeper server, and the measure that Oxkeeper is held to.
//!
//! `oxkeeper bench` answers three questions: what does a request cost the server, how long does a
//! client wait, how much memory does the state take. It asks them of one server or of two in turns,
//! and of a server that answers canned bytes, which is as cheap as the sockets allow.
//!
//! From the outside in:
//!
//! | module | holds |
//! |---|---|
//! | [`args`], [`catalogue`] | what can be asked: options, scenarios and their numbers |
//! | [`compare`], [`rounds`], [`figures`] | rounds in turns, medians, ratios |
//! | [`report`], [`units`], [`progress`] | what people and programs see of them |
//! | [`target`], [`members`], [`launch`], [`procfs`] | servers, their processes, what they use |
//! | [`stage`], [`layout`] | the trees that are loaded first and removed afterwards |
//! | [`drive`], [`engine`], [`timer`], [`tally`] | threads, the loop over sockets, what it counts |
//! | [`work`], [`template`], [`session`] | the requests themselves |
//! | [`ensemble`] | whole ensembles that are started for it, and what befalls them |
//! | [`canned`] | the server without a server in it |

pub mod args;
pub mod canned;
pub mod catalogue;
pub mod compare;
pub mod drive;
pub mod engine;
pub mod ensemble;
pub mod figures;
pub mod launch;
pub mod layout;
pub mod members;
pub mod procfs;
pub mod progress;
pub mod report;
pub mod rounds;
pub mod session;
pub mod stage;
pub mod tally;
pub mod target;
pub mod template;
pub mod timer;
pub mod units;
pub mod work;

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

pub use args::BenchArgs;
use args::BenchCommand;
use canned::Canned;
use catalogue::{CANNED, Kind, Plan};
use progress::Progress;
use report::ScenarioReport;

/// Runs what the command line asks for and prints the results to stdout.
///
/// The exit code says whether the server did what it was asked: 1 when it refused requests.
///
/// # Errors
/// When a server cannot be reached, misbehaves, or an option makes no sense.
pub fn run(args: BenchArgs) -> Result<ExitCode> {
    raise_file_limit();
    if let Some(BenchCommand::Ensemble(args)) = &args.command {
        return ensemble::run(args);
    }
    if args.scenarios.iter().any(|name| name == CANNED) {
        return serve_canned(&args);
    }
    let presets = catalogue::chosen(&args.scenarios);
    let plans: Vec<Plan> =
        presets.iter().map(|preset| Plan::new(preset, &args)).collect::<Result<_>>()?;
    let starts = plans.iter().any(|plan| plan.kind == Kind::Start);
    ensure!(!starts || args.cmd.is_some(), "start needs the command to time: --cmd 'exec …'");
    let mut targets = target::targets(&args)?;
    let progress = Progress::on_terminal();
    let mut reports: Vec<ScenarioReport> = Vec::new();
    let mut failure = None;
    for plan in &plans {
        let report = compare::compare(plan, &mut targets, &progress);
        progress.clear();
        match report {
            Ok(report) => {
                if !args.load.json {
                    let mut stdout = std::io::stdout().lock();
                    writeln!(stdout, "{}", report.text())?;
                }
                reports.push(report);
            }
            // What has been measured before is still worth printing.
            Err(error) => {
                failure = Some(error);
                break;
            }
        }
    }
    for target in &mut targets {
        target.down()?;
    }
    if args.load.json {
        println!("{}", json(&reports)?);
    }
    match failure {
        Some(error) => Err(error),
        None if reports.iter().any(ScenarioReport::has_errors) => Ok(ExitCode::FAILURE),
        None => Ok(ExitCode::SUCCESS),
    }
}

pub(crate) fn json(reports: &[ScenarioReport]) -> Result<String> {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let document = serde_json::json!({ "version": 1, "cores": cores, "scenarios": reports });
    Ok(serde_json::to_string_pretty(&document)?)
}

fn serve_canned(args: &BenchArgs) -> Result<ExitCode> {
    let server = Canned::bind(args.listen)?;
    println!("listening on {}", server.address()?);
    std::io::stdout().flush()?;
    server.run()?;
    Ok(ExitCode::SUCCESS)
}

/// Descriptors that we would like to have, if we are allowed to raise even the hard limit.
const FILES_WANTED: u64 = 200_000;

/// Ten thousand sessions are ten thousand descriptors; the soft limit is often 1,024.
fn raise_file_limit() {
    let hard = getrlimit(Resource::Nofile).maximum;
    let set =
        |limit| setrlimit(Resource::Nofile, Rlimit { current: limit, maximum: limit }).is_ok();
    let _ = hard.is_some_and(|hard| hard < FILES_WANTED) && set(Some(FILES_WANTED)) || set(hard);
}

/// How many descriptors we may have.
pub(crate) fn file_limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}
