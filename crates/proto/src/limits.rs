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
