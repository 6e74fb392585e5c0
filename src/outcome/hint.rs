//! The hint for the fault of a node, by what the node is.

use super::next_step::{AddressSource, LoginSource, Protocol};
use super::{Cause, Fault, NodeOutcome, Phase, Wire, advice};

const SOCKET: &str = "The unix socket cannot be opened: check that the server runs and listens on this path, that the sidecar's user may \
                      read and write the file, and that a container mounts its directory.";
const SILENT_SOCKET: &str = "The server behind the unix socket did not answer in time: check whether its process hangs or is stopped, is overloaded, or is at \
                             its connection limit; the kernel accepts connections in its place.";
const OTHER_SOCKET: &str = "The answer over the unix socket is none of a healthy cache of this kind: check which program listens on this path \
                            (`ss -xlp`), and whether the URL is for the right kind of cache.";
const MEMCACHED: &str = "The memcached did not answer in time: check whether it hangs, is overloaded, or is at its connection limit (`-c`), where \
                         with `-o no_maxconns_fast` new clients wait; in phase connect, also whether a firewall drops packets.";
const CLUSTER: &str = "A node of the cluster cannot be reached: check that it runs; if the cluster announces an address that the sidecar \
                       cannot reach, set `cluster-announce-ip` at the node, or `announce = \"seed-host\"` here.";
const SENTINELS: &str = "A server that the Sentinels name cannot be reached: check that it runs; if they name an address that the sidecar \
                         cannot reach, set `replica-announce-ip` at the server.";
const PRIMARY: &str = "A replica that the primary names cannot be reached: check that it runs; if the sidecar cannot reach the address, \
                       set `replica-announce-ip` at the replica.";
const CERTIFICATE: &str = "The TLS handshake with a server whose address another server names failed: check the certificate's dates, name \
                           and issuer; if it is issued for another name than that address, set `tls.server_name`.";

const PROVIDER: &str = "The application asks its `credential_provider` for the login, which cache-canary cannot: set `username` and \
                        `password_file` or `password_command` for this cache in the config file.";

/// One sentence that tells the operator where to look.
pub(crate) fn hint(node: &NodeOutcome, fault: &Fault, wire: Wire) -> &'static str {
    if wire.login_source == LoginSource::Application && fault.cause == Cause::Auth {
        return PROVIDER;
    }
    of_place(node, fault, wire).unwrap_or_else(|| fault.hint())
}

/// The hint for a fault that the node's address may explain: a unix socket, or an address from another server.
fn of_place(node: &NodeOutcome, fault: &Fault, wire: Wire) -> Option<&'static str> {
    let not_reached = matches!(
        (fault.cause, fault.phase),
        (Cause::Refused | Cause::TimedOut | Cause::Unreachable, Phase::Connect)
            | (Cause::Unresolvable, Phase::Resolve)
    );
    let source = wire.source_for(node.role);
    match source {
        _ if fault.is_own => None,
        _ if node.node.starts_with("unix:") => of_socket(fault, not_reached),
        _ if fault.cause == Cause::TimedOut && wire.protocol == Protocol::Memcached => {
            (fault.phase != Phase::Resolve).then_some(MEMCACHED)
        }
        AddressSource::Configuration => None,
        _ if fault.cause == Cause::Tls => {
            fault.advice.is_none_or(|hint| hint == advice::SERVER_NAME).then_some(CERTIFICATE)
        }
        _ if !not_reached => None,
        AddressSource::Cluster => Some(CLUSTER),
        AddressSource::Sentinels => fault.advice.is_none().then_some(SENTINELS),
        AddressSource::Primary => Some(PRIMARY),
    }
}

/// The hint for a fault of a server behind a unix socket, which has no port, no TLS and no firewall.
fn of_socket(fault: &Fault, not_reached: bool) -> Option<&'static str> {
    match fault.cause {
        Cause::TimedOut => Some(SILENT_SOCKET),
        Cause::Protocol => Some(OTHER_SOCKET),
        Cause::Unreachable if fault.advice == Some(advice::CLOSED_WITHOUT_ANSWER) => Some(OTHER_SOCKET),
        _ => not_reached.then_some(SOCKET),
    }
}

#[cfg(test)]
mod tests {
    use super::{
        CERTIFICATE, CLUSTER, MEMCACHED, OTHER_SOCKET, PRIMARY, PROVIDER, SENTINELS, SILENT_SOCKET, SOCKET,
        hint,
    };
    use crate::outcome::{
        AddressSource, Cause, Fault, LoginSource, NodeOutcome, Phase, Phases, Protocol, Role, Wire, advice,
    };

