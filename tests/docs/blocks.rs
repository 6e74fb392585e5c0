//! The examples of the pages, each run as it stands.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use super::support::{Authority, Kubelet, Redis, Sidecar, python};
use super::{pages, path, read};

/// A fenced block of a page.
struct Block {
    page: String,
    language: String,
    text: String,
}

fn blocks_of(page: &str) -> Vec<Block> {
    let text = read(page);
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for line in text.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(language)) => {
                let (page, language) = (page.to_owned(), language.to_owned());
                open = Some(Block { page, language, text: String::new() });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(block), None) => block.text.extend([line, "\n"]),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "{page} has a block without an end");
    blocks
}

fn blocks(language: &str) -> Vec<Block> {
    let all = pages().into_iter().flat_map(|page| blocks_of(&page));
    all.filter(|block| block.language == language).collect()
}

/// The variables that the comments of a block ask for: `# NAME=... in the environment`, with this value or any.
fn environment(toml: &str) -> BTreeMap<String, String> {
    let asked = toml.lines().filter_map(|line| line.strip_prefix("# ")?.strip_suffix(" in the environment"));
    asked
        .filter_map(|asked| asked.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.replace("...", "value")))
        .collect()
}

/// Puts into a folder what the examples expect in `/run/secrets`.
fn write_secrets(folder: &Path) {
    let authority = Authority::new();
    let identity = authority.issue(&["localhost"]);
    fs::write(folder.join("redis"), "a-password\n").unwrap();
    fs::write(folder.join("token"), "a-token-of-more-than-16-characters\n").unwrap();
    fs::write(folder.join("ca.pem"), authority.certificate()).unwrap();
    fs::write(folder.join("cert.pem"), identity.certificate()).unwrap();
    fs::write(folder.join("key.pem"), identity.key()).unwrap();
}

