"""Recipes that let few in: locks, read and write locks, semaphores, leases, elections."""

import datetime

from kazoo.exceptions import CancelledError, LockTimeout

from harness import check, equal, eventually, raises


def _waits(work, what):
    """The thread's work must not be done; half a dozen answers of the server are time enough."""
    assert work.running(), "%s did not wait" % what


@check("Lock: three clients never hold it together, and all get it")
def lock_excludes(world):
    world.zk.exists("/")
    inside, most, done = [], [], []

    def work(client, name):
        for _ in range(5):
            with client.Lock(world.path + "/lock", name):
                inside.append(name)
                most.append(len(inside))
                value, stat = client.get(world.path)
                client.set(world.path, b"%d" % (int(value or b"0") + 1), version=stat.version)
                inside.remove(name)
                done.append(name)

    threads = [world.thread(work, world.client(), name) for name in ("a", "b", "c")]
    for thread in threads:
        thread.result(20)
    equal((max(most), len(done)), (1, 15), "the most inside, and the turns")
    equal(world.zk.get(world.path)[0], b"15", "the value that only holders change")
    equal(world.zk.get_children(world.path + "/lock"), [], "nodes left")


@check("Lock: contenders in order, non-blocking and timed attempts, cancel")
def lock_attempts(world):
    zk, other, path = world.zk, world.client(), world.path + "/lock"
    held, waiting = zk.Lock(path, "first"), other.Lock(path, "second")
    equal(held.acquire(), True, "the free lock")
    equal(other.Lock(path, "x").acquire(blocking=False), False, "without waiting")
    raises(LockTimeout, other.Lock(path, "x").acquire, timeout=0.2)
    attempt = world.thread(waiting.acquire)
    eventually(lambda: zk.Lock(path).contenders() == ["first", "second"], "both contend")
    _waits(attempt, "the second")
    waiting.cancel()
    raises(CancelledError, attempt.result)
    eventually(lambda: zk.Lock(path).contenders() == ["first"], "the cancelled one is gone")
    equal(held.release(), True, "release")


@check("Lock: the end of the holder's session passes it on")
def lock_session_end(world):
    holder, path = world.client(), world.path + "/lock"
    world.zk.exists("/")
    holder.Lock(path, "holder").acquire()
    lock = world.zk.Lock(path, "next")
    attempt = world.thread(lock.acquire)
    eventually(lambda: world.zk.Lock(path).contenders() == ["holder", "next"], "it contends")
    holder.stop()
    equal(attempt.result(), True, "acquired")


@check("Lock: kept over a cut connection")
def lock_reconnect(world):
    proxy, path = world.proxy(), world.path + "/lock"
    world.zk.exists("/")
    client = world.client(hosts=proxy.address)
    lock = client.Lock(path, "cut")
    lock.acquire()
    proxy.cut()
    eventually(lambda: not client.connected, "the cut is noticed")
    eventually(lambda: client.connected, "connected again")
    equal(world.zk.Lock(path).acquire(blocking=False), False, "another's attempt")
    equal((lock.release(), world.zk.get_children(path)), (True, []), "release")


@check("ReadLock and WriteLock: readers share, a writer excludes and is not overtaken")
def read_write(world):
    path = world.path + "/rw"
    one, two, three, four = (world.client() for _ in range(4))
    world.zk.exists("/")
    reader, second = one.ReadLock(path, "r1"), two.ReadLock(path, "r2")
    equal((reader.acquire(), second.acquire(timeout=5)), (True, True), "two readers")
    writer = three.WriteLock(path, "w")
    writing = world.thread(writer.acquire)
    eventually(lambda: "w" in three.WriteLock(path).contenders(), "the writer contends")
    late = four.ReadLock(path, "r3")
    reading = world.thread(late.acquire)
    eventually(lambda: len(world.zk.get_children(path)) == 4, "the late reader waits")
    reader.release()
    _waits(writing, "the writer")
    second.release()
    equal(writing.result(), True, "the writer")
    _waits(reading, "the late reader")
    writer.release()
    equal(reading.result(), True, "the late reader")
    late.release()


@check("Semaphore: as many as its leases, then one for one")
def semaphore(world):
    path = world.path + "/semaphore"
    world.zk.exists("/")
    clients = [world.client() for _ in range(3)]
    one, two, three = (client.Semaphore(path, name, max_leases=2)
                       for client, name in zip(clients, "abc"))
    equal((one.acquire(), two.acquire()), (True, True), "two leases")
    equal(three.acquire(blocking=False), False, "a third, without waiting")
    raises(LockTimeout, three.acquire, timeout=0.2)
    equal(sorted(three.lease_holders()), ["a", "b"], "holders")
    attempt = world.thread(three.acquire)
    eventually(lambda: world.zk.get_children(path + "-__lock__"), "the third waits")
    clients[0].stop()
    equal(attempt.result(), True, "the third after the first's session")
    equal(sorted(three.lease_holders()), ["b", "c"], "holders")
    raises(ValueError, world.zk.Semaphore(path, max_leases=5).acquire)


@check("NonBlockingLease: one holder, renewed by itself, free when it ends")
def lease(world):
    zk, path, hour = world.zk, world.path + "/lease", datetime.timedelta(hours=1)
    start = datetime.datetime(2030, 1, 1)

    def attempt(name, hours):
        now = start + hours * hour
        return bool(zk.NonBlockingLease(path, hour, name, utcnow=lambda: now))

    equal(attempt("a", 0), True, "the free lease")
    equal(attempt("b", 0.5), False, "another's, while held")
    equal(attempt("a", 0.9), True, "renewed by its holder")
    equal(attempt("b", 1.5), False, "another's, after the renewal")
    equal(attempt("b", 2), True, "another's, after its end")


@check("MultiNonBlockingLease: as many holders as leases")
def multi_lease(world):
    zk, path, hour = world.zk, world.path + "/leases", datetime.timedelta(hours=1)
    outcome = [bool(zk.MultiNonBlockingLease(2, path, hour, name)) for name in "abca"]
    equal(outcome, [True, True, False, True], "a, b, c, and a again")


@check("Election: each contender leads once, one at a time, in turn")
def election(world):
    path, turns, leading = world.path + "/election", [], []
    world.zk.exists("/")

    def lead(name):
        leading.append(name)
        turns.append((name, len(leading)))
        leading.remove(name)

    gate = world.zk.Lock(path, "gate")
    gate.acquire()
    threads = []
    for count, name in enumerate("abc", start=2):
        contest = world.client().Election(path, name)
        threads.append(world.thread(contest.run, lead, name))
        eventually(lambda: len(contest.contenders()) == count, name + " contends")
    equal(world.zk.Election(path).contenders(), ["gate", "a", "b", "c"], "contenders")
    gate.release()
    for thread in threads:
        thread.result()
    equal(turns, [("a", 1), ("b", 1), ("c", 1)], "who led, and how many at once")


@check("Election: a cancelled contender never leads")
def election_cancel(world):
    path, led = world.path + "/election", []
    gate = world.zk.Lock(path, "gate")
    gate.acquire()
    contest = world.client().Election(path, "quitter")
    thread = world.thread(contest.run, led.append, "quitter")
    eventually(lambda: contest.contenders() == ["gate", "quitter"], "it contends")
    contest.cancel()
    thread.result()
    gate.release()
    equal((led, world.zk.Election(path).contenders()), ([], []), "who led, who contends")
