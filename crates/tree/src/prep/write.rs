//! delete, setData, setACL, check: the writes that need their znode.
//!
//! Each is a list of checks, one a line, whose order clients can see: of two reasons to refuse,
//! the first is told. That is why some look at a permission before the znode and some after.

use oxkeeper_proto::request::{PathVersion, SetAclRequest, SetDataRequest};
use oxkeeper_proto::{Put, perms};

use super::*;
use crate::wrong::{self, Wrong};

impl Prep<'_, '_> {
    pub(super) fn delete(&mut self, request: &PathVersion<'_>) -> Checked {
        let path = &*request.path;
        let parent_key = self.overlay.key(deletable(path)?);
        let parent = self.node(parent_key)?;
        let on_node = wrong::is(Wrong::DeleteCheckedOnNode);
        if !on_node {
            self.permit(&parent, perms::DELETE)?;
        }
        let key = self.overlay.key(path);
        let node = self.node(key)?;
        if on_node {
            self.permit(&node, perms::DELETE)?;
        }
        next_version(self.overlay.stat(&node).version, request.version)?;
        if self.overlay.children(&node) > 0 {
            return Err(ErrorCode::NOT_EMPTY);
        }
        self.out.put_string(path);
        self.fits()?;
        self.overlay.delete(Some((parent_key, parent)), (key, node), self.ctx.zxid);
        Ok(())
    }

    /// deleteContainer, which only the server itself asks for.
    pub(super) fn delete_container(&mut self, path: &str) -> Checked {
        let parent_key = self.overlay.key(deletable(path)?);
        let key = self.overlay.key(path);
        let node = self.node(key)?;
        if self.overlay.children(&node) > 0 {
            return Err(ErrorCode::NOT_EMPTY);
        }
        if self.is_session_ephemeral(&node) {
            return Err(ErrorCode::BAD_VERSION);
        }
        let parent = self.node(parent_key)?;
        self.out.put_string(path);
        self.fits()?;
        self.overlay.delete(Some((parent_key, parent)), (key, node), self.ctx.zxid);
        Ok(())
    }

    pub(super) fn set_data(&mut self, request: &SetDataRequest<'_>) -> Checked {
        let path = &*request.path;
        writable(path)?;
        let key = self.overlay.key(path);
        let node = self.node(key)?;
        self.permit(&node, perms::WRITE)?;
        let bytes = request.data.map_or(0, <[u8]>::len) as i64;
        self.check_quota(path, 0, bytes - self.overlay.data_bytes(&node) as i64)?;
        let version = next_version(self.overlay.stat(&node).version, request.version)?;
        self.put_path(path);
        self.out.put_buffer(request.data);
        self.out.put_int(version);
        self.fits()?;
        let PrepContext { zxid, time_ms, .. } = *self.ctx;
        self.overlay.set_data((key, node), request.data, version, zxid, time_ms);
        Ok(())
    }

    /// The configuration's znode never has another version than -1.
    pub(super) fn reconfig(&mut self, text: &str) -> Checked {
        let key = self.overlay.key(path::CONFIG);
        let node = self.node(key)?;
        self.permit(&node, perms::WRITE)?;
        let data = Some(text.as_bytes());
        self.put_path(path::CONFIG);
        self.out.put_buffer(data);
        self.out.put_int(-1);
        self.fits()?;
        let PrepContext { zxid, time_ms, .. } = *self.ctx;
        self.overlay.set_data((key, node), data, -1, zxid, time_ms);
        Ok(())
    }

    pub(super) fn set_acl(&mut self, request: &SetAclRequest<'_>) -> Checked {
        let path = &*request.path;
        writable(path)?;
        let fixed = self.fix_acl(request.acl)?;
        let key = self.overlay.key(path);
        let node = self.node(key)?;
        self.permit(&node, perms::ADMIN)?;
        let aversion = next_version(self.overlay.stat(&node).aversion, request.version)?;
        self.put_path(path);
        let acl = self.put_acl(fixed)?;
        self.out.put_int(aversion);
        self.fits()?;
        self.overlay.set_acl((key, node), acl, aversion, self.ctx.zxid);
        Ok(())
    }

    /// check, legal only inside a multi. Its record carries the version plus one; nobody reads it.
    pub(super) fn check(&mut self, request: &PathVersion<'_>) -> Checked {
        let path = &*request.path;
        writable(path)?;
        let node = self.node(self.overlay.key(path))?;
        self.permit(&node, perms::READ)?;
        let version = next_version(self.overlay.stat(&node).version, request.version)?;
        self.put_path(path);
        self.out.put_int(version);
        Ok(())
    }
}
