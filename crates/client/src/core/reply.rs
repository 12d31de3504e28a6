//! What a server says once a session is established: answers, events, and nothing else.

use oxkeeper_proto::response::{ReplyHeader, WatcherEvent, xid};
use oxkeeper_proto::{ErrorCode, Reader, Zxid};

use super::answer::Answer;
use super::chroot::Chroot;
use super::outcome::{End, Outcome, Violation};
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
        let answer = match code {
            ErrorCode::OK => match Answer::decode(asked.op, reader, chroot) {
                Ok(answer) => answer,
                Err(error) => {
                    let violation = Violation::Decode(error);
                    let outcome = Outcome::Unknown(Cause::Violation(violation));
                    self.effects.push_back(Effect::Completed(asked.ticket, outcome));
                    return Err(violation);
                }
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
