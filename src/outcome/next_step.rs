//! [`Wire`]: how an alias' nodes are spoken to and found; and the command that an operator runs next for a faulty one.

use super::{Cause, Fault, NodeOutcome, Phase, Role, advice};

/// The protocol of an alias' servers, as far as a command has to know it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wire {
    /// The protocol.
    pub protocol: Protocol,
    /// `true` if it is spoken over TLS.
    pub tls: bool,
    /// `true` if a password is sent.
    pub login: bool,
    /// `true` if a user is named with it. The name is no part of a command: it may be as secret as the password.
    pub user: bool,
    /// The source of the login.
    pub login_source: LoginSource,
    /// The source of the servers' addresses.
    pub source: AddressSource,
}

/// The source of the login at an alias' nodes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum LoginSource {
    /// The configuration.
    #[default]
    Configuration,
    /// An object of the application's own, which the sidecar cannot ask.
    Application,
}

/// The source of the addresses of an alias' nodes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AddressSource {
    /// The configuration.
    #[default]
    Configuration,
    /// A map of a cluster, beside the seeds in the configuration.
    Cluster,
    /// Sentinels, which are in the configuration themselves.
    Sentinels,
    /// The primary, which is in the configuration and names its replicas.
    Primary,
}

impl Wire {
    /// The source of the address of a node with this role.
    pub(super) fn source_for(self, role: Role) -> AddressSource {
        match (self.source, role) {
            (AddressSource::Primary, Role::Server) | (_, Role::Sentinel | Role::Endpoint) => {
                AddressSource::Configuration
            }
            (source, Role::Server | Role::Replica) => source,
        }
    }
}

/// The protocol of a server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Protocol {
    /// Redis' protocol, RESP.
    #[default]
    Redis,
    /// One of memcached's.
    Memcached,
}

