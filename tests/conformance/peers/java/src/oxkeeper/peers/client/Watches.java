package oxkeeper.peers.client;

import static oxkeeper.peers.Expect.equal;
import static oxkeeper.peers.Expect.fails;

import static java.nio.charset.StandardCharsets.UTF_8;

import org.apache.zookeeper.AddWatchMode;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException.Code;
import org.apache.zookeeper.Op;
import org.apache.zookeeper.ZooDefs.Ids;
import org.apache.zookeeper.ZooKeeper;

import oxkeeper.peers.Checks;
import oxkeeper.peers.World;

import java.util.List;

/** Watches of all kinds, seen from another client's changes. */
final class Watches {
    private static final byte[] DATA = "data".getBytes(UTF_8);

    private Watches() {}

    static void register(Checks checks) {
        checks.add("one-shot watches fire once, each for what it watches", Watches::oneShot);
        checks.add(
                "a persistent watch sees data and children of its node, again and again",
                Watches::persistent);
        checks.add(
                "a recursive watch sees every node below, and no change of children",
                Watches::recursive);
        checks.add(
                "a persistent watch waits for a node that is not there yet",
                Watches::persistentOnMissing);
        checks.add("several watches of one client on a node make one event each", Watches::several);
        checks.add("watches see the parts of a multi in their order", Watches::multi);
        checks.add("no event tells of a node that may not be read", Watches::unreadable);
    }

    static void create(ZooKeeper zk, String path) throws Exception {
        zk.create(path, DATA, Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
    }

    private static void oneShot(World world) throws Exception {
        ZooKeeper zk = world.zk();
        ZooKeeper other = world.client();
        Events data = new Events();
        Events exists = new Events();
        Events children = new Events();
        String node = world.path("n");
        zk.exists(node, exists);
        zk.getChildren(world.path(), children);
        create(other, node);
        exists.are("NodeCreated " + node);
        children.are("NodeChildrenChanged " + world.path());
        zk.getData(node, data, null);
        other.setData(node, DATA, -1);
        other.setData(node, DATA, -1);
        data.are("NodeDataChanged " + node);
        Events gone = new Events();
        zk.getData(node, gone, null);
        zk.getChildren(node, gone);
        other.delete(node, -1);
        // One watcher object on both tables of one node is told once.
        gone.are("NodeDeleted " + node);
        zk.sync(world.path());
        equal(
                exists.seen().size()
                        + children.seen().size()
                        + data.seen().size()
                        + gone.seen().size(),
                4,
                "all events");
    }

    private static void persistent(World world) throws Exception {
        ZooKeeper zk = world.zk();
        ZooKeeper other = world.client();
        Events events = new Events();
        zk.addWatch(world.path(), events, AddWatchMode.PERSISTENT);
        String path = world.path();
        other.setData(path, DATA, -1);
        other.setData(path, DATA, -1);
        create(other, world.path("c"));
        create(other, world.path("c/d"));
        other.setData(world.path("c"), DATA, -1);
        other.delete(world.path("c/d"), -1);
        other.delete(world.path("c"), -1);
        other.delete(path, -1);
        create(other, path);
        events.are(
                "NodeDataChanged " + path,
                "NodeDataChanged " + path,
                "NodeChildrenChanged " + path,
                "NodeChildrenChanged " + path,
                "NodeDeleted " + path,
                "NodeCreated " + path);
    }

    private static void recursive(World world) throws Exception {
        ZooKeeper zk = world.zk();
        ZooKeeper other = world.client();
        Events events = new Events();
        zk.addWatch(world.path(), events, AddWatchMode.PERSISTENT_RECURSIVE);
        String c = world.path("c");
        create(other, c);
        create(other, c + "/d");
        other.setData(c + "/d", DATA, -1);
        other.setData(world.path(), DATA, -1);
        other.delete(c + "/d", -1);
        other.delete(c, -1);
        events.are(
                "NodeCreated " + c,
                "NodeCreated " + c + "/d",
                "NodeDataChanged " + c + "/d",
                "NodeDataChanged " + world.path(),
                "NodeDeleted " + c + "/d",
                "NodeDeleted " + c);
    }

    private static void persistentOnMissing(World world) throws Exception {
        ZooKeeper zk = world.zk();
        Events plain = new Events();
        Events deep = new Events();
        String node = world.path("to/come");
        zk.addWatch(node, plain, AddWatchMode.PERSISTENT);
        zk.addWatch(world.path("to"), deep, AddWatchMode.PERSISTENT_RECURSIVE);
        ZooKeeper other = world.client();
        create(other, world.path("to"));
        create(other, node);
        plain.are("NodeCreated " + node);
        deep.are("NodeCreated " + world.path("to"), "NodeCreated " + node);
    }

    private static void several(World world) throws Exception {
        ZooKeeper zk = world.zk();
        Events once = new Events();
        Events again = new Events();
        Events lasting = new Events();
        zk.getData(world.path(), once, null);
        zk.exists(world.path(), again);
        zk.addWatch(world.path(), lasting, AddWatchMode.PERSISTENT_RECURSIVE);
        ZooKeeper other = world.client();
        other.setData(world.path(), DATA, -1);
        other.setData(world.path(), DATA, -1);
        String change = "NodeDataChanged " + world.path();
        lasting.are(change, change);
        once.are(change);
        again.are(change);
    }

    private static void multi(World world) throws Exception {
        ZooKeeper zk = world.zk();
        Events events = new Events();
        zk.addWatch(world.path(), events, AddWatchMode.PERSISTENT_RECURSIVE);
        String a = world.path("a");
        world.client()
                .multi(
                        List.of(
                                Op.create(a, DATA, Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT),
                                Op.setData(a, DATA, 0),
                                Op.setData(world.path(), DATA, 0),
                                Op.delete(a, 1)));
        events.are(
                "NodeCreated " + a,
                "NodeDataChanged " + a,
                "NodeDataChanged " + world.path(),
                "NodeDeleted " + a);
    }

    private static void unreadable(World world) throws Exception {
        ZooKeeper owner = world.client();
        owner.addAuthInfo("digest", "owner:pw".getBytes(UTF_8));
        ZooKeeper zk = world.zk();
        Events events = new Events();
        zk.addWatch(world.path(), events, AddWatchMode.PERSISTENT_RECURSIVE);
        owner.create(world.path("secret"), DATA, Ids.CREATOR_ALL_ACL, CreateMode.PERSISTENT);
        owner.setData(world.path("secret"), DATA, -1);
        create(owner, world.path("open"));
        events.are("NodeCreated " + world.path("open"));
        fails(Code.NOAUTH, () -> zk.getData(world.path("secret"), false, null));
    }
}
