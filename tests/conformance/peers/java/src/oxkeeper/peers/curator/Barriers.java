package oxkeeper.peers.curator;

import static oxkeeper.peers.Expect.equal;
import static oxkeeper.peers.Expect.eventually;
import static oxkeeper.peers.Expect.that;

import org.apache.curator.framework.recipes.barriers.DistributedBarrier;
import org.apache.curator.framework.recipes.barriers.DistributedDoubleBarrier;

import oxkeeper.peers.Checks;
import oxkeeper.peers.World;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;

/** Barriers, single and double. */
final class Barriers {
    private Barriers() {}

    static void register(Checks checks) {
        checks.add("DistributedBarrier: holds until removed", Barriers::single);
        checks.add("DistributedDoubleBarrier: all enter and leave together", Barriers::doubled);
        checks.add("DistributedDoubleBarrier: gives up when one does not come", Barriers::missing);
    }

    private static void single(World world) throws Exception {
        DistributedBarrier barrier =
                new DistributedBarrier(Curators.client(world), world.path("b"));
        DistributedBarrier other = new DistributedBarrier(Curators.client(world), world.path("b"));
        that(other.waitOnBarrier(1, TimeUnit.SECONDS), "no barrier");
        barrier.setBarrier();
        that(!other.waitOnBarrier(200, TimeUnit.MILLISECONDS), "the barrier stands");
        FutureTask<Boolean> waiting =
                world.background(() -> other.waitOnBarrier(10, TimeUnit.SECONDS));
        eventually(() -> world.adminWord("wchp").contains(world.path("b") + "\n"), "it waits");
        barrier.removeBarrier();
        equal(waiting.get(), true, "released");
    }

    private static void doubled(World world) throws Exception {
        List<DistributedDoubleBarrier> barriers = new ArrayList<>();
        for (int i = 0; i < 3; i++) {
            barriers.add(new DistributedDoubleBarrier(Curators.client(world), world.path("db"), 3));
        }
        FutureTask<Boolean> first = enter(world, barriers.get(0));
        FutureTask<Boolean> second = enter(world, barriers.get(1));
        eventually(
                () ->
                        world.zk().exists(world.path("db"), false) != null
                                && world.zk().exists(world.path("db"), false).getNumChildren() == 2,
                "two are there");
        that(!first.isDone() && !second.isDone(), "two wait for the third");
        that(barriers.get(2).enter(10, TimeUnit.SECONDS), "the third enters");
        that(first.get() && second.get(), "and with it the others");
        FutureTask<Boolean> leaving = leave(world, barriers.get(0));
        FutureTask<Boolean> too = leave(world, barriers.get(1));
        // Beside the mark that all are in, at most two nodes are left: who is not first has gone.
        eventually(() -> world.zk().getChildren(world.path("db"), false).size() <= 3, "they leave");
        that(!leaving.isDone() && !too.isDone(), "none is out before all are");
        that(barriers.get(2).leave(10, TimeUnit.SECONDS), "the third leaves");
        that(leaving.get() && too.get(), "and with it the others");
        equal(world.zk().getChildren(world.path("db"), false), List.of(), "nodes left");
    }

    private static FutureTask<Boolean> enter(World world, DistributedDoubleBarrier barrier) {
        return world.background(() -> barrier.enter(10, TimeUnit.SECONDS));
    }

    private static FutureTask<Boolean> leave(World world, DistributedDoubleBarrier barrier) {
        return world.background(() -> barrier.leave(10, TimeUnit.SECONDS));
    }

    private static void missing(World world) throws Exception {
        DistributedDoubleBarrier alone =
                new DistributedDoubleBarrier(Curators.client(world), world.path("db"), 2);
        that(!alone.enter(300, TimeUnit.MILLISECONDS), "entered alone");
    }
}
