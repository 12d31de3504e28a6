//! Registered watches: who is to be told what.
//!
//! A watch is registered when the reply says that the server armed it, never before. The client
//! keeps *watchers*, numbers that its user chose; the server knows only paths and kinds, one watch
//! each however many watchers there are. One-shot watchers are taken out as they are told. All
//! paths here are the server's (`ZKWatchManager`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use oxkeeper_proto::data::encode_strings;
use oxkeeper_proto::response::EventType;
use oxkeeper_proto::{OpCode, Put, Zxid};

use super::limits::REARM_BYTES;
use super::outcome::End;

/// Who is told: a number chosen by the client's user.
///
/// ```
/// use oxkeeper_client::core::{Call, Watcher};
/// use oxkeeper_proto::{Request, request::PathWatch};
///
/// let read = Request::Exists(PathWatch { path: "/a".into(), watch: true });
/// assert_eq!(Call::watched(read, Watcher(7)).watcher, Some(Watcher(7)));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Watcher(pub u64);

/// What a watcher is told.
///
/// ```
/// use oxkeeper_client::core::{Loss, WatchEvent};
///
/// let news = [WatchEvent::Gap, WatchEvent::Lost(Loss::Removed)];
/// let armed = news.iter().all(|event| !matches!(event, WatchEvent::Lost(_)));
/// assert!(!armed, "behind a loss nothing follows");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchEvent {
    /// A watched znode changed.
    Fired {
        /// How.
        event: EventType,
        /// Where, as the client names it.
        path: String,
        /// By which transaction; servers before 3.9 do not say, nor does any server for a change
        /// that it found while watches were set again.
        zxid: Option<Zxid>,
    },
    /// Only persistent watchers: the connection was lost and is back, the watch is armed again,
    /// and what changed in between was not told. Not said if nothing changed at all.
    Gap,
    /// The watch is gone; nothing follows for this registration.
    Lost(Loss),
}

/// Why a watch is gone before it fired.
///
/// ```
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = oxkeeper_client::Client::connect(&servers).await?;
/// use oxkeeper_client::{End, Loss};
///
/// let (_, watch) = zk.exists("/nothing-yet").watch().await?;
/// zk.close().await;
/// assert_eq!(watch.await, Err(Loss::Session(End::Closed)));
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Loss {
    /// Its user had it removed.
    Removed,
    /// The session ended.
    Session(End),
}

/// The kinds of watches, each with a table of its own.
///
/// ```
/// use oxkeeper_client::core::WatchKind;
///
/// assert!(WatchKind::Data < WatchKind::Exist, "setWatches lists them in this order");
/// assert!(WatchKind::Child < WatchKind::Persistent);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WatchKind {
    /// On a znode's data (getData, exists).
    Data,
    /// On a znode that was absent (exists).
    Exist,
    /// On a znode's children.
    Child,
    /// On a znode, until removed.
    Persistent,
    /// On a subtree, until removed.
    Recursive,
}

use WatchKind::{Child, Data, Exist, Persistent, Recursive};

/// The kinds that a removal names (`WatcherType`): 1 children, 2 data, 3 any, 4 and 5 persistent.
/// `None` is a number that no server knows.
pub(crate) fn kinds_of_removal(number: i32) -> Option<&'static [WatchKind]> {
    Some(match number {
        1 => &[Child],
        2 => &[Data, Exist],
        3 => &[Data, Exist, Child, Persistent, Recursive],
        4 => &[Persistent],
        5 => &[Recursive],
        _ => return None,
    })
}

/// See the module's essay.
#[derive(Debug, Default)]
pub(crate) struct Watches {
    /// Who is told of what happens at a path, in the order of registration.
    tables: [BTreeMap<Arc<str>, Vec<Watcher>>; 5],
    /// The same registrations by watcher: who leaves is found without looking at all paths.
    by_watcher: BTreeSet<(Watcher, WatchKind, Arc<str>)>,
}

impl Watches {
    /// Registrations now.
    pub(crate) fn len(&self) -> usize {
        self.by_watcher.len()
    }

