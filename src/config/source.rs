//! The sources of a configuration: the TOML file, the environment, and Django's `CACHES`.

pub(super) mod django;
pub(super) mod environment;
pub(super) mod file;
