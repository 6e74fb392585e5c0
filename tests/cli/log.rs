//! A log that cannot be written, or that nobody reads: it takes no verdict away and holds up no answer, and what is lost of
//! it is counted and told.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the message")]

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, PipeReader, PipeWriter, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::support::{Port, Redis, Sidecar, eventually};

const PROGRAM: &str = env!("CARGO_BIN_EXE_cache-canary");

/// The capacity of a pipe (pipe(7)).
const PIPE: usize = 64 * 1024;

/// The aliases that go down together.
const MANY: usize = 600;

/// How long a process may take to end that waits for nobody, on a machine with other things to do.
const END: Duration = Duration::from_secs(3);

/// The program with its log there.
fn logging_to(stderr: impl Into<Stdio>) -> Command {
    let mut command = Command::new(PROGRAM);
    command.stderr(stderr);
    command
}

/// The program as a shell starts it that does this to it first.
fn after(words: &str) -> Command {
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("{words}; exec \"$0\" \"$@\"")).arg(PROGRAM);
    command
}

/// A pipe that holds all that it can.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(&vec![b'\n'; PIPE]).unwrap();
    (reader, writer)
}

fn start(command: Command, settings: &str, caches: &str) -> Sidecar {
    Sidecar::start_by(command, &Port::reserve(), settings, caches)
}

/// The value of a counter.
fn counter(sidecar: &Sidecar, name: &str) -> u64 {
    let text = sidecar.raw("/metrics");
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name} in {text}")).parse().unwrap()
}

fn lost(sidecar: &Sidecar) -> u64 {
    counter(sidecar, "cache_canary_log_lines_lost_total")
}

/// The numbers of lines that the log says are `lost`, or `suppressed`.
fn told(log: &str, missing: &str) -> Vec<u64> {
    let told = log.lines().filter(|line| line.contains(&format!(" {missing}")));
    let numbers = told.filter_map(|line| line.split_once(" log line")?.0.rsplit(' ').next());
    numbers.map(|number| number.parse().unwrap()).collect()
}

/// Goes through an outage of which nothing but the log is to be seen otherwise.
fn expect_an_outage_to_be_told(sidecar: &Sidecar, redis: &mut Redis) {
    let expect = |code| assert_eq!(sidecar.health_in_time().code, code);
    expect(200);
    redis.kill();
    expect(503);
    assert_eq!(sidecar.get("/livez").code, 200);
    redis.restart();
    expect(200);
}

fn expect_a_clean_end(mut sidecar: Sidecar) {
    let began = Instant::now();
    sidecar.terminate();
    assert_eq!(sidecar.ended(), Some(0));
    assert!(began.elapsed() < END, "{:?}", began.elapsed());
}

/// Reads to the end, aside.
fn read_aside(reader: PipeReader) -> Arc<Mutex<String>> {
    let text = Arc::new(Mutex::new(String::new()));
    let grows = text.clone();
    thread::spawn(move || {
        for line in BufReader::new(reader).lines().map_while(Result::ok) {
            *grows.lock().unwrap() += &(line + "\n");
        }
    });
    text
}

#[test]
fn an_unwritable_log_takes_no_verdict_away() {
    let dir = tempfile::tempdir().unwrap();
    let limited = dir.path().join("log");
    fs::write(&limited, "x".repeat(1024)).unwrap();
    let without_a_reader = || {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        writer
    };
    let logs: [(&str, Command); 5] = [
        ("a disk without room", logging_to(File::options().write(true).open("/dev/full").unwrap())),
        ("a pipe without a reader", logging_to(without_a_reader())),
        ("a file that is only to be read", logging_to(File::open("/dev/null").unwrap())),
        // In units of 512 or of 1024 bytes, as the shell counts.
        ("a file at its limit", after(&format!("ulimit -f 1; exec 2>>{}", limited.display()))),
        ("a terminal that is gone", logging_to(crate::support::pty::hung_up())),
    ];
    for (name, command) in logs {
        let mut redis = Redis::start(&[]);
        let sidecar = start(command, "", &redis.aliases(1));
        expect_an_outage_to_be_told(&sidecar, &mut redis);
        eventually(name, || lost(&sidecar) >= 5);
        expect_a_clean_end(sidecar);
    }
}

#[test]
fn a_log_that_is_closed_or_thrown_away_loses_nothing_and_takes_no_verdict_away() {
    for command in [after("exec 2>&-"), logging_to(Stdio::null())] {
        let mut redis = Redis::start(&[]);
        let sidecar = start(command, "", &redis.aliases(1));
        expect_an_outage_to_be_told(&sidecar, &mut redis);
        assert_eq!(lost(&sidecar), 0);
        expect_a_clean_end(sidecar);
    }
}

