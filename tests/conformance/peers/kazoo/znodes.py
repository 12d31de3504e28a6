"""Every operation on znodes, with the outcomes and errors a user sees."""

import time

from kazoo.exceptions import (
    BadVersionError,
    ConnectionLoss,
    NoChildrenForEphemeralsError,
    NodeExistsError,
    NoNodeError,
    NotEmptyError,
)

from harness import check, equal, eventually, raises


@check("create and get: data and every field of the stat")
def create_and_get(world):
    before = time.time()
    path = world.path + "/node"
    equal(world.zk.create(path, b"value"), path, "created path")
    data, stat = world.zk.get(path)
    equal(data, b"value", "data")
    equal((stat.version, stat.cversion, stat.aversion), (0, 0, 0), "versions")
    equal((stat.dataLength, stat.numChildren, stat.ephemeralOwner), (5, 0, 0), "sizes and owner")
    equal((stat.czxid, stat.ctime), (stat.mzxid, stat.mtime), "creation is the last change")
    equal(stat.czxid, stat.pzxid, "pzxid of a node without children")
    assert before - 5 < stat.created < time.time() + 5, "time of creation: %s" % stat.created


@check("create: the answer with stat equals a later exists")
def create_with_stat(world):
    path, stat = world.zk.create(world.path + "/s", b"x", include_data=True)
    equal(path, world.path + "/s", "created path")
    equal(stat, world.zk.exists(path), "stat")


@check("create: refused on an existing node, a missing parent, an ephemeral parent")
def create_refused(world):
    zk, path = world.zk, world.path
    zk.create(path + "/e", ephemeral=True)
    raises(NodeExistsError, zk.create, path)
    raises(NoNodeError, zk.create, path + "/missing/child")
    raises(NoChildrenForEphemeralsError, zk.create, path + "/e/child")
    equal(zk.create(path + "/a/b/c", makepath=True), path + "/a/b/c", "with its parents")
    equal(zk.get_children(path), ["e", "a"] if zk.get_children(path)[0] == "e" else ["a", "e"],
          "children after the refused creates")


@check("set: versions count up, a stale version is refused and changes nothing")
def set_versions(world):
    zk, path = world.zk, world.path
    first = zk.exists(path)
    equal(zk.set(path, b"1").version, 1, "version after one set")
    stat = zk.set(path, b"22", version=1)
    equal((stat.version, stat.dataLength), (2, 2), "version and length")
    equal((stat.czxid, stat.ctime), (first.czxid, first.ctime), "creation stays")
    assert stat.mzxid > first.mzxid and stat.pzxid == first.pzxid, "which zxids move: %r" % (stat,)
    raises(BadVersionError, zk.set, path, b"x", version=1)
    raises(NoNodeError, zk.set, path + "/missing", b"x")
    equal(zk.get(path), (b"22", stat), "node after the refused sets")


@check("delete: versions, children, recursion")
def delete(world):
    zk, path = world.zk, world.path
    zk.create(path + "/a/b/c", b"", makepath=True)
    raises(NotEmptyError, zk.delete, path + "/a")
    raises(BadVersionError, zk.delete, path + "/a/b/c", version=7)
    raises(NoNodeError, zk.delete, path + "/missing")
    zk.delete(path + "/a/b/c", version=0)
    equal(zk.exists(path + "/a/b/c"), None, "deleted node")
    zk.delete(path + "/a", recursive=True)
    equal(zk.get_children(path), [], "children after the recursive delete")


@check("children: names, and a stat that counts them")
def children(world):
    zk, path = world.zk, world.path
    for name in ("x", "y", "z"):
        zk.create("%s/%s" % (path, name))
    zk.delete(path + "/y")
    names, stat = zk.get_children(path, include_data=True)
    equal(sorted(names), ["x", "z"], "names")
    equal((stat.numChildren, stat.cversion), (2, 4), "children and their changes")
    equal(stat, zk.exists(path), "stat")
    assert stat.pzxid > stat.mzxid, "a delete moves pzxid: %r" % (stat,)
    raises(NoNodeError, zk.get_children, path + "/missing")


