//! Who may do what: authentication schemes and ACLs. What is not supported yet here fails closed
//! (an unknown scheme matches no ACL), except where a row refuses the start.

use super::{INT, Key, Kind, key, unset};

const NO_SASL: &str = "SASL is not supported yet; clients that try it are refused";
const NO_TLS: &str = "TLS is not supported yet";

pub(super) const KEYS: &[Key] = &[
    key("skipACL", Kind::YesNo, "no", "Lets every client do everything, whatever the ACLs say."),
    key(
        "DigestAuthenticationProvider.enabled",
        Kind::Bool,
        "true",
        "Offers the digest scheme (user and password).",
    ),
    unset(
        "DigestAuthenticationProvider.superDigest",
        Kind::Text,
        "Who may do everything: super: and the base64 of the SHA-1 of super:password.",
    )
    .secret(),
    key(
        "DigestAuthenticationProvider.digestAlg",
        Kind::Text,
        "SHA1",
        "Hash of the digest scheme; it decides whether stored ids still match.",
    )
    .not_yet(&["SHA1", "SHA-1", "SHA"], "passwords would no longer match the ids in stored ACLs"),
    key(
        "enforce.auth.enabled",
        Kind::Bool,
        "false",
        "Refuses all requests of clients that have not authenticated with a listed scheme.",
    ),
    unset(
        "enforce.auth.schemes",
        Kind::Text,
        "Schemes that count when authentication is enforced, separated by commas.",
    ),
    key(
        "sessionRequireClientSASLAuth",
        Kind::Bool,
        "false",
        "Refuses all requests of clients that have not authenticated with SASL.",
    )
    .not_yet(&["false"], "clients would be let in without SASL"),
    key(
        "allowSaslFailedClients",
        Kind::Bool,
        "false",
        "Keeps clients connected whose SASL authentication failed.",
    )
    .later(NO_SASL),
    unset("letAnySaslUserDoX", Kind::Text, "Opens ACLs of one SASL user to all SASL users.")
        .later(NO_SASL),
    key("sasl.serverconfig", Kind::Text, "Server", "Section of the JAAS file that SASL uses.")
        .later(NO_SASL),
    unset("server.realm", Kind::Text, "Kerberos realm of the server.").later(NO_SASL),
    unset("java.security.auth.login.config", Kind::Path, "JAAS file with the SASL settings.")
        .as_system_property()
        .later(NO_SASL),
    unset(
        "SASLAuthenticationProvider.superPassword",
        Kind::Text,
        "Password of the SASL super user.",
    )
    .secret()
    .later(NO_SASL),
    unset("superUser", Kind::Text, "SASL user who may do everything.").later(NO_SASL),
    unset("superUser.N", Kind::Text, "Further SASL users who may do everything.").later(NO_SASL),
    key(
        "kerberos.removeHostFromPrincipal",
        Kind::Bool,
        "false",
        "Leaves the host out of Kerberos names.",
    )
    .later(NO_SASL),
    key(
        "kerberos.removeRealmFromPrincipal",
        Kind::Bool,
        "false",
        "Leaves the realm out of Kerberos names.",
    )
    .later(NO_SASL),
    key(
        "kerberos.canonicalizeHostNames",
        Kind::Bool,
        "false",
        "Turns host names into canonical ones before Kerberos sees them.",
    )
    .later(NO_SASL),
    key("kerberos.minReLoginTimeMs", INT, "60000", "Least time between two Kerberos logins.")
        .unit("ms")
        .later(NO_SASL),
    key(
        "security.auth_to_local",
        Kind::Text,
        "DEFAULT",
        "Rules that turn Kerberos names into user names.",
    )
    .later(NO_SASL),
    unset(
        "requireKerberosConfig",
        Kind::Bool,
        "Refuses to start without a Kerberos configuration.",
    )
    .later(NO_SASL),
    key("kinit", Kind::Path, "/usr/bin/kinit", "Command that renews Kerberos tickets.")
        .later(NO_SASL),
    unset(
        "X509AuthenticationProvider.superUser",
        Kind::Text,
        "Certificate subject with all rights.",
    )
    .later(NO_TLS),
    key("ssl.authProvider", Kind::Text, "x509", "Scheme that checks client certificates.")
        .later(NO_TLS),
    unset("authProvider.N", Kind::Text, "Java class of a further authentication scheme.").later(
        "Java classes cannot be loaded; of the schemes, world, auth, digest and ip are built in, \
         others are refused and match no ACL",
    ),
    unset("ensembleAuthName", Kind::Text, "Names under which clients may address this ensemble.")
        .later("the ensemble scheme is not supported yet; clients that use it are refused"),
    key(
        "IPAuthenticationProvider.usexforwardedfor",
        Kind::Bool,
        "false",
        "Takes an HTTP client's address from X-Forwarded-For.",
    )
    .later("it concerns the HTTP admin server, which is not supported yet"),
    key(
        "enableEagerACLCheck",
        Kind::Bool,
        "false",
        "Checks ACLs on the client's server before a write travels to the leader.",
    )
    .later("the leader alone checks the ACLs of a write"),
];
