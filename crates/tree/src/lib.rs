//! The replicated state and the rules that change it.
