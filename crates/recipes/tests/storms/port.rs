//! The simulated client as a port of recipes: the product's own sans-IO client, its requests and
//! watches as futures that the executor of `world` polls.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use oxkeeper_client::core::{
    Answer, Call, Fate, OpAnswer, Outcome, Refused, State, Ticket, WatchEvent, Watcher,
};
use oxkeeper_proto::request::{
    CreateRequest, MultiOp, MultiRequest, PathKind, PathVersion, PathWatch, SetDataRequest,
};
use oxkeeper_proto::{OPEN_ACL_UNSAFE, OpCode, Reader, Request};
use oxkeeper_recipes::port::{
    Alarm, Asked, Edit, ErrorCode, Failure, Kind, New, Pending, Port, Standing, Stat, TreeAlert,
    TreeWatch,
};

use crate::world::{Heard, Shared1, Taken, World, is_over};

#[derive(Clone)]
pub struct SimPort {
    pub world: World,
    pub seat: usize,
}

/// A request under way. Dropped before it was sent, it is not sent any more.
struct Asking {
    port: SimPort,
    ticket: Ticket,
    slot: Taken<Outcome>,
}

impl Future for Asking {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        Pin::new(&mut self.slot).poll(cx)
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.port.world.lock().seats[self.port.seat].client.cancel(self.ticket);
    }
}

/// A watcher; dropped, it is forgotten.
struct Listener {
    port: SimPort,
    watcher: Watcher,
    heard: Arc<Mutex<Heard>>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut ground = self.port.world.lock();
        let seat = &mut ground.seats[self.port.seat];
        seat.client.forget(self.watcher);
        seat.watchers.remove(&self.watcher);
    }
}

impl Listener {
    fn poll_event(&self, cx: &mut Context<'_>) -> Poll<WatchEvent> {
        let mut heard = self.heard.lock().unwrap();
        match heard.events.pop_front() {
            Some(event) => Poll::Ready(event),
            None => {
                heard.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

fn alarm(listener: Listener) -> Alarm {
    Box::pin(async move {
        std::future::poll_fn(|cx| listener.poll_event(cx)).await;
    })
}

struct SimTreeWatch(Listener);

impl TreeWatch for SimTreeWatch {
    fn next(&mut self) -> Pin<Box<dyn Future<Output = TreeAlert> + Send + '_>> {
        Box::pin(async {
            match std::future::poll_fn(|cx| self.0.poll_event(cx)).await {
                WatchEvent::Fired { event, path, .. } => TreeAlert::Fired(event, path),
                WatchEvent::Gap => TreeAlert::Gap,
                WatchEvent::Lost(_) => TreeAlert::Lost,
            }
        })
    }
}

fn failed(outcome: &Outcome) -> Failure {
    let (code, over) = match outcome {
        Outcome::Failed { code, .. } => {
            (Some(*code), matches!(*code, ErrorCode::SESSION_EXPIRED | ErrorCode::AUTH_FAILED))
        }
        Outcome::NotSent(unsent) => {
            (None, matches!(unsent, oxkeeper_client::core::Unsent::Over(_)))
        }
        Outcome::Done { .. } | Outcome::Unknown(_) => (None, false),
    };
    let text = format!("{outcome:?}");
    Failure { code, fate: outcome.fate(), session_over: over, index: None, text }
}

fn refused(refused: &Refused) -> Failure {
    let session_over = *refused == Refused::Over;
    let text = refused.to_string();
    Failure { code: None, fate: Fate::DidNotHappen, session_over, index: None, text }
}

fn create_request(new: &New) -> CreateRequest<'_> {
    let (op, flags, ttl_ms) = match new.kind {
        Kind::Persistent => (OpCode::CREATE2, 0, -1),
        Kind::Ephemeral => (OpCode::CREATE2, 1, -1),
        Kind::Sequential => (OpCode::CREATE2, 2, -1),
        Kind::EphemeralSequential => (OpCode::CREATE2, 3, -1),
        Kind::Container => (OpCode::CREATE_CONTAINER, 4, -1),
        Kind::Ttl(ttl) => (OpCode::CREATE_TTL, 5, ttl.as_millis() as i64),
    };
    CreateRequest {
        op,
        path: new.path.as_str().into(),
        data: Some(&new.data),
        acl: OPEN_ACL_UNSAFE,
        flags,
        ttl_ms,
    }
}

fn edit_op(edit: &Edit) -> MultiOp<'_> {
    let of = |path: &'_ str, version: &Option<i32>| PathVersion {
        path: path.to_owned().into(),
        version: version.unwrap_or(-1),
    };
    match edit {
        Edit::Create(new) => MultiOp::Create(create_request(new)),
        Edit::Delete(path, version) => MultiOp::Delete(of(path, version)),
        Edit::Check(path, version) => MultiOp::Check(of(path, version)),
        Edit::Set(path, data, version) => MultiOp::SetData(SetDataRequest {
            path: path.as_str().into(),
            data: Some(data),
            version: version.unwrap_or(-1),
        }),
    }
}

