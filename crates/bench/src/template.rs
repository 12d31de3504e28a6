//! Requests encoded once, with holes for the numbers that change.
//!
//! The generator shares two cores with the server it measures: building a request must cost a copy
//! and a few stores. A template is a whole frame in which runs of eight `#` in a path are holes for
//! a decimal number; stamping copies the frame and fills xid and holes.

use oxkeeper_proto::connect::{begin_frame, end_frame};
use oxkeeper_proto::request::RequestHeader;
use oxkeeper_proto::{OpCode, Request};

/// The hole that [`Template`] looks for in paths.
pub const HOLE: &str = "########";

/// A framed request with holes.
pub struct Template {
    frame: Vec<u8>,
    holes: Vec<usize>,
}

impl Template {
    /// Encodes `request`, whose paths contain [`HOLE`]s and whose data contains none.
    pub fn new(request: &Request<'_>) -> Template {
        let mut body = Vec::new();
        request.encode(&mut body);
        Template::from_body(request.op(), &body)
    }

    /// The same for a body that is encoded already.
    pub fn from_body(op: OpCode, body: &[u8]) -> Template {
        let mut frame = Vec::with_capacity(body.len() + 12);
        let start = begin_frame(&mut frame);
        RequestHeader { xid: 0, op }.encode(&mut frame);
        frame.extend_from_slice(body);
        end_frame(&mut frame, start);
        let mut holes = Vec::new();
        let mut at = 0;
        while at + HOLE.len() <= frame.len() {
            if &frame[at..at + HOLE.len()] == HOLE.as_bytes() {
                holes.push(at);
                at += HOLE.len();
            } else {
                at += 1;
            }
        }
        Template { frame, holes }
    }

    /// Appends the frame with this xid; the n-th hole gets `number(n)`.
    #[inline]
    pub fn stamp(&self, out: &mut Vec<u8>, xid: i32, mut number: impl FnMut(usize) -> u64) {
        let start = out.len();
        out.extend_from_slice(&self.frame);
        out[start + 4..start + 8].copy_from_slice(&xid.to_be_bytes());
        for (n, hole) in self.holes.iter().enumerate() {
            let at = start + hole;
            write_digits(&mut out[at..at + HOLE.len()], number(n));
        }
    }
}

/// Writes the last eight decimal digits of `value`.
#[inline]
fn write_digits(out: &mut [u8], mut value: u64) {
    for digit in out.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oxkeeper_proto::Reader;
    use oxkeeper_proto::connect::split_frame;
    use oxkeeper_proto::request::SetDataRequest;

    #[test]
    fn a_stamped_template_is_the_request_with_its_numbers() {
        let set = |path: &'static str| {
            Request::SetData(SetDataRequest { path: path.into(), data: Some(&[0; 9]), version: -1 })
        };
        let template = Template::new(&set("/b/p########/n########"));
        let mut out = b"before".to_vec();
        template.stamp(&mut out, 77, |hole| [12, 100_345][hole]);
        let (frame, rest) = split_frame(&out[6..], 1000).unwrap().unwrap();
        assert!(rest.is_empty());
        let mut reader = Reader::new(frame);
        let header = RequestHeader::decode(&mut reader).unwrap();
        assert_eq!(header, RequestHeader { xid: 77, op: OpCode::SET_DATA });
        let back = Request::decode(header.op, &mut reader).unwrap().unwrap();
        assert_eq!(back, set("/b/p00000012/n00100345"));
    }
}