    pub(crate) fn add(&mut self, kind: WatchKind, path: &str, watcher: Watcher) {
        let table = &mut self.tables[kind as usize];
        let known = table.get_key_value(path).map(|(path, _)| Arc::clone(path));
        let path = known.unwrap_or_else(|| path.into());
        if self.by_watcher.insert((watcher, kind, Arc::clone(&path))) {
            table.entry(path).or_default().push(watcher);
        }
    }

    /// Who is to be told of an event, each once, one-shot watchers taken out.
    pub(crate) fn fire(&mut self, event: EventType, path: &str) -> Vec<Watcher> {
        let mut told = Vec::new();
        let one_shot: &[WatchKind] = match event {
            EventType::NodeCreated | EventType::NodeDataChanged => &[Data, Exist],
            EventType::NodeChildrenChanged => &[Child],
            EventType::NodeDeleted => &[Data, Exist, Child],
        };
        for kind in one_shot {
            if let Some((path, list)) = self.tables[*kind as usize].remove_entry(path) {
                for watcher in list {
                    self.by_watcher.remove(&(watcher, *kind, Arc::clone(&path)));
                    told.push(watcher);
                }
            }
        }
        told.extend(self.tables[Persistent as usize].get(path).into_iter().flatten());
        // A recursive watch is told of each child itself. The server sends this event for others.
        if event != EventType::NodeChildrenChanged && !self.tables[Recursive as usize].is_empty() {
            for above in ancestors(path) {
                told.extend(self.tables[Recursive as usize].get(above).into_iter().flatten());
            }
        }
        let mut seen = BTreeSet::new();
        told.retain(|watcher| seen.insert(*watcher));
        told
    }

    /// Takes out a watcher, or all, of these kinds at this path and returns who went.
    pub(crate) fn remove(
        &mut self,
        kinds: &[WatchKind],
        path: &str,
        which: Option<Watcher>,
    ) -> BTreeSet<Watcher> {
        let mut gone = BTreeSet::new();
        for kind in kinds {
            let Some((path, list)) = self.tables[*kind as usize].get_key_value(path) else {
                continue;
            };
            let path = Arc::clone(path);
            let leaving = list.iter().filter(|watcher| which.is_none_or(|w| w == **watcher));
            for watcher in leaving.copied().collect::<Vec<_>>() {
                self.take_out(watcher, *kind, &path);
                gone.insert(watcher);
            }
        }
        gone
    }

    /// True if somebody else shares a server's watch with `watcher`.
    pub(crate) fn shared(&self, kinds: &[WatchKind], path: &str, watcher: Watcher) -> bool {
        let mut lists = kinds.iter().filter_map(|kind| self.tables[*kind as usize].get(path));
        lists.any(|list| list.iter().any(|other| *other != watcher))
    }

    /// Takes a watcher out everywhere.
    pub(crate) fn forget(&mut self, watcher: Watcher) {
        let all = self.by_watcher.range((watcher, Data, Arc::from(""))..);
        let own = all.take_while(|(of, ..)| *of == watcher);
        let own: Vec<_> = own.map(|(_, kind, path)| (*kind, Arc::clone(path))).collect();
        for (kind, path) in own {
            self.take_out(watcher, kind, &path);
        }
    }

    fn take_out(&mut self, watcher: Watcher, kind: WatchKind, path: &Arc<str>) {
        self.by_watcher.remove(&(watcher, kind, Arc::clone(path)));
        let table = &mut self.tables[kind as usize];
        if let Some(list) = table.get_mut(path) {
            list.retain(|other| *other != watcher);
            if list.is_empty() {
                table.remove(path);
            }
        }
    }

    /// All persistent and recursive watchers.
    pub(crate) fn persistent(&self) -> BTreeSet<Watcher> {
        let tables = [&self.tables[Persistent as usize], &self.tables[Recursive as usize]];
        tables.into_iter().flat_map(|table| table.values().flatten().copied()).collect()
    }

    /// Takes everything out and returns who was there.
    pub(crate) fn drain(&mut self) -> BTreeSet<Watcher> {
        let all = std::mem::take(self).by_watcher;
        all.into_iter().map(|(watcher, ..)| watcher).collect()
    }

