"""A TCP proxy on loopback whose connections can be cut: the client's breaks, its session stays."""

import contextlib
import socket
import threading


class CuttableProxy:
    """Forwards to one server. `cut` breaks every connection, `refuse` also the ones to come."""

    def __init__(self, target):
        host, port = target.rsplit(":", 1)
        self._target = (host, int(port))
        self._lock = threading.Lock()
        self._sockets = set()
        self._refusing = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self):
        with self._lock:
            broken, self._sockets = self._sockets, set()
        for one in broken:
            _shut(one)

    def refuse(self):
        self._refusing = True
        self.cut()

    def allow(self):
        self._refusing = False

    def close(self):
        self._refusing = True
        _shut(self._listener)
        self.cut()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._refusing:
                _shut(client)
                continue
            try:
                server = socket.create_connection(self._target)
            except OSError:
                _shut(client)
                continue
            with self._lock:
                self._sockets |= {client, server}
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._forward, args=(source, sink), daemon=True).start()

    def _forward(self, source, sink):
        with contextlib.suppress(OSError):
            while True:
                data = source.recv(65536)
                if not data:
                    break
                sink.sendall(data)
        _shut(source)
        _shut(sink)
        with self._lock:
            self._sockets -= {source, sink}


def _shut(one):
    # shutdown wakes the thread that is blocked on the socket; close alone would not.
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
