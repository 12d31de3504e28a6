//! A load generator for any ZooKeeper server.
