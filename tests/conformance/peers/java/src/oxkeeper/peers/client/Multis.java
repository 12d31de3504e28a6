package oxkeeper.peers.client;

import static oxkeeper.peers.Expect.equal;
import static oxkeeper.peers.Expect.fails;
import static oxkeeper.peers.Expect.that;

import static java.nio.charset.StandardCharsets.UTF_8;

import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.KeeperException.Code;
import org.apache.zookeeper.Op;
import org.apache.zookeeper.OpResult;
import org.apache.zookeeper.ZooDefs.Ids;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.data.Stat;

import oxkeeper.peers.Checks;
import oxkeeper.peers.World;

import java.util.ArrayList;
import java.util.List;
import java.util.TreeSet;

/** Several operations as one: writes all or nothing, reads each for itself. */
final class Multis {
    private static final byte[] DATA = "data".getBytes(UTF_8);

    private Multis() {}

    static void register(Checks checks) {
        checks.add("multi: a result of its kind for every operation", Multis::results);
        checks.add("multi: every mode of creation", Multis::modes);
        checks.add("multi: a failure undoes all and says which", Multis::rollback);
        checks.add(
                "multi: the sequence and the ephemerals of a failed one are not taken",
                Multis::noTraces);
        checks.add("multi: read operations answer each for itself", Multis::reads);
        checks.add("multi: an empty one succeeds", Multis::empty);
        checks.add("transaction: built step by step", Multis::transaction);
    }

    private static Op create(String path) {
        return Op.create(path, DATA, Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
    }

    private static void results(World world) throws Exception {
        ZooKeeper zk = world.zk();
        List<OpResult> results =
                zk.multi(
                        List.of(
                                Op.check(world.path(), 0),
                                create(world.path("a")),
                                Op.setData(world.path("a"), "new".getBytes(UTF_8), 0),
                                create(world.path("b")),
                                Op.delete(world.path("b"), 0)));
        Stat stat = zk.exists(world.path("a"), false);
        equal(
                results,
                List.of(
                        new OpResult.CheckResult(),
                        new OpResult.CreateResult(world.path("a")),
                        new OpResult.SetDataResult(stat),
                        new OpResult.CreateResult(world.path("b")),
                        new OpResult.DeleteResult()),
                "results");
        equal(stat.getCzxid(), stat.getMzxid(), "one zxid for all");
        equal(zk.getChildren(world.path(), false), List.of("a"), "children");
    }

    private static void modes(World world) throws Exception {
        ZooKeeper zk = world.zk();
        List<Op> ops = new ArrayList<>();
        List<String> expected = new ArrayList<>();
        for (CreateMode mode : CreateMode.values()) {
            String path = world.path(mode.toString());
            ops.add(
                    mode.isTTL()
                            ? Op.create(path, DATA, Ids.OPEN_ACL_UNSAFE, mode, 60_000)
                            : Op.create(path, DATA, Ids.OPEN_ACL_UNSAFE, mode));
            expected.add(
                    mode.isSequential() ? path + String.format("%010d", expected.size()) : path);
        }
        List<String> created = new ArrayList<>();
        for (OpResult result : zk.multi(ops)) {
            created.add(((OpResult.CreateResult) result).getPath());
        }
        equal(created, expected, "paths");
        equal(zk.getEphemerals().size(), 2, "ephemerals");
    }

    private static void rollback(World world) throws Exception {
        ZooKeeper zk = world.zk();
        Events events = new Events();
        zk.getChildren(world.path(), events);
        KeeperException failure =
                fails(
                        Code.BADVERSION,
                        () ->
                                zk.multi(
                                        List.of(
                                                create(world.path("a")),
                                                Op.setData(world.path("a"), DATA, 7),
                                                create(world.path("b")))));
        List<Integer> codes = new ArrayList<>();
        for (OpResult result : failure.getResults()) {
            codes.add(((OpResult.ErrorResult) result).getErr());
        }
        equal(
                codes,
                List.of(
                        Code.OK.intValue(),
                        Code.BADVERSION.intValue(),
                        Code.RUNTIMEINCONSISTENCY.intValue()),
                "codes");
        zk.sync(world.path());
        equal(zk.getChildren(world.path(), false), List.of(), "children");
        equal(events.seen(), List.of(), "events");
    }

    private static void noTraces(World world) throws Exception {
        ZooKeeper zk = world.zk();
        fails(
                Code.NONODE,
                () ->
                        zk.multi(
                                List.of(
                                        Op.create(
                                                world.path("s-"),
                                                DATA,
                                                Ids.OPEN_ACL_UNSAFE,
                                                CreateMode.EPHEMERAL_SEQUENTIAL),
                                        Op.delete(world.path("missing"), -1))));
        equal(zk.getEphemerals(), List.of(), "ephemerals");
        equal(zk.exists(world.path(), false).getCversion(), 0, "changes of children");
        equal(
                zk.create(
                        world.path("s-"),
                        DATA,
                        Ids.OPEN_ACL_UNSAFE,
                        CreateMode.PERSISTENT_SEQUENTIAL),
                world.path("s-0000000000"),
                "the next of the sequence");
    }

    private static void reads(World world) throws Exception {
        ZooKeeper zk = world.zk();
        zk.multi(
                List.of(
                        create(world.path("a")),
                        create(world.path("a/b")),
                        create(world.path("a/c"))));
        List<OpResult> results =
                zk.multi(
                        List.of(
                                Op.getData(world.path("a")),
                                Op.getData(world.path("missing")),
                                Op.getChildren(world.path("a")),
                                Op.getChildren(world.path("a/b"))));
        OpResult.GetDataResult data = (OpResult.GetDataResult) results.get(0);
        equal(data.getData(), DATA, "data");
        equal(data.getStat(), zk.exists(world.path("a"), false), "stat");
        equal(
                ((OpResult.ErrorResult) results.get(1)).getErr(),
                Code.NONODE.intValue(),
                "the missing node");
        equal(
                new TreeSet<>(((OpResult.GetChildrenResult) results.get(2)).getChildren()),
                new TreeSet<>(List.of("b", "c")),
                "children");
        equal(((OpResult.GetChildrenResult) results.get(3)).getChildren(), List.of(), "of a leaf");
    }

    private static void empty(World world) throws Exception {
        equal(world.zk().multi(List.of()), List.of(), "results");
    }

    private static void transaction(World world) throws Exception {
        ZooKeeper zk = world.zk();
        List<OpResult> results =
                zk.transaction()
                        .create(world.path("t"), DATA, Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT)
                        .setData(world.path("t"), "2".getBytes(UTF_8), 0)
                        .check(world.path("t"), 1)
                        .commit();
        equal(results.size(), 3, "results");
        that(results.get(2) instanceof OpResult.CheckResult, "the last is a check");
        equal(zk.getData(world.path("t"), false, null), "2".getBytes(UTF_8), "data");
    }
}
