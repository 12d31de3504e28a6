//! Bytes to types and back: everything that crosses a socket or a file.