/// Where a node listens.
#[derive(Debug, Clone, Copy)]
enum Place<'a> {
    Tcp { host: &'a str, port: u16 },
    Socket(&'a str),
}

/// The command for this fault of a node, unless none helps. The name of a node may come from another server, so there is
/// no command for a name with a character that a shell could act on.
pub(crate) fn next_step(node: &NodeOutcome, fault: &Fault, wire: Wire) -> Option<String> {
    if fault.is_own {
        return None;
    }
    if &*node.node == "cluster" && wire.source == AddressSource::Cluster {
        return redis_cli("-h NODE -p PORT", wire, node.role, "CLUSTER NODES");
    }
    let place = Place::parse(&node.node)?;
    let redis = |command: &str| redis_cli(&place.for_redis_cli(), wire, node.role, command);
    let is = |hint| fault.advice == Some(hint);
    match (fault.cause, fault.phase) {
        _ if is(advice::UNKNOWN_COMMAND) => redis(&about_unknown(&fault.said)),
        _ if is(advice::NO_SENTINEL) => redis("INFO server"),
        _ if is(advice::IS_SENTINEL) => redis("SENTINEL MASTERS"),
        _ if is(advice::PROTECTED_MODE) => redis("PING"),
        _ if is(advice::IS_REDIS) => redis_cli(&place.for_redis_cli(), Wire::default(), node.role, "PING"),
        _ if is(advice::IS_MEMCACHED) => memcached(place, Wire::default(), "version"),
        // The words tell all, or the proxy would answer in the place of its servers.
        _ if is(advice::OTHER_SERVER) || is(advice::PROXY_DATABASE) => None,
        (Cause::WriteBlocked, _) => redis(about_block(&fault.said)),
        _ if is(advice::CLOSED_WITHOUT_ANSWER) && !wire.tls => {
            redis("PING").or_else(|| memcached(place, wire, "version"))
        }
        // The name that Sentinels do not know.
        (Cause::Unresolvable, Phase::Auth | Phase::Write | Phase::Read) | (Cause::Conflict, _) => {
            redis("SENTINEL MASTERS")
        }
        (Cause::Unresolvable, _) | (Cause::TimedOut, Phase::Resolve) => place.look_up(),
        (Cause::Refused | Cause::Unreachable | Cause::TimedOut, Phase::Connect) => Some(place.reach()),
        // The server or proxy itself was reached.
        (Cause::Refused, _) => redis("INFO clients").or_else(|| memcached(place, wire, "stats")),
        (Cause::Tls, _) | (Cause::TimedOut, Phase::Tls) => place.certificate(),
        (Cause::Protocol, _) if wire.tls => place.certificate(),
        (Cause::Auth | Cause::Forbidden, _) => {
            redis("ACL WHOAMI").or_else(|| memcached(place, Wire { login: false, ..wire }, "version"))
        }
        (Cause::ReadOnly | Cause::PrimaryDown | Cause::Behind, _) => redis("INFO replication"),
        (Cause::Loading, _) => redis("INFO persistence"),
        (Cause::Database, _) => redis("CONFIG GET databases"),
        (Cause::ClusterDown, _) => redis("CLUSTER INFO"),
        (Cause::Redirected, _) => redis("CLUSTER NODES"),
        (Cause::TimedOut, Phase::Auth | Phase::Write | Phase::Read) => redis("SLOWLOG GET 5")
            .map(|command| format!("timeout 5 {command}"))
            .or_else(|| memcached(place, wire, "stats")),
        (Cause::OutOfMemory | Cause::NotStored, _) => {
            redis("INFO memory").or_else(|| memcached(place, wire, "stats"))
        }
        (Cause::Masked | Cause::Stale | Cause::Foreign | Cause::Corrupt, _) => {
            redis("INFO stats").or_else(|| memcached(place, wire, "stats"))
        }
        (Cause::Protocol, _) => redis("PING").or_else(|| memcached(place, wire, "version")),
        // A proxy answers PING by itself, and a key shows what is behind it.
        (Cause::Unreachable, _) => {
            redis("GET cache-canary").or_else(|| memcached(place, wire, "get cache-canary"))
        }
        // Findings name a key, or a node in their text alone.
        (
            Cause::Slow
            | Cause::SplitView
            | Cause::InvisibleWrite
            | Cause::InvisibleDelete
            | Cause::TooLong
            | Cause::TooOld
            | Cause::FailedEntries
            | Cause::LostEntries
            | Cause::MissingKey
            | Cause::Skewed
            | Cause::Locked
            | Cause::WrongType
            | Cause::ClockAhead
            | Cause::ClockBehind
            | Cause::ClockLag
            | Cause::ClockSkew
            | Cause::Drought
            | Cause::Standstill
            | Cause::ClockBackwards
            | Cause::LowHitRatio
            | Cause::Evicting
            | Cause::MemoryHigh
            | Cause::ConnectionsHigh
            | Cause::Immortal
            | Cause::Expiring
            | Cause::WrongCache
            | Cause::Lost
            | Cause::Unfit,
            _,
        ) => None,
    }
}

/// The question whether the server has the command that it does not know, or what it is if its words do not name one.
fn about_unknown(said: &str) -> String {
    let name = said.split(['\'', '`']).nth(1).filter(|name| is_plain(name, "|"));
    name.map_or_else(|| "INFO server".to_owned(), |name| format!("COMMAND INFO {name}"))
}

/// The question that shows why writes are blocked: by a script, by missing replicas, by a failover, or by a failed snapshot.
fn about_block(said: &str) -> &'static str {
    match said.split(' ').next() {
        Some("BUSY") if said.contains("FUNCTION KILL") => "FUNCTION KILL",
        Some("BUSY") => "SCRIPT KILL",
        Some("NOREPLICAS") => "INFO replication",
        Some("INPROG") => "SENTINEL MASTERS",
        _ => "INFO persistence",
    }
}

fn redis_cli(place: &str, wire: Wire, role: Role, command: &str) -> Option<String> {
    if wire.protocol != Protocol::Redis {
        return None;
    }
    let tls = if wire.tls { " --tls" } else { "" };
    // Sentinels have a password of their own.
    let login = match (wire.login, wire.user) {
        _ if role == Role::Sentinel => "",
        (true, true) => " --user USER --askpass",
        (true, false) => " --askpass",
        (false, _) => "",
    };
    Some(format!("redis-cli {place}{tls}{login} {command}"))
}