#[test]
fn config_check_accepts_every_example_of_a_configuration() {
    let folder = tempfile::tempdir().unwrap();
    write_secrets(folder.path());
    fs::copy(path("deploy/reviewboard/caches.json"), folder.path().join("caches.json")).unwrap();
    let targets =
        "[{\"targets\": [\"redis://sessions.a\"], \"labels\": {\"team\": \"a\", \"name\": \"sessions\"}}]";
    fs::write(folder.path().join("targets.json"), targets).unwrap();
    let secrets = format!("{}/", folder.path().display());
    let blocks = blocks("toml");
    assert!(blocks.len() > 10, "the pages have examples");
    for block in blocks {
        let file = folder.path().join("cache-canary.toml");
        fs::write(&file, block.text.replace("/run/secrets/", &secrets)).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_cache-canary"));
        command.env_clear().envs(environment(&block.text)).args(["config", "check", "-c"]).arg(&file);
        let output = command.output().unwrap();
        let (text, page) = (&block.text, &block.page);
        assert!(output.status.success(), "{page}:\n{text}\n{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// The first example of the README is tried first, so it needs no file and no variable.
#[test]
fn the_first_configuration_of_the_readme_needs_nothing_else() {
    let blocks = blocks_of("README.md");
    let first = &blocks.iter().find(|block| block.language == "toml").unwrap().text;
    assert!(!first.contains("_file") && !first.contains("${"), "{first}");
}

/// Runs the blocks of shell of a page in a network of their own, with a Redis and a memcached at their usual ports. A block
/// that serves goes on until the next one.
const WORLD: &str = r#"
set -euo pipefail
ip link set lo up
redis-server --save '' --dir "$folder" >/dev/null &
memcached -u root >/dev/null &
up() { for _ in {1..200}; do if "$@" >/dev/null 2>&1; then return; fi; sleep 0.05; done; echo "in vain: $*" >&2; exit 1; }
up redis-cli ping
up bash -c ': </dev/tcp/localhost/11211'
server=
serve() {
    stop
    bash -euo pipefail "$1" </dev/null >"$1.log" 2>&1 &
    server=$!
    up curl --silent --fail localhost:8080/livez
}
stop() { if [ -n "$server" ]; then pkill -P "$server" || true; kill "$server" 2>/dev/null || true; wait "$server" || true; server=; fi; }
cd "$folder"
for block in "$folder"/*.block; do
    if grep -Eq -- ' serve( |$)|demo$' "$block"; then
        serve "$block"
    else
        if grep -q localhost:8080 "$block" && [ -z "$server" ]; then
            echo 'CACHE_URL=redis://localhost:6379/0 cache-canary serve' >"$block.server"
            serve "$block.server"
        fi
        bash -euo pipefail "$block" || { echo "exit code $?: $(cat "$block")" >&2; exit 1; }
    fi
done
"#;

/// In place of cargo, as the program is built already.
const CARGO: &str = r#"#!/bin/sh
case "$*" in
"install --path .") ;;
"run --release -- demo") exec cache-canary demo ;;
*) echo "cargo $*: not known to the test" >&2; exit 1 ;;
esac
"#;

#[test]
fn every_command_of_the_pages_runs_as_it_is_written() {
    let can = Command::new("unshare").args(["--net", "ip", "link"]).output();
    if !can.is_ok_and(|output| output.status.success()) {
        let _ = writeln!(io::stderr(), "skipped: the commands of the pages, since there is no unshare --net");
        return;
    }
    let mut ran = 0;
    for page in pages().iter().filter(|page| {
        !page.starts_with("docs/decisions") && !["CONTRIBUTING.md", "RELEASING.md"].contains(&page.as_str())
    }) {
        let blocks = blocks_of(page);
        let is_run = |block: &&Block| block.language == "sh" && !block.text.starts_with("docker ");
        let commands: Vec<_> = blocks.iter().filter(is_run).collect();
        if commands.is_empty() {
            continue;
        }
        ran += commands.len();
        let file = blocks.iter().find(|block| block.language == "toml").map(|block| &block.text);
        let output = run(&commands, file.map(String::as_str));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{page}: {said}{}", String::from_utf8_lossy(&output.stdout));
    }
    assert!(ran > 10, "{ran} commands");
}

/// Runs commands in their order, in a folder with this configuration.
fn run(commands: &[&Block], config: Option<&str>) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for (number, block) in commands.iter().enumerate() {
        fs::write(folder.join(format!("{number:02}.block")), &block.text).unwrap();
    }
    if let Some(config) = config {
        fs::write(folder.join("cache-canary.toml"), config).unwrap();
    }
    let programs = folder.join("bin");
    fs::create_dir(&programs).unwrap();
    fs::write(programs.join("cargo"), CARGO).unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(programs.join("cargo"), executable).unwrap();
    let built = Path::new(env!("CARGO_BIN_EXE_cache-canary")).parent().unwrap();
    let path = format!("{}:{}:{}", programs.display(), built.display(), std::env::var("PATH").unwrap());
    let mut command = Command::new("timeout");
    command.args([
        "60",
        "unshare",
        "--net",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
        "bash",
        "-c",
        WORLD,
    ]);
    command.env("PATH", path).env("folder", folder).current_dir(folder).output().unwrap()
}

#[test]
fn the_docker_commands_fit_the_dockerfile() {
    let dockerfile = read("Dockerfile");
    let commands: Vec<_> =
        blocks("sh").into_iter().filter(|block| block.text.starts_with("docker ")).collect();
    assert!(!commands.is_empty());
    for line in commands.iter().flat_map(|block| block.text.lines()) {
        let words: Vec<_> = line.split_whitespace().collect();
        let after = |option: &str| words.iter().position(|word| *word == option).map(|at| words[at + 1]);
        match words[1] {
            "build" => {
                let stage = format!(" AS {}\n", after("--target").expect("a stage"));
                assert!(dockerfile.contains(&stage), "{line}");
                assert_eq!(after("-t"), words.iter().rev().nth(1).copied(), "{line}");
            }
            "run" => {
                assert!(after("-p").is_some_and(|ports| ports.ends_with(":8080")), "{line}");
                assert!(after("-e").is_some_and(|variable| variable.starts_with("CACHE_URL=")), "{line}");
                assert_eq!(words.last(), Some(&"cache-canary"), "{line}");
            }
            "compose" => {}
            other => panic!("docker {other}: {line}"),
        }
    }
}

/// The snippet of the README as a part of a pod: valid by the schema of Kubernetes, and its probes asked by a kubelet while
/// its cache goes down.
#[test]
fn the_snippet_for_kubernetes_is_valid_and_takes_the_pod_out_of_service() {
    let blocks = blocks_of("README.md");
    let snippet = &blocks.iter().find(|block| block.language == "yaml").unwrap().text;
    let mut pod = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: shop\nspec:\n".to_owned();
    pod.push_str("  containers:\n    - name: shop\n      image: shop\n");
    pod.extend(snippet.lines().map(|line| format!("  {line}\n")));
    let mut python = python("deploy/manifests.py", &["1.29"]);
    python.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut validator = python.spawn().expect("python3; `tests/run` installs what the tests need");
    validator.stdin.take().unwrap().write_all(pod.as_bytes()).unwrap();
    let output = validator.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let manifests: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let container = &manifests[0]["spec"]["initContainers"][0];
    let variable = &container["env"][0];
    assert_eq!((&variable["name"], &container["restartPolicy"]), (&"CACHE_URL".into(), &"Always".into()));
    let mut redis = Redis::start(&[]);
    let url = variable["value"].as_str().unwrap().replace("redis:6379", &redis.addr().to_string());
    let sidecar = Sidecar::start(format!("[caches.default]\nurl = \"{url}\"\n"));
    let mut kubelet = Kubelet::watch(container, sidecar.addr().parse().unwrap());
    kubelet.pass(30);
    assert!(kubelet.started() && kubelet.ready(), "{}", kubelet.readiness());
    redis.kill();
    kubelet.pass(60);
    assert!(!kubelet.ready(), "{}", kubelet.readiness());
    assert_eq!(kubelet.restarts(), 0, "no restart repairs a cache");
}

/// The line of Python prints a site's `CACHES` as JSON, which the next block takes. The site is a stub.
#[test]
fn the_line_for_django_prints_a_valid_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let django = folder.path().join("django");
    fs::create_dir(&django).unwrap();
    fs::write(django.join("__init__.py"), "").unwrap();
    let caches = read("deploy/reviewboard/caches.json");
    let site = format!("import json\nclass settings:\n    CACHES = json.loads({caches:?})\n");
    fs::write(django.join("conf.py"), site).unwrap();
    let blocks = blocks_of("README.md");
    let at = blocks.iter().position(|block| block.language == "python").unwrap();
    let printed = Command::new("python3")
        .args(["-c", &blocks[at].text])
        .env("PYTHONPATH", folder.path())
        .output()
        .expect("python3");
    assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
    fs::write(folder.path().join("caches.json"), printed.stdout).unwrap();
    let file = folder.path().join("cache-canary.toml");
    fs::write(&file, &blocks[at + 1].text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_cache-canary"));
    let output = command.env_clear().args(["config", "check", "-c"]).arg(&file).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("checked: "), "{said}");
}

/// The JSON of the pages can be read.
#[test]
fn every_example_of_json_is_valid() {
    for block in blocks("json") {
        let read: Result<serde_json::Value, _> = serde_json::from_str(&block.text);
        assert!(read.is_ok(), "{}: {read:?}", block.page);
    }
}
