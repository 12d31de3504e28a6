"""ACLs and authentication: who may do what, and how a refusal looks."""

from kazoo.exceptions import AuthFailedError, BadVersionError, InvalidACLError, NoAuthError
from kazoo.security import (
    ACL,
    CREATOR_ALL_ACL,
    OPEN_ACL_UNSAFE,
    READ_ACL_UNSAFE,
    Id,
    Permissions,
    make_acl,
    make_digest_acl,
    make_digest_acl_credential,
)

from harness import SUPERUSER, check, equal, raises


@check("digest: only who knows the password may use the node")
def digest(world):
    path = world.path + "/secret"
    alice = world.client(auth_data=[("digest", "alice:pw")])
    world.zk.exists("/")
    alice.create(path, b"hidden", acl=[make_digest_acl("alice", "pw", all=True)])
    stranger = world.zk
    raises(NoAuthError, stranger.get, path)
    raises(NoAuthError, stranger.set, path, b"x")
    raises(NoAuthError, stranger.get_children, path)
    raises(NoAuthError, stranger.create, path + "/child")
    raises(NoAuthError, stranger.set_acls, path, OPEN_ACL_UNSAFE)
    raises(NoAuthError, stranger.get_acls, path)
    raises(NoAuthError, stranger.exists, path)
    equal(stranger.exists(path + "/missing"), None, "a missing node is no secret")
    equal(stranger.add_auth("digest", "alice:wrong"), True, "a wrong password is not told")
    raises(NoAuthError, stranger.get, path)
    stranger.add_auth("digest", "alice:pw")
    equal(stranger.get(path)[0], b"hidden", "data, with the password")


@check("the auth scheme stands for the identities of the connection")
def auth_scheme(world):
    path = world.path + "/mine"
    world.zk.exists("/")
    raises(InvalidACLError, world.zk.create, path, acl=CREATOR_ALL_ACL)
    bob = world.client(auth_data=[("digest", "bob:pw")])
    bob.create(path, acl=CREATOR_ALL_ACL)
    acls, stat = bob.get_acls(path)
    expected = Id("digest", make_digest_acl_credential("bob", "pw"))
    equal([(acl.perms, acl.id) for acl in acls], [(Permissions.ALL, expected)], "ACL")
    equal(stat.aversion, 0, "its version")


@check("set_acls: versions, and a refused list changes nothing")
def set_acls(world):
    zk, path = world.zk, world.path
    equal(zk.set_acls(path, READ_ACL_UNSAFE + [make_acl("ip", "127.0.0.1", all=True)]).aversion,
          1, "version of the ACL")
    raises(BadVersionError, zk.set_acls, path, OPEN_ACL_UNSAFE, version=0)
    for scheme, wrong in (("nosuchscheme", "x"), ("ip", "not-an-ip"), ("world", "somebody"),
                          ("digest", "nocolon")):
        acl = [make_acl(scheme, wrong, all=True)]
        raises(InvalidACLError, zk.set_acls, path, acl)
    acls, stat = zk.get_acls(path)
    equal((stat.aversion, len(acls)), (1, 2), "ACL after the refusals")
    equal(zk.set_acls(path, OPEN_ACL_UNSAFE, version=1).aversion, 2, "with its version")


@check("ip: an address or a network")
def ip_scheme(world):
    zk, path = world.zk, world.path
    zk.create(path + "/here", acl=[make_acl("ip", "127.0.0.0/8", all=True)])
    zk.set(path + "/here", b"x")
    zk.create(path + "/there", acl=[make_acl("ip", "10.0.0.0/8", all=True)])
    raises(NoAuthError, zk.get, path + "/there")


@check("permissions are separate: create and delete belong to the parent")
def permissions(world):
    zk, path = world.zk, world.path
    every = Permissions.ALL & ~Permissions.ADMIN
    zk.create(path + "/p", acl=[ACL(every & ~Permissions.DELETE, Id("world", "anyone"))])
    zk.create(path + "/p/c", acl=[ACL(Permissions.READ, Id("world", "anyone"))])
    raises(NoAuthError, zk.set, path + "/p/c", b"x")
    raises(NoAuthError, zk.delete, path + "/p/c")
    zk.set(path + "/p", b"x")
    zk.create(path + "/q", acl=[ACL(every & ~Permissions.CREATE, Id("world", "anyone"))])
    raises(NoAuthError, zk.create, path + "/q/c")
    zk.delete(path + "/q")


@check("getACL hides the hash from who may not administer")
def hidden_hash(world):
    zk, path = world.zk, world.path
    acl = make_digest_acl("carol", "pw", all=True)
    zk.create(path + "/n", acl=[acl, ACL(Permissions.READ, Id("world", "anyone"))])
    ids = [entry.id for entry in zk.get_acls(path + "/n")[0]]
    equal(ids, [Id("digest", "carol:x"), Id("world", "anyone")], "seen by a reader")
    zk.add_auth("digest", "carol:pw")
    equal(zk.get_acls(path + "/n")[0][0].id, acl.id, "seen by its owner")


@check("the superuser may do everything")
def superuser(world):
    zk, path = world.zk, world.path
    zk.create(path + "/locked", b"x", acl=[make_digest_acl("nobody", "knows", all=True)])
    raises(NoAuthError, zk.get, path + "/locked")
    zk.add_auth(*SUPERUSER)
    equal(zk.get(path + "/locked")[0], b"x", "data")
    zk.set_acls(path + "/locked", OPEN_ACL_UNSAFE)


@check("an unknown scheme fails the authentication and ends the connection")
def unknown_scheme(world):
    zk = world.client()
    raises(AuthFailedError, zk.add_auth, "nosuchscheme", "x")
    equal(world.client().exists("/") is not None, True, "others are served")
