package oxkeeper.peers.curator;

import static oxkeeper.peers.Expect.becomes;
import static oxkeeper.peers.Expect.equal;
import static oxkeeper.peers.Expect.eventually;
import static oxkeeper.peers.Expect.that;

import static java.nio.charset.StandardCharsets.UTF_8;

import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.recipes.nodes.GroupMember;
import org.apache.curator.framework.recipes.nodes.PersistentNode;
import org.apache.curator.framework.recipes.nodes.PersistentTtlNode;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.data.Stat;

import oxkeeper.peers.Checks;
import oxkeeper.peers.CuttableProxy;
import oxkeeper.peers.World;

import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.TimeUnit;

/** Nodes that are kept there: over deletion, over the end of a session, and by touching. */
final class LastingNodes {
    private static final byte[] DATA = "data".getBytes(UTF_8);

    private LastingNodes() {}

    static void register(Checks checks) {
        checks.add(
                "PersistentNode: made again when deleted, gone when closed", LastingNodes::deleted);
        checks.add(
                "PersistentNode: made again after the end of its session", LastingNodes::expired);
        checks.add("PersistentTtlNode: kept while touched, gone after", LastingNodes::ttl);
        checks.add("GroupMember: members come, change and go", LastingNodes::group);
    }

    private static void deleted(World world) throws Exception {
        CuratorFramework client = Curators.client(world);
        PersistentNode node =
                world.closing(
                        new PersistentNode(
                                client, CreateMode.EPHEMERAL, false, world.path("n"), DATA));
        node.start();
        that(node.waitForInitialCreate(10, TimeUnit.SECONDS), "made");
        Stat first = world.zk().exists(world.path("n"), false);
        world.zk().delete(world.path("n"), -1);
        eventually(
                () -> {
                    Stat stat = world.zk().exists(world.path("n"), false);
                    return stat != null && stat.getCzxid() > first.getCzxid();
                },
                "made again");
        node.setData("new".getBytes(UTF_8));
        becomes(
                () -> world.zk().getData(world.path("n"), false, null),
                "new".getBytes(UTF_8),
                "data");
        node.close();
        equal(world.zk().exists(world.path("n"), false), null, "after the close");
    }

    private static void expired(World world) throws Exception {
        CuttableProxy proxy = world.proxy();
        CuratorFramework client = Curators.client(world, proxy.address(), 2_000);
        PersistentNode node =
                world.closing(
                        new PersistentNode(
                                client,
                                CreateMode.EPHEMERAL_SEQUENTIAL,
                                true,
                                world.path("n-"),
                                DATA));
        node.start();
        that(node.waitForInitialCreate(10, TimeUnit.SECONDS), "made");
        String path = node.getActualPath();
        long owner = world.zk().exists(path, false).getEphemeralOwner();
        proxy.refuse();
        eventually(() -> world.zk().exists(path, false) == null, "gone with its session");
        proxy.allow();
        eventually(() -> world.zk().getChildren(world.path(), false).size() == 1, "made again");
        String name = world.zk().getChildren(world.path(), false).get(0);
        that(
                world.zk().exists(world.path(name), false).getEphemeralOwner() != owner,
                "its owner is new");
    }

    private static void ttl(World world) throws Exception {
        CuratorFramework client = Curators.client(world);
        PersistentTtlNode node = new PersistentTtlNode(client, world.path("n"), 1_000, DATA);
        node.start();
        that(node.waitForInitialCreate(10, TimeUnit.SECONDS), "made");
        String touched = world.path("n/" + PersistentTtlNode.DEFAULT_CHILD_NODE_NAME);
        eventually(() -> world.zk().exists(touched, false) != null, "its child is made");
        int version = world.zk().exists(touched, false).getVersion();
        // Five touches are more than twice its time to live.
        eventually(() -> world.zk().exists(touched, false).getVersion() >= version + 5, "touched");
        equal(world.zk().getData(world.path("n"), false, null), DATA, "data");
        node.close();
        eventually(
                () -> world.zk().exists(world.path("n"), false) == null, "gone when not touched");
    }

    private static void group(World world) throws Exception {
        CuratorFramework mortal = Curators.client(world);
        GroupMember one =
                world.closing(
                        new GroupMember(Curators.client(world), world.path("g"), "one", DATA));
        GroupMember two = new GroupMember(mortal, world.path("g"), "two", DATA);
        one.start();
        two.start();
        becomes(
                () -> new TreeSet<>(one.getCurrentMembers().keySet()).toString(),
                "[one, two]",
                "members");
        two.setThisData("changed".getBytes(UTF_8));
        becomes(
                () -> new TreeMap<>(one.getCurrentMembers()).get("two"),
                "changed".getBytes(UTF_8),
                "data");
        mortal.close();
        becomes(
                () -> one.getCurrentMembers().keySet().toString(),
                "[one]",
                "members after one's session");
    }
}
