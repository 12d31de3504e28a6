//! What is sent: each kind of traffic decides its next request and reads its own replies.

pub mod bulk;
pub mod churn;
pub mod lock;
pub mod mix;
pub mod sweep;
pub mod watch;

use oxkeeper_proto::ErrorCode;

/// The outcome of a multi: its header says OK even when it failed, and every result of a failed one
/// is an error record, the real code among zeroes before it and −2 behind it.
pub(crate) fn multi_outcome(err: ErrorCode, body: &[u8]) -> ErrorCode {
    const RESULT_HEADER: usize = 9;
    let is_error = |at: usize| body.get(at..at + 4) == Some(&(-1_i32).to_be_bytes()[..]);
    if !err.is_ok() || !is_error(0) || body.get(4) == Some(&1) {
        return err;
    }
    let mut at = 0;
    while is_error(at) && body.get(at + 4) == Some(&0) {
        let Some(code) = body.get(at + RESULT_HEADER..at + RESULT_HEADER + 4) else { break };
        let code = i32::from_be_bytes([code[0], code[1], code[2], code[3]]);
        if code != 0 {
            return ErrorCode(code);
        }
        at += RESULT_HEADER + 4;
    }
    ErrorCode::RUNTIME_INCONSISTENCY
}

#[cfg(test)]
mod tests {
    use super::*;
    use oxkeeper_proto::OpCode;
    use oxkeeper_proto::Put;
    use oxkeeper_proto::request::MultiHeader;

    fn results(codes: &[i32]) -> Vec<u8> {
        let mut body = Vec::new();
        for &err in codes {
            MultiHeader { op: OpCode(-1), done: false, err }.encode(&mut body);
            body.put_int(err);
        }
        MultiHeader::END.encode(&mut body);
        body
    }

    #[test]
    fn a_failed_multi_is_found_behind_its_friendly_header() {
        let no_node = ErrorCode::NO_NODE;
        assert_eq!(multi_outcome(ErrorCode::OK, &results(&[no_node.0, -2, -2])), no_node);
        assert_eq!(multi_outcome(ErrorCode::OK, &results(&[0, no_node.0, -2])), no_node);
        assert_eq!(multi_outcome(ErrorCode::OK, &results(&[])), ErrorCode::OK);
        let mut fine = Vec::new();
        MultiHeader { op: OpCode::DELETE, done: false, err: 0 }.encode(&mut fine);
        MultiHeader::END.encode(&mut fine);
        assert_eq!(multi_outcome(ErrorCode::OK, &fine), ErrorCode::OK);
        assert_eq!(multi_outcome(no_node, &[]), no_node);
    }
}
