package oxkeeper.peers.curator;

import static oxkeeper.peers.Expect.becomes;
import static oxkeeper.peers.Expect.equal;
import static oxkeeper.peers.Expect.eventually;
import static oxkeeper.peers.Expect.fails;
import static oxkeeper.peers.Expect.that;

import static java.nio.charset.StandardCharsets.UTF_8;

import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.api.transaction.CuratorTransactionResult;
import org.apache.curator.framework.state.ConnectionState;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException.Code;
import org.apache.zookeeper.data.Stat;

import oxkeeper.peers.Checks;
import oxkeeper.peers.CuttableProxy;
import oxkeeper.peers.World;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.TreeSet;

/** What the recipes stand on: creations of all kinds, transactions, background calls, states. */
final class Framework {
    private static final byte[] DATA = "data".getBytes(UTF_8);

    private Framework() {}

    static void register(Checks checks) {
        checks.add(
                "create with parents that are containers, which go when empty",
                Framework::containers);
        checks.add("TTL nodes, plain and sequential", Framework::ttl);
        checks.add(
                "protected creates carry their mark and are found again",
                Framework::protectedCreate);
        checks.add("idempotent create, set and delete", Framework::idempotent);
        checks.add("transactions", Framework::transactions);
        checks.add("a refused transaction changes nothing", Framework::refusedTransaction);
        checks.add("namespaces, compression and or-set-data", Framework::conveniences);
        checks.add("background calls answer in order", Framework::background);
        checks.add("connection states over a cut: suspended, reconnected", Framework::reconnect);
        checks.add(
                "connection states over an expiry: suspended, lost, reconnected",
                Framework::expiry);
    }

    private static void containers(World world) throws Exception {
        CuratorFramework client = Curators.client(world);
        client.create().creatingParentContainersIfNeeded().forPath(world.path("a/b/leaf"), DATA);
        client.delete().guaranteed().forPath(world.path("a/b/leaf"));
        becomes(
                () -> client.getChildren().forPath(world.path()),
                List.of(),
                "children, parents first");
    }

    private static void ttl(World world) throws Exception {
        CuratorFramework client = Curators.client(world);
        client.create()
                .withTtl(600_000)
                .withMode(CreateMode.PERSISTENT_WITH_TTL)
                .forPath(world.path("long"));
        String brief =
                client.create()
                        .withTtl(500)
                        .withMode(CreateMode.PERSISTENT_SEQUENTIAL_WITH_TTL)
                        .forPath(world.path("brief-"), DATA);
        equal(brief, world.path("brief-0000000001"), "path of the sequential one");
        eventually(() -> client.checkExists().forPath(brief) == null, "its time is over");
        that(client.checkExists().forPath(world.path("long")) != null, "the other has time left");
    }

    private static void protectedCreate(World world) throws Exception {
        CuttableProxy proxy = world.proxy();
        CuratorFramework client = Curators.client(world, proxy.address(), World.SESSION_MILLIS);
        TreeSet<String> created = new TreeSet<>();
        for (int i = 0; i < 10; i++) {
            // The answer of some creations is lost with the connection, not the creation.
            if (i % 4 == 2) {
                proxy.cut();
            }
            String path =
                    client.create()
                            .withProtection()
                            .withMode(CreateMode.EPHEMERAL_SEQUENTIAL)
                            .forPath(world.path("n-"), DATA);
            that(path.matches(".*/_c_[0-9a-f-]{36}-n-\\d{10}"), "the mark in " + path);
            created.add(path.substring(path.lastIndexOf('/') + 1));
        }
        equal(
                new TreeSet<>(client.getChildren().forPath(world.path())),
                created,
                "nodes, each once");
    }

    private static void idempotent(World world) throws Exception {
        CuratorFramework client = Curators.client(world);
        String path = world.path("i");
        client.create().idempotent().forPath(path, DATA);
        client.create().idempotent().forPath(path, DATA);
        fails(Code.NODEEXISTS, () -> client.create().idempotent().forPath(path, new byte[1]));
        client.setData().idempotent().withVersion(0).forPath(path, new byte[2]);
        equal(
                client.setData()
                        .idempotent()
                        .withVersion(0)
                        .forPath(path, new byte[2])
                        .getVersion(),
                1,
                "version after the same set again");
        client.delete().idempotent().withVersion(1).forPath(path);
        client.delete().idempotent().withVersion(1).forPath(path);
        equal(client.checkExists().forPath(path), null, "the node");
    }

