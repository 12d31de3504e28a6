//! The state of a session, and those who follow it.
//!
//! Who holds a lock must know when he may no longer rely on it. [`State::Suspended`] says until
//! when no server can have given it to anybody else, counted from a moment at or before which a
//! server has last heard of us; there is no need to guess from the session timeout. A follower sees
//! every state in order unless it sleeps for long, and the newest always.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use oxkeeper_proto::SessionId;
use tokio::time::Instant;

use crate::core::{self, Cause};
use crate::driver::Shared;

/// Where a session stands.
///
/// ```text
/// Connecting ──► Connected ◄──► Suspended ──► Expired
///                    └──────────────┴───────► AuthFailed, Closed
/// ```
///
/// ```
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = oxkeeper_client::Client::connect(&servers).await?;
/// use oxkeeper_client::State;
///
/// let State::Connected { session, .. } = zk.state() else { panic!("it is connected") };
/// assert_eq!(Some(session), zk.session_id());
/// zk.close().await;
/// assert_eq!(zk.state(), State::Closed { confirmed: true });
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// No server has granted a session yet.
    Connecting,
    /// In touch with a server.
    Connected {
        /// The session.
        session: SessionId,
        /// Its timeout, as the server granted it.
        timeout: Duration,
        /// This server takes no writes for now.
        read_only: bool,
    },
    /// Out of touch: the session lives on, and requests wait.
    Suspended {
        /// Until then no server ends the session. Who holds a lock stops work before.
        expires_at: Instant,
        /// Why the connection was lost.
        cause: Cause,
    },
    /// The session is gone, and its ephemeral znodes with it. Nothing brings it back: who wants
    /// to go on makes another [`Client`](crate::Client).
    Expired,
    /// A server refused an identity.
    AuthFailed,
    /// The session was closed by its user.
    Closed {
        /// A server confirmed it, or there was no session. Otherwise it ends by its timeout.
        confirmed: bool,
    },
}

impl State {
    pub(crate) fn of(state: core::State, at: impl Fn(u64) -> Instant) -> State {
        match state {
            core::State::Connecting => State::Connecting,
            core::State::Connected { session, timeout_ms, read_only } => {
                let timeout = Duration::from_millis(timeout_ms.max(0) as u64);
                State::Connected { session, timeout, read_only }
            }
            core::State::Suspended { until_us, cause } => {
                State::Suspended { expires_at: at(until_us), cause }
            }
            core::State::Expired => State::Expired,
            core::State::AuthFailed => State::AuthFailed,
            core::State::Closed { confirmed } => State::Closed { confirmed },
        }
    }

    /// In touch with a server.
    ///
    /// ```
    /// use oxkeeper_client::State;
    ///
    /// assert!(!State::Connecting.is_connected());
    /// assert!(!State::Expired.is_connected());
    /// ```
    pub fn is_connected(&self) -> bool {
        matches!(self, State::Connected { .. })
    }

    /// Nothing follows: expired, refused or closed.
    ///
    /// ```
    /// use oxkeeper_client::State;
    ///
    /// assert!(State::Closed { confirmed: false }.is_over());
    /// assert!(!State::Connecting.is_over(), "it has not even begun");
    /// ```
    pub fn is_over(&self) -> bool {
        matches!(self, State::Expired | State::AuthFailed | State::Closed { .. })
    }
}

/// The states of a session, from the one it is in to its last.
///
/// Who does not fetch for long misses states in the middle, never the newest. The stream ends
/// behind a state that [is over](State::is_over).
///
/// ```
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = oxkeeper_client::Client::connect(&servers).await?;
/// use oxkeeper_client::StateStream;
///
/// let mut states: StateStream = zk.states();
/// zk.close().await;
/// let mut over = Vec::new();
/// while let Some(state) = states.next().await {
///     over.push(state.is_over());
/// }
/// assert_eq!(over, [false, true], "first the one it was in");
/// # Ok(())
/// # });
/// ```
#[must_use = "a stream does nothing unless it is asked"]
pub struct StateStream {
    shared: Arc<Shared>,
    follower: u64,
}

impl StateStream {
    pub(crate) fn new(shared: &Arc<Shared>) -> StateStream {
        StateStream { shared: Arc::clone(shared), follower: shared.follow_states() }
    }

    /// The next state; `None` behind the last. Safe to cancel.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// let mut states = zk.states();
    /// assert!(states.next().await.is_some_and(|state| state.is_connected()));
    /// zk.close().await;
    /// assert!(states.next().await.is_some_and(|state| state.is_over()));
    /// assert_eq!(states.next().await, None);
    /// # Ok(())
    /// # });
    /// ```
    pub async fn next(&mut self) -> Option<State> {
        std::future::poll_fn(|cx| self.shared.poll_state(self.follower, cx)).await
    }
}

impl Stream for StateStream {
    type Item = State;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<State>> {
        self.shared.poll_state(self.follower, cx)
    }
}

impl Drop for StateStream {
    fn drop(&mut self) {
        self.shared.leave_states(self.follower);
    }
}

impl std::fmt::Debug for StateStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StateStream").field("state", &self.shared.state()).finish()
    }
}
