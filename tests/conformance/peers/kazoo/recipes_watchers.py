"""Watches that re-arm themselves, and the tree cache built on them."""

from kazoo.recipe.cache import TreeCache, TreeEvent

from harness import Recorder, check, equal, eventually


@check("DataWatch: told of every state a node comes to, also after it was gone")
def data_watch(world):
    zk, path, seen = world.zk, world.path + "/d", []

    @zk.DataWatch(path)
    def changed(data, stat, event):
        seen.append((data, event.type if event else None))

    equal(seen, [(None, None)], "at first")
    zk.create(path, b"1")
    eventually(lambda: len(seen) == 2, "created")
    zk.set(path, b"2")
    eventually(lambda: len(seen) == 3, "changed")
    zk.delete(path)
    eventually(lambda: len(seen) == 4, "deleted")
    zk.create(path, b"3")
    eventually(lambda: len(seen) == 5, "created again")
    equal(seen[1:], [(b"1", "CREATED"), (b"2", "CHANGED"), (None, "DELETED"), (b"3", "CREATED")],
          "what was told")


@check("DataWatch: stops when told to")
def data_watch_stops(world):
    zk, path, seen = world.zk, world.path, []
    zk.DataWatch(path, lambda data, stat: seen.append(data) or len(seen) < 2)
    zk.set(path, b"1")
    eventually(lambda: len(seen) == 2, "changed")
    zk.set(path, b"2")
    zk.sync(path)
    equal(seen, [b"", b"1"], "what was told")


@check("DataWatch and ChildrenWatch: nothing is missed over a cut connection")
def watches_reconnect(world):
    proxy, path = world.proxy(), world.path
    world.zk.exists("/")
    client = world.client(hosts=proxy.address)
    data, children = Recorder(), Recorder()
    client.DataWatch(path, lambda value, stat: data(value))
    client.ChildrenWatch(path, lambda names: children(sorted(names)))
    proxy.refuse()
    eventually(lambda: not client.connected, "the cut is noticed")
    world.zk.set(path, b"while away")
    world.zk.create(path + "/born", b"")
    proxy.allow()
    equal(data.wait(2, "data"), [b"", b"while away"], "data")
    equal(children.wait(2, "children"), [[], ["born"]], "children")


@check("ChildrenWatch: told of every set of children")
def children_watch(world):
    zk, path, seen = world.zk, world.path, []

    @zk.ChildrenWatch(path, send_event=True)
    def changed(children, event):
        seen.append((sorted(children), event.type if event else None))
        return len(seen) < 4

    for step, change in enumerate((lambda: zk.create(path + "/a"), lambda: zk.create(path + "/b"),
                                   lambda: zk.delete(path + "/a")), start=2):
        change()
        eventually(lambda: len(seen) == step, "change %d" % step)
    zk.create(path + "/c")
    zk.sync(path)
    equal(seen, [([], None), (["a"], "CHILD"), (["a", "b"], "CHILD"), (["b"], "CHILD")],
          "what was told")


@check("PatientChildrenWatch: waits until the children are quiet")
def patient_watch(world):
    from kazoo.recipe.watchers import PatientChildrenWatch

    zk, path = world.zk, world.path
    result = PatientChildrenWatch(zk, path, time_boundary=1).start()
    for i in range(3):
        zk.create("%s/c%d" % (path, i))
    children, changed = result.get(timeout=10)
    equal(sorted(children), ["c0", "c1", "c2"], "the quiet children")
    equal(changed.ready(), False, "changed since")
    zk.create(path + "/c3")
    changed.get(timeout=10)


@check("TreeCache: follows a tree through every kind of change")
def tree_cache(world):
    zk, writer, path = world.zk, world.client(), world.path
    writer.create(path + "/a/b", b"ab", makepath=True)
    cache, seen, faults = TreeCache(zk, path), Recorder(), Recorder()
    cache.listen(seen)
    cache.listen_fault(faults)
    cache.start()
    try:
        eventually(lambda: TreeEvent.INITIALIZED in [e.event_type for e in seen.calls], "loaded")
        equal(cache.get_data(path + "/a/b").data, b"ab", "data that was there")
        del seen.calls[:]
        writer.create(path + "/a/c", b"1")
        eventually(lambda: cache.get_data(path + "/a/c"), "a new node")
        writer.set(path + "/a/c", b"2")
        eventually(lambda: cache.get_data(path + "/a/c").data == b"2", "a change")
        writer.delete(path + "/a/b")
        eventually(lambda: cache.get_data(path + "/a/b") is None, "a deletion")
        equal(cache.get_children(path + "/a"), frozenset(["c"]), "children")
        events = [(event.event_type, event.event_data.path) for event in seen.wait(3, "events")]
        equal(events, [(TreeEvent.NODE_ADDED, path + "/a/c"),
                       (TreeEvent.NODE_UPDATED, path + "/a/c"),
                       (TreeEvent.NODE_REMOVED, path + "/a/b")], "events")
    finally:
        cache.close()
    equal(faults.calls, [], "faults")


@check("TreeCache: catches up after a cut connection")
def tree_cache_reconnect(world):
    proxy, path = world.proxy(), world.path
    world.zk.create(path + "/old", b"1")
    client = world.client(hosts=proxy.address)
    cache = TreeCache(client, path)
    cache.start()
    try:
        eventually(lambda: cache.get_data(path + "/old"), "loaded")
        proxy.refuse()
        eventually(lambda: not client.connected, "the cut is noticed")
        world.zk.set(path + "/old", b"2")
        world.zk.create(path + "/new", b"n")
        proxy.allow()
        eventually(lambda: cache.get_data(path + "/old").data == b"2", "the change")
        eventually(lambda: cache.get_data(path + "/new"), "the new node")
    finally:
        cache.close()