    private static void transactions(World world) throws Exception {
        CuratorFramework client = Curators.client(world);
        List<CuratorTransactionResult> results =
                client.transaction()
                        .forOperations(
                                client.transactionOp().check().withVersion(0).forPath(world.path()),
                                client.transactionOp()
                                        .create()
                                        .withMode(CreateMode.EPHEMERAL)
                                        .forPath(world.path("e"), DATA),
                                client.transactionOp()
                                        .create()
                                        .withMode(CreateMode.PERSISTENT_SEQUENTIAL)
                                        .forPath(world.path("s-"), DATA),
                                client.transactionOp()
                                        .create()
                                        .withTtl(60_000)
                                        .withMode(CreateMode.PERSISTENT_WITH_TTL)
                                        .forPath(world.path("t"), DATA),
                                client.transactionOp()
                                        .setData()
                                        .withVersion(0)
                                        .forPath(world.path("t"), new byte[3]),
                                client.transactionOp().delete().forPath(world.path("e")));
        List<String> paths = new ArrayList<>();
        for (CuratorTransactionResult result : results) {
            equal(result.getError(), 0, "error of " + result.getType());
            paths.add(result.getType() + " " + result.getResultPath());
        }
        equal(
                paths,
                List.of(
                        "CHECK null",
                        "CREATE " + world.path("e"),
                        "CREATE " + world.path("s-0000000001"),
                        "CREATE null",
                        "SET_DATA null",
                        "DELETE null"),
                "results (Curator keeps the path of a TTL node to itself)");
        equal(
                results.get(4).getResultStat(),
                client.checkExists().forPath(world.path("t")),
                "stat");
        equal(client.checkExists().forPath(world.path("e")), null, "the deleted node");
    }

    private static void refusedTransaction(World world) throws Exception {
        CuratorFramework client = Curators.client(world);
        fails(
                Code.NONODE,
                () ->
                        client.transaction()
                                .forOperations(
                                        client.transactionOp()
                                                .create()
                                                .forPath(world.path("a"), DATA),
                                        client.transactionOp()
                                                .setData()
                                                .forPath(world.path("missing"), DATA)));
        equal(client.getChildren().forPath(world.path()), List.of(), "children");
    }

    private static void conveniences(World world) throws Exception {
        CuratorFramework client = Curators.client(world);
        CuratorFramework inside = client.usingNamespace(world.path("space").substring(1));
        byte[] large = new byte[3_000_000];
        inside.create().compressed().forPath("/big", large);
        equal(inside.getData().decompressed().forPath("/big"), large, "compressed data");
        inside.create().orSetData().forPath("/n", DATA);
        inside.create().orSetData().forPath("/n", new byte[1]);
        Stat stat = new Stat();
        equal(inside.getData().storingStatIn(stat).forPath("/n"), new byte[1], "data set");
        equal(stat.getVersion(), 1, "its version");
        equal(
                new TreeSet<>(client.getChildren().forPath(world.path("space"))),
                new TreeSet<>(List.of("big", "n")),
                "the namespace from outside");
        client.delete().deletingChildrenIfNeeded().forPath(world.path("space"));
    }

    private static void background(World world) throws Exception {
        CuratorFramework client = Curators.client(world);
        List<String> answers = Collections.synchronizedList(new ArrayList<>());
        List<String> expected = new ArrayList<>();
        for (int i = 0; i < 200; i++) {
            String path = world.path("n" + i);
            client.create()
                    .inBackground(
                            (c, event) ->
                                    answers.add(
                                            event.getType()
                                                    + " "
                                                    + event.getResultCode()
                                                    + " "
                                                    + event.getName()))
                    .forPath(path, DATA);
            client.getData()
                    .inBackground(
                            (c, event) ->
                                    answers.add(
                                            event.getType()
                                                    + " "
                                                    + event.getResultCode()
                                                    + " "
                                                    + event.getPath()))
                    .forPath(path);
            expected.add("CREATE 0 " + path);
            expected.add("GET_DATA 0 " + path);
        }
        becomes(() -> new ArrayList<>(answers), expected, "answers");
    }

    private static void reconnect(World world) throws Exception {
        CuttableProxy proxy = world.proxy();
        List<ConnectionState> states = Collections.synchronizedList(new ArrayList<>());
        CuratorFramework client = Curators.client(world, proxy.address(), World.SESSION_MILLIS);
        listen(client, states);
        long session = client.getZookeeperClient().getZooKeeper().getSessionId();
        proxy.cut();
        becomes(
                () -> new ArrayList<>(states),
                List.of(ConnectionState.SUSPENDED, ConnectionState.RECONNECTED),
                "states");
        equal(client.getZookeeperClient().getZooKeeper().getSessionId(), session, "session");
    }

    /** Keeps the states; the first is left out, since it may be told before or after we listen. */
    private static void listen(CuratorFramework client, List<ConnectionState> states) {
        client.getConnectionStateListenable()
                .addListener(
                        (c, state) -> {
                            if (state != ConnectionState.CONNECTED) {
                                states.add(state);
                            }
                        });
    }

    private static void expiry(World world) throws Exception {
        CuttableProxy proxy = world.proxy();
        List<ConnectionState> states = Collections.synchronizedList(new ArrayList<>());
        CuratorFramework client = Curators.client(world, proxy.address(), 1_500);
        listen(client, states);
        long session = client.getZookeeperClient().getZooKeeper().getSessionId();
        client.create().withMode(CreateMode.EPHEMERAL).forPath(world.path("e"));
        proxy.refuse();
        eventually(() -> world.zk().exists(world.path("e"), false) == null, "the session expires");
        proxy.allow();
        becomes(
                () -> new ArrayList<>(states),
                List.of(
                        ConnectionState.SUSPENDED,
                        ConnectionState.LOST,
                        ConnectionState.RECONNECTED),
                "states");
        that(
                client.getZookeeperClient().getZooKeeper().getSessionId() != session,
                "the session is new");
    }
}
