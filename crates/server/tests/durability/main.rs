//! Durable, end to end: what was answered is found again, whatever happened to the disk.
//!
//! Everything here runs on a simulated disk, in one thread and in virtual time: boot, core, Front,
//! log and snapshots are the server's own, only sockets, threads and clocks are not.

mod crash_images;
mod failing_disk;
mod golden;
mod history;
mod host;
mod java_snapshots;
mod lives;
mod member;
mod starting;
mod state;
mod workload;
