package oxkeeper.peers.client;

import static oxkeeper.peers.Expect.becomes;
import static oxkeeper.peers.Expect.equal;
import static oxkeeper.peers.Expect.fails;
import static oxkeeper.peers.Expect.that;

import static java.nio.charset.StandardCharsets.UTF_8;

import org.apache.zookeeper.AddWatchMode;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException.Code;
import org.apache.zookeeper.Op;
import org.apache.zookeeper.StatsTrack;
import org.apache.zookeeper.ZooDefs.Ids;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.cli.SetQuotaCommand;
import org.apache.zookeeper.data.ClientInfo;
import org.apache.zookeeper.data.Stat;

import oxkeeper.peers.Checks;
import oxkeeper.peers.World;

import java.util.ArrayList;
import java.util.List;
import java.util.TreeSet;

/** Every kind of znode, and the reads that only the Java client has. */
final class Znodes {
    private static final byte[] DATA = "data".getBytes(UTF_8);

    private Znodes() {}

    static void register(Checks checks) {
        checks.add("create: every mode, with its name and stat", Znodes::everyMode);
        checks.add("null data and empty data are two things", Znodes::nullData);
        checks.add(
                "a container goes when its last child has gone, not before its first",
                Znodes::container);
        checks.add("a TTL node goes when its time is over, not while it has children", Znodes::ttl);
        checks.add("getAllChildrenNumber and getEphemerals count below a path", Znodes::counting);
        checks.add("a parent of five thousand children is listed whole", Znodes::manyChildren);
        checks.add("getConfig and whoAmI answer as a standalone server", Znodes::configAndIdentity);
        checks.add(
                "a hard quota refuses what would exceed it, and counts what is there",
                Znodes::quota);
        checks.add("invalid operations are refused with their codes", Znodes::refused);
    }

    private static void everyMode(World world) throws Exception {
        ZooKeeper zk = world.zk();
        long session = zk.getSessionId();
        for (CreateMode mode : CreateMode.values()) {
            String path = world.path(mode.toString().toLowerCase());
            Stat stat = new Stat();
            String created =
                    mode.isTTL()
                            ? zk.create(path, DATA, Ids.OPEN_ACL_UNSAFE, mode, stat, 60_000)
                            : zk.create(path, DATA, Ids.OPEN_ACL_UNSAFE, mode, stat);
            // The parent's counter counts every creation, so it stands at the mode's position.
            String suffix = mode.isSequential() ? String.format("%010d", mode.ordinal()) : "";
            equal(created, path + suffix, "path of " + mode);
            equal(stat, zk.exists(created, false), "stat of " + mode);
            equal(stat.getEphemeralOwner(), mode.isEphemeral() ? session : 0L, "owner of " + mode);
        }
        equal(
                zk.exists(world.path(), false).getNumChildren(),
                CreateMode.values().length,
                "children");
    }