    /// The requests that arm all this on a new connection, bodies encoded
    /// (`ClientCnxn.SendThread.primeConnection`): the kinds in Java's order, cut where the paths of
    /// one request reach their bound, setWatches2 only where it is needed.
    pub(crate) fn rearm(&self, relative: Zxid) -> Vec<(OpCode, Vec<u8>)> {
        let mut requests = Vec::new();
        let mut lists: [Vec<&str>; 5] = Default::default();
        let mut bytes = 0;
        for kind in [Data, Exist, Child, Persistent, Recursive] {
            for path in self.tables[kind as usize].keys() {
                lists[kind as usize].push(path);
                bytes += path.len();
                if bytes >= REARM_BYTES {
                    requests.push(encode_rearm(relative, &lists));
                    lists = Default::default();
                    bytes = 0;
                }
            }
        }
        if lists.iter().any(|list| !list.is_empty()) {
            requests.push(encode_rearm(relative, &lists));
        }
        requests
    }
}

fn encode_rearm(relative: Zxid, lists: &[Vec<&str>; 5]) -> (OpCode, Vec<u8>) {
    let mut body = Vec::new();
    body.put_long(relative.0);
    let second = lists[3..].iter().any(|list| !list.is_empty());
    for list in &lists[..if second { 5 } else { 3 }] {
        encode_strings(&mut body, list);
    }
    (if second { OpCode::SET_WATCHES2 } else { OpCode::SET_WATCHES }, body)
}

