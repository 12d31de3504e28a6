package oxkeeper.peers.client;

import static oxkeeper.peers.Expect.equal;
import static oxkeeper.peers.Expect.eventually;
import static oxkeeper.peers.Expect.that;

import static java.nio.charset.StandardCharsets.UTF_8;

import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.KeeperException.Code;
import org.apache.zookeeper.ZooDefs.Ids;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.data.Stat;

import oxkeeper.peers.Checks;
import oxkeeper.peers.World;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.FutureTask;
import java.util.concurrent.atomic.AtomicBoolean;

/** The order a session may rely on. The Java client hands events and answers over as they came. */
final class Ordering {
    private Ordering() {}

    static void register(Checks checks) {
        checks.add("two thousand requests in flight are answered in order", Ordering::pipeline);
        checks.add("an event comes before the answer that shows its change", Ordering::eventFirst);
        checks.add("a session sees its own writes, and never an older state", Ordering::monotonic);
        checks.add("concurrent increments by version lose nothing", Ordering::compareAndSet);
        checks.add("sync brings what another client was told is done", Ordering::sync);
    }

    private static void pipeline(World world) throws Exception {
        ZooKeeper zk = world.zk();
        List<Integer> answers = Collections.synchronizedList(new ArrayList<>());
        List<String> wrong = Collections.synchronizedList(new ArrayList<>());
        for (int i = 0; i < 1_000; i++) {
            int number = i;
            byte[] data = Integer.toString(i).getBytes(UTF_8);
            zk.create(
                    world.path("n" + i),
                    data,
                    Ids.OPEN_ACL_UNSAFE,
                    CreateMode.PERSISTENT,
                    (code, path, context, name) -> answers.add(2 * number),
                    null);
            zk.getData(
                    world.path("n" + i),
                    false,
                    (code, path, context, read, stat) -> {
                        answers.add(2 * number + 1);
                        if (code != Code.OK.intValue()
                                || !new String(read, UTF_8).equals("" + number)) {
                            wrong.add(path + ": " + code);
                        }
                    },
                    null);
        }
        eventually(() -> answers.size() == 2_000, "all are answered");
        List<Integer> expected = new ArrayList<>();
        for (int i = 0; i < 2_000; i++) {
            expected.add(i);
        }
        equal(answers, expected, "order");
        equal(wrong, List.of(), "reads that did not see the write before them");
    }

    private static void eventFirst(World world) throws Exception {
        ZooKeeper reader = world.client();
        List<String> order = Collections.synchronizedList(new ArrayList<>());
        for (int turn = 1; turn <= 100; turn++) {
            int version = turn;
            AtomicBoolean shown = new AtomicBoolean();
            reader.getData(world.path(), event -> order.add("event " + version), null);
            FutureTask<?> write =
                    world.background(
                            () ->
                                    world.zk()
                                            .setData(
                                                    world.path(), new byte[] {(byte) version}, -1));
            // Reads race with the write; the first that shows it must come after the event.
            while (!shown.get()) {
                reader.getData(
                        world.path(),
                        false,
                        (code, path, context, data, stat) -> {
                            if (stat.getVersion() == version && !shown.getAndSet(true)) {
                                order.add("answer " + version);
                            }
                        },
                        null);
                reader.exists(world.path(), false);
            }
            write.get();
        }
        List<String> expected = new ArrayList<>();
        for (int turn = 1; turn <= 100; turn++) {
            expected.add("event " + turn);
            expected.add("answer " + turn);
        }
        equal(order, expected, "order");
    }

    private static void monotonic(World world) throws Exception {
        ZooKeeper writer = world.zk();
        AtomicBoolean done = new AtomicBoolean();
        List<FutureTask<Integer>> readers = new ArrayList<>();
        for (int i = 0; i < 3; i++) {
            ZooKeeper reader = world.client();
            readers.add(
                    world.background(
                            () -> {
                                int last = 0;
                                while (!done.get()) {
                                    int version = reader.exists(world.path(), false).getVersion();
                                    that(version >= last, "version " + version + " after " + last);
                                    last = version;
                                }
                                return last;
                            }));
        }
        for (int i = 1; i <= 300; i++) {
            equal(
                    writer.setData(world.path(), new byte[1], i - 1).getVersion(),
                    i,
                    "version written");
            equal(writer.exists(world.path(), false).getVersion(), i, "own write");
        }
        done.set(true);
        for (FutureTask<Integer> reader : readers) {
            reader.get();
        }
    }

    private static void compareAndSet(World world) throws Exception {
        List<FutureTask<Void>> workers = new ArrayList<>();
        for (int i = 0; i < 4; i++) {
            ZooKeeper zk = world.client();
            workers.add(
                    world.background(
                            () -> {
                                for (int turn = 0; turn < 50; turn++) {
                                    increment(zk, world.path());
                                }
                                return null;
                            }));
        }
        for (FutureTask<Void> worker : workers) {
            worker.get();
        }
        byte[] data = world.zk().getData(world.path(), false, null);
        equal(new String(data, UTF_8), "200", "the sum");
    }

    private static void increment(ZooKeeper zk, String path) throws Exception {
        while (true) {
            Stat stat = new Stat();
            String text = new String(zk.getData(path, false, stat), UTF_8);
            int next = (text.isEmpty() ? 0 : Integer.parseInt(text)) + 1;
            try {
                zk.setData(path, Integer.toString(next).getBytes(UTF_8), stat.getVersion());
                return;
            } catch (KeeperException.BadVersionException lost) {
                // Another was faster: read again.
            }
        }
    }

    private static void sync(World world) throws Exception {
        ZooKeeper reader = world.client();
        for (int turn = 1; turn <= 20; turn++) {
            world.zk().setData(world.path(), new byte[turn], -1);
            reader.sync(world.path());
            equal(reader.getData(world.path(), false, null).length, turn, "length read");
        }
    }
}
