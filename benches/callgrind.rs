//! The instructions of a request, counted by valgrind outside the kernel.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::support::{Port, Sidecar};

/// The requests before those that are counted.
const WARM_UP: u64 = 20;

/// A path of a sidecar that is counted.
pub(crate) struct Counted<'a> {
    pub(crate) max_age: &'a str,
    pub(crate) caches: &'a str,
    pub(crate) target: &'a str,
    /// The pause before each request.
    pub(crate) pause: Duration,
}

impl Counted<'_> {
    /// The instructions of a request. They are counted with few requests on a kept connection and with `requests` more; what
    /// those take is divided by their number, so that the start of the process does not count.
    pub(crate) fn in_program(&self, program: &str, requests: u64) -> u64 {
        let [few, many] = [WARM_UP, WARM_UP + requests].map(|requests| self.of_life(program, requests));
        (many - few) / requests
    }

    /// The instructions of a sidecar from its start to its end, with so many requests between.
    fn of_life(&self, program: &str, requests: u64) -> u64 {
        let known = Command::new("valgrind").arg("--version").stdout(Stdio::null()).status();
        known.expect("valgrind, by tests/install valgrind:valgrind");
        let (dir, port) = (tempfile::tempdir().unwrap(), Port::reserve());
        let counts = dir.path().join("counts");
        let mut valgrind = Command::new("valgrind");
        valgrind.args(["--tool=callgrind", "--log-file=/dev/null"]);
        valgrind.arg(format!("--callgrind-out-file={}", counts.display()));
        valgrind.arg(program).stderr(Stdio::null());
        let settings = format!("max_age = \"{}\"\ntimeout = \"10s\"", self.max_age);
        let mut sidecar = Sidecar::start_by(valgrind, &port, &settings, self.caches);
        let mut stream = TcpStream::connect(sidecar.addr()).unwrap();
        for _ in 0..requests {
            thread::sleep(self.pause);
            ask(&mut stream, self.target);
        }
        drop(stream);
        sidecar.terminate();
        assert_eq!(sidecar.ended(), Some(0), "the sidecar stops by itself");
        let counts = std::fs::read_to_string(counts).unwrap();
        let total = counts.lines().find_map(|line| line.strip_prefix("totals: "));
        total.expect("a total").parse().expect("a number")
    }
}

/// Asks as a kubelet does, and takes the answer.
fn ask(stream: &mut TcpStream, target: &str) {
    let head = "Host: 10.0.0.1:8080\r\nUser-Agent: kube-probe/1.30\r\nAccept: */*";
    stream.write_all(format!("GET {target} HTTP/1.1\r\n{head}\r\n\r\n").as_bytes()).unwrap();
    let (mut answer, mut piece) = (String::new(), [0; 8 * 1024]);
    loop {
        let read = stream.read(&mut piece).unwrap();
        assert!(read > 0, "closed after {answer:?}");
        answer += &String::from_utf8_lossy(&piece[..read]);
        let Some((head, body)) = answer.split_once("\r\n\r\n") else { continue };
        assert!(head.starts_with("HTTP/1.1 200 "), "{answer}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if body.len() >= length.unwrap().parse().unwrap() {
            return;
        }
    }
}
