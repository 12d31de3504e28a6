//! The host of one server: sockets, files, clocks, threads, signals.
