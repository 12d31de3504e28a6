package oxkeeper.peers.curator;

import static oxkeeper.peers.Expect.becomes;
import static oxkeeper.peers.Expect.equal;
import static oxkeeper.peers.Expect.eventually;

import static java.nio.charset.StandardCharsets.UTF_8;

import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.recipes.cache.ChildData;
import org.apache.curator.framework.recipes.cache.CuratorCache;
import org.apache.curator.framework.recipes.cache.CuratorCacheListener;
import org.apache.curator.framework.recipes.watch.PersistentWatcher;
import org.apache.zookeeper.WatchedEvent;
import org.apache.zookeeper.Watcher.Event.EventType;

import oxkeeper.peers.Checks;
import oxkeeper.peers.CuttableProxy;
import oxkeeper.peers.Expect;
import oxkeeper.peers.World;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.TreeMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/** CuratorCache and PersistentWatcher, which stand on persistent recursive watches. */
final class Caches {
    private Caches() {}

    static void register(Checks checks) {
        checks.add("CuratorCache: follows a tree, told of every change", Caches::curatorCache);
        checks.add("CuratorCache: a single node", Caches::singleNode);
        checks.add("CuratorCache: catches up after a cut connection", Caches::reconnect);
        checks.add("CuratorCache: a thousand nodes changed by two writers", Caches::many);
        checks.add(
                "PersistentWatcher: every change, also after a cut connection",
                Caches::persistentWatcher);
    }

    private static byte[] bytes(String text) {
        return text.getBytes(UTF_8);
    }

    /** What the cache holds, as path and data. */
    private static TreeMap<String, String> content(CuratorCache cache) {
        TreeMap<String, String> content = new TreeMap<>();
        cache.stream()
                .forEach(node -> content.put(node.getPath(), new String(node.getData(), UTF_8)));
        return content;
    }

    private static CuratorCache started(CuratorCache cache, CuratorCacheListener listener)
            throws Exception {
        CountDownLatch loaded = new CountDownLatch(1);
        cache.listenable()
                .addListener(
                        CuratorCacheListener.builder().forInitialized(loaded::countDown).build());
        cache.listenable().addListener(listener);
        cache.start();
        Expect.that(loaded.await(10, TimeUnit.SECONDS), "loaded within 10 s");
        return cache;
    }

    private static String name(ChildData node) {
        return node.getPath().substring(node.getPath().lastIndexOf('/') + 1)
                + "="
                + new String(node.getData(), UTF_8);
    }

    private static void curatorCache(World world) throws Exception {
        CuratorFramework writer = Curators.client(world);
        writer.create().creatingParentsIfNeeded().forPath(world.path("a/b"), bytes("old"));
        List<String> events = Collections.synchronizedList(new ArrayList<>());
        CuratorCache cache =
                started(
                        world.closing(CuratorCache.build(Curators.client(world), world.path())),
                        CuratorCacheListener.builder()
                                .forCreates(node -> events.add("created " + name(node)))
                                .forChanges(
                                        (was, node) ->
                                                events.add(
                                                        "changed "
                                                                + name(was)
                                                                + " to "
                                                                + name(node)))
                                .forDeletes(node -> events.add("deleted " + name(node)))
                                .afterInitialized()
                                .build());
        equal(
                content(cache).keySet().toString(),
                "[" + world.path() + ", " + world.path("a") + ", " + world.path("a/b") + "]",
                "what was there");
        writer.create().forPath(world.path("a/c"), bytes("1"));
        writer.setData().forPath(world.path("a/c"), bytes("2"));
        eventually(
                () -> content(cache).getOrDefault(world.path("a/c"), "").equals("2"),
                "the new node");
        writer.delete().forPath(world.path("a/b"));
        eventually(() -> events.contains("deleted b=old"), "told of the deletion");
        equal(content(cache).get(world.path("a/b")), null, "the deleted node");
        // The cache reads after it is told, so two quick writes may be seen as one.
        equal(events.get(events.size() - 1), "deleted b=old", "the last event");
        Expect.that(events.get(0).startsWith("created c="), "the first event: " + events);
    }

