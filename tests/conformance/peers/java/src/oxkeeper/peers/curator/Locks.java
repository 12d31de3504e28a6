package oxkeeper.peers.curator;

import static oxkeeper.peers.Expect.equal;
import static oxkeeper.peers.Expect.eventually;
import static oxkeeper.peers.Expect.that;

import static java.nio.charset.StandardCharsets.UTF_8;

import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.recipes.locks.InterProcessLock;
import org.apache.curator.framework.recipes.locks.InterProcessMultiLock;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.framework.recipes.locks.InterProcessReadWriteLock;
import org.apache.curator.framework.recipes.locks.InterProcessSemaphoreMutex;
import org.apache.curator.framework.recipes.locks.Locker;
import org.apache.curator.framework.recipes.locks.Revoker;
import org.apache.zookeeper.ZooKeeper;

import oxkeeper.peers.Checks;
import oxkeeper.peers.CuttableProxy;
import oxkeeper.peers.World;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;

/** Locks of every kind. A lock belongs to a client and a thread, so each holder has its own. */
final class Locks {
    private Locks() {}

    static void register(Checks checks) {
        checks.add("InterProcessMutex: three clients never hold it together", Locks::mutex);
        checks.add(
                "InterProcessMutex: re-entrant, timed, with participants in order",
                Locks::mutexAttempts);
        checks.add("InterProcessMutex: a holder asked by Revoker gives it up", Locks::revoke);
        checks.add(
                "InterProcessMutex: the end of the holder's session passes it on",
                Locks::mutexExpiry);
        checks.add("InterProcessSemaphoreMutex: not re-entrant, exclusive", Locks::semaphoreMutex);
        checks.add(
                "InterProcessReadWriteLock: readers share, a writer excludes, and may read",
                Locks::readWrite);
        checks.add("InterProcessMultiLock: all or none", Locks::multi);
    }

    /** For what must succeed: time enough for a slow machine. */
    private static boolean gets(InterProcessLock lock) throws Exception {
        return lock.acquire(10, TimeUnit.SECONDS);
    }

    /** For what must fail. */
    private static boolean tries(InterProcessLock lock) throws Exception {
        return lock.acquire(200, TimeUnit.MILLISECONDS);
    }

    private static void mutex(World world) throws Exception {
        AtomicInteger inside = new AtomicInteger();
        AtomicInteger most = new AtomicInteger();
        List<FutureTask<Void>> workers = new ArrayList<>();
        for (int i = 0; i < 3; i++) {
            InterProcessMutex lock =
                    new InterProcessMutex(Curators.client(world), world.path("lock"));
            workers.add(
                    world.background(
                            () -> {
                                for (int turn = 0; turn < 10; turn++) {
                                    try (Locker locker = new Locker(lock)) {
                                        most.accumulateAndGet(inside.incrementAndGet(), Math::max);
                                        ZooKeeper zk = world.zk();
                                        byte[] data = zk.getData(world.path(), false, null);
                                        zk.setData(world.path(), new byte[data.length + 1], -1);
                                        inside.decrementAndGet();
                                    }
                                }
                                return null;
                            }));
        }
        for (FutureTask<Void> worker : workers) {
            worker.get();
        }
        equal(most.get(), 1, "the most inside");
        equal(world.zk().exists(world.path(), false).getDataLength(), 30, "turns");
    }

    private static void mutexAttempts(World world) throws Exception {
        String path = world.path("lock");
        InterProcessMutex held = new InterProcessMutex(Curators.client(world), path);
        InterProcessMutex other = new InterProcessMutex(Curators.client(world), path);
        held.acquire();
        that(gets(held), "its thread may enter again");
        that(!tries(other), "another client may not");
        FutureTask<Void> waiting =
                world.background(
                        () -> {
                            other.acquire();
                            return null;
                        });
        eventually(() -> held.getParticipantNodes().size() == 2, "two participants");
        List<String> participants = new ArrayList<>(held.getParticipantNodes());
        that(participants.get(0).matches(".*-lock-\\d{10}"), "name of " + participants.get(0));
        held.release();
        that(
                held.isAcquiredInThisProcess() && !waiting.isDone(),
                "held until released as often as entered");
        held.release();
        waiting.get(10, TimeUnit.SECONDS);
        equal(
                new ArrayList<>(held.getParticipantNodes()),
                participants.subList(1, 2),
                "who has it now");
    }

