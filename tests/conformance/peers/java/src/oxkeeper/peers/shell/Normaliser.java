package oxkeeper.peers.shell;

import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Takes from the shell's output what differs between two right servers: dates, ports, zxids and
 * session ids. The last two become numbers in the order of their first appearance, so that equal
 * ones stay equal and different ones different, over all cases.
 */
final class Normaliser {
    private static final Pattern DATE = Pattern.compile("\\w{3} \\w{3} \\d+ [\\d:]{8} \\w+ \\d{4}");
    private static final Pattern ZXID = Pattern.compile("([cmp]Zxid = 0x)([0-9a-f]+)");
    private static final Pattern SESSION = Pattern.compile("(ephemeralOwner = 0x)([0-9a-f]+)");
    private static final Pattern EVENT =
            Pattern.compile(
                    "\n"
                            + "WATCHER::\n"
                            + "|\n"
                            + "WatchedEvent state:(\\w+) type:(\\w+) path:(\\S+) zxid: (-?\\d+)\n");
    private static final Pattern IDENTITY = Pattern.compile("out\\| \\w+: \\S+");
    private static final Pattern NOISE = Pattern.compile("(?m)^.*(system terminal|jline).*\n");

    private final String address;
    private final Map<String, String> numbers = new HashMap<>();
    private int zxids;
    private int sessions;

    Normaliser(String address) {
        this.address = address;
    }

    /** The lines of an outcome, as they are recorded. */
    List<String> outcome(int exit, String out, String err) {
        List<String> lines = new ArrayList<>();
        lines.add("exit " + exit);
        addLines(lines, "out|", normalise(EVENT.matcher(out).replaceAll("")));
        sortIdentities(lines);
        addLines(lines, "err|", normalise(NOISE.matcher(err).replaceAll("")));
        Matcher events = EVENT.matcher(out);
        while (events.find()) {
            // The changes of the connection come when they come.
            if (events.group(2) != null && !events.group(2).equals("None")) {
                String zxid = number("zxid", Long.toHexString(Long.parseLong(events.group(4))));
                lines.add("evt| " + events.group(2) + " " + events.group(3) + " " + zxid);
            }
        }
        return lines;
    }

    /** Java answers whoAmI in the order of a hash table, which nobody can mean. */
    private static void sortIdentities(List<String> lines) {
        for (int i = 0; i < lines.size(); i++) {
            if (lines.get(i).endsWith("Auth scheme: User")) {
                int end = i + 1;
                while (end < lines.size() && IDENTITY.matcher(lines.get(end)).matches()) {
                    end++;
                }
                Collections.sort(lines.subList(i + 1, end));
            }
        }
    }

    private static void addLines(List<String> lines, String mark, String text) {
        if (!text.isEmpty()) {
            for (String line : text.split("\n")) {
                lines.add((mark + " " + line).stripTrailing());
            }
        }
    }

    private String normalise(String text) {
        String plain =
                text.replace(address, "<server>").replaceAll("\\(CONNECTING\\)", "(CONNECTED)");
        plain = DATE.matcher(plain).replaceAll("<date>");
        plain =
                ZXID.matcher(plain)
                        .replaceAll(match -> match.group(1) + number("zxid", match.group(2)));
        return SESSION.matcher(plain)
                .replaceAll(match -> match.group(1) + number("session", match.group(2)));
    }

    private String number(String kind, String value) {
        if (value.equals("0")) {
            return "0";
        }
        return numbers.computeIfAbsent(
                kind + value,
                unused -> "<" + kind + " " + (kind.equals("zxid") ? ++zxids : ++sessions) + ">");
    }
}
