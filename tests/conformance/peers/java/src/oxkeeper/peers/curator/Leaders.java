package oxkeeper.peers.curator;

import static oxkeeper.peers.Expect.becomes;
import static oxkeeper.peers.Expect.equal;
import static oxkeeper.peers.Expect.eventually;
import static oxkeeper.peers.Expect.that;

import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.recipes.leader.LeaderLatch;
import org.apache.curator.framework.recipes.leader.LeaderSelector;
import org.apache.curator.framework.recipes.leader.LeaderSelectorListenerAdapter;

import oxkeeper.peers.Checks;
import oxkeeper.peers.CuttableProxy;
import oxkeeper.peers.World;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.TreeSet;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;

/** Elections: one leader, and another when it goes. */
final class Leaders {
    private Leaders() {}

    static void register(Checks checks) {
        checks.add("LeaderLatch: one leader, succeeded when it closes", Leaders::latch);
        checks.add("LeaderLatch: succeeded when its session ends", Leaders::latchExpiry);
        checks.add("LeaderSelector: each leads in turn, one at a time", Leaders::selector);
        checks.add("LeaderSelector: requeued leaders lead again", Leaders::requeue);
    }

    private static LeaderLatch latch(World world, CuratorFramework client, String id)
            throws Exception {
        LeaderLatch latch = new LeaderLatch(client, world.path("latch"), id);
        latch.start();
        return latch;
    }

    private static void latch(World world) throws Exception {
        List<LeaderLatch> latches = new ArrayList<>();
        for (String id : new String[] {"a", "b", "c"}) {
            latches.add(latch(world, Curators.client(world), id));
            int count = latches.size();
            eventually(() -> latches.get(0).getParticipants().size() == count, id + " takes part");
        }
        latches.get(0).await(10, TimeUnit.SECONDS);
        for (int i = 0; i < 3; i++) {
            String id = latches.get(i).getId();
            int leader = i;
            becomes(() -> latches.get(leader).hasLeadership(), true, id + " leads");
            for (int other = i + 1; other < 3; other++) {
                equal(latches.get(other).hasLeadership(), false, "another leads too");
            }
            equal(latches.get(2).getLeader().getId(), id, "the leader as others see it");
            latches.get(i).close();
        }
    }

    private static void latchExpiry(World world) throws Exception {
        CuttableProxy proxy = world.proxy();
        LeaderLatch mortal = latch(world, Curators.client(world, proxy.address(), 2_000), "mortal");
        that(mortal.await(10, TimeUnit.SECONDS), "the first leads");
        LeaderLatch next = world.closing(latch(world, Curators.client(world), "next"));
        eventually(() -> next.getParticipants().size() == 2, "the second takes part");
        equal(next.hasLeadership(), false, "the second leads");
        proxy.refuse();
        that(next.await(10, TimeUnit.SECONDS), "the second leads in the end");
        equal(mortal.hasLeadership(), false, "the first still believes to lead");
    }

    private static void selector(World world) throws Exception {
        AtomicInteger leading = new AtomicInteger();
        AtomicInteger most = new AtomicInteger();
        List<String> turns = Collections.synchronizedList(new ArrayList<>());
        CountDownLatch gate = new CountDownLatch(1);
        List<LeaderSelector> selectors = new ArrayList<>();
        for (String id : new String[] {"a", "b", "c"}) {
            LeaderSelector selector =
                    world.closing(
                            new LeaderSelector(
                                    Curators.client(world),
                                    world.path("selector"),
                                    new LeaderSelectorListenerAdapter() {
                                        @Override
                                        public void takeLeadership(CuratorFramework client)
                                                throws Exception {
                                            most.accumulateAndGet(
                                                    leading.incrementAndGet(), Math::max);
                                            gate.await(10, TimeUnit.SECONDS);
                                            turns.add(id);
                                            leading.decrementAndGet();
                                        }
                                    }));
            selector.setId(id);
            selector.start();
            selectors.add(selector);
            int count = selectors.size();
            eventually(
                    () -> selectors.get(0).getParticipants().size() == count, id + " takes part");
        }
        eventually(() -> selectors.get(0).hasLeadership(), "the first leads");
        equal(selectors.get(2).getLeader().getId(), "a", "the leader as others see it");
        gate.countDown();
        becomes(() -> new ArrayList<>(turns), List.of("a", "b", "c"), "turns");
        equal(most.get(), 1, "the most leaders at once");
    }

    private static void requeue(World world) throws Exception {
        List<String> turns = Collections.synchronizedList(new ArrayList<>());
        for (String id : new String[] {"a", "b"}) {
            LeaderSelector selector =
                    world.closing(
                            new LeaderSelector(
                                    Curators.client(world),
                                    world.path("selector"),
                                    new LeaderSelectorListenerAdapter() {
                                        @Override
                                        public void takeLeadership(CuratorFramework client) {
                                            turns.add(id);
                                        }
                                    }));
            selector.autoRequeue();
            selector.start();
        }
        eventually(() -> turns.size() >= 20, "twenty turns");
        eventually(() -> new TreeSet<>(new ArrayList<>(turns)).size() == 2, "both lead");
    }
}
