//! Bounds of the wire and file formats, each with its reason. A reader is given its bound by
//! whoever knows the configuration; these are the defaults and the ceilings.

/// `jute.maxbuffer`: the largest frame a server accepts, Java's default (1 MiB − 1).
pub const FRAME_BYTES_MAX_DEFAULT: usize = 0xf_ffff;

/// The largest single string or buffer: `jute.maxbuffer` plus
/// `zookeeper.jute.maxbuffer.extrasize`, which defaults to the same size. A transaction is a little
/// larger than the request it came from; without the slack a server could not read its own log.
pub const FIELD_BYTES_MAX_DEFAULT: usize = 2 * FRAME_BYTES_MAX_DEFAULT;

/// Operations in one multi. Java has no bound but the frame; an operation takes at least 17 bytes
/// of it, so this is what the largest frame we can be configured to accept (256 MiB) could hold.
pub const MULTI_OPS_MAX: usize = (256 << 20) / 17;

/// Largest frame bound that may be configured: lengths are signed 32-bit, and a reply of the same
/// size must still fit beside its headers.
pub const FRAME_BYTES_CEILING: usize = 1 << 30;

/// The longest list of addresses in a hello (`QuorumCnxManager.maxBuffer`).
pub const HELLO_ADDRESSES_BYTES_MAX: usize = 2048;

/// The largest message on the election port (`QuorumCnxManager.PACKETMAXSIZE`).
pub const ELECTION_MESSAGE_BYTES_MAX: usize = 512 << 10;

/// The longest configuration text that a notification can carry. Longer ones must not be accepted
/// from an administrator: their members could never elect.
pub const CONFIG_TEXT_BYTES_MAX: usize = ELECTION_MESSAGE_BYTES_MAX - 44;

/// The identities of one forwarded request, encoded. Java has no bound on their number; a client
/// has one per scheme or `addauth`, a few dozen bytes each.
pub const IDENTITIES_BYTES_MAX: usize = 64 << 10;

/// One token of a SASL exchange between servers (`SaslQuorumAuthServer`; jute's bound there).
/// DIGEST-MD5 takes a few hundred bytes, a Kerberos ticket with many groups some tens of thousand.
pub const QUORUM_AUTH_TOKEN_BYTES_MAX: usize = 256 << 10;
