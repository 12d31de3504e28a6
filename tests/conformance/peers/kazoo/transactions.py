"""Multi: all or nothing, with results and errors for each part."""

from kazoo.exceptions import (
    BadVersionError,
    NodeExistsError,
    NoNodeError,
    RolledBackError,
    RuntimeInconsistency,
)

from harness import Recorder, check, equal


@check("a transaction applies all its parts under one zxid")
def commit(world):
    zk, path = world.zk, world.path
    zk.create(path + "/old", b"x")
    transaction = zk.transaction()
    transaction.check(path, 0)
    transaction.create(path + "/new", b"n")
    transaction.create(path + "/seq-", sequence=True)
    transaction.create(path + "/eph", ephemeral=True)
    transaction.set_data(path + "/new", b"changed")
    transaction.delete(path + "/old")
    results = transaction.commit()
    equal(results[0], True, "check")
    equal(results[1:4], [path + "/new", path + "/seq-0000000002", path + "/eph"], "creates")
    equal((results[4].version, results[5]), (1, True), "set and delete")
    stat = zk.exists(path + "/new")
    equal(results[4], stat, "stat of the set")
    equal((stat.czxid, stat.pzxid), (stat.mzxid, stat.mzxid), "one zxid for all")
    equal(zk.exists(path + "/eph").ephemeralOwner, zk.client_id[0], "owner of the ephemeral")
    equal(zk.exists(path + "/old"), None, "the deleted node")


@check("a refused transaction changes nothing and says which part failed")
def rollback(world):
    zk, path = world.zk, world.path
    seen = Recorder()
    zk.get_children(path, watch=seen)
    for make, error in (
        (lambda t: t.check(path, 99), BadVersionError),
        (lambda t: t.create(path), NodeExistsError),
        (lambda t: t.delete(path + "/missing"), NoNodeError),
        (lambda t: t.set_data(path + "/missing", b""), NoNodeError),
    ):
        transaction = zk.transaction()
        transaction.create(path + "/a")
        make(transaction)
        transaction.create(path + "/b")
        kinds = [type(result) for result in transaction.commit()]
        equal(kinds, [RolledBackError, error, RuntimeInconsistency], "results")
    zk.sync(path)
    equal((zk.get_children(path), seen.calls), ([], []), "children and events")
    equal(zk.create(path + "/s-", sequence=True), path + "/s-0000000000", "the sequence")


@check("a transaction sees its own earlier parts")
def own_parts(world):
    zk, path = world.zk, world.path
    with zk.transaction() as transaction:
        transaction.create(path + "/p")
        transaction.create(path + "/p/c", b"1")
        transaction.set_data(path + "/p/c", b"2", version=0)
        transaction.check(path + "/p/c", 1)
        transaction.delete(path + "/p/c", version=1)
    equal(zk.get_children(path + "/p"), [], "children in the end")
    equal(zk.exists(path + "/p").cversion, 2, "changes of children")


@check("a transaction fires each watch once, after it is whole")
def watches(world):
    zk, path = world.zk, world.path
    seen, states = Recorder(), []
    other = world.client()

    def look(event):
        seen(event)
        states.append(None)

    other.exists(path + "/a", watch=look)
    other.exists(path + "/b", watch=look)
    with zk.transaction() as transaction:
        transaction.create(path + "/a")
        transaction.create(path + "/b")
    events = seen.wait(2, "both creations")
    equal([event.path for event in events], [path + "/a", path + "/b"], "paths, in order")
    equal(sorted(other.get_children(path)), ["a", "b"], "the whole transaction is seen")
    equal(len(seen.calls), 2, "events")
