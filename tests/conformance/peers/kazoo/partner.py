"""A user of kazoo's recipes that does what it is told: `WHO VERB ARGUMENTS` on a line, and `WHO
ANSWER` when it is done. Each WHO is a thread of its own."""

import queue
import sys
import threading
import time

from kazoo.client import KazooClient
from kazoo.exceptions import LockTimeout

client = KazooClient(hosts=sys.argv[1], timeout=10)
client.start()
held = {}
printing = threading.Lock()


def lock(kind, path, who="x"):
    makers = {"mutex": client.Lock, "read": client.ReadLock, "write": client.WriteLock}
    return makers[kind](path, who)


def acquire(who, kind, path, millis):
    if kind.startswith("semaphore:"):
        wanted = client.Semaphore(path, who, max_leases=int(kind.split(":")[1]))
    else:
        wanted = lock(kind, path, who)
    try:
        acquired = wanted.acquire(timeout=int(millis) / 1000)
    except LockTimeout:
        acquired = False
    if acquired:
        held[who] = wanted.release
    return "yes" if acquired else "no"


def hammer(kind, path, counter, times):
    """Adds to a number that nothing but the lock protects."""
    for _ in range(int(times)):
        with lock(kind, path):
            number = int(client.get(counter)[0])
            time.sleep(0.001)
            client.set(counter, str(number + 1).encode())
    return "ok"


def elect(who, path, millis):
    elected, resigned = threading.Event(), threading.Event()

    def lead():
        elected.set()
        resigned.wait()

    election = client.Election(path, who)
    thread = threading.Thread(target=election.run, args=(lead,), daemon=True)
    thread.start()
    if not elected.wait(int(millis) / 1000):
        election.cancel()
        thread.join()
        return "no"

    def resign():
        resigned.set()
        thread.join()

    held[who] = resign
    return "yes"


def enter(who, path, size):
    barrier = client.DoubleBarrier(path, int(size), who)
    barrier.enter()
    held[who] = barrier.leave
    return "ok"


def put(kind, path, item, number="100"):
    maker = client.LockingQueue if kind == "locked" else client.Queue
    maker(path).put(item.encode(), int(number))
    return "ok"


def take(kind, path):
    if kind == "locked":
        taking = client.LockingQueue(path)
        item = taking.get(10)
        taking.consume()
    else:
        item = client.Queue(path).get()
    return item.decode() if item is not None else "none"


def claim(who, path):
    taking = client.LockingQueue(path)
    item = taking.get(1)
    if item is None:
        return "none"
    held[who] = taking.release
    return item.decode()


def add(kind, path, delta):
    counter = client.Counter(path, support_curator=kind == "int")
    counter += int(delta)
    return str(counter.post_value)


def join(who, kind, path, name):
    maker = client.ShallowParty if kind == "shallow" else client.Party
    party = maker(path, name)
    party.join()
    held[who] = party.leave
    return "ok"


def members(kind, path):
    maker = client.ShallowParty if kind == "shallow" else client.Party
    return ",".join(sorted(maker(path)))


def partition(who, path, things):
    shards = client.SetPartitioner(path, things.split(","), identifier=who, time_boundary=1)

    def serve():
        while not shards.failed and who in held:
            if shards.release:
                shards.release_set()
            elif shards.allocating:
                shards.wait_for_acquire(1)
            else:
                time.sleep(0.05)
        shards.finish()

    held[who] = lambda: None
    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    for _ in range(400):
        time.sleep(0.05)
        if shards.acquired and len(list(shards)) == len(things.split(",")) // 2:
            return ",".join(sorted(shards))
    return "never"


def release(who):
    held.pop(who)()
    return "ok"


def pass_barrier(path, millis):
    return "yes" if client.Barrier(path).wait(int(millis) / 1000) else "no"


def close(path):
    client.Barrier(path).create()
    return "ok"


def open_barrier(path):
    client.Barrier(path).remove()
    return "ok"


VERBS = {
    "hammer": hammer,
    "put": put,
    "take": take,
    "add": add,
    "members": members,
    "pass": pass_barrier,
    "close": close,
    "open": open_barrier,
}
VERBS_OF_ONE = {
    "acquire": acquire,
    "release": release,
    "elect": elect,
    "enter": enter,
    "claim": claim,
    "join": join,
    "partition": partition,
}


def work(who, lines):
    while True:
        verb, *words = lines.get()
        try:
            if verb in VERBS_OF_ONE:
                answer = VERBS_OF_ONE[verb](who, *words)
            else:
                answer = VERBS[verb](*words)
        except Exception as error:  # whatever it is, the other side wants to know
            answer = f"failed: {error!r}"
        with printing:
            print(who, answer, flush=True)


threads = {}
for line in sys.stdin:
    name, *rest = line.split()
    if name not in threads:
        threads[name] = queue.Queue()
        threading.Thread(target=work, args=(name, threads[name]), daemon=True).start()
    threads[name].put(rest)
