package oxkeeper.peers.client;

import oxkeeper.peers.Checks;

/** The Java client of Apache ZooKeeper, used directly. */
public final class ClientChecks {
    private ClientChecks() {}

    public static void main(String[] args) throws Exception {
        Checks checks = new Checks("/client-checks");
        Znodes.register(checks);
        Multis.register(checks);
        Watches.register(checks);
        RemovedWatches.register(checks);
        Reconnects.register(checks);
        Sessions.register(checks);
        Access.register(checks);
        Ordering.register(checks);
        checks.main(args);
    }
}
