//! A judge of passwords for a server with SASL: saslauthd's protocol, without its program.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread;

use super::memcached::{PASSWORD, USER};

/// Writes SASL's configuration for memcached into `dir`, and answers there until the process ends.
pub(super) fn start(dir: &Path) {
    let socket = dir.join("mux");
    let config =
        format!("mech_list: plain\npwcheck_method: saslauthd\nsaslauthd_path: {}\n", socket.display());
    fs::write(dir.join("memcached.conf"), config).expect("a file");
    let listener = UnixListener::bind(socket).expect("a socket");
    thread::spawn(move || {
        for stream in listener.incoming() {
            // A client that goes away is none of its business.
            let _ = stream.and_then(answer);
        }
    });
}

/// User, password, service and realm are asked about, each with its length before it
/// (`saslauthd/ipc_unix.c` of Cyrus SASL).
fn answer(mut stream: UnixStream) -> io::Result<()> {
    let [user, password, _service, _realm] = [(); 4].map(|()| counted(&mut stream).unwrap_or_default());
    let verdict = if (user.as_str(), password.as_str()) == (USER, PASSWORD) { "OK" } else { "NO" };
    stream.write_all(&[0, 2])?;
    stream.write_all(verdict.as_bytes())
}

fn counted(stream: &mut UnixStream) -> io::Result<String> {
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut text = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut text)?;
    String::from_utf8(text).map_err(io::Error::other)
}
