//! The claims of `migrating.md` about other tools, if installed: `redis-cli ping` and `redis_exporter` are asked in
//! each outage beside the sidecar, and the table must say what they said.

use std::any::Any;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::read;
use crate::support::{Port, Redis, Sidecar, eventually};

/// How long `redis-cli ping` is waited for. By itself it would wait for as long as the server hangs.
const PING: Duration = Duration::from_secs(2);

/// Something that happens to a Redis, in the words of the table's first column.
struct Outage {
    name: &'static str,
    /// The returned value is kept until the end.
    begin: fn(&mut Redis) -> Option<Box<dyn Any>>,
    end: fn(&mut Redis),
}

const OUTAGES: &[Outage] = &[
    Outage {
        name: "it has become a replica",
        begin: |redis| {
            let primary = Redis::start(&[]);
            redis.become_replica_of(&primary);
            Some(Box::new(primary))
        },
        end: |redis| redis.become_primary(),
    },
    Outage {
        name: "its memory is full",
        begin: |redis| {
            redis.fill();
            None
        },
        end: |redis| redis.make_room(),
    },
    Outage {
        name: "it has too few replicas",
        begin: |redis| {
            redis.want_a_replica();
            None
        },
        end: |redis| redis.want_no_replicas(),
    },
    Outage {
        name: "its snapshots fail",
        begin: |redis| {
            redis.break_snapshots();
            None
        },
        end: |redis| redis.repair_snapshots(),
    },
    Outage {
        name: "it loads its data",
        begin: |redis| {
            redis.restart_loading();
            None
        },
        end: |redis| redis.finish_loading(),
    },
    Outage {
        name: "a script does not end",
        begin: |redis| {
            redis.run_endless_script();
            None
        },
        end: |redis| redis.kill_script(),
    },
    Outage {
        name: "its password has changed",
        begin: |redis| {
            redis.require_password("correct-horse");
            None
        },
        end: |redis| redis.require_password(""),
    },
    Outage {
        name: "its connections are used up",
        begin: |redis| Some(Box::new(redis.reach_connection_limit())),
        end: |_| {},
    },
    Outage {
        name: "it hangs",
        begin: |redis| {
            redis.stop();
            None
        },
        end: |redis| redis.cont(),
    },
    Outage {
        name: "it is not there",
        begin: |redis| {
            redis.kill();
            None
        },
        end: |redis| redis.restart(),
    },
];

#[test]
fn each_outage_is_seen_as_in_the_table() {
    let seen: Vec<_> = OUTAGES.iter().map(seen).collect();
    assert_eq!(seen, table());
}

/// The name of an outage, the output and exit code of `redis-cli ping`, `redis_up`, and the sidecar's cause.
/// Before it and after it, all three see nothing wrong.
fn seen(outage: &Outage) -> [String; 5] {
    let mut redis = Redis::start(&[]);
    let cache = format!("[caches.main]\nurl = \"redis://{}\"", redis.addr());
    let sidecar = Sidecar::start_with("reconnect_every = \"0s\"", cache);
    let exporter = Exporter::start(&redis);
    let healthy = |redis: &Redis| {
        sidecar.expect_up();
        assert_eq!(ping(redis), ("`PONG`".to_owned(), "0".to_owned()));
        assert_eq!(exporter.up(), "1");
    };
    healthy(&redis);
    let held = (outage.begin)(&mut redis);

    let (said, code) = ping(&redis);
    let health = sidecar.health_in_time();
    assert_eq!(health.code, 503, "{:#}", health.body);
    let (cause, _) = health.fault_of("cache.main").expect("a fault");
    let up = exporter.up();

    drop(held);
    (outage.end)(&mut redis);
    healthy(&redis);
    [outage.name.to_owned(), said, code, up, format!("`{cause}`")]
}

/// The rows of the table, without what Django's checks say.
fn table() -> Vec<[String; 5]> {
    let page = read("migrating.md");
    let (_, table) = page.split_once("<!-- outages -->\n").expect("the table's beginning");
    let (table, _) = table.split_once("<!-- /outages -->").expect("its end");
    let cells = |row: &str| -> [String; 5] {
        let cells: Vec<_> =
            row.trim_matches('|').split('|').map(|cell| cell.trim().replace("**", "")).collect();
        let [name, said, code, up, .., cause] = &cells[..] else { panic!("too few cells: {row}") };
        [name, said, code, up, cause].map(Clone::clone)
    };
    table.lines().skip(2).map(cells).collect()
}

/// The first word that `redis-cli ping` prints, and its exit code, of which there is `none` where it does not end.
fn ping(redis: &Redis) -> (String, String) {
    let port = redis.port().to_string();
    let mut cli = Command::new("redis-cli")
        .args(["-p", &port, "ping"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-cli");
    let until = Instant::now() + PING;
    let code = loop {
        match cli.try_wait().unwrap() {
            Some(status) => break status.code().unwrap().to_string(),
            None if Instant::now() < until => thread::sleep(Duration::from_millis(5)),
            None => {
                cli.kill().unwrap();
                cli.wait().unwrap();
                break "none".to_owned();
            }
        }
    };
    let mut said = String::new();
    cli.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    let word = said.split_whitespace().next();
    (word.map_or("nothing".to_owned(), |word| format!("`{word}`")), code)
}

/// A `redis_exporter` that watches one Redis.
struct Exporter {
    process: Child,
    port: Port,
}

impl Exporter {
    fn start(redis: &Redis) -> Self {
        let port = Port::reserve();
        let process = Command::new("prometheus-redis-exporter")
            .args(["-web.listen-address", &port.addr().to_string()])
            .args(["-redis.addr", &format!("redis://{}", redis.addr())])
            // 15 s by itself.
            .args(["-connection-timeout", "1s"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("prometheus-redis-exporter; `tests/run` installs what the tests need");
        let exporter = Self { process, port };
        eventually("redis_exporter listens", || TcpStream::connect(exporter.port.addr()).is_ok());
        exporter
    }

    /// The value of `redis_up`.
    fn up(&self) -> String {
        let mut stream = TcpStream::connect(self.port.addr()).unwrap();
        write!(stream, "GET /metrics HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let up = answer.lines().find_map(|line| line.strip_prefix("redis_up "));
        up.expect("redis_up").to_owned()
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
