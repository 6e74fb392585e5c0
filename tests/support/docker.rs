//! Docker: images that are made here, and what the engine says of a container.
//!
//! No registry is asked: the build stage of `Dockerfile` needs one to take its base image from, and is replaced
//! by an image that holds what it would have made, built here. The final stages are built as they are written.

use std::env;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::MAX_WAIT;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Whether containers can be run here. If they cannot, it says so, and that `what` is skipped.
pub fn answers(what: &str) -> bool {
    let Err(reason) = engine() else { return true };
    // Not by `println`, which a test that passes keeps to itself.
    let _ = writeln!(io::stderr(), "skipped: {what}, since {reason}");
    false
}

/// Why no container can be run here.
fn engine() -> Result<(), String> {
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

/// An image made here, removed when this is dropped.
#[derive(Debug)]
pub struct Image {
    name: String,
}

impl Image {
    /// Builds the final stage of this name.
    pub fn of_stage(stage: &str) -> Self {
        let made = Self::of_build_stage(stage);
        let dockerfile = fs::read_to_string(Path::new(ROOT).join("Dockerfile")).expect("the Dockerfile");
        let context = tempfile::tempdir().expect("a directory");
        let stand_in = format!("FROM {} AS build\n", made.name);
        let script = Path::new(ROOT).join("healthcheck.sh");
        fs::copy(script, context.path().join("healthcheck.sh")).expect("to copy");
        Self::build(stage, &(stand_in + final_stage(&dockerfile, stage)), context.path())
    }

    /// The product of the build stage, as an image.
    fn of_build_stage(stage: &str) -> Self {
        let context = tempfile::tempdir().expect("a directory");
        let out = context.path().join("out");
        copy(static_binary(), &out.join("cache-canary"));
        copy_busybox(&out.join("bin"));
        for folder in ["doc", "busybox"] {
            fs::create_dir(out.join(folder)).expect("a directory");
            fs::write(out.join(folder).join("notices"), "").expect("to write");
        }
        Self::build(&format!("{stage}-build"), "FROM scratch\nCOPY out /out\n", context.path())
    }

    /// An image with the machine's own program of this name, and busybox' tools beside it.
    pub fn of_program(program: &str) -> Self {
        let context = tempfile::tempdir().expect("a directory");
        let root = context.path().join("root");
        let path = find(program);
        // The loader stands there by its path, `/lib64/ld-linux-x86-64.so.2`; the libraries behind an arrow.
        let libraries = Command::new("ldd").arg(&path).output().expect("ldd");
        let libraries = String::from_utf8_lossy(&libraries.stdout).into_owned();
        for library in libraries.split_whitespace().filter(|word| word.starts_with('/')) {
            copy(Path::new(library), &root.join(&library[1..]));
        }
        copy(&path, &root.join("usr/bin").join(program));
        copy_busybox(&root.join("bin"));
        Self::build(program, "FROM scratch\nCOPY root /\n", context.path())
    }

    /// Nothing is shared with other builds, which could be removed at the same time.
    fn build(what: &str, dockerfile: &str, context: &Path) -> Self {
        static BUILT: AtomicUsize = AtomicUsize::new(0);
        let number = BUILT.fetch_add(1, Ordering::Relaxed);
        let image = Self { name: format!("cache-canary-test-{}-{number}-{what}", std::process::id()) };
        fs::write(context.join("Dockerfile"), dockerfile).expect("to write");
        let context = context.to_str().expect("a path in UTF-8");
        succeeds(Command::new("docker").args(["build", "--no-cache", "--tag", &image.name, context]));
        image
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        docker(&["rmi", "--force", &self.name]);
    }
}

/// A container, removed when this is dropped.
#[derive(Debug)]
pub struct Container {
    name: String,
}

impl Container {
    /// Runs one of this name with these further arguments of `docker run`, the image last.
    pub fn run(name: &str, arguments: &[&str]) -> Self {
        let container = Self { name: name.to_owned() };
        let output = docker(&[&["run", "--detach", "--name", name], arguments].concat());
        assert!(output.status.success(), "the container cannot be run: {output:?}");
        container
    }

    /// One that another program runs, or will.
    pub fn called(name: &str) -> Self {
        Self { name: name.to_owned() }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Waits until Docker thinks so of the container: `healthy` or `unhealthy`.
    pub fn becomes(&self, health: &str) {
        let began = Instant::now();
        let wanted = format!("true {health}");
        while self.inspect("{{.State.Running}} {{.State.Health.Status}}") != wanted {
            assert!(
                began.elapsed() < MAX_WAIT,
                "the container does not become {health}: {}\n{:?}",
                self.inspect("{{json .State}}"),
                docker(&["logs", &self.name])
            );
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// The result of a template of Docker's for it; empty if there is none of that name.
    pub fn inspect(&self, format: &str) -> String {
        let output = docker(&["container", "inspect", "--format", format, &self.name]);
        String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        docker(&["rm", "--force", "--volumes", &self.name]);
    }
}

/// A stage of the Dockerfile, as it is written there.
fn final_stage<'a>(dockerfile: &'a str, stage: &str) -> &'a str {
    let begin = dockerfile.find(&format!("FROM scratch AS {stage}\n")).expect("a final stage of this name");
    let stage = &dockerfile[begin..];
    &stage[..stage.find("\nFROM ").map_or(stage.len(), |end| end + 1)]
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

/// The machine's busybox, which Debian's package busybox-static makes a static one, with a link for each tool.
fn copy_busybox(to: &Path) {
    let busybox = find("busybox");
    copy(&busybox, &to.join("busybox"));
    let tools = succeeds(Command::new(&busybox).arg("--list"));
    for tool in tools.lines().filter(|&tool| tool != "busybox") {
        symlink("busybox", to.join(tool)).expect("a link");
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.parent().expect("a directory")).expect("a directory");
    fs::copy(from, to).unwrap_or_else(|error| panic!("cannot copy {}: {error}", from.display()));
}

/// The path of this program on the machine.
fn find(program: &str) -> PathBuf {
    let path = env::var_os("PATH").expect("a PATH");
    let found = env::split_paths(&path).map(|dir| dir.join(program)).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("{program} is not installed; `tests/run` installs what the tests need"))
}

/// Runs `docker`, whatever comes of it.
pub fn docker(arguments: &[&str]) -> Output {
    Command::new("docker").args(arguments).output().expect("docker")
}

/// The output of a command; panics when it fails.
pub fn succeeds(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?} failed: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}
