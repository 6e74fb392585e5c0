//! The embedded caches beside real servers, from which their answers may not differ.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use cache_canary::embedded::{EmbeddedServer, InjectedFault};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::{sleep, timeout};

use super::{CLASSIC, SOON, ask, assert_healthy, dial};

/// A real server on a unix socket in a directory of its own, killed at the end.
struct Real {
    child: Child,
    directory: TempDir,
}

impl Drop for Real {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Real {
    async fn redis() -> Self {
        Self::start("redis-server", &["--port", "0", "--save", "", "--unixsocket", "socket"]).await
    }

    async fn memcached(options: &[&str]) -> Self {
        Self::start("memcached", &[&["-u", "root", "-s", "socket"], options].concat()).await
    }

    async fn start(program: &str, options: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let child = Command::new(program)
            .args(options)
            .current_dir(&directory)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {program}, install it: {error}"));
        let real = Self { child, directory };
        timeout(SOON, async {
            while UnixStream::connect(real.directory.path().join("socket")).await.is_err() {
                sleep(Duration::from_millis(5)).await;
            }
        })
        .await
        .unwrap_or_else(|_| panic!("{program} did not start"));
        real
    }

    async fn dial(&self) -> UnixStream {
        UnixStream::connect(self.directory.path().join("socket")).await.unwrap()
    }
}

/// The beginning of a command, for a message.
fn shown(command: &[u8]) -> String {
    command[..command.len().min(80)].escape_ascii().to_string()
}

/// Sends each command and returns its answer: what came before the answer to `mark`, which is sent after
/// each, or to the end of the connection.
async fn converse(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    commands: &[&[u8]],
    mark: (&str, &str),
) -> Vec<String> {
    let mut answers = Vec::new();
    for command in commands {
        // A server that closes early does not take all of it.
        let _ = stream.write_all(&[command, mark.0.as_bytes()].concat()).await;
        let mut answer = Vec::new();
        while !answer.ends_with(mark.1.as_bytes()) {
            let read = timeout(SOON, stream.read_buf(&mut answer)).await;
            if let Ok(0) | Err(_) = read.unwrap_or_else(|_| panic!("no mark after {}", shown(command))) {
                answer.extend(b"<closed>");
                break;
            }
        }
        let answer = String::from_utf8_lossy(&answer).into_owned();
        answers.push(answer.strip_suffix(mark.1).unwrap_or(&answer).to_owned());
    }
    answers
}

const REDIS_MARK: (&str, &str) = ("*2\r\n$4\r\nECHO\r\n$4\r\nmark\r\n", "$4\r\nmark\r\n");
const MEMCACHED_MARK: (&str, &str) = ("mn\r\n", "MN\r\n");

/// Has the same conversation with both, each time on a new connection to each, and compares every answer.
async fn assert_same(
    embedded: &EmbeddedServer,
    real: &Real,
    mark: (&str, &str),
    conversations: &[&[&[u8]]],
    normalise: fn(&str) -> String,
) {
    for commands in conversations {
        let ours = converse(dial(embedded).await, commands, mark).await;
        let theirs = converse(real.dial().await, commands, mark).await;
        for (command, (ours, theirs)) in commands.iter().zip(ours.iter().zip(&theirs)) {
            assert_eq!(normalise(ours), normalise(theirs), "to {}", shown(command));
        }
    }
}

/// Without what differs from one release, connection or moment to the next.
fn without_version_and_id(answer: &str) -> String {
    let mut lines: Vec<&str> = answer.split("\r\n").collect();
    for place in 1..lines.len() {
        match lines[place - 1] {
            "version" => lines[place..place + 2].fill("some"),
            "id" => lines[place] = "some",
            _ => {}
        }
    }
    lines.join("\n")
}

#[tokio::test]
async fn the_embedded_redis_answers_as_a_real_one() {
    let (embedded, real) = (EmbeddedServer::redis().await.unwrap(), Real::redis().await);
    let conversations: &[&[&[u8]]] = &[
        &[
            b"PING\r\n",
            b"ping hello\r\n",
            b"PING a b\r\n",
            b"*1\r\n$4\r\nPING\r\n",
            b"\r\nPING\n",
            b"*0\r\n*-1\r\n",
        ],
        &[
            b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$5\r\nva\r\nl\r\n",
            b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n",
            b"GET none\r\n",
            b"PTTL key\r\n",
            b"PTTL none\r\n",
            b"TTL key\r\n",
            b"SET key other ex 100\r\n",
            b"TTL key\r\n",
            b"SET key other PX 100000\r\n",
            b"TTL key\r\n",
            b"EXISTS key key none\r\n",
            b"SELECT 1\r\n",
            b"GET key\r\n",
            b"SET key one\r\n",
            b"SELECT 0\r\n",
            b"GET key\r\n",
            b"DEL key none key\r\n",
            b"GET key\r\n",
            b"*3\r\n$3\r\nSET\r\n$0\r\n\r\n$0\r\n\r\n",
            b"*2\r\n$3\r\nGET\r\n$0\r\n\r\n",
            b"SET a 1\r\nGET a\r\nDEL a\r\nGET a\r\n",
        ],
        &[
            b"SET a\r\n",
            b"SET a b PX\r\n",
            b"SET a b PX 0\r\n",
            b"SET a b EX -1\r\n",
            b"SET a b PX many\r\n",
            b"SET a b PX 9223372036854775807\r\n",
            b"SET a b EX 9223372036854775807\r\n",
            b"SET a b PX 99999999999999999999\r\n",
            b"SET a b WITH care\r\n",
            b"SET a b EX 5 PX 5\r\n",
            b"GET\r\n",
            b"GET a b\r\n",
            b"DEL\r\n",
            b"EXISTS\r\n",
            b"PTTL\r\n",
            b"SELECT 16\r\n",
            b"SELECT -1\r\n",
            b"SELECT one\r\n",
            b"SELECT\r\n",
            b"ROLE me\r\n",
            b"NOSUCH\r\n",
            b"nosuch a b\r\n",
            b"*2\r\n$2\r\n\xff\xfe\r\n$3\r\na\r\n\r\n",
        ],
        &[
            b"AUTH\r\n",
            b"AUTH secret\r\n",
            b"AUTH default secret\r\n",
            b"AUTH nobody secret\r\n",
            b"AUTH a b c\r\n",
            b"ROLE\r\n",
            b"CLIENT SETNAME me\r\n",
            b"CLIENT NOSUCH\r\n",
            b"INFO nosuch\r\n",
        ],
        &[
            b"HELLO\r\n",
            b"HELLO 2\r\n",
            b"GET none\r\n",
            b"HELLO 3\r\n",
            b"GET none\r\n",
            b"HELLO 2\r\nGET none\r\n",
        ],
        &[
            b"HELLO 4\r\n",
            b"HELLO three\r\n",
            b"HELLO 2 AUTH default secret SETNAME me\r\n",
            b"HELLO 2 AUTH nobody secret\r\n",
            b"HELLO 2 AUTH nobody\r\n",
        ],
        &[b"QUIT\r\n"],
        &[b"*many\r\n"],
        &[b"*1\r\n:4\r\n"],
        &[b"*1\r\n$-1\r\n"],
        &[b"*1\r\n$99999999999\r\n"],
    ];
    assert_same(&embedded, &real, REDIS_MARK, conversations, without_version_and_id).await;
}

#[tokio::test]
async fn the_embedded_memcached_answers_as_a_real_one() {
    let (embedded, real) = (EmbeddedServer::memcached().await.unwrap(), Real::memcached(&[]).await);
    let too_long = "k".repeat(251);
    let too_large = "x".repeat(3 << 20);
    let (get_too_long, set_too_long) = (format!("get {too_long}\r\n"), format!("set {too_long} 0 0 1\r\n"));
    let set_too_large = format!("set key 0 0 {}\r\n{too_large}\r\n", too_large.len());
    let ms_too_large = format!("ms key {}\r\n{too_large}\r\n", too_large.len());
    let conversations: &[&[&[u8]]] = &[
        &[
            b"set key 5 0 3\r\nabc\r\n",
            b"get key\r\n",
            b"gets key none key\r\n",
            b"add key 0 0 1\r\nx\r\n",
            b"add new 0 0 1\r\nx\r\n",
            b"replace none 0 0 1\r\nx\r\n",
            b"replace key 7 100 4\r\n\r\n\r\n\r\n",
            b"gets key\r\n",
            b"cas key 0 0 1 3\r\ny\r\n",
            b"cas key 0 0 1 3\r\nz\r\n",
            b"cas none 0 0 1 3\r\nz\r\n",
            b"set quiet 0 0 1 noreply\r\nx\r\nget quiet\r\n",
            b"touch key 100\r\n",
            b"touch none 100\r\n",
            b"touch key 0 noreply\r\n",
            b"delete key\r\n",
            b"delete key\r\n",
            b"delete quiet noreply\r\nget quiet\r\n",
            b"set gone 0 -1 1\r\nx\r\nget gone\r\n",
            b"set empty 0 0 0\r\n\r\nget empty\r\n",
            b"set past 0 2592001 1\r\nx\r\nget past\r\n",
            b"get empty\nget empty  empty\r\n",
        ],
        &[
            b"ms key 3 T0 F9 k O1\r\nabc\r\n",
            b"mg key\r\n",
            b"mg key v\r\n",
            b"mg key s v f k t Oopaque q c\r\n",
            b"mg key T100 t\r\n",
            b"mg none\r\n",
            b"mg none q\r\n",
            b"ms key 3 C1\r\nabc\r\n",
            b"ms none 3 C1\r\nabc\r\n",
            b"ms key 3 ME O2\r\nabc\r\n",
            b"ms none 3 MR\r\nabc\r\n",
            b"ms key 3 MS q c\r\nabc\r\n",
            b"ms key 3 MR c k\r\nabc\r\n",
            b"md key C1 O3 k\r\n",
            b"md key O3 k\r\n",
            b"md key O3 k\r\n",
            b"ms key 3 T-1\r\nabc\r\nmg key\r\n",
            b"ms key 0\r\n\r\nmd key q\r\nmg key\r\n",
        ],
        &[
            b"\r\n",
            b"nosuch\r\n",
            b"SET key 0 0 1\r\n",
            b"get\r\n",
            b"gets\r\n",
            b"set key 0 0\r\n",
            b"set key 0 0 some\r\n",
            b"set key some 0 1\r\n",
            b"set key 0 0 -1\r\n",
            b"set key 0 0 3\r\nabcdef\r\n",
            b"delete\r\n",
            b"delete key 5\r\n",
            b"touch key\r\n",
            b"touch key some\r\n",
            b"mg\r\n",
            b"mg key v v\r\n",
            b"mg key !\r\n",
            b"mg key Tsome\r\n",
            b"ms\r\n",
            b"ms key\r\n",
            b"ms key some\r\n",
            b"ms key 3\r\nabcdef\r\n",
            b"ms key 1 MX\r\nx\r\n",
            b"ms key 1 Mset\r\nx\r\n",
            b"md\r\n",
        ],
        &[get_too_long.as_bytes(), set_too_long.as_bytes()],
        &[set_too_large.as_bytes(), b"get key\r\n"],
        &[ms_too_large.as_bytes(), b"mg key\r\n"],
        &[too_large.as_bytes()],
        &[b"quit\r\n"],
    ];
    assert_same(&embedded, &real, MEMCACHED_MARK, conversations, str::to_owned).await;
}

#[tokio::test]
async fn a_full_redis_answers_as_a_real_one() {
    let (embedded, real) = (EmbeddedServer::redis().await.unwrap(), Real::redis().await);
    let before: &[&[u8]] = &[b"SET old kept\r\n", b"GET old\r\n"];
    assert_same(&embedded, &real, REDIS_MARK, &[before], str::to_owned).await;

    embedded.set_fault(InjectedFault::Full).unwrap();
    converse(real.dial().await, &[b"CONFIG SET maxmemory 1\r\n"], REDIS_MARK).await;
    let full: &[&[u8]] =
        &[b"PING\r\n", b"SET new x\r\n", b"SET old x\r\n", b"GET old\r\n", b"GET new\r\n", b"DEL old\r\n"];
    assert_same(&embedded, &real, REDIS_MARK, &[full], str::to_owned).await;

    embedded.repair().unwrap();
    converse(real.dial().await, &[b"CONFIG SET maxmemory 0\r\n"], REDIS_MARK).await;
    assert_same(&embedded, &real, REDIS_MARK, &[before], str::to_owned).await;
}

#[tokio::test]
async fn a_read_only_redis_answers_as_a_real_replica() {
    let (embedded, real) = (EmbeddedServer::redis().await.unwrap(), Real::redis().await);
    let before: &[&[u8]] = &[b"SET old kept\r\n", b"GET old\r\n"];
    assert_same(&embedded, &real, REDIS_MARK, &[before], str::to_owned).await;

    embedded.set_fault(InjectedFault::ReadOnly).unwrap();
    // Its primary is a port at which nothing listens, so that it keeps what it has.
    converse(real.dial().await, &[b"REPLICAOF 127.0.0.1 1\r\n"], REDIS_MARK).await;
    let replica: &[&[u8]] =
        &[b"PING\r\n", b"SET new x\r\n", b"DEL old\r\n", b"GET old\r\n", b"GET new\r\n", b"HELLO 2\r\n"];
    assert_same(&embedded, &real, REDIS_MARK, &[replica], without_version_and_id).await;
    let mut stream = dial(&embedded).await;
    ask(&mut stream, "ROLE\r\n", "*5\r\n$5\r\nslave\r\n").await;

    embedded.repair().unwrap();
    converse(real.dial().await, &[b"REPLICAOF NO ONE\r\n"], REDIS_MARK).await;
    assert_same(&embedded, &real, REDIS_MARK, &[before], str::to_owned).await;
}

#[tokio::test]
async fn a_full_memcached_refuses_drops_and_makes_room_as_a_real_one() {
    let embedded = EmbeddedServer::memcached().await.unwrap();
    let real = Real::memcached(&["-M", "-m", "2"]).await;
    let before: &[&[u8]] = &[b"set old 0 0 3\r\nabc\r\n", b"ms kept 3\r\nabc\r\n"];
    assert_same(&embedded, &real, MEMCACHED_MARK, &[before], str::to_owned).await;

    embedded.set_fault(InjectedFault::Full).unwrap();
    fill(&real).await;
    let full: &[&[u8]] = &[
        b"version\r\n",
        b"set new 0 0 3\r\nabc\r\n",
        b"ms new 3\r\nabc\r\n",
        b"replace old 0 0 3\r\nxyz\r\n",
        b"add old 0 0 3\r\nxyz\r\n",
        b"add new 0 0 3\r\nxyz\r\n",
        b"cas old 0 0 3 1\r\nxyz\r\n",
        // Once and no more: memcached holds on for a moment to an item that was read twice.
        b"get old\r\n",
        // Refused, and what was there is gone, as with every `ms`; its place is free.
        b"set old 0 0 3\r\nabc\r\n",
        b"get old\r\n",
        b"set new 0 0 3\r\nabc\r\n",
        b"ms other 3\r\nabc\r\n",
        b"ms kept 3 q\r\nabc\r\n",
        b"mg kept\r\n",
        b"ms new 3 MR\r\nabc\r\n",
        b"ms new 3 MR\r\nabc\r\n",
        b"mg new\r\n",
        b"ms new 3 ME\r\nabc\r\n",
        b"touch new 100\r\n",
        b"delete new\r\n",
    ];
    assert_same(&embedded, &real, MEMCACHED_MARK, &[full], |answer| {
        if answer.starts_with("VERSION") { "VERSION".to_owned() } else { answer.to_owned() }
    })
    .await;

    embedded.repair().unwrap();
    assert_healthy(&embedded, &CLASSIC).await;
}

/// Stores small items until one is refused.
async fn fill(real: &Real) {
    let mut stream = real.dial().await;
    for batch in 0.. {
        let items: Vec<String> =
            (0..1000).map(|item| format!("set {batch}-{item} 0 0 3\r\nabc\r\n")).collect();
        let items = items.concat();
        let answers = converse(&mut stream, &[items.as_bytes()], MEMCACHED_MARK).await;
        if answers[0].contains("SERVER_ERROR out of memory") {
            return;
        }
    }
}

#[tokio::test]
async fn redis_cli_can_talk_to_it() {
    let server = EmbeddedServer::redis().await.unwrap();
    let port = server.addr().port().to_string();
    let cli = |arguments: &'static [&'static str]| {
        let mut command = tokio::process::Command::new("redis-cli");
        command.args(["-p", &port]).args(arguments).stdin(Stdio::null());
        async move { String::from_utf8(command.output().await.unwrap().stdout).unwrap() }
    };
    assert_eq!(cli(&["SET", "key", "value"]).await, "OK\n");
    assert_eq!(cli(&["-3", "GET", "key"]).await, "value\n");
    assert!(cli(&["INFO", "replication"]).await.contains("role:master"));
    server.set_fault(InjectedFault::ReadOnly).unwrap();
    assert!(cli(&["SET", "key", "value"]).await.starts_with("READONLY "));
    assert!(cli(&["INFO"]).await.contains("role:slave"));
}
