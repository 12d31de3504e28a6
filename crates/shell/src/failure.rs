//! How a command fails: what to say, what to do about it, and the exit code.
//!
//! The sentences are those of ZooKeeper's shell, which scripts look for. The kind, the exit code
//! and the line that says what to do next are ours.

use std::fmt;

use oxkeeper_client::{Error, ErrorCode};
use serde_json::{Value, json};

/// Kinds of failure, each with its exit code (docs/shell.md).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// What has no kind of its own.
    Other,
    /// The command, its options or its path cannot be meant.
    Usage,
    /// No server could be reached, or the connection was lost on the way.
    Connection,
    /// A znode is not there.
    NoNode,
    /// A znode is there already.
    NodeExists,
    /// The znode has changed: another version is there.
    BadVersion,
    /// The znode has children.
    NotEmpty,
    /// The ACL or the server does not permit it, or an ACL or identity is no good.
    Denied,
    /// The server cannot now or will not: quota, read-only, reconfiguration, throttling.
    Refused,
    /// `diff`: the two sides differ.
    Differs,
    /// The session is over; what it held is gone.
    SessionOver,
    /// A local file or program.
    File,
    /// Part of the work was done, part was not.
    Partly,
    /// No such command.
    UnknownCommand,
    /// Ctrl-C.
    Interrupted,
}

impl Kind {
    /// Every kind, in the order of its exit codes.
    pub const ALL: [Kind; 15] = [
        Kind::Other,
        Kind::Usage,
        Kind::Connection,
        Kind::NoNode,
        Kind::NodeExists,
        Kind::BadVersion,
        Kind::NotEmpty,
        Kind::Denied,
        Kind::Refused,
        Kind::Differs,
        Kind::SessionOver,
        Kind::File,
        Kind::Partly,
        Kind::UnknownCommand,
        Kind::Interrupted,
    ];

    /// The exit code.
    pub fn exit_code(self) -> u8 {
        match self {
            Kind::Other => 1,
            Kind::Usage => 2,
            Kind::Connection => 3,
            Kind::NoNode => 4,
            Kind::NodeExists => 5,
            Kind::BadVersion => 6,
            Kind::NotEmpty => 7,
            Kind::Denied => 8,
            Kind::Refused => 9,
            Kind::Differs => 10,
            Kind::SessionOver => 11,
            Kind::File => 12,
            Kind::Partly => 13,
            // What a shell says of a command that it does not find, and of one that was stopped.
            Kind::UnknownCommand => 127,
            Kind::Interrupted => 130,
        }
    }

    /// Its name in JSON and in the documentation.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Other => "other",
            Kind::Usage => "usage",
            Kind::Connection => "connection",
            Kind::NoNode => "no-node",
            Kind::NodeExists => "node-exists",
            Kind::BadVersion => "bad-version",
            Kind::NotEmpty => "not-empty",
            Kind::Denied => "denied",
            Kind::Refused => "refused",
            Kind::Differs => "differs",
            Kind::SessionOver => "session-over",
            Kind::File => "file",
            Kind::Partly => "partly",
            Kind::UnknownCommand => "unknown-command",
            Kind::Interrupted => "interrupted",
        }
    }
}

