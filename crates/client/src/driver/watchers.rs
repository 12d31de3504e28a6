//! What was told to watches, until their holders fetch it.
//!
//! Every watch has a queue of its own, bounded: a holder that does not fetch costs a bounded amount
//! of memory. What no longer fits is replaced by one [`WatchItem::Gap`], so that the holder learns
//! that it has missed something and looks at the tree anew.

use std::collections::{HashMap, VecDeque};
use std::task::{Context, Poll, Waker};

use crate::core::{self, Watcher};
use crate::watch::{WatchEvent, WatchItem};

#[derive(Debug)]
struct Watch {
    queue: VecDeque<WatchItem>,
    /// Events that may wait, before the gap.
    max: usize,
    one_shot: bool,
    /// Nothing follows what is in the queue.
    ended: bool,
    waker: Option<Waker>,
}

/// See the module's essay.
#[derive(Debug, Default)]
pub(crate) struct Watchers {
    watches: HashMap<Watcher, Watch>,
    next: u64,
}

impl Watchers {
    /// A new watch; `max` is how many events may wait, `None` for one that fires once.
    pub(crate) fn insert(&mut self, max: Option<usize>) -> Watcher {
        self.next += 1;
        let watcher = Watcher(self.next);
        let watch = Watch {
            queue: VecDeque::new(),
            max: max.unwrap_or(1).max(1),
            one_shot: max.is_none(),
            ended: false,
            waker: None,
        };
        self.watches.insert(watcher, watch);
        watcher
    }

    /// Whether somebody holds it.
    pub(crate) fn holds(&self, watcher: Watcher) -> bool {
        self.watches.contains_key(&watcher)
    }

    /// A watch is told something; returns who is to be woken.
    pub(crate) fn tell(&mut self, watcher: Watcher, event: core::WatchEvent) -> Option<Waker> {
        let watch = self.watches.get_mut(&watcher)?;
        if watch.ended {
            return None;
        }
        let item = match event {
            core::WatchEvent::Fired { event, path, zxid } => {
                watch.ended = watch.one_shot;
                WatchItem::Event(WatchEvent { kind: event, path, zxid })
            }
            core::WatchEvent::Gap => WatchItem::Gap,
            core::WatchEvent::Lost(loss) => {
                watch.ended = true;
                WatchItem::Lost(loss)
            }
        };
        match item {
            // It is the last word and may stand beyond the bound.
            WatchItem::Lost(_) => watch.queue.push_back(item),
            _ if watch.queue.len() < watch.max => watch.queue.push_back(item),
            _ if watch.queue.back() == Some(&WatchItem::Gap) => {}
            _ => watch.queue.push_back(WatchItem::Gap),
        }
        watch.waker.take()
    }

    /// Everybody.
    pub(crate) fn all(&self) -> Vec<Watcher> {
        self.watches.keys().copied().collect()
    }

    /// The next item; `None` when nothing follows.
    pub(crate) fn poll(
        &mut self,
        watcher: Watcher,
        cx: &mut Context<'_>,
    ) -> Poll<Option<WatchItem>> {
        let Some(watch) = self.watches.get_mut(&watcher) else { return Poll::Ready(None) };
        match watch.queue.pop_front() {
            Some(item) => Poll::Ready(Some(item)),
            None if watch.ended => Poll::Ready(None),
            None => {
                watch.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Its holder is gone. True if the watch may still be armed.
    pub(crate) fn remove(&mut self, watcher: Watcher) -> bool {
        self.watches.remove(&watcher).is_some_and(|watch| !watch.ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{End, Loss};
    use oxkeeper_proto::response::EventType;

    fn fired(path: &str) -> core::WatchEvent {
        let event = EventType::NodeDataChanged;
        core::WatchEvent::Fired { event, path: path.to_owned(), zxid: None }
    }

    fn drain(watchers: &mut Watchers, watcher: Watcher) -> Vec<String> {
        let mut cx = Context::from_waker(Waker::noop());
        let mut all = Vec::new();
        while let Poll::Ready(Some(item)) = watchers.poll(watcher, &mut cx) {
            all.push(match item {
                WatchItem::Event(event) => event.path,
                WatchItem::Gap => "gap".to_owned(),
                WatchItem::Lost(_) => "lost".to_owned(),
            });
        }
        all
    }

    #[test]
    fn what_does_not_fit_is_one_gap_and_what_follows_is_told_again() {
        let mut watchers = Watchers::default();
        let slow = watchers.insert(Some(2));
        for path in ["/1", "/2", "/3", "/4"] {
            watchers.tell(slow, fired(path));
        }
        assert_eq!(drain(&mut watchers, slow), ["/1", "/2", "gap"]);
        watchers.tell(slow, fired("/5"));
        watchers.tell(slow, fired("/6"));
        watchers.tell(slow, fired("/7"));
        watchers.tell(slow, core::WatchEvent::Lost(Loss::Session(End::Expired)));
        watchers.tell(slow, fired("/8"));
        assert_eq!(drain(&mut watchers, slow), ["/5", "/6", "gap", "lost"]);
        assert!(!watchers.remove(slow), "nothing is armed any more");
    }

    #[test]
    fn a_one_shot_watch_ends_with_its_event() {
        let mut watchers = Watchers::default();
        let once = watchers.insert(None);
        watchers.tell(once, fired("/1"));
        watchers.tell(once, fired("/2"));
        assert_eq!(drain(&mut watchers, once), ["/1"]);
        let armed = watchers.insert(None);
        assert!(watchers.remove(armed) && !watchers.holds(armed));
        assert_eq!(watchers.tell(armed, fired("/1")).map(drop), None);
    }
}