/// A command of memcached's text protocol, which no login is sent before.
fn memcached(place: Place<'_>, wire: Wire, command: &str) -> Option<String> {
    if wire.login {
        return None;
    }
    let client = match place {
        _ if wire.tls => place.s_client(" -quiet")?,
        Place::Tcp { host, port } => format!("nc -w 2 {host} {port}"),
        Place::Socket(path) => format!("nc -w 2 -U {path}"),
    };
    Some(format!("printf '{command}\\r\\nquit\\r\\n' | {client}"))
}

impl<'a> Place<'a> {
    fn parse(name: &'a str) -> Option<Self> {
        if let Some(path) = name.strip_prefix("unix:") {
            return (path.starts_with('/') && is_plain(path, "/._-")).then_some(Self::Socket(path));
        }
        let (host, port) = name.rsplit_once(':')?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        // Behind the address of a shard may stand its database.
        let port = port.split('/').next()?.parse().ok()?;
        let is_host = !host.starts_with('-') && is_plain(host, ".:_-");
        is_host.then_some(Self::Tcp { host, port })
    }

    fn for_redis_cli(self) -> String {
        match self {
            Self::Tcp { host, port } => format!("-h {host} -p {port}"),
            Self::Socket(path) => format!("-s {path}"),
        }
    }

    fn look_up(self) -> Option<String> {
        match self {
            Self::Tcp { host, .. } => service(host).map_or_else(
                || Some(format!("getent ahosts {host}")),
                |(name, namespace)| Some(format!("kubectl get service {name} --namespace {namespace}")),
            ),
            Self::Socket(_) => None,
        }
    }

    fn reach(self) -> String {
        match self {
            Self::Tcp { host, port } => match service(host) {
                Some((name, namespace)) => format!("kubectl get endpoints {name} --namespace {namespace}"),
                None => format!("nc -vz -w 2 {host} {port}"),
            },
            Self::Socket(path) => format!("ls -l {path}"),
        }
    }

    fn certificate(self) -> Option<String> {
        self.s_client("").map(|client| format!("{client} </dev/null"))
    }

    fn s_client(self, option: &str) -> Option<String> {
        match self {
            Self::Tcp { host, port } => {
                let (at, name) = if host.contains(':') {
                    (format!("[{host}]:{port}"), String::new())
                } else {
                    (format!("{host}:{port}"), format!(" -servername {host}"))
                };
                Some(format!("openssl s_client{option} -connect {at}{name}"))
            }
            Self::Socket(_) => None,
        }
    }
}

/// The service and the namespace of a full name in Kubernetes: `redis.shop.svc`, or with the pod before it and the cluster's
/// domain after it (Kubernetes, "DNS for Services and Pods").
fn service(host: &str) -> Option<(&str, &str)> {
    let labels: Vec<_> = host.split('.').collect();
    let svc = labels.iter().position(|label| *label == "svc")?;
    let [name, namespace] = labels.get(svc.checked_sub(2)?..svc)? else { return None };
    Some((name, namespace))
}

/// `true` if the text is of letters, digits and these marks alone.
fn is_plain(text: &str, marks: &str) -> bool {
    !text.is_empty() && text.chars().all(|char| char.is_ascii_alphanumeric() || marks.contains(char))
}

#[cfg(test)]
mod tests {
    use super::{AddressSource, LoginSource, Protocol, Wire, next_step};
    use crate::outcome::{Cause, Fault, NodeOutcome, Phase, Phases, Role, advice};

    const REDIS: Wire = Wire {
        protocol: Protocol::Redis,
        tls: false,
        login: false,
        user: false,
        login_source: LoginSource::Configuration,
        source: AddressSource::Configuration,
    };
    const MEMCACHED: Wire = Wire { protocol: Protocol::Memcached, ..REDIS };

    fn step(node: &str, cause: Cause, phase: Phase, wire: Wire) -> Option<String> {
        let fault = Fault::new(cause, phase, "");
        next_step(&NodeOutcome::server(node, Phases::default(), Some(fault.clone())), &fault, wire)
    }

    #[track_caller]
    fn expect(expected: &str, node: &str, cause: Cause, phase: Phase, wire: Wire) {
        assert_eq!(step(node, cause, phase, wire).as_deref(), Some(expected));
    }