impl SimPort {
    fn submit(&self, call: Call<'_>) -> Result<Asking, Failure> {
        let mut ground = self.world.lock();
        let now = ground.now.mono_us;
        let seat = &mut ground.seats[self.seat];
        match seat.client.submit(now, call) {
            Ok(ticket) => {
                let slot: Shared1<Outcome> = Arc::default();
                seat.outcomes.insert(ticket, Arc::clone(&slot));
                Ok(Asking { port: self.clone(), ticket, slot: Taken(slot) })
            }
            Err(error) => Err(refused(&error)),
        }
    }

    fn ask<T: Send + 'static>(
        &self,
        request: Request<'_>,
        read: impl FnOnce(Answer) -> T + Send + 'static,
    ) -> Asked<T> {
        let asking = self.submit(request.into());
        Box::pin(async move { Ok(read(answer(asking?.await)?)) })
    }

    fn watch<T: Send + 'static>(
        &self,
        request: Request<'_>,
        read: impl FnOnce(Result<Answer, Failure>, Listener) -> Result<T, Failure> + Send + 'static,
    ) -> Asked<T> {
        let (watcher, heard) = {
            let mut ground = self.world.lock();
            let seat = &mut ground.seats[self.seat];
            seat.next_watcher += 1;
            let (watcher, heard) = (Watcher(seat.next_watcher), Arc::default());
            seat.watchers.insert(watcher, Arc::clone(&heard));
            (watcher, heard)
        };
        let listener = Listener { port: self.clone(), watcher, heard };
        let asking = self.submit(Call::watched(request, watcher));
        Box::pin(async move { read(answer(asking?.await), listener) })
    }
}

fn answer(outcome: Outcome) -> Result<Answer, Failure> {
    match outcome {
        Outcome::Done { answer: Answer::MultiRefused { index, code }, .. } => Err(Failure {
            code: Some(code),
            fate: Fate::DidNotHappen,
            session_over: false,
            index: Some(index),
            text: code.to_string(),
        }),
        Outcome::Done { answer, .. } => Ok(answer),
        other => Err(failed(&other)),
    }
}

fn flagged(path: &str) -> PathWatch<'_> {
    PathWatch { path: path.into(), watch: false }
}

fn created(answer: Answer) -> (String, Stat) {
    match answer {
        Answer::CreatedWithStat(path, stat) => (path, stat),
        other => panic!("{other:?}"),
    }
}

fn data(answer: Answer) -> (Vec<u8>, Stat) {
    match answer {
        Answer::Data(data, stat) => (data.unwrap_or_default(), stat),
        other => panic!("{other:?}"),
    }
}

fn stat(answer: Answer) -> Stat {
    match answer {
        Answer::Stat(stat) => stat,
        other => panic!("{other:?}"),
    }
}

fn names(answer: Answer) -> Vec<String> {
    match answer {
        Answer::Children(names) => names,
        other => panic!("{other:?}"),
    }
}

fn absent<T>(found: Result<T, Failure>) -> Result<Option<T>, Failure> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(failure) if failure.is(ErrorCode::NO_NODE) => Ok(None),
        Err(failure) => Err(failure),
    }
}

impl Port for SimPort {
    fn create(&self, new: New) -> Asked<(String, Stat)> {
        self.ask(Request::Create(create_request(&new)), created)
    }

    fn delete(&self, path: &str, version: Option<i32>) -> Asked<()> {
        let of = PathVersion { path: path.into(), version: version.unwrap_or(-1) };
        self.ask(Request::Delete(of), |_| ())
    }

