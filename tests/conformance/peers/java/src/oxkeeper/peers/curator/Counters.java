package oxkeeper.peers.curator;

import static oxkeeper.peers.Expect.becomes;
import static oxkeeper.peers.Expect.equal;
import static oxkeeper.peers.Expect.that;

import static java.nio.charset.StandardCharsets.UTF_8;

import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.recipes.atomic.AtomicValue;
import org.apache.curator.framework.recipes.atomic.CachedAtomicLong;
import org.apache.curator.framework.recipes.atomic.DistributedAtomicInteger;
import org.apache.curator.framework.recipes.atomic.DistributedAtomicLong;
import org.apache.curator.framework.recipes.atomic.DistributedAtomicValue;
import org.apache.curator.framework.recipes.atomic.PromotedToLock;
import org.apache.curator.framework.recipes.shared.SharedCount;
import org.apache.curator.framework.recipes.shared.SharedCountListener;
import org.apache.curator.framework.recipes.shared.SharedCountReader;
import org.apache.curator.framework.recipes.shared.SharedValue;
import org.apache.curator.framework.recipes.shared.VersionedValue;
import org.apache.curator.framework.state.ConnectionState;
import org.apache.curator.retry.RetryNTimes;

import oxkeeper.peers.Checks;
import oxkeeper.peers.World;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.TreeSet;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;

/** Shared numbers and values. */
final class Counters {
    private Counters() {}

    static void register(Checks checks) {
        checks.add("SharedCount: seen by others, set by version", Counters::sharedCount);
        checks.add("SharedValue: seen by others, set by version", Counters::sharedValue);
        checks.add("DistributedAtomicLong: no increment is lost", Counters::atomicLong);
        checks.add("DistributedAtomicLong: with a lock, no increment fails", Counters::promoted);
        checks.add("DistributedAtomicInteger and Value: compare and set", Counters::compareAndSet);
        checks.add("CachedAtomicLong: numbers in blocks, each once", Counters::cached);
    }

    private static void sharedCount(World world) throws Exception {
        SharedCount one =
                world.closing(new SharedCount(Curators.client(world), world.path("c"), 7));
        SharedCount two =
                world.closing(new SharedCount(Curators.client(world), world.path("c"), 9));
        List<Integer> seen = Collections.synchronizedList(new ArrayList<>());
        two.addListener(
                new SharedCountListener() {
                    @Override
                    public void countHasChanged(SharedCountReader reader, int count) {
                        seen.add(count);
                    }

                    @Override
                    public void stateChanged(CuratorFramework client, ConnectionState state) {
                        // Not looked at here.
                    }
                });
        one.start();
        two.start();
        equal(two.getCount(), 7, "the first client's seed");
        VersionedValue<Integer> stale = two.getVersionedValue();
        one.setCount(8);
        becomes(() -> two.getCount(), 8, "the other's view");
        that(!two.trySetCount(stale, 100), "a stale version is refused");
        that(two.trySetCount(two.getVersionedValue(), 9), "the current one is not");
        becomes(() -> one.getCount(), 9, "the first's view");
        becomes(() -> seen.contains(8), true, "the listener is told");
    }

    private static void sharedValue(World world) throws Exception {
        byte[] seed = "seed".getBytes(UTF_8);
        SharedValue one =
                world.closing(new SharedValue(Curators.client(world), world.path("v"), seed));
        SharedValue two =
                world.closing(new SharedValue(Curators.client(world), world.path("v"), seed));
        one.start();
        two.start();
        VersionedValue<byte[]> stale = one.getVersionedValue();
        two.setValue(new byte[0]);
        becomes(() -> one.getValue(), new byte[0], "an empty value");
        that(!one.trySetValue(stale, seed), "a stale version is refused");
    }

    private static DistributedAtomicLong number(CuratorFramework client, World world) {
        return new DistributedAtomicLong(client, world.path("n"), new RetryNTimes(200, 5));
    }

    private static void atomicLong(World world) throws Exception {
        List<FutureTask<Void>> workers = new ArrayList<>();
        for (int i = 0; i < 3; i++) {
            DistributedAtomicLong number = number(Curators.client(world), world);
            workers.add(
                    world.background(
                            () -> {
                                for (int turn = 0; turn < 30; turn++) {
                                    that(number.add(3L).succeeded(), "an addition");
                                    that(number.decrement().succeeded(), "a decrement");
                                }
                                return null;
                            }));
        }
        for (FutureTask<Void> worker : workers) {
            worker.get();
        }
        equal(number(Curators.client(world), world).get().postValue(), 180L, "the sum");
        byte[] stored = ByteBuffer.allocate(8).putLong(180).array();
        equal(world.zk().getData(world.path("n"), false, null), stored, "as stored");
    }

    private static void promoted(World world) throws Exception {
        List<FutureTask<Void>> workers = new ArrayList<>();
        for (int i = 0; i < 3; i++) {
            DistributedAtomicLong number =
                    new DistributedAtomicLong(
                            Curators.client(world),
                            world.path("n"),
                            new RetryNTimes(0, 0),
                            PromotedToLock.builder()
                                    .lockPath(world.path("lock"))
                                    .timeout(10, TimeUnit.SECONDS)
                                    .retryPolicy(new RetryNTimes(100, 5))
                                    .build());
            workers.add(
                    world.background(
                            () -> {
                                for (int turn = 0; turn < 10; turn++) {
                                    that(number.increment().succeeded(), "an increment");
                                }
                                return null;
                            }));
        }
        for (FutureTask<Void> worker : workers) {
            worker.get();
        }
        equal(number(Curators.client(world), world).get().postValue(), 30L, "the sum");
    }

    private static void compareAndSet(World world) throws Exception {
        CuratorFramework client = Curators.client(world);
        DistributedAtomicInteger number =
                new DistributedAtomicInteger(client, world.path("i"), new RetryNTimes(3, 5));
        that(number.initialize(5), "the first initialisation");
        that(!number.initialize(6), "the second");
        that(number.compareAndSet(5, 50).succeeded(), "from what it is");
        that(!number.compareAndSet(5, 51).succeeded(), "from what it was");
        AtomicValue<Integer> sum = number.add(-8);
        equal(List.of(sum.preValue(), sum.postValue()), List.of(50, 42), "values before and after");
        DistributedAtomicValue value =
                new DistributedAtomicValue(client, world.path("v"), new RetryNTimes(3, 5));
        that(value.initialize(new byte[1]), "the first initialisation");
        that(value.compareAndSet(new byte[1], new byte[2]).succeeded(), "from what it is");
        that(!value.compareAndSet(new byte[1], new byte[3]).succeeded(), "from what it was");
        equal(value.get().postValue(), new byte[2], "the value");
    }

    private static void cached(World world) throws Exception {
        CachedAtomicLong one = new CachedAtomicLong(number(Curators.client(world), world), 10);
        CachedAtomicLong two = new CachedAtomicLong(number(Curators.client(world), world), 10);
        TreeSet<Long> numbers = new TreeSet<>();
        for (int i = 0; i < 25; i++) {
            numbers.add(one.next().postValue());
            numbers.add(two.next().postValue());
        }
        equal(numbers.size(), 50, "different numbers");
        equal(
                number(Curators.client(world), world).get().postValue(),
                60L,
                "blocks taken, times ten");
    }
}
