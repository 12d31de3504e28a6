"""Users of kazoo while servers fail: `faults.py HOST:PORT,HOST:PORT,...`

Each worker is a client with a session of its own. It sets and reads registers, makes and deletes
znodes, plain and sequential, keeps an ephemeral and watches a register. Everything that it asked
and was told is printed as a line of JSON, with the time by the monotonic clock; whether it can all
be true is judged by the reader. What kazoo itself can see to be wrong is printed as a complaint.

Commands are lines on standard input: `clock`, `pause`, `resume`, `finish`.
"""

import json
import logging
import random
import sys
import threading
import time

from kazoo.client import KazooClient
from kazoo.exceptions import ConnectionLoss, NodeExistsError, OperationTimeoutError
from kazoo.exceptions import SessionExpiredError

WORKERS = 3
REGISTERS = 2
TOP = "/kazoo"
SESSION_SECONDS = 40
PACE_SECONDS = 0.01
KEPT = 10
# What a watch may take to tell of the last change, when nothing else happens.
WATCH_SECONDS = 20


class Shared:
    def __init__(self, hosts):
        self.hosts = hosts
        self.lock = threading.Lock()
        self.paused = threading.Event()
        self.over = threading.Event()
        self.parked = set()
        self.acknowledged = {}

    def say(self, **line):
        text = json.dumps(line)
        with self.lock:
            print(text, flush=True)

    def client(self):
        retry = {"max_tries": -1, "delay": 0.05, "backoff": 1.5, "max_delay": 0.5}
        client = KazooClient(
            hosts=self.hosts,
            timeout=SESSION_SECONDS,
            connection_retry=retry,
            randomize_hosts=True,
        )
        client.start(timeout=60)
        return client