    fn of(name: &str, role: Role, (cause, phase): (Cause, Phase), source: AddressSource) -> &'static str {
        let fault = Fault::new(cause, phase, "");
        let node = NodeOutcome { role, ..NodeOutcome::server(name, Phases::default(), Some(fault.clone())) };
        hint(&node, &fault, Wire { source, ..Wire::default() })
    }

    const REFUSED: (Cause, Phase) = (Cause::Refused, Phase::Connect);
    const TLS: (Cause, Phase) = (Cause::Tls, Phase::Tls);
    const READ_ONLY: (Cause, Phase) = (Cause::ReadOnly, Phase::Write);

    #[test]
    fn an_address_that_another_server_names_may_be_the_fault() {
        use AddressSource::{Cluster, Configuration, Primary, Sentinels};
        let server = |fault, source| of("cache:6379", Role::Server, fault, source);
        assert_eq!(server(REFUSED, Configuration), Cause::Refused.hint());
        assert_eq!(server(REFUSED, Cluster), CLUSTER);
        assert_eq!(server(REFUSED, Sentinels), SENTINELS);
        assert_eq!(server(REFUSED, Primary), Cause::Refused.hint(), "the primary itself is configured");
        assert_eq!(of("cache:6379", Role::Replica, REFUSED, Primary), PRIMARY);
        assert_eq!(of("cache:26379", Role::Sentinel, REFUSED, Sentinels), Cause::Refused.hint());
        assert_eq!((server(TLS, Cluster), server(TLS, Configuration)), (CERTIFICATE, Cause::Tls.hint()));
        assert_eq!(server(READ_ONLY, Cluster), Cause::ReadOnly.hint());
        assert_eq!(server((Cause::TimedOut, Phase::Write), Cluster), Cause::TimedOut.hint());
    }

    #[test]
    fn a_socket_has_words_of_its_own() {
        let socket = |fault| of("unix:/run/redis.sock", Role::Server, fault, AddressSource::Configuration);
        assert_eq!(socket(REFUSED), SOCKET);
        assert_eq!(socket((Cause::Unreachable, Phase::Connect)), SOCKET);
        assert_eq!(socket(READ_ONLY), Cause::ReadOnly.hint());
        for phase in [Phase::Connect, Phase::Auth, Phase::Write, Phase::Read] {
            assert_eq!(socket((Cause::TimedOut, phase)), SILENT_SOCKET);
            assert_eq!(socket((Cause::Protocol, phase)), OTHER_SOCKET);
        }
        for words in [SOCKET, SILENT_SOCKET, OTHER_SOCKET] {
            assert!(["port", "TLS", "firewall"].iter().all(|word| !words.contains(word)), "{words}");
        }
    }

    #[test]
    fn a_failed_login_of_the_applications_own_object_has_words_of_its_own() {
        let said = |cause, login_source| {
            let fault = Fault::new(cause, Phase::Auth, "");
            let node = NodeOutcome::server("cache:6379", Phases::default(), Some(fault.clone()));
            hint(&node, &fault, Wire { login_source, ..Wire::default() })
        };
        assert_eq!(said(Cause::Auth, LoginSource::Application), PROVIDER);
        assert_eq!(said(Cause::Auth, LoginSource::Configuration), Cause::Auth.hint());
        assert_eq!(said(Cause::Forbidden, LoginSource::Application), Cause::Forbidden.hint());
    }

    #[test]
    fn a_silent_memcached_that_was_dialed_may_be_at_its_connection_limit() {
        let said = |cause, phase| {
            let fault = Fault::new(cause, phase, "");
            let node = NodeOutcome::server("cache:11211", Phases::default(), Some(fault.clone()));
            hint(&node, &fault, Wire { protocol: Protocol::Memcached, ..Wire::default() })
        };
        assert_eq!(said(Cause::TimedOut, Phase::Connect), MEMCACHED);
        assert_eq!(said(Cause::TimedOut, Phase::Read), MEMCACHED);
        assert!(said(Cause::TimedOut, Phase::Resolve).contains("DNS servers"));
        assert_eq!(said(Cause::Refused, Phase::Connect), Cause::Refused.hint());
    }

    #[test]
    fn advice_is_kept_unless_the_address_explains_the_fault_better() {
        let said = |name, (cause, phase), advice, source| {
            let fault = Fault::new(cause, phase, "").with_advice(advice);
            let node = NodeOutcome::server(name, Phases::default(), Some(fault.clone()));
            hint(&node, &fault, Wire { source, ..Wire::default() })
        };
        let named = |fault, advice| said("cache:6379", fault, advice, AddressSource::Cluster);
        assert_eq!(named(TLS, advice::SERVER_NAME), CERTIFICATE);
        assert_eq!(named(TLS, advice::NO_TLS), advice::NO_TLS);
        let socket = |advice| {
            let fault = (Cause::Unreachable, Phase::Read);
            said("unix:/run/redis.sock", fault, advice, AddressSource::Configuration)
        };
        assert_eq!(socket(advice::CLOSED_WITHOUT_ANSWER), OTHER_SOCKET);
        assert_eq!(socket(advice::NO_COUNTERS), advice::NO_COUNTERS);
    }

    #[test]
    fn a_lack_of_the_sidecars_own_is_said_whatever_the_address_is() {
        let fault = Fault::new(Cause::Unreachable, Phase::Connect, "").of_our_own();
        let node = NodeOutcome::server("unix:/run/redis.sock", Phases::default(), Some(fault.clone()));
        assert_eq!(hint(&node, &fault, Wire::default()), fault.hint());
    }
}
