package oxkeeper.peers.shell;

import oxkeeper.peers.Checks;
import oxkeeper.peers.World;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * The official shell over all its commands: {@code HOST:PORT --golden FILE [--record] …}. The
 * golden file is the script as well as what Apache ZooKeeper answered to it; --record writes it
 * anew.
 *
 * <p>The cases work on one tree, below /shell, one after the other. A case that is asked for alone
 * therefore runs those before it, too.
 */
public final class ShellChecks {
    private final List<Case> cases;
    private final List<List<String>> outcomes = new ArrayList<>();
    private Normaliser normaliser;

    private ShellChecks(List<Case> cases) {
        this.cases = cases;
    }

    public static void main(String[] arguments) throws Exception {
        List<String> args = new ArrayList<>(Arrays.asList(arguments));
        int option = args.indexOf("--golden");
        Path golden = Path.of(args.remove(option + 1));
        args.remove(option);
        boolean record = args.remove("--record");
        Shell.redirectStandardStreams();
        List<String> lines = Files.readAllLines(golden);
        ShellChecks shell = new ShellChecks(Case.parse(lines));
        Checks checks = new Checks("/shell", false);
        for (int i = 0; i < shell.cases.size(); i++) {
            int number = i;
            checks.add(
                    shell.cases.get(i).name(),
                    record
                            ? world -> shell.runUpTo(world, number)
                            : world -> shell.compare(world, number));
        }
        if (record) {
            checks.add("written", world -> shell.write(golden, lines));
        }
        checks.main(args.toArray(new String[0]));
    }

    private void runUpTo(World world, int number) throws Exception {
        if (normaliser == null) {
            normaliser = new Normaliser(world.address());
        }
        while (outcomes.size() <= number) {
            Case next = cases.get(outcomes.size());
            outcomes.add(
                    next.piped
                            ? Shell.typed(world, next.typed, normaliser)
                            : Shell.command(world.address(), next.words(), normaliser));
        }
    }

    private void compare(World world, int number) throws Exception {
        runUpTo(world, number);
        List<String> expected = cases.get(number).outcome;
        List<String> actual = outcomes.get(number);
        for (int line = 0; line < Math.max(expected.size(), actual.size()); line++) {
            String wanted = line < expected.size() ? expected.get(line) : "(nothing)";
            String got = line < actual.size() ? actual.get(line) : "(nothing)";
            if (!wanted.equals(got)) {
                throw new AssertionError(
                        "line "
                                + (line + 1)
                                + " is\n     "
                                + got
                                + "\n     instead of\n     "
                                + wanted
                                + "\n     in\n     "
                                + String.join("\n     ", actual));
            }
        }
    }

    private void write(Path golden, List<String> lines) throws Exception {
        List<String> recorded = new ArrayList<>();
        for (String line : lines) {
            if (!line.isEmpty() && !line.startsWith("#")) {
                break;
            }
            recorded.add(line);
        }
        for (int i = 0; i < cases.size(); i++) {
            recorded.addAll(cases.get(i).recorded(outcomes.get(i)));
        }
        Files.write(golden, recorded);
    }
}