/// Why a command did not do what it was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Of what kind.
    pub kind: Kind,
    /// The sentence, of ZooKeeper's shell where it has one. Empty if everything is said already.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Failure {
    /// A failure without a hint.
    pub fn new(kind: Kind, message: impl Into<String>) -> Failure {
        Failure { kind, message: message.into(), hint: None }
    }

    /// With what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint = Some(hint.into());
        self
    }

    /// A local file that could not be read or written.
    pub fn file(what: impl fmt::Display, error: &std::io::Error) -> Failure {
        Failure::new(Kind::File, format!("{what}: {error}"))
    }

    /// What the client says of an operation on `path`, in the words of ZooKeeper's shell.
    pub fn of(error: &Error, path: &str) -> Failure {
        match error.code() {
            Some(code) => Failure::of_code(code, path),
            None => {
                let kind = if error.is_session_over() { Kind::SessionOver } else { Kind::Usage };
                let text = error.to_string();
                Failure::new(kind, text)
            }
        }
    }

    /// What a server's refusal means.
    pub fn of_code(code: ErrorCode, path: &str) -> Failure {
        let (kind, message, hint) = match code {
            ErrorCode::NO_NODE => (Kind::NoNode, format!("Node does not exist: {path}"), None),
            ErrorCode::NO_CHILDREN_FOR_EPHEMERALS => (
                Kind::Refused,
                format!("Ephemerals cannot have children: {path}"),
                Some("the parent goes with its session; create it without -e"),
            ),
            ErrorCode::NODE_EXISTS => (
                Kind::NodeExists,
                format!("Node already exists: {path}"),
                Some("set changes its data; create -s completes the name with a number"),
            ),
            ErrorCode::NOT_EMPTY => (
                Kind::NotEmpty,
                format!("Node not empty: {path}"),
                Some("deleteall removes it with everything below; --dry-run shows what that is"),
            ),
            ErrorCode::NOT_READ_ONLY => (
                Kind::Refused,
                format!("Not a read-only call: {path}"),
                Some("this server has lost its majority; leave out -r to find one that has not"),
            ),
            ErrorCode::INVALID_ACL => (
                Kind::Denied,
                format!("Acl is not valid : {path}"),
                Some(
                    "an ACL is scheme:id:perms, as in world:anyone:r or auth::cdrwa after addauth",
                ),
            ),
            ErrorCode::NO_AUTH => (
                Kind::Denied,
                format!("Insufficient permission : {path}"),
                Some("whoami shows who you are, getAcl who may; addauth adds an identity"),
            ),
            ErrorCode::BAD_ARGUMENTS => {
                (Kind::Usage, format!("Arguments are not valid : {path}"), None)
            }
            ErrorCode::BAD_VERSION => (
                Kind::BadVersion,
                format!("version No is not valid : {path}"),
                Some("it has changed: stat shows the version of now"),
            ),
            ErrorCode::RECONFIG_IN_PROGRESS => (
                Kind::Refused,
                "Another reconfiguration is in progress -- concurrent reconfigs not supported \
                 (yet)"
                    .to_owned(),
                Some("config shows when it is through"),
            ),
            ErrorCode::NEW_CONFIG_NO_QUORUM => (
                Kind::Refused,
                "No quorum of new config is connected and up-to-date with the leader of last \
                 commmitted config - try invoking reconfiguration after new servers are connected \
                 and synced"
                    .to_owned(),
                None,
            ),
            ErrorCode::QUOTA_EXCEEDED => (
                Kind::Refused,
                format!("Quota has exceeded : {path}"),
                Some("listquota shows the limits, on this path or on one above it"),
            ),
            other => return Failure::of_other(other, path),
        };
        Failure { kind, message, hint: hint.map(str::to_owned) }
    }

    /// The codes for which ZooKeeper's shell has no sentence but the exception's.
    fn of_other(code: ErrorCode, path: &str) -> Failure {
        let (kind, hint) = match code {
            ErrorCode::CONNECTION_LOSS | ErrorCode::OPERATION_TIMEOUT => {
                (Kind::Connection, Some("is a server running there? -server host:port says where"))
            }
            ErrorCode::REQUEST_TIMEOUT => (Kind::Connection, None),
            ErrorCode::SESSION_EXPIRED | ErrorCode::SESSION_MOVED => (
                Kind::SessionOver,
                Some("ephemerals and watches of the session are gone; connect begins a new one"),
            ),
            ErrorCode::AUTH_FAILED => (
                Kind::Denied,
                Some("the server does not take this identity; connect begins anew, without it"),
            ),
            ErrorCode::NO_WATCHER => (Kind::NoNode, Some("this session has no such watch there")),
            ErrorCode::RECONFIG_DISABLED => {
                (Kind::Refused, Some("the servers need reconfigEnabled=true"))
            }
            ErrorCode::UNIMPLEMENTED => {
                (Kind::Refused, Some("this server does not know the operation, or is standalone"))
            }
            ErrorCode::THROTTLED_OP => (Kind::Refused, Some("the server is overloaded; try again")),
            ErrorCode::EPHEMERAL_ON_LOCAL_SESSION => (Kind::Refused, None),
            _ => (Kind::Other, None),
        };
        let text = exception_text(code);
        let on = if path.is_empty() { String::new() } else { format!(" for {path}") };
        Failure {
            kind,
            message: format!("KeeperErrorCode = {text}{on}"),
            hint: hint.map(str::to_owned),
        }
    }

    /// For programs.
    pub fn json(&self) -> Value {
        json!({"error": {
            "kind": self.kind.name(),
            "exit": self.kind.exit_code(),
            "message": self.message,
            "hint": self.hint,
        }})
    }
}

