//! What a server says once a session is established: answers, events, and nothing else.

use oxkeeper_proto::codec::DecodeError;
use oxkeeper_proto::response::{ReplyHeader, WatcherEvent, xid};
use oxkeeper_proto::{ErrorCode, OpCode, Reader, Zxid};

use super::answer::Answer;
use super::chroot::Chroot;
use super::outcome::{End, Outcome, Ticket, Violation};
use super::pending::{Asked, OnReply, Sent, What};
use super::watches::{Loss, WatchEvent};
use super::{Cause, Client, Effect, Phase};

impl Client {
    /// One frame. An error costs the connection.
    pub(super) fn reply(&mut self, reader: &mut Reader<'_>) -> Result<(), Violation> {
        let header = ReplyHeader::decode(reader)?;
        match header.xid {
            xid::PING => self.pinged(),
            xid::AUTH => self.auth_answered(&header),
            xid::NOTIFICATION => self.event(&header, reader),
            _ => self.answer(&header, reader),
        }
    }

    fn pinged(&mut self) -> Result<(), Violation> {
        let Phase::Up { pings, ping_us, .. } = &mut self.phase else { return Ok(()) };
        *pings = pings.checked_sub(1).ok_or(Violation::Unasked(xid::PING))?;
        // Of several under way only when the first was sent is known: an earlier time is safe.
        self.session.known_us = self.session.known_us.max(*ping_us);
        Ok(())
    }

    fn auth_answered(&mut self, header: &ReplyHeader) -> Result<(), Violation> {
        let accepted = header.err.is_ok();
        let ticket = self.auth.answered(accepted).ok_or(Violation::Unasked(xid::AUTH))?;
        if let Some(ticket) = ticket {
            let (zxid, code) = (header.zxid, header.err);
            let done = Outcome::Done { zxid, answer: Answer::Nothing };
            let outcome = if accepted { done } else { Outcome::Failed { zxid, code } };
            self.effects.push_back(Effect::Completed(ticket, outcome));
        }
        if header.err == ErrorCode::AUTH_FAILED {
            self.end(End::AuthFailed, true);
        }
        Ok(())
    }

    fn event(&mut self, header: &ReplyHeader, reader: &mut Reader<'_>) -> Result<(), Violation> {
        let WatcherEvent { event, path } = WatcherEvent::decode(reader)?;
        let watchers = self.watches.fire(event, &path);
        if watchers.is_empty() {
            return Ok(());
        }
        let path = self.chroot.strip(&path);
        let zxid = (header.zxid > Zxid::ZERO).then_some(header.zxid);
        for watcher in watchers {
            let told = WatchEvent::Fired { event, path: path.clone(), zxid };
            self.effects.push_back(Effect::Event(watcher, told));
        }
        Ok(())
    }

    /// The reply to the oldest request under way; whatever else it may be is a violation.
    fn answer(&mut self, header: &ReplyHeader, reader: &mut Reader<'_>) -> Result<(), Violation> {
        let expected = match self.pending.sent.front() {
            None => return Err(Violation::Unasked(header.xid)),
            Some(first) => first.xid,
        };
        if expected != header.xid {
            return Err(Violation::OutOfOrder { expected, found: header.xid });
        }
        // Replies that never reached the tree bear 0 or −1.
        let seen = self.session.last_zxid;
        if header.zxid > Zxid::ZERO {
            if header.zxid < seen {
                return Err(Violation::Behind { seen, found: header.zxid });
            }
            self.session.last_zxid = header.zxid;
        }
        let Some(Sent { sent_us, what, .. }) = self.pending.pop_sent() else { return Ok(()) };
        self.session.known_us = self.session.known_us.max(sent_us);
        match what {
            What::User(asked) => self.user_answer(asked, header, reader),
            What::Rearm { .. } if !header.err.is_ok() => Err(Violation::Rearm(header.err)),
            What::Rearm { last: false } => Ok(()),
            What::Rearm { last: true } => {
                self.rearmed();
                Ok(())
            }
            What::CloseSession => {
                self.end(End::Closed, header.err.is_ok());
                Ok(())
            }
        }
    }

    fn user_answer(
        &mut self,
        asked: Asked,
        header: &ReplyHeader,
        reader: &mut Reader<'_>,
    ) -> Result<(), Violation> {
        let whole = Chroot::default();
        let chroot = if asked.absolute { &whole } else { &self.chroot };
        let (zxid, mut code) = (header.zxid, header.err);
        if code.is_ok() && asked.op == OpCode::GET_DATA && asked.on_reply == OnReply::Nothing {
            // What is asked most is decoded to where it is to stay. A stat that is moved about as
            // soon as it is decoded costs more than all else here.
            return match Answer::data(reader) {
                Ok(answer) => {
                    let outcome = Outcome::Done { zxid, answer };
                    self.effects.push_back(Effect::Completed(asked.ticket, outcome));
                    Ok(())
                }
                Err(error) => self.unreadable(asked.ticket, error),
            };
        }
        let answer = match code {
            ErrorCode::OK => match Answer::decode(asked.op, reader, chroot) {
                Ok(answer) => answer,
                Err(error) => return self.unreadable(asked.ticket, error),
            },
            _ => Answer::Nothing,
        };
        let mut gone = None;
        match asked.on_reply {
            OnReply::Register { watcher, path, found, absent } => match (code, absent) {
                (ErrorCode::OK, _) => self.watches.add(found, &path, watcher),
                (ErrorCode::NO_NODE, Some(absent)) => self.watches.add(absent, &path, watcher),
                _ => {}
            },
            OnReply::Remove { which, path, kinds } if code.is_ok() => {
                let removed = self.watches.remove(kinds, &path, which);
                if removed.is_empty() {
                    code = ErrorCode::NO_WATCHER;
                }
                gone = Some(removed);
            }
            OnReply::Remove { .. } | OnReply::Nothing => {}
        }
        let outcome = match code {
            ErrorCode::OK => Outcome::Done { zxid, answer },
            code => Outcome::Failed { zxid, code },
        };
        self.effects.push_back(Effect::Completed(asked.ticket, outcome));
        for watcher in gone.into_iter().flatten() {
            self.effects.push_back(Effect::Event(watcher, WatchEvent::Lost(Loss::Removed)));
        }
        Ok(())
    }

