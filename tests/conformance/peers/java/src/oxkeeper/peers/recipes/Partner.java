package oxkeeper.peers.recipes;

import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.recipes.atomic.AtomicValue;
import org.apache.curator.framework.recipes.atomic.DistributedAtomicInteger;
import org.apache.curator.framework.recipes.atomic.DistributedAtomicLong;
import org.apache.curator.framework.recipes.barriers.DistributedBarrier;
import org.apache.curator.framework.recipes.barriers.DistributedDoubleBarrier;
import org.apache.curator.framework.recipes.leader.LeaderLatch;
import org.apache.curator.framework.recipes.leader.LeaderSelector;
import org.apache.curator.framework.recipes.leader.LeaderSelectorListenerAdapter;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.framework.recipes.locks.InterProcessReadWriteLock;
import org.apache.curator.framework.recipes.locks.InterProcessSemaphoreV2;
import org.apache.curator.framework.recipes.locks.Lease;
import org.apache.curator.framework.recipes.nodes.GroupMember;
import org.apache.curator.framework.recipes.queue.DistributedDelayQueue;
import org.apache.curator.framework.recipes.queue.DistributedPriorityQueue;
import org.apache.curator.framework.recipes.queue.DistributedQueue;
import org.apache.curator.framework.recipes.queue.QueueBuilder;
import org.apache.curator.framework.recipes.queue.QueueConsumer;
import org.apache.curator.framework.recipes.queue.QueueSerializer;
import org.apache.curator.framework.recipes.queue.SimpleDistributedQueue;
import org.apache.curator.framework.recipes.shared.SharedCount;
import org.apache.curator.framework.state.ConnectionState;
import org.apache.curator.retry.RetryNTimes;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/**
 * A user of Curator's recipes that does what it is told: {@code WHO VERB ARGUMENTS} on a line, and
 * {@code WHO ANSWER} when it is done. Each WHO is a thread of its own, since Curator's locks belong
 * to threads.
 */
public final class Partner {
    /** How something held is let go. */
    private interface Release {
        void run() throws Exception;
    }

    private final CuratorFramework client;
    private final Map<String, ExecutorService> threads = new ConcurrentHashMap<>();
    private final Map<String, Release> held = new ConcurrentHashMap<>();
    private final Map<String, LeaderLatch> latches = new ConcurrentHashMap<>();

    private Partner(CuratorFramework client) {
        this.client = client;
    }

