package oxkeeper.peers.curator;

import static oxkeeper.peers.Expect.becomes;
import static oxkeeper.peers.Expect.equal;
import static oxkeeper.peers.Expect.eventually;
import static oxkeeper.peers.Expect.that;

import static java.nio.charset.StandardCharsets.UTF_8;

import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.recipes.queue.DistributedDelayQueue;
import org.apache.curator.framework.recipes.queue.DistributedIdQueue;
import org.apache.curator.framework.recipes.queue.DistributedPriorityQueue;
import org.apache.curator.framework.recipes.queue.DistributedQueue;
import org.apache.curator.framework.recipes.queue.QueueBuilder;
import org.apache.curator.framework.recipes.queue.QueueConsumer;
import org.apache.curator.framework.recipes.queue.QueueSerializer;
import org.apache.curator.framework.recipes.queue.SimpleDistributedQueue;
import org.apache.curator.framework.state.ConnectionState;

import oxkeeper.peers.Checks;
import oxkeeper.peers.World;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;

/** Queues: order, priority, delay, and each item once. */
final class Queues {
    private Queues() {}

    static void register(Checks checks) {
        checks.add("DistributedQueue: in order, each item to one consumer", Queues::queue);
        checks.add(
                "DistributedQueue: with a lock, an item whose consumer fails comes again",
                Queues::safe);
        checks.add("DistributedIdQueue: items removed by their ids", Queues::byId);
        checks.add("DistributedPriorityQueue: the most urgent first", Queues::priority);
        checks.add(
                "DistributedDelayQueue: not before their time, then in its order", Queues::delay);
        checks.add("SimpleDistributedQueue: offer, peek, poll, take", Queues::simple);
    }

    /** Keeps what it is given. */
    private static class Keeper implements QueueConsumer<String> {
        final List<String> items = Collections.synchronizedList(new ArrayList<>());

        @Override
        public void consumeMessage(String item) throws Exception {
            items.add(item);
        }

        @Override
        public void stateChanged(CuratorFramework client, ConnectionState state) {
            // Not looked at here.
        }

        List<String> seen() {
            synchronized (items) {
                return new ArrayList<>(items);
            }
        }
    }

    private static final QueueSerializer<String> TEXT =
            new QueueSerializer<>() {
                @Override
                public byte[] serialize(String item) {
                    return item.getBytes(UTF_8);
                }

                @Override
                public String deserialize(byte[] bytes) {
                    return new String(bytes, UTF_8);
                }
            };

    private static QueueBuilder<String> builder(World world, QueueConsumer<String> consumer)
            throws Exception {
        return QueueBuilder.builder(Curators.client(world), consumer, TEXT, world.path("queue"));
    }

