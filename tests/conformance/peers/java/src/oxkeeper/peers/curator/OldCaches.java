package oxkeeper.peers.curator;

import static oxkeeper.peers.Expect.becomes;
import static oxkeeper.peers.Expect.equal;
import static oxkeeper.peers.Expect.eventually;

import static java.nio.charset.StandardCharsets.UTF_8;

import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.recipes.cache.ChildData;
import org.apache.curator.framework.recipes.cache.NodeCache;
import org.apache.curator.framework.recipes.cache.PathChildrenCache;
import org.apache.curator.framework.recipes.cache.TreeCache;
import org.apache.curator.framework.recipes.cache.TreeCacheEvent;

import oxkeeper.peers.Checks;
import oxkeeper.peers.CuttableProxy;
import oxkeeper.peers.World;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.TreeSet;

/** The caches on one-shot watches, deprecated and in use everywhere. */
@SuppressWarnings("deprecation")
final class OldCaches {
    private OldCaches() {}

    static void register(Checks checks) {
        checks.add("TreeCache: follows a tree, told of every change", OldCaches::treeCache);
        checks.add("TreeCache: catches up after a cut connection", OldCaches::treeCacheReconnect);
        checks.add("PathChildrenCache: children and their data", OldCaches::pathChildren);
        checks.add("NodeCache: a node that comes, changes and goes", OldCaches::node);
    }

    private static byte[] bytes(String text) {
        return text.getBytes(UTF_8);
    }

    private static String text(ChildData node) {
        return node == null ? null : new String(node.getData(), UTF_8);
    }

    private static void treeCache(World world) throws Exception {
        CuratorFramework writer = Curators.client(world);
        writer.create().creatingParentsIfNeeded().forPath(world.path("a/b"), bytes("old"));
        TreeCache cache = world.closing(new TreeCache(Curators.client(world), world.path()));
        List<String> events = Collections.synchronizedList(new ArrayList<>());
        cache.getListenable()
                .addListener(
                        (client, event) ->
                                events.add(
                                        event.getType()
                                                + (event.getData() == null
                                                        ? ""
                                                        : " " + event.getData().getPath())));
        cache.start();
        eventually(() -> events.contains(TreeCacheEvent.Type.INITIALIZED.toString()), "loaded");
        events.clear();
        writer.create().forPath(world.path("a/c"), bytes("1"));
        becomes(() -> text(cache.getCurrentData(world.path("a/c"))), "1", "a new node");
        writer.setData().forPath(world.path("a/c"), bytes("2"));
        becomes(() -> text(cache.getCurrentData(world.path("a/c"))), "2", "its change");
        writer.delete().forPath(world.path("a/b"));
        becomes(
                () -> cache.getCurrentChildren(world.path("a")).keySet(),
                Collections.singleton("c"),
                "children");
        becomes(
                () -> new ArrayList<>(events),
                List.of(
                        "NODE_ADDED " + world.path("a/c"),
                        "NODE_UPDATED " + world.path("a/c"),
                        "NODE_REMOVED " + world.path("a/b")),
                "events");
    }

    private static void treeCacheReconnect(World world) throws Exception {
        CuttableProxy proxy = world.proxy();
        CuratorFramework writer = Curators.client(world);
        writer.create().forPath(world.path("n"), bytes("1"));
        CuratorFramework client = Curators.client(world, proxy.address(), World.SESSION_MILLIS);
        TreeCache cache = world.closing(new TreeCache(client, world.path()));
        cache.start();
        becomes(() -> text(cache.getCurrentData(world.path("n"))), "1", "loaded");
        proxy.hold();
        eventually(() -> !client.getZookeeperClient().isConnected(), "the cut is noticed");
        writer.setData().forPath(world.path("n"), bytes("2"));
        writer.create().forPath(world.path("m"), bytes("new"));
        proxy.allow();
        becomes(() -> text(cache.getCurrentData(world.path("n"))), "2", "the change");
        becomes(() -> text(cache.getCurrentData(world.path("m"))), "new", "the new node");
    }

    private static void pathChildren(World world) throws Exception {
        CuratorFramework writer = Curators.client(world);
        writer.create().forPath(world.path("old"), bytes("1"));
        PathChildrenCache cache =
                world.closing(new PathChildrenCache(Curators.client(world), world.path(), true));
        List<String> events = Collections.synchronizedList(new ArrayList<>());
        cache.getListenable()
                .addListener(
                        (client, event) -> {
                            if (event.getData() != null) {
                                events.add(event.getType() + " " + event.getData().getPath());
                            }
                        });
        cache.start(PathChildrenCache.StartMode.BUILD_INITIAL_CACHE);
        equal(text(cache.getCurrentData(world.path("old"))), "1", "what was there");
        writer.create().forPath(world.path("new"), bytes("1"));
        becomes(
                () -> names(cache),
                new TreeSet<>(List.of(world.path("new"), world.path("old"))),
                "children");
        writer.setData().forPath(world.path("new"), bytes("2"));
        becomes(() -> text(cache.getCurrentData(world.path("new"))), "2", "its change");
        writer.delete().forPath(world.path("old"));
        becomes(() -> names(cache), new TreeSet<>(List.of(world.path("new"))), "children");
        becomes(
                () -> new ArrayList<>(events),
                List.of(
                        "CHILD_ADDED " + world.path("new"),
                        "CHILD_UPDATED " + world.path("new"),
                        "CHILD_REMOVED " + world.path("old")),
                "events");
    }

    private static TreeSet<String> names(PathChildrenCache cache) {
        TreeSet<String> names = new TreeSet<>();
        cache.getCurrentData().forEach(node -> names.add(node.getPath()));
        return names;
    }

    private static void node(World world) throws Exception {
        CuratorFramework writer = Curators.client(world);
        NodeCache cache = world.closing(new NodeCache(Curators.client(world), world.path("n")));
        List<String> seen = Collections.synchronizedList(new ArrayList<>());
        cache.getListenable()
                .addListener(() -> seen.add(String.valueOf(text(cache.getCurrentData()))));
        cache.start(true);
        equal(cache.getCurrentData(), null, "before it comes");
        writer.create().forPath(world.path("n"), bytes("1"));
        becomes(() -> text(cache.getCurrentData()), "1", "created");
        writer.setData().forPath(world.path("n"), bytes("2"));
        becomes(() -> text(cache.getCurrentData()), "2", "changed");
        writer.delete().forPath(world.path("n"));
        becomes(() -> new ArrayList<>(seen), List.of("1", "2", "null"), "what was told");
    }
}
