package oxkeeper.peers.shell;

import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * One recorded use of the shell: what was typed, and what came of it. Recordings are text:
 *
 * <pre>
 * $ get /node            a command given as arguments, in a shell of its own
 * &lt; get /node            or, instead, lines typed into one shell
 * exit 0
 * out| its standard output
 * err| its standard error
 * evt| the watch events it printed, which come at any time and therefore stand apart
 * </pre>
 */
final class Case {
    private static final Pattern WORD = Pattern.compile("\"([^\"]*)\"|(\\S+)");

    /** The lines that were typed; one for a command given as arguments. */
    final List<String> typed = new ArrayList<>();

    final boolean piped;
    final List<String> outcome = new ArrayList<>();

    private Case(boolean piped) {
        this.piped = piped;
    }

    /** Reads recordings. An empty line ends one, and what starts with a hash is for the reader. */
    static List<Case> parse(List<String> lines) {
        List<Case> cases = new ArrayList<>();
        Case current = null;
        for (String line : lines) {
            if (line.isEmpty() || line.startsWith("#")) {
                current = null;
                continue;
            }
            boolean command = line.startsWith("$ ");
            boolean input = line.startsWith("< ");
            if (command || input && current == null) {
                current = new Case(input);
                cases.add(current);
            }
            if (current == null) {
                throw new IllegalArgumentException("an outcome without a command: " + line);
            }
            (command || input ? current.typed : current.outcome)
                    .add(command || input ? line.substring(2) : line);
        }
        return cases;
    }

    String name() {
        return piped
                ? "typed into one shell: " + typed.get(0) + " … (" + typed.size() + " lines)"
                : typed.get(0);
    }

    /** The command's words; quotes keep spaces together. */
    List<String> words() {
        List<String> words = new ArrayList<>();
        Matcher matcher = WORD.matcher(typed.get(0));
        while (matcher.find()) {
            words.add(matcher.group(1) != null ? matcher.group(1) : matcher.group(2));
        }
        return words;
    }

    /** The recording with another outcome. */
    List<String> recorded(List<String> actual) {
        List<String> lines = new ArrayList<>();
        for (String line : typed) {
            lines.add((piped ? "< " : "$ ") + line);
        }
        lines.addAll(actual);
        lines.add("");
        return lines;
    }
}
