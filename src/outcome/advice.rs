//! Hints that are more precise than that of a cause. A fault gets one where it is made: [`Fault::with_advice`].
//!
//! [`Fault::with_advice`]: super::Fault::with_advice

/// An algorithm of a certificate is not supported.
pub(crate) const ALGORITHM: &str = "The certificate uses an algorithm that cache-canary does not support: reissue it with RSA (2048 to 8192 bits), P-256, P-384 or Ed25519 keys, with SHA-256 or, for P-384, SHA-384; if only its issuer's signature is unsupported, put the certificate itself into tls.ca_file.";

/// The certificate is not accepted, but would be if it were trusted itself.
pub(crate) const TRUST_ITSELF: &str = "The server's certificate is not accepted: put its issuer's certificate, or the certificate itself, into tls.ca_file; `openssl s_client -showcerts -connect HOST:PORT` prints what the server shows.";

/// The server refuses the sidecar's own certificate, or misses one.
pub(crate) const CLIENT_CERTIFICATE: &str = "The server does not accept the client certificate of cache-canary: set tls.cert_file and tls.key_file to a certificate that is valid now and issued by an authority that the server trusts (Redis: tls-ca-cert-file; memcached: ssl_ca_cert).";

/// Nothing that both sides speak was found.
pub(crate) const NOTHING_IN_COMMON: &str = "Both sides have no TLS version, cipher suite, curve or signature in common: cache-canary speaks TLS 1.3, and TLS 1.2 with ECDHE and AES-GCM or ChaCha20, on X25519, P-256 and P-384, with RSA, P-256, P-384 and Ed25519 keys; allow one of each on the server (Redis: tls-protocols, tls-ciphers).";

/// The server closed the connection in place of a handshake.
pub(crate) const CLOSED_IN_HANDSHAKE: &str = "The server closed the connection before the TLS handshake ended: check that it is below its connection limit (Redis: maxclients; memcached: -c), and that this port speaks TLS.";

/// The server closed the connection in place of an answer.
pub(crate) const CLOSED_WITHOUT_ANSWER: &str = "The connection was closed in place of an answer: check that both sides use TLS or neither does (rediss:// and memcacheds:// use it), then the server's log and any proxy in front of it.";

/// The server closed the connection in place of its counters.
pub(crate) const NO_COUNTERS: &str = "The connection was closed in place of counters: if the round trip is up, a proxy such as twemproxy refuses INFO and stats; check the servers behind it for efficiency, by an alias of their own.";

/// The server speaks without TLS.
pub(crate) const NO_TLS: &str = "The server speaks without TLS on this port, and the configuration asks for TLS: point the address at the server's TLS port, or begin the URL with redis:// or memcached:// (without the s).";

/// Another kind of server answers.
pub(crate) const OTHER_SERVER: &str = "Another kind of server listens at this address: compare host and port with the cache's own configuration, and check for a proxy or a service that took its port.";

/// A Redis answers where a memcached is expected.
pub(crate) const IS_REDIS: &str = "A Redis answers at this address, and the configuration asks for a memcached: begin the URL with redis:// (backend = \"redis\"), or correct host and port.";

/// A memcached answers where a Redis is expected.
pub(crate) const IS_MEMCACHED: &str = "A memcached answers at this address, and the configuration asks for a Redis: begin the URL with memcached:// (backend = \"memcached\"), or correct host and port.";

/// The server speaks TLS, and is spoken to without.
pub(crate) const NEEDS_TLS: &str = "The server speaks TLS on this port, and the configuration does not: begin the URL with rediss:// or memcacheds://, or point the address at the port without TLS.";

/// The host is not a name of the certificate, or cannot be one.
pub(crate) const SERVER_NAME: &str = "The host is not a name of the server's certificate: set tls.server_name to a name that the certificate has, or reissue it for the host; if the application does not verify names either, set tls.verify = \"ca\".";

/// The certificate has an IP address where names of hosts are.
pub(crate) const ADDRESS_AS_NAME: &str = "An IP address is verified only against the IP addresses of a certificate: reissue it with subjectAltName=IP:ADDRESS in place of DNS:ADDRESS or the common name, or connect by a host name that the certificate has.";

