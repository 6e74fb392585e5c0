//! [`CheckContext`]: the settings with which the servers of one alias, and the canaries for them, are made.

use std::sync::Arc;
use std::time::Duration;

use crate::alias::Alias;
use crate::cache::memcached::{Credentials, Memcached};
use crate::cache::redis::{Redis, Requirement};
use crate::cache::{Dialer, SetupError};
use crate::canary::{Key, KeyNames, Series};
use crate::config::{Address, Config, Login, Tls};

/// The settings with which the servers of one alias, and the canaries for them, are made.
#[derive(Clone)]
pub(crate) struct CheckContext {
    pub(super) prefix: Arc<str>,
    pub(super) instance: Arc<str>,
    pub(super) alias: Alias,
    timeout: Duration,
    dialer: Arc<Dialer>,
}

/// The time to live of a canary: long enough that the one before is still there at the next look of any usual
/// probe, so that a dropped write can be told from a masked one.
const CANARY_TTL: Duration = Duration::from_mins(2);

impl CheckContext {
    pub(crate) fn new(config: &Config, alias: &Alias, dialer: &Arc<Dialer>) -> Self {
        Self {
            prefix: config.prefix.as_str().into(),
            instance: config.instance.as_str().into(),
            alias: alias.clone(),
            timeout: config.timeout,
            dialer: dialer.clone(),
        }
    }

    /// The dialer of its connections.
    pub(crate) fn dialer(&self) -> &Arc<Dialer> {
        &self.dialer
    }

    /// The deadline of a check.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// A Redis server.
    pub(crate) fn redis(
        &self,
        address: &Address,
        kind: Requirement,
        login: &Arc<Login>,
        tls: Option<&Tls>,
    ) -> Result<Redis, SetupError> {
        let target = self.dialer.target(address, None, tls)?;
        Ok(Redis::new(target, login, kind, &self.prefix, &self.dialer))
    }

    /// A memcached server. `name` is the name in its certificate, if that is not the address' host.
    pub(crate) fn memcached(
        &self,
        address: &Address,
        name: Option<&str>,
        tls: Option<&Tls>,
        credentials: Option<&Arc<Credentials>>,
    ) -> Result<Memcached, SetupError> {
        Ok(Memcached::new(self.dialer.target(address, name, tls)?, credentials, &self.dialer))
    }

    /// Canaries for a node; in a cluster a `tag` chooses their slot.
    pub(crate) fn series(&self, node: &str, tag: Option<&str>) -> Series {
        Series::new(&self.names(node, tag), self.ttl())
    }

    /// Canaries for a node whose keys satisfy `lands`; `None` if no such keys are found.
    pub(crate) fn placed_series(&self, node: &str, lands: impl Fn(&Key) -> bool) -> Option<Series> {
        Series::placed(&self.names(node, None), self.ttl(), lands)
    }

    fn names<'a>(&'a self, node: &'a str, tag: Option<&'a str>) -> KeyNames<'a> {
        let Self { prefix, instance, alias, .. } = self;
        KeyNames { prefix, instance, alias, node, tag }
    }

    fn ttl(&self) -> Duration {
        CANARY_TTL.max(self.timeout * 2)
    }
}
