//! The caches of a run, each an alias: its servers, its part of the configuration, and the nodes that writers try.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::events::{
    Breakable, Distant, Linked, Plain, Replicas, SLOTS, Secure, Servers, Slots, WatchedServers,
};
use crate::judge::Status;
use crate::plan::{Faults, Kind};
use crate::support::cluster::tag_of;
use crate::support::{
    Authority, Cluster, Haproxy, Link, Memcached, Namespace, PASSWORD, Redis, RedisServer, Sentinel,
    Twemproxy, USER, Watched,
};
use crate::writers::{Login, Server, Target};

/// A cache of the run.
pub(crate) struct Topology {
    pub(crate) alias: &'static str,
    pub(crate) config: String,
    /// The nodes that writers try, each with the best status of the alias while it is dead.
    pub(crate) nodes: Vec<(Target, Status)>,
    pub(crate) faults: Faults,
    pub(crate) servers: Box<dyn Breakable + Send>,
}

const REDIS: Faults = &[
    (Kind::Kill, 1),
    (Kind::Restart, 1),
    (Kind::Stop, 1),
    (Kind::Fill, 1),
    (Kind::ReadOnly, 1),
    (Kind::PauseWrites, 1),
];

/// How long a primary is silent before its Sentinels take it for dead.
const DOWN_AFTER: Duration = Duration::from_secs(1);

/// Starts all of them side by side.
pub(crate) fn start(dir: &Path) -> Vec<Topology> {
    let starts: [&(dyn Fn() -> Option<Topology> + Sync); 13] = [
        &|| Some(plain("plain", RedisServer::of_this_run())),
        &|| Some(plain("valkey", RedisServer::Valkey9)),
        &|| Some(secure(dir)),
        &|| Some(replicas()),
        &|| Some(watched()),
        &|| Some(cluster()),
        &|| Some(shards()),
        &|| Some(memcached()),
        &|| Some(ring()),
        &|| Some(with_login()),
        &|| Some(proxied()),
        &|| Some(linked()),
        &distant,
    ];
    thread::scope(|scope| {
        let started: Vec<_> = starts.iter().map(|start| scope.spawn(start)).collect();
        started.into_iter().filter_map(|started| started.join().expect("servers")).collect()
    })
}

fn url(alias: &str, url: &str) -> String {
    format!("[caches.{alias}]\nurl = \"{url}\"\n")
}

/// Nodes of which each makes its alias down.
fn vital(addrs: impl IntoIterator<Item = SocketAddr>, target: fn(Server) -> Target) -> Vec<(Target, Status)> {
    addrs.into_iter().map(|addr| (target(addr.into()), Status::Down)).collect()
}

fn plain(alias: &'static str, server: RedisServer) -> Topology {
    let [redis, other] = [(); 2].map(|()| Redis::start_of(server, &[]));
    Topology {
        alias,
        config: url(alias, &format!("redis://{}", redis.addr())),
        nodes: vital([redis.addr()], Target::Redis),
        faults: REDIS,
        servers: Box::new(Plain { server: Servers { servers: vec![redis], proxy: None }, other }),
    }
}

fn secure(dir: &Path) -> Topology {
    let authority = Authority::new();
    let redis = Redis::start_tls(&authority.issue(&["127.0.0.1"]), None);
    let [ca_file, password_file]: [PathBuf; 2] = ["ca.pem", "password"].map(|name| dir.join(name));
    let login = Login::new("application", "password-0");
    fs::write(&ca_file, authority.certificate()).expect("to write");
    fs::write(&password_file, login.password()).expect("to write");
    let server =
        Server { login: Some(login.clone()), tls: Some(trusting(&authority)), ..redis.addr().into() };
    let config = format!(
        "{}username = \"{}\"\npassword_file = \"{}\"\ntls = {{ ca_file = \"{}\" }}\n",
        url("secure", &format!("rediss://{}", redis.addr())),
        login.user,
        password_file.display(),
        ca_file.display()
    );
    let secure = Secure { redis, login, password_file, passwords: 0 };
    secure.let_in();
    Topology {
        alias: "secure",
        config,
        nodes: vec![(Target::Redis(server), Status::Down)],
        faults: &[(Kind::Kill, 1), (Kind::Stop, 1), (Kind::Fill, 1), (Kind::Rotate, 1), (Kind::Revoke, 1)],
        servers: Box::new(secure),
    }
}

