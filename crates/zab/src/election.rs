//! FastLeaderElection as a value.
