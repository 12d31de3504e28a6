//! One whole server as a value: inputs in, effects out.
