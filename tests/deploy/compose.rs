//! `deploy/compose.yaml`, run as it is written, with images that are made here in place of those that it names.
//! Without a Docker engine or Compose, the test is skipped, and says so.

#![allow(clippy::unwrap_used, reason = "helpers of tests panic as tests do")]

use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::Command;

use crate::support::docker::{self, Container, Image};
use crate::support::eventually;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/compose.yaml");

#[test]
fn the_application_starts_once_its_cache_works_and_docker_sees_each_outage() {
    let what = "the compose file";
    if !docker::answers(what) {
        return;
    }
    let Some(compose) = compose() else {
        let _ = writeln!(io::stderr(), "skipped: {what}, since there is no Compose");
        return;
    };
    let [app, sidecar, redis] =
        [Image::of_program("sleep"), Image::of_stage("minimal"), Image::of_program("redis-server")];
    let project = Project::new(compose, &app, &sidecar, &redis);
    let [app, sidecar, redis] = ["app", "cache-canary", "redis"].map(|service| project.container(service));

    // A Redis that hangs from the beginning.
    project.run(&["up", "--detach", "--no-build", "redis"]);
    docker::succeeds(Command::new("docker").args(["pause", redis.name()]));
    let mut up = project.compose(&["up", "--detach", "--no-build"]).spawn().unwrap();
    eventually("the sidecar is asked several times", || failures(&sidecar) >= 3);
    assert_ne!(sidecar.inspect("{{.State.Health.Status}}"), "healthy");
    assert_ne!(app.inspect("{{.State.Running}}"), "true", "the application did not wait");

    docker::succeeds(Command::new("docker").args(["unpause", redis.name()]));
    assert!(up.wait().unwrap().success());
    sidecar.becomes("healthy");
    assert_eq!(app.inspect("{{.State.Running}}"), "true");

    project.run(&["stop", "--timeout", "1", "redis"]);
    sidecar.becomes("unhealthy");
    assert_eq!(app.inspect("{{.State.Running}}"), "true", "the application was not to be touched");

    project.run(&["start", "redis"]);
    sidecar.becomes("healthy");
}

/// How many health checks in a row have failed.
fn failures(container: &Container) -> usize {
    let codes = container.inspect("{{range .State.Health.Log}}{{.ExitCode}} {{end}}");
    codes.split_whitespace().filter(|&code| code != "0").count()
}

/// The words that Compose is called by here.
fn compose() -> Option<&'static [&'static str]> {
    let calls: [&[&str]; 2] = [&["docker", "compose"], &["docker-compose"]];
    calls.into_iter().find(|call| {
        let version = Command::new(call[0]).args(&call[1..]).arg("version").output();
        version.is_ok_and(|output| output.status.success())
    })
}

/// The containers of the file, removed when this is dropped.
struct Project {
    compose: &'static [&'static str],
    name: String,
    /// Which images are taken in place of those in the file.
    images: PathBuf,
    _dir: tempfile::TempDir,
}

impl Project {
    fn new(compose: &'static [&'static str], app: &Image, sidecar: &Image, redis: &Image) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let images = dir.path().join("images.yaml");
        let [app, sidecar, redis] = [app, sidecar, redis].map(Image::name);
        // Asked more often than in the file, so that nobody waits. Redis' own image takes clients from other hosts
        // without a password, which Redis does not by itself.
        let text = format!(
            r#"
services:
  app:
    image: {app}
    command: [sleep, infinity]
    init: true
  cache-canary:
    image: {sidecar}
    healthcheck: {{ interval: 300ms }}
  redis:
    image: {redis}
    entrypoint: [sh, -c, 'exec "$$@" --protected-mode no', sh]
"#
        );
        fs::write(&images, text).unwrap();
        let name = format!("cache-canary-test-{}", std::process::id());
        Self { compose, name, images, _dir: dir }
    }

    /// Compose, for this project.
    fn compose(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.compose[0]);
        command.args(&self.compose[1..]);
        command.args(["--project-name", &self.name, "--file", FILE, "--file"]).arg(&self.images);
        // Any free port, whatever else the machine serves.
        command.args(arguments).env("CACHE_CANARY_PORT", "0");
        command
    }

    fn run(&self, arguments: &[&str]) {
        docker::succeeds(&mut self.compose(arguments));
    }

    /// The container of a service. Compose 1 parts its name by `_`.
    fn container(&self, service: &str) -> Container {
        let mark = if self.compose.len() == 1 { '_' } else { '-' };
        Container::called(&format!("{}{mark}{service}{mark}1", self.name))
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        let _ = self.compose(&["down", "--volumes", "--timeout", "1"]).output();
    }
}
