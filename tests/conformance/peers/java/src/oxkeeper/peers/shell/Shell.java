package oxkeeper.peers.shell;

import org.apache.zookeeper.ZooKeeperMain;
import org.apache.zookeeper.util.ServiceUtils;

import oxkeeper.peers.Expect;
import oxkeeper.peers.World;

import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;

/** Runs ZooKeeper's shell: a command in this process, or typed lines in one of its own. */
final class Shell {
    private static final int SHELL_SECONDS = 30;

    private Shell() {}

    /** How the shell ends a process that is not its own. */
    private static final class Exit extends RuntimeException {
        private static final long serialVersionUID = 1;
        final int code;

        Exit(int code) {
            this.code = code;
        }
    }

    /** The shell with its client, which must be closed since the process does not end. */
    private static final class Main extends ZooKeeperMain {
        Main(String[] args) throws IOException, InterruptedException {
            super(args);
        }

        void close() throws InterruptedException {
            zk.close(10_000);
        }
    }

    /**
     * A stream whose target can be changed. The shell's commands keep the streams that were the
     * standard ones when the first shell began, so those have to be redirected from within.
     */
    private static final class Switch extends OutputStream {
        private final OutputStream usual;
        private volatile OutputStream target;

        private Switch(OutputStream usual) {
            this.usual = usual;
            this.target = usual;
        }

        @Override
        public void write(int one) throws IOException {
            target.write(one);
        }

        @Override
        public void write(byte[] bytes, int offset, int length) throws IOException {
            target.write(bytes, offset, length);
        }

        @Override
        public void flush() throws IOException {
            target.flush();
        }
    }

    private static final Switch OUT = new Switch(System.out);
    private static final Switch ERR = new Switch(System.err);

    /** Must be called before any shell is made. */
    static void redirectStandardStreams() {
        System.setOut(new PrintStream(OUT, true, StandardCharsets.UTF_8));
        System.setErr(new PrintStream(ERR, true, StandardCharsets.UTF_8));
    }

    /** A command as arguments: {@code zkCli.sh -server HOST:PORT words…}. */
    static List<String> command(String address, List<String> words, Normaliser normaliser)
            throws Exception {
        List<String> args = new ArrayList<>(List.of("-server", address));
        args.addAll(words);
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        ByteArrayOutputStream err = new ByteArrayOutputStream();
        OUT.target = out;
        ERR.target = err;
        ServiceUtils.setSystemExitProcedure(
                code -> {
                    throw new Exit(code);
                });
        Main main = null;
        int exit;
        String said;
        try {
            main = new Main(args.toArray(new String[0]));
            exit = run(main);
            said = out.toString(StandardCharsets.UTF_8);
        } finally {
            // Until the client is closed its events may still be printed, and belong to nobody.
            OUT.target = OutputStream.nullOutputStream();
            if (main != null) {
                main.close();
            }
            OUT.target = OUT.usual;
            ERR.target = ERR.usual;
        }
        return normaliser.outcome(exit, said, err.toString(StandardCharsets.UTF_8));
    }

    private static int run(ZooKeeperMain main) throws Exception {
        Method run = ZooKeeperMain.class.getDeclaredMethod("run");
        run.setAccessible(true);
        try {
            run.invoke(main);
        } catch (InvocationTargetException failure) {
            if (failure.getCause() instanceof Exit) {
                return ((Exit) failure.getCause()).code;
            }
            // As the JVM ends for it, but for the stack trace.
            System.err.println("Exception in thread \"main\" " + failure.getCause());
            return 1;
        }
        throw new AssertionError("the shell did not end");
    }

    /** Lines piped into a shell: {@code zkCli.sh -server HOST:PORT < lines}. */
    static List<String> typed(World world, List<String> lines, Normaliser normaliser)
            throws Exception {
        Process process =
                new ProcessBuilder(
                                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                                "-Xmx128m",
                                "-XX:TieredStopAtLevel=1",
                                "-Dorg.slf4j.simpleLogger.defaultLogLevel=off",
                                "-Duser.timezone=UTC",
                                "-cp",
                                System.getProperty("java.class.path"),
                                "org.apache.zookeeper.ZooKeeperMain",
                                "-server",
                                world.address(),
                                "-waitforconnection")
                        .directory(new File(System.getProperty("java.io.tmpdir")))
                        .start();
        world.closing(process::destroyForcibly);
        FutureTask<String> out = world.background(() -> text(process.getInputStream()));
        FutureTask<String> err = world.background(() -> text(process.getErrorStream()));
        try (OutputStream input = process.getOutputStream()) {
            String text = String.join("\n", lines).replace("<server>", world.address()) + "\n";
            input.write(text.getBytes(StandardCharsets.UTF_8));
        }
        Expect.that(process.waitFor(SHELL_SECONDS, TimeUnit.SECONDS), "the shell ends in time");
        return normaliser.outcome(process.exitValue(), out.get(), err.get());
    }

    private static String text(InputStream stream) throws IOException {
        return new String(stream.readAllBytes(), StandardCharsets.UTF_8);
    }
}
