//! Transaction logs and snapshots in Apache ZooKeeper's file formats.
