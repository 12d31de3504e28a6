package oxkeeper.peers;

import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.Watcher;
import org.apache.zookeeper.Watcher.Event.KeeperState;
import org.apache.zookeeper.ZooDefs;
import org.apache.zookeeper.ZooKeeper;

import java.io.IOException;
import java.io.InputStream;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;

/** What one check may use: the server's address, a path of its own, and things that end with it. */
public final class World {
    public static final int SESSION_MILLIS = 10_000;

    private final String address;
    private final String path;
    private final Deque<AutoCloseable> toClose = new ArrayDeque<>();
    private ZooKeeper first;

    World(String address, String path) {
        this.address = address;
        this.path = path;
    }

    public String address() {
        return address;
    }

    /** A path that nobody else uses; it exists. */
    public String path() {
        return path;
    }

    public String path(String child) {
        return path + "/" + child;
    }

    /** Closes it when the check ends, last opened first. */
    public synchronized <T extends AutoCloseable> T closing(T resource) {
        toClose.push(resource);
        return resource;
    }

    /** The check's first client. */
    public ZooKeeper zk() throws Exception {
        if (first == null) {
            first = client();
        }
        return first;
    }

    /** One more client with a session of its own, connected. */
    public ZooKeeper client() throws Exception {
        return client(address, SESSION_MILLIS, event -> {});
    }

    public ZooKeeper client(String connectString, int sessionMillis, Watcher watcher)
            throws Exception {
        CountDownLatch connected = new CountDownLatch(1);
        ZooKeeper client =
                closing(
                        new ZooKeeper(
                                connectString,
                                sessionMillis,
                                event -> {
                                    if (event.getState() == KeeperState.SyncConnected) {
                                        connected.countDown();
                                    }
                                    watcher.process(event);
                                }));
        Expect.that(connected.await(15, TimeUnit.SECONDS), "connected within 15 s");
        return client;
    }

    /** A way to the server that can be cut. */
    public CuttableProxy proxy() throws IOException {
        return closing(new CuttableProxy(address));
    }

    /** Runs the work in a thread; its result or failure is had by get. */
    public <T> FutureTask<T> background(Callable<T> work) {
        FutureTask<T> task = new FutureTask<>(work);
        Thread thread = new Thread(task, "background");
        thread.setDaemon(true);
        thread.start();
        return task;
    }

    /** What the server answers to a four-letter word. */
    public String adminWord(String word) throws IOException {
        int colon = address.lastIndexOf(':');
        String host = address.substring(0, colon);
        try (Socket socket = new Socket(host, Integer.parseInt(address.substring(colon + 1)))) {
            socket.setSoTimeout(10_000);
            socket.getOutputStream().write(word.getBytes(StandardCharsets.US_ASCII));
            InputStream answer = socket.getInputStream();
            return new String(answer.readAllBytes(), StandardCharsets.UTF_8);
        }
    }

    /** Waits until the watches of earlier checks are gone with their connections. */
    public void awaitNoWatches() throws Exception {
        Expect.becomes(this::watchCount, 0, "watches of earlier checks");
    }

    /** How many watches of any kind all clients together have. */
    public int watchCount() throws IOException {
        for (String line : adminWord("mntr").split("\n")) {
            if (line.startsWith("zk_watch_count\t")) {
                return Integer.parseInt(line.substring(line.indexOf('\t') + 1));
            }
        }
        throw new AssertionError("mntr has no zk_watch_count");
    }

    /** Makes the node and its parents; existing ones are left alone. */
    static void makePath(ZooKeeper client, String path) throws Exception {
        for (int end = path.indexOf('/', 1); ; end = path.indexOf('/', end + 1)) {
            String part = end < 0 ? path : path.substring(0, end);
            try {
                client.create(
                        part, new byte[0], ZooDefs.Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
            } catch (KeeperException.NodeExistsException alreadyThere) {
                // That is what is wanted.
            }
            if (end < 0) {
                return;
            }
        }
    }

    void close() {
        while (!toClose.isEmpty()) {
            try {
                toClose.pop().close();
            } catch (Exception ignored) {
                // A check may have closed it already, or broken it on purpose.
            }
        }
    }
}