    #[test]
    fn the_command_goes_by_cause_phase_and_kind_of_node() {
        let (full, asked) = (Wire { tls: true, ..REDIS }, Wire { login: true, ..REDIS });
        expect("getent ahosts cache", "cache:6379", Cause::Unresolvable, Phase::Resolve, REDIS);
        expect("nc -vz -w 2 cache 6379", "cache:6379", Cause::Refused, Phase::Connect, REDIS);
        expect("nc -vz -w 2 cache 6379", "cache:6379/1", Cause::Refused, Phase::Connect, REDIS);
        expect("nc -vz -w 2 ::1 6379", "[::1]:6379", Cause::TimedOut, Phase::Connect, REDIS);
        expect(
            "timeout 5 redis-cli -h cache -p 6379 SLOWLOG GET 5",
            "cache:6379",
            Cause::TimedOut,
            Phase::Write,
            REDIS,
        );
        let stats = "printf 'stats\\r\\nquit\\r\\n' | nc -w 2 mc-1 11211";
        expect(stats, "mc-1:11211", Cause::TimedOut, Phase::Write, MEMCACHED);
        let named = Wire { user: true, ..asked };
        expect(
            "redis-cli -h cache -p 6379 --user USER --askpass ACL WHOAMI",
            "cache:6379",
            Cause::Auth,
            Phase::Auth,
            named,
        );
        expect(
            "redis-cli -h cache -p 6379 --askpass ACL WHOAMI",
            "cache:6379",
            Cause::Auth,
            Phase::Auth,
            asked,
        );
        expect(
            "redis-cli -h cache -p 6379 --tls INFO memory",
            "cache:6379",
            Cause::OutOfMemory,
            Phase::Write,
            full,
        );
        let certificate = "openssl s_client -connect cache:6379 -servername cache </dev/null";
        expect(certificate, "cache:6379", Cause::Tls, Phase::Tls, full);
        let by_address = "openssl s_client -connect [::1]:6379 </dev/null";
        expect(by_address, "[::1]:6379", Cause::Tls, Phase::Tls, full);
    }

    #[test]
    fn a_blocked_write_and_a_proxy_without_its_servers_have_the_command_that_tells_more() {
        let said = |wire, (cause, said): (Cause, &str)| {
            let fault = Fault::new(cause, Phase::Write, said);
            next_step(&NodeOutcome::server("cache:1", Phases::default(), Some(fault.clone())), &fault, wire)
        };
        for (words, command) in [
            ("MISCONF Redis is configured to save RDB snapshots", "INFO persistence"),
            ("NOREPLICAS Not enough good replicas to write.", "INFO replication"),
            ("BUSY Redis is busy running a script. You can only call SCRIPT KILL", "SCRIPT KILL"),
            ("BUSY Redis is busy running a script. You can only call FUNCTION KILL", "FUNCTION KILL"),
            ("INPROG Failover already in progress", "SENTINEL MASTERS"),
        ] {
            let next = said(REDIS, (Cause::WriteBlocked, words));
            assert_eq!(next, Some(format!("redis-cli -h cache -p 1 {command}")));
        }
        let unreachable = (Cause::Unreachable, "upstream failure");
        assert_eq!(said(REDIS, unreachable).as_deref(), Some("redis-cli -h cache -p 1 GET cache-canary"));
        let get = "printf 'get cache-canary\\r\\nquit\\r\\n' | nc -w 2 cache 1";
        assert_eq!(said(MEMCACHED, unreachable).as_deref(), Some(get));
        let cluster = Wire { source: AddressSource::Cluster, ..REDIS };
        let next = step("cluster", Cause::ClusterDown, Phase::Write, cluster);
        assert_eq!(next.as_deref(), Some("redis-cli -h NODE -p PORT CLUSTER NODES"));
    }

