//! Log output: to stderr, as text for people or JSON for programs.

use std::io::IsTerminal;

use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// One readable line an event.
    #[default]
    Text,
    /// One JSON object an event.
    Json,
}

/// Reads a level or directives. A lone word that is no level would be taken for a module that
/// everything is to be logged of, and nothing else: far more likely it is a mistyped level.
fn filter(level: &str) -> Result<Targets, String> {
    let wrong = |why: &str| format!("--log-level {level}: {why}{LEVELS_ALLOWED}");
    let levels = ["error", "warn", "info", "debug", "trace", "off"];
    for directive in level.split(',').map(str::trim) {
        let named = directive.rsplit('=').next().unwrap_or_default().to_ascii_lowercase();
        if !levels.contains(&named.as_str()) {
            return Err(wrong(&format!("\"{named}\" is not a level")));
        }
    }
    level.parse::<Targets>().map_err(|error| wrong(&error.to_string()))
}

const LEVELS_ALLOWED: &str = "; use error, warn, info, debug, trace or off, \
    or directives such as info,oxkeeper_storage=debug";

/// Starts logging. `level` is a level (`info`) or a list of directives as `tracing` takes them.
///
/// # Errors
/// If `level` is neither.
pub fn start(level: &str, format: LogFormat) -> Result<(), String> {
    let filter = filter(level)?;
    let filtered = tracing_subscriber::registry().with(filter);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
    let started = match format {
        LogFormat::Text => {
            let colours = std::io::stderr().is_terminal();
            filtered.with(lines.with_ansi(colours)).try_init()
        }
        LogFormat::Json => filtered.with(lines.json().flatten_event(true)).try_init(),
    };
    started.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_directives_are_taken_and_mistyped_ones_are_not() {
        for level in ["info", "WARN", "off", "info,oxkeeper_storage=debug", "oxkeeper_node=trace"] {
            assert!(filter(level).is_ok(), "{level}");
        }
        for level in ["loud", "", "info,oxkeeper_storage", "oxkeeper_node=chatty", "info,,warn"] {
            let error = filter(level).unwrap_err();
            assert!(error.contains("is not a level; use error, warn"), "{level}: {error}");
        }
    }
}
