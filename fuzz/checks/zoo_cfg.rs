//! A configuration file.
//!
//! Holds whatever comes: nothing panics, reading is a function of the bytes, and an error is one
//! line that a terminal can show.

/// The content of one file.
pub fn run(data: &[u8]) {
    let first = oxkeeper_config::parse(data);
    if let Err(error) = &first {
        let line = error.to_string();
        assert!(!line.is_empty() && !line.chars().any(char::is_control), "{line:?}");
    }
    assert!(oxkeeper_config::parse(data) == first, "two readings of the same bytes");
}
