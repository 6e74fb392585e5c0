//! The sources of a configuration: the TOML file, the environment, Django's `CACHES`, Sentry's `redis.clusters`, and lists
//! of targets.

pub(super) mod django;
pub(super) mod environment;
pub(super) mod file;
pub(super) mod platform;
pub(super) mod sentry;
pub(super) mod targets;