    public static void main(String[] args) throws Exception {
        System.setProperty("org.slf4j.simpleLogger.defaultLogLevel", "off");
        CuratorFramework client =
                CuratorFrameworkFactory.newClient(
                        args[0], 10_000, 10_000, new RetryNTimes(20, 100));
        client.start();
        client.blockUntilConnected();
        Partner partner = new Partner(client);
        BufferedReader in =
                new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String[] words = line.split(" ");
            ExecutorService thread =
                    partner.threads.computeIfAbsent(
                            words[0], who -> Executors.newSingleThreadExecutor());
            thread.execute(() -> partner.answer(words));
        }
        System.exit(0);
    }

    private void answer(String[] words) {
        String answer;
        try {
            answer = perform(words);
        } catch (Exception e) {
            answer = "failed: " + e;
        }
        synchronized (this) {
            System.out.println(words[0] + " " + answer);
            System.out.flush();
        }
    }

    private String perform(String[] words) throws Exception {
        String who = words[0];
        switch (words[1]) {
            case "acquire":
                return yes(acquire(who, words[2], words[3], Long.parseLong(words[4])));
            case "release":
                held.remove(who).run();
                return "ok";
            case "stand":
                LeaderLatch latch = new LeaderLatch(client, words[2], who);
                latch.start();
                latches.put(who, latch);
                return "ok";
            case "leads":
                return yes(latches.get(who).await(Long.parseLong(words[2]), TimeUnit.MILLISECONDS));
            case "leader":
                return new LeaderLatch(client, words[2]).getLeader().getId();
            case "elect":
                return yes(elect(who, words[2], Long.parseLong(words[3])));
            case "hammer":
                return hammer(words[2], words[3], words[4], Integer.parseInt(words[5]));
            case "close":
                new DistributedBarrier(client, words[2]).setBarrier();
                return "ok";
            case "open":
                new DistributedBarrier(client, words[2]).removeBarrier();
                return "ok";
            case "pass":
                return yes(
                        new DistributedBarrier(client, words[2])
                                .waitOnBarrier(Long.parseLong(words[3]), TimeUnit.MILLISECONDS));
            case "enter":
                DistributedDoubleBarrier barrier =
                        new DistributedDoubleBarrier(client, words[2], Integer.parseInt(words[3]));
                barrier.enter();
                held.put(who, barrier::leave);
                return "ok";
            case "put":
                return put(words[2], words[3], words[4], words.length > 5 ? words[5] : "0");
            case "take":
                return take(words[2], words[3]);
            case "add":
                return add(words[2], words[3], Integer.parseInt(words[4]));
            case "join":
                GroupMember member = new GroupMember(client, words[2], words[3], new byte[] {1});
                member.start();
                held.put(who, member::close);
                return "ok";
            case "members":
                return members(words[2]);
            case "register":
                Services services = new Services(client, words[2]);
                int port = Integer.parseInt(words[6]);
                services.register(words[3], words[4], words[5], port, Integer.parseInt(words[7]));
                held.put(who, services::close);
                return "ok";
            case "find":
                try (Services all = new Services(client, words[2])) {
                    return all.find(words[3]);
                }
            case "names":
                try (Services all = new Services(client, words[2])) {
                    return all.names();
                }
            case "provided":
                try (Services all = new Services(client, words[2])) {
                    return all.provided(words[3]);
                }
            default:
                throw new IllegalArgumentException(words[1]);
        }
    }

    private static String yes(boolean is) {
        return is ? "yes" : "no";
    }

    private boolean acquire(String who, String kind, String path, long millis) throws Exception {
        if (kind.startsWith("semaphore:")) {
            int leases = Integer.parseInt(kind.substring("semaphore:".length()));
            InterProcessSemaphoreV2 semaphore = new InterProcessSemaphoreV2(client, path, leases);
            Lease lease = semaphore.acquire(millis, TimeUnit.MILLISECONDS);
            if (lease != null) {
                held.put(who, lease::close);
            }
            return lease != null;
        }
        InterProcessMutex mutex = lock(kind, path);
        boolean acquired = mutex.acquire(millis, TimeUnit.MILLISECONDS);
        if (acquired) {
            held.put(who, mutex::release);
        }
        return acquired;
    }

    private InterProcessMutex lock(String kind, String path) {
        switch (kind) {
            case "mutex":
                return new InterProcessMutex(client, path);
            case "revocable":
                InterProcessMutex mutex = new InterProcessMutex(client, path);
                mutex.makeRevocable(
                        forLock -> {
                            synchronized (this) {
                                System.out.println("revocation heard");
                                System.out.flush();
                            }
                        });
                return mutex;
            case "read":
                return new InterProcessReadWriteLock(client, path).readLock();
            case "write":
                return new InterProcessReadWriteLock(client, path).writeLock();
            default:
                throw new IllegalArgumentException(kind);
        }
    }

    private boolean elect(String who, String path, long millis) throws Exception {
        CountDownLatch elected = new CountDownLatch(1);
        CountDownLatch resigned = new CountDownLatch(1);
        LeaderSelector selector =
                new LeaderSelector(
                        client,
                        path,
                        new LeaderSelectorListenerAdapter() {
                            @Override
                            public void takeLeadership(CuratorFramework c) throws Exception {
                                elected.countDown();
                                resigned.await();
                            }

                            @Override
                            public void stateChanged(CuratorFramework c, ConnectionState state) {}
                        });
        selector.setId(who);
        selector.start();
        boolean leads = elected.await(millis, TimeUnit.MILLISECONDS);
        if (leads) {
            held.put(
                    who,
                    () -> {
                        resigned.countDown();
                        selector.close();
                    });
        } else {
            selector.close();
        }
        return leads;
    }

    /** Adds to a number that nothing but the lock protects. */
    private String hammer(String kind, String path, String counter, int times) throws Exception {
        for (int i = 0; i < times; i++) {
            InterProcessMutex mutex = lock(kind, path);
            mutex.acquire();
            try {
                String text = new String(client.getData().forPath(counter), StandardCharsets.UTF_8);
                Thread.sleep(1);
                String next = Integer.toString(Integer.parseInt(text) + 1);
                client.setData().forPath(counter, next.getBytes(StandardCharsets.UTF_8));
            } finally {
                mutex.release();
            }
        }
        return "ok";
    }

    private static final QueueSerializer<String> TEXT =
            new QueueSerializer<String>() {
                @Override
                public byte[] serialize(String item) {
                    return item.getBytes(StandardCharsets.UTF_8);
                }

                @Override
                public String deserialize(byte[] bytes) {
                    return new String(bytes, StandardCharsets.UTF_8);
                }
            };

    private static final class Taken extends LinkedBlockingQueue<String>
            implements QueueConsumer<String> {
        @Override
        public void consumeMessage(String message) {
            add(message);
        }

        @Override
        public void stateChanged(CuratorFramework client, ConnectionState state) {}
    }

    private String put(String kind, String path, String item, String number) throws Exception {
        QueueBuilder<String> builder =
                QueueBuilder.builder(client, null, TEXT, path).putInBackground(false);
        switch (kind) {
            case "simple":
                new SimpleDistributedQueue(client, path).offer(TEXT.serialize(item));
                break;
            case "queue":
                try (DistributedQueue<String> queue = builder.buildQueue()) {
                    queue.start();
                    queue.put(item);
                }
                break;
            case "priority":
                try (DistributedPriorityQueue<String> queue = builder.buildPriorityQueue(0)) {
                    queue.start();
                    queue.put(item, Integer.parseInt(number));
                }
                break;
            case "delay":
                try (DistributedDelayQueue<String> queue = builder.buildDelayQueue()) {
                    queue.start();
                    queue.put(item, Long.parseLong(number));
                }
                break;
            default:
                throw new IllegalArgumentException(kind);
        }
        return "ok";
    }

    private String take(String kind, String path) throws Exception {
        if (kind.equals("simple")) {
            byte[] item = new SimpleDistributedQueue(client, path).poll(10, TimeUnit.SECONDS);
            return item == null ? "none" : TEXT.deserialize(item);
        }
        Taken taken = new Taken();
        QueueBuilder<String> builder = QueueBuilder.builder(client, taken, TEXT, path).maxItems(1);
        switch (kind) {
            case "queue":
                builder = QueueBuilder.builder(client, taken, TEXT, path);
                try (DistributedQueue<String> queue = builder.buildQueue()) {
                    queue.start();
                    return taken.poll(10, TimeUnit.SECONDS);
                }
            case "locked":
                builder = QueueBuilder.builder(client, taken, TEXT, path + "/entries");
                try (DistributedQueue<String> queue =
                        builder.lockPath(path + "/taken").buildQueue()) {
                    queue.start();
                    return taken.poll(10, TimeUnit.SECONDS);
                }
            case "priority":
                builder = QueueBuilder.builder(client, taken, TEXT, path);
                try (DistributedPriorityQueue<String> queue = builder.buildPriorityQueue(0)) {
                    queue.start();
                    return taken.poll(10, TimeUnit.SECONDS);
                }
            case "delay":
                builder = QueueBuilder.builder(client, taken, TEXT, path);
                try (DistributedDelayQueue<String> queue = builder.buildDelayQueue()) {
                    queue.start();
                    return taken.poll(10, TimeUnit.SECONDS);
                }
            default:
                throw new IllegalArgumentException(kind);
        }
    }

    private String add(String kind, String path, int delta) throws Exception {
        switch (kind) {
            case "long":
                AtomicValue<Long> sum =
                        new DistributedAtomicLong(client, path, new RetryNTimes(20, 10))
                                .add((long) delta);
                return sum.succeeded() ? sum.postValue().toString() : "contended";
            case "int":
                AtomicValue<Integer> count =
                        new DistributedAtomicInteger(client, path, new RetryNTimes(20, 10))
                                .add(delta);
                return count.succeeded() ? count.postValue().toString() : "contended";
            case "shared":
                try (SharedCount shared = new SharedCount(client, path, 0)) {
                    shared.start();
                    shared.setCount(shared.getCount() + delta);
                    return Integer.toString(shared.getCount());
                }
            default:
                throw new IllegalArgumentException(kind);
        }
    }

    private String members(String path) throws Exception {
        Map<String, byte[]> members = new TreeMap<>();
        try (GroupMember watcher = new GroupMember(client, path, "watcher", new byte[0])) {
            watcher.start();
            for (int i = 0; i < 100 && members.size() < 2; i++) {
                Thread.sleep(20);
                members = new TreeMap<>(watcher.getCurrentMembers());
            }
        }
        members.remove("watcher");
        return String.join(",", members.keySet());
    }
}
