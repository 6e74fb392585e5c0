//! `install.sh`: it installs the program of a release whose checksum is right, and nothing of another.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::thread;

use tempfile::TempDir;

use crate::{output, path, text};

/// The release 1.2.3 on loopback, in which the program is a script.
struct Release {
    folder: TempDir,
    archive: String,
    url: String,
}

impl Release {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let machine = String::from_utf8(output(Command::new("uname").arg("-m")).stdout).unwrap();
        let name = format!("cache-canary-1.2.3-{}-unknown-linux-gnu", machine.trim());
        let archive = format!("{name}.tar.gz");
        let script = format!(
            "mkdir v1.2.3 {name} && printf '#!/bin/sh\\necho cache-canary 1.2.3\\n' >{name}/cache-canary && \
             chmod +x {name}/cache-canary && tar -czf v1.2.3/{archive} {name} && cd v1.2.3 && \
             sha256sum {archive} >SHA256SUMS"
        );
        let made = output(Command::new("sh").args(["-ec", &script]).current_dir(folder.path()));
        assert!(made.status.success(), "{}", text(&made));
        let url = serve(folder.path());
        Self { folder, archive, url }
    }

    fn sums(&self) -> std::path::PathBuf {
        self.folder.path().join("v1.2.3/SHA256SUMS")
    }

    /// Runs the installer for a version, with an empty folder to install to.
    fn install(&self, version: &str) -> (Output, Vec<String>) {
        let to = tempfile::tempdir().unwrap();
        let mut command = Command::new(path("release/install.sh"));
        command.env("RELEASES", &self.url).env("VERSION", version).env("no_proxy", "127.0.0.1");
        let installed = output(command.arg(to.path()));
        let names =
            fs::read_dir(to.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        (installed, names.collect())
    }
}

/// Serves the files of a folder over HTTP, for as long as the test runs.
fn serve(folder: &Path) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let folder = folder.to_owned();
    thread::spawn(move || listener.incoming().try_for_each(|stream| respond(&mut stream?, &folder)));
    url
}

fn respond(stream: &mut TcpStream, folder: &Path) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let file = request.split(' ').nth(1).unwrap_or_default().trim_start_matches('/');
    let (status, body) = match fs::read(folder.join(file)) {
        Ok(body) => ("200 OK", body),
        Err(_) => ("404 Not Found", Vec::new()),
    };
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len())?;
    stream.write_all(&body)
}

#[test]
fn a_program_with_the_right_checksum_is_installed() {
    let (installed, names) = Release::new().install("1.2.3");
    assert!(installed.status.success(), "{}", text(&installed));
    assert!(text(&installed).starts_with("installed cache-canary 1.2.3 in "), "{}", text(&installed));
    assert_eq!(names, ["cache-canary"]);
}

#[test]
fn a_program_with_a_wrong_checksum_is_refused() {
    let release = Release::new();
    let sums = fs::read_to_string(release.sums()).unwrap();
    let first = if sums.starts_with('0') { "1" } else { "0" };
    fs::write(release.sums(), format!("{first}{}", &sums[1..])).unwrap();
    let (refused, names) = release.install("1.2.3");
    assert_eq!(refused.status.code(), Some(1));
    let expected =
        format!("the checksum of {} is not the one in SHA256SUMS; nothing was installed\n", release.archive);
    assert_eq!(text(&refused), format!("install.sh: {expected}"));
    assert!(names.is_empty(), "{names:?}");
}

#[test]
fn a_program_without_a_checksum_is_refused() {
    let release = Release::new();
    let sums = fs::read_to_string(release.sums()).unwrap();
    fs::write(release.sums(), sums.replace("cache-canary-1", "another-1")).unwrap();
    let (refused, names) = release.install("1.2.3");
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(text(&refused), format!("install.sh: SHA256SUMS has no line for {}\n", release.archive));
    assert!(names.is_empty(), "{names:?}");
}

#[test]
fn a_version_that_does_not_exist_is_refused() {
    let (refused, names) = Release::new().install("9.9.9");
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused).contains("install.sh: cannot download http://"), "{}", text(&refused));
    assert!(names.is_empty(), "{names:?}");
}
