//! zoo.cfg and command-line settings, parsed once into typed values.
//!
//! ZooKeeper reads settings in some sixty places, at different times, from a file, from system
//! properties, or from either; a mistyped key does nothing and says nothing. Here everything is
//! settled before the server starts: [`Config::from_path`] takes a stock `zoo.cfg` as it is,
//! [`Options::set`] takes what ZooKeeper wants as `-D`, and the result is a [`Config`] of which
//! each room of the server receives its own part.
//!
//! The rules, in order of importance:
//! * every key of ZooKeeper is known ([`keys`]): it is obeyed, or accepted with one line that
//!   says why it does nothing, or refused where ignoring it would be unsafe;
//! * an unknown key is an error that names the nearest known one;
//! * an error is one line with file, line number, key, value and what would be allowed, and
//!   carries the [`ExitCode`] that ZooKeeper would end with;
//! * bad input costs little and never panics: [`parse`] is the fuzzing entry.

mod build;
mod config;
mod ensemble;
mod error;
mod explain;
mod files;
pub mod keys;
mod properties;
mod rewrite;
mod settings;
mod value;

use std::path::Path;

pub use config::{
    Admin, Auth, BindAddr, Config, ConnectionThrottle, DigestAlg, FourLetterWhitelist, Limits,
    Listen, Purge, RequestThrottle, Secret, Sessions, SnapshotCompression, Storage, Tree,
};
pub use ensemble::{
    Election, Ensemble, History, LocalSessions, Member, Membership, ObserverMaster, Observers, Role,
};
pub use error::{ConfigError, ExitCode};
pub use explain::{EffectiveValue, explain, explain_json, explain_text};
pub use files::{Files, NoFiles, OsFiles, PathKind};
pub use rewrite::{NotRewritable, point_to_dynamic_file};
pub use settings::{Notice, NoticeLevel, Source};

use settings::Settings;

/// A configuration file longer than this is not one.
pub const MAX_FILE_BYTES: usize = 1 << 20;

/// What the command line adds to the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// `--set key=value`, in order; each wins over the file and over earlier ones.
    pub set: Vec<String>,
    /// `--allow-unknown-keys`: an unknown key is worth a notice instead of an error.
    pub allow_unknown_keys: bool,
}

/// What `oxkeeper serve` without a configuration file starts with.
///
/// A newcomer's server: reachable from this machine only and therefore open to all four-letter
/// words; ticks of 2 seconds as in ZooKeeper's sample file, which is what most servers run with,
/// rather than the 3 seconds it falls back to; and purging, so that the directory it creates does
/// not grow for ever.
const BUILT_IN: [(&str, &str); 6] = [
    ("clientPortAddress", "127.0.0.1"),
    ("clientPort", "2181"),
    ("dataDir", "./oxkeeper-data"),
    ("tickTime", "2000"),
    ("4lw.commands.whitelist", "*"),
    ("autopurge.purgeInterval", "1"),
];

impl Config {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// If the file cannot be read, or for the first thing in it that is wrong.
    pub fn from_path(
        path: &Path,
        options: &Options,
        files: &dyn Files,
    ) -> Result<Config, ConfigError> {
        let name = path.display().to_string();
        let bytes = files.read(path, MAX_FILE_BYTES).map_err(|error| {
            let problem = match error.kind() {
                std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
                std::io::ErrorKind::FileTooLarge => too_long(),
                _ => format!("cannot be read: {error}"),
            };
            ConfigError::whole(&name, problem)
        })?;
        let config = Config::from_bytes(&name, &bytes, options, files)?;
        Ok(Config { path: Some(path.to_owned()), ..config })
    }

    /// Reads the content of a configuration file, which messages call `name`.
    ///
    /// # Errors
    /// For the first thing in it that is wrong.
    pub fn from_bytes(
        name: &str,
        bytes: &[u8],
        options: &Options,
        files: &dyn Files,
    ) -> Result<Config, ConfigError> {
        if bytes.len() > MAX_FILE_BYTES {
            return Err(ConfigError::whole(name, too_long()));
        }
        let mut settings = Settings::new(name, options.allow_unknown_keys);
        settings.read_file(bytes)?;
        finish(settings, options, files)
    }

    /// The configuration of `oxkeeper serve` without a file: standalone on 127.0.0.1:2181, data
    /// in `./oxkeeper-data`.
    ///
    /// # Errors
    /// For the first `--set` that is wrong, or an unreadable `myid`.
    pub fn without_file(options: &Options, files: &dyn Files) -> Result<Config, ConfigError> {
        let mut settings = Settings::new("built-in configuration", options.allow_unknown_keys);
        for (key, value) in BUILT_IN {
            settings.take(key, value, Source::BuiltIn)?;
        }
        finish(settings, options, files)
    }

    /// [`Config::without_file`] with nothing changed, not looking at the disk.
    pub fn default_standalone() -> Config {
        Config::without_file(&Options::default(), &NoFiles)
            .expect("the built-in configuration is valid: a test of this crate sees to it")
    }
}

fn finish(
    mut settings: Settings,
    options: &Options,
    files: &dyn Files,
) -> Result<Config, ConfigError> {
    for argument in &options.set {
        settings.read_override(argument)?;
    }
    build::build(settings, files)
}

fn too_long() -> String {
    format!("longer than {MAX_FILE_BYTES} bytes; this is no configuration file")
}

/// Reads the content of a configuration file that stands alone. Any bytes give a configuration or
/// an error.
///
/// # Errors
/// For the first thing in it that is wrong.
pub fn parse(bytes: &[u8]) -> Result<Config, ConfigError> {
    Config::from_bytes("zoo.cfg", bytes, &Options::default(), &NoFiles)
}
