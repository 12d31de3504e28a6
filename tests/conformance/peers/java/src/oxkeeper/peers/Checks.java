package oxkeeper.peers;

import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.ZKUtil;
import org.apache.zookeeper.ZooKeeper;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/**
 * A program of named checks: {@code HOST:PORT [--json] [--only TEXT]}. One line is printed per
 * check; with --json the last line says how many there were. The exit status is 1 if any failed.
 */
public final class Checks {
    private static final int CHECK_LIMIT_SECONDS = 40;

    /** What is checked; any exception fails it. */
    @FunctionalInterface
    public interface Body {
        void run(World world) throws Exception;
    }

    private static final class Check {
        final String name;
        final Body body;

        Check(String name, Body body) {
            this.name = name;
            this.body = body;
        }
    }

    private final String root;
    private final boolean makesPaths;
    private final List<Check> checks = new ArrayList<>();

    /** A program whose checks work below {@code root}, a child of the root node. */
    public Checks(String root) {
        this(root, true);
    }

    /** As above; but {@code makesPaths} false leaves the path of each check to be made by it. */
    public Checks(String root, boolean makesPaths) {
        this.root = root;
        this.makesPaths = makesPaths;
    }

    public void add(String name, Body body) {
        checks.add(new Check(name, body));
    }

    /** Runs the program and ends the JVM with its exit status. */
    public void main(String[] args) throws Exception {
        System.setProperty("org.slf4j.simpleLogger.defaultLogLevel", "off");
        String address = null;
        String only = "";
        boolean json = false;
        for (int i = 0; i < args.length; i++) {
            if (args[i].equals("--json")) {
                json = true;
            } else if (args[i].equals("--only")) {
                only = args[++i];
            } else {
                address = args[i];
            }
        }
        if (address == null) {
            System.err.println("usage: HOST:PORT [--json] [--only TEXT]");
            System.exit(2);
        }
        System.exit(run(address, only, json));
    }

    private int run(String address, String only, boolean json) throws Exception {
        List<String> failed = new ArrayList<>();
        int done = 0;
        clear(address);
        for (Check check : checks) {
            if (!check.name.contains(only)) {
                continue;
            }
            long start = System.nanoTime();
            String error = runOne(address, check, String.format("%s/%03d", root, done));
            long millis = (System.nanoTime() - start) / 1_000_000;
            done++;
            if (error != null) {
                failed.add(check.name);
            }
            System.out.println(
                    json
                            ? jsonLine(check.name, millis, error)
                            : String.format(
                                    "%-4s %5d ms  %s%s",
                                    error == null ? "ok" : "FAIL",
                                    millis,
                                    check.name,
                                    error == null ? "" : "\n     " + error));
        }
        clear(address);
        return report(done, failed, only, json);
    }

    private static int report(int done, List<String> failed, String only, boolean json) {
        if (json) {
            System.out.println("{\"done\":" + done + "}");
        } else if (!failed.isEmpty()) {
            System.out.println("FAILED: " + String.join(", ", failed));
        } else if (done == 0) {
            System.out.println("no check has \"" + only + "\" in its name");
        }
        return failed.isEmpty() && done > 0 ? 0 : 1;
    }

    private static String jsonLine(String name, long millis, String error) {
        String tail = error == null ? "" : ",\"error\":" + Json.string(error);
        return "{\"check\":" + Json.string(name) + ",\"millis\":" + millis + tail + "}";
    }

    /** What went wrong, or null. */
    private String runOne(String address, Check check, String path) {
        World world = new World(address, path);
        FutureTask<Void> task =
                world.background(
                        () -> {
                            if (makesPaths) {
                                World.makePath(world.zk(), path);
                            }
                            check.body.run(world);
                            return null;
                        });
        try {
            task.get(CHECK_LIMIT_SECONDS, TimeUnit.SECONDS);
            return null;
        } catch (ExecutionException failure) {
            return describe(failure.getCause());
        } catch (TimeoutException late) {
            return "took longer than " + CHECK_LIMIT_SECONDS + " s";
        } catch (InterruptedException interrupted) {
            return "interrupted";
        } finally {
            world.close();
        }
    }

    /** The failure, and the innermost line of ours that saw it. */
    private static String describe(Throwable failure) {
        String where = "";
        for (StackTraceElement frame : failure.getStackTrace()) {
            boolean ours = frame.getClassName().startsWith("oxkeeper.peers.");
            if (ours && !frame.getClassName().equals(Expect.class.getName())) {
                where = " (" + frame.getFileName() + ":" + frame.getLineNumber() + ")";
                break;
            }
        }
        String cause = failure.getCause() == null ? "" : ", by " + failure.getCause();
        return failure + cause + where;
    }

    /** Removes what the checks left, as the superuser: some of it is protected by ACLs. */
    private void clear(String address) throws Exception {
        World world = new World(address, root);
        try {
            ZooKeeper client = world.client();
            client.addAuthInfo("digest", "super:secret".getBytes("UTF-8"));
            if (client.exists(root, false) != null) {
                ZKUtil.deleteRecursive(client, root);
            }
        } catch (KeeperException.NoNodeException reaped) {
            // A container of a check ended while we deleted.
            clear(address);
        } finally {
            world.close();
        }
    }
}