    private static void revoke(World world) throws Exception {
        CuratorFramework client = Curators.client(world);
        InterProcessMutex lock = new InterProcessMutex(client, world.path("lock"));
        AtomicInteger asked = new AtomicInteger();
        lock.makeRevocable(forLock -> asked.incrementAndGet());
        lock.acquire();
        CuratorFramework other = Curators.client(world);
        Revoker.attemptRevoke(other, lock.getParticipantNodes().iterator().next());
        eventually(() -> asked.get() == 1, "the holder is asked");
        lock.release();
        that(gets(new InterProcessMutex(other, world.path("lock"))), "free for the other");
    }

    private static void mutexExpiry(World world) throws Exception {
        CuttableProxy proxy = world.proxy();
        CuratorFramework mortal = Curators.client(world, proxy.address(), 2_000);
        new InterProcessMutex(mortal, world.path("lock")).acquire();
        InterProcessMutex next = new InterProcessMutex(Curators.client(world), world.path("lock"));
        that(!tries(next), "while its holder lives");
        proxy.refuse();
        that(next.acquire(10, TimeUnit.SECONDS), "after its holder's session");
    }

    private static void semaphoreMutex(World world) throws Exception {
        String path = world.path("lock");
        InterProcessSemaphoreMutex lock =
                new InterProcessSemaphoreMutex(Curators.client(world), path);
        InterProcessSemaphoreMutex other =
                new InterProcessSemaphoreMutex(Curators.client(world), path);
        lock.acquire();
        that(!tries(lock), "its own thread may not enter again");
        that(!tries(other), "another client may not");
        lock.release();
        that(gets(other), "free after the release");
        other.release();
    }

    private static void readWrite(World world) throws Exception {
        String path = world.path("lock");
        byte[] mark = "mark".getBytes(UTF_8);
        InterProcessReadWriteLock one =
                new InterProcessReadWriteLock(Curators.client(world), path, mark);
        InterProcessReadWriteLock two =
                new InterProcessReadWriteLock(Curators.client(world), path, mark);
        InterProcessReadWriteLock three =
                new InterProcessReadWriteLock(Curators.client(world), path, mark);
        one.readLock().acquire();
        that(gets(two.readLock()), "a second reader");
        that(!tries(three.writeLock()), "a writer beside readers");
        one.readLock().release();
        two.readLock().release();
        that(gets(three.writeLock()), "a writer alone");
        that(!tries(one.readLock()), "a reader beside a writer");
        that(gets(three.readLock()), "the writer reads");
        three.writeLock().release();
        that(gets(one.readLock()), "a reader beside the writer that became one");
        String node = one.readLock().getParticipantNodes().iterator().next();
        equal(world.zk().getData(node, false, null), mark, "data of a lock's node");
    }

    private static void multi(World world) throws Exception {
        List<String> both = List.of(world.path("a"), world.path("b"));
        InterProcessMultiLock lock = new InterProcessMultiLock(Curators.client(world), both);
        CuratorFramework other = Curators.client(world);
        InterProcessMutex second = new InterProcessMutex(other, world.path("b"));
        second.acquire();
        that(!tries(lock), "with one of them taken");
        that(gets(new InterProcessMutex(other, world.path("a"))), "the first was given back");
        second.release();
        InterProcessMultiLock third =
                new InterProcessMultiLock(Curators.client(world), both.subList(1, 2));
        that(gets(third), "what is free");
        third.release();
    }
}
