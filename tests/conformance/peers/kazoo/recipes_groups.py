"""Recipes about who is there: parties, barriers, partitioned sets, and counters."""

from harness import check, equal, eventually


@check("Barrier: holds until removed")
def barrier(world):
    barrier, other = world.zk.Barrier(world.path + "/b"), world.client()
    world.await_no_watches()
    equal(other.Barrier(world.path + "/b").wait(0.1), True, "no barrier")
    barrier.create()
    equal(other.Barrier(world.path + "/b").wait(0.2), False, "the barrier stands")
    # The wait that gave up has left its watch.
    waiting = world.thread(world.client().Barrier(world.path + "/b").wait, 10)
    eventually(lambda: world.watch_count() == 2, "it waits")
    equal((barrier.remove(), waiting.result()), (True, True), "removed, released")
    equal(barrier.remove(), False, "removed again")


@check("DoubleBarrier: all enter together and leave together")
def double_barrier(world):
    world.zk.exists("/")
    path, entered, left = world.path + "/db", [], []
    clients = [world.client() for _ in range(3)]
    barriers = [client.DoubleBarrier(path, 3, str(i)) for i, client in enumerate(clients)]

    def enter(i):
        barriers[i].enter()
        entered.append(i)

    def leave(i):
        barriers[i].leave()
        left.append(i)

    world.zk.create(path)
    world.await_no_watches()
    entering = [world.thread(enter, i) for i in (0, 1)]
    eventually(lambda: world.watch_count() == 2, "two wait")
    equal(entered, [], "who has entered with one missing")
    enter(2)
    for thread in entering:
        thread.result()
    equal((sorted(entered), [b.participating for b in barriers]), ([0, 1, 2], [True] * 3), "in")
    leaving = [world.thread(leave, i) for i in (0, 1)]
    eventually(lambda: not world.zk.exists(path + "/ready"), "the first two leave")
    equal(left, [], "who has left with one still in")
    leave(2)
    for thread in leaving:
        thread.result()
    equal((sorted(left), world.zk.get_children(path)), ([0, 1, 2], []), "out")


@check("Counter: no increment is lost among three clients")
def counter(world):
    path = world.path + "/count"
    world.zk.exists("/")

    def work(client):
        counter = client.Counter(path)
        for _ in range(20):
            counter += 2
            counter -= 1

    for thread in [world.thread(work, world.client()) for _ in range(3)]:
        thread.result(20)
    equal(world.zk.Counter(path).value, 60, "value")
    equal(world.zk.get(path)[1].version, 120, "one version per change")


@check("Counter: its values before and after, fractions, and Curator's encoding")
def counter_kinds(world):
    zk, path = world.zk, world.path
    counter = zk.Counter(path + "/i", default=5)
    counter += 3
    equal((counter.pre_value, counter.post_value, counter.value), (5, 8, 8), "integers")
    fraction = zk.Counter(path + "/f", default=1.5)
    fraction -= 0.25
    equal(fraction.value, 1.25, "fractions")
    shared = zk.Counter(path + "/c", support_curator=True)
    shared += 258
    equal((shared.value, zk.get(path + "/c")[0]), (258, b"\0\0\1\2"), "Curator's four bytes")


@check("Party: members come, go, and end with their sessions")
def party(world):
    zk, path = world.zk, world.path + "/party"
    clients = [world.client() for _ in range(3)]
    members = [client.Party(path, "m%d" % i) for i, client in enumerate(clients)]
    for member in members:
        member.join()
    equal((len(zk.Party(path)), sorted(zk.Party(path))), (3, ["m0", "m1", "m2"]), "members")
    members[0].leave()
    clients[1].stop()
    equal(list(zk.Party(path)), ["m2"], "members after one left and one's session ended")


@check("ShallowParty: members by the names of their nodes")
def shallow_party(world):
    zk, path = world.zk, world.path + "/shallow"
    members = [world.client().ShallowParty(path, name) for name in ("left", "right")]
    for member in members:
        member.join()
    equal((len(zk.ShallowParty(path)), sorted(zk.ShallowParty(path))), (2, ["left", "right"]), "in")
    members[1].leave()
    equal(list(zk.ShallowParty(path)), ["left"], "members after one left")


@check("SetPartitioner: every item has one owner, also after one leaves")
def partitioner(world):
    path, items = world.path + "/partition", tuple("abcdef")
    world.zk.exists("/")
    clients = [world.client() for _ in range(2)]
    parts = [client.SetPartitioner(path, set=items, identifier=str(i), time_boundary=0.3,
                                   max_reaction_time=0.5)
             for i, client in enumerate(clients)]

    def settled(which):
        for part in which:
            assert not part.failed, "a partitioner failed"
            if part.release:
                part.release_set()
        return all(part.acquired for part in which)

    def both():
        return settled(parts) and sorted(parts[0]) + sorted(parts[1])

    owned = eventually(lambda: both() if all(p.acquired or p.release for p in parts) else None,
                       "both have their part", timeout=20)
    equal((sorted(owned), len(list(parts[0]))), (list(items), 3), "items of both")
    parts[1].finish()
    eventually(lambda: settled(parts[:1]) and len(list(parts[0])) == 6,
               "the one that is left has all", timeout=20)
    equal(sorted(parts[0]), list(items), "items of the one that is left")
    parts[0].finish()