    private static void singleNode(World world) throws Exception {
        CuratorFramework writer = Curators.client(world);
        CuratorCache cache =
                world.closing(
                        CuratorCache.build(
                                Curators.client(world),
                                world.path("n"),
                                CuratorCache.Options.SINGLE_NODE_CACHE));
        List<String> events = Collections.synchronizedList(new ArrayList<>());
        cache.listenable().addListener((type, was, node) -> events.add(type.toString()));
        cache.start();
        writer.create().forPath(world.path("n"), bytes("1"));
        becomes(() -> cache.size(), 1, "nodes after the creation");
        writer.create().forPath(world.path("n/below"), bytes("x"));
        writer.setData().forPath(world.path("n"), bytes("2"));
        becomes(() -> content(cache).get(world.path("n")), "2", "data");
        equal(cache.size(), 1, "nodes");
        writer.delete().deletingChildrenIfNeeded().forPath(world.path("n"));
        becomes(() -> cache.size(), 0, "nodes after the deletion");
        // The cache tells its listeners after it has changed what it holds.
        becomes(
                () -> new ArrayList<>(events),
                List.of("NODE_CREATED", "NODE_CHANGED", "NODE_DELETED"),
                "events");
    }

    private static void reconnect(World world) throws Exception {
        CuttableProxy proxy = world.proxy();
        CuratorFramework writer = Curators.client(world);
        for (String name : new String[] {"kept", "changed", "deleted"}) {
            writer.create().forPath(world.path(name), bytes("1"));
        }
        CuratorFramework client = Curators.client(world, proxy.address(), World.SESSION_MILLIS);
        CuratorCache cache =
                started(
                        world.closing(CuratorCache.build(client, world.path())),
                        (type, was, node) -> {});
        proxy.hold();
        eventually(() -> !client.getZookeeperClient().isConnected(), "the cut is noticed");
        writer.setData().forPath(world.path("changed"), bytes("2"));
        writer.delete().forPath(world.path("deleted"));
        writer.create().forPath(world.path("created"), bytes("1"));
        proxy.allow();
        TreeMap<String, String> expected = new TreeMap<>();
        expected.put(world.path(), "");
        expected.put(world.path("kept"), "1");
        expected.put(world.path("changed"), "2");
        expected.put(world.path("created"), "1");
        becomes(() -> content(cache), expected, "content");
        writer.setData().forPath(world.path("kept"), bytes("2"));
        becomes(() -> content(cache).get(world.path("kept")), "2", "a change after the return");
    }

    private static void many(World world) throws Exception {
        CuratorCache cache =
                started(
                        world.closing(CuratorCache.build(Curators.client(world), world.path())),
                        (type, was, node) -> {});
        TreeMap<String, String> expected = new TreeMap<>();
        expected.put(world.path(), "");
        CuratorFramework[] writers = {Curators.client(world), Curators.client(world)};
        for (int i = 0; i < 1_000; i++) {
            String path = world.path(String.format("n%04d", i));
            writers[i % 2].create().inBackground().forPath(path, bytes("1"));
            if (i % 3 == 0) {
                writers[i % 2].setData().inBackground().forPath(path, bytes("2"));
            }
            if (i % 5 == 0) {
                writers[i % 2].delete().inBackground().forPath(path);
            } else {
                expected.put(path, i % 3 == 0 ? "2" : "1");
            }
        }
        becomes(() -> content(cache), expected, "content");
    }

    private static void persistentWatcher(World world) throws Exception {
        CuttableProxy proxy = world.proxy();
        CuratorFramework client = Curators.client(world, proxy.address(), World.SESSION_MILLIS);
        PersistentWatcher watcher =
                world.closing(new PersistentWatcher(client, world.path(), true));
        List<String> events = Collections.synchronizedList(new ArrayList<>());
        CountDownLatch armed = new CountDownLatch(1);
        watcher.getResetListenable().addListener(armed::countDown);
        watcher.getListenable()
                .addListener(
                        (WatchedEvent event) -> {
                            if (event.getType() != EventType.None) {
                                events.add(event.getType() + " " + event.getPath());
                            }
                        });
        watcher.start();
        Expect.that(armed.await(10, TimeUnit.SECONDS), "armed within 10 s");
        CuratorFramework writer = Curators.client(world);
        writer.create().forPath(world.path("a"), bytes("1"));
        writer.setData().forPath(world.path("a"), bytes("2"));
        List<String> expected =
                new ArrayList<>(
                        List.of(
                                "NodeCreated " + world.path("a"),
                                "NodeDataChanged " + world.path("a")));
        becomes(() -> new ArrayList<>(events), expected, "events");
        proxy.hold();
        eventually(() -> !client.getZookeeperClient().isConnected(), "the cut is noticed");
        proxy.allow();
        eventually(() -> client.getZookeeperClient().isConnected(), "connected again");
        // Its answer comes after the watches are set again, which the reconnect began with.
        Expect.retried(() -> client.checkExists().forPath(world.path()));
        writer.delete().forPath(world.path("a"));
        expected.add("NodeDeleted " + world.path("a"));
        becomes(() -> new ArrayList<>(events), expected, "events");
    }
}
