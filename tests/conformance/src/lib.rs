//! Proof against the real thing: differential runs, golden captures and foreign clients.
