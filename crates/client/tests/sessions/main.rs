//! Whole sessions against a whole server, without a socket between them.
//!
//! `life` is about sessions, `requests` about answers, `watching` about watches, and `cuts` about
//! all of them while connections break.

mod cuts;
mod life;
mod requests;
mod watching;
mod world;
