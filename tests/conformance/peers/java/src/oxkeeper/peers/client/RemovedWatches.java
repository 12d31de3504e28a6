package oxkeeper.peers.client;

import static oxkeeper.peers.Expect.equal;
import static oxkeeper.peers.Expect.fails;

import static java.nio.charset.StandardCharsets.UTF_8;

import org.apache.zookeeper.AddWatchMode;
import org.apache.zookeeper.KeeperException.Code;
import org.apache.zookeeper.Watcher.WatcherType;
import org.apache.zookeeper.ZooKeeper;

import oxkeeper.peers.Checks;
import oxkeeper.peers.World;

/** Watches taken away: one by one, by kind, and all of a path. */
final class RemovedWatches {
    private static final byte[] DATA = "data".getBytes(UTF_8);

    private RemovedWatches() {}

    static void register(Checks checks) {
        checks.add("removeWatches: one watcher of each kind", RemovedWatches::each);
        checks.add("removeWatches: refused where there is none", RemovedWatches::none);
        checks.add("removeAllWatches: by kind, and the server forgets them", RemovedWatches::all);
        checks.add(
                "removeWatches: one of two watchers on a node leaves the other",
                RemovedWatches::oneOfTwo);
    }

    private static void each(World world) throws Exception {
        ZooKeeper zk = world.zk();
        String path = world.path();
        Events data = new Events();
        Events children = new Events();
        Events persistent = new Events();
        Events recursive = new Events();
        world.awaitNoWatches();
        zk.getData(path, data, null);
        zk.getChildren(path, children);
        zk.addWatch(path, persistent, AddWatchMode.PERSISTENT);
        zk.addWatch(world.path("r"), recursive, AddWatchMode.PERSISTENT_RECURSIVE);
        zk.removeWatches(path, data, WatcherType.Data, false);
        zk.removeWatches(path, children, WatcherType.Children, false);
        zk.removeWatches(path, persistent, WatcherType.Persistent, false);
        zk.removeWatches(world.path("r"), recursive, WatcherType.PersistentRecursive, false);
        data.are("DataWatchRemoved " + path);
        children.are("ChildWatchRemoved " + path);
        persistent.are("PersistentWatchRemoved " + path);
        recursive.are("PersistentWatchRemoved " + world.path("r"));
        // The client only asks the server whether it has such watches, and forgets them alone: what
        // is left is one of data with the persistent, one of children with it, and the recursive.
        equal(world.watchCount(), 3, "watches on the server");
        ZooKeeper other = world.client();
        other.setData(path, DATA, -1);
        Watches.create(other, world.path("r"));
        zk.sync(path);
        equal(
                data.seen().size()
                        + children.seen().size()
                        + persistent.seen().size()
                        + recursive.seen().size(),
                4,
                "events, with none of the changes");
    }

    private static void none(World world) throws Exception {
        ZooKeeper zk = world.zk();
        Events events = new Events();
        fails(Code.NOWATCHER, () -> zk.removeWatches(world.path(), events, WatcherType.Any, false));
        zk.getData(world.path(), events, null);
        fails(
                Code.NOWATCHER,
                () -> zk.removeWatches(world.path(), events, WatcherType.Children, false));
        fails(
                Code.NOWATCHER,
                () -> zk.removeAllWatches(world.path("other"), WatcherType.Any, false));
        zk.setData(world.path(), DATA, -1);
        events.are("NodeDataChanged " + world.path());
    }

    private static void all(World world) throws Exception {
        ZooKeeper zk = world.zk();
        String path = world.path();
        Events data = new Events();
        Events children = new Events();
        Events persistent = new Events();
        world.awaitNoWatches();
        zk.getData(path, data, null);
        zk.getChildren(path, children);
        zk.addWatch(path, persistent, AddWatchMode.PERSISTENT);
        zk.removeAllWatches(path, WatcherType.Data, false);
        data.are("DataWatchRemoved " + path);
        zk.removeAllWatches(path, WatcherType.Any, false);
        children.are("ChildWatchRemoved " + path);
        persistent.are("PersistentWatchRemoved " + path);
        equal(world.watchCount(), 0, "watches on the server");
    }

    private static void oneOfTwo(World world) throws Exception {
        ZooKeeper zk = world.zk();
        Events gone = new Events();
        Events kept = new Events();
        zk.getData(world.path(), gone, null);
        zk.getData(world.path(), kept, null);
        zk.removeWatches(world.path(), gone, WatcherType.Data, false);
        gone.are("DataWatchRemoved " + world.path());
        world.client().setData(world.path(), DATA, -1);
        kept.are("NodeDataChanged " + world.path());
    }
}
