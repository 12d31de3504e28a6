//! The server as a process: started, asked, starved, stopped and killed, and looked at from
//! outside.
//!
//! Each test runs a server of its own, on a port that the system chooses and in a directory of its
//! own, so they run side by side. Nothing waits a fixed time: a test waits for what it wants to see
//! and fails if it does not come.

mod client;
mod command_line;
mod disk;
mod lead_given_up;
mod lifecycle;
mod limits;
mod member_words;
mod reconfigured;
mod server;
mod serving;
mod shell;
mod terminal;
mod words;
