//! What makes two servers' answers comparable, and nothing more.
//!
//! | on the wire | compared as |
//! |---|---|
//! | zxid | itself: both servers start empty and must use up zxids at the same steps |
//! | session id | the run's name for the session, in handshakes and as an ephemeral's owner |
//! | password | whether it is the one that follows from the session id |
//! | ctime, mtime | left out once they are known to be the time of their czxid or mzxid |
//! | lists without order (D07) | sorted |
//!
//! A value that does not fit its rule is shown as it is, so that it differs from the other side's.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::step::SessionName;
use crate::wire::request::password_of;

/// How far a server's clock may seem to be from ours: both read the same one.
const CLOCK_SLACK: Duration = Duration::from_secs(2);

/// One server's side of the translation.
#[derive(Debug)]
pub struct Normal {
    sessions: HashMap<i64, SessionName>,
    times_ms: HashMap<i64, i64>,
    /// No time before this is believed, nor one in the future; none for what was recorded.
    started_ms: Option<i64>,
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

impl Normal {
    /// Knows nothing yet; no time before now will be believed.
    pub fn new() -> Self {
        let slack = i64::try_from(CLOCK_SLACK.as_millis()).unwrap_or(0);
        Self { started_ms: Some(now_ms() - slack), ..Self::recorded() }
    }

    /// For answers recorded long ago.
    pub fn recorded() -> Self {
        Self { sessions: HashMap::new(), times_ms: HashMap::new(), started_ms: None }
    }

    /// From now on this id is shown by this name.
    pub fn name_session(&mut self, id: i64, name: SessionName) {
        self.sessions.insert(id, name);
    }

    /// The time of a transaction, if an answer has shown it.
    pub fn time_of(&self, zxid: i64) -> Option<i64> {
        self.times_ms.get(&zxid).copied()
    }

    /// An owner as it is stored, as a client is shown it: the marks of containers and TTL znodes
    /// are not.
    pub fn owner(&self, stored: i64) -> Value {
        const CONTAINER: i64 = i64::MIN;
        let is_ttl = stored.cast_unsigned() >> 56 == 0xff;
        if stored == 0 || stored == CONTAINER || is_ttl { json!(0) } else { self.session(stored) }
    }

    fn session(&self, id: i64) -> Value {
        match self.sessions.get(&id) {
            Some(name) => format!("session {name}").into(),
            None => id.into(),
        }
    }

    /// Makes the answer to a handshake comparable.
    pub fn connect(&self, reply: &mut Value) {
        let id = reply["sessionId"].as_i64().unwrap_or(0);
        if id != 0 {
            let derived = crate::wire::reply::blob(&password_of(id));
            if reply["passwd"] == derived {
                reply["passwd"] = "that of the session id".into();
            }
            reply["sessionId"] = self.session(id);
        }
    }

    /// Makes any other answer comparable.
    pub fn reply(&mut self, reply: &mut Value) {
        for list in ["children", "ephemerals", "clientInfo"] {
            if let Some(Value::Array(items)) = reply.get_mut(list) {
                items.sort_by_key(Value::to_string);
            }
        }
        if let Some(Value::Array(entries)) = reply.get_mut("acl") {
            sort_identities(entries);
        }
        if let Some(stat) = reply.get_mut("stat") {
            self.stat(stat);
        }
        if let Some(Value::Array(results)) = reply.get_mut("results") {
            results.iter_mut().for_each(|result| self.reply(result));
        }
    }

    fn stat(&mut self, stat: &mut Value) {
        for (time, zxid) in [("ctime", "czxid"), ("mtime", "mzxid")] {
            let (Some(ms), Some(zxid)) = (stat[time].as_i64(), stat[zxid].as_i64()) else {
                continue;
            };
            stat[time] = match self.time(zxid, ms) {
                Ok(()) => json!("its zxid's"),
                Err(why) => json!(format!("{ms}: {why}")),
            };
        }
        if let Some(owner) = stat["ephemeralOwner"].as_i64().filter(|owner| *owner != 0) {
            stat["ephemeralOwner"] = self.session(owner);
        }
    }

    /// Checks that `ms` is the time of the transaction `zxid`.
    fn time(&mut self, zxid: i64, ms: i64) -> Result<(), String> {
        if zxid == 0 {
            return if ms == 0 { Ok(()) } else { Err("the first tree has no time".into()) };
        }
        let known = *self.times_ms.entry(zxid).or_insert(ms);
        if known != ms {
            return Err(format!("zxid {zxid:#x} was made at {known}"));
        }
        let now = now_ms();
        match self.started_ms {
            Some(started) if ms < started || ms > now => {
                Err(format!("not between {started} and {now}"))
            }
            _ => Ok(()),
        }
    }
}

/// Sorts what `auth` in an ACL was replaced by (D07): such entries stand together, of one scheme
/// and with one set of permissions.
pub fn sort_identities(acl: &mut [Value]) {
    let together = |a: &Value, b: &Value| a["scheme"] == b["scheme"] && a["perms"] == b["perms"];
    for identities in acl.chunk_by_mut(together) {
        identities.sort_by_key(Value::to_string);
    }
}

/// Sorts events that stand together and have one zxid; their order is nobody's promise when a
/// session with several ephemerals ends (D07).
pub fn sort_events_of_one_change(lines: &mut [Value]) {
    let one_change = |a: &Value, b: &Value| {
        a["op"] == "event" && b["op"] == "event" && a["zxid"] == b["zxid"] && a["slot"] == b["slot"]
    };
    for run in lines.chunk_by_mut(one_change) {
        run.sort_by_key(Value::to_string);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(ctime: i64, owner: i64) -> Value {
        json!({ "stat": { "czxid": 5, "ctime": ctime, "mzxid": 5, "mtime": ctime,
                          "ephemeralOwner": owner } })
    }

    #[test]
    fn a_time_must_be_that_of_its_zxid() {
        let mut normal = Normal::new();
        let now = now_ms();
        let mut first = stat(now, 0);
        normal.reply(&mut first);
        assert_eq!(first["stat"]["ctime"], "its zxid's");
        let mut later = stat(now - 1, 0);
        normal.reply(&mut later);
        assert_ne!(later["stat"]["ctime"], "its zxid's", "another time for the same zxid");
        let mut old = json!({ "stat": { "czxid": 6, "ctime": 99 } });
        normal.reply(&mut old);
        assert_ne!(old["stat"]["ctime"], "its zxid's", "long before the run");
    }

    #[test]
    fn sessions_are_called_by_name_and_strangers_by_id() {
        let mut normal = Normal::new();
        normal.name_session(77, 3);
        let mut known = stat(now_ms(), 77);
        normal.reply(&mut known);
        assert_eq!(known["stat"]["ephemeralOwner"], "session 3");
        let mut stranger = stat(now_ms(), 78);
        normal.reply(&mut stranger);
        assert_eq!(stranger["stat"]["ephemeralOwner"], 78);
    }

    #[test]
    fn only_events_of_one_change_are_sorted() {
        let event = |zxid: i64, path: &str| json!({ "op": "event", "zxid": zxid, "path": path });
        let mut lines = [event(1, "/b"), event(1, "/a"), event(2, "/b"), json!({ "op": "x" })];
        sort_events_of_one_change(&mut lines);
        assert_eq!(lines[..3], [event(1, "/a"), event(1, "/b"), event(2, "/b")]);
    }
}
