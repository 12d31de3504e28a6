//! One session after another, for what has to outlive them.
//!
//! A client has one session. A lock ends with it, and that is right. A service that is registered,
//! a member of a group, a candidate for leadership wants to be there again: with the next session.
//! [`Sessions`] makes the next one, once for all recipes that share it.

use std::sync::Arc;
use std::time::Duration;

use crate::error::Error;
use crate::keeper::Keeper;
use crate::port::Pending;

/// Between two tries to make a session.
const RETRY: Duration = Duration::from_millis(500);

type Make = Box<dyn Fn() -> Pending<Result<Keeper, Error>> + Send + Sync>;

/// See the module. Cheap to clone; clones share the session.
///
/// ```
/// # use oxkeeper_client::Client;
/// # use oxkeeper_recipes::{PersistentNode, Sessions};
/// # oxkeeper_scratch::example(async |servers| {
/// # let servers: &'static str = servers.leak();
/// // "zk1,zk2,zk3"
/// let sessions = Sessions::renewed(move || Client::connect(servers)).await?;
/// let mut here = PersistentNode::ephemeral(&sessions, "/workers/7", b"10.0.0.7").await?;
/// here.made().await?;
/// assert!(here.is_there()); // and again with the next session
/// # Ok(())
/// # });
/// ```
#[derive(Clone)]
pub struct Sessions {
    inner: Arc<Inner>,
}

struct Inner {
    make: Option<Make>,
    current: tokio::sync::Mutex<Keeper>,
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sessions").field("renewed", &self.inner.make.is_some()).finish()
    }
}

impl<K: Into<Keeper>> From<K> for Sessions {
    /// One session and no other: what stands on it ends with it.
    fn from(keeper: K) -> Sessions {
        let current = tokio::sync::Mutex::new(keeper.into());
        Sessions { inner: Arc::new(Inner { make: None, current }) }
    }
}

impl From<&Sessions> for Sessions {
    fn from(sessions: &Sessions) -> Sessions {
        sessions.clone()
    }
}

impl Sessions {
    /// Sessions that `connect` makes, the first of them now.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::Sessions;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let servers: &'static str = servers.leak();
    /// let sessions = Sessions::renewed(move || Client::connect(servers)).await?;
    /// let first = sessions.current().await?.port().session_id();
    /// assert_eq!(sessions.current().await?.port().session_id(), first, "as long as it lives");
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// The first could not be made.
    pub async fn renewed<F, R, K, E>(connect: F) -> Result<Sessions, E>
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<K, E>> + Send + 'static,
        K: Into<Keeper>,
        E: std::fmt::Display,
    {
        let first = connect().await?.into();
        let make = move || -> Pending<Result<Keeper, Error>> {
            let made = connect();
            Box::pin(async move {
                match made.await {
                    Ok(made) => Ok(made.into()),
                    Err(error) => Err(Error::Invalid(error.to_string())),
                }
            })
        };
        let (make, current) = (Some(Box::new(make) as Make), tokio::sync::Mutex::new(first));
        Ok(Sessions { inner: Arc::new(Inner { make, current }) })
    }

    /// The session, or the next if that is over: waits until one can be made.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::Sessions;
    /// # use oxkeeper_recipes::port::Standing;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let one = Sessions::from(zk);
    /// assert_eq!(one.current().await?.port().standing(), Standing::Connected);
    /// zk.close().await;
    /// assert!(one.current().await.is_err(), "one session and no other");
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// It is over, and there is no other to come.
    pub async fn current(&self) -> Result<Keeper, Error> {
        let mut current = self.inner.current.lock().await;
        while current.is_over() {
            let Some(make) = &self.inner.make else { return Err(Error::SessionOver) };
            match make().await {
                Ok(next) => *current = next,
                Err(_) => current.sleep(RETRY).await,
            }
        }
        Ok(current.clone())
    }
}
