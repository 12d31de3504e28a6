//! multi: several operations as one transaction, all or none.
//!
//! Each operation sees those before it. When one fails, what the earlier ones did to the overlay
//! is taken back, their records stay in the transaction as they are, the failing one becomes its
//! error and all later ones RUNTIMEINCONSISTENCY: that is what Java logs, and whoever applies it
//! looks for an error first.

use oxkeeper_proto::request::{CreateRequest, MultiRequest};
use oxkeeper_proto::{CreateMode, MultiOp, Put};

use super::*;

impl Prep<'_, '_> {
    pub(super) fn multi(&mut self, multi: &MultiRequest<'_>) -> Checked {
        self.overlay.begin_multi();
        self.out.put_int(multi.len() as i32);
        for (nth, op) in multi.iter().enumerate() {
            self.overlay.nth = nth as u32;
            let at = self.out.len();
            let prepared = match self.multi_failure {
                _ if contradicts_itself(&op) => Err(ErrorCode::MARSHALLING_ERROR),
                ErrorCode::OK => self.multi_op(&op),
                _ => Err(ErrorCode::RUNTIME_INCONSISTENCY),
            };
            let Err(code) = prepared.and_then(|()| self.fits()) else { continue };
            if self.multi_failure == ErrorCode::OK {
                self.overlay.roll_back_multi(self.ctx.zxid);
                self.multi_failure = code;
            }
            // This one is the whole multi's, whatever failed before.
            if code == ErrorCode::MARSHALLING_ERROR {
                return Err(code);
            }
            self.out.truncate(at);
            self.out.put_int(OpCode::ERROR.0);
            self.out.put_int(4);
            self.out.put_int(code.0);
        }
        let fits = self.fits();
        match (self.multi_failure, fits) {
            (ErrorCode::OK, Ok(())) => self.overlay.commit_multi(),
            (ErrorCode::OK, Err(_)) => self.overlay.roll_back_multi(self.ctx.zxid),
            _ => {}
        }
        fits
    }

    /// Appends type, length and record of one operation.
    fn multi_op(&mut self, op: &MultiOp<'_>) -> Checked {
        let kind = match op {
            MultiOp::Create(create) => kind_in_multi(create),
            other => other.op(),
        };
        self.out.put_int(kind.0);
        let at = self.out.len();
        self.out.put_int(0);
        match op {
            MultiOp::Create(create) => self.create(kind, create)?,
            MultiOp::Delete(delete) => self.delete(delete)?,
            MultiOp::SetData(set) => self.set_data(set)?,
            MultiOp::Check(check) => self.check(check)?,
        }
        let bytes = self.out.len() - at - 4;
        patch_int(self.out, at, bytes as i32);
        Ok(())
    }
}

/// What a create inside a multi is logged as: unlike outside, Java goes by the flags
/// (`Op.Create.getOpcode`), and clients that only know `create` rely on it.
fn kind_in_multi(create: &CreateRequest<'_>) -> OpCode {
    match CreateMode::from_flags(create.flags) {
        Ok(CreateMode::Container) => OpCode::CREATE_CONTAINER,
        Ok(mode) if create.op == OpCode::CREATE_TTL && !mode.is_ttl() => OpCode::CREATE,
        _ => create.op,
    }
}

/// A time to live is asked for by an operation that has none: Java cannot even read such a multi
/// (`CreateOptions`).
fn contradicts_itself(op: &MultiOp<'_>) -> bool {
    match op {
        MultiOp::Create(create) => create.op != OpCode::CREATE_TTL && matches!(create.flags, 5 | 6),
        _ => false,
    }
}