fn trusting(authority: &Authority) -> Arc<TlsConnector> {
    let mut roots = RootCertStore::empty();
    let certificate = authority.certificate();
    roots.add(CertificateDer::from_pem_slice(certificate.as_bytes()).expect("PEM")).expect("an authority");
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().expect("versions");
    Arc::new(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()).into())
}

fn replicas() -> Topology {
    let primary = Redis::start(&[]);
    let link = Link::start(primary.addr());
    let replica_of = |port: u16| Redis::start(&["--replicaof", "127.0.0.1", &port.to_string()]);
    let servers = [replica_of(primary.port()), replica_of(link.port())];
    for replica in &servers {
        replica.catch_up_with(&primary);
    }
    let addrs = servers.each_ref().map(Redis::addr);
    let mut nodes = vital([primary.addr()], Target::Redis);
    let replica = |replica| (Target::Replica { primary: primary.addr(), replica }, Status::Degraded);
    nodes.extend(addrs.map(replica));
    let [one, two] = servers;
    Topology {
        alias: "replicas",
        config: format!(
            "{}replicas = [\"{}\", \"{}\"]\n",
            url("replicas", &format!("redis://{}", primary.addr())),
            addrs[0],
            addrs[1]
        ),
        nodes,
        faults: &[(Kind::Kill, 3), (Kind::Stop, 3), (Kind::Cut, 1), (Kind::Fill, 1)],
        servers: Box::new(Replicas { servers: [primary, one, two], link }),
    }
}

fn watched() -> Topology {
    let watched = Watched::start(DOWN_AFTER, &[]);
    let sentinels: Vec<_> = watched.sentinels.iter().map(Sentinel::addr).collect();
    Topology {
        alias: "watched",
        config: url("watched", &watched.url()),
        nodes: vec![
            (Target::Watched { sentinels: sentinels.clone(), known: Arc::default() }, Status::Down),
            (Target::Sentinels(sentinels), Status::Degraded),
        ],
        faults: &[(Kind::Kill, 1), (Kind::Stop, 1), (Kind::Failover, 3), (Kind::StopSentinels, 1)],
        servers: Box::new(WatchedServers { watched, broken: 0 }),
    }
}

fn cluster() -> Topology {
    let cluster = Cluster::start(&[]);
    let nodes: Vec<_> = cluster.nodes.iter().map(Redis::addr).collect();
    let slot = |slot| (Target::Slot { nodes: nodes.clone(), tag: tag_of(slot) }, Status::Down);
    Topology {
        alias: "cluster",
        config: url("cluster", &cluster.url()),
        nodes: SLOTS.map(slot).to_vec(),
        faults: &[(Kind::Kill, 3), (Kind::Stop, 3), (Kind::Failover, 3), (Kind::Reshard, 3)],
        servers: Box::new(Slots { cluster, pairs: [[0, 3], [1, 4], [2, 5]] }),
    }
}

fn shards() -> Topology {
    let servers = [(); 3].map(|()| Redis::start(&[]));
    let addrs = servers.each_ref().map(Redis::addr);
    let [one, two, three] = addrs.map(|addr| format!("\"redis://{addr}/0\""));
    Topology {
        alias: "shards",
        config: format!("[caches.shards]\ntopology = \"shards\"\nservers = [{one}, {two}, {three}]\n"),
        nodes: vital(addrs, Target::Redis),
        faults: &[
            (Kind::Kill, 3),
            (Kind::Restart, 3),
            (Kind::Stop, 3),
            (Kind::Fill, 3),
            (Kind::PauseWrites, 3),
        ],
        servers: Box::new(Servers { servers: servers.into(), proxy: None }),
    }
}

