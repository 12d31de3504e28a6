"""Queues: order, priorities, and each item to one consumer."""

from harness import check, equal, eventually


@check("Queue: first in, first out, urgent ones before")
def queue(world):
    queue = world.zk.Queue(world.path + "/q")
    equal(queue.get(), None, "an empty queue")
    for value, priority in ((b"one", 100), (b"two", 100), (b"urgent", 10), (b"late", 900)):
        queue.put(value, priority)
    equal(len(queue), 4, "length")
    taken = [world.client().Queue(world.path + "/q").get() for _ in range(4)]
    equal(taken, [b"urgent", b"one", b"two", b"late"], "order")
    equal((queue.get(), len(queue)), (None, 0), "emptied")


@check("Queue: two consumers take each item once")
def queue_consumers(world):
    path, items = world.path + "/q", [b"%03d" % i for i in range(40)]
    queue = world.zk.Queue(path)
    for item in items:
        queue.put(item)

    def consume(client):
        taken, queue = [], client.Queue(path)
        while len(queue):
            item = queue.get()
            if item is not None:
                taken.append(item)
        return taken

    threads = [world.thread(consume, world.client()) for _ in range(2)]
    equal(sorted(threads[0].result(20) + threads[1].result(20)), items, "items")


@check("LockingQueue: an item is held, consumed or given back")
def locking_queue(world):
    path = world.path + "/lq"
    one, two = world.zk.LockingQueue(path), world.client().LockingQueue(path)
    equal(one.get(timeout=0.1), None, "an empty queue")
    one.put_all([b"a", b"b"])
    one.put(b"first", priority=1)
    equal((len(one), one.get(5), one.get(5)), (3, b"first", b"first"), "held until consumed")
    equal((one.holds_lock(), two.get(5)), (True, b"a"), "the other gets the next")
    equal((one.consume(), one.consume(), len(two)), (True, False, 2), "consumed once")
    equal((two.release(), two.holds_lock()), (True, False), "given back")
    equal((one.get(5), two.get(5)), (b"a", b"b"), "given back to the front")
    equal((one.consume(), two.consume(), len(one)), (True, True, 0), "all consumed")


@check("LockingQueue: a waiting consumer is woken, a dead one's item is freed")
def locking_queue_wakes(world):
    path = world.path + "/lq"
    queue, mortal = world.zk.LockingQueue(path), world.client()
    first = mortal.LockingQueue(path)
    world.await_no_watches()
    waiting = world.thread(first.get, 10)
    eventually(lambda: world.watch_count() == 2, "the consumer watches both paths")
    queue.put(b"item")
    equal(waiting.result(), b"item", "what woke it")
    # One watch of the first is left, on the entries; the second makes two.
    second = world.thread(queue.get, 10)
    eventually(lambda: world.watch_count() == 3, "the second waits")
    mortal.stop()
    equal((second.result(), queue.consume()), (b"item", True), "the item of the dead one")
