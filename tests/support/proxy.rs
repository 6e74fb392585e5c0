//! Real proxies in front of real servers.

use std::fmt::Write as _;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use super::net::Port;
use super::process::Process;

/// A twemproxy (`nutcracker`), which spreads keys over a ring of servers.
#[derive(Debug)]
pub struct Twemproxy {
    _process: Process,
    port: Port,
    _stats: Port,
}

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

fn started(program: &'static str, args: &[&str], dir: tempfile::TempDir, addr: SocketAddr) -> Process {
    let args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
    let mut process = Process::spawn(program, &args, dir);
    process.wait_until(|| TcpStream::connect(addr).is_ok());
    process
}
