package oxkeeper.peers.curator;

import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.listen.StandardListenerManager;
import org.apache.curator.framework.listen.UnaryListenerManager;
import org.apache.curator.framework.state.ConnectionStateListener;
import org.apache.curator.retry.RetryNTimes;

import oxkeeper.peers.Expect;
import oxkeeper.peers.World;

import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Executor;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;

/** Curator clients as its users make them. */
final class Curators {
    private Curators() {}

    /** A connected client with a session of its own, closed when the check ends. */
    static CuratorFramework client(World world) throws Exception {
        return client(world, world.address(), World.SESSION_MILLIS);
    }

    static CuratorFramework client(World world, String address, int sessionMillis)
            throws Exception {
        CountDownLatch told = new CountDownLatch(1);
        CuratorFramework client =
                world.closing(
                        CuratorFrameworkFactory.builder()
                                .connectString(address)
                                .sessionTimeoutMs(sessionMillis)
                                .connectionTimeoutMs(sessionMillis)
                                .retryPolicy(new RetryNTimes(20, 100))
                                .connectionStateListenerManagerFactory(c -> new Told(told))
                                .build());
        client.start();
        Expect.that(told.await(15, TimeUnit.SECONDS), "connected within 15 s");
        return client;
    }

    /**
     * The client's listeners, with a latch that opens when all of them have been told of the first
     * state.
     *
     * <p>Neither {@code blockUntilConnected} nor a listener of ours would do: a recipe that is
     * started while the connection is still being told to others may be told of it too (the
     * listeners stand in a concurrent map), takes it for a reconnection and reads everything anew.
     */
    private static final class Told implements UnaryListenerManager<ConnectionStateListener> {
        private final StandardListenerManager<ConnectionStateListener> all =
                StandardListenerManager.standard();
        private final CountDownLatch told;

        Told(CountDownLatch told) {
            this.told = told;
        }

        @Override
        public void addListener(ConnectionStateListener listener) {
            all.addListener(listener);
        }

        @Override
        public void addListener(ConnectionStateListener listener, Executor executor) {
            all.addListener(listener, executor);
        }

        @Override
        public void removeListener(ConnectionStateListener listener) {
            all.removeListener(listener);
        }

        @Override
        public void clear() {
            all.clear();
        }

        @Override
        public int size() {
            return all.size();
        }

        @Override
        public void forEach(Consumer<ConnectionStateListener> tell) {
            all.forEach(tell);
            told.countDown();
        }
    }
}
