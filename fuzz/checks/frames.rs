//! What a client port does with a stream of bytes: four-letter word, handshake, frames.
//!
//! Holds whatever comes: nothing panics, the cutter only ever takes bytes that are there and within
//! the limit, and cutting a stream in two places finds the same frames as cutting it in one.

use oxkeeper_proto::connect::{ConnectRequest, split_frame};
use oxkeeper_proto::limits::FRAME_BYTES_MAX_DEFAULT;
use oxkeeper_proto::request::RequestHeader;
use oxkeeper_proto::{AdminWord, Reader, Request};

/// Small enough that inputs reach beyond it.
const FRAME_BYTES_MAX: usize = 512;

/// One stream, from its first byte on.
pub fn run(data: &[u8]) {
    if data.first_chunk::<4>().is_some_and(|first| AdminWord::from_bytes(*first).is_some()) {
        assert!(split_frame(&data[..4], FRAME_BYTES_MAX_DEFAULT).is_err(), "a word and a length");
        return;
    }
    let mut rest = data;
    let mut first = true;
    while let Ok(Some((frame, behind))) = split_frame(rest, FRAME_BYTES_MAX) {
        assert!(frame.len() <= FRAME_BYTES_MAX);
        assert_eq!(frame.len() + behind.len() + 4, rest.len());
        let early = &rest[..rest.len() - behind.len() - 1];
        assert_eq!(split_frame(early, FRAME_BYTES_MAX), Ok(None), "a frame that is not there yet");
        if first {
            handshake(frame);
            first = false;
        } else {
            request(frame);
        }
        rest = behind;
    }
}

fn handshake(frame: &[u8]) {
    if let Ok(connect) = ConnectRequest::decode(&mut Reader::new(frame)) {
        let mut out = Vec::new();
        connect.encode(&mut out);
        assert_eq!(ConnectRequest::decode(&mut Reader::new(&out)), Ok(connect));
    }
}

fn request(frame: &[u8]) {
    let mut reader = Reader::new(frame);
    if let Ok(header) = RequestHeader::decode(&mut reader) {
        let mut out = Vec::new();
        header.encode(&mut out);
        assert_eq!(out, frame[..out.len()]);
        let _ = Request::decode(header.op, &mut reader);
    }
}
