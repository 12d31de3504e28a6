package oxkeeper.peers.curator;

import oxkeeper.peers.Checks;

/** Apache Curator: its framework and its recipes. */
public final class CuratorChecks {
    private CuratorChecks() {}

    public static void main(String[] args) throws Exception {
        Checks checks = new Checks("/curator-checks");
        Framework.register(checks);
        Locks.register(checks);
        Semaphores.register(checks);
        Leaders.register(checks);
        Barriers.register(checks);
        Counters.register(checks);
        Queues.register(checks);
        Caches.register(checks);
        OldCaches.register(checks);
        LastingNodes.register(checks);
        checks.main(args);
    }
}