    private static void nullData(World world) throws Exception {
        ZooKeeper zk = world.zk();
        Stat stat = new Stat();
        zk.create(world.path("null"), null, Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
        zk.create(world.path("empty"), new byte[0], Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
        equal(zk.getData(world.path("null"), false, stat), null, "null data");
        equal(stat.getDataLength(), 0, "its length");
        equal(zk.getData(world.path("empty"), false, stat), new byte[0], "empty data");
        zk.setData(world.path("empty"), null, -1);
        equal(zk.getData(world.path("empty"), false, stat), null, "data set to null");
        equal(stat.getVersion(), 1, "version");
    }

    private static void container(World world) throws Exception {
        ZooKeeper zk = world.zk();
        zk.create(world.path("used"), DATA, Ids.OPEN_ACL_UNSAFE, CreateMode.CONTAINER);
        zk.create(world.path("fresh"), DATA, Ids.OPEN_ACL_UNSAFE, CreateMode.CONTAINER);
        zk.create(world.path("used/child"), DATA, Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
        Events events = new Events();
        zk.exists(world.path("used"), events);
        zk.delete(world.path("used/child"), -1);
        events.are("NodeDeleted " + world.path("used"));
        that(
                zk.exists(world.path("fresh"), false) != null,
                "a container without a child yet stays");
    }

    private static void ttl(World world) throws Exception {
        ZooKeeper zk = world.zk();
        CreateMode mode = CreateMode.PERSISTENT_WITH_TTL;
        Stat stat = new Stat();
        Events events = new Events();
        zk.addWatch(world.path("leaf"), events, AddWatchMode.PERSISTENT);
        long start = System.currentTimeMillis();
        zk.create(world.path("leaf"), DATA, Ids.OPEN_ACL_UNSAFE, mode, stat, 1_000);
        zk.create(world.path("parent"), DATA, Ids.OPEN_ACL_UNSAFE, mode, stat, 1_000);
        zk.create(world.path("long"), DATA, Ids.OPEN_ACL_UNSAFE, mode, stat, 600_000);
        zk.create(world.path("parent/child"), DATA, Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
        events.are("NodeCreated " + world.path("leaf"), "NodeDeleted " + world.path("leaf"));
        that(System.currentTimeMillis() >= start + 1_000, "it stayed until its time was over");
        becomes(
                () -> new TreeSet<>(zk.getChildren(world.path(), false)),
                new TreeSet<>(List.of("long", "parent")),
                "what has a child, or time left");
        zk.delete(world.path("parent/child"), -1);
        becomes(() -> zk.getChildren(world.path(), false), List.of("long"), "what has time left");
    }

    private static void counting(World world) throws Exception {
        ZooKeeper zk = world.zk();
        zk.create(world.path("p"), DATA, Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
        zk.create(world.path("p/q"), DATA, Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
        zk.create(world.path("p/e"), DATA, Ids.OPEN_ACL_UNSAFE, CreateMode.EPHEMERAL);
        zk.create(world.path("e"), DATA, Ids.OPEN_ACL_UNSAFE, CreateMode.EPHEMERAL);
        equal(zk.getAllChildrenNumber(world.path()), 4, "all below");
        equal(zk.getAllChildrenNumber(world.path("p/q")), 0, "below a leaf");
        equal(
                new TreeSet<>(zk.getEphemerals()),
                new TreeSet<>(List.of(world.path("e"), world.path("p/e"))),
                "ephemerals of the session");
        equal(zk.getEphemerals(world.path("p")), List.of(world.path("p/e")), "with a prefix");
        equal(world.client().getEphemerals(), List.of(), "of another session");
        fails(Code.NONODE, () -> zk.getAllChildrenNumber(world.path("missing")));
    }

    private static void manyChildren(World world) throws Exception {
        ZooKeeper zk = world.zk();
        TreeSet<String> names = new TreeSet<>();
        List<Op> ops = new ArrayList<>();
        for (int i = 0; i < 5_000; i++) {
            String name = String.format("a-child-with-quite-a-long-name-%06d", i);
            names.add(name);
            ops.add(Op.create(world.path(name), DATA, Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT));
            if (ops.size() == 500) {
                zk.multi(ops);
                ops.clear();
            }
        }
        Stat stat = new Stat();
        equal(new TreeSet<>(zk.getChildren(world.path(), false, stat)), names, "children");
        equal(stat.getNumChildren(), 5_000, "their number");
    }

    private static void configAndIdentity(World world) throws Exception {
        ZooKeeper zk = world.zk();
        equal(new String(zk.getConfig(false, new Stat()), UTF_8), "", "config");
        equal(identities(zk), List.of("ip 127.0.0.1"), "who, at first");
        zk.addAuthInfo("digest", "carol:secret".getBytes(UTF_8));
        equal(identities(zk), List.of("digest carol", "ip 127.0.0.1"), "who, with a password");
    }

    /** Sorted: Java answers in the order of a hash table. */
    private static List<String> identities(ZooKeeper zk) throws Exception {
        TreeSet<String> identities = new TreeSet<>();
        for (ClientInfo info : zk.whoAmI()) {
            identities.add(info.getAuthScheme() + " " + info.getUser());
        }
        return new ArrayList<>(identities);
    }

    private static void quota(World world) throws Exception {
        ZooKeeper zk = world.zk();
        String path = world.path("limited");
        zk.create(path, new byte[0], Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
        StatsTrack limits = new StatsTrack();
        limits.setCountHardLimit(3);
        limits.setByteHardLimit(10);
        SetQuotaCommand.createQuota(zk, path, limits);
        zk.create(path + "/a", "1234".getBytes(UTF_8), Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
        zk.create(path + "/b", "1234".getBytes(UTF_8), Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
        fails(
                Code.QUOTAEXCEEDED,
                () -> zk.create(path + "/c", null, Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT));
        fails(Code.QUOTAEXCEEDED, () -> zk.setData(path + "/a", "1234567".getBytes(UTF_8), -1));
        zk.setData(path + "/a", "123456".getBytes(UTF_8), -1);
        String stats = "/zookeeper/quota" + path + "/zookeeper_stats";
        equal(
                new String(zk.getData(stats, false, null), UTF_8),
                "count=3,bytes=10",
                "what is counted");
        zk.delete(path + "/b", -1);
        equal(
                new String(zk.getData(stats, false, null), UTF_8),
                "count=2,bytes=6",
                "after a delete");
    }

    private static void refused(World world) throws Exception {
        ZooKeeper zk = world.zk();
        String path = world.path("n");
        zk.create(path, DATA, Ids.OPEN_ACL_UNSAFE, CreateMode.EPHEMERAL);
        fails(
                Code.NODEEXISTS,
                () -> zk.create(path, DATA, Ids.OPEN_ACL_UNSAFE, CreateMode.CONTAINER));
        fails(
                Code.NOCHILDRENFOREPHEMERALS,
                () -> zk.create(path + "/c", DATA, Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT));
        fails(Code.BADVERSION, () -> zk.setData(path, DATA, 3));
        fails(Code.BADVERSION, () -> zk.delete(path, 3));
        fails(Code.NOTEMPTY, () -> zk.delete(world.path(), -1));
        fails(Code.NONODE, () -> zk.getChildren(world.path("missing"), false));
        fails(Code.NONODE, () -> zk.getACL(world.path("missing"), null));
        equal(
                fails(Code.NONODE, () -> zk.delete(world.path("missing"), -1)).getPath(),
                world.path("missing"),
                "path in the failure");
        fails(Code.BADARGUMENTS, () -> zk.delete("/", -1));
        fails(Code.BADARGUMENTS, () -> zk.delete("/zookeeper", -1));
    }
}
