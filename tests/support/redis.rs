//! A real Redis, and the states that it can be put into.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use super::net::{HeldConnections, Port};
use super::netns::Namespace;
use super::process::Process;
use super::resp::{Answer, Client};
use super::server::RedisServer;
use super::tls::{Authority, Identity};
use super::{MAX_WAIT, eventually};

/// The harness' own user, so that [`Redis::command`] works whatever a test does to the others.
const HARNESS: [&str; 6] = ["harness", "on", ">harness", "~*", "&*", "+@all"];

/// The argument before the port at which a server speaks TLS.
const TLS_PORT: &str = "--tls-port";

/// A Redis on a port of its own, without persistence, where anybody may do anything until a test says
/// otherwise.
#[derive(Debug)]
pub struct Redis {
    process: Process,
    port: Port,
    args: Vec<String>,
    /// The port on which a cluster's nodes talk to each other.
    cluster_bus: Option<Port>,
    /// The connection on which an endless script was begun.
    script: Option<Client<UnixStream>>,
}

impl Redis {
    /// Starts a server with these arguments after the harness' own, and waits until it answers.
    pub fn start(args: &[&str]) -> Self {
        let port = Port::reserve();
        let number = port.number().to_string();
        Self::start_on(port, None, &[&["--port", &number], args].concat())
    }

    /// The same, of this server's program, whichever that of the run is.
    pub fn start_of(server: RedisServer, args: &[&str]) -> Self {
        let port = Port::reserve();
        let number = port.number().to_string();
        let dir = tempfile::tempdir().expect("a directory");
        Self::start_program(server, &[], dir, port, None, &[&["--port", &number], args].concat())
    }

    /// The same in a network namespace; [`Self::port`] is a port of its address [`Namespace::inside`].
    pub fn start_inside(namespace: &Namespace) -> Self {
        let port = Port::reserve();
        let (host, number) = (namespace.inside().to_string(), port.number().to_string());
        let args = ["--bind", &host, "--port", &number, "--protected-mode", "no"];
        let dir = tempfile::tempdir().expect("a directory");
        Self::start_program(RedisServer::of_this_run(), &namespace.launcher(), dir, port, None, &args)
    }

    /// The same at this port.
    pub fn start_at(port: Port, args: &[&str]) -> Self {
        let (host, number) = (port.addr().ip().to_string(), port.number().to_string());
        Self::start_on(port, None, &[&["--bind", &host, "--port", &number], args].concat())
    }

    /// Starts a server that speaks TLS alone; given `clients`, it wants a certificate that this authority
    /// issued.
    pub fn start_tls(server: &Identity, clients: Option<&Authority>) -> Self {
        Self::start_tls_with(server, clients, &[])
    }

    /// The same, with these arguments.
    pub fn start_tls_with(server: &Identity, clients: Option<&Authority>, more: &[&str]) -> Self {
        let port = Port::reserve();
        let number = port.number().to_string();
        let files = tempfile::tempdir().expect("a directory");
        let file = |name: &str, pem: &str| {
            let path = files.path().join(name);
            fs::write(&path, pem).expect("a file");
            path.to_str().expect("a path in UTF-8").to_owned()
        };
        let certificate = file("certificate.pem", server.certificate());
        let key = file("key.pem", server.key());
        let mut args = vec!["--port", "0", TLS_PORT, &number, "--tls-cert-file", &certificate];
        args.extend(["--tls-key-file", &key]);
        let authority = clients.map(|authority| file("clients.pem", &authority.certificate()));
        match &authority {
            Some(authority) => args.extend(["--tls-auth-clients", "yes", "--tls-ca-cert-file", authority]),
            None => args.extend(["--tls-auth-clients", "no", "--tls-ca-cert-file", &certificate]),
        }
        args.extend(more);
        Self::start_in(files, port, None, &args)
    }

    /// Starts a cluster of one node that owns every slot.
    pub fn start_cluster() -> Self {
        // How long a node that was in the minority, as one without slots is, waits before it serves.
        let redis = Self::start_cluster_node(&["--cluster-node-timeout", "500"]);
        redis.regain_slots();
        redis
    }

