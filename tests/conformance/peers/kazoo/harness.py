"""How the kazoo checks are written and run.

A check is a function that takes a `World`: clients of the server under test, a path nobody else
uses, and a way to wait for what is told asynchronously. It fails by any exception. The runner gives
every check a limit in time, closes its clients, removes its path and prints one line.
"""

import contextlib
import json
import logging
import signal
import socket
import sys
import threading
import time
import traceback

from kazoo.client import KazooClient
from kazoo.exceptions import NoNodeError

from proxy import CuttableProxy

ROOT = "/kazoo-checks"
CHECK_LIMIT_SECONDS = 30
SUPERUSER = ("digest", "super:secret")

_CHECKS = []


def check(name):
    """Registers a check under a name that a report can show."""

    def register(function):
        _CHECKS.append((name, function))
        return function

    return register


class World:
    """What one check may use."""

    def __init__(self, address, path):
        self.address = address
        self.path = path
        self._stack = contextlib.ExitStack()
        self._zk = None

    @property
    def zk(self):
        """The check's first client."""
        if self._zk is None:
            self._zk = self.client()
            self._zk.ensure_path(self.path)
        return self._zk

    def client(self, hosts=None, start=True, **options):
        """One more client, with a session of its own; stopped when the check ends."""
        client = KazooClient(hosts=hosts or self.address, **options)
        self._stack.callback(_discard, client)
        if start:
            client.start(timeout=10)
        return client

    def proxy(self):
        """A way to the server that can be cut."""
        proxy = CuttableProxy(self.address)
        self._stack.callback(proxy.close)
        return proxy

    def monitor(self):
        """The whole of `mntr`, by key; kazoo's `command` shows only what one read brings."""
        host, port = self.address.rsplit(":", 1)
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(b"mntr")
            with connection.makefile(encoding="utf-8") as answer:
                return dict(line.rstrip("\n").split("\t", 1) for line in answer)

    def await_no_watches(self):
        """Waits until the watches of earlier checks are gone with their connections."""
        eventually(lambda: self.watch_count() == 0, "no watch is left of earlier checks")

    def watch_count(self):
        """How many watches of any kind all clients together have."""
        return int(self.monitor()["zk_watch_count"])

    def thread(self, function, *args):
        """Starts a thread whose result, or exception, is had by its `result()`."""
        return _Thread(function, args)

    def close(self):
        self._stack.close()


class _Thread:
    def __init__(self, function, args):
        self._outcome = None
        self._thread = threading.Thread(target=self._run, args=(function, args), daemon=True)
        self._thread.start()

    def _run(self, function, args):
        try:
            self._outcome = (function(*args), None)
        except Exception as error:
            self._outcome = (None, error)

    def running(self):
        return self._thread.is_alive()

    def result(self, timeout=10):
        self._thread.join(timeout)
        if self._outcome is None:
            raise AssertionError("still waiting after %s s" % timeout)
        value, error = self._outcome
        if error is not None:
            raise error
        return value


def eventually(condition, what, timeout=10):
    """Waits until the condition holds; what it says is shown if it never does."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError("never happened within %s s: %s" % (timeout, what))
        time.sleep(0.01)


def equal(actual, expected, what):
    if actual != expected:
        raise AssertionError("%s: %r, expected %r" % (what, actual, expected))


def raises(error, function, *args, **options):
    """The call must fail with exactly this error; returns it."""
    try:
        value = function(*args, **options)
    except Exception as caught:
        if type(caught) is error:
            return caught
        raise AssertionError("%r instead of %s" % (caught, error.__name__)) from caught
    raise AssertionError("returned %r instead of %s" % (value, error.__name__))


class Recorder:
    """A callback that keeps what it was called with."""

    def __init__(self):
        self.calls = []

    def __call__(self, *args):
        self.calls.append(args[0] if len(args) == 1 else args)

    def wait(self, count, what, timeout=10):
        eventually(lambda: len(self.calls) >= count, "%s (%d of them)" % (what, count), timeout)
        return list(self.calls)


def _discard(client):
    with contextlib.suppress(Exception):
        client.stop()
    with contextlib.suppress(Exception):
        client.close()


def _time_is_up(_signal, _frame):
    raise TimeoutError("the check took longer than %d s" % CHECK_LIMIT_SECONDS)


def _run_one(address, number, function):
    world = World(address, "%s/%03d" % (ROOT, number))
    signal.alarm(CHECK_LIMIT_SECONDS)
    try:
        function(world)
        return None
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in where if frame.name == function.__name__]
        return "%s: %s (line %s)" % (type(error).__name__, error, lines[-1] if lines else "?")
    finally:
        signal.alarm(0)
        world.close()


def _clear(address):
    """Removes what the checks left, as the superuser: some of it is protected by ACLs."""
    client = KazooClient(hosts=address, auth_data=[SUPERUSER])
    client.start(timeout=10)
    try:
        with contextlib.suppress(NoNodeError):
            client.delete(ROOT, recursive=True)
    finally:
        _discard(client)


def main(arguments):
    """Runs the registered checks against a server; returns the exit status."""
    only = arguments.only or ""
    chosen = [(name, function) for name, function in _CHECKS if only in name]
    logging.disable(logging.CRITICAL)
    signal.signal(signal.SIGALRM, _time_is_up)
    _clear(arguments.address)
    failed = []
    for number, (name, function) in enumerate(chosen):
        start = time.monotonic()
        error = _run_one(arguments.address, number, function)
        millis = int((time.monotonic() - start) * 1000)
        if error is not None:
            failed.append(name)
        _report(arguments.json, name, millis, error)
    _clear(arguments.address)
    if arguments.json:
        print(json.dumps({"done": len(chosen)}))
    elif failed:
        print("FAILED: %s" % ", ".join(failed))
    elif not chosen:
        print("no check has %r in its name" % only)
    sys.stdout.flush()
    return 1 if failed or not chosen else 0


def _report(as_json, name, millis, error):
    if as_json:
        line = {"check": name, "millis": millis}
        if error is not None:
            line["error"] = error
        print(json.dumps(line), flush=True)
    else:
        print("%-4s %5d ms  %s%s" % ("ok" if error is None else "FAIL", millis, name,
                                     "" if error is None else "\n     " + error), flush=True)
