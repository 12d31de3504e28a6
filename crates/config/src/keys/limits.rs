//! Bounds that protect the server from its clients, and the clients from each other: sizes,
//! numbers of connections and requests, throttles, quotas, the pace of the reaper.

use super::{INT, Key, Kind, LONG, derived, from, key};

/// Why nothing is said of requests that wait: what the server has no room for is not read.
const UNREAD: &str = "requests wait in the client's socket, not in a queue of the server";

const RATIO: Kind = Kind::Real { min: 0.0, max: 1.0 };

pub(super) const KEYS: &[Key] = &[
    key(
        "jute.maxbuffer",
        Kind::Int { min: 128, max: i32::MAX as i64 },
        "1048575",
        "The largest request a client may send.",
    )
    .unit("bytes")
    .as_system_property(),
    derived(
        "jute.maxbuffer.extrasize",
        INT,
        "jute.maxbuffer",
        "Room beyond jute.maxbuffer for what is read from disk and peers; 1024 is the least.",
    )
    .unit("bytes"),
    key("maxClientCnxns", INT, "60", "Connections from one address, at most; 0 means no limit.")
        .in_file(),
    key("maxCnxns", INT, "0", "Connections altogether, at most; 0 means no limit."),
    key(
        "globalOutstandingLimit",
        from(0),
        "1000",
        "Requests under way above which the server stops reading from busy connections.",
    )
    .unit("requests"),
    key(
        "largeRequestMaxBytes",
        INT,
        "104857600",
        "Large requests under way, at most; one beyond it costs its connection.",
    )
    .unit("bytes"),
    key(
        "largeRequestThreshold",
        INT,
        "-1",
        "Size from which a request counts as large; -1 for none.",
    )
    .unit("bytes"),
    key(
        "connection_throttle_tokens",
        from(0),
        "0",
        "Connections that may be opened in a burst; 0 turns the throttle off.",
    )
    .also(&["connectionMaxTokens"]),
    key("connection_throttle_fill_time", from(1), "1", "Time in which the burst allowance grows.")
        .also(&["connectionTokenFillTime"])
        .unit("ms"),
    key("connection_throttle_fill_count", from(1), "1", "By how much the burst allowance grows.")
        .also(&["connectionTokenFillCount"]),
    key(
        "connection_throttle_freeze_time",
        from(-1),
        "-1",
        "Time between changes of the dropping probability; -1 turns random dropping off.",
    )
    .also(&["connectionFreezeTime"])
    .unit("ms"),
    key(
        "connection_throttle_drop_increase",
        RATIO,
        "0.02",
        "Growth of the dropping probability while no allowance is left.",
    )
    .also(&["connectionDropIncrease"]),
    key(
        "connection_throttle_drop_decrease",
        RATIO,
        "0.002",
        "Fall of the dropping probability once there is allowance again.",
    )
    .also(&["connectionDropDecrease"]),
    key(
        "connection_throttle_decrease_ratio",
        RATIO,
        "0",
        "Used share of the allowance below which the dropping probability falls.",
    )
    .also(&["connectionDecreaseRatio"]),
    key(
        "connection_throttle_weight_enabled",
        Kind::Bool,
        "false",
        "Charges new, local and renewed sessions differently against the burst allowance.",
    ),
    key("connection_throttle_global_session_weight", INT, "3", "What a new session is charged."),
    key("connection_throttle_local_session_weight", INT, "1", "What a local session is charged."),
    key("connection_throttle_renew_session_weight", INT, "2", "What a renewed session is charged."),
    key(
        "request_throttle_max_requests",
        from(0),
        "0",
        "Requests under way above which busy connections are not read from; 0 for none.",
    )
    .also(&["requestThrottleLimit"]),
    key(
        "request_throttle_stall_time",
        from(1),
        "100",
        "How long a held-back request waits before room is looked for again.",
    )
    .also(&["requestThrottleStallTime"])
    .unit("ms")
    .no_meaning(UNREAD),
    key("request_throttle_drop_stale", Kind::Bool, "true", "Drops held-back requests gone stale.")
        .also(&["requestThrottleDropStale"])
        .no_meaning(UNREAD),
    key(
        "request_stale_latency_check",
        Kind::Bool,
        "false",
        "Counts a request as stale once it has waited longer than its session's timeout.",
    )
    .also(&["requestStaleLatencyCheck"])
    .no_meaning(UNREAD),
    key(
        "request_stale_connection_check",
        Kind::Bool,
        "true",
        "Counts a request as stale once its connection is closed.",
    )
    .also(&["requestStaleConnectionCheck"])
    .no_meaning(UNREAD),
    key(
        "throttled_op_wait_time",
        from(0),
        "0",
        "A request that has waited longer is answered with THROTTLEDOP; 0 turns that off.",
    )
    .also(&["throttledOpWaitTime"])
    .unit("ms")
    .no_meaning(UNREAD),
    key(
        "request_throttler.shutdownTimeout",
        from(0),
        "10000",
        "How long a stopping server gives accepted requests to be answered.",
    )
    .unit("ms"),
    key("enforceQuota", Kind::Bool, "false", "Makes hard quotas refuse writes."),
    key(
        "extendedTypesEnabled",
        Kind::Bool,
        "false",
        "Allows znodes with a time to live, on which the ephemeral owner is then understood.",
    ),
    key("emulate353TTLNodes", Kind::Bool, "false", "Reads TTL znodes in the layout of 3.5.3."),
    key(
        "znode.container.checkIntervalMs",
        from(1),
        "60000",
        "Time between searches for empty containers and expired znodes.",
    )
    .unit("ms")
    .as_system_property(),
    key(
        "znode.container.maxPerMinute",
        from(1),
        "10000",
        "Empty containers and expired znodes removed in a minute, at most.",
    )
    .as_system_property(),
    key(
        "znode.container.maxNeverUsedIntervalMs",
        LONG,
        "0",
        "Age at which a container that never had a child is removed; 0 keeps it, as 3.9 does.",
    )
    .unit("ms")
    .as_system_property(),
];
