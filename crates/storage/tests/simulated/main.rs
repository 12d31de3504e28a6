//! The file layer on a simulated disk.
//!
//! A workload's operations are counted once; then the process is stopped, the power cut, the disk
//! full or failing at each of them in turn, and what is found afterwards is recovered and
//! compared, txn by txn and byte by byte, with what was written and what was acknowledged.

mod crash_images;
mod housekeeping;
mod installing;
mod rot;
mod snapshot_files;
mod starting;
mod support;
mod truncating;