class Worker(threading.Thread):
    def __init__(self, shared, me):
        super().__init__(daemon=True)
        self.shared = shared
        self.me = me
        self.random = random.Random(me)
        self.count = 0
        self.kept = []
        self.seen = {}
        self.watched = -1
        self.zk = shared.client()
        self.session = self.zk.client_id[0]

    def register(self, at):
        return f"{TOP}/register-{at}"

    def ephemeral(self):
        return f"{TOP}/ephemeral-{self.me}"

    def run(self):
        try:
            self.prepare()
            while not self.shared.over.is_set():
                if self.shared.paused.is_set():
                    self.stand_still()
                else:
                    self.act()
                    time.sleep(PACE_SECONDS)
            self.zk.stop()
            self.zk.close()
        except Exception as error:  # whatever it is, it is a finding
            self.complain(f"{type(error).__name__}: {error}")

    def complain(self, what):
        self.shared.say(complaint=f"kazoo worker {self.me}: {what}")

    def prepare(self):
        while True:
            try:
                self.zk.create(self.ephemeral(), ephemeral=True)
                break
            except NodeExistsError:
                break
            except (ConnectionLoss, OperationTimeoutError):
                pass

        def changed(_, stat):
            if stat is not None:
                self.watched = max(self.watched, stat.version)

        self.zk.DataWatch(self.register(self.me % REGISTERS), changed)

    def stand_still(self):
        with self.shared.lock:
            first = self.me not in self.shared.parked
        if first:
            self.look()
            with self.shared.lock:
                self.shared.parked.add(self.me)
        time.sleep(0.05)

    def look(self):
        """The ephemeral is ours, the session is the old one."""
        stat = self.certainly(lambda: self.zk.exists(self.ephemeral()))
        if self.zk.client_id[0] != self.session:
            self.complain(f"session {self.session:x} was lost")
        elif stat is None:
            self.complain(f"{self.ephemeral()} is gone, its session lives")
        elif stat.ephemeralOwner != self.session:
            self.complain(f"{self.ephemeral()} belongs to {stat.ephemeralOwner:x}")

    def certainly(self, ask):
        while True:
            try:
                return ask()
            except (ConnectionLoss, OperationTimeoutError):
                time.sleep(0.05)

    def act(self):
        kind = self.random.randrange(10)
        if kind < 3:
            self.set()
        elif kind < 6:
            self.read()
        elif kind < 8 or len(self.kept) <= KEPT:
            self.make(sequence=kind % 2 == 0)
        else:
            self.delete()

    def unique(self):
        self.count += 1
        return f"k{self.me}-{self.count}"

    def tell(self, what, path, value, ask):
        """Asks, and prints what was told."""
        line = {"by": self.me, "op": what, "path": path, "value": value}
        line["asked"] = time.monotonic()
        told = None
        try:
            told = ask()
            line.update(fate="done", zxid=told[0], version=told[1], text=told[2])
        except (ConnectionLoss, OperationTimeoutError, SessionExpiredError) as error:
            line["fate"] = "unknown"
            if isinstance(error, SessionExpiredError):
                self.complain(f"session {self.session:x} expired")
        line["told"] = time.monotonic()
        self.shared.say(**line)
        return told

    def set(self):
        path, value = self.register(self.random.randrange(REGISTERS)), self.unique()

        def ask():
            stat = self.zk.set(path, value.encode())
            return stat.mzxid, stat.version, ""

        told = self.tell("set", path, value, ask)
        if told:
            self.saw(path, told[1])
            with self.shared.lock:
                newest = self.shared.acknowledged.get(path, 0)
                self.shared.acknowledged[path] = max(newest, told[1])

    def saw(self, path, version):
        if version < self.seen.get(path, 0):
            self.complain(f"{path} went back from {self.seen[path]} to {version}")
        self.seen[path] = version

    def read(self):
        path = self.register(self.random.randrange(REGISTERS))
        with self.shared.lock:
            floor = self.shared.acknowledged.get(path, 0)

        def ask():
            self.zk.sync(path)
            data, stat = self.zk.get(path)
            if stat.version < floor:
                self.complain(f"{path}: {stat.version} behind a sync, {floor} was acknowledged")
            return stat.mzxid, stat.version, data.decode()

        told = self.tell("read", path, "", ask)
        if told:
            self.saw(path, told[1])

    def make(self, sequence):
        name = f"{TOP}/queue/{self.me}-" if sequence else f"{TOP}/unique/{self.unique()}"

        def ask():
            path, stat = self.zk.create(name, sequence=sequence, include_data=True)
            return stat.czxid, 0, path

        told = self.tell("sequential" if sequence else "create", name, "", ask)
        if told:
            self.kept.append(told[2])

    def delete(self):
        path = self.kept.pop(0)

        def ask():
            # A deletion alone does not tell its zxid; together with a write it does.
            both = self.zk.transaction()
            both.delete(path)
            both.set_data(f"{TOP}/bin", b"")
            told = both.commit()
            if told[0] is not True:
                raise told[0]
            return told[1].mzxid, 0, ""

        self.tell("delete", path, "", ask)


def settled(shared, workers):
    """While all stand still: every watch has told of the last change."""
    for worker in workers:
        path = worker.register(worker.me % REGISTERS)
        stat = worker.certainly(lambda: worker.zk.sync(path) and worker.zk.exists(path))
        deadline = time.monotonic() + WATCH_SECONDS
        while worker.watched < stat.version and time.monotonic() < deadline:
            time.sleep(0.02)
        if worker.watched < stat.version:
            worker.complain(f"{path} is at {stat.version}, its watch at {worker.watched}")


def main():
    logging.disable(logging.CRITICAL)
    shared = Shared(sys.argv[1])
    first = shared.client()
    for path in ["unique", "queue", "bin"] + [f"register-{at}" for at in range(REGISTERS)]:
        first.ensure_path(f"{TOP}/{path}")
    first.stop()
    first.close()
    workers = [Worker(shared, me) for me in range(WORKERS)]
    for worker in workers:
        worker.start()
    shared.say(ready=True)
    for line in sys.stdin:
        command = line.strip()
        if command == "clock":
            shared.say(clock=time.monotonic())
        elif command == "pause":
            shared.paused.set()
            while len(shared.parked) < WORKERS and any(w.is_alive() for w in workers):
                time.sleep(0.02)
            settled(shared, workers)
            shared.say(paused=True)
        elif command == "resume":
            shared.parked.clear()
            shared.paused.clear()
        elif command == "finish":
            break
    shared.over.set()
    for worker in workers:
        worker.join()
    shared.say(finished=True)


if __name__ == "__main__":
    main()
