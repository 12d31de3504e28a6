//! How sessions begin and end.
