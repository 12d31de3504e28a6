//! Where clients connect, how long their sessions live, which four-letter words are answered, and
//! the settings that only this server has.

use super::{INT, Key, Kind, PORT, derived, from, key, unset};

/// Twenty ticks, the default of the longest session, must fit Java's `int`.
const LONGEST_TICK: i64 = i32::MAX as i64 / 20;

pub(super) const KEYS: &[Key] = &[
    unset(
        "clientPort",
        PORT,
        "Port on which clients connect in plain text; 0 lets the system choose.",
    )
    .in_file(),
    derived(
        "clientPortAddress",
        Kind::Text,
        "all interfaces",
        "Address or host name to which the client port is bound.",
    )
    .in_file(),
    derived(
        "clientPortListenBacklog",
        INT,
        "-1, the server's choice",
        "Connections the system may hold before they are accepted; -1 leaves it to the server.",
    )
    .in_file(),
    key("clientTcpKeepAlive", Kind::Bool, "false", "Sets SO_KEEPALIVE on client connections."),
    key(
        "tickTime",
        Kind::Int { min: 1, max: LONGEST_TICK },
        "3000",
        "The unit of session expiry and of the ensemble's timeouts.",
    )
    .unit("ms")
    .in_file(),
    derived(
        "minSessionTimeout",
        from(-1),
        "2 x tickTime",
        "The shortest session timeout a client is granted; -1 is the default.",
    )
    .unit("ms")
    .in_file(),
    derived(
        "maxSessionTimeout",
        from(-1),
        "20 x tickTime",
        "The longest session timeout a client is granted; -1 is the default.",
    )
    .unit("ms")
    .in_file(),
    key(
        "nio.sessionlessCnxnTimeout",
        from(1),
        "10000",
        "How long a connection may stay without asking for a session.",
    )
    .unit("ms"),
    unset("secureClientPort", PORT, "Port on which clients connect with TLS.")
        .in_file()
        .not_yet(&[], "clients that count on TLS could not connect"),
    unset("secureClientPortAddress", Kind::Text, "Address to which the TLS port is bound.")
        .in_file()
        .not_yet(&[], "it names a TLS port, which this version does not open"),
    derived(
        "oxkeeper.ioThreads",
        Kind::Int { min: 1, max: 1024 },
        "from the number of CPUs",
        "Threads that serve client connections.",
    )
    .own(),
    key(
        "4lw.commands.whitelist",
        Kind::Text,
        "srvr",
        "Four-letter words that are answered, separated by commas; * allows all.",
    ),
    key(
        "readonlymode.enabled",
        Kind::Bool,
        "false",
        "Allows the word isro, and lets a server without a quorum serve reads.",
    )
    .as_system_property(),
    key(
        "reconfigEnabled",
        Kind::Bool,
        "false",
        "Allows reconfig; a standalone server refuses it as disabled, or else as unimplemented.",
    )
    .in_file(),
];