    #[test]
    fn each_cause_has_a_question_for_a_redis_and_perhaps_one_for_a_memcached() {
        use Cause::{
            Auth, Behind, ClusterDown, Conflict, Corrupt, Database, Forbidden, Foreign, Loading, Masked,
            NotStored, OutOfMemory, PrimaryDown, Protocol, ReadOnly, Redirected, Refused, Stale, Unreachable,
            Unresolvable,
        };
        for (cause, redis, memcached) in [
            (Unresolvable, "SENTINEL MASTERS", None),
            (Conflict, "SENTINEL MASTERS", None),
            (Refused, "INFO clients", Some("stats")),
            (Auth, "ACL WHOAMI", Some("version")),
            (Forbidden, "ACL WHOAMI", Some("version")),
            (ReadOnly, "INFO replication", None),
            (PrimaryDown, "INFO replication", None),
            (Behind, "INFO replication", None),
            (Loading, "INFO persistence", None),
            (Database, "CONFIG GET databases", None),
            (ClusterDown, "CLUSTER INFO", None),
            (Redirected, "CLUSTER NODES", None),
            (OutOfMemory, "INFO memory", Some("stats")),
            (NotStored, "INFO memory", Some("stats")),
            (Masked, "INFO stats", Some("stats")),
            (Stale, "INFO stats", Some("stats")),
            (Foreign, "INFO stats", Some("stats")),
            (Corrupt, "INFO stats", Some("stats")),
            (Protocol, "PING", Some("version")),
            (Unreachable, "GET cache-canary", Some("get cache-canary")),
        ] {
            for phase in [Phase::Auth, Phase::Write, Phase::Read] {
                let expected = format!("redis-cli -h cache -p 1 {redis}");
                assert_eq!(step("cache:1", cause, phase, REDIS), Some(expected), "{cause} in {phase}");
                let expected =
                    memcached.map(|command| format!("printf '{command}\\r\\nquit\\r\\n' | nc -w 2 cache 1"));
                assert_eq!(step("cache:1", cause, phase, MEMCACHED), expected, "{cause} in {phase}");
            }
        }
    }

    #[test]
    fn advice_has_a_question_of_its_own() {
        let advised = |advice, said, wire| {
            let fault = Fault::new(Cause::Unreachable, Phase::Write, said).with_advice(advice);
            next_step(&NodeOutcome::server("cache:1", Phases::default(), Some(fault.clone())), &fault, wire)
        };
        let (full, asked) = (Wire { tls: true, ..REDIS }, Wire { login: true, ..MEMCACHED });
        let version = "printf 'version\\r\\nquit\\r\\n' | nc -w 2 cache 1";
        for (advice, said, wire, expected) in [
            (
                advice::UNKNOWN_COMMAND,
                "ERR unknown command 'CONFIG|GET'",
                REDIS,
                "redis-cli -h cache -p 1 COMMAND INFO CONFIG|GET",
            ),
            (
                advice::UNKNOWN_COMMAND,
                "ERR unknown command `$(reboot)`",
                REDIS,
                "redis-cli -h cache -p 1 INFO server",
            ),
            (advice::UNKNOWN_COMMAND, "ERR unknown command", REDIS, "redis-cli -h cache -p 1 INFO server"),
            (advice::NO_SENTINEL, "", REDIS, "redis-cli -h cache -p 1 INFO server"),
            (advice::IS_SENTINEL, "", REDIS, "redis-cli -h cache -p 1 SENTINEL MASTERS"),
            (advice::PROTECTED_MODE, "", REDIS, "redis-cli -h cache -p 1 PING"),
            (advice::IS_REDIS, "", asked, "redis-cli -h cache -p 1 PING"),
            (advice::IS_MEMCACHED, "", Wire { login: true, ..full }, version),
            (advice::CLOSED_WITHOUT_ANSWER, "", REDIS, "redis-cli -h cache -p 1 PING"),
            (advice::CLOSED_WITHOUT_ANSWER, "", MEMCACHED, version),
            (advice::CLOSED_WITHOUT_ANSWER, "", full, "redis-cli -h cache -p 1 --tls GET cache-canary"),
        ] {
            assert_eq!(advised(advice, said, wire).as_deref(), Some(expected), "{advice}");
        }
        for advice in [advice::OTHER_SERVER, advice::PROXY_DATABASE] {
            assert_eq!(advised(advice, "", REDIS), None, "{advice}");
        }
    }

    #[test]
    fn a_fault_of_tls_or_over_it_has_the_certificate_for_its_question() {
        let full = Wire { tls: true, ..REDIS };
        let certificate = "openssl s_client -connect cache:1 -servername cache </dev/null";
        for (cause, phase) in
            [(Cause::Tls, Phase::Tls), (Cause::TimedOut, Phase::Tls), (Cause::Protocol, Phase::Read)]
        {
            expect(certificate, "cache:1", cause, phase, full);
        }
        assert_eq!(step("unix:/run/redis.sock", Cause::Tls, Phase::Tls, full), None);
        assert_eq!(
            step("unix:/run/mc.sock", Cause::Masked, Phase::Read, Wire { tls: true, ..MEMCACHED }),
            None
        );
    }

