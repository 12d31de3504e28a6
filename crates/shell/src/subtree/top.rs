//! `top`: what changes most, round by round.
//!
//! A recursive watch is counted by path. A server tells of changes, not of reads, and tells of
//! several changes of a znode in a moment one by one.

use std::collections::HashMap;
use std::time::Duration;

use oxkeeper_client::{AddWatchMode, EventType, WatchItem, WatchStream};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use crate::failure::{Failure, Kind};
use crate::flags::Given;
use crate::out::Style;
use crate::shell::{OnPath, Shell};

/// Lines of a round.
const LINES: usize = 20;
/// Paths that are counted one by one in a round; the others are counted together.
const PATHS: usize = 100_000;

/// Changes of a path, or of many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Changes {
    created: u64,
    deleted: u64,
    changed: u64,
}

impl Changes {
    fn add(&mut self, kind: EventType) {
        match kind {
            EventType::NodeCreated => self.created += 1,
            EventType::NodeDeleted => self.deleted += 1,
            EventType::NodeDataChanged => self.changed += 1,
            // A recursive watch tells of the children themselves.
            EventType::NodeChildrenChanged => {}
        }
    }

    fn sum(self) -> u64 {
        self.created + self.deleted + self.changed
    }
}

/// One round.
#[derive(Debug, Default)]
struct Round {
    paths: HashMap<String, Changes>,
    all: Changes,
    gaps: u64,
}

impl Round {
    fn add(&mut self, path: String, kind: EventType) {
        self.all.add(kind);
        if self.paths.len() < PATHS || self.paths.contains_key(&path) {
            self.paths.entry(path).or_default().add(kind);
        }
    }

    /// The paths that changed most, and by name where they changed as often.
    fn most(&self) -> Vec<(&str, Changes)> {
        let mut paths: Vec<_> =
            self.paths.iter().map(|(path, changes)| (path.as_str(), *changes)).collect();
        paths.sort_by(|one, other| other.1.sum().cmp(&one.1.sum()).then(one.0.cmp(other.0)));
        paths.truncate(LINES);
        paths
    }
}

/// `top [-n rounds] [-t seconds] [path]`.
///
/// # Errors
/// If the subtree cannot be watched, or the session ends.
pub async fn top(shell: &mut Shell, given: &Given) -> Result<(), Failure> {
    let path = given.args.first().map_or("/", String::as_str);
    let rounds: Option<u64> = given.number("-n")?;
    let seconds: f64 = given.number("-t")?.unwrap_or(5.0);
    if !(0.1..=86_400.0).contains(&seconds) {
        return Err(Failure::usage(format!("-t {seconds}: not a length"))
            .hint("-t takes seconds, such as -t 10"));
    }
    let zk = shell.zk()?;
    let mut stream = zk.add_watch(path, AddWatchMode::Recursive).await.on(path)?;
    let length = Duration::from_secs_f64(seconds);
    let mut number = 0;
    while rounds.is_none_or(|rounds| number < rounds) && !shell.out.gone() {
        let round = collect(&mut stream, length).await?;
        number += 1;
        tell(shell, &round, length);
    }
    Ok(())
}

async fn collect(stream: &mut WatchStream, length: Duration) -> Result<Round, Failure> {
    let mut round = Round::default();
    let until = Instant::now() + length;
    while let Ok(item) = timeout_at(until, stream.next()).await {
        match item {
            Some(WatchItem::Event(event)) => round.add(event.path, event.kind),
            Some(WatchItem::Gap) => round.gaps += 1,
            Some(WatchItem::Lost(loss)) => {
                return Err(Failure::new(Kind::SessionOver, loss.to_string())
                    .hint("connect begins a new session"));
            }
            None => return Err(Failure::new(Kind::SessionOver, "the watch is gone")),
        }
    }
    Ok(round)
}

fn tell(shell: &Shell, round: &Round, length: Duration) {
    let most = round.most();
    let Changes { created, deleted, changed } = round.all;
    if shell.json {
        let paths: Vec<Value> = most
            .iter()
            .map(|(path, c)| {
                json!({"path": path, "created": c.created, "deleted": c.deleted,
                       "changed": c.changed})
            })
            .collect();
        return shell.out.json(&json!({
            "seconds": length.as_secs_f64(), "created": created, "deleted": deleted,
            "changed": changed, "gaps": round.gaps, "paths": paths,
        }));
    }
    let per_second = round.all.sum() as f64 / length.as_secs_f64();
    let head = format!(
        "{} changes in {:.1} s, {per_second:.1}/s: {created} created, {changed} changed, \
         {deleted} deleted",
        round.all.sum(),
        length.as_secs_f64(),
    );
    shell.out.line(shell.out.styled(Style::Bold, &head));
    if round.gaps > 0 {
        shell.out.note("more came than could be counted");
    }
    for (path, c) in most {
        let detail = format!("+{} ~{} -{}", c.created, c.changed, c.deleted);
        shell.out.line(format!("{:8}  {detail:<18} {path}", c.sum()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_most_comes_first() {
        let mut round = Round::default();
        for _ in 0..3 {
            round.add("/b".to_owned(), EventType::NodeDataChanged);
        }
        round.add("/c".to_owned(), EventType::NodeCreated);
        round.add("/a".to_owned(), EventType::NodeDeleted);
        let most: Vec<&str> = round.most().into_iter().map(|(path, _)| path).collect();
        assert_eq!(most, ["/b", "/a", "/c"]);
        assert_eq!(round.all, Changes { created: 1, deleted: 1, changed: 3 });
    }

    #[test]
    fn too_many_paths_are_counted_together() {
        let mut round = Round::default();
        for number in 0..PATHS + 10 {
            round.add(format!("/{number}"), EventType::NodeCreated);
        }
        assert_eq!((round.paths.len(), round.all.created), (PATHS, PATHS as u64 + 10));
    }
}
