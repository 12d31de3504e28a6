package oxkeeper.peers.curator;

import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.retry.RetryNTimes;

import oxkeeper.peers.Expect;
import oxkeeper.peers.World;

import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/** Curator clients as its users make them. */
final class Curators {
    private Curators() {}

    /** A connected client with a session of its own, closed when the check ends. */
    static CuratorFramework client(World world) throws Exception {
        return client(world, world.address(), World.SESSION_MILLIS);
    }

    static CuratorFramework client(World world, String address, int sessionMillis)
            throws Exception {
        CuratorFramework client =
                world.closing(
                        CuratorFrameworkFactory.builder()
                                .connectString(address)
                                .sessionTimeoutMs(sessionMillis)
                                .connectionTimeoutMs(sessionMillis)
                                .retryPolicy(new RetryNTimes(20, 100))
                                .build());
        // Not blockUntilConnected: recipes that are started between the connection and its being
        // told would take the first connection for a reconnection.
        CountDownLatch told = new CountDownLatch(1);
        client.getConnectionStateListenable().addListener((c, state) -> told.countDown());
        client.start();
        Expect.that(told.await(15, TimeUnit.SECONDS), "connected within 15 s");
        return client;
    }
}
