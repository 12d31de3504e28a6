//! A leader's side: what learners ask for their clients (`LearnerHandler`), and changes of the
//! ensemble itself.
//!
//! A learner's request is prepared like one of this server's own clients; its outcome is told by
//! the learner, which sees the transaction come back. Who a session belongs to is known here alone:
//! a request that comes by another way than the session's is refused with SESSIONMOVED, so that an
//! old connection cannot write behind the back of a new one.

use std::sync::Arc;

use bytes::Bytes;
use oxkeeper_proto::packet::{ForwardedRequest, Identities, Packet};
use oxkeeper_proto::request::ReconfigRequest;
use oxkeeper_proto::{ErrorCode, OpCode, SessionId};
use oxkeeper_tree::acl_rules::AuthId;
use oxkeeper_zab as zab;
use zab::LinkId;
use zab::wrong::{self, Wrong};

use super::Core;
use crate::core::{Origin, Owner};
use crate::front::Shared;
use crate::messages::{AuthSet, Effect, Now, ToFront};

impl Core {
    /// A request of a learner's client becomes a transaction like any other. Its outcome is the
    /// learner's to tell.
    pub(super) fn learners_request(
        &mut self,
        shared: &Shared,
        now: Now,
        link: LinkId,
        request: &ForwardedRequest<'_>,
    ) {
        if !self.orders() {
            return self.keep_early(link, request);
        }
        if request.op == OpCode::CREATE_SESSION {
            let Ok(timeout_ms) = request.body.try_into().map(i32::from_be_bytes) else {
                return tracing::warn!(link = link.0, "a session without a timeout is not created");
            };
            let owner = Some(Owner::Learner(link));
            return self.create_session(shared, now, request.session, timeout_ms, owner, None);
        }
        let auth = identities(request.identities);
        let origin = Origin::Learner { link, cxid: request.cxid, op: request.op };
        self.write(shared, now, origin, request.session, request.body, &auth);
    }

    /// Whether this server leads, and will serve when everything committed is applied.
    pub(super) fn is_early(&self) -> bool {
        let leads = |e: &super::Ensemble| e.part == super::Part::Leading && e.serve_next.is_some();
        self.ensemble.as_deref().is_some_and(leads)
    }

    /// Keeps a request until this leader serves.
    pub(super) fn keep_early(&mut self, link: LinkId, request: &ForwardedRequest<'_>) {
        self.keep(link, || Early::Request(owned(request)));
    }

    fn keep(&mut self, link: LinkId, early: impl FnOnce() -> Early) {
        if let Some(ensemble) = self.ensemble.as_mut().filter(|e| e.serve_next.is_some()) {
            ensemble.early.push_back((link, early()));
        }
    }

    /// Serving begins: what came too early has its turn.
    pub(super) fn take_early(&mut self, shared: &Shared, now: Now) {
        let Some(ensemble) = &mut self.ensemble else { return };
        for (link, early) in std::mem::take(&mut ensemble.early) {
            let forward = match early {
                Early::Request(forward) => forward,
                Early::Session(session, timeout_ms) => {
                    self.learners_session(now, link, session, timeout_ms);
                    continue;
                }
            };
            let known = forward.identities.as_deref();
            let request = ForwardedRequest {
                session: forward.session,
                cxid: forward.cxid,
                op: forward.op,
                body: &forward.body,
                identities: known.and_then(|raw| Identities::from_raw(raw).ok()),
            };
            match request.op {
                OpCode::SYNC => self.packet(shared, now, link, &Packet::Request(request)),
                _ => self.learners_request(shared, now, link, &request),
            }
        }
    }

    /// A change of the ensemble: judged, then a transaction like any other. Its configuration goes
    /// along with the proposal.
    pub(in crate::core) fn reconfigure(
        &mut self,
        shared: &Shared,
        now: Now,
        session: SessionId,
        cxid: i32,
        request: &ReconfigRequest<'_>,
        auth: &AuthSet,
    ) {
        let Some(context) = self.context(now, session, cxid, auth) else { return };
        let Some(ensemble) = &mut self.ensemble else { return };
        let me = ensemble.peer.sid();
        let synced = |sid| {
            let links = ensemble.peer.leading().into_iter().flat_map(zab::leader::Leader::links);
            // An observer is not asked for its acknowledgement: it could not help to commit.
            let has_it = |link: &zab::leader::Link| {
                link.synchronized() && (!link.observes() || wrong::is(Wrong::ObserverNeeded))
            };
            sid == me || links.into_iter().any(|(_, link)| link.sid() == sid && has_it(link))
        };
        let rules = zab::reconfig::Rules {
            enabled: self.settings.rules.reconfig_enabled,
            standalone_enabled: self.settings.standalone_enabled,
            multi_address: self.settings.multi_address,
        };
        let judged = match ensemble.configs.is_empty() {
            true => {
                let membership = ensemble.peer.membership();
                zab::reconfig::judge(rules, membership, request, context.zxid, synced)
            }
            false => Err(zab::reconfig::Refusal::InProgress),
        };
        match judged {
            Ok(config) => {
                let (tree, rules) = (&shared.tree, &self.settings.rules);
                let text = config.to_string();
                let done = self.overlay.prep_reconfig(tree, rules, &context, &text, &mut self.open);
                if done.error == ErrorCode::OK {
                    tracing::info!(%session, zxid = %context.zxid, %text, "reconfiguring");
                    ensemble.configs.push_back((context.zxid, Arc::new(config)));
                }
            }
            Err(refusal) => {
                tracing::info!(%session, %refusal, "refusing to reconfigure");
                self.overlay.prep_error(&context, refusal.code(), &mut self.open);
            }
        }
    }

    /// REVALIDATE: the session has moved to this learner, if it lives.
    pub(super) fn learners_session(
        &mut self,
        now: Now,
        link: LinkId,
        session: SessionId,
        timeout_ms: i32,
    ) {
        if !self.orders() {
            // Nobody here knows yet which sessions live: to refuse one would be to end it.
            return self.keep(link, || Early::Session(session, timeout_ms));
        }
        let valid = self.sessions.is_open(session);
        if valid {
            if let Some((front, conn)) = self.sessions.disown(session) {
                let close = ToFront::Close { conn, why: "session renewed elsewhere" };
                self.effects.push_back(Effect::Tell(front, close));
            }
            self.sessions.moved(now, session, timeout_ms, Owner::Learner(link));
        }
        if let Some(ensemble) = &mut self.ensemble {
            ensemble.peer.revalidated(link, session, valid);
        }
        self.absorb(now);
    }
}

/// What a learner asked before this leader served.
#[derive(Debug)]
pub(super) enum Early {
    /// A request of its client.
    Request(zab::Forward),
    /// Whether a session lives, with the timeout asked for.
    Session(SessionId, i32),
}

fn owned(request: &ForwardedRequest<'_>) -> zab::Forward {
    zab::Forward {
        session: request.session,
        cxid: request.cxid,
        op: request.op,
        body: Bytes::copy_from_slice(request.body),
        identities: request.identities.map(|known| Bytes::copy_from_slice(known.raw())),
    }
}

/// Whom the learner's client has proved to be.
fn identities(known: Option<Identities<'_>>) -> AuthSet {
    let known = known.iter().flat_map(Identities::iter).filter_map(|identity| {
        Some(AuthId { scheme: identity.scheme?.into(), id: identity.id?.into() })
    });
    Arc::from(known.collect::<Vec<_>>())
}
