package oxkeeper.peers.client;

import static oxkeeper.peers.Expect.equal;
import static oxkeeper.peers.Expect.eventually;
import static oxkeeper.peers.Expect.fails;
import static oxkeeper.peers.Expect.retried;
import static oxkeeper.peers.Expect.that;

import static java.nio.charset.StandardCharsets.UTF_8;

import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException.Code;
import org.apache.zookeeper.Watcher.Event.KeeperState;
import org.apache.zookeeper.ZooDefs.Ids;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.data.Stat;

import oxkeeper.peers.Checks;
import oxkeeper.peers.CuttableProxy;
import oxkeeper.peers.World;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;

/** The life of a session: its end by close and by silence, its move, and what it refuses. */
final class Sessions {
    private static final byte[] DATA = "data".getBytes(UTF_8);

    private Sessions() {}

    static void register(Checks checks) {
        checks.add("close ends the session and its ephemerals before it returns", Sessions::close);
        checks.add("a silent session expires, and its client is told", Sessions::expiry);
        checks.add("a session moves to a client that knows its password", Sessions::move);
        checks.add("a session cannot be had with a wrong password", Sessions::wrongPassword);
        checks.add(
                "an oversized request costs the connection, not the session", Sessions::oversized);
        checks.add(
                "an oversized name list does not cost other clients anything",
                Sessions::othersServed);
        checks.add("a client that accepts read-only servers may write here", Sessions::readOnly);
        checks.add(
                "the session timeout is the one asked for, within the server's bounds",
                Sessions::timeout);
    }

    private static void close(World world) throws Exception {
        ZooKeeper owner = world.client();
        for (int i = 0; i < 50; i++) {
            owner.create(world.path("e" + i), DATA, Ids.OPEN_ACL_UNSAFE, CreateMode.EPHEMERAL);
        }
        Events events = new Events();
        world.zk().exists(world.path("e7"), events);
        Stat before = world.zk().exists(world.path(), false);
        owner.close();
        Stat after = new Stat();
        equal(world.zk().getChildren(world.path(), false, after), List.of(), "children");
        events.are("NodeDeleted " + world.path("e7"));
        equal(after.getCversion(), before.getCversion() + 50, "changes of children");
        that(after.getPzxid() > before.getPzxid(), "pzxid moves");
        fails(Code.SESSIONEXPIRED, () -> owner.getData(world.path(), false, null));
    }

    private static void expiry(World world) throws Exception {
        CuttableProxy proxy = world.proxy();
        List<KeeperState> states = Collections.synchronizedList(new ArrayList<>());
        ZooKeeper zk = world.client(proxy.address(), 1_000, event -> states.add(event.getState()));
        zk.create(world.path("e"), DATA, Ids.OPEN_ACL_UNSAFE, CreateMode.EPHEMERAL);
        Events events = new Events();
        world.zk().exists(world.path("e"), events);
        proxy.refuse();
        events.are("NodeDeleted " + world.path("e"));
        proxy.allow();
        eventually(() -> states.contains(KeeperState.Expired), "the client is told");
        equal(
                states.subList(0, 2),
                List.of(KeeperState.SyncConnected, KeeperState.Disconnected),
                "states");
        equal(zk.getState(), ZooKeeper.States.CLOSED, "state of the client");
        fails(Code.SESSIONEXPIRED, () -> zk.getData(world.path(), false, null));
    }

    private static void move(World world) throws Exception {
        CuttableProxy proxy = world.proxy();
        ZooKeeper first = world.client(proxy.address(), World.SESSION_MILLIS, event -> {});
        first.create(world.path("e"), DATA, Ids.OPEN_ACL_UNSAFE, CreateMode.EPHEMERAL);
        proxy.refuse();
        ZooKeeper second =
                world.closing(
                        new ZooKeeper(
                                world.address(),
                                World.SESSION_MILLIS,
                                event -> {},
                                first.getSessionId(),
                                first.getSessionPasswd()));
        equal(
                second.exists(world.path("e"), false).getEphemeralOwner(),
                first.getSessionId(),
                "owner");
        equal(second.getSessionId(), first.getSessionId(), "session");
        equal(second.getEphemerals(), List.of(world.path("e")), "its ephemerals");
        second.close();
        equal(world.zk().exists(world.path("e"), false), null, "the ephemeral after the close");
    }

    private static void wrongPassword(World world) throws Exception {
        ZooKeeper victim = world.client();
        victim.create(world.path("e"), DATA, Ids.OPEN_ACL_UNSAFE, CreateMode.EPHEMERAL);
        List<KeeperState> states = Collections.synchronizedList(new ArrayList<>());
        world.closing(
                new ZooKeeper(
                        world.address(),
                        World.SESSION_MILLIS,
                        event -> states.add(event.getState()),
                        victim.getSessionId(),
                        new byte[16]));
        eventually(() -> states.contains(KeeperState.Expired), "the intruder is refused");
        that(!states.contains(KeeperState.SyncConnected), "the intruder never was connected");
        // ZooKeeper cuts the session's connection before it looks at the password: the victim may
        // have to come back, but it loses nothing.
        equal(retried(victim::getEphemerals), List.of(world.path("e")), "the victim's ephemerals");
    }

    private static void oversized(World world) throws Exception {
        ZooKeeper zk = world.zk();
        long session = zk.getSessionId();
        fails(Code.CONNECTIONLOSS, () -> zk.setData(world.path(), new byte[1_100_000], -1));
        equal(
                retried(() -> zk.exists(world.path(), false)).getVersion(),
                0,
                "version after the refusal");
        equal(zk.getSessionId(), session, "session");
        zk.setData(world.path(), new byte[1_000_000], -1);
        equal(
                zk.exists(world.path(), false).getDataLength(),
                1_000_000,
                "length of what is allowed");
    }

    private static void othersServed(World world) throws Exception {
        ZooKeeper loud = world.client();
        ZooKeeper quiet = world.zk();
        String name = "n".repeat(1_100_000);
        fails(Code.CONNECTIONLOSS, () -> loud.exists(world.path(name), false));
        equal(quiet.exists(world.path(), false).getVersion(), 0, "the other client's node");
        that(quiet.getState().isConnected(), "the other client is connected");
    }

    private static void readOnly(World world) throws Exception {
        ZooKeeper zk =
                world.closing(
                        new ZooKeeper(world.address(), World.SESSION_MILLIS, event -> {}, true));
        eventually(() -> zk.getState() == ZooKeeper.States.CONNECTED, "connected for writing");
        Watches.create(zk, world.path("w"));
    }

    private static void timeout(World world) throws Exception {
        String conf = world.adminWord("conf");
        ZooKeeper low = world.client(world.address(), 400, event -> {});
        ZooKeeper high = world.client(world.address(), 10_000_000, event -> {});
        ZooKeeper middle = world.client(world.address(), 7_777, event -> {});
        equal(middle.getSessionTimeout(), 7_777, "a timeout within the bounds");
        that(
                conf.contains("minSessionTimeout=" + low.getSessionTimeout() + "\n"),
                "the least: " + conf);
        that(
                conf.contains("maxSessionTimeout=" + high.getSessionTimeout() + "\n"),
                "the greatest: " + conf);
    }
}
