package oxkeeper.peers;

import org.apache.zookeeper.KeeperException;

import java.util.Arrays;
import java.util.Objects;
import java.util.concurrent.Callable;

/** What a check may demand; every method throws an AssertionError that says what was wrong. */
public final class Expect {
    private static final long WAIT_MILLIS = 15_000;

    /** Something that may fail. */
    @FunctionalInterface
    public interface Action {
        void run() throws Exception;
    }

    private Expect() {}

    public static void that(boolean condition, String what) {
        if (!condition) {
            throw new AssertionError("not so: " + what);
        }
    }

    public static void equal(Object actual, Object expected, String what) {
        if (!Objects.deepEquals(actual, expected)) {
            throw new AssertionError(what + ": " + show(actual) + ", expected " + show(expected));
        }
    }

    /** Waits until the condition holds. */
    public static void eventually(Callable<Boolean> condition, String what) throws Exception {
        long deadline = System.nanoTime() + WAIT_MILLIS * 1_000_000;
        while (!condition.call()) {
            if (System.nanoTime() > deadline) {
                throw new AssertionError("never happened within " + WAIT_MILLIS + " ms: " + what);
            }
            Thread.sleep(10);
        }
    }

    /** Waits until the value is the expected one. */
    public static void becomes(Callable<?> value, Object expected, String what) throws Exception {
        long deadline = System.nanoTime() + WAIT_MILLIS * 1_000_000;
        Object actual = value.call();
        while (!Objects.deepEquals(actual, expected)) {
            if (System.nanoTime() > deadline) {
                equal(actual, expected, what);
            }
            Thread.sleep(10);
            actual = value.call();
        }
    }

    /** The answer, asked for again as long as the connection is lost. */
    public static <T> T retried(Callable<T> question) throws Exception {
        long deadline = System.nanoTime() + WAIT_MILLIS * 1_000_000;
        while (true) {
            try {
                return question.call();
            } catch (KeeperException.ConnectionLossException lost) {
                if (System.nanoTime() > deadline) {
                    throw lost;
                }
            }
        }
    }

    /** The action must fail with exactly this code; returns the failure. */
    public static KeeperException fails(KeeperException.Code code, Action action) throws Exception {
        try {
            action.run();
        } catch (KeeperException failure) {
            if (failure.code() == code) {
                return failure;
            }
            throw new AssertionError(failure.code() + " instead of " + code, failure);
        }
        throw new AssertionError("succeeded instead of failing with " + code);
    }

    private static String show(Object value) {
        String text = Arrays.deepToString(new Object[] {value});
        return text.substring(1, text.length() - 1);
    }
}
