//! One request: header and body, as they lie in a frame.
//!
//! Holds whatever comes: nothing panics, what was decoded encodes to bytes that decode again, and
//! the second time round nothing changes any more. (The first may: broken UTF-8 is repaired, and
//! characters beyond U+FFFF leave as Java writes them and come back repaired.)

use oxkeeper_proto::request::RequestHeader;
use oxkeeper_proto::{Reader, Request};

/// One frame's content.
pub fn run(data: &[u8]) {
    let mut reader = Reader::new(data);
    let Ok(header) = RequestHeader::decode(&mut reader) else { return };
    let Ok(Some(request)) = Request::decode(header.op, &mut reader) else { return };
    assert_eq!(request.op(), header.op);
    walk(&request);
    let mut once = Vec::new();
    request.encode(&mut once);
    let second = decode_again(header, &once);
    let mut twice = Vec::new();
    second.encode(&mut twice);
    assert_eq!(decode_again(header, &twice), second);
}

fn decode_again(header: RequestHeader, bytes: &[u8]) -> Request<'_> {
    let decoded = Request::decode(header.op, &mut Reader::with_field_max(bytes, usize::MAX));
    decoded.expect("our own bytes decode").expect("the number is still known")
}

/// Whatever a request keeps encoded was checked and can be walked to its end.
fn walk(request: &Request<'_>) {
    match request {
        Request::Multi(multi) => assert_eq!(multi.iter().count(), multi.len()),
        Request::MultiRead(multi) => assert_eq!(multi.iter().count(), multi.len()),
        Request::SetWatches(watches) => assert_eq!(watches.data.iter().count(), watches.data.len()),
        _ => {}
    }
}
