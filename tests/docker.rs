//! The images that `Dockerfile` describes, beside a real Redis: Docker itself says unhealthy when that dies,
//! and healthy when it is back.
//!
//! The build stage needs a registry to take its base image from. It is replaced by one that holds what it
//! would have made, built here; the final stages are built as they are written. Where there is no Docker
//! engine, the tests are skipped, and say so.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests panic as tests do"
)]

use std::env;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use support::{PATIENCE, Port, Redis};

mod support;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn the_image_with_a_shell_is_unhealthy_while_redis_is_dead() {
    // Busybox's wget does not show the body of an error.
    unhealthy_while_redis_is_dead("shell", "503 Service Unavailable");
}

#[test]
fn the_image_with_the_binary_alone_is_unhealthy_while_redis_is_dead() {
    unhealthy_while_redis_is_dead("minimal", "refused");
}

/// Runs the image of this stage beside a Redis that is killed and started again; `said` is a part of what the
/// health check says while it is dead.
fn unhealthy_while_redis_is_dead(stage: &str, said: &str) {
    if let Err(reason) = docker_answers() {
        // Not by `println`, which a test that passes keeps to itself.
        let _ = writeln!(io::stderr(), "skipped: the image `{stage}`, since {reason}");
        return;
    }

    let mut redis = Redis::start(&[]);
    let image = Image::build(stage);
    let container = image.run(&redis);
    container.becomes("healthy");

    redis.kill();
    container.becomes("unhealthy");
    let output = container.inspect("{{range .State.Health.Log}}{{.Output}}{{end}}");
    assert!(output.contains(said), "the health check does not say {said:?}: {output}");

    redis.restart();
    container.becomes("healthy");
}

/// Why no container can be run here.
fn docker_answers() -> Result<(), String> {
    let version = Command::new("docker").args(["version", "--format", "{{.Server.Os}}"]).output();
    match version {
        Err(error) => Err(format!("docker cannot be started: {error}")),
        Ok(output) if !output.status.success() => {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(format!("no Docker engine answers: {}", said.lines().last().unwrap_or("it does not say why")))
        }
        Ok(_) => Ok(()),
    }
}

/// An image that is removed when this is dropped, with everything that was made on the way to it.
struct Image {
    name: String,
    /// The image that stands in for the build stage.
    build: String,
}

impl Image {
    /// Builds the final stage of this name.
    fn build(stage: &str) -> Self {
        let name = format!("cache-canary-test-{}-{stage}", std::process::id());
        let image = Self { build: format!("{name}-build"), name };
        image.build_stand_in();

        let dockerfile = fs::read_to_string(Path::new(ROOT).join("Dockerfile")).unwrap();
        let context = tempfile::tempdir().unwrap();
        let stand_in = format!("FROM {} AS build\n", image.build);
        fs::write(context.path().join("Dockerfile"), stand_in + final_stage(&dockerfile, stage)).unwrap();
        fs::copy(Path::new(ROOT).join("healthcheck.sh"), context.path().join("healthcheck.sh")).unwrap();
        build(&image.name, context.path());
        image
    }

    /// Makes an image of what the build stage would have made.
    fn build_stand_in(&self) {
        let context = tempfile::tempdir().unwrap();
        fs::write(context.path().join("Dockerfile"), "FROM scratch\nCOPY out /out\n").unwrap();
        let out = context.path().join("out");
        fs::create_dir_all(out.join("bin")).unwrap();
        fs::copy(static_binary(), out.join("cache-canary")).unwrap();
        fs::copy(busybox(), out.join("bin/busybox")).unwrap();
        for tool in succeeds(Command::new(busybox()).arg("--list")).lines().filter(|&tool| tool != "busybox")
        {
            symlink("busybox", out.join("bin").join(tool)).unwrap();
        }
        build(&self.build, context.path());
    }

    /// Runs the image on the host's own network, checking the Redis; with the health check of the image, but
    /// more often.
    fn run(&self, redis: &Redis) -> Container {
        let port = Port::reserve();
        let listen = format!("CACHE_CANARY_LISTEN={}", port.addr());
        let url = format!("CACHE_CANARY_URL=http://{}/health", port.addr());
        let cache = format!("CACHE_URL=redis://{}/0", redis.addr());
        let confined = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"];
        let container = Container { name: self.name.clone(), _port: port };
        let mut run = vec!["run", "--detach", "--name", &container.name, "--network", "host"];
        run.extend(confined);
        run.extend([
            "--env",
            &listen,
            "--env",
            &url,
            "--env",
            &cache,
            "--health-interval",
            "300ms",
            &self.name,
        ]);
        let output = docker(&run);
        assert!(output.status.success(), "the container cannot be run: {output:?}");
        container
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        docker(&["rmi", "--force", &self.name, &self.build]);
    }
}

/// A stage of the Dockerfile, as it is written there.
fn final_stage<'a>(dockerfile: &'a str, stage: &str) -> &'a str {
    let begin = dockerfile.find(&format!("FROM scratch AS {stage}\n")).expect("a final stage of this name");
    let stage = &dockerfile[begin..];
    &stage[..stage.find("\nFROM ").map_or(stage.len(), |end| end + 1)]
}

/// Builds an image of this name. Nothing is shared with other builds, which could be removed at the same
/// time.
fn build(name: &str, context: &Path) {
    let context = context.to_str().expect("a path in UTF-8");
    succeeds(Command::new("docker").args(["build", "--no-cache", "--tag", name, context]));
}

/// A container that is removed when this is dropped.
struct Container {
    name: String,
    _port: Port,
}

impl Container {
    /// Waits until Docker thinks so of the container: `healthy` or `unhealthy`.
    fn becomes(&self, health: &str) {
        let began = Instant::now();
        let wanted = format!("true {health}");
        while self.inspect("{{.State.Running}} {{.State.Health.Status}}") != wanted {
            assert!(
                began.elapsed() < PATIENCE,
                "the container does not become {health}: {}\n{:?}",
                self.inspect("{{json .State}}"),
                docker(&["logs", &self.name])
            );
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn inspect(&self, format: &str) -> String {
        succeeds(Command::new("docker").args(["inspect", "--format", format, &self.name])).trim().to_owned()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        docker(&["rm", "--force", &self.name]);
    }
}

/// The program built as the Dockerfile's build stage builds it, but without taking the time to optimize it.
fn static_binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let rustc = succeeds(Command::new("rustc").arg("-vV"));
        let target = rustc.lines().find_map(|line| line.strip_prefix("host: ")).expect("a host");
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("static");
        succeeds(
            Command::new(env!("CARGO"))
                .args([
                    "build",
                    "--quiet",
                    "--locked",
                    "--bin",
                    "cache-canary",
                    "--target",
                    target,
                    "--target-dir",
                ])
                .arg(&dir)
                .current_dir(ROOT)
                .env_remove("CARGO_ENCODED_RUSTFLAGS")
                .env("CARGO_PROFILE_DEV_DEBUG", "0")
                .env("RUSTFLAGS", "-C target-feature=+crt-static"),
        );
        dir.join(target).join("debug/cache-canary")
    })
}

/// The machine's busybox, which Debian's package busybox-static makes a static one.
fn busybox() -> PathBuf {
    let found = env::split_paths(&env::var_os("PATH").unwrap())
        .map(|dir| dir.join("busybox"))
        .find(|path| path.exists());
    found.expect("busybox is not installed; `tests/run` installs what the tests need")
}

fn docker(arguments: &[&str]) -> Output {
    Command::new("docker").args(arguments).output().expect("docker")
}

/// What a command prints; panics when it fails.
fn succeeds(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?} failed: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}
