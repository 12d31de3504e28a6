//! The other servers: membership, elections, synchronisation. A standalone server ignores all of
//! it, as ZooKeeper does in the same file.

use super::{INT, Key, Kind, LONG, derived, from, key, unset};

const NO_WAITING: &str = "no thread of the server waits for a socket";
const NO_COPIES: &str = "a server keeps no copy of a request that another one has to answer";
const NODELAY: &str = "connections between servers always carry TCP_NODELAY";
const NO_PROBES: &str = "addresses are connected to, not probed";
const NO_SASL: &str = "servers cannot authenticate each other yet";

pub(super) const KEYS: &[Key] = &[
    unset(
        "server.N",
        Kind::Text,
        "A member: host:port:electionPort[:role][;[address:]clientPort].",
    )
    .in_file(),
    key(
        "standaloneEnabled",
        Kind::Bool,
        "true",
        "Lets a single server line run without quorum machinery.",
    )
    .in_file(),
    unset("dynamicConfigFile", Kind::Path, "File that holds the server lines.").in_file(),
    unset("group.N", Kind::Text, "Servers that form a group of a hierarchical quorum.").in_file(),
    key("weight.N", Kind::Text, "1", "Votes of a server in a hierarchical quorum.").in_file(),
    unset("version", Kind::Text, "Version of the membership, which only dynamic files carry.")
        .in_file(),
    unset("initLimit", INT, "Ticks a follower may take to connect and catch up.")
        .unit("ticks")
        .in_file(),
    unset("syncLimit", INT, "Ticks a follower may lag before it is dropped.")
        .unit("ticks")
        .in_file(),
    derived(
        "connectToLearnerMasterLimit",
        INT,
        "initLimit",
        "Ticks a follower may take to connect after an election.",
    )
    .unit("ticks")
    .in_file(),
    key("electionAlg", Kind::Int { min: 3, max: 3 }, "3", "Election algorithm; one is left.")
        .in_file()
        .no_meaning("there is one way of electing"),
    key(
        "peerType",
        Kind::Choice(&["participant", "observer"]),
        "participant",
        "Whether this server votes.",
    )
    .in_file()
    .no_meaning("the server lines say who votes"),
    key("quorumListenOnAllIPs", Kind::Bool, "false", "Binds the server ports to all interfaces.")
        .in_file(),
    key("leaderServes", Kind::YesNo, "yes", "Whether a leader serves clients."),
    key("quorumCnxnTimeoutMs", INT, "-1", "Read timeout of election connections.").unit("ms"),
    key("electionPortBindRetry", INT, "3", "Attempts at binding the election port; 0: no end."),
    key("fastleader.minNotificationInterval", INT, "200", "First wait for votes.").unit("ms"),
    key("fastleader.maxNotificationInterval", INT, "60000", "Longest wait for votes.").unit("ms"),
    key("leader.maxTimeToWaitForEpoch", INT, "-1", "How long a new leader waits for voters.")
        .also(&["maxTimeToWaitForEpoch"])
        .unit("ms")
        .later("a new leader waits for as long as initLimit allows"),
    key("leader.maxConcurrentSnapSyncs", from(1), "10", "Snapshots sent to followers at a time.")
        .also(&["maxConcurrentSnapSyncs"]),
    key(
        "leader.maxConcurrentDiffSyncs",
        from(1),
        "100",
        "Followers caught up from the log at a time.",
    )
    .also(&["maxConcurrentDiffSyncs"]),
    key("learner.asyncSending", Kind::Bool, "false", "Sends to the leader off-thread.")
        .no_meaning(NO_WAITING),
    key("learner.closeSocketAsync", Kind::Bool, "false", "Closes a follower's socket off-thread.")
        .no_meaning(NO_WAITING),
    key("leader.closeSocketAsync", Kind::Bool, "false", "Closes a leader's sockets off-thread.")
        .no_meaning(NO_WAITING),
    key(
        "forward_learner_requests_to_commit_processor_disabled",
        Kind::Bool,
        "false",
        "Saves the leader the memory of requests that followers track themselves.",
    )
    .no_meaning(NO_COPIES),
    key(
        "follower.skipLearnerRequestToNextProcessor",
        Kind::Bool,
        "false",
        "Saves an observer master the memory of requests that observers track themselves.",
    )
    .no_meaning(NO_COPIES),
    key(
        "leaderConnectDelayDuringRetryMs",
        INT,
        "100",
        "Wait between attempts to reach the leader.",
    )
    .unit("ms"),
    key("leader.ackLoggingFrequency", INT, "1000", "Proposals between two samples of ack latency.")
        .later("every acknowledgement counts in the metrics"),
    key("forceSnapshotSync", Kind::Bool, "false", "Always sends followers a snapshot, for tests."),
    key("leader.nodelay", Kind::Bool, "true", "Sets TCP_NODELAY on the leader's connections.")
        .as_system_property()
        .no_meaning(NODELAY),
    key("follower.nodelay", Kind::Bool, "true", "Sets TCP_NODELAY on a follower's connection.")
        .as_system_property()
        .no_meaning(NODELAY),
    key("tcpKeepAlive", Kind::Bool, "false", "Sets SO_KEEPALIVE on election connections."),
    key("multiAddress.enabled", Kind::Bool, "false", "Allows several addresses per server.")
        .in_file(),
    key(
        "multiAddress.reachabilityCheckTimeoutMs",
        INT,
        "1000",
        "How long a server's address is probed.",
    )
    .unit("ms")
    .in_file()
    .no_meaning(NO_PROBES),
    key("multiAddress.reachabilityCheckEnabled", Kind::Bool, "true", "Probes servers' addresses.")
        .in_file()
        .no_meaning(NO_PROBES),
    unset("oraclePath", Kind::Path, "File by which an outside judge decides for two servers.")
        .in_file()
        .later("an oracle is not supported yet, and refused in an ensemble"),
    key("localSessionsEnabled", Kind::Bool, "false", "Keeps sessions where they are made.")
        .in_file(),
    key(
        "localSessionsUpgradingEnabled",
        Kind::Bool,
        "false",
        "Makes a local session global once it creates an ephemeral znode.",
    )
    .in_file(),
    unset("observerMasterPort", INT, "Port on which followers feed observers.").in_file(),
    key("observerMaster.sizeLimit", INT, "33554432", "Commits an observer master retains.")
        .unit("bytes")
        .no_meaning("an observer is served from what is committed in memory and in the log"),
    key("syncEnabled", Kind::Bool, "true", "Lets an observer keep log and snapshots.")
        .also(&["observer.syncEnabled"])
        .in_file(),
    key("observer.reconnectDelayMs", LONG, "0", "Random wait before an observer reconnects.")
        .unit("ms"),
    key("observer.election.DelayMs", LONG, "200", "Random wait before an observer's election.")
        .unit("ms"),
    key("quorum.auth.enableSasl", Kind::Bool, "false", "Servers use SASL among themselves.")
        .in_file()
        .later(NO_SASL),
    key("quorum.auth.serverRequireSasl", Kind::Bool, "false", "Requires SASL of calling servers.")
        .in_file()
        .later(NO_SASL),
    key("quorum.auth.learnerRequireSasl", Kind::Bool, "false", "Requires SASL of called servers.")
        .in_file()
        .later(NO_SASL),
    key(
        "quorum.auth.learner.saslLoginContext",
        Kind::Text,
        "QuorumLearner",
        "Section of the JAAS file for calling servers.",
    )
    .in_file()
    .later(NO_SASL),
    key(
        "quorum.auth.server.saslLoginContext",
        Kind::Text,
        "QuorumServer",
        "Section of the JAAS file for called servers.",
    )
    .in_file()
    .later(NO_SASL),
    key(
        "quorum.auth.kerberos.servicePrincipal",
        Kind::Text,
        "zkquorum/localhost",
        "Kerberos name of the servers.",
    )
    .in_file()
    .later(NO_SASL),
    key("quorum.cnxn.threads.size", INT, "20", "Threads that authenticate connecting servers.")
        .in_file()
        .no_meaning(NO_WAITING),
    key("messageTracker.Enabled", Kind::Bool, "false", "Remembers the last packets per follower.")
        .later("packets are not remembered"),
    key("messageTracker.BufferSize", INT, "10", "Packets remembered.")
        .later("packets are not remembered"),
    key("cnxTimeout", INT, "5000", "How long calling an election port may take.").unit("ms"),
];
