//! SASL between servers: the exchange that may stand before everything else on both server ports.
//!
//! Whoever opened the connection is the client of the exchange and sends the first token: on the
//! election port behind its hello, on the quorum port as the very first bytes. Without
//! `quorum.auth.serverRequireSasl` the other side looks at eight bytes to see whether an exchange
//! is coming at all: the magic number is neither the length of a message nor the start of a packet
//! (`QuorumAuth`, `QuorumAuthPacket`).

use crate::codec::{DecodeError, Put, Reader};
use crate::limits::QUORUM_AUTH_TOKEN_BYTES_MAX;
use crate::stream::Split;

/// The first eight bytes of every message of the exchange, −0xa0dbcafecafe1234.
pub const MAGIC: i64 = 0x5f24_3501_3501_edcc;

/// How the exchange stands (`QuorumAuth.Status`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AuthStatus {
    /// Another token is expected.
    InProgress,
    /// The server of the exchange is satisfied.
    Success,
    /// It is not; also what an unknown number means.
    Error,
}

/// One message of the exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuorumAuth<'a> {
    /// How the exchange stands.
    pub status: AuthStatus,
    /// The mechanism's token.
    pub token: Option<&'a [u8]>,
}

impl<'a> QuorumAuth<'a> {
    /// Whether the stream begins with an exchange; `None` if there are too few bytes to tell.
    pub fn is_next(bytes: &[u8]) -> Option<bool> {
        let magic = MAGIC.to_be_bytes();
        let seen = bytes.len().min(magic.len());
        match bytes[..seen] == magic[..seen] {
            false => Some(false),
            true => (seen == magic.len()).then_some(true),
        }
    }

    /// Splits the first message off `bytes`.
    ///
    /// # Errors
    /// The bytes are something else, or the token is longer than
    /// [`QUORUM_AUTH_TOKEN_BYTES_MAX`]: close the connection.
    pub fn split(bytes: &'a [u8]) -> Result<Split<'a, QuorumAuth<'a>>, DecodeError> {
        if QuorumAuth::is_next(bytes) == Some(false) {
            let value = bytes.first_chunk::<4>().map_or(0, |first| i32::from_be_bytes(*first));
            return Err(DecodeError::Unknown { what: "magic number of a SASL message", value });
        }
        let mut reader = Reader::with_field_max(bytes, QUORUM_AUTH_TOKEN_BYTES_MAX);
        match QuorumAuth::decode(&mut reader) {
            Ok(message) => Ok(Split::Whole(message, reader.rest())),
            Err(DecodeError::Truncated { needed }) => Ok(Split::Incomplete { needed }),
            Err(error) => Err(error),
        }
    }

    fn decode(reader: &mut Reader<'a>) -> Result<QuorumAuth<'a>, DecodeError> {
        reader.i64()?;
        let status = match reader.i32()? {
            0 => AuthStatus::InProgress,
            1 => AuthStatus::Success,
            _ => AuthStatus::Error,
        };
        Ok(QuorumAuth { status, token: reader.buffer()? })
    }

    /// Appends the message.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_long(MAGIC);
        out.put_int(match self.status {
            AuthStatus::InProgress => 0,
            AuthStatus::Success => 1,
            AuthStatus::Error => -1,
        });
        out.put_buffer(self.token);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_magic_number_tells_an_exchange_from_anything_else_at_the_first_byte_that_differs() {
        let magic = MAGIC.to_be_bytes();
        for seen in 0..8 {
            assert_eq!(QuorumAuth::is_next(&magic[..seen]), None, "{seen} bytes");
        }
        assert_eq!(QuorumAuth::is_next(&magic), Some(true));
        // The first bytes of a notification's length and of FOLLOWERINFO.
        assert_eq!(QuorumAuth::is_next(&[0]), Some(false));
        assert_eq!(MAGIC, -(0xa0db_cafe_cafe_1234_u64 as i64));
    }

    #[test]
    fn no_token_an_empty_one_and_a_full_one_differ() {
        for token in [None, Some(&b""[..]), Some(&b"realm"[..])] {
            let message = QuorumAuth { status: AuthStatus::InProgress, token };
            let mut out = Vec::new();
            message.encode(&mut out);
            assert_eq!(QuorumAuth::split(&out), Ok(Split::Whole(message, &[][..])));
            assert!(matches!(
                QuorumAuth::split(&out[..out.len() - 1]),
                Ok(Split::Incomplete { needed: 1 })
            ));
        }
    }

    #[test]
    fn a_huge_token_is_refused_before_it_comes() {
        let mut out = Vec::new();
        out.put_long(MAGIC);
        out.put_int(0);
        out.put_int(QUORUM_AUTH_TOKEN_BYTES_MAX as i32 + 1);
        assert!(matches!(QuorumAuth::split(&out), Err(DecodeError::Length { .. })));
        assert!(QuorumAuth::split(b"GET / HT").is_err());
    }
}
