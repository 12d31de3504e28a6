//! Trying again.
//!
//! Requests wait by themselves while there is no connection. What is left to be tried again is what
//! a lost connection made unknown, and what a server in trouble refused. [`Client::retry`] does so
//! where it is safe: an operation that did not happen, or one that only reads. What may have
//! happened and is no read is repeated only if its user says that it does no harm
//! ([`RetryPolicy::idempotent`]).

use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use tokio::time::Instant;

use crate::client::Client;
use crate::core::Fate;
use crate::error::Error;

/// How often, and after which pauses.
///
/// ```
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = oxkeeper_client::Client::connect(&servers).await?;
/// use oxkeeper_client::RetryPolicy;
///
/// let policy = RetryPolicy::default().times(3);
/// let error = zk.get("/not-there").await.expect_err("no such znode");
/// assert_eq!(policy.pause(1, &error), None, "to ask again changes nothing");
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetryPolicy {
    first: Duration,
    max: Duration,
    times: Option<u32>,
    until: Option<Instant>,
    idempotent: bool,
}

impl RetryPolicy {
    /// Pauses that begin within `first`, double, and never exceed `max`. Each is drawn at random
    /// from what it may be, so that many clients that failed together do not come back together.
    /// For ever, unless something else is said.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let full = oxkeeper_client::Limits { pending_max: 0, ..Default::default() };
    /// # let zk = oxkeeper_client::Client::builder(&servers).limits(full).connect().await?;
    /// use oxkeeper_client::RetryPolicy;
    /// use std::time::Duration;
    ///
    /// let error = zk.get("/").await.expect_err("too much is under way");
    /// let (first, max) = (Duration::from_millis(10), Duration::from_millis(50));
    /// let policy = RetryPolicy::exponential(first, max);
    /// assert!(policy.pause(1, &error).is_some_and(|pause| pause <= first));
    /// assert!(policy.pause(1000, &error).is_some_and(|pause| pause <= max), "for ever");
    /// # Ok(())
    /// # });
    /// ```
    pub fn exponential(first: Duration, max: Duration) -> RetryPolicy {
        RetryPolicy { first, max, times: None, until: None, idempotent: false }
    }

    /// At most so many tries behind the first.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let full = oxkeeper_client::Limits { pending_max: 0, ..Default::default() };
    /// # let zk = oxkeeper_client::Client::builder(&servers).limits(full).connect().await?;
    /// use oxkeeper_client::RetryPolicy;
    ///
    /// let error = zk.get("/").await.expect_err("too much is under way");
    /// let policy = RetryPolicy::default().times(2);
    /// assert!(policy.pause(2, &error).is_some());
    /// assert!(policy.pause(3, &error).is_none());
    /// # Ok(())
    /// # });
    /// ```
    pub fn times(self, times: u32) -> RetryPolicy {
        RetryPolicy { times: Some(times), ..self }
    }

    /// No try begins later.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let full = oxkeeper_client::Limits { pending_max: 0, ..Default::default() };
    /// # let zk = oxkeeper_client::Client::builder(&servers).limits(full).connect().await?;
    /// use oxkeeper_client::RetryPolicy;
    /// use tokio::time::Instant;
    ///
    /// let error = zk.get("/").await.expect_err("too much is under way");
    /// let policy = RetryPolicy::default();
    /// assert!(policy.pause(1, &error).is_some());
    /// assert!(policy.until(Instant::now()).pause(1, &error).is_none(), "it is too late");
    /// # Ok(())
    /// # });
    /// ```
    pub fn until(self, until: Instant) -> RetryPolicy {
        RetryPolicy { until: Some(until), ..self }
    }

    /// No try begins later than this from now.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let full = oxkeeper_client::Limits { pending_max: 0, ..Default::default() };
    /// # let zk = oxkeeper_client::Client::builder(&servers).limits(full).connect().await?;
    /// use oxkeeper_client::RetryPolicy;
    /// use std::time::Duration;
    ///
    /// let error = zk.get("/").await.expect_err("too much is under way");
    /// let policy = RetryPolicy::default();
    /// assert!(policy.within(Duration::from_secs(60)).pause(1, &error).is_some());
    /// assert!(policy.within(Duration::ZERO).pause(1, &error).is_none());
    /// # Ok(())
    /// # });
    /// ```
    pub fn within(self, time: Duration) -> RetryPolicy {
        self.until(Instant::now() + time)
    }

    /// Repeats as well what may have happened: to do it twice is as good as once.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |_| {
    /// # let proxy = oxkeeper_scratch::Proxy::before(oxkeeper_scratch::addr()).await;
    /// # let zk = oxkeeper_client::Client::connect(&proxy.addr.to_string()).await?;
    /// use oxkeeper_client::{Fate, RetryPolicy};
    ///
    /// zk.create("/twice", b"").await?;
    /// # proxy.mute(true);
    /// let set = zk.set("/twice", b"1").send();
    /// # proxy.vanished().await;
    /// # proxy.mute(false);
    /// # proxy.cut();
    /// let error = set.await.expect_err("the connection is lost before the answer came");
    /// assert_eq!(error.fate(), Fate::Unknown);
    /// let policy = RetryPolicy::default();
    /// assert!(policy.pause(1, &error).is_none());
    /// assert!(policy.idempotent().pause(1, &error).is_some());
    /// # Ok(())
    /// # });
    /// ```
    pub fn idempotent(self) -> RetryPolicy {
        RetryPolicy { idempotent: true, ..self }
    }

