//! Whole sessions against a whole server, without a socket between them.

mod cuts;
mod life;
mod requests;
mod watching;
mod world;
