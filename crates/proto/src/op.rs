//! Operation numbers and create modes. Numbers are open, because any may arrive; modes are closed,
//! because what is no mode is an error at once.

use std::fmt;

use crate::codec::DecodeError;

/// The number that names an operation, open: any value may arrive (`ZooDefs.OpCode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpCode(pub i32);

macro_rules! op_codes {
    ($($name:ident = $value:literal, $camel:literal, $short:literal;)*) => {
        #[allow(missing_docs)]
        impl OpCode {
            $(pub const $name: OpCode = OpCode($value);)*

            /// ZooKeeper's name of the operation, `None` for a number it does not know.
            pub fn name(self) -> Option<&'static str> {
                match self { $(OpCode::$name => Some($camel),)* _ => None }
            }

            /// The four to six capitals that `cons` and `stat` print (`Request.op2String`).
            pub fn short_name(self) -> &'static str {
                match self { $(OpCode::$name => $short,)* _ => "UNKNOWN" }
            }

            /// Every number ZooKeeper 3.9 knows.
            pub const ALL: &'static [OpCode] = &[$(OpCode::$name),*];
        }
    };
}

op_codes! {
    NOTIFICATION = 0, "notification", "NOTI";
    CREATE = 1, "create", "CREA";
    DELETE = 2, "delete", "DELE";
    EXISTS = 3, "exists", "EXIS";
    GET_DATA = 4, "getData", "GETD";
    SET_DATA = 5, "setData", "SETD";
    GET_ACL = 6, "getACL", "GETA";
    SET_ACL = 7, "setACL", "SETA";
    GET_CHILDREN = 8, "getChildren", "GETC";
    SYNC = 9, "sync", "SYNC";
    PING = 11, "ping", "PING";
    GET_CHILDREN2 = 12, "getChildren2", "GETC";
    CHECK = 13, "check", "CHEC";
    MULTI = 14, "multi", "MULT";
    CREATE2 = 15, "create2", "CREA";
    RECONFIG = 16, "reconfig", "RECO";
    CHECK_WATCHES = 17, "checkWatches", "CHKW";
    REMOVE_WATCHES = 18, "removeWatches", "REMW";
    CREATE_CONTAINER = 19, "createContainer", "CREA";
    DELETE_CONTAINER = 20, "deleteContainer", "DELE";
    CREATE_TTL = 21, "createTTL", "CREA";
    MULTI_READ = 22, "multiRead", "MLTR";
    AUTH = 100, "auth", "AUTH";
    SET_WATCHES = 101, "setWatches", "SETW";
    SASL = 102, "sasl", "SASL";
    GET_EPHEMERALS = 103, "getEphemerals", "GETE";
    GET_ALL_CHILDREN_NUMBER = 104, "getAllChildrenNumber", "GETACN";
    SET_WATCHES2 = 105, "setWatches2", "STW2";
    ADD_WATCH = 106, "addWatch", "ADDW";
    WHO_AM_I = 107, "whoAmI", "HOMI";
    CREATE_SESSION = -10, "createSession", "SESS";
    CLOSE_SESSION = -11, "closeSession", "CLOS";
    ERROR = -1, "error", "ERRO";
}

impl fmt::Display for OpCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "unknown {}", self.0),
        }
    }
}

/// What kind of znode a create asks for (`CreateMode`; the `flags` field of the request).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CreateMode {
    /// Stays until deleted.
    Persistent,
    /// Goes with its session.
    Ephemeral,
    /// Persistent, the name completed with the parent's counter.
    PersistentSequential,
    /// Ephemeral, the name completed with the parent's counter.
    EphemeralSequential,
    /// Removed by the server some time after its last child.
    Container,
    /// Removed by the server when childless and unmodified for its time to live.
    PersistentTtl,
    /// The same with a sequential name.
    PersistentSequentialTtl,
}

impl CreateMode {
    /// Decodes the `flags` field.
    pub fn from_flags(flags: i32) -> Result<CreateMode, DecodeError> {
        Ok(match flags {
            0 => CreateMode::Persistent,
            1 => CreateMode::Ephemeral,
            2 => CreateMode::PersistentSequential,
            3 => CreateMode::EphemeralSequential,
            4 => CreateMode::Container,
            5 => CreateMode::PersistentTtl,
            6 => CreateMode::PersistentSequentialTtl,
            value => return Err(DecodeError::Unknown { what: "create mode", value }),
        })
    }

    /// The `flags` field.
    pub fn flags(self) -> i32 {
        match self {
            CreateMode::Persistent => 0,
            CreateMode::Ephemeral => 1,
            CreateMode::PersistentSequential => 2,
            CreateMode::EphemeralSequential => 3,
            CreateMode::Container => 4,
            CreateMode::PersistentTtl => 5,
            CreateMode::PersistentSequentialTtl => 6,
        }
    }

    /// True if the server completes the name.
    pub fn is_sequential(self) -> bool {
        matches!(self.flags(), 2 | 3 | 6)
    }

    /// True if the znode goes with its session.
    pub fn is_ephemeral(self) -> bool {
        matches!(self, CreateMode::Ephemeral | CreateMode::EphemeralSequential)
    }

    /// True if the request must carry a time to live.
    pub fn is_ttl(self) -> bool {
        matches!(self, CreateMode::PersistentTtl | CreateMode::PersistentSequentialTtl)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_round_trip_and_others_are_refused() {
        for flags in 0..=6 {
            assert_eq!(CreateMode::from_flags(flags).unwrap().flags(), flags);
        }
        assert!(CreateMode::from_flags(7).is_err());
        assert!(CreateMode::from_flags(-1).is_err());
    }

    #[test]
    fn names_are_zookeepers() {
        assert_eq!(OpCode::SET_WATCHES2.to_string(), "setWatches2");
        assert_eq!(OpCode::GET_ALL_CHILDREN_NUMBER.short_name(), "GETACN");
        assert_eq!(OpCode(55).to_string(), "unknown 55");
        assert_eq!(OpCode::ALL.len(), 33);
    }
}
