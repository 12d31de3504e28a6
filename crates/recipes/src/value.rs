//! A value that many change.
//!
//! A change is written on the version it was computed from. The hard part is a change whose answer
//! was lost: what the znode is afterwards shows more often than not whether it happened.

use crate::error::Error;
use crate::keeper::{Keeper, parent_of};
use crate::mutex::Mutex;
use crate::port::{ErrorCode, Failure, Fate, Kind, New, Stat};

/// How often a change is tried before the lock is taken, or the caller told.
const TRIES: u32 = 16;

/// What became of one try.
enum Tried {
    Done(Stat),
    /// Somebody else was first.
    Changed,
    /// It cannot be known.
    Unsure,
}

/// A value changed by comparing (`DistributedAtomicValue`).
///
/// # Guarantees
/// - A change is made on the value that it was computed from, and on no other.
/// - Changes are tried optimistically; after some tries in vain a mutex is taken, if one is
///   [named](AtomicValue::promote_to), so that those who change come to it one after another.
///
/// # What it does not guarantee
/// A change whose answer was lost with the connection may have happened. Where the value shows that
/// it did or did not, that is said or tried again; otherwise the error is [`Error::Unsure`].
///
/// ```
/// # use oxkeeper_client::Client;
/// # use oxkeeper_recipes::AtomicValue;
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = &Client::connect(&servers).await?;
/// let name = AtomicValue::new(zk, "/app/name");
/// name.initialize(b"a").await?;
/// let now = name.update(|old| [old, b"b"].concat()).await?;
/// assert_eq!(now, b"ab");
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone)]
pub struct AtomicValue {
    keeper: Keeper,
    path: String,
    lock: Option<Mutex>,
    tries: u32,
}

impl AtomicValue {
    /// The value that is this znode.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::AtomicValue;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let name = AtomicValue::new(zk, "/value-new");
    /// assert_eq!(name.get().await?, None, "there is none yet");
    /// # Ok(())
    /// # });
    /// ```
    pub fn new(keeper: impl Into<Keeper>, path: &str) -> AtomicValue {
        AtomicValue { keeper: keeper.into(), path: path.to_owned(), lock: None, tries: TRIES }
    }

    /// The mutex to take after some tries in vain (`PromotedToLock`).
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::{AtomicValue, Mutex};
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// // When four tries were in vain, those who change it come one after another.
    /// let value = AtomicValue::new(zk, "/value-promoted").tries(4);
    /// let value = value.promote_to(Mutex::new(zk, "/value-promoted-lock"));
    /// assert_eq!(value.update(|old| [old, b"a"].concat()).await?, b"a");
    /// # Ok(())
    /// # });
    /// ```
    pub fn promote_to(mut self, lock: Mutex) -> AtomicValue {
        self.lock = Some(lock);
        self
    }

    /// How often to try before that.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::{AtomicValue, Error};
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let value = AtomicValue::new(zk, "/value-tries").tries(1);
    /// value.initialize(b"0").await?;
    /// let (one, two) = (value.update(|_| b"1".to_vec()), value.update(|_| b"2".to_vec()));
    /// // Both have read the 0 when the first of them sets it, and none tries again.
    /// let (one, two) = tokio::join!(one, two);
    /// assert!(one.is_ok() != two.is_ok());
    /// assert!(matches!(one.and(two), Err(Error::Contended { tries: 1, .. })));
    /// # Ok(())
    /// # });
    /// ```
    pub fn tries(mut self, tries: u32) -> AtomicValue {
        self.tries = tries.max(1);
        self
    }

    /// The value and its stat; `None` if there is none.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::AtomicValue;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let name = AtomicValue::new(zk, "/value-get");
    /// name.initialize(b"a").await?;
    /// let (value, stat) = name.get().await?.expect("there");
    /// assert_eq!((&value[..], stat.version), (&b"a"[..], 0));
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// The session is over, or the server refuses.
    pub async fn get(&self) -> Result<Option<(Vec<u8>, Stat)>, Error> {
        self.keeper.get(&self.path).await
    }

    /// Makes the value if there is none; false if there was.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::AtomicValue;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let name = AtomicValue::new(zk, "/value-initialize");
    /// assert!(name.initialize(b"a").await?);
    /// assert!(!name.initialize(b"b").await?, "there was one");
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// The session is over, or the server refuses.
    pub async fn initialize(&self, value: &[u8]) -> Result<bool, Error> {
        let new = New { path: self.path.clone(), data: value.to_vec(), kind: Kind::Persistent };
        self.keeper.create_shared(&new, Kind::Container).await
    }

