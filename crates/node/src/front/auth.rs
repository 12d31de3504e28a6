//! auth packets and what stands in for SASL while it is not configured.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oxkeeper_proto::codec::{Put, Reader};
use oxkeeper_proto::request::Request;
use oxkeeper_proto::{ErrorCode, OpCode, Zxid};
use oxkeeper_tree::acl_rules::AuthId;
use sha1::{Digest as _, Sha1};

use super::read::{error_reply, reply};
use super::{Front, Phase};
use crate::limits;
use crate::messages::ConnId;

/// `user:base64(sha1(user:password))` (`DigestAuthenticationProvider.generateDigest`).
pub fn digest_id(user_and_password: &str) -> String {
    let user = user_and_password.split(':').next().unwrap_or("");
    format!("{user}:{}", STANDARD.encode(Sha1::digest(user_and_password.as_bytes())))
}

impl Front {
    /// Answers an auth packet at once, ahead of anything in the gate, as Java does
    /// (`ZooKeeperServer.processPacket`).
    pub(super) fn authenticate(&mut self, id: ConnId, xid: i32, body: &[u8]) {
        let Ok(Some(Request::Auth(packet))) = Request::decode(OpCode::AUTH, &mut Reader::new(body))
        else {
            return self.kill(id, "a broken auth packet");
        };
        let scheme = packet.scheme.as_deref().unwrap_or("");
        let granted = match scheme {
            "ip" => self.identities_of_ip(id),
            "digest" if self.settings.digest_auth => self.identities_of_digest(packet.auth),
            _ => None,
        };
        let Some(conn) = self.conns.get_mut(id.slot as usize) else { return };
        conn.stats.sent += 1;
        self.stats.packets_sent += 1;
        let mut ids = conn.auth.to_vec();
        match granted {
            Some(new) if ids.len() + new.len() <= limits::AUTH_IDS_MAX => {
                for identity in new {
                    if !ids.contains(&identity) {
                        ids.push(identity);
                    }
                }
                conn.auth = Arc::from(ids);
                error_reply(&mut conn.out, xid, Zxid::ZERO, ErrorCode::OK);
            }
            _ => {
                tracing::warn!(peer = %conn.peer.addr, session = %conn.session, scheme,
                    "authentication failed, closing");
                self.stats.auth_failed += 1;
                error_reply(&mut conn.out, xid, Zxid::ZERO, ErrorCode::AUTH_FAILED);
                conn.phase = Phase::Closing;
            }
        }
        self.mark_dirty(id);
    }

    fn identities_of_ip(&self, id: ConnId) -> Option<Vec<AuthId>> {
        let ip = self.conn(id)?.peer.addr.ip().to_canonical();
        Some(vec![AuthId { scheme: "ip".into(), id: ip.to_string() }])
    }

    /// Nobody without a name and a password, if an empty one.
    fn identities_of_digest(&self, auth: Option<&[u8]>) -> Option<Vec<AuthId>> {
        let text = String::from_utf8_lossy(auth?);
        let digest = digest_id(&text);
        let mut ids = Vec::with_capacity(2);
        if self.settings.super_digest.as_deref() == Some(&digest) {
            ids.push(AuthId { scheme: "super".into(), id: String::new() });
        }
        ids.push(AuthId { scheme: "digest".into(), id: digest });
        Some(ids)
    }

    /// A server without SASL answers a token with success and no token.
    pub(super) fn refuse_sasl(&mut self, id: ConnId, xid: i32, body: &[u8]) {
        if Request::decode(OpCode::SASL, &mut Reader::new(body)).is_err() {
            return self.kill(id, "a broken sasl packet");
        }
        let Some(conn) = self.conn_mut(id) else { return };
        reply(&mut conn.out, xid, Zxid::ZERO, |out| {
            out.put_buffer(None);
            Ok(())
        });
        conn.stats.sent += 1;
        self.stats.packets_sent += 1;
        self.mark_dirty(id);
    }

    /// With `enforce.auth.enabled`, nothing but auth is answered before one of the schemes was used
    /// (`AuthenticationHelper.enforceAuthentication`).
    pub(super) fn may_ask(&mut self, id: ConnId, xid: i32) -> bool {
        let schemes = &self.settings.enforce_auth_schemes;
        if schemes.is_empty() {
            return true;
        }
        let Some(conn) = self.conns.get_mut(id.slot as usize) else { return false };
        if conn.auth.iter().any(|identity| schemes.contains(&identity.scheme)) {
            return true;
        }
        tracing::warn!(peer = %conn.peer.addr, session = %conn.session,
            "a request without the authentication this server demands, closing");
        let code = ErrorCode::SESSION_CLOSED_REQUIRE_SASL_AUTH;
        error_reply(&mut conn.out, xid, Zxid::ZERO, code);
        conn.phase = Phase::Closing;
        self.mark_dirty(id);
        false
    }
}