/// A trusted authority is not valid now.
pub(crate) const AUTHORITY_DATES: &str = "The certificate of a trusted authority is not valid now: put the renewed certificate of the authority into tls.ca_file (or the system's store), or compare the clocks.";

/// Redis is in protected mode, and the sidecar is on another host.
pub(crate) const PROTECTED_MODE: &str = "Redis is in protected mode and accepts clients of its own host only: set a password (`requirepass`) or a user, or turn `protected-mode` off in a network that is closed.";

/// The server does not know a command.
pub(crate) const UNKNOWN_COMMAND: &str = "The server does not know this command: check whether it was renamed (`rename-command`), whether a proxy does not support it, and whether this is the right kind of server.";

/// The user may not use the database.
pub(crate) const DATABASE: &str = "The user may not use this database of a Valkey: apply the line with `db=` that `cache-canary acl` prints, or correct the number at the end of the URL.";

/// A database other than 0 is configured at a proxy.
pub(crate) const PROXY_DATABASE: &str = "The proxy has no databases, or one for all of its clients: use database 0 behind a proxy (remove the number at the end of the URL), or point the address at the Redis behind it.";

/// A server without Sentinel's commands is asked as a Sentinel.
pub(crate) const NO_SENTINEL: &str = "This is no Sentinel: list Sentinels, usually at port 26379, in the redis+sentinel:// URL, or use redis://HOST:PORT for a server without Sentinels.";

/// A Sentinel refuses the login, or misses one.
pub(crate) const SENTINEL_LOGIN: &str = "The Sentinel refuses the login: set sentinel_password, and sentinel_username if it has users, to the Sentinel's own (`requirepass` or ACL in its configuration); the user and password of the URL are for the servers alone.";

/// A memcached, or a proxy in front of one, does not take a request.
pub(crate) const REQUEST: &str = "The server, or a proxy in front of it, does not take this command: `cache-canary check --explain` shows it; check that the port is memcached's, and whether the proxy or a setting disables the command.";

/// The server does not speak RESP3.
pub(crate) const NO_RESP3: &str = "The server does not speak this version of the protocol: set protocol = \"resp2\", or remove ?protocol=3 from the URL.";

/// The server is not part of a cluster.
pub(crate) const NO_CLUSTER: &str =
    "The server is not part of a cluster: use a redis:// URL, or start it with `cluster-enabled yes`.";

/// The server is a Sentinel where one is expected that stores keys.
pub(crate) const IS_SENTINEL: &str = "This is a Sentinel, which stores nothing: use redis+sentinel://HOST:PORT/NAME, with the name of the primary.";

/// No Sentinel can be reached.
pub(crate) const SENTINELS_AWAY: &str = "No Sentinel can be reached, so the address of the primary is not known: check that the Sentinels run, and that the hosts and ports in the redis+sentinel:// URL are theirs.";

/// No Sentinel knows the name of the primary.
pub(crate) const UNKNOWN_NAME: &str = "The Sentinels respond, but monitor no primary of this name: compare it with `sentinel monitor NAME` in their configuration (`redis-cli -p 26379 SENTINEL masters` lists the names).";

/// The password that is sent begins and ends with quotes.
pub(crate) const QUOTES: &str = "The server does not accept these credentials, which begin and end with quotes: remove the quotes where they are set, since a shell drops them, and Docker's --env-file, Kubernetes and files do not.";

/// No password could be had.
pub(crate) const PASSWORD_COMMAND: &str = "No password could be had: run `password_command` as the sidecar's user and with its environment; it must print the password alone or an ExecCredential, and end with exit code 0, in much less time than `timeout`.";

/// No token of AWS could be signed.
pub(crate) const AWS: &str = "No token could be signed: check the region and the AWS credentials in the environment of the sidecar (keys, a web identity, or the credentials of a container), and that the host that gives them can be reached.";

/// A password is sent that the server does not want. Tried with Redis 7.0: redis-py 5.0 and 7.4 are refused, redis-py 8.1
/// is let in, and with `protocol=3` each of them is.
pub(crate) const NO_PASSWORD: &str = "The server wants no password, so it refuses a client that sends one in RESP2 (redis-py before 8, valkey-py), and lets in one that speaks RESP3 (redis-py 8): remove the password, or set protocol = \"resp3\" if every client speaks it.";