    /// Sets the value, whatever it is.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::AtomicValue;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let name = AtomicValue::new(zk, "/value-force");
    /// name.force_set(b"a").await?;
    /// name.force_set(b"b").await?;
    /// assert_eq!(zk.get("/value-force").await?.bytes(), b"b");
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// The session is over, or the server refuses.
    pub async fn force_set(&self, value: &[u8]) -> Result<(), Error> {
        loop {
            let set = |port: &dyn crate::port::Port| port.set(&self.path, value.to_vec(), None);
            match self.keeper.again(set).await {
                Ok(_) => return Ok(()),
                Err(error) if error.code() == Some(ErrorCode::NO_NODE) => {
                    if self.initialize(value).await? {
                        return Ok(());
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Sets the value if it is `expected`; false if it is not.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::AtomicValue;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let name = AtomicValue::new(zk, "/value-cas");
    /// name.initialize(b"a").await?;
    /// assert!(name.compare_and_set(b"a", b"b").await?);
    /// assert!(!name.compare_and_set(b"a", b"c").await?, "it is b");
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// The session is over, the outcome is unknown, or the server refuses.
    pub async fn compare_and_set(&self, expected: &[u8], value: &[u8]) -> Result<bool, Error> {
        let Some((found, stat)) = self.get().await? else { return Ok(false) };
        if found != expected {
            return Ok(false);
        }
        match self.try_set(Some(&stat), value).await? {
            Tried::Done(_) => Ok(true),
            Tried::Changed => Ok(false),
            Tried::Unsure => Err(Error::Unsure { path: self.path.clone() }),
        }
    }

    /// Sets the value if its version is this; its new stat, `None` if it has another.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::AtomicValue;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let name = AtomicValue::new(zk, "/value-version");
    /// name.initialize(b"a").await?;
    /// let (_, seen) = name.get().await?.expect("there");
    /// assert_eq!(name.set_version(&seen, b"b").await?.expect("set").version, 1);
    /// assert!(name.set_version(&seen, b"c").await?.is_none(), "it has another version");
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// As [`AtomicValue::compare_and_set`].
    pub async fn set_version(&self, stat: &Stat, value: &[u8]) -> Result<Option<Stat>, Error> {
        match self.try_set(Some(stat), value).await? {
            Tried::Done(stat) => Ok(Some(stat)),
            Tried::Changed => Ok(None),
            Tried::Unsure => Err(Error::Unsure { path: self.path.clone() }),
        }
    }

    /// Changes the value by a function of the old one, empty if there is none, and tells the new
    /// one. The function may be called several times.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::AtomicValue;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// # let other = &Client::connect(&servers).await?;
    /// let here = AtomicValue::new(zk, "/value-update");
    /// let there = AtomicValue::new(other, "/value-update");
    /// let add = |old: &[u8]| [old, b"x"].concat();
    /// tokio::try_join!(here.update(add), there.update(add))?;
    /// assert_eq!(zk.get("/value-update").await?.bytes(), b"xx", "neither is lost");
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// The session is over, the outcome is unknown, or the server refuses. [`Error::Contended`] if
    /// others were first on all tries, and no mutex is named.
    pub async fn update(&self, change: impl Fn(&[u8]) -> Vec<u8>) -> Result<Vec<u8>, Error> {
        self.try_update(|old| Ok(change(old))).await
    }

    pub(crate) async fn try_update(
        &self,
        change: impl Fn(&[u8]) -> Result<Vec<u8>, Error>,
    ) -> Result<Vec<u8>, Error> {
        for _ in 0..self.tries {
            if let Some(value) = self.update_once(&change).await? {
                return Ok(value);
            }
        }
        let Some(lock) = &self.lock else {
            return Err(Error::Contended { path: self.path.clone(), tries: self.tries });
        };
        // Those who still try without the lock can be first again, but not for ever.
        let guard = lock.acquire().await?;
        loop {
            if let Some(value) = self.update_once(&change).await? {
                guard.release().await?;
                return Ok(value);
            }
        }
    }

    async fn update_once(
        &self,
        change: &impl Fn(&[u8]) -> Result<Vec<u8>, Error>,
    ) -> Result<Option<Vec<u8>>, Error> {
        let found = self.get().await?;
        let old = found.as_ref().map_or(&[][..], |(data, _)| data);
        let value = change(old)?;
        match self.try_set(found.as_ref().map(|(_, stat)| stat), &value).await? {
            Tried::Done(_) => Ok(Some(value)),
            Tried::Changed => Ok(None),
            Tried::Unsure => Err(Error::Unsure { path: self.path.clone() }),
        }
    }

    /// Sets the value on this very stat, or makes it if there was none.
    async fn try_set(&self, old: Option<&Stat>, value: &[u8]) -> Result<Tried, Error> {
        loop {
            let failure = match old {
                Some(stat) => {
                    let (path, version) = (&self.path, Some(stat.version));
                    match self.keeper.port().set(path, value.to_vec(), version).await {
                        Ok(stat) => return Ok(Tried::Done(stat)),
                        Err(failure) => failure,
                    }
                }
                None => {
                    let (path, kind) = (self.path.clone(), Kind::Persistent);
                    let new = New { path, data: value.to_vec(), kind };
                    match self.keeper.port().create(new).await {
                        Ok((_, stat)) => return Ok(Tried::Done(stat)),
                        Err(failure) if failure.is(ErrorCode::NO_NODE) => {
                            let parent = parent_of(&self.path);
                            self.keeper.ensure(parent, Kind::Container).await?;
                            continue;
                        }
                        Err(failure) => failure,
                    }
                }
            };
            if let Some(tried) = self.judge(old, &failure, value).await? {
                return Ok(tried);
            }
        }
    }

    /// What a failed try came to; `None` if it did not happen and can be tried again.
    async fn judge(
        &self,
        old: Option<&Stat>,
        failure: &Failure,
        value: &[u8],
    ) -> Result<Option<Tried>, Error> {
        if failure.session_over {
            return Err(Error::SessionOver);
        }
        if failure.fate != Fate::Unknown {
            return match failure.code {
                Some(ErrorCode::BAD_VERSION | ErrorCode::NO_NODE | ErrorCode::NODE_EXISTS) => {
                    Ok(Some(Tried::Changed))
                }
                _ => Err(failure.clone().into()),
            };
        }
        self.keeper.sync(&self.path).await?;
        let now = self.get().await?;
        let same = match (old, &now) {
            (Some(old), Some((_, stat))) => (old.czxid, old.version) == (stat.czxid, stat.version),
            (None, None) => true,
            _ => false,
        };
        if same {
            return Ok(None);
        }
        // One change since, and to another value: it was not ours. To ours: somebody could have
        // had the same thought.
        let next = match (old, &now) {
            (Some(old), Some((data, stat))) if old.czxid == stat.czxid => {
                (stat.version == old.version.wrapping_add(1)).then_some(data)
            }
            (None, Some((data, stat))) => (stat.version == 0).then_some(data),
            _ => None,
        };
        let not_ours = next.is_some_and(|data| data != value);
        Ok(Some(if not_ours { Tried::Changed } else { Tried::Unsure }))
    }
}

/// How a counter is written.
///
/// ```
/// # use oxkeeper_client::Client;
/// # use oxkeeper_recipes::{AtomicValue, Counter, CounterLayout};
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = &Client::connect(&servers).await?;
/// let python = Counter::of(AtomicValue::new(zk, "/counter-kazoo"), CounterLayout::Decimal);
/// python.add(42).await?;
/// assert_eq!(zk.get("/counter-kazoo").await?.bytes(), b"42");
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum CounterLayout {
    /// Eight bytes, big end first: Curator's `DistributedAtomicLong`.
    #[default]
    Long,
    /// Four bytes, big end first: Curator's `DistributedAtomicInteger` and `SharedCount`, kazoo's
    /// `Counter` with `support_curator`.
    Int,
    /// Decimal digits: kazoo's `Counter`.
    Decimal,
}

impl CounterLayout {
    fn read(self, path: &str, data: &[u8]) -> Result<i64, Error> {
        let bad = |problem: String| Error::Data { path: path.to_owned(), problem };
        if data.is_empty() {
            return Ok(0);
        }
        match self {
            CounterLayout::Long => match data.try_into() {
                Ok(bytes) => Ok(i64::from_be_bytes(bytes)),
                Err(_) => Err(bad(format!("{} bytes, not 8", data.len()))),
            },
            CounterLayout::Int => match data.try_into() {
                Ok(bytes) => Ok(i32::from_be_bytes(bytes).into()),
                Err(_) => Err(bad(format!("{} bytes, not 4", data.len()))),
            },
            CounterLayout::Decimal => {
                let text = std::str::from_utf8(data).ok().and_then(|text| text.parse().ok());
                text.ok_or_else(|| bad("not a decimal number".to_owned()))
            }
        }
    }

    fn write(self, path: &str, value: Option<i64>) -> Result<Vec<u8>, Error> {
        let bytes = value.and_then(|value| match self {
            CounterLayout::Long => Some(value.to_be_bytes().to_vec()),
            CounterLayout::Int => Some(i32::try_from(value).ok()?.to_be_bytes().to_vec()),
            CounterLayout::Decimal => Some(value.to_string().into_bytes()),
        });
        bytes.ok_or_else(|| Error::Invalid(format!("the counter {path} would overflow")))
    }
}

/// A counter (`DistributedAtomicLong`, kazoo's `Counter`). Guarantees are those of [`AtomicValue`].
/// What would overflow is an error and changes nothing.
///
/// ```
/// # use oxkeeper_client::Client;
/// # use oxkeeper_recipes::Counter;
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = &Client::connect(&servers).await?;
/// let visits = Counter::new(zk, "/app/visits");
/// assert_eq!(visits.add(1).await?, 1);
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone)]
pub struct Counter {
    value: AtomicValue,
    layout: CounterLayout,
}

impl Counter {
    /// The counter that is this znode, eight bytes long. One that is not there is 0.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::Counter;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let visits = Counter::new(zk, "/counter-new");
    /// assert_eq!(visits.get().await?, 0);
    /// visits.add(1).await?;
    /// assert_eq!(zk.get("/counter-new").await?.bytes(), [0, 0, 0, 0, 0, 0, 0, 1]);
    /// # Ok(())
    /// # });
    /// ```
    pub fn new(keeper: impl Into<Keeper>, path: &str) -> Counter {
        Counter::of(AtomicValue::new(keeper, path), CounterLayout::default())
    }

    /// A counter in another layout, or with other tries and a mutex.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::{AtomicValue, Counter, CounterLayout};
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let small = Counter::of(AtomicValue::new(zk, "/counter-of"), CounterLayout::Int);
    /// small.force_set(i64::from(i32::MAX)).await?;
    /// assert!(small.add(1).await.is_err(), "it would overflow");
    /// # Ok(())
    /// # });
    /// ```
    pub fn of(value: AtomicValue, layout: CounterLayout) -> Counter {
        Counter { value, layout }
    }

    /// What it is now.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::Counter;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let visits = Counter::new(zk, "/counter-get");
    /// visits.force_set(7).await?;
    /// assert_eq!(visits.get().await?, 7);
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// The session is over, the data is no such number, or the server refuses.
    pub async fn get(&self) -> Result<i64, Error> {
        match self.value.get().await? {
            Some((data, _)) => self.layout.read(&self.value.path, &data),
            None => Ok(0),
        }
    }

    /// Adds to it, and tells what it is then.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::Counter;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let visits = Counter::new(zk, "/counter-add");
    /// assert_eq!(visits.add(40).await?, 40);
    /// assert_eq!(visits.add(-2).await?, 38);
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// As [`AtomicValue::update`]; and what would overflow.
    pub async fn add(&self, delta: i64) -> Result<i64, Error> {
        let path = &self.value.path;
        let change = |old: &[u8]| {
            let old = self.layout.read(path, old)?;
            self.layout.write(path, old.checked_add(delta))
        };
        let value = self.value.try_update(change).await?;
        self.layout.read(path, &value)
    }

    /// Sets it, whatever it is.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::Counter;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let visits = Counter::new(zk, "/counter-force");
    /// visits.add(40).await?;
    /// visits.force_set(0).await?;
    /// assert_eq!(visits.get().await?, 0);
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// As [`AtomicValue::force_set`].
    pub async fn force_set(&self, value: i64) -> Result<(), Error> {
        let data = self.layout.write(&self.value.path, Some(value))?;
        self.value.force_set(&data).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_written_as_curator_and_kazoo_write_them() {
        let write = |layout: CounterLayout, value| layout.write("/c", Some(value));
        assert_eq!(write(CounterLayout::Long, 258).unwrap(), [0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(write(CounterLayout::Int, -2).unwrap(), [255, 255, 255, 254]);
        assert_eq!(write(CounterLayout::Decimal, -2).unwrap(), b"-2");
        assert!(write(CounterLayout::Int, 1 << 31).is_err());
        assert!(CounterLayout::Long.write("/c", None).is_err());
        assert_eq!(CounterLayout::Decimal.read("/c", b"17").unwrap(), 17);
        assert_eq!(CounterLayout::Int.read("/c", b"").unwrap(), 0);
        assert!(CounterLayout::Int.read("/c", &[0; 8]).is_err());
        assert!(CounterLayout::Decimal.read("/c", b"1.5").is_err());
    }
}
