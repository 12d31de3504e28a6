package oxkeeper.peers.dump;

import org.apache.zookeeper.data.ACL;
import org.apache.zookeeper.data.StatPersisted;
import org.apache.zookeeper.server.DataNode;
import org.apache.zookeeper.server.DataTree;
import org.apache.zookeeper.server.ZKDatabase;
import org.apache.zookeeper.server.persistence.FileTxnSnapLog;

import oxkeeper.peers.Json;

import java.io.File;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Deque;
import java.util.List;
import java.util.Map;

/**
 * Opens a data directory with Apache's own classes and prints what a server would then hold: {@code
 * DumpDirectory DATA_DIR [DATA_LOG_DIR]}.
 *
 * <p>One JSON object per line: first the summary, then sessions, then znodes, parents first, last
 * {"done":true}. An empty directory is refused, because Java would make it a database.
 */
public final class DumpDirectory {
    private DumpDirectory() {}

    public static void main(String[] args) throws Exception {
        System.setProperty("org.slf4j.simpleLogger.defaultLogLevel", "warn");
        System.setProperty("zookeeper.extendedTypesEnabled", "true");
        System.setProperty("zookeeper.datadir.autocreate", "false");
        File dataDir = new File(args[0]);
        File logDir = args.length > 1 ? new File(args[1]) : dataDir;
        String[] files = new File(dataDir, "version-2").list();
        if (files == null || files.length == 0) {
            System.err.println("no data in " + new File(dataDir, "version-2"));
            System.exit(2);
        }
        ZKDatabase database = new ZKDatabase(new FileTxnSnapLog(logDir, dataDir));
        List<Long> ofTransactions = Collections.synchronizedList(new ArrayList<>());
        List<Long> ofSnapshots = Collections.synchronizedList(new ArrayList<>());
        database.getDataTree()
                .addDigestWatcher(
                        zxid -> (isOfSnapshot() ? ofSnapshots : ofTransactions).add(zxid));
        database.loadDataBase();
        PrintStream out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        printSummary(out, database, ofTransactions, ofSnapshots);
        for (Map.Entry<Long, Integer> session : database.getSessionWithTimeOuts().entrySet()) {
            out.printf(
                    "{\"session\":%d,\"timeout_ms\":%d}%n", session.getKey(), session.getValue());
        }
        printNodes(out, database.getDataTree());
        out.println("{\"done\":true}");
        out.flush();
        System.exit(out.checkError() ? 1 : 0);
    }

    /** Whether what is reported is the digest of a snapshot, not that of a transaction. */
    private static boolean isOfSnapshot() {
        return StackWalker.getInstance()
                .walk(frames -> frames.anyMatch(
                        frame -> frame.getMethodName().equals("compareSnapshotDigests")));
    }

    private static void printSummary(
            PrintStream out,
            ZKDatabase database,
            List<Long> ofTransactions,
            List<Long> ofSnapshots) {
        DataTree tree = database.getDataTree();
        out.printf(
                "{\"last_zxid\":%d,\"node_count\":%d,\"digest\":%d,"
                        + "\"digest_mismatches\":%s,\"snapshot_mismatches\":%s}%n",
                tree.lastProcessedZxid,
                tree.getNodeCount(),
                tree.getTreeDigest(),
                ofTransactions,
                ofSnapshots);
    }

    /** Parents before children; by a stack of our own, since trees may be deep. */
    private static void printNodes(PrintStream out, DataTree tree) throws Exception {
        Deque<String> toPrint = new ArrayDeque<>();
        toPrint.push("/");
        while (!toPrint.isEmpty()) {
            String path = toPrint.pop();
            DataNode node = tree.getNode(path);
            printNode(out, tree, path, node);
            for (String child : node.getChildren()) {
                toPrint.push((path.equals("/") ? "" : path) + "/" + child);
            }
        }
    }

    private static void printNode(PrintStream out, DataTree tree, String path, DataNode node) {
        StatPersisted stat = node.stat;
        out.printf(
                "{\"path\":%s,\"data\":%s,\"acl\":%s,\"czxid\":%d,\"mzxid\":%d,\"pzxid\":%d,"
                        + "\"ctime_ms\":%d,\"mtime_ms\":%d,\"version\":%d,"
                        + "\"cversion\":%d,\"aversion\":%d,"
                        + "\"ephemeral_owner\":%d}%n",
                Json.string(path),
                hex(node.getData()),
                acls(tree.getACL(node)),
                stat.getCzxid(),
                stat.getMzxid(),
                stat.getPzxid(),
                stat.getCtime(),
                stat.getMtime(),
                stat.getVersion(),
                stat.getCversion(),
                stat.getAversion(),
                stat.getEphemeralOwner());
    }

    private static String acls(List<ACL> acls) {
        List<String> texts = new ArrayList<>();
        for (ACL acl : acls) {
            texts.add(
                    String.format(
                            "{\"perms\":%d,\"scheme\":%s,\"id\":%s}",
                            acl.getPerms(),
                            Json.string(acl.getId().getScheme()),
                            Json.string(acl.getId().getId())));
        }
        return texts.toString();
    }

    private static String hex(byte[] data) {
        if (data == null) {
            return "null";
        }
        StringBuilder text = new StringBuilder("\"");
        for (byte one : data) {
            text.append(Character.forDigit(one >> 4 & 15, 16))
                    .append(Character.forDigit(one & 15, 16));
        }
        return text.append('"').toString();
    }
}
