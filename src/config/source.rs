//! The sources of a configuration: the TOML file, the environment, Django's `CACHES`, and Sentry's `redis.clusters`.

pub(super) mod django;
pub(super) mod environment;
pub(super) mod file;
pub(super) mod platform;
pub(super) mod sentry;
