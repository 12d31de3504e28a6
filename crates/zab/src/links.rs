//! The rules of the connections on the election port: between two servers the one that the larger
//! id opened stays.
