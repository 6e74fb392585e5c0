//! `OPTIONS` of a cache, as far as they name servers and the way to connect.

use std::path::PathBuf;

use super::{object, text};
use crate::config::cache::reader::CacheReader;
use crate::config::place::ConfigProblem;
use crate::config::value::{Table, Value, ValueKind as Typed};
use crate::config::{ClientCertificate, RespVersion, Tls, address};

/// `OPTIONS`, and the arguments for parts of the client in it.
pub(super) struct Options<'a> {
    given: Option<&'a Table>,
    pool: Option<&'a Table>,
    client: Option<&'a Table>,
}

/// The way from a Redis client to its servers, by the names of its classes and by its options.
pub(super) enum Way {
    /// One primary, perhaps with replicas.
    Plain,
    /// Sentinels know the primary; `replicas` is `true` if replicas are read from.
    Sentinels {
        replicas: bool,
    },
    Cluster,
    /// A cluster, of a client that is not known.
    UnknownCluster,
    /// Keys are spread over several servers by the client.
    Shards,
}

/// The classes of clients for clusters that take the locations as nodes to begin with, by the source of
/// django-valkey 0.4, valkey-py 6.1 and redis-py 8.1.
const CLUSTERS: &[&str] = &[
    "django_valkey.cluster_cache.client.DefaultClusterClient",
    "django_valkey.cluster_cache.client.default.DefaultClusterClient",
    "django_valkey.cluster_cache.pool.ClusterConnectionFactory",
    "valkey.cluster.ValkeyCluster",
    "redis.cluster.RedisCluster",
    "redis.RedisCluster",
];

impl<'a> Options<'a> {
    pub(super) fn of(entry: &'a Table) -> Result<Self, ConfigProblem> {
        let mut options = Self { given: None, pool: None, client: None };
        options.given = entry.get("OPTIONS").map(object).transpose()?;
        options.pool = options.table("CONNECTION_POOL_KWARGS")?;
        Ok(options)
    }

    /// The same for a cluster, whose client is given no pool: there the arguments for the client count, and
    /// elsewhere those for its pool.
    pub(super) fn of_cluster(entry: &'a Table) -> Result<Self, ConfigProblem> {
        let mut options = Self::of(entry)?;
        options.client = match options.table("BASE_CLIENT_KWARGS")? {
            Some(client) => Some(client),
            None => options.table("REDIS_CLIENT_KWARGS")?,
        };
        Ok(options)
    }

