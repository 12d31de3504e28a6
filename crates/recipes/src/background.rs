//! Work that goes on beside a handle, and ends with it.
//!
//! A cache, a latch, a kept znode: each is a handle and a task. The handle is dropped or closed;
//! the task hears of it at its next await, and has then to take away what it made in the tree.

use tokio::sync::watch;

use crate::keeper::Keeper;

/// A task; dropped, it is asked to end.
#[derive(Debug)]
pub(crate) struct Background {
    stop: watch::Sender<bool>,
    done: watch::Receiver<bool>,
}

/// How the task hears that it is to end.
#[derive(Debug, Clone)]
pub(crate) struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Resolves when the handle is closed or dropped.
    pub(crate) async fn asked(&mut self) {
        // An error is a handle that was dropped.
        let _ = self.0.wait_for(|stop| *stop).await;
    }

    pub(crate) fn is_asked(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }
}

impl Background {
    pub(crate) fn spawn<T>(keeper: &Keeper, task: impl FnOnce(Stop) -> T) -> Background
    where
        T: Future<Output = ()> + Send + 'static,
    {
        let (stop, stopped) = watch::channel(false);
        let (finished, done) = watch::channel(false);
        let task = task(Stop(stopped));
        keeper.spawn(async move {
            task.await;
            let _ = finished.send(true);
        });
        Background { stop, done }
    }

    /// Asks the task to end and waits until it has.
    pub(crate) async fn close(mut self) {
        let _ = self.stop.send(true);
        let _ = self.done.wait_for(|done| *done).await;
    }
}