#[test]
fn a_log_without_a_reader_delays_no_answer_and_no_stop() {
    let (_reader, writer) = full_pipe();
    let mut redis = Redis::start(&[]);
    let sidecar = start(logging_to(writer), "", &redis.aliases(MANY));
    expect_an_outage_to_be_told(&sidecar, &mut redis);
    expect_a_clean_end(sidecar);
}

#[test]
fn a_log_that_is_read_again_has_the_number_of_lost_lines() {
    let (reader, writer) = full_pipe();
    let mut redis = Redis::start(&[]);
    let sidecar = start(logging_to(writer), "", &redis.aliases(MANY));
    let mut outages = 0;
    while lost(&sidecar) == 0 {
        assert!(outages < 10, "the sidecar keeps without end what nobody reads");
        expect_an_outage_to_be_told(&sidecar, &mut redis);
        outages += 1;
    }
    let lost_until_then = lost(&sidecar);
    let log = read_aside(reader);
    eventually("the loss is told", || !told(&log.lock().unwrap(), "lost").is_empty());

    // The log is whole from then on.
    expect_an_outage_to_be_told(&sidecar, &mut redis);
    let is_change = |line: &&str| line.contains(" is DOWN") || line.contains(" is UP");
    let changes = || log.lock().unwrap().lines().filter(is_change).count() as u64;
    let all = 2 * MANY as u64 * (outages + 1);
    eventually("every line is there or counted", || changes() + lost(&sidecar) == all);
    assert_eq!(lost(&sidecar), lost_until_then);
    let log = log.lock().unwrap();
    assert_eq!(told(&log, "lost"), [lost_until_then]);
    assert!(log.contains("stderr was not read in time"));
}

/// A process that reads a FIFO from now on.
fn read_fifo(fifo: &Path) -> Child {
    Command::new("cat").arg(fifo).stdout(Stdio::piped()).spawn().unwrap()
}

#[test]
fn a_pipe_whose_reader_comes_back_is_written_again_with_the_number_of_lost_lines() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("log");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let mut first = read_fifo(&fifo);
    let writer = File::options().write(true).open(&fifo).unwrap();
    let mut redis = Redis::start(&[]);
    let sidecar = start(logging_to(writer), "", &redis.aliases(3));
    assert_eq!((sidecar.health().code, lost(&sidecar)), (200, 0));

    first.kill().unwrap();
    first.wait().unwrap();
    expect_an_outage_to_be_told(&sidecar, &mut redis);
    eventually("nobody has read of the outage", || lost(&sidecar) == 6);

    let mut second = read_fifo(&fifo);
    let reads = || {
        let mut files = fs::read_dir(format!("/proc/{}/fd", second.id())).unwrap().map_while(Result::ok);
        files.any(|file| fs::read_link(file.path()).is_ok_and(|link| link == fifo))
    };
    eventually("there is a reader again", reads);
    redis.kill();
    assert_eq!(sidecar.health().code, 503);
    expect_a_clean_end(sidecar);
    let mut log = String::new();
    second.stdout.take().unwrap().read_to_string(&mut log).unwrap();
    second.wait().unwrap();
    let first = log.lines().next().unwrap();
    assert!(first.contains(" WARN 6 log lines were lost: stderr could not be written: Broken pipe"), "{log}");
    assert_eq!(log.lines().filter(|line| line.contains(" is DOWN")).count(), 3, "{log}");
    assert!(log.ends_with(" INFO stopped\n"), "{log}");
}