    /// Whether a request happened whose answer cannot be read is not for that server to say.
    fn unreadable(&mut self, ticket: Ticket, error: DecodeError) -> Result<(), Violation> {
        let violation = Violation::Decode(error);
        let outcome = Outcome::Unknown(Cause::Violation(violation));
        self.effects.push_back(Effect::Completed(ticket, outcome));
        Err(violation)
    }

    /// All watches are armed again. One-shot ones were told what they had missed; persistent ones
    /// only hear that they may have missed something. If the server has seen no transaction since,
    /// there was nothing to miss.
    fn rearmed(&mut self) {
        let told_up_to = self.session.watched_to();
        self.session.rearm_from = None;
        if self.session.last_zxid > told_up_to {
            for watcher in self.watches.persistent() {
                self.effects.push_back(Effect::Event(watcher, WatchEvent::Gap));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use oxkeeper_proto::connect::{ConnectResponse, begin_frame, end_frame, split_frame};
    use oxkeeper_proto::request::{PathKind, RequestHeader};
    use oxkeeper_proto::{OpCode, Request, SessionId};

    use super::super::{Call, Config, ConnectString, Input, LinkId, Watcher};
    use super::*;

    fn frame(content: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut bytes = Vec::new();
        let start = begin_frame(&mut bytes);
        content(&mut bytes);
        end_frame(&mut bytes, start);
        bytes
    }

    /// Takes effects; returns the connection and the headers of what is sent, and the outcomes.
    fn take(client: &mut Client) -> (Option<LinkId>, Vec<RequestHeader>, Vec<Outcome>) {
        let (mut link, mut sent, mut done) = (None, Vec::new(), Vec::new());
        while let Some(effect) = client.poll_effect() {
            match effect {
                Effect::Dial(to, _) => link = Some(to),
                Effect::Completed(_, outcome) => done.push(outcome),
                Effect::Send(to, bytes) => {
                    link = Some(to);
                    let mut rest = &bytes[..];
                    while let Some((frame, behind)) = split_frame(rest, 1 << 20).unwrap() {
                        sent.push(RequestHeader::decode(&mut Reader::new(frame)).unwrap());
                        rest = behind;
                    }
                }
                _ => {}
            }
        }
        (link, sent, done)
    }

    fn connected(client: &mut Client) -> (LinkId, Vec<RequestHeader>) {
        client.handle(client.deadline_us().unwrap(), Input::Wake);
        let link = take(client).0.expect("a dial");
        client.handle(0, Input::Connected(link));
        take(client);
        let granted = ConnectResponse::granted(SessionId(1), 10_000, Some(false));
        client.handle(0, Input::Bytes(link, &frame(|out| granted.encode(out))));
        (link, take(client).1)
    }

    fn reply(client: &mut Client, link: LinkId, xid: i32) -> Vec<Outcome> {
        let header = ReplyHeader { xid, zxid: Zxid(1), err: ErrorCode::OK };
        client.handle(0, Input::Bytes(link, &frame(|out| header.encode(out))));
        take(client).2
    }

    #[test]
    fn a_session_goes_on_when_its_numbers_begin_again() {
        let mut client = Client::new(Config::new(ConnectString::parse("a").unwrap()), 1);
        let (link, _) = connected(&mut client);
        client.pending.set_next_xid(i32::MAX - 2);
        let add = Request::AddWatch(PathKind { path: "/a".into(), kind: 0 });
        client.submit(0, Call::watched(add, Watcher(1))).unwrap();
        for _ in 0..5 {
            client.submit(0, Request::Sync(None).into()).unwrap();
        }
        let xids: Vec<i32> = take(&mut client).1.iter().map(|header| header.xid).collect();
        // What servers use for pings, events and the like is negative, and 0 is nobody's.
        assert_eq!(xids, [i32::MAX - 2, i32::MAX - 1, i32::MAX, 1, 2, 3]);
        for xid in &xids[..4] {
            let done = reply(&mut client, link, *xid);
            assert!(matches!(done[..], [Outcome::Done { .. }]), "{xid}: {done:?}");
        }
        // In the midst of it the connection is lost: what was under way is not taken for what
        // comes next, and what comes next has numbers of its own.
        client.handle(0, Input::Disconnected(link));
        assert_eq!(
            take(&mut client).2,
            [Outcome::Unknown(Cause::Lost), Outcome::Unknown(Cause::Lost)]
        );
        client.submit(0, Request::Sync(None).into()).unwrap();
        let (link, sent) = connected(&mut client);
        let sent: Vec<_> = sent.iter().map(|header| (header.xid, header.op)).collect();
        assert_eq!(sent, [(xid::SET_WATCHES, OpCode::SET_WATCHES2), (4, OpCode::SYNC)]);
        assert_eq!(reply(&mut client, link, xid::SET_WATCHES), []);
        assert!(matches!(reply(&mut client, link, 4)[..], [Outcome::Done { .. }]));
        assert_eq!(client.pending(), 0);
    }
}
