//! The operations, each a builder that becomes a request.
//!
//! A builder borrows what it is given. It is encoded when it is sent, straight into the bytes that
//! leave if there is a connection, and what remains of it is the future of its answer, which
//! borrows nothing: many can be under way without a copy of what was sent. Operations of one
//! request have a [`Reply`](crate::Reply); those that take several say so.

mod create;
mod multi;
mod read;
mod session;
mod write;

pub use create::{Create, Created, Creating};
pub use multi::{Multi, MultiRead, MultiResult, ReadResult};
pub(crate) use read::CONFIG_PATH;
pub use read::{
    Children, ChildrenCount, ChildrenWithStat, Data, Exists, Get, GetAcl, GetConfig, Watched,
};
pub use session::{
    AddAuth, AddWatch, Ephemerals, Reconfig, ReconfigCall, RemoveWatches, Sync, WhoAmI,
};
pub use write::{Delete, DeleteAll, Set, SetAcl};

use crate::core::{Answer, Outcome};
use crate::error::ErrorKind;

/// The answer of a request that succeeded, to be taken from where it lies.
pub(crate) fn done(outcome: &mut Outcome) -> Result<&mut Answer, ErrorKind> {
    match outcome {
        Outcome::Done { answer: Answer::MultiRefused { index, code }, .. } => {
            Err(ErrorKind::Multi { index: *index, code: *code })
        }
        Outcome::Done { answer, .. } => Ok(answer),
        other => Err(ErrorKind::of(other).unwrap_or(ErrorKind::Answer)),
    }
}

/// Awaiting a builder sends it.
macro_rules! awaited {
    ($builder:ident => $output:ty) => {
        impl<'a> std::future::IntoFuture for $builder<'a> {
            type Output = Result<$output, $crate::error::Error>;
            type IntoFuture = $crate::reply::Reply<$output>;

            fn into_future(self) -> Self::IntoFuture {
                self.send()
            }
        }
    };
}
pub(crate) use awaited;
