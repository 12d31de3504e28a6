//! The handshake that opens a session, and the frames that carry everything.

use crate::codec::{DecodeError, Put, Reader, patch_int};
use crate::ids::{SessionId, Zxid};

/// The first frame of a client (`ConnectRequest`). It has no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectRequest<'a> {
    /// Always 0; ignored.
    pub protocol_version: i32,
    /// The newest zxid the client has seen anywhere.
    pub last_zxid_seen: Zxid,
    /// The session timeout it asks for, ms.
    pub timeout_ms: i32,
    /// The session to renew, or [`SessionId::NONE`].
    pub session: SessionId,
    /// The session's password.
    pub password: Option<&'a [u8]>,
    /// Whether a read-only server will do; clients before 3.4 do not send the byte at all, and are
    /// answered without it (`ProtocolManager`).
    pub read_only: Option<bool>,
}

impl<'a> ConnectRequest<'a> {
    /// Decodes the record.
    pub fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(ConnectRequest {
            protocol_version: reader.i32()?,
            last_zxid_seen: Zxid(reader.i64()?),
            timeout_ms: reader.i32()?,
            session: SessionId(reader.i64()?),
            password: reader.buffer()?,
            read_only: if reader.is_empty() { None } else { Some(reader.bool()?) },
        })
    }

    /// Appends the record.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_int(self.protocol_version);
        out.put_long(self.last_zxid_seen.0);
        out.put_int(self.timeout_ms);
        out.put_long(self.session.0);
        out.put_buffer(self.password);
        if let Some(read_only) = self.read_only {
            out.put_bool(read_only);
        }
    }
}

/// The answer to the handshake (`ConnectResponse`). It has no header either.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectResponse {
    /// The negotiated timeout, ms; 0 tells the client that its session is gone.
    pub timeout_ms: i32,
    /// The session, 0 if refused.
    pub session: SessionId,
    /// Its password, zeros if refused.
    pub password: [u8; 16],
    /// Whether this server is read-only; sent only to a client that sent the byte.
    pub read_only: Option<bool>,
}

impl ConnectResponse {
    /// A granted session.
    pub fn granted(session: SessionId, timeout_ms: i32, read_only: Option<bool>) -> Self {
        ConnectResponse { timeout_ms, session, password: session.password(), read_only }
    }

    /// The refusal that clients report as "session expired".
    pub fn refused(read_only: Option<bool>) -> Self {
        ConnectResponse { timeout_ms: 0, session: SessionId::NONE, password: [0; 16], read_only }
    }

    /// Appends the record.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_int(0);
        out.put_int(self.timeout_ms);
        out.put_long(self.session.0);
        out.put_buffer(Some(&self.password));
        if let Some(read_only) = self.read_only {
            out.put_bool(read_only);
        }
    }

    /// Decodes the record.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.i32()?;
        let timeout_ms = reader.i32()?;
        let session = SessionId(reader.i64()?);
        let mut password = [0; 16];
        let sent = reader.buffer()?.unwrap_or(&[]);
        let len = sent.len().min(16);
        password[..len].copy_from_slice(&sent[..len]);
        let read_only = if reader.is_empty() { None } else { Some(reader.bool()?) };
        Ok(ConnectResponse { timeout_ms, session, password, read_only })
    }
}

/// A frame that no server accepts: the connection is closed without a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("frame of {len} bytes, at most {max} are accepted (jute.maxbuffer)")]
pub struct FrameTooLarge {
    /// The length announced; it may be negative.
    pub len: i32,
    /// The bound in force.
    pub max: usize,
}

/// A frame's content and the bytes behind it.
pub type FrameAndRest<'a> = (&'a [u8], &'a [u8]);

/// Splits the first whole frame off `bytes`: `Ok(None)` means more bytes are needed.
#[inline]
pub fn split_frame(bytes: &[u8], max: usize) -> Result<Option<FrameAndRest<'_>>, FrameTooLarge> {
    let Some((head, rest)) = bytes.split_first_chunk::<4>() else { return Ok(None) };
    let len = i32::from_be_bytes(*head);
    if len < 0 || len as usize > max {
        return Err(FrameTooLarge { len, max });
    }
    Ok(rest.split_at_checked(len as usize))
}

/// Starts a frame in `out`; hand the result to [`end_frame`].
#[inline]
pub fn begin_frame(out: &mut Vec<u8>) -> usize {
    out.put_int(0);
    out.len()
}

/// Ends the frame that [`begin_frame`] started by filling in its length.
#[inline]
pub fn end_frame(out: &mut [u8], start: usize) {
    let len = (out.len() - start) as i32;
    patch_int(out, start - 4, len);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_missing_byte_of_old_clients_is_mirrored() {
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: Zxid(0),
            timeout_ms: 30000,
            session: SessionId::NONE,
            password: Some(&[0; 16]),
            read_only: None,
        };
        let mut out = Vec::new();
        request.encode(&mut out);
        assert_eq!(out.len(), 44);
        assert_eq!(ConnectRequest::decode(&mut Reader::new(&out)).unwrap(), request);
        let mut reply = Vec::new();
        ConnectResponse::refused(None).encode(&mut reply);
        assert_eq!(reply.len(), 36);
        ConnectResponse::refused(Some(false)).encode(&mut reply);
        assert_eq!(reply.len(), 36 + 37);
    }

    #[test]
    fn frames_split_at_their_length_and_not_before() {
        let mut out = Vec::new();
        let start = begin_frame(&mut out);
        out.extend_from_slice(b"abc");
        end_frame(&mut out, start);
        out.push(9);
        assert_eq!(split_frame(&out[..6], 10), Ok(None));
        assert_eq!(split_frame(&out, 10), Ok(Some((&b"abc"[..], &[9u8][..]))));
        assert_eq!(split_frame(&out, 2), Err(FrameTooLarge { len: 3, max: 2 }));
        assert!(split_frame(&[0xff; 4], 10).is_err());
    }
}
