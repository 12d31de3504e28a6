package oxkeeper.peers.curator;

import static oxkeeper.peers.Expect.equal;
import static oxkeeper.peers.Expect.eventually;
import static oxkeeper.peers.Expect.that;

import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.recipes.locks.InterProcessSemaphoreV2;
import org.apache.curator.framework.recipes.locks.Lease;
import org.apache.curator.framework.recipes.shared.SharedCount;

import oxkeeper.peers.Checks;
import oxkeeper.peers.World;

import java.util.Collection;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;

/** InterProcessSemaphoreV2: as many leases as allowed, and no more. */
final class Semaphores {
    private Semaphores() {}

    static void register(Checks checks) {
        checks.add("InterProcessSemaphoreV2: as many leases as it has", Semaphores::leases);
        checks.add(
                "InterProcessSemaphoreV2: a waiting client gets what is returned",
                Semaphores::waits);
        checks.add(
                "InterProcessSemaphoreV2: the leases of a closed session are free",
                Semaphores::sessionEnd);
        checks.add(
                "InterProcessSemaphoreV2: its number may be shared and changed",
                Semaphores::sharedNumber);
    }

    private static InterProcessSemaphoreV2 semaphore(CuratorFramework client, World world) {
        return new InterProcessSemaphoreV2(client, world.path("semaphore"), 3);
    }

    /** For what must succeed: time enough for a slow machine. */
    private static Lease got(InterProcessSemaphoreV2 semaphore) throws Exception {
        return semaphore.acquire(10, TimeUnit.SECONDS);
    }

    /** For what must fail. */
    private static Lease attempt(InterProcessSemaphoreV2 semaphore) throws Exception {
        return semaphore.acquire(200, TimeUnit.MILLISECONDS);
    }

    private static void leases(World world) throws Exception {
        InterProcessSemaphoreV2 one = semaphore(Curators.client(world), world);
        InterProcessSemaphoreV2 two = semaphore(Curators.client(world), world);
        Collection<Lease> pair = one.acquire(2);
        equal(two.acquire(2, 200, TimeUnit.MILLISECONDS), null, "two of the one that is left");
        Lease third = got(two);
        that(third != null, "the third");
        equal(attempt(one), null, "a fourth");
        equal(one.getParticipantNodes().size(), 3, "participants");
        one.returnAll(pair);
        that(got(two) != null, "one that was returned");
    }

    private static void waits(World world) throws Exception {
        InterProcessSemaphoreV2 one = semaphore(Curators.client(world), world);
        Collection<Lease> all = one.acquire(3);
        InterProcessSemaphoreV2 two = semaphore(Curators.client(world), world);
        FutureTask<Lease> waiting = world.background(two::acquire);
        eventually(() -> one.getParticipantNodes().size() == 4, "the second waits");
        that(!waiting.isDone(), "no lease is free");
        one.returnLease(all.iterator().next());
        that(waiting.get(10, TimeUnit.SECONDS) != null, "the returned lease");
    }

    private static void sessionEnd(World world) throws Exception {
        CuratorFramework mortal = Curators.client(world);
        semaphore(mortal, world).acquire(3);
        InterProcessSemaphoreV2 other = semaphore(Curators.client(world), world);
        equal(attempt(other), null, "while they are held");
        mortal.close();
        that(other.acquire(3, 10, TimeUnit.SECONDS) != null, "after the close");
    }

    private static void sharedNumber(World world) throws Exception {
        CuratorFramework client = Curators.client(world);
        SharedCount number = world.closing(new SharedCount(client, world.path("number"), 1));
        number.start();
        InterProcessSemaphoreV2 semaphore =
                new InterProcessSemaphoreV2(client, world.path("semaphore"), number);
        that(got(semaphore) != null, "the first");
        equal(attempt(semaphore), null, "a second of one");
        number.setCount(2);
        that(semaphore.acquire(10, TimeUnit.SECONDS) != null, "a second of two");
    }
}