    fn table(&self, name: &str) -> Result<Option<&'a Table>, ConfigProblem> {
        self.given.and_then(|options| options.get(name)).map(object).transpose()
    }

    /// An option by redis-py's name: from the client's or the pool's arguments, which are put over
    /// django-redis' own option in capitals, or as Django hands it on.
    pub(super) fn get(&self, name: &str) -> Option<&'a Value> {
        let in_options = |name: &str| self.given.and_then(|options| options.get(name));
        let mut arguments = [self.client, self.pool].into_iter().flatten();
        let argument = arguments.find_map(|arguments| arguments.get(name));
        argument.or_else(|| in_options(&name.to_uppercase())).or_else(|| in_options(name))
    }

    /// The version of the protocol, if one is asked for.
    pub(super) fn protocol(&self, reading: &mut CacheReader) -> Result<Option<RespVersion>, ConfigProblem> {
        let Some(value) = self.get("protocol") else { return Ok(None) };
        let number = value.number().ok().map(|number| number.to_string());
        let protocol = number.and_then(|number| address::protocol(&number));
        reading.came_from(&["protocol"], &value.place);
        protocol.map(Some).ok_or_else(|| value.problem("the protocol must be 2 or 3"))
    }

    /// The option that asks for TLS without a word of it in the URL, as one can if Sentinels or a cluster know the
    /// servers.
    pub(super) fn asks_for_tls(&self) -> Option<&'a Value> {
        let ssl = self.get("ssl").filter(|value| value.boolean() == Some(true));
        // `json.dumps(..., default=str)` makes <class 'redis.sentinel.SentinelManagedSSLConnection'> of it.
        let class = self.get("connection_class");
        ssl.or(class.filter(|value| value.text().is_ok_and(|class| class.contains("SSL"))))
    }

    /// The TLS settings, once TLS is asked for: redis-py's options, here or as parameters of the URL.
    pub(super) fn tls(
        &self,
        reading: &mut CacheReader,
        parameters: &[(String, String)],
    ) -> Result<Tls, ConfigProblem> {
        let parameter = |name: &str| parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value);
        let mut file = |name: &str| match parameter(name) {
            Some(path) => Ok::<_, ConfigProblem>(Some(PathBuf::from(path))),
            None => Ok(text(reading, self.get(name), "tls")?.map(PathBuf::from)),
        };
        let ca_file = file("ssl_ca_certs")?;
        let (cert_file, key_file) = (file("ssl_certfile")?, file("ssl_keyfile")?);
        // Without a file of its own the key is in that of the certificate (Python's `load_cert_chain`).
        let client = cert_file.map(|cert_file| {
            let key_file = key_file.unwrap_or_else(|| cert_file.clone());
            ClientCertificate { cert_file, key_file }
        });

        let tables = [self.client, self.pool, self.given];
        let null = tables.into_iter().flatten().any(|table| table.is_null("ssl_cert_reqs"));
        let requirement = match parameter("ssl_cert_reqs") {
            Some(requirement) => Some(requirement.as_str()),
            None => self.get("ssl_cert_reqs").and_then(|value| value.text().ok()),
        };
        let unnamed = match parameter("ssl_check_hostname") {
            Some(check) => ["false", "no", "0"].contains(&check.to_lowercase().as_str()),
            None => self.get("ssl_check_hostname").and_then(Value::boolean) == Some(false),
        };
        let alias = &reading.alias;
        if null || requirement == Some("none") {
            reading.notes.push(format!(
                "{alias}: the application does not verify the certificate (ssl_cert_reqs); the check does"
            ));
        } else if unnamed {
            reading.notes.push(format!(
                "{alias}: the application does not verify the name in the certificate (ssl_check_hostname); \
                 the check does"
            ));
        }
        Ok(Tls { ca_file, client, ..Tls::default() })
    }

    /// The Sentinels, each a host and a port.
    pub(super) fn sentinels(&self) -> Option<&'a Value> {
        self.given?
            .get("SENTINELS")
            .filter(|value| !matches!(&value.kind, Typed::List(list) if list.is_empty()))
    }

    /// The arguments for the Sentinels, and not for the servers.
    pub(super) fn sentinel_arguments(&self) -> Result<Option<&'a Table>, ConfigProblem> {
        self.table("SENTINEL_KWARGS")
    }

    /// The client's way to its servers.
    pub(super) fn way(&self) -> Way {
        const CLASSES: &[&str] = &[
            "CLIENT_CLASS",
            "CONNECTION_FACTORY",
            "CONNECTION_POOL_CLASS",
            "REDIS_CLIENT_CLASS",
            "BASE_CLIENT_CLASS",
            "pool_class",
        ];
        let Some(options) = self.given else { return Way::Plain };
        let class = |name: &&str| options.get(name)?.text().ok();
        let classes = CLASSES.iter().filter_map(class).collect::<Vec<_>>();
        let named = |word: &str| classes.iter().any(|class| class.to_lowercase().contains(word));
        if options.get("SENTINELS").is_some() || named("sentinel") {
            // It makes two of one location, the primary and a replica to read from.
            Way::Sentinels { replicas: classes.iter().any(|class| class.ends_with(".SentinelClient")) }
        } else if classes.iter().any(|class| CLUSTERS.contains(class)) {
            Way::Cluster
        } else if named("cluster") {
            Way::UnknownCluster
        } else if named("shard") {
            Way::Shards
        } else {
            Way::Plain
        }
    }
}
