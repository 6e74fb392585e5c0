//! Caches of our own, for the demo and for tests that need a server to lie.