/// `KeeperException.getCodeMessage`.
pub fn exception_text(code: ErrorCode) -> String {
    let text = match code {
        ErrorCode::OK => "ok",
        ErrorCode::SYSTEM_ERROR => "SystemError",
        ErrorCode::RUNTIME_INCONSISTENCY => "RuntimeInconsistency",
        ErrorCode::DATA_INCONSISTENCY => "DataInconsistency",
        ErrorCode::CONNECTION_LOSS => "ConnectionLoss",
        ErrorCode::MARSHALLING_ERROR => "MarshallingError",
        ErrorCode::NEW_CONFIG_NO_QUORUM => "NewConfigNoQuorum",
        ErrorCode::RECONFIG_IN_PROGRESS => "ReconfigInProgress",
        ErrorCode::UNIMPLEMENTED => "Unimplemented",
        ErrorCode::OPERATION_TIMEOUT => "OperationTimeout",
        ErrorCode::BAD_ARGUMENTS => "BadArguments",
        ErrorCode::API_ERROR => "APIError",
        ErrorCode::NO_NODE => "NoNode",
        ErrorCode::NO_AUTH => "NoAuth",
        ErrorCode::BAD_VERSION => "BadVersion",
        ErrorCode::NO_CHILDREN_FOR_EPHEMERALS => "NoChildrenForEphemerals",
        ErrorCode::NODE_EXISTS => "NodeExists",
        ErrorCode::INVALID_ACL => "InvalidACL",
        ErrorCode::AUTH_FAILED => "AuthFailed",
        ErrorCode::NOT_EMPTY => "Directory not empty",
        ErrorCode::SESSION_EXPIRED => "Session expired",
        ErrorCode::INVALID_CALLBACK => "Invalid callback",
        ErrorCode::SESSION_MOVED => "Session moved",
        ErrorCode::NOT_READ_ONLY => "Not a read-only call",
        ErrorCode::EPHEMERAL_ON_LOCAL_SESSION => "Ephemeral node on local session",
        ErrorCode::NO_WATCHER => "No such watcher",
        ErrorCode::RECONFIG_DISABLED => "Reconfig is disabled",
        ErrorCode::SESSION_CLOSED_REQUIRE_SASL_AUTH => {
            "Session closed because client failed to authenticate"
        }
        ErrorCode::QUOTA_EXCEEDED => "Quota has exceeded",
        ErrorCode::THROTTLED_OP => "Op throttled due to high load",
        other => return format!("Unknown error {other}"),
    };
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_an_exit_code_of_its_own() {
        let mut codes: Vec<u8> = Kind::ALL.iter().map(|kind| kind.exit_code()).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), Kind::ALL.len());
        assert!(!codes.contains(&0), "a failure is no success");
    }

    #[test]
    fn the_documentation_lists_every_exit_code() {
        let docs = include_str!("../../../docs/shell.md");
        for kind in Kind::ALL {
            let row = format!("| {} | `{}` |", kind.exit_code(), kind.name());
            assert!(docs.contains(&row), "docs/shell.md lacks {row}");
        }
    }

    #[test]
    fn refusals_are_told_in_the_words_of_zookeepers_shell() {
        let told = |code| Failure::of_code(code, "/a").message;
        assert_eq!(told(ErrorCode::NO_NODE), "Node does not exist: /a");
        assert_eq!(told(ErrorCode::NO_AUTH), "Insufficient permission : /a");
        assert_eq!(told(ErrorCode::NO_WATCHER), "KeeperErrorCode = No such watcher for /a");
        let without = Failure::of_code(ErrorCode::RECONFIG_DISABLED, "").message;
        assert_eq!(without, "KeeperErrorCode = Reconfig is disabled");
    }
}