    fn set(&self, path: &str, data: Vec<u8>, version: Option<i32>) -> Asked<Stat> {
        let version = version.unwrap_or(-1);
        let of = SetDataRequest { path: path.into(), data: Some(&data), version };
        self.ask(Request::SetData(of), stat)
    }

    fn get(&self, path: &str) -> Asked<(Vec<u8>, Stat)> {
        self.ask(Request::GetData(flagged(path)), data)
    }

    fn get_watched(&self, path: &str) -> Asked<(Vec<u8>, Stat, Alarm)> {
        self.watch(Request::GetData(flagged(path)), |found, listener| {
            let (data, stat) = data(found?);
            Ok((data, stat, alarm(listener)))
        })
    }

    fn exists_watched(&self, path: &str) -> Asked<(Option<Stat>, Alarm)> {
        self.watch(Request::Exists(flagged(path)), |found, listener| {
            Ok((absent(found.map(stat))?, alarm(listener)))
        })
    }

    fn exists(&self, path: &str) -> Asked<Option<Stat>> {
        let found = self.ask(Request::Exists(flagged(path)), stat);
        Box::pin(async move { absent(found.await) })
    }

    fn children(&self, path: &str) -> Asked<Vec<String>> {
        self.ask(Request::GetChildren(flagged(path)), names)
    }

    fn children_watched(&self, path: &str) -> Asked<(Vec<String>, Alarm)> {
        self.watch(Request::GetChildren(flagged(path)), |found, listener| {
            Ok((names(found?), alarm(listener)))
        })
    }

    fn multi(&self, edits: Vec<Edit>) -> Asked<Vec<Option<String>>> {
        let mut raw = Vec::new();
        MultiRequest::encode_ops(&mut raw, edits.iter().map(edit_op));
        let multi = MultiRequest::decode(&mut Reader::new(&raw)).unwrap();
        self.ask(Request::Multi(multi), |answer| match answer {
            Answer::Multi(done) => done
                .into_iter()
                .map(|done| match done {
                    OpAnswer::Created(path, _) => Some(path),
                    _ => None,
                })
                .collect(),
            other => panic!("{other:?}"),
        })
    }

    fn sync(&self, path: &str) -> Asked<()> {
        self.ask(Request::Sync(Some(path.into())), |_| ())
    }

    fn watch_tree(&self, path: &str) -> Asked<Box<dyn TreeWatch>> {
        let of = PathKind { path: path.into(), kind: 1 };
        self.watch(Request::AddWatch(of), |found, listener| {
            found?;
            Ok(Box::new(SimTreeWatch(listener)) as Box<dyn TreeWatch>)
        })
    }

    fn standing(&self) -> Standing {
        match self.world.lock().seats[self.seat].client.state() {
            State::Connected { .. } => Standing::Connected,
            State::Connecting => Standing::Suspended(Duration::ZERO),
            State::Suspended { until_us, .. } => {
                Standing::Suspended(Duration::from_micros(until_us))
            }
            state => {
                assert!(is_over(state));
                Standing::Over
            }
        }
    }

    fn standing_other_than(&self, seen: Standing) -> Pending<Standing> {
        let port = self.clone();
        Box::pin(std::future::poll_fn(move |cx| {
            let now = port.standing();
            if now != seen {
                return Poll::Ready(now);
            }
            port.world.lock().seats[port.seat].standing.push(cx.waker().clone());
            Poll::Pending
        }))
    }

    fn session_id(&self) -> i64 {
        let ground = self.world.lock();
        let client = &ground.seats[self.seat].client;
        client.credentials().map_or(0, |credentials| credentials.session.0)
    }

    fn now(&self) -> Duration {
        Duration::from_micros(self.world.now())
    }

    fn wall_ms(&self) -> i64 {
        self.world.lock().now.wall_ms
    }

    fn pause(&self, time: Duration) -> Pending<()> {
        let machine = self.world.lock().seats[self.seat].machine;
        self.world.rest(machine, time.as_micros() as u64)
    }

    fn spawn(&self, task: Pending<()>) {
        let machine = self.world.lock().seats[self.seat].machine;
        self.world.spawn(machine, task);
    }

    fn unique(&self) -> u128 {
        let mut ground = self.world.lock();
        let seat = &mut ground.seats[self.seat];
        seat.next_unique += 1;
        (self.seat as u128) << 64 | u128::from(seat.next_unique)
    }
}
