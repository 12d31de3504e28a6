//! The oxkeeper command: one binary for everything.
//!
//! It parses arguments and hands over. `serve` exits with ZooKeeper's codes, so that whatever
//! supervises ZooKeeper today understands it.

mod terminal;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use oxkeeper_config::{Config, ConfigError, NoticeLevel, Options, OsFiles};
use oxkeeper_server::logging::{self, LogFormat};
use oxkeeper_server::{Ready, StartError};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A coordination service that takes the place of Apache ZooKeeper.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a server
    ///
    /// Without a file: standalone on 127.0.0.1:2181, data in ./oxkeeper-data. It runs in the
    /// foreground and stops cleanly on SIGTERM or Ctrl-C. Exit codes are ZooKeeper's.
    #[command(verbatim_doc_comment, after_help = SERVE_EXAMPLES)]
    Serve(ServeArgs),
    /// Explain every value that a configuration file leads to, and start nothing.
    CheckConfig(CheckArgs),
    /// Load a ZooKeeper server, of any make, and measure it.
    Bench(Box<oxkeeper_bench::BenchArgs>),
    /// Look into a ZooKeeper server, of any make, and change what is there.
    ///
    /// Options and commands are those of zkCli.sh, and more: oxkeeper shell --help
    #[command(disable_help_flag = true)]
    Shell {
        /// Options and a command, as zkCli.sh takes them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "WORDS")]
        words: Vec<String>,
    },
}

const SERVE_EXAMPLES: &str = "\
Examples:
  oxkeeper serve
  oxkeeper serve /etc/zookeeper/zoo.cfg
  oxkeeper serve --set clientPort=2182 --set dataDir=/var/lib/oxkeeper
  oxkeeper serve zoo.cfg --set zookeeper.snapshot.compression.method=gz";

#[derive(Debug, Args)]
struct ConfigArgs {
    /// A stock zoo.cfg; `myid` is read from its dataDir.
    file: Option<PathBuf>,
    /// Set a key, over the file; repeatable.
    ///
    /// What ZooKeeper takes as -Dzookeeper.x or -Dx is taken here and in the file as well.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Tolerate keys that neither ZooKeeper nor Oxkeeper knows.
    #[arg(long)]
    allow_unknown_keys: bool,
}

#[derive(Debug, Args)]
struct ServeArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// What to log: error, warn, info, debug, trace or off.
    ///
    /// Also per module, as in `info,oxkeeper_storage=debug`.
    #[arg(long, default_value = "info", value_name = "LEVEL")]
    log_level: String,
    /// How to log, to standard error.
    ///
    /// Lines for people, or JSON objects, one a line, for programs.
    #[arg(long, default_value = "text", value_name = "FORMAT")]
    log_format: LogFormatArg,
    /// Make this mistake, to show that it is caught.
    #[cfg(feature = "wrong")]
    #[arg(long, value_name = "NAME")]
    wrong: Option<String>,
}

#[derive(Debug, Args)]
struct CheckArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// For programs.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogFormatArg {
    Text,
    Json,
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Serve(args) => serve(&args),
        Command::CheckConfig(args) => check_config(&args),
        Command::Bench(args) => bench(*args),
        Command::Shell { words } => oxkeeper_shell::run(words),
    }
}

fn load(args: &ConfigArgs) -> Result<Config, ConfigError> {
    let options = Options { set: args.set.clone(), allow_unknown_keys: args.allow_unknown_keys };
    match &args.file {
        Some(file) => Config::from_path(file, &options, &OsFiles),
        None => Config::without_file(&options, &OsFiles),
    }
}

fn serve(args: &ServeArgs) -> ExitCode {
    #[cfg(feature = "wrong")]
    if let Some(name) = &args.wrong
        && !oxkeeper_server::wrong::choose(name)
    {
        eprintln!("oxkeeper: no mistake is called {name}");
        return ExitCode::from(oxkeeper_config::ExitCode::InvalidInvocation.value());
    }
    let format = match args.log_format {
        LogFormatArg::Text => LogFormat::Text,
        LogFormatArg::Json => LogFormat::Json,
    };
    if let Err(error) = logging::start(&args.log_level, format) {
        eprintln!("oxkeeper: {error}");
        return ExitCode::from(oxkeeper_config::ExitCode::InvalidInvocation.value());
    }
    let config = load(&args.config).and_then(|config| {
        config.check_directories(&OsFiles)?;
        Ok(config)
    });
    let config = match config {
        Ok(config) => config,
        Err(error) => return end(format, &error.to_string(), error.exit_code()),
    };
    for notice in &config.notices {
        match notice.level {
            NoticeLevel::Info => tracing::info!("{notice}"),
            NoticeLevel::Warning => tracing::warn!("{notice}"),
        }
    }
    match oxkeeper_server::serve(&config, say_ready) {
        Ok(()) => ExitCode::SUCCESS,
        Err(StartError { message, code }) => end(format, &message, code),
    }
}

/// The last word of a server that does not run: one line, in the form of the others.
fn end(format: LogFormat, message: &str, code: oxkeeper_config::ExitCode) -> ExitCode {
    match format {
        LogFormat::Text => eprintln!("oxkeeper: {message}"),
        LogFormat::Json => tracing::error!(exit_code = code.value(), "{message}"),
    }
    ExitCode::from(code.value())
}

/// Tells a person at the terminal what to do next. Programs that wait for a server read the first
/// word of the first line.
fn say_ready(ready: &Ready) {
    let addr = match ready.addr {
        addr if addr.ip().is_unspecified() => format!("127.0.0.1:{}", addr.port()),
        addr => addr.to_string(),
    };
    let (host, port) = addr.rsplit_once(':').unwrap_or((&addr, ""));
    terminal::print(&format!(
        "ready: oxkeeper {version} after {ms} ms
  listening on  {listening}
  data in       {data} ({znodes} znodes)
  connect       oxkeeper shell -server {addr}
                zkCli.sh -server {addr}
                python: KazooClient(hosts=\"{addr}\")
  look inside   echo srvr | nc {host} {port}
",
        version = env!("CARGO_PKG_VERSION"),
        ms = ready.took.as_millis(),
        listening = ready.addr,
        data = ready.data_dir.display(),
        znodes = ready.znodes,
    ));
}

fn check_config(args: &CheckArgs) -> ExitCode {
    match load(&args.config) {
        Ok(config) if args.json => {
            terminal::print(&format!("{}\n", oxkeeper_config::explain_json(&config)));
            ExitCode::SUCCESS
        }
        Ok(config) => {
            terminal::print(&terminal::styled(&oxkeeper_config::explain_text(&config)));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("oxkeeper: {error}");
            ExitCode::from(error.exit_code().value())
        }
    }
}

fn bench(args: oxkeeper_bench::BenchArgs) -> ExitCode {
    match oxkeeper_bench::run(args) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("oxkeeper: {error:#}");
            ExitCode::FAILURE
        }
    }
}