fn memcached() -> Topology {
    let server = Memcached::start(&["-M", "-m", "16"]);
    Topology {
        alias: "memcached",
        config: url("memcached", &format!("memcached://{}", server.addr())),
        nodes: vital([server.addr()], Target::Memcached),
        faults: &[(Kind::Kill, 1), (Kind::Restart, 1), (Kind::Stop, 1), (Kind::Fill, 1)],
        servers: Box::new(Servers { servers: vec![server], proxy: None }),
    }
}

fn ring() -> Topology {
    let servers = [(); 3].map(|()| Memcached::start(&[]));
    let addrs = servers.each_ref().map(Memcached::addr);
    Topology {
        alias: "ring",
        config: url("ring", &format!("memcached://{},{},{}", addrs[0], addrs[1], addrs[2])),
        nodes: vital(addrs, Target::Memcached),
        faults: &[(Kind::Kill, 3), (Kind::Restart, 3), (Kind::Stop, 3)],
        servers: Box::new(Servers { servers: servers.into(), proxy: None }),
    }
}

fn with_login() -> Topology {
    let server = Memcached::start_with_auth_file();
    let login = Some(Login::new(USER, PASSWORD));
    Topology {
        alias: "login",
        config: url("login", &format!("memcached://{USER}:{PASSWORD}@{}", server.addr())),
        nodes: vec![(Target::Memcached(Server { login, ..server.addr().into() }), Status::Down)],
        faults: &[(Kind::Kill, 1), (Kind::Restart, 1), (Kind::Stop, 1)],
        servers: Box::new(Servers { servers: vec![server], proxy: None }),
    }
}

/// twemproxy before HAProxy before a Redis.
fn proxied() -> Topology {
    let redis = Redis::start(&[]);
    let haproxy = Haproxy::before(redis.addr(), "");
    let twemproxy = Twemproxy::of_redis(&[haproxy.addr()], &["timeout: 400"]);
    Topology {
        alias: "proxied",
        config: url("proxied", &format!("redis://{}", twemproxy.addr())),
        nodes: vital([twemproxy.addr()], Target::Redis),
        faults: &[(Kind::Kill, 1), (Kind::Stop, 1), (Kind::Fill, 1), (Kind::PauseWrites, 1)],
        servers: Box::new(Servers { servers: vec![redis], proxy: Some(Box::new((twemproxy, haproxy))) }),
    }
}

fn linked() -> Topology {
    let redis = Redis::start(&[]);
    let link = Link::start(redis.addr());
    let addr = SocketAddr::from(([127, 0, 0, 1], link.port()));
    Topology {
        alias: "linked",
        config: url("linked", &format!("redis://{addr}")),
        nodes: vital([addr], Target::Redis),
        faults: &[(Kind::Cut, 1), (Kind::Delay, 1), (Kind::Kill, 1)],
        servers: Box::new(Linked { redis, link }),
    }
}

/// A Redis in a network namespace, which needs the rights to make one.
fn distant() -> Option<Topology> {
    let Some(namespace) = Namespace::open() else {
        println!("chaos: without a network namespace, no link is cut by losing packets");
        return None;
    };
    let redis = Redis::start_inside(&namespace);
    let addr = SocketAddr::from((namespace.inside(), redis.port()));
    Some(Topology {
        alias: "distant",
        config: url("distant", &format!("redis://{addr}")),
        nodes: vital([addr], Target::Redis),
        faults: &[(Kind::Cut, 1), (Kind::Kill, 1), (Kind::Stop, 1)],
        servers: Box::new(Distant { redis, namespace }),
    })
}