@check("sequence: one counter per parent, ten digits, never reused")
def sequence(world):
    zk, path = world.zk, world.path
    equal(zk.create(path + "/a-", sequence=True), path + "/a-0000000000", "the first")
    equal(zk.create(path + "/b-", sequence=True), path + "/b-0000000001", "another prefix")
    zk.create(path + "/plain")
    equal(zk.create(path + "/a-", sequence=True), path + "/a-0000000003", "after a plain create")
    zk.delete(path + "/a-0000000003")
    equal(zk.create(path + "/", sequence=True), path + "/0000000004", "without prefix")
    both = zk.create(path + "/e-", ephemeral=True, sequence=True)
    equal(both, path + "/e-0000000005", "ephemeral and sequential")
    equal(zk.exists(both).ephemeralOwner, zk.client_id[0], "its owner")


@check("empty data stays empty, and large data is kept to the byte")
def data_sizes(world):
    zk, path = world.zk, world.path
    equal(zk.get(path)[0], b"", "data of a node created without")
    large = bytes(range(256)) * 3900
    equal(zk.set(path, large).dataLength, len(large), "length")
    equal(zk.get(path)[0], large, "data of nearly a megabyte")


@check("a request beyond jute.maxbuffer costs the connection, not the session")
def oversized(world):
    zk, path = world.zk, world.path
    session = zk.client_id[0]
    raises(ConnectionLoss, zk.set, path, b"x" * 1_100_000)
    eventually(lambda: zk.connected, "the client is connected again")
    equal(zk.client_id[0], session, "session")
    equal(zk.retry(zk.get, path)[0], b"", "data after the refused set")


@check("paths: any letter that ZooKeeper allows")
def unicode_paths(world):
    zk, path = world.zk, world.path
    for name in ("größe", "キー", "a b", "with.dots", "...", "~!@#$%^&*()"):
        equal(zk.create("%s/%s" % (path, name), name.encode()), "%s/%s" % (path, name), "path")
        equal(zk.get("%s/%s" % (path, name))[0], name.encode(), "data of " + name)
    equal(len(zk.get_children(path)), 6, "children")


@check("pipeline: a thousand requests in flight are answered in order")
def pipeline(world):
    zk, path = world.zk, world.path
    answers = []
    creates = [zk.create_async("%s/%04d" % (path, i), b"%d" % i) for i in range(500)]
    gets = [zk.get_async("%s/%04d" % (path, i)) for i in range(500)]
    for i, get in enumerate(gets):
        get.rawlink(lambda result, i=i: answers.append(i))
    for i, (create, get) in enumerate(zip(creates, gets)):
        equal(create.get(10), "%s/%04d" % (path, i), "created path")
        equal(get.get(10)[0], b"%d" % i, "a read sees the write before it")
    eventually(lambda: len(answers) == 500, "every callback ran")
    equal(answers, list(range(500)), "order of the answers")
    zxids = [get.get()[1].czxid for get in gets]
    equal(zxids, sorted(set(zxids)), "zxids in the order of the requests")


@check("sync answers with its path, and ensure_path makes parents once")
def sync_and_ensure_path(world):
    zk, path = world.zk, world.path
    equal(zk.sync(path), path, "synced path")
    zk.ensure_path(path + "/p/q/r")
    stat = zk.exists(path + "/p/q/r")
    zk.ensure_path(path + "/p/q/r")
    equal(zk.exists(path + "/p/q/r"), stat, "an existing path is left alone")


@check("a chroot is invisible to its client")
def chroot(world):
    world.zk.create(world.path + "/inner")
    inside = world.client(hosts=world.address + world.path + "/inner")
    equal(inside.create("/a/b", b"in", makepath=True), "/a/b", "path inside")
    equal(inside.create("/s-", sequence=True), "/s-0000000001", "sequence inside")
    equal(sorted(inside.get_children("/")), ["a", "s-0000000001"], "children inside")
    equal(world.zk.get(world.path + "/inner/a/b")[0], b"in", "the same node from outside")
    raises(NoNodeError, inside.get, world.path)


@check("the fresh tree has ZooKeeper's own nodes")
def system_nodes(world):
    equal(sorted(world.zk.get_children("/zookeeper")), ["config", "quota"], "below /zookeeper")
    equal(world.zk.exists("/zookeeper/quota").ephemeralOwner, 0, "owner of the quota node")
