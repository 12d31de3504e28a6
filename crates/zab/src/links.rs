//! The rules of the connections on the election port.
