//! [`Maker`]: makes an alias' nodes, when they are known.

use std::sync::Arc;
use std::time::Duration;

use crate::alias::Alias;
use crate::cache::memcached::{Credentials, Memcached};
use crate::cache::redis::{Kind, Redis};
use crate::cache::{Cache, Dialer, SetupError};
use crate::canary::{Names, Series};
use crate::check::round_trip::Node;
use crate::config::{Address, Config, Login, Tls};

/// Makes the nodes of one alias.
pub(crate) struct Maker {
    prefix: String,
    instance: Arc<str>,
    alias: Alias,
    timeout: Duration,
    dialer: Arc<Dialer>,
    wrap: Wrap,
}

/// Puts a layer around the cache that a node is.
pub(crate) type Wrap = Arc<dyn Fn(Box<dyn Cache>) -> Box<dyn Cache> + Send + Sync>;

/// How long a canary may live: long enough that the one before is still there at the next look of any usual
/// probe, so that a dropped write can be told from a masked one.
const CANARY_TTL: Duration = Duration::from_mins(2);

impl Maker {
    pub(crate) fn new(config: &Config, alias: &Alias, dialer: &Arc<Dialer>, wrap: &Wrap) -> Self {
        Self {
            prefix: config.prefix.clone(),
            instance: config.instance.as_str().into(),
            alias: alias.clone(),
            timeout: config.timeout,
            dialer: dialer.clone(),
            wrap: wrap.clone(),
        }
    }

    /// What makes the connections.
    pub(crate) fn dialer(&self) -> &Arc<Dialer> {
        &self.dialer
    }

    /// The deadline of a round.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// A Redis server.
    pub(crate) fn redis(
        &self,
        address: &Address,
        kind: Kind,
        login: &Arc<Login>,
        tls: Option<&Tls>,
    ) -> Result<Redis, SetupError> {
        Ok(Redis::new(self.dialer.target(address, None, tls)?, login, kind, &self.dialer))
    }

    /// A memcached server; `name` is what its certificate is to say where that is not the address' host.
    pub(crate) fn memcached(
        &self,
        address: &Address,
        name: Option<&str>,
        tls: Option<&Tls>,
        credentials: Option<&Arc<Credentials>>,
    ) -> Result<Memcached, SetupError> {
        Ok(Memcached::new(self.dialer.target(address, name, tls)?, credentials, &self.dialer))
    }

    /// The node that a cache is, with `spray` series of canaries.
    pub(crate) fn node(&self, address: &Address, cache: impl Cache + 'static, spray: usize) -> Node {
        let name: Arc<str> = address.to_string().into();
        let series = (0..spray).map(|_| self.series(&name, None)).collect();
        Node::new(name, (self.wrap)(Box::new(cache)), series)
    }

    /// The same in a cluster, where the hash tag chooses the slot of the canaries.
    pub(crate) fn node_in_cluster(
        &self,
        address: &Address,
        cache: impl Cache + 'static,
        tags: &[String],
    ) -> Node {
        let name: Arc<str> = address.to_string().into();
        let series = tags.iter().map(|tag| self.series(&name, Some(tag))).collect();
        Node::new(name, (self.wrap)(Box::new(cache)), series)
    }

    fn series(&self, node: &str, tag: Option<&str>) -> Series {
        let Self { prefix, instance, alias, .. } = self;
        Series::new(&Names { prefix, instance, alias, node, tag }, CANARY_TTL.max(self.timeout * 2))
    }
}
