//! The router, the representations, and the server under them.
