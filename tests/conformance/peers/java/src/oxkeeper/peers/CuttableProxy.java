package oxkeeper.peers;

import java.io.Closeable;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.HashSet;
import java.util.Set;

/**
 * A TCP proxy on loopback whose connections can be cut, to break a client's and keep its session.
 */
public final class CuttableProxy implements Closeable {
    private final String host;
    private final int port;
    private final ServerSocket listener = new ServerSocket(0, 50, InetAddress.getLoopbackAddress());
    private final Set<Socket> sockets = new HashSet<>();
    private volatile boolean refusing;
    private boolean holding;

    public CuttableProxy(String target) throws IOException {
        int colon = target.lastIndexOf(':');
        host = target.substring(0, colon);
        port = Integer.parseInt(target.substring(colon + 1));
        start(this::accept);
    }

    /** Where clients connect to be forwarded. */
    public String address() {
        return "127.0.0.1:" + listener.getLocalPort();
    }

    /** Breaks every connection; new ones are let through. */
    public synchronized void cut() {
        sockets.forEach(CuttableProxy::shut);
        sockets.clear();
    }

    /** Breaks every connection, and those to come. */
    public void refuse() {
        refusing = true;
        cut();
    }

    /** Breaks every connection; those to come are accepted and not answered until allowed. */
    public synchronized void hold() {
        holding = true;
        cut();
    }

    /** Lets connections through again. */
    public synchronized void allow() {
        refusing = false;
        holding = false;
        notifyAll();
    }

    @Override
    public synchronized void close() throws IOException {
        allow();
        refusing = true;
        listener.close();
        cut();
    }

    private void accept() {
        while (!listener.isClosed()) {
            try {
                Socket client = listener.accept();
                if (refusing) {
                    client.close();
                    continue;
                }
                Socket server = new Socket(host, port);
                waitWhileHeld();
                client.setTcpNoDelay(true);
                server.setTcpNoDelay(true);
                synchronized (this) {
                    sockets.add(client);
                    sockets.add(server);
                }
                start(() -> forward(client, server));
                start(() -> forward(server, client));
            } catch (IOException closedOrUnreachable) {
                // Either the proxy is closed, which ends the loop, or the client will try again.
            }
        }
    }

    private synchronized void waitWhileHeld() {
        while (holding) {
            try {
                wait();
            } catch (InterruptedException neverSent) {
                return;
            }
        }
    }

    private void forward(Socket source, Socket sink) {
        try {
            InputStream in = source.getInputStream();
            OutputStream out = sink.getOutputStream();
            in.transferTo(out);
        } catch (IOException cut) {
            // The other direction ends too, below.
        }
        shut(source);
        shut(sink);
        synchronized (this) {
            sockets.remove(source);
            sockets.remove(sink);
        }
    }

    private static void shut(Socket socket) {
        try {
            socket.close();
        } catch (IOException ignored) {
            // Closed is closed.
        }
    }

    private static void start(Runnable work) {
        Thread thread = new Thread(work, "proxy");
        thread.setDaemon(true);
        thread.start();
    }
}
