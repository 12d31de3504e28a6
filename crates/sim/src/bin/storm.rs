//! Runs seeds: storm, heal, check.
//!
//! What is printed of a seed that fails is enough to look at it again: the end of its trace, what
//! was broken, and the command that replays it.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Instant, SystemTime};

use clap::Parser;
use oxkeeper_sim::world::Weather;
use oxkeeper_sim::{Plan, Report, Volume};

/// Lets servers and clients live through storms in virtual time, and holds what was seen against
/// what is promised.
#[derive(Debug, Parser)]
struct Flags {
    /// One seed
    #[arg(long, conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Several seeds: FIRST..BEYOND
    #[arg(long, value_parser = range, default_value = "0..100")]
    seeds: (u64, u64),
    /// Print the whole trace
    #[arg(long)]
    trace: bool,
    /// How long the storm lasts, virtual seconds
    #[arg(long, default_value_t = 6)]
    seconds: u64,
    /// Random seeds for so many seconds
    #[arg(long, conflicts_with_all = ["seed", "seeds"])]
    random_for: Option<u64>,
    /// How many servers vote: more than one are an ensemble; 0 for one, three and five in turns
    #[arg(long, default_value_t = 1)]
    servers: usize,
    /// What storms lean to: open (nothing), epochs (the beginning of epochs), members (changes of
    /// the ensemble), changes (what goes wrong while members change), groups (quorums by groups and
    /// weights), or all: servers and weathers in turns
    #[arg(long, default_value = "open", value_parser = weather)]
    weather: Lean,
    /// Make a mistake of `oxkeeper_zab::wrong`, by its name; or several, with + between them
    #[cfg(feature = "wrong")]
    #[arg(long)]
    wrong: Option<String>,
    /// Print what servers log, and the trace between it
    #[arg(long)]
    log: bool,
    /// Go on after a seed that fails
    #[arg(long)]
    keep_going: bool,
}

fn range(text: &str) -> Result<(u64, u64), String> {
    let parts = text.split_once("..").ok_or("FIRST..BEYOND is expected")?;
    let number = |text: &str| text.parse::<u64>().map_err(|error| format!("{text:?}: {error}"));
    Ok((number(parts.0)?, number(parts.1)?))
}

/// Which weathers.
#[derive(Debug, Clone, Copy)]
enum Lean {
    One(Weather),
    All,
}

fn weather(text: &str) -> Result<Lean, String> {
    if text == "all" {
        return Ok(Lean::All);
    }
    let found = Weather::ALL.iter().find(|(name, _)| *name == text);
    found.map(|(_, weather)| Lean::One(*weather)).ok_or(format!("{text:?} is no weather"))
}

fn main() -> ExitCode {
    match run(&Flags::parse(), &mut io::stdout().lock()) {
        Ok(true) => ExitCode::SUCCESS,
        // Whoever stops reading has seen enough.
        Ok(false) | Err(_) => ExitCode::FAILURE,
    }
}

/// True if all seeds were good.
fn run(flags: &Flags, out: &mut impl Write) -> io::Result<bool> {
    #[cfg(feature = "wrong")]
    if let Some(name) = &flags.wrong
        && !oxkeeper_zab::wrong::choose(name)
    {
        writeln!(out, "{name} is no mistake")?;
        return Ok(false);
    }
    if flags.log {
        let levels = tracing_subscriber::filter::LevelFilter::TRACE;
        tracing_subscriber::fmt().with_max_level(levels).without_time().with_ansi(false).init();
    }
    let began = Instant::now();
    let (first, beyond) = match (flags.random_for, flags.seed) {
        (Some(_), _) => {
            let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
            let first = since.as_micros() as u64 % 1_000_000_000_000;
            (first, u64::MAX)
        }
        (None, Some(seed)) => (seed, seed + 1),
        (None, None) => flags.seeds,
    };
    if let Some(seconds) = flags.random_for {
        writeln!(out, "seeds from {first} on, for {seconds} s")?;
        out.flush()?;
    }
    let mut done = 0;
    let mut total = Volume::default();
    let mut bad = Vec::new();
    for seed in first..beyond {
        if flags.random_for.is_some_and(|seconds| began.elapsed().as_secs() >= seconds) {
            break;
        }
        let servers = match flags.servers {
            0 => [1, 3, 5][(seed % 3) as usize],
            servers => servers,
        };
        let plan = match flags.weather {
            Lean::One(weather) => Plan::in_weather(seed, servers, weather),
            Lean::All => Plan::of_all(seed),
        };
        done += 1;
        let storm = flags.seconds * oxkeeper_sim::agenda::SECOND;
        let plan = Plan { whole_trace: flags.trace, storm, ..plan };
        let report = Report::of(plan);
        total += report.volume;
        if !report.is_good() {
            write!(out, "{report}")?;
            bad.push(seed);
            if !flags.keep_going {
                break;
            }
        } else if flags.trace {
            report.trace.lines().try_for_each(|line| writeln!(out, "{line}"))?;
        }
    }
    writeln!(out, "{done} seeds from {first}: {total}")?;
    if !bad.is_empty() {
        writeln!(out, "failed: {bad:?}")?;
    }
    Ok(bad.is_empty())
}
