//! What is wrong with a configuration, in one line, and the exit code it ends the process with.

use std::fmt;

use crate::settings::Source;

/// How the server process ends, as ZooKeeper's `ExitCode` has it; scripts and init systems look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// Stopped as asked.
    ExecutionFinished = 0,
    /// An error without a code of its own: an I/O error, a port in use.
    UnexpectedError = 1,
    /// The command line or the configuration is wrong.
    InvalidInvocation = 2,
    /// A data directory is missing, not a directory, or not ours to write.
    UnableToAccessDatadir = 3,
    /// The HTTP admin server could not start.
    ErrorStartingAdminServer = 4,
    /// A snapshot or the transaction log could not be written.
    TxnlogErrorTakingSnapshot = 10,
    /// A commit arrived out of order.
    UnmatchedTxnCommit = 12,
    /// A leader sent what cannot be followed.
    QuorumPacketError = 13,
    /// The election port could not be bound.
    UnableToBindQuorumPort = 14,
}

impl ExitCode {
    /// The number given to the operating system.
    pub fn value(self) -> u8 {
        self as u8
    }
}

/// Why a configuration cannot be used. Displays as one line that names the file, the line, the
/// key and its value, and what would be allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct ConfigError {
    place: String,
    key: Option<String>,
    problem: String,
    exit_code: ExitCode,
}

impl ConfigError {
    /// An error about the file as a whole.
    pub(crate) fn whole(file: &str, problem: impl fmt::Display) -> ConfigError {
        ConfigError {
            place: printable(file),
            key: None,
            problem: problem.to_string(),
            exit_code: ExitCode::InvalidInvocation,
        }
    }

    /// An error about one line or one `--set`.
    pub(crate) fn at(file: &str, source: &Source, problem: impl fmt::Display) -> ConfigError {
        ConfigError { place: source.place(file), ..ConfigError::whole(file, problem) }
    }

    pub(crate) fn about(self, key: &str) -> ConfigError {
        ConfigError { key: Some(key.to_owned()), ..self }
    }

    pub(crate) fn exiting(self, exit_code: ExitCode) -> ConfigError {
        ConfigError { exit_code, ..self }
    }

    /// The key at fault, if it is one.
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// How the process should end.
    pub fn exit_code(&self) -> ExitCode {
        self.exit_code
    }
}

/// The longest piece of a file that a message repeats.
const LONGEST_QUOTE: usize = 160;

/// Text from a file, fit for one line of a terminal: control characters escaped, length bounded.
pub(crate) fn printable(text: &str) -> String {
    let mut out = String::new();
    for (count, character) in text.chars().enumerate() {
        if count == LONGEST_QUOTE {
            out.push('…');
            break;
        }
        if character.is_control() {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
    }
    out
}
