package oxkeeper.peers.client;

import org.apache.zookeeper.WatchedEvent;
import org.apache.zookeeper.Watcher;
import org.apache.zookeeper.Watcher.Event.EventType;

import oxkeeper.peers.Expect;

import java.util.ArrayList;
import java.util.List;

/** A watcher that keeps what it was told, as "Type path"; the state's changes are left out. */
final class Events implements Watcher {
    private final List<String> seen = new ArrayList<>();

    @Override
    public synchronized void process(WatchedEvent event) {
        if (event.getType() != EventType.None) {
            seen.add(event.getType() + " " + event.getPath());
        }
    }

    synchronized List<String> seen() {
        return new ArrayList<>(seen);
    }

    /** Waits until as many events have come as expected, which must be these, in this order. */
    void are(String... expected) throws Exception {
        Expect.eventually(
                () -> seen().size() >= expected.length,
                String.join(", ", expected) + " (seen: " + seen() + ")");
        Expect.equal(seen(), List.of(expected), "events");
    }
}