    /// Starts a node for a cluster, that knows no other and owns no slots. With `--tls-cluster` among the
    /// arguments it speaks TLS alone.
    pub fn start_cluster_node(args: &[&str]) -> Self {
        let (port, bus) = (Port::reserve(), Port::reserve());
        let (number, bus_number) = (port.number().to_string(), bus.number().to_string());
        let listen = if args.contains(&"--tls-cluster") {
            vec!["--port", "0", TLS_PORT, &number]
        } else {
            vec!["--port", &number]
        };
        let own = ["--cluster-enabled", "yes", "--cluster-port", &bus_number];
        Self::start_on(port, Some(bus), &[&listen, &own[..], args].concat())
    }

    /// The port on which a cluster's nodes talk to each other.
    pub fn bus_port(&self) -> u16 {
        self.cluster_bus.as_ref().expect("a node of a cluster").number()
    }

    fn start_on(port: Port, cluster_bus: Option<Port>, args: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().expect("a directory"), port, cluster_bus, args)
    }

    fn start_in(dir: tempfile::TempDir, port: Port, cluster_bus: Option<Port>, args: &[&str]) -> Self {
        Self::start_program(RedisServer::able(args.contains(&TLS_PORT)), &[], dir, port, cluster_bus, args)
    }

    /// Starts the program of a server, behind the words of a launcher if there are any.
    fn start_program(
        server: RedisServer,
        launcher: &[&str],
        dir: tempfile::TempDir,
        port: Port,
        cluster_bus: Option<Port>,
        args: &[&str],
    ) -> Self {
        let own = "--bind 127.0.0.1 --appendonly no --unixsocket admin.sock --repl-diskless-sync-delay 0";
        let program = server.program();
        let (program, behind) = match launcher {
            [] => (program.as_str(), None),
            [launcher, ..] => (*launcher, Some(program.as_str())),
        };
        let mut all: Vec<&str> = launcher.iter().skip(1).copied().chain(behind).collect();
        all.extend(own.split(' ').chain(["--save", "", "--user"]).chain(HARNESS));
        all.extend(args);
        let args: Vec<String> = all.into_iter().map(str::to_owned).collect();
        let process = Process::spawn(program, &args, dir);
        let mut redis = Self { process, port, args, cluster_bus, script: None };
        redis.wait_until_it_answers();
        redis
    }

    /// The port's number.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// So many aliases of it, in TOML: `cache-0` and so on.
    pub fn aliases(&self, count: usize) -> String {
        let alias = |number| format!("[caches.cache-{number}]\nurl = \"redis://{}\"\n", self.addr());
        (0..count).map(alias).collect::<Vec<_>>().concat()
    }

    /// The address, `127.0.0.1` and the port.
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// The unix socket at which it listens as well.
    pub fn socket(&self) -> PathBuf {
        self.process.dir().join("admin.sock")
    }

    /// The process' id; another one after [`Self::restart`].
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Everything that the server logged.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Ends the server with SIGKILL. Its port refuses connections until [`Self::restart`].
    pub fn kill(&mut self) {
        self.script = None;
        self.process.kill();
    }

    /// Starts a killed server again on its port, with its arguments, and waits until it answers.
    pub fn restart(&mut self) {
        self.restart_with(&[]);
    }

    /// Gives a killed server that speaks TLS another certificate.
    pub fn install(&self, identity: &Identity) {
        for (name, pem) in [("certificate.pem", identity.certificate()), ("key.pem", identity.key())] {
            fs::write(self.process.dir().join(name), pem).expect("a file");
        }
    }

    fn restart_with(&mut self, args: &[&str]) {
        let args: Vec<String> =
            self.args.iter().cloned().chain(args.iter().map(|&arg| arg.to_owned())).collect();
        self.process.respawn(&args);
        self.wait_until_it_answers();
    }

    /// Stops the server with SIGSTOP: it takes connections and does not answer.
    pub fn stop(&self) {
        self.process.stop();
    }

    /// Lets a stopped server go on.
    pub fn cont(&self) {
        self.process.cont();
    }

    /// A connection as any client has it: as the default user, and not over TLS.
    pub fn client(&self) -> Client<TcpStream> {
        Client::connect(self.addr()).expect("a connection")
    }

    /// The answer to a command of the harness' own user, who may do anything; panics when it is an error.
    pub fn command(&self, command: &[&str]) -> String {
        self.try_command(command).unwrap_or_else(|error| panic!("{command:?} was answered with {error}"))
    }

    /// The same, where an error may be the answer.
    pub fn try_command(&self, command: &[&str]) -> Answer {
        ask_as_harness(self.process.dir(), command).expect("an answer")
    }

    /// The value of a field of INFO.
    pub fn info(&self, field: &str) -> String {
        let info = self.command(&["INFO", "everything"]);
        let value = info.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        value.unwrap_or_else(|| panic!("INFO has no field {field}")).trim().to_owned()
    }

    /// `true` if it says that it is a replica. Sentinels close its connections when they make it one.
    pub fn is_replica(&self) -> bool {
        let role = ask_as_harness(self.process.dir(), &["ROLE"]);
        role.is_ok_and(|answer| answer.is_ok_and(|role| role.starts_with("slave")))
    }

    /// Fills the memory, with no leave to evict: writes are refused with OOM until [`Self::make_room`].
    pub fn fill(&self) {
        self.command(&["CONFIG", "SET", "maxmemory-policy", "noeviction", "maxmemory", "1"]);
    }

    /// Ends [`Self::fill`].
    pub fn make_room(&self) {
        self.command(&["CONFIG", "SET", "maxmemory", "0"]);
    }

    /// Makes the server a replica with a link to `primary`: writes are refused with READONLY.
    pub fn become_replica_of(&self, primary: &Self) {
        self.command(&["REPLICAOF", "127.0.0.1", &primary.port().to_string()]);
        self.catch_up_with(primary);
    }

    /// Waits until this replica has everything that its primary has. That its link is up is not enough: after a
    /// full synchronisation the primary sends nothing before the replica acknowledges it, which may take a
    /// second.
    pub fn catch_up_with(&self, primary: &Self) {
        eventually("a replica has its link", || self.info("master_link_status") == "up");
        primary.command(&["INCR", "caught-up"]);
        let value = primary.command(&["GET", "caught-up"]);
        eventually("a replica catches up", || self.command(&["GET", "caught-up"]) == value);
    }

    /// Makes the server a replica whose primary is gone and which may not serve stale data: reads are refused
    /// with MASTERDOWN, writes with READONLY.
    pub fn become_orphan(&self) {
        // Nothing listens on port 1 of the loopback address, and no server of the tests ever gets it.
        self.command(&["CONFIG", "SET", "replica-serve-stale-data", "no"]);
        self.command(&["REPLICAOF", "127.0.0.1", "1"]);
    }

    /// Makes a replica a primary again.
    pub fn become_primary(&self) {
        self.command(&["REPLICAOF", "NO", "ONE"]);
    }

    /// Lets a snapshot fail: writes are refused with MISCONF until [`Self::repair_snapshots`].
    pub fn break_snapshots(&self) {
        // A file cannot be renamed over a directory, not even by root.
        fs::create_dir(self.process.dir().join("dump.rdb")).expect("a directory in the snapshot's place");
        // A failed snapshot matters only to a server that is told to make them; this one never will by
        // itself.
        self.command(&["CONFIG", "SET", "save", "1000000 1000000"]);
        self.command(&["BGSAVE"]);
        eventually("a snapshot fails", || self.info("rdb_last_bgsave_status") == "err");
    }

    /// Lets snapshots succeed again.
    pub fn repair_snapshots(&self) {
        fs::remove_dir(self.process.dir().join("dump.rdb")).expect("to remove the directory");
        self.command(&["BGSAVE"]);
        eventually("a snapshot succeeds", || self.info("rdb_last_bgsave_status") == "ok");
    }

    /// Wants a replica that is not there: writes are refused with NOREPLICAS until
    /// [`Self::want_no_replicas`].
    pub fn want_a_replica(&self) {
        self.command(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    }

    /// Ends [`Self::want_a_replica`].
    pub fn want_no_replicas(&self) {
        self.command(&["CONFIG", "SET", "min-replicas-to-write", "0"]);
    }

    /// Restarts the server with data that takes it 40 s to load: commands are refused with LOADING until
    /// [`Self::finish_loading`].
    pub fn restart_loading(&mut self) {
        let fill = "for i = 1, 2000 do redis.call('SET', 'loading:' .. i, string.rep(i, 300)) end";
        self.command(&["CONFIG", "SET", "rdbcompression", "no"]);
        self.command(&["EVAL", fill, "0"]);
        self.command(&["SAVE"]);
        self.kill();
        // 20 ms a key, and commands are looked at after every kilobyte.
        let slowly = "--key-load-delay 20000 --loading-process-events-interval-bytes 1024";
        self.restart_with(&slowly.split(' ').collect::<Vec<_>>());
        assert_eq!(self.info("loading"), "1", "the data was loaded at once");
    }

    /// Ends [`Self::restart_loading`].
    pub fn finish_loading(&self) {
        self.command(&["CONFIG", "SET", "key-load-delay", "0"]);
        eventually("the data is loaded", || self.info("loading") == "0");
    }

    /// Runs a script without end: commands are refused with BUSY until [`Self::kill_script`].
    pub fn run_endless_script(&mut self) {
        self.command(&["CONFIG", "SET", "lua-time-limit", "1"]);
        let mut client = connect_as_harness(self.process.dir()).expect("a connection");
        client.send(&["EVAL", "while true do end", "0"]).expect("to send");
        self.script = Some(client);
        let dir = self.process.dir();
        eventually(
            "a script makes the server busy",
            || matches!(ask_as_harness(dir, &["PING"]), Ok(Err(said)) if said.starts_with("BUSY")),
        );
    }

    /// Ends [`Self::run_endless_script`].
    pub fn kill_script(&mut self) {
        self.command(&["SCRIPT", "KILL"]);
        self.script = None;
        let dir = self.process.dir();
        eventually("a killed script ends", || matches!(ask_as_harness(dir, &["PING"]), Ok(Ok(_))));
    }

    /// Gives up every slot of [`Self::start_cluster`]: commands with a key are refused with CLUSTERDOWN.
    pub fn lose_slots(&self) {
        self.command(&["CLUSTER", "DELSLOTSRANGE", "0", "16383"]);
        eventually("a cluster fails", || self.command(&["CLUSTER", "INFO"]).contains("cluster_state:fail"));
    }

    /// Takes every slot again.
    pub fn regain_slots(&self) {
        self.command(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
        eventually("a cluster is whole", || self.command(&["CLUSTER", "INFO"]).contains("cluster_state:ok"));
    }

    /// Wants this password of the default user from now on; `""` wants none. Clients that are connected stay.
    pub fn require_password(&self, password: &str) {
        self.command(&["CONFIG", "SET", "requirepass", password]);
    }

    /// Makes a user by these rules of ACL SETUSER, such as `on >password ~canary:* +get`; an old one of that
    /// name is forgotten. Clients that are connected as this user stay.
    pub fn set_user(&self, name: &str, rules: &str) {
        self.command(
            &["ACL", "SETUSER", name, "reset"].into_iter().chain(rules.split(' ')).collect::<Vec<_>>(),
        );
    }

    /// Ends every client's connection.
    pub fn disconnect_clients(&self) {
        self.command(&["CLIENT", "KILL", "TYPE", "normal"]);
    }

    /// Holds as many connections as the server takes: further ones are turned away until the answer is
    /// dropped.
    pub fn reach_connection_limit(&self) -> HeldConnections {
        self.command(&["CONFIG", "SET", "maxclients", "8"]);
        HeldConnections::up_to_the_limit(self.addr(), |addr| {
            let mut client = Client::connect(addr).ok()?;
            // Without credentials a PING may be answered with an error too; only this one turns away.
            match client.try_ask(&["PING"]) {
                Ok(Err(said)) if said.contains("max number of clients") => None,
                Ok(_) => Some(client.into_stream()),
                Err(_) => None,
            }
        })
    }

    fn wait_until_it_answers(&mut self) {
        // The server opens its unix socket after its port, so that when the one answers, the other is there.
        let dir = self.process.dir().to_owned();
        self.process.wait_until(|| ask_as_harness(&dir, &["PING"]).is_ok());
    }
}

/// Asks over the unix socket, which needs neither a free TCP connection's TLS nor the default user's rights.
fn ask_as_harness(dir: &Path, command: &[&str]) -> std::io::Result<Answer> {
    connect_as_harness(dir)?.try_ask(command)
}

fn connect_as_harness(dir: &Path) -> std::io::Result<Client<UnixStream>> {
    let stream = UnixStream::connect(dir.join("admin.sock"))?;
    stream.set_read_timeout(Some(MAX_WAIT))?;
    let mut client = Client::over(stream);
    match client.try_ask(&["AUTH", "harness", "harness"])? {
        Ok(_) => Ok(client),
        // If AUTH is renamed, the default user will do.
        Err(said) if said.contains("unknown command") => Ok(client),
        Err(said) => Err(std::io::Error::other(said)),
    }
}