    /// The pause before the next try, or `None` if there is none. `tried` counts from 1.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let full = oxkeeper_client::Limits { pending_max: 0, ..Default::default() };
    /// # let zk = oxkeeper_client::Client::builder(&servers).limits(full).connect().await?;
    /// use oxkeeper_client::{Fate, RetryPolicy};
    ///
    /// let error = zk.get("/").await.expect_err("too much is under way");
    /// assert!(error.is_temporary() && error.fate() == Fate::DidNotHappen);
    /// let policy = RetryPolicy::default().times(1);
    /// assert!(policy.pause(1, &error).is_some());
    /// assert!(policy.pause(2, &error).is_none());
    /// # Ok(())
    /// # });
    /// ```
    pub fn pause(&self, tried: u32, error: &Error) -> Option<Duration> {
        let unharmed = error.fate() == Fate::DidNotHappen || error.is_of_read();
        if !error.is_temporary() || !(unharmed || self.idempotent) {
            return None;
        }
        if self.times.is_some_and(|times| tried > times) {
            return None;
        }
        let pause = drawn(self.first, self.max, tried);
        match self.until {
            Some(until) if Instant::now() + pause > until => None,
            _ => Some(pause),
        }
    }
}

/// A pause within a window that doubles with every try.
fn drawn(first: Duration, max: Duration, tried: u32) -> Duration {
    let doubled = 1u32.checked_shl(tried.saturating_sub(1)).unwrap_or(u32::MAX);
    let window = first.saturating_mul(doubled).min(max);
    let drawn = RandomState::new().hash_one(tried) % 1024;
    window.mul_f64((drawn + 1) as f64 / 1024.0)
}

/// What goes on until it succeeds does not hammer a server in trouble.
pub(crate) async fn pause(tried: u32) {
    tokio::time::sleep(drawn(Duration::from_millis(5), Duration::from_secs(1), tried)).await;
}

impl Default for RetryPolicy {
    /// Pauses from 100 ms to 5 s, ten times.
    fn default() -> Self {
        RetryPolicy::exponential(Duration::from_millis(100), Duration::from_secs(5)).times(10)
    }
}

impl Client {
    /// Runs `work` until it succeeds, fails for good, or the policy ends.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// # zk.create("/status", b"").await?;
    /// use oxkeeper_client::RetryPolicy;
    ///
    /// let policy = RetryPolicy::default().idempotent();
    /// let set = zk.retry(policy, |zk| async move { zk.set("/status", b"up").await });
    /// assert_eq!(set.await?.version, 1);
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// The last one. If it says that the operation did not happen, and an earlier try may have,
    /// its fate is unknown.
    pub async fn retry<T, F, W>(&self, policy: RetryPolicy, mut work: W) -> Result<T, Error>
    where
        W: FnMut(Client) -> F,
        F: Future<Output = Result<T, Error>>,
    {
        let mut open = false;
        for tried in 1.. {
            let error = match work(self.clone()).await {
                Err(error) => error,
                done => return done,
            };
            match policy.pause(tried, &error) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return Err(error.after(open)),
            }
            open |= error.fate() == Fate::Unknown && !error.is_of_read();
        }
        unreachable!("counted for ever")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::Cause;
    use crate::error::ErrorKind;
    use oxkeeper_proto::{ErrorCode, OpCode};

    fn error(kind: ErrorKind, op: OpCode) -> Error {
        Error::new(kind, Some(op), "/a")
    }

    #[test]
    fn what_may_have_happened_is_repeated_only_if_that_is_safe() {
        let policy = RetryPolicy::default();
        let lost = |op| error(ErrorKind::Unknown(Cause::Lost), op);
        assert!(policy.pause(1, &lost(OpCode::GET_DATA)).is_some());
        assert!(policy.pause(1, &lost(OpCode::SET_DATA)).is_none());
        assert!(policy.idempotent().pause(1, &lost(OpCode::SET_DATA)).is_some());
        let refused = |code| error(ErrorKind::Server(code), OpCode::SET_DATA);
        assert!(policy.pause(1, &refused(ErrorCode::NOT_READ_ONLY)).is_some());
        assert!(policy.idempotent().pause(1, &refused(ErrorCode::BAD_VERSION)).is_none());
        assert!(policy.idempotent().pause(1, &refused(ErrorCode::SESSION_EXPIRED)).is_none());
    }

    #[test]
    fn pauses_grow_to_their_bound_and_tries_end() {
        let lost = error(ErrorKind::Unknown(Cause::Lost), OpCode::GET_DATA);
        let (first, max) = (Duration::from_millis(10), Duration::from_millis(50));
        let policy = RetryPolicy::exponential(first, max).times(40);
        for tried in 1..=40 {
            let pause = policy.pause(tried, &lost).unwrap();
            let most = first * 2u32.saturating_pow(tried - 1).min(1000);
            assert!(pause > Duration::ZERO && pause <= most.min(max), "{tried}: {pause:?}");
        }
        assert!(policy.pause(41, &lost).is_none());
        assert!(policy.until(Instant::now()).pause(1, &lost).is_none());
    }
}
