"""Sessions: ephemerals, reconnects, expiry, moving and refusal."""

import re

from kazoo.exceptions import NoAuthError, NoNodeError, ReconfigDisabledError
from kazoo.protocol.states import KazooState

from harness import Recorder, check, equal, eventually, raises


@check("ephemerals belong to their session and end with it")
def ephemerals(world):
    owner, path = world.client(), world.path
    world.zk.exists("/")
    for i in range(20):
        owner.create("%s/e%d" % (path, i), b"", ephemeral=True)
    owner.create(path + "/kept")
    equal(world.zk.exists(path + "/e0").ephemeralOwner, owner.client_id[0], "owner")
    owner.stop()
    # The session is closed when stop returns: no waiting is allowed here.
    world.zk.sync(path)
    equal(world.zk.get_children(path), ["kept"], "children after the close")


@check("a cut connection is renewed with its session, ephemerals and watches of recipes")
def reconnect(world):
    proxy, path = world.proxy(), world.path
    world.zk.exists("/")
    client = world.client(hosts=proxy.address)
    states = Recorder()
    client.add_listener(states)
    session = client.client_id
    client.create(path + "/e", ephemeral=True)
    proxy.cut()
    states.wait(2, "suspended and connected")
    equal(states.calls[:2], [KazooState.SUSPENDED, KazooState.CONNECTED], "states")
    equal(client.client_id, session, "session and password")
    equal(client.retry(client.exists, path + "/e").ephemeralOwner, session[0], "ephemeral")


@check("a session unheard of for its timeout expires, with its ephemerals")
def expiry(world):
    proxy, path = world.proxy(), world.path
    gone = Recorder()
    client = world.client(hosts=proxy.address, timeout=1.0)
    world.zk.exists("/")
    states = Recorder()
    client.add_listener(states)
    session = client.client_id[0]
    client.create(path + "/e", ephemeral=True)
    world.zk.exists(path + "/e", watch=gone)
    proxy.refuse()
    gone.wait(1, "the end of the ephemeral", timeout=20)
    proxy.allow()
    eventually(lambda: states.calls[-1:] == [KazooState.CONNECTED], "a new session", timeout=20)
    equal(states.calls, [KazooState.SUSPENDED, KazooState.LOST, KazooState.CONNECTED], "states")
    assert client.client_id[0] != session, "the session is a new one"
    equal(world.zk.exists(path + "/e"), None, "the ephemeral")


@check("a session may be taken over by another client that knows its password")
def take_over(world):
    proxy, path = world.proxy(), world.path
    world.zk.exists("/")
    first = world.client(hosts=proxy.address)
    session = first.client_id
    first.create(path + "/e", ephemeral=True)
    proxy.refuse()
    second = world.client(client_id=session)
    equal(second.client_id, session, "session and password")
    second.set(path + "/e", b"mine")
    second.stop()
    equal(world.zk.exists(path + "/e"), None, "the ephemeral after the close")


@check("a wrong password does not open a session")
def wrong_password(world):
    session, _ = world.zk.client_id
    intruder = world.client(client_id=(session, b"\x01" * 16))
    assert intruder.client_id[0] != session, "the session was given to a stranger"
    equal(world.zk.exists(world.path).version, 0, "its owner is served")
    equal(world.zk.client_id[0], session, "its owner keeps it")


@check("the session timeout is kept within the server's bounds")
def timeout_bounds(world):
    low, high = world.client(timeout=0.4), world.client(timeout=100_000.0)
    conf = dict(line.split("=", 1) for line in low.command(b"conf").splitlines() if "=" in line)
    cons = low.command(b"cons")
    for client, bound in ((low, "minSessionTimeout"), (high, "maxSessionTimeout")):
        line = re.search(r".*sid=0x%x,.*" % client.client_id[0], cons).group()
        equal(re.search(r",to=(\d+),", line).group(1), conf[bound], bound + ", in cons")


@check("an idle client stays connected by its pings")
def pings(world):
    client = world.client(timeout=3.0)
    states = Recorder()
    client.add_listener(states)
    client.handler.sleep_func(4.5)
    equal((states.calls, client.connected), ([], True), "states over one and a half timeouts")


@check("a client that accepts read-only servers is served as any other")
def read_only(world):
    world.zk.exists("/")
    client = world.client(read_only=True)
    client.create(world.path + "/w", b"written")
    equal(world.zk.get(world.path + "/w")[0], b"written", "its write")


@check("restart gives a new session")
def restart(world):
    client = world.client()
    session = client.client_id[0]
    world.zk.exists("/")
    client.create(world.path + "/e", ephemeral=True)
    client.restart()
    assert client.client_id[0] != session, "the same session"
    raises(NoNodeError, client.get, world.path + "/e")


@check("a standalone server refuses to be reconfigured")
def reconfig(world):
    raises(ReconfigDisabledError, world.zk.reconfig, "server.2=127.0.0.1:1:2;3", None, None)
    raises(NoAuthError, world.zk.set, "/zookeeper/config", b"x")
