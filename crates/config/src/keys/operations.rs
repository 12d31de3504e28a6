//! Watching the server: admin HTTP, metrics, audit, path statistics. Each row says what serves
//! the same need until it takes effect.

use super::{INT, Key, Kind, PORT, derived, key, unset};

const NO_ADMIN: &str = "the HTTP admin server is not supported yet; four-letter words are";
const NO_EXPORTER: &str = "the metrics exporter is not supported yet; mntr shows the metrics";

pub(super) const KEYS: &[Key] = &[
    key("admin.enableServer", Kind::Text, "true", "Runs the HTTP admin server.").later(NO_ADMIN),
    key("admin.serverAddress", Kind::Text, "0.0.0.0", "Address of the admin server.")
        .later(NO_ADMIN),
    key("admin.serverPort", PORT, "8080", "Port of the admin server.").later(NO_ADMIN),
    key("admin.idleTimeout", INT, "30000", "Idle time of an admin connection.")
        .unit("ms")
        .later(NO_ADMIN),
    key("admin.commandURL", Kind::Text, "/commands", "Path of the admin commands.").later(NO_ADMIN),
    key("admin.httpVersion", INT, "11", "HTTP version of the admin server.").later(NO_ADMIN),
    key("admin.portUnification", Kind::Bool, "false", "Serves HTTP and HTTPS on one admin port.")
        .later(NO_ADMIN),
    key("admin.forceHttps", Kind::Bool, "false", "Refuses plain HTTP on the admin port.")
        .later(NO_ADMIN),
    key("admin.needClientAuth", Kind::Bool, "false", "Asks admin clients for a certificate.")
        .later(NO_ADMIN),
    key("admin.snapshot.enabled", Kind::Bool, "true", "Allows snapshots over HTTP.")
        .later(NO_ADMIN),
    key("admin.restore.enabled", Kind::Bool, "true", "Allows restores over HTTP.").later(NO_ADMIN),
    key("admin.rateLimiterIntervalInMS", INT, "300000", "Least time between two admin snapshots.")
        .unit("ms")
        .later(NO_ADMIN),
    key(
        "metricsProvider.className",
        Kind::Text,
        "org.apache.zookeeper.metrics.impl.DefaultMetricsProvider",
        "Java class that publishes the metrics.",
    )
    .in_file()
    .later(NO_EXPORTER),
    key("metricsProvider.httpHost", Kind::Text, "0.0.0.0", "Address of the Prometheus exporter.")
        .in_file()
        .later(NO_EXPORTER),
    key("metricsProvider.httpPort", Kind::Text, "7000", "Port of the Prometheus exporter.")
        .in_file()
        .later(NO_EXPORTER),
    unset("metricsProvider.httpsPort", Kind::Text, "TLS port of the Prometheus exporter.")
        .in_file()
        .later(NO_EXPORTER),
    key("metricsProvider.exportJvmInfo", Kind::Text, "true", "Exports figures of the JVM too.")
        .in_file()
        .no_meaning("there is no JVM"),
    key("metricsProvider.numWorkerThreads", Kind::Text, "1", "Threads that record metrics.")
        .in_file()
        .no_meaning("recording a metric takes no thread here"),
    key(
        "metricsProvider.maxQueueSize",
        Kind::Text,
        "1000000",
        "Measurements waiting to be recorded.",
    )
    .in_file()
    .no_meaning("recording a metric takes no queue here"),
    key(
        "metricsProvider.workerShutdownTimeoutMs",
        Kind::Text,
        "1000",
        "Wait for the metric threads.",
    )
    .unit("ms")
    .in_file()
    .no_meaning("recording a metric takes no thread here"),
    unset("metricsProvider.*", Kind::Text, "Any further setting of the metrics provider.")
        .in_file()
        .later(NO_EXPORTER),
    key(
        "prometheusMetricsSummaryRotateIntervalSeconds",
        INT,
        "60",
        "Window of the exporter's summaries.",
    )
    .unit("s")
    .later(NO_EXPORTER),
    key("audit.enable", Kind::Bool, "false", "Writes an audit log.")
        .later("no audit log is written yet"),
    derived("audit.impl.class", Kind::Text, "Slf4jAuditLogger", "Java class of the audit log.")
        .no_meaning("Java classes cannot be loaded"),
    key("pathStats.enabled", Kind::Bool, "false", "Logs the busiest paths.").later(PATHS),
    key("pathStats.slotCapacity", INT, "60", "Time slots the path statistics span.").later(PATHS),
    key("pathStats.slotDuration", INT, "15", "Length of a slot.").unit("s").later(PATHS),
    key("pathStats.maxDepth", INT, "6", "Depth to which paths are told apart.").later(PATHS),
    key("pathStats.sampleRate", Kind::Text, "0.1", "Share of requests counted.").later(PATHS),
    key("pathStats.initialDelay", INT, "5", "Wait before the first log line.")
        .unit("min")
        .later(PATHS),
    key("pathStats.delay", INT, "5", "Time between log lines.").unit("min").later(PATHS),
    key("pathStats.topPathMax", INT, "20", "Paths per log line.").later(PATHS),
];

const PATHS: &str = "path statistics are not supported yet";