/// Sends something that is no request, and reads what it is answered.
fn ask_badly(sidecar: &Sidecar) -> String {
    let mut stream = TcpStream::connect(sidecar.addr()).unwrap();
    stream.write_all(b"NONSENSE\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn callers_cannot_fill_a_log_nor_hold_up_answers_by_it() {
    const REQUESTS: usize = 2000;
    let redis = Redis::start(&[]);
    for is_read in [false, true] {
        let (reader, writer) = if is_read { std::io::pipe().unwrap() } else { full_pipe() };
        let mut command = logging_to(writer);
        command.env("CACHE_CANARY_LOG", "debug");
        let sidecar = start(command, "", &redis.aliases(1));
        ask_badly_and_well(&sidecar, REQUESTS);
        send_pings(&sidecar, REQUESTS);
        let limited = || counter(&sidecar, "cache_canary_log_lines_limited_total");
        if !is_read {
            assert!(limited() > 0);
            continue;
        }
        let log = read_aside(reader);
        let left_out = || told(&log.lock().unwrap(), "suppressed").iter().sum::<u64>();
        eventually("each line is told as one that was suppressed", || left_out() == limited());
        let log = log.lock().unwrap();
        assert!(limited() > 1000, "{}", limited());
        assert_eq!(lost(&sidecar), 0);
        let of_callers: Vec<_> = log.lines().filter(|line| line.contains(" DEBUG ")).collect();
        assert!(!of_callers.is_empty(), "{log}");
        // A line is written a moment after it got its time, so a second by the clock may have some of the next one's.
        for lines in of_callers.windows(16) {
            let second = |line: &str| line[..19].to_owned();
            assert_ne!(second(lines[0]), second(lines[15]), "{}", lines.join("\n"));
        }
    }
}

/// Asks `/livez` from this address with these header lines; the status code.
fn ask_with(sidecar: &Sidecar, source: [u8; 4], headers: &str) -> u16 {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((source, 0)).into()).unwrap();
    socket.connect(&sidecar.addr().parse::<SocketAddr>().unwrap().into()).unwrap();
    let mut stream = TcpStream::from(socket);
    write!(stream, "GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n").unwrap();
    let answer = std::io::read_to_string(stream).unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_wrong_token_is_counted_each_time_and_logged_once_a_minute_without_the_token() {
    const RIGHT: &str = "Authorization: Bearer 0123456789abcdef\r\n";
    const WRONG: &str = "Authorization: Bearer guess-0123456789\r\n";
    let redis = Redis::start(&[]);
    let access = "[access]\ntoken = \"0123456789abcdef\"\nallow = [\"127.0.0.1\", \"192.0.2.0/24\"]\n\
                  trusted_proxies = [\"127.0.0.2\"]";
    let sidecar = Sidecar::start_with(access, redis.aliases(1));
    let denied =
        |reason: &str| counter(&sidecar, &format!("cache_canary_denied_total{{reason=\"{reason}\"}}"));
    assert_eq!(ask_with(&sidecar, [127, 0, 0, 1], RIGHT), 200);
    assert_eq!(ask_with(&sidecar, [127, 0, 0, 1], ""), 200);
    assert_eq!((denied("token"), denied("caller")), (0, 0));

    for _ in 0..50 {
        assert_eq!(ask_with(&sidecar, [127, 0, 0, 1], WRONG), 401);
    }
    let behind_proxy = format!("X-Forwarded-For: 192.0.2.7\r\n{WRONG}");
    assert_eq!(ask_with(&sidecar, [127, 0, 0, 2], &behind_proxy), 401);
    // A token lets nobody in, so a wrong one of an excluded caller is not counted as one.
    assert_eq!(ask_with(&sidecar, [127, 0, 0, 3], WRONG), 403);
    assert_eq!((denied("token"), denied("caller")), (51, 1));
    sidecar.wait_for_log("bearer token", 2);
    let told: Vec<_> = sidecar.logged("bearer token");
    let words: Vec<_> = told.iter().map(|line| line.split_once(" WARN ").unwrap().1).collect();
    assert_eq!(
        words,
        [
            "a connection from 127.0.0.1 sent a bearer token that is not access.token",
            "a connection from 127.0.0.2 passed on a bearer token of 192.0.2.7 that is not access.token",
        ]
    );
    assert!(!sidecar.log().contains("guess") && !sidecar.log().contains("0123456789"), "{}", sidecar.log());
}

/// Sends so many frames of HTTP/2, each of which is a line of h2's at the level `debug` (RFC 9113, sections 3.4, 6.5 and 6.7).
fn send_pings(sidecar: &Sidecar, number: usize) {
    const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0";
    const PING: &[u8] = b"\0\0\x08\x06\0\0\0\0\0pingpong";
    let mut stream = TcpStream::connect(sidecar.addr()).unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    stream.write_all(SETTINGS).unwrap();
    for _ in 0..number {
        stream.write_all(PING).unwrap();
        // Each is answered by one of the same length, after the settings and their acknowledgment.
        stream.read_exact(&mut [0; PING.len()]).unwrap();
    }
}

/// Asks badly so many times, and between that well.
fn ask_badly_and_well(sidecar: &Sidecar, requests: usize) {
    for number in 0..requests {
        assert!(ask_badly(sidecar).starts_with("HTTP/1.1 400"));
        if number % 100 == 0 {
            assert_eq!(sidecar.health_in_time().code, 200);
            assert_eq!(sidecar.get("/livez").code, 200);
        }
    }
}

#[test]
fn ten_thousand_lines_in_a_burst_are_all_written_and_in_order() {
    const OUTAGES: usize = 9;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("log");
    let mut redis = Redis::start(&[]);
    let sidecar = start(logging_to(File::create(&file).unwrap()), "", &redis.aliases(MANY));
    for _ in 0..OUTAGES {
        expect_an_outage_to_be_told(&sidecar, &mut redis);
    }
    assert_eq!(lost(&sidecar), 0);
    expect_a_clean_end(sidecar);
    let log = fs::read_to_string(file).unwrap();
    for alias in 0..MANY {
        let name = format!(" cache-{alias} is ");
        let of_alias = log.lines().filter_map(|line| line.split_once(&name)).map(|(_, rest)| rest);
        let down: Vec<_> = of_alias.map(|rest| rest.starts_with("DOWN")).collect();
        assert_eq!(down, [true, false].repeat(OUTAGES), "{name}");
    }
    assert!(log.ends_with(" INFO stopped\n"));
}

#[test]
fn an_error_that_ends_the_program_is_the_last_line_and_waits_for_no_reader() {
    let dir = tempfile::tempdir().unwrap();
    let taken = Port::reserve();
    let _listener = taken.listen();
    let file = dir.path().join("cache-canary.toml");
    let config = format!("listen = \"{}\"\n[caches.main]\nurl = \"redis://127.0.0.1:1\"\n", taken.addr());
    fs::write(&file, config).unwrap();
    let run = |stderr: Stdio| {
        let began = Instant::now();
        let child = Command::new(PROGRAM).args(["serve", "-c"]).arg(&file).stderr(stderr).spawn().unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(began.elapsed() < END, "{:?}", began.elapsed());
        String::from_utf8(output.stderr).unwrap()
    };
    let said = run(Stdio::piped());
    let lines: Vec<_> = said.lines().collect();
    assert!(lines[0].contains(" INFO cache-canary "), "{said}");
    assert!(lines.last().unwrap().starts_with("error: cannot listen on "), "{said}");

    let (_reader, writer) = full_pipe();
    run(writer.into());
    run(File::options().write(true).open("/dev/full").unwrap().into());
}

/// Device and inode of a stream, as systemd writes them in `JOURNAL_STREAM`.
fn identity(writer: &PipeWriter) -> String {
    let stream = File::from(std::os::fd::OwnedFd::from(writer.try_clone().unwrap())).metadata().unwrap();
    format!("{}:{}", stream.dev(), stream.ino())
}

#[test]
fn the_journal_gets_priorities_and_no_second_time_and_nobody_else_does() {
    let mut redis = Redis::start(&[]);
    for is_journal in [true, false] {
        let (reader, writer) = std::io::pipe().unwrap();
        // A process below a service inherits the variable with a stream that is not its own.
        let stream = if is_journal { identity(&writer) } else { "1:2".to_owned() };
        let mut command = logging_to(writer);
        command.env("JOURNAL_STREAM", stream);
        let sidecar = start(command, "", &redis.aliases(1));
        // The pipe ends with the last process that can write it.
        let log = read_aside(reader);
        expect_an_outage_to_be_told(&sidecar, &mut redis);
        expect_a_clean_end(sidecar);
        eventually("the log is read", || log.lock().unwrap().contains("INFO stopped"));
        let log = log.lock().unwrap();
        let is_well = |line: &str| {
            if is_journal {
                line.starts_with("<6>INFO ") || line.starts_with("<4>WARN ")
            } else {
                line.starts_with("20") && line.contains("Z  ") && !line.contains("<6>")
            }
        };
        assert!(log.lines().all(is_well), "{log}");
        let down = if is_journal { "<4>WARN cache-0 is DOWN: " } else { "Z  WARN cache-0 is DOWN: " };
        assert!(log.contains(down) && log.contains("INFO cache-0 is UP; was DOWN "), "{log}");
    }
}

#[test]
fn an_error_that_ends_the_program_has_its_priority_in_the_journal() {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let stream = identity(&writer);
    let mut command = logging_to(writer);
    command.args(["serve", "-c", "/nowhere/cache-canary.toml"]).env("JOURNAL_STREAM", stream);
    assert_eq!(command.status().unwrap().code(), Some(2));
    drop(command);
    let mut said = String::new();
    reader.read_to_string(&mut said).unwrap();
    assert!(said.starts_with("<3>error: "), "{said}");
}
