package oxkeeper.peers.client;

import static oxkeeper.peers.Expect.equal;
import static oxkeeper.peers.Expect.eventually;

import static java.nio.charset.StandardCharsets.UTF_8;

import org.apache.zookeeper.AddWatchMode;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.ZooDefs.Ids;
import org.apache.zookeeper.ZooKeeper;

import oxkeeper.peers.Checks;
import oxkeeper.peers.CuttableProxy;
import oxkeeper.peers.Expect;
import oxkeeper.peers.World;

import java.util.List;
import java.util.TreeSet;
import java.util.concurrent.CountDownLatch;

/** A cut connection: the session goes on, and no change of what is watched is missed. */
final class Reconnects {
    private static final byte[] DATA = "data".getBytes(UTF_8);

    private Reconnects() {}

    static void register(Checks checks) {
        checks.add(
                "a cut connection is renewed with its session, ephemerals and identities",
                Reconnects::renewed);
        checks.add("what changed while away is told on return", Reconnects::missed);
        checks.add("what did not change is still watched after a return", Reconnects::rearmed);
        checks.add("watches of a chroot come back with its paths", Reconnects::chroot);
        checks.add("ten thousand watches are set again on return", Reconnects::many);
    }

    /**
     * Cuts the client off, does the work, and waits until it is connected again and its watches
     * are set: they are sent before any request of ours, but after the state says connected.
     */
    private static void away(CuttableProxy proxy, ZooKeeper zk, Work work) throws Exception {
        proxy.hold();
        eventually(() -> !zk.getState().isConnected(), "the cut is noticed");
        work.run();
        proxy.allow();
        eventually(() -> zk.getState().isConnected(), "connected again");
        Expect.retried(() -> zk.exists("/", false));
    }

    private interface Work {
        void run() throws Exception;
    }

    private static ZooKeeper through(World world, CuttableProxy proxy) throws Exception {
        return world.client(proxy.address(), World.SESSION_MILLIS, event -> {});
    }

    private static void renewed(World world) throws Exception {
        CuttableProxy proxy = world.proxy();
        ZooKeeper zk = through(world, proxy);
        zk.addAuthInfo("digest", "dora:pw".getBytes(UTF_8));
        long session = zk.getSessionId();
        byte[] password = zk.getSessionPasswd();
        zk.create(world.path("e"), DATA, Ids.CREATOR_ALL_ACL, CreateMode.EPHEMERAL);
        for (int turn = 0; turn < 2; turn++) {
            away(proxy, zk, () -> {});
            equal(zk.getSessionId(), session, "session");
            equal(zk.getSessionPasswd(), password, "password");
            equal(zk.getData(world.path("e"), false, null), DATA, "an ephemeral only we may read");
        }
    }

    private static void missed(World world) throws Exception {
        CuttableProxy proxy = world.proxy();
        ZooKeeper zk = through(world, proxy);
        for (String name : new String[] {"changed", "deleted", "parent"}) {
            Watches.create(world.zk(), world.path(name));
        }
        Events changed = new Events();
        Events deleted = new Events();
        Events created = new Events();
        Events children = new Events();
        zk.getData(world.path("changed"), changed, null);
        zk.getData(world.path("deleted"), deleted, null);
        zk.exists(world.path("created"), created);
        zk.getChildren(world.path("parent"), children);
        away(
                proxy,
                zk,
                () -> {
                    world.zk().setData(world.path("changed"), DATA, -1);
                    world.zk().delete(world.path("deleted"), -1);
                    Watches.create(world.zk(), world.path("created"));
                    Watches.create(world.zk(), world.path("parent/child"));
                });
        changed.are("NodeDataChanged " + world.path("changed"));
        deleted.are("NodeDeleted " + world.path("deleted"));
        created.are("NodeCreated " + world.path("created"));
        children.are("NodeChildrenChanged " + world.path("parent"));
    }

    private static void rearmed(World world) throws Exception {
        CuttableProxy proxy = world.proxy();
        ZooKeeper zk = through(world, proxy);
        Events data = new Events();
        Events created = new Events();
        Events children = new Events();
        Events persistent = new Events();
        Events recursive = new Events();
        String path = world.path();
        zk.getData(path, data, null);
        zk.exists(world.path("n"), created);
        zk.getChildren(path, children);
        zk.addWatch(path, persistent, AddWatchMode.PERSISTENT);
        zk.addWatch(world.path("n"), recursive, AddWatchMode.PERSISTENT_RECURSIVE);
        away(proxy, zk, () -> {});
        equal(
                List.of(
                        data.seen(),
                        created.seen(),
                        children.seen(),
                        persistent.seen(),
                        recursive.seen()),
                List.of(List.of(), List.of(), List.of(), List.of(), List.of()),
                "events before any change");
        world.zk().setData(path, DATA, -1);
        Watches.create(world.zk(), world.path("n"));
        Watches.create(world.zk(), world.path("n/m"));
        data.are("NodeDataChanged " + path);
        created.are("NodeCreated " + world.path("n"));
        children.are("NodeChildrenChanged " + path);
        persistent.are("NodeDataChanged " + path, "NodeChildrenChanged " + path);
        recursive.are("NodeCreated " + world.path("n"), "NodeCreated " + world.path("n/m"));
    }

    private static void chroot(World world) throws Exception {
        CuttableProxy proxy = world.proxy();
        ZooKeeper zk =
                world.client(proxy.address() + world.path(), World.SESSION_MILLIS, event -> {});
        Events data = new Events();
        Events created = new Events();
        Events recursive = new Events();
        Watches.create(zk, "/a");
        zk.getData("/a", data, null);
        zk.exists("/b", created);
        zk.addWatch("/c", recursive, AddWatchMode.PERSISTENT_RECURSIVE);
        equal(
                zk.create("/s-", DATA, Ids.OPEN_ACL_UNSAFE, CreateMode.EPHEMERAL_SEQUENTIAL),
                "/s-0000000001",
                "the path inside");
        away(proxy, zk, () -> world.zk().setData(world.path("a"), DATA, -1));
        data.are("NodeDataChanged /a");
        Watches.create(world.zk(), world.path("b"));
        Watches.create(world.zk(), world.path("c"));
        created.are("NodeCreated /b");
        recursive.are("NodeCreated /c");
        equal(
                new TreeSet<>(zk.getChildren("/", false)),
                new TreeSet<>(List.of("a", "b", "c", "s-0000000001")),
                "children of the chroot");
    }

    private static void many(World world) throws Exception {
        CuttableProxy proxy = world.proxy();
        ZooKeeper zk = through(world, proxy);
        Events events = new Events();
        // Long names, so that they do not fit into one setWatches request.
        String prefix =
                world.path("a-name-that-is-long-enough-to-fill-a-setWatches-request-quickly-");
        world.awaitNoWatches();
        // A client sets again what it has heard to be set: the server's count is not enough.
        CountDownLatch set = new CountDownLatch(10_000);
        for (int i = 0; i < 10_000; i++) {
            zk.exists(prefix + i, events, (code, path, context, stat) -> set.countDown(), null);
        }
        eventually(() -> set.getCount() == 0, "all are set");
        equal(world.watchCount(), 10_000, "watches at the server");
        away(proxy, zk, () -> Watches.create(world.zk(), prefix + 77));
        events.are("NodeCreated " + prefix + 77);
        Expect.becomes(world::watchCount, 9_999, "the others are set again");
        Watches.create(world.zk(), prefix + 9_999);
        events.are("NodeCreated " + prefix + 77, "NodeCreated " + prefix + 9_999);
    }
}
