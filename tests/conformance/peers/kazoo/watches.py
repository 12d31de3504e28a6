"""One-shot watches: what fires them, and that they fire once."""

from kazoo.exceptions import NoNodeError
from kazoo.protocol.states import EventType, KeeperState

from harness import Recorder, check, equal, raises


def _kinds(events):
    return [(event.type, event.path) for event in events]


@check("a data watch fires once, on set")
def data_watch(world):
    seen, path = Recorder(), world.path
    world.zk.get(path, watch=seen)
    world.zk.set(path, b"1")
    world.zk.set(path, b"2")
    events = seen.wait(1, "the data watch")
    world.zk.sync(path)
    equal(_kinds(events), [(EventType.CHANGED, path)], "events")
    equal(events[0].state, KeeperState.CONNECTED, "state in the event")
    equal(len(seen.calls), 1, "a watch fires once")


@check("an exists watch on a missing node fires on its creation")
def exists_watch(world):
    seen, path = Recorder(), world.path + "/to-come"
    equal(world.zk.exists(path, watch=seen), None, "the missing node")
    world.client().create(path)
    equal(_kinds(seen.wait(1, "the exists watch")), [(EventType.CREATED, path)], "events")


@check("a get on a missing node leaves no watch")
def no_watch_left(world):
    seen, path = Recorder(), world.path + "/missing"
    zk = world.zk
    raises(NoNodeError, zk.get, path, watch=seen)
    raises(NoNodeError, zk.get_children, path, watch=seen)
    zk.create(path)
    zk.set(path, b"x")
    zk.sync(path)
    equal(seen.calls, [], "events")


@check("a child watch fires on create and delete of a child, not on its data")
def child_watch(world):
    zk, path = world.zk, world.path
    created, deleted = Recorder(), Recorder()
    zk.get_children(path, watch=created)
    zk.create(path + "/c")
    equal(_kinds(created.wait(1, "creation")), [(EventType.CHILD, path)], "on creation")
    zk.get_children(path, watch=deleted)
    zk.set(path + "/c", b"x")
    zk.set(path, b"x")
    zk.sync(path)
    equal(deleted.calls, [], "a change of data")
    zk.delete(path + "/c")
    equal(_kinds(deleted.wait(1, "deletion")), [(EventType.CHILD, path)], "on deletion")


@check("deleting a node fires its data, exists and child watches")
def delete_watches(world):
    zk, path = world.zk, world.path + "/doomed"
    zk.create(path)
    data, stat, child = Recorder(), Recorder(), Recorder()
    zk.get(path, watch=data)
    zk.exists(path, watch=stat)
    zk.get_children(path, watch=child)
    world.client().delete(path)
    for name, seen in (("data", data), ("exists", stat), ("child", child)):
        equal(_kinds(seen.wait(1, name)), [(EventType.DELETED, path)], name + " watch")


@check("an ephemeral that ends with its session fires the watches of others")
def ephemeral_end(world):
    owner, path = world.client(), world.path + "/e"
    world.zk.ensure_path(world.path)
    owner.create(path, ephemeral=True)
    node, parent = Recorder(), Recorder()
    world.zk.exists(path, watch=node)
    world.zk.get_children(world.path, watch=parent)
    owner.stop()
    equal(_kinds(node.wait(1, "node")), [(EventType.DELETED, path)], "on the node")
    equal(_kinds(parent.wait(1, "parent")), [(EventType.CHILD, world.path)], "on its parent")
