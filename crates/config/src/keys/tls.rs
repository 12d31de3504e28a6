//! TLS, towards clients (`ssl.`) and between servers (`ssl.quorum.`): the same settings twice, so
//! the rows are written once and doubled.

use super::{INT, Key, Kind, derived, key, unset};

const LATER: &str = "TLS is not supported yet";

/// The rows of a setting that exists for the client port and for the servers' ports, followed by
/// the rows that exist once.
macro_rules! rows {
    (
        $([$build:ident $name:literal $(.$mark:ident())?: $($rest:expr),+],)+
        once: $($row:expr,)+
    ) => {
        &[
            $($build(concat!("ssl.", $name), $($rest),+)$(.$mark())?.later(LATER),)+
            $($build(concat!("ssl.quorum.", $name), $($rest),+)$(.$mark())?.later(LATER),)+
            $($row.later(LATER),)+
        ]
    };
}

pub(super) const KEYS: &[Key] = rows![
    [unset "keyStore.location": Kind::Path, "File with the server's key and certificate."],
    [unset "keyStore.password".secret(): Kind::Text, "Password of the key store."],
    [unset "keyStore.passwordPath": Kind::Path, "File with the password of the key store."],
    [derived "keyStore.type": Kind::Text, "by file name", "Format of the key store."],
    [unset "trustStore.location": Kind::Path, "File with the certificates trusted."],
    [unset "trustStore.password".secret(): Kind::Text, "Password of the trust store."],
    [unset "trustStore.passwordPath": Kind::Path, "File with the password of the trust store."],
    [derived "trustStore.type": Kind::Text, "by file name", "Format of the trust store."],
    [derived "protocol": Kind::Text, "TLSv1.3 where available", "Protocol to speak."],
    [derived "enabledProtocols": Kind::Text, "the protocol", "Protocols accepted."],
    [derived "ciphersuites": Kind::Text, "a fixed list", "Cipher suites accepted."],
    [key "hostnameVerification": Kind::Bool, "true", "Compares a certificate's host names."],
    [derived "clientHostnameVerification":
        Kind::Bool, "true between servers, false for clients", "Checks host names of callers."],
    [key "allowReverseDnsLookup": Kind::Bool, "false", "Lets reverse DNS name a peer."],
    [derived "crl": Kind::Bool, "the JVM's", "Checks revocation lists."],
    [derived "ocsp": Kind::Bool, "the JVM's", "Asks online whether a certificate is revoked."],
    [key "clientAuth": Kind::Text, "need", "Whether callers must show a certificate."],
    [unset "context.supplier.class": Kind::Text, "Java class that makes TLS contexts."],
    [key "handshakeDetectionTimeoutMillis": INT, "5000", "Wait for a connection's first bytes."],
    once:
    key("ssl.sslProvider", Kind::Text, "JDK", "TLS library of the client port."),
    key("fips-mode", Kind::Bool, "true", "Keeps to what FIPS allows."),
    key("client.portUnification", Kind::Bool, "false", "Takes TLS and plain text on one port."),
    key("client.certReload", Kind::Bool, "false", "Reloads certificates that change on disk."),
    key("sslQuorum", Kind::Bool, "false", "Speaks TLS between servers.").in_file(),
    key("portUnification", Kind::Bool, "false", "Takes TLS and plain text.").in_file(),
    key("sslQuorumReloadCertFiles", Kind::Bool, "false", "Reloads the servers' certificates.")
        .in_file(),
];
