//! Identities: proved on every connection anew, because servers know them per connection.

use std::collections::VecDeque;

use oxkeeper_proto::connect::{begin_frame, end_frame};
use oxkeeper_proto::request::{AuthRequest, RequestHeader};
use oxkeeper_proto::response::xid;
use oxkeeper_proto::{OpCode, Request};

use super::outcome::Ticket;

#[derive(Debug)]
struct Identity {
    id: u64,
    scheme: String,
    proof: Vec<u8>,
    /// Who waits for the first answer.
    ticket: Option<Ticket>,
}

/// The identities to prove, and which of them the current connection still has to confirm. Auth
/// packets all bear one xid; their answers come in the order in which they were sent, and may
/// overtake other replies.
#[derive(Debug, Default)]
pub(crate) struct Auth {
    identities: Vec<Identity>,
    sent: VecDeque<u64>,
    next_id: u64,
}

impl Auth {
    pub(crate) fn len(&self) -> usize {
        self.identities.len()
    }

    /// Adds an identity. It is sent with [`Auth::send_last`], or on the next connection.
    pub(crate) fn add(&mut self, scheme: &str, proof: &[u8], ticket: Ticket) {
        let (scheme, proof) = (scheme.to_owned(), proof.to_vec());
        self.identities.push(Identity { id: self.next_id, scheme, proof, ticket: Some(ticket) });
        self.next_id += 1;
    }

    pub(crate) fn send_last(&mut self, out: &mut Vec<u8>) {
        if let Some(identity) = self.identities.last() {
            send(identity, &mut self.sent, out);
        }
    }

    pub(crate) fn send_all(&mut self, out: &mut Vec<u8>) {
        for identity in &self.identities {
            send(identity, &mut self.sent, out);
        }
    }

    /// An answer came. `None` if nothing was asked, else who waited for it, if anybody does. A
    /// refused identity is not sent again.
    pub(crate) fn answered(&mut self, accepted: bool) -> Option<Option<Ticket>> {
        let id = self.sent.pop_front()?;
        let Some(at) = self.identities.iter().position(|identity| identity.id == id) else {
            return Some(None);
        };
        let ticket = self.identities[at].ticket.take();
        if !accepted {
            self.identities.remove(at);
        }
        Some(ticket)
    }

    /// The connection is gone; everything is sent again on the next one.
    pub(crate) fn lost(&mut self) {
        self.sent.clear();
    }

    /// Those that still wait, each with whether its packet was sent on this connection.
    pub(crate) fn drain(&mut self) -> Vec<(Ticket, bool)> {
        let sent = std::mem::take(&mut self.sent);
        let identities = std::mem::take(&mut self.identities).into_iter();
        identities.filter_map(|it| it.ticket.map(|t| (t, sent.contains(&it.id)))).collect()
    }
}

fn send(identity: &Identity, sent: &mut VecDeque<u64>, out: &mut Vec<u8>) {
    sent.push_back(identity.id);
    let request = Request::Auth(AuthRequest {
        kind: 0,
        scheme: Some(identity.scheme.as_str().into()),
        auth: Some(&identity.proof),
    });
    let start = begin_frame(out);
    RequestHeader { xid: xid::AUTH, op: OpCode::AUTH }.encode(out);
    request.encode(out);
    end_frame(out, start);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_go_to_whom_they_belong_and_refused_identities_are_not_sent_again() {
        let mut auth = Auth::default();
        let mut out = Vec::new();
        auth.add("digest", b"a:1", Ticket(1));
        auth.add("digest", b"b:2", Ticket(2));
        auth.send_all(&mut out);
        assert_eq!(auth.answered(false), Some(Some(Ticket(1))));
        auth.lost();
        assert_eq!(auth.answered(true), None);
        let mut again = Vec::new();
        auth.send_all(&mut again);
        assert_eq!(out[out.len() / 2..], again, "the second alone");
        assert_eq!(auth.answered(true), Some(Some(Ticket(2))));
        auth.send_all(&mut again);
        assert_eq!(auth.answered(true), Some(None), "said once");
        assert_eq!(auth.drain(), []);
    }
}
