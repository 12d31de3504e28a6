//! createSession and closeSession: the transactions that begin and end a session.
//!
//! The end lists the ephemerals it removes, so that every member removes the same ones even if a
//! follower's tree is behind; and because it must always be possible to end a session, the list is
//! the one thing here that may be left out.

use super::*;

impl Overlay {
    /// Appends the beginning of a session with its negotiated timeout.
    pub fn prep_create_session(
        &mut self,
        tree: &Tree,
        rules: &Rules,
        ctx: &PrepContext<'_>,
        timeout_ms: i32,
        out: &mut Vec<u8>,
    ) -> Prepared {
        self.payload(tree, rules, ctx, OpCode::CREATE_SESSION, out, |prep| {
            prep.out.put_int(timeout_ms);
            Ok(())
        })
    }

    /// Appends the end of `session` with all its ephemerals, those on their way included. It is
    /// never refused: a session that nobody knows ends too, and one with more ephemerals than an
    /// entry holds is written without the list and without a digest, for whoever applies it then
    /// takes its own list.
    pub fn prep_close_session(
        &mut self,
        tree: &Tree,
        rules: &Rules,
        ctx: &PrepContext<'_>,
        session: SessionId,
        out: &mut Vec<u8>,
    ) -> Prepared {
        self.begin(tree, rules.digest_enabled);
        let ctx = PrepContext { session, ..*ctx };
        let start = out.len();
        header(&ctx, OpCode::CLOSE_SESSION).encode(out);
        let list = out.len();
        out.put_int(0);
        let mut count = 0;
        let mut listed = rules.close_session_txn;
        self.delete_ephemerals(tree, session, ctx.zxid, |path| {
            count += 1;
            listed &=
                out.len() - start + 4 + path.len() + TxnDigest::BYTES <= rules.entry_bytes_max;
            if listed {
                out.put_string(path);
            }
        });
        if listed {
            patch_int(out, list, count);
            if rules.digest_enabled {
                self.put_digest(out);
            }
        } else {
            out.truncate(list);
        }
        Prepared { op: OpCode::CLOSE_SESSION, error: ErrorCode::OK, multi_failure: ErrorCode::OK }
    }
}