/// A path and all above it, the root last.
fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| match path.rfind('/') {
        Some(0) if path.len() > 1 => Some("/"),
        Some(at) if at > 0 => Some(&path[..at]),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use oxkeeper_proto::{Reader, Request};
    use proptest::prelude::*;

    #[test]
    fn one_shot_watchers_are_told_once_and_persistent_ones_each_time() {
        let mut watches = Watches::default();
        watches.add(Data, "/a", Watcher(1));
        watches.add(Data, "/a", Watcher(1));
        watches.add(Child, "/a", Watcher(1));
        watches.add(Persistent, "/a", Watcher(2));
        assert_eq!(watches.len(), 3);
        let changed = EventType::NodeDataChanged;
        assert_eq!(watches.fire(changed, "/a"), [Watcher(1), Watcher(2)]);
        assert_eq!(watches.fire(changed, "/a"), [Watcher(2)]);
        assert_eq!(watches.fire(EventType::NodeDeleted, "/a"), [Watcher(1), Watcher(2)]);
        assert_eq!(watches.len(), 1);
    }

    #[test]
    fn a_watcher_in_two_tables_hears_of_an_event_once() {
        let mut watches = Watches::default();
        for kind in [Data, Child, Persistent, Recursive] {
            watches.add(kind, "/a", Watcher(1));
        }
        assert_eq!(watches.fire(EventType::NodeDeleted, "/a"), [Watcher(1)]);
    }

    #[test]
    fn recursive_watchers_hear_of_all_below_but_of_no_lists_of_children() {
        let mut watches = Watches::default();
        watches.add(Recursive, "/", Watcher(1));
        watches.add(Recursive, "/a", Watcher(2));
        watches.add(Recursive, "/a/b", Watcher(3));
        let told = watches.fire(EventType::NodeCreated, "/a/bc");
        assert_eq!(told, [Watcher(2), Watcher(1)]);
        assert!(watches.fire(EventType::NodeChildrenChanged, "/a").is_empty());
        assert_eq!(watches.fire(EventType::NodeCreated, "/b"), [Watcher(1)]);
    }

    #[test]
    fn removal_takes_one_or_all_and_knows_who_shares() {
        let mut watches = Watches::default();
        let data = kinds_of_removal(2).unwrap();
        watches.add(Data, "/a", Watcher(1));
        assert!(!watches.shared(data, "/a", Watcher(1)));
        watches.add(Exist, "/a", Watcher(2));
        watches.add(Child, "/a", Watcher(3));
        assert!(watches.shared(data, "/a", Watcher(1)), "one watch on the server");
        assert_eq!(watches.remove(data, "/a", Some(Watcher(2))), [Watcher(2)].into());
        assert_eq!(watches.remove(data, "/a", Some(Watcher(2))), [].into());
        let any = kinds_of_removal(3).unwrap();
        assert_eq!(watches.remove(any, "/a", None), [Watcher(1), Watcher(3)].into());
        assert_eq!(watches.len(), 0);
        assert!(kinds_of_removal(0).is_none() && kinds_of_removal(6).is_none());
    }

    proptest! {
        /// Both views hold the same, whatever comes and goes.
        #[test]
        fn the_two_views_of_registrations_agree(
            steps in prop::collection::vec((0..6, 0usize..5, 0u64..4, 0usize..4), 1..60),
        ) {
            let mut watches = Watches::default();
            let mut plain = BTreeSet::new();
            let paths = ["/", "/a", "/a/b", "/c"];
            for (step, kind, watcher, path) in steps {
                let (path, watcher) = (paths[path], Watcher(watcher));
                let kind = [Data, Exist, Child, Persistent, Recursive][kind];
                match step {
                    0..3 => {
                        watches.add(kind, path, watcher);
                        plain.insert((watcher, kind, path));
                    }
                    3 => {
                        watches.remove(&[kind], path, Some(watcher));
                        plain.remove(&(watcher, kind, path));
                    }
                    4 => {
                        watches.forget(watcher);
                        plain.retain(|(of, ..)| *of != watcher);
                    }
                    _ => {
                        watches.fire(EventType::NodeDeleted, path);
                        plain.retain(|(_, kind, at)| {
                            *at != path || matches!(kind, Persistent | Recursive)
                        });
                    }
                }
                let views = watches.by_watcher.iter().map(|(w, k, p)| (*w, *k, &**p));
                prop_assert_eq!(views.collect::<BTreeSet<_>>(), plain.clone());
                let mut listed = BTreeSet::new();
                for kind in [Data, Exist, Child, Persistent, Recursive] {
                    for (path, list) in &watches.tables[kind as usize] {
                        prop_assert!(!list.is_empty());
                        listed.extend(list.iter().map(|w| (*w, kind, &**path)));
                    }
                }
                prop_assert_eq!(listed, plain.clone());
            }
        }
    }

    fn decoded(request: &(OpCode, Vec<u8>)) -> Vec<Vec<String>> {
        let Ok(Some(Request::SetWatches(set))) =
            Request::decode(request.0, &mut Reader::new(&request.1))
        else {
            panic!("no setWatches: {request:?}")
        };
        assert_eq!(set.relative_zxid, Zxid(7));
        let lists = [Some(set.data), Some(set.exist), Some(set.child)];
        let lists = lists.into_iter().chain([set.persistent, set.recursive]).flatten();
        lists.map(|list| list.iter().map(|path| path.into_owned()).collect()).collect()
    }

    #[test]
    fn old_servers_are_not_asked_for_what_they_do_not_know() {
        let mut watches = Watches::default();
        assert!(watches.rearm(Zxid(7)).is_empty());
        watches.add(Data, "/d", Watcher(1));
        watches.add(Child, "/c", Watcher(1));
        let requests = watches.rearm(Zxid(7));
        assert_eq!(requests[0].0, OpCode::SET_WATCHES);
        assert_eq!(decoded(&requests[0]), [vec!["/d"], vec![], vec!["/c"]]);
        watches.add(Recursive, "/r", Watcher(1));
        let requests = watches.rearm(Zxid(7));
        assert_eq!((requests.len(), requests[0].0), (1, OpCode::SET_WATCHES2));
        assert_eq!(decoded(&requests[0]), [vec!["/d"], vec![], vec!["/c"], vec![], vec!["/r"]]);
    }

    #[test]
    fn many_watches_are_set_again_in_pieces_that_a_server_takes_and_none_is_left_out() {
        let mut watches = Watches::default();
        let mut all = BTreeSet::new();
        for n in 0..4000 {
            let path = format!("/{n:0>99}");
            watches.add([Data, Child, Recursive][n % 3], &path, Watcher(n as u64));
            all.insert(path);
        }
        let requests = watches.rearm(Zxid(7));
        assert_eq!(requests.len(), 4000 * 100 / REARM_BYTES + 1);
        let mut seen = BTreeSet::new();
        for request in &requests {
            assert!(request.1.len() < 2 * REARM_BYTES);
            seen.extend(decoded(request).into_iter().flatten());
        }
        assert_eq!(seen, all);
        assert_eq!(requests[0].0, OpCode::SET_WATCHES, "the first piece has no persistent ones");
    }
}
