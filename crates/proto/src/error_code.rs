//! The outcomes a client can be told, under ZooKeeper's numbers and names. The same numbers stand
//! in `error` transactions, so they are part of the log format too.

use std::fmt;

/// An outcome as it stands in a reply header and in `error` transactions (`KeeperException.Code`).
/// Open: a newer peer may know more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ErrorCode(pub i32);

macro_rules! error_codes {
    ($($name:ident = $value:literal, $text:literal;)*) => {
        #[allow(missing_docs)]
        impl ErrorCode {
            $(pub const $name: ErrorCode = ErrorCode($value);)*

            /// ZooKeeper's name, `None` for a code it does not know.
            pub fn name(self) -> Option<&'static str> {
                match self { $(ErrorCode::$name => Some($text),)* _ => None }
            }
        }
    };
}

error_codes! {
    OK = 0, "OK";
    SYSTEM_ERROR = -1, "SYSTEMERROR";
    RUNTIME_INCONSISTENCY = -2, "RUNTIMEINCONSISTENCY";
    DATA_INCONSISTENCY = -3, "DATAINCONSISTENCY";
    CONNECTION_LOSS = -4, "CONNECTIONLOSS";
    MARSHALLING_ERROR = -5, "MARSHALLINGERROR";
    UNIMPLEMENTED = -6, "UNIMPLEMENTED";
    OPERATION_TIMEOUT = -7, "OPERATIONTIMEOUT";
    BAD_ARGUMENTS = -8, "BADARGUMENTS";
    UNKNOWN_SESSION = -12, "UNKNOWNSESSION";
    NEW_CONFIG_NO_QUORUM = -13, "NEWCONFIGNOQUORUM";
    RECONFIG_IN_PROGRESS = -14, "RECONFIGINPROGRESS";
    API_ERROR = -100, "APIERROR";
    NO_NODE = -101, "NONODE";
    NO_AUTH = -102, "NOAUTH";
    BAD_VERSION = -103, "BADVERSION";
    NO_CHILDREN_FOR_EPHEMERALS = -108, "NOCHILDRENFOREPHEMERALS";
    NODE_EXISTS = -110, "NODEEXISTS";
    NOT_EMPTY = -111, "NOTEMPTY";
    SESSION_EXPIRED = -112, "SESSIONEXPIRED";
    INVALID_CALLBACK = -113, "INVALIDCALLBACK";
    INVALID_ACL = -114, "INVALIDACL";
    AUTH_FAILED = -115, "AUTHFAILED";
    SESSION_MOVED = -118, "SESSIONMOVED";
    NOT_READ_ONLY = -119, "NOTREADONLY";
    EPHEMERAL_ON_LOCAL_SESSION = -120, "EPHEMERALONLOCALSESSION";
    NO_WATCHER = -121, "NOWATCHER";
    REQUEST_TIMEOUT = -122, "REQUESTTIMEOUT";
    RECONFIG_DISABLED = -123, "RECONFIGDISABLED";
    SESSION_CLOSED_REQUIRE_SASL_AUTH = -124, "SESSIONCLOSEDREQUIRESASLAUTH";
    QUOTA_EXCEEDED = -125, "QUOTAEXCEEDED";
    THROTTLED_OP = -127, "THROTTLEDOP";
}

impl ErrorCode {
    /// True for [`ErrorCode::OK`].
    pub fn is_ok(self) -> bool {
        self == ErrorCode::OK
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "error {}", self.0),
        }
    }
}
