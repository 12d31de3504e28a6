//! The operations, each a builder that becomes a request.

mod create;
mod misc;
mod multi;
mod read;
mod write;

pub use create::{Create, Created};
pub use misc::{
    AddAuth, AddWatch, Ephemerals, Reconfig, ReconfigCall, RemoveWatches, Sync, WhoAmI,
};
pub use multi::{Multi, MultiRead, MultiResult, ReadResult};
pub(crate) use read::CONFIG_PATH;
pub use read::{
    Children, ChildrenCount, ChildrenWithStat, Data, Exists, Get, GetAcl, GetConfig, Watched,
};
pub use write::{Delete, DeleteAll, Set, SetAcl};

use crate::core::{Answer, Outcome};
use crate::error::ErrorKind;

/// The answer of a request that succeeded.
pub(crate) fn done(outcome: Outcome) -> Result<Answer, ErrorKind> {
    match outcome {
        Outcome::Done { answer: Answer::MultiRefused { index, code }, .. } => {
            Err(ErrorKind::Multi { index, code })
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