    private static List<String> items(int count) {
        List<String> items = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            items.add(String.format("item-%03d", i));
        }
        return items;
    }

    private static void queue(World world) throws Exception {
        DistributedQueue<String> producer = world.closing(builder(world, null).buildQueue());
        producer.start();
        for (String item : items(60)) {
            producer.put(item);
        }
        that(producer.flushPuts(10, TimeUnit.SECONDS), "all are put");
        equal(world.zk().exists(world.path("queue"), false).getNumChildren(), 60, "items waiting");
        Keeper alone = new Keeper();
        DistributedQueue<String> consumer = builder(world, alone).buildQueue();
        consumer.start();
        becomes(alone::seen, items(60), "items, in order");
        consumer.close();
        Keeper one = new Keeper();
        Keeper two = new Keeper();
        for (Keeper keeper : new Keeper[] {one, two}) {
            world.closing(builder(world, keeper).buildQueue()).start();
        }
        for (String item : items(60)) {
            producer.put(item);
        }
        becomes(
                () -> {
                    List<String> both = one.seen();
                    both.addAll(two.seen());
                    Collections.sort(both);
                    return both;
                },
                items(60),
                "items of two consumers");
    }

    private static void safe(World world) throws Exception {
        List<String> attempts = Collections.synchronizedList(new ArrayList<>());
        Keeper faulty =
                new Keeper() {
                    @Override
                    public void consumeMessage(String item) throws Exception {
                        attempts.add(item);
                        if (attempts.size() == 1) {
                            throw new IllegalStateException("the first attempt fails");
                        }
                        super.consumeMessage(item);
                    }
                };
        DistributedQueue<String> queue =
                world.closing(builder(world, faulty).lockPath(world.path("locks")).buildQueue());
        queue.setErrorMode(org.apache.curator.framework.recipes.queue.ErrorMode.REQUEUE);
        queue.start();
        queue.put("precious");
        becomes(faulty::seen, List.of("precious"), "what was consumed in the end");
        equal(new ArrayList<>(attempts), List.of("precious", "precious"), "attempts");
    }

    private static void byId(World world) throws Exception {
        DistributedIdQueue<String> producer = world.closing(builder(world, null).buildIdQueue());
        producer.start();
        for (String item : items(5)) {
            producer.put(item, "id-" + item);
        }
        that(producer.flushPuts(10, TimeUnit.SECONDS), "all are put");
        equal(producer.remove("id-item-002"), 1, "removed by its id");
        equal(producer.remove("id-item-002"), 0, "removed again");
        Keeper keeper = new Keeper();
        world.closing(builder(world, keeper).buildIdQueue()).start();
        becomes(
                keeper::seen,
                List.of("item-000", "item-001", "item-003", "item-004"),
                "the others");
    }

    private static void priority(World world) throws Exception {
        DistributedPriorityQueue<String> producer =
                world.closing(builder(world, null).buildPriorityQueue(1));
        producer.start();
        producer.put("later", 500);
        producer.put("now", -5);
        producer.put("soon", 5);
        producer.put("soon after", 5);
        that(producer.flushPuts(10, TimeUnit.SECONDS), "all are put");
        Keeper keeper = new Keeper();
        world.closing(builder(world, keeper).buildPriorityQueue(1)).start();
        becomes(keeper::seen, List.of("now", "soon", "soon after", "later"), "order");
    }

    private static void delay(World world) throws Exception {
        Keeper keeper = new Keeper();
        DistributedDelayQueue<String> queue =
                world.closing(builder(world, keeper).buildDelayQueue());
        queue.start();
        long start = System.currentTimeMillis();
        queue.put("second", start + 1_500);
        queue.put("first", start + 700);
        queue.put("never now", start + 3_600_000);
        eventually(() -> !keeper.seen().isEmpty(), "the first comes");
        that(System.currentTimeMillis() >= start + 700, "the first came after its time");
        becomes(keeper::seen, List.of("first", "second"), "order");
        that(System.currentTimeMillis() >= start + 1_500, "the second came after its time");
    }

    private static void simple(World world) throws Exception {
        SimpleDistributedQueue one =
                new SimpleDistributedQueue(Curators.client(world), world.path("q"));
        SimpleDistributedQueue two =
                new SimpleDistributedQueue(Curators.client(world), world.path("q"));
        equal(one.peek(), null, "an empty queue");
        equal(one.poll(100, TimeUnit.MILLISECONDS), null, "an empty queue, waited for");
        for (String item : items(3)) {
            that(one.offer(item.getBytes(UTF_8)), "offered");
        }
        equal(text(two.peek()), "item-000", "peek");
        equal(text(two.poll()), "item-000", "poll");
        equal(text(one.take()), "item-001", "take");
        equal(text(two.remove()), "item-002", "remove");
        FutureTask<byte[]> taking = world.background(() -> two.poll(10, TimeUnit.SECONDS));
        one.offer("late".getBytes(UTF_8));
        equal(text(taking.get()), "late", "what was waited for");
    }

    private static String text(byte[] bytes) {
        return new String(bytes, UTF_8);
    }
}
