//! The file layer on a simulated disk.

mod crash_images;
mod housekeeping;
mod rot;
mod snapshot_files;
mod starting;
mod support;
mod truncating;
