//! What becomes of requests and sessions when connections are lost.
