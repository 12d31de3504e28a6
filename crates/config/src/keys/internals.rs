//! Settings of Java's threads, queues, caches and test hooks, which have no counterpart here, and
//! a client's settings that end up in a server's command line.

use super::{INT, Key, Kind, LONG, PORT, derived, key, unset};

const IO: &str =
    "I/O threads here are not selectors and workers; oxkeeper.ioThreads sets their number";
const COMMIT: &str = "reads run where their connection is, not in a pool";
const CACHE: &str = "replies are encoded straight from the tree, so there is nothing to cache";
const WATCHES: &str = "there is one watch table, with all kinds of watches and no cleaner threads";
const JVM: &str = "there is no JVM that could pause";
const JMX: &str = "there is no JMX";
const TEST: &str = "it is a hook of ZooKeeper's own tests";
const CLIENT: &str = "it is a client's setting";

pub(super) const KEYS: &[Key] = &[
    derived(
        "serverCnxnFactory",
        Kind::Text,
        "NIOServerCnxnFactory",
        "Java class that serves connections: NIO or Netty.",
    )
    .no_meaning("there is one connection layer"),
    derived("nio.numSelectorThreads", INT, "by CPUs", "Threads that wait for sockets.")
        .no_meaning(IO),
    derived("nio.numWorkerThreads", INT, "2 per CPU", "Threads that read and write sockets.")
        .no_meaning(IO),
    key("nio.directBufferBytes", INT, "65536", "Off-heap buffer per thread.")
        .unit("bytes")
        .no_meaning(IO),
    key("nio.shutdownTimeout", LONG, "5000", "Wait for the I/O threads to end.")
        .unit("ms")
        .no_meaning(IO),
    key("netty.advancedFlowControl.enabled", Kind::Bool, "false", "Reads on demand.")
        .also(&["advancedFlowControlEnabled"])
        .no_meaning("sockets are always read on demand"),
    key("netty.server.outstandingHandshake.limit", INT, "-1", "TLS handshakes at a time.")
        .also(&["outstandingHandshake.limit"])
        .later("TLS is not supported yet"),
    key(
        "netty.server.earlyDropSecureConnectionHandshakes",
        Kind::Bool,
        "false",
        "Drops TLS connections while the server is not serving.",
    )
    .later("TLS is not supported yet"),
    derived("commitProcessor.numWorkerThreads", INT, "one per CPU", "Threads that answer reads.")
        .no_meaning(COMMIT),
    key("commitProcessor.maxReadBatchSize", INT, "-1", "Reads between two commits.")
        .no_meaning(COMMIT),
    key("commitProcessor.maxCommitBatchSize", INT, "1", "Commits between two reads.")
        .no_meaning(COMMIT),
    key("commitProcessor.shutdownTimeout", LONG, "5000", "Wait for the reading threads to end.")
        .unit("ms")
        .no_meaning(COMMIT),
    key("intBufferStartingSizeBytes", INT, "1024", "First size of an encoding buffer.")
        .unit("bytes")
        .no_meaning("buffers are sized by what they hold"),
    key("maxResponseCacheSize", INT, "400", "Encoded getData replies kept.").no_meaning(CACHE),
    key("maxGetChildrenResponseCacheSize", INT, "400", "Encoded getChildren replies kept.")
        .no_meaning(CACHE),
    derived("watchManagerName", Kind::Text, "WatchManager", "Java class that keeps watches.")
        .no_meaning(WATCHES),
    key("watcherCleanThreadsNum", INT, "2", "Threads that remove dead watches.")
        .no_meaning(WATCHES),
    key("watcherCleanThreshold", INT, "1000", "Dead watches before they are removed.")
        .no_meaning(WATCHES),
    key("watcherCleanIntervalInSeconds", INT, "600", "Time between removals of dead watches.")
        .unit("s")
        .no_meaning(WATCHES),
    key("maxInProcessingDeadWatchers", INT, "-1", "Dead watches that may wait for removal.")
        .no_meaning(WATCHES),
    key("bitHashCacheSize", INT, "10", "Cache in the optimized watch manager.").no_meaning(WATCHES),
    key("jvm.pause.monitor", Kind::Bool, "false", "Watches for pauses of the JVM.")
        .in_file()
        .no_meaning(JVM),
    key("jvm.pause.warn-threshold.ms", LONG, "10000", "Pause reported as a warning.")
        .unit("ms")
        .in_file()
        .no_meaning(JVM),
    key("jvm.pause.info-threshold.ms", LONG, "1000", "Pause reported at all.")
        .unit("ms")
        .in_file()
        .no_meaning(JVM),
    key("jvm.pause.sleep.time.ms", LONG, "500", "Time between looks for a pause.")
        .unit("ms")
        .in_file()
        .no_meaning(JVM),
    key("jmx.log4j.disable", Kind::Bool, "false", "Leaves log4j out of JMX.").no_meaning(JMX),
    unset("jmx.log4j.mbean", Kind::Text, "Name of log4j's JMX bean.").no_meaning(JMX),
    unset("controllerPort", PORT, "Port that takes fault injections.").no_meaning(TEST),
    unset("testingonly.initialZxid", LONG, "Counter that epochs begin behind, for tests."),
    key("test.allowDiscontinuousProposals", Kind::Bool, "false", "Accepts gaps in the log.")
        .no_meaning(TEST),
    unset("client.secure", Kind::Bool, "Connects with TLS.").no_meaning(CLIENT),
    unset("clientCnxnSocket", Kind::Text, "Java class of a client's connection.")
        .no_meaning(CLIENT),
    unset("request.timeout", LONG, "How long a client waits for a reply.").no_meaning(CLIENT),
    unset("disableAutoWatchReset", Kind::Bool, "Keeps a client from setting watches again.")
        .no_meaning(CLIENT),
    unset("shuffleDnsResponse", Kind::Bool, "Shuffles a client's addresses.").no_meaning(CLIENT),
    unset(
        "hostProvider.dnsSrvRefreshIntervalSeconds",
        INT,
        "Refreshes a client's servers from DNS.",
    )
    .no_meaning(CLIENT),
    unset("server.principal", Kind::Text, "Kerberos name a client expects.").no_meaning(CLIENT),
    unset("sasl.client", Kind::Bool, "Whether a client uses SASL.").no_meaning(CLIENT),
    unset("sasl.client.canonicalize.hostname", Kind::Bool, "Canonical names in a client's SASL.")
        .no_meaning(CLIENT),
    unset("sasl.client.allowReverseDnsLookup", Kind::Bool, "Reverse DNS in a client's SASL.")
        .no_meaning(CLIENT),
    unset("sasl.client.username", Kind::Text, "Kerberos user a client expects.").no_meaning(CLIENT),
    unset("sasl.clientconfig", Kind::Text, "Section of a client's JAAS file.").no_meaning(CLIENT),
];