    #[test]
    fn a_name_that_does_not_resolve_is_looked_up_unless_it_is_a_file() {
        expect("getent ahosts cache", "cache:1", Cause::TimedOut, Phase::Resolve, REDIS);
        assert_eq!(step("unix:/run/redis.sock", Cause::Unresolvable, Phase::Resolve, REDIS), None);
    }

    #[test]
    fn a_finding_is_no_fault_of_a_node_and_has_no_command() {
        assert_eq!(step("cache:1", Cause::Slow, Phase::Read, REDIS), None);
        assert_eq!(step("cache:1", Cause::Unfit, Phase::Read, REDIS), None);
    }

    #[test]
    fn a_service_of_kubernetes_is_asked_for_its_endpoints() {
        let node = "redis-master-0.redis-headless.shop.svc.cluster.local:6379";
        let endpoints = "kubectl get endpoints redis-headless --namespace shop";
        expect(endpoints, node, Cause::Refused, Phase::Connect, REDIS);
        expect(endpoints, "redis-headless.shop.svc:6379", Cause::TimedOut, Phase::Connect, REDIS);
        let service = "kubectl get service redis-headless --namespace shop";
        expect(service, node, Cause::Unresolvable, Phase::Resolve, REDIS);
    }

    #[test]
    fn a_socket_is_a_file() {
        expect("ls -l /run/redis.sock", "unix:/run/redis.sock", Cause::Refused, Phase::Connect, REDIS);
        let info = "redis-cli -s /run/redis.sock INFO replication";
        expect(info, "unix:/run/redis.sock", Cause::ReadOnly, Phase::Write, REDIS);
        let stats = "printf 'stats\\r\\nquit\\r\\n' | nc -w 2 -U /run/mc.sock";
        expect(stats, "unix:/run/mc.sock", Cause::Masked, Phase::Read, MEMCACHED);
    }

    #[test]
    fn a_name_that_a_shell_could_act_on_gets_no_command() {
        for name in [
            "$(reboot):1",
            "a;b:1",
            "a b:1",
            "-oProxy:1",
            "`id`:1",
            "cluster",
            "unix:/run/a b",
            "unix:run/a",
            "a:99999",
        ] {
            assert_eq!(step(name, Cause::Refused, Phase::Connect, REDIS), None, "{name}");
        }
    }

    #[test]
    fn a_lack_of_the_sidecars_own_gets_no_command_and_a_memcached_with_a_login_only_its_version() {
        let fault = Fault::new(Cause::Unreachable, Phase::Connect, "").of_our_own();
        let node = NodeOutcome::server("cache:6379", Phases::default(), Some(fault.clone()));
        assert_eq!(next_step(&node, &fault, REDIS), None);
        let asked = Wire { login: true, ..MEMCACHED };
        let version = "printf 'version\\r\\nquit\\r\\n' | nc -w 2 mc-1 11211";
        expect(version, "mc-1:11211", Cause::Auth, Phase::Auth, asked);
        assert_eq!(step("mc-1:11211", Cause::TimedOut, Phase::Read, asked), None);
        let over_tls =
            "printf 'version\\r\\nquit\\r\\n' | openssl s_client -quiet -connect mc-1:11211 -servername mc-1";
        expect(over_tls, "mc-1:11211", Cause::Auth, Phase::Auth, Wire { tls: true, ..asked });
    }

    #[test]
    fn a_sentinel_is_asked_without_the_password_of_the_servers() {
        let fault = Fault::new(Cause::Auth, Phase::Auth, "");
        let mut node = NodeOutcome::server("sentinel:26379", Phases::default(), Some(fault.clone()));
        node.role = Role::Sentinel;
        let step = next_step(&node, &fault, Wire { login: true, ..REDIS });
        assert_eq!(step.as_deref(), Some("redis-cli -h sentinel -p 26379 ACL WHOAMI"));
    }
}
