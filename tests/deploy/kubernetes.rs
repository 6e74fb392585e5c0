//! The manifests: valid, and asked by a kubelet.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::{Kubelet, Memcached, Port, Redis, Sidecar, python};
use crate::{path, read, replaced};

/// The first version with native sidecars, the one whose kubelet `support::Kubelet` is, and the newest with schemas.
const VERSIONS: [&str; 3] = ["1.29", "1.30", "1.37"];

/// The mount point of the secret, which the configuration names.
const SECRETS: &str = "/run/secrets/cache-canary";

/// The folders that are applied.
const FOLDERS: [&str; 2] = ["sidecar", "central"];

/// The manifests that Kustomize makes of a folder, each valid.
pub(super) fn manifests(folder: &str) -> Vec<Value> {
    kustomized(&path("kubernetes").join(folder))
}

fn kustomized(folder: &Path) -> Vec<Value> {
    let rendered = Command::new("kubectl").arg("kustomize").arg(folder).output().expect("kubectl");
    assert!(rendered.status.success(), "{}", String::from_utf8_lossy(&rendered.stderr));
    validated(&rendered.stdout).unwrap_or_else(|said| panic!("{}: {said}", folder.display()))
}

/// The manifests of a stream of YAML, each valid for every version, or what is wrong with them.
pub(super) fn validated(yaml: &[u8]) -> Result<Vec<Value>, String> {
    let mut python = python("deploy/manifests.py", &VERSIONS);
    python.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut validator = python.spawn().expect("python3; `tests/run` installs what the tests need");
    validator.stdin.take().unwrap().write_all(yaml).unwrap();
    let output = validator.wait_with_output().unwrap();
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    Ok(serde_json::from_slice(&output.stdout).unwrap())
}

pub(super) fn of_kind<'a>(manifests: &'a [Value], kind: &str) -> &'a Value {
    manifests.iter().find(|manifest| manifest["kind"] == kind).unwrap_or_else(|| panic!("no {kind}"))
}

/// The sidecar's container, wherever it is in the pod, and the pod.
pub(super) fn container(manifests: &[Value]) -> (&Value, &Value) {
    container_of(of_kind(manifests, "Deployment"))
}

/// The same of this workload.
pub(super) fn container_of(workload: &Value) -> (&Value, &Value) {
    let pod = &workload["spec"]["template"]["spec"];
    let containers = [&pod["initContainers"], &pod["containers"]];
    let containers = containers.into_iter().filter_map(Value::as_array).flatten();
    (containers.into_iter().find(|container| container["name"] == "cache-canary").unwrap(), pod)
}

/// The configuration that the pod finds, listening where a test can ask it.
fn config(manifests: &[Value]) -> String {
    let config = of_kind(manifests, "ConfigMap")["data"]["cache-canary.toml"].as_str().unwrap();
    let (container, _) = container(manifests);
    let port = &container["ports"][0]["containerPort"];
    let config = replaced(config, &format!("[::]:{port}"), "127.0.0.1:0");
    // Loopback, where tests are, is narrowed, and holds the network of the pods.
    let config = replaced(&config, "127.0.0.0/8", "127.0.0.1/32");
    replaced(&config, "10.244.0.0/16", "127.0.2.0/24")
}

#[test]
fn kubernetes_takes_the_manifests() {
    for folder in FOLDERS {
        let kinds: Vec<_> = manifests(folder).iter().map(|manifest| manifest["kind"].clone()).collect();
        assert_eq!(kinds, ["ConfigMap", "Service", "Deployment", "NetworkPolicy"], "of {folder}");
    }
}

#[test]
fn a_manifest_with_a_misspelt_field_would_be_found() {
    for (file, field, misspelt) in [
        ("sidecar/deployment.yaml", "readOnlyRootFilesystem", "readonlyRootFilesystem"),
        ("sidecar/networkpolicy.yaml", "namespaceSelector", "nameSpaceSelector"),
        ("prometheus-operator/podmonitor.yaml", "scrapeTimeout", "scrapetimeout"),
    ] {
        let manifest = read(&format!("kubernetes/{file}"));
        assert_eq!(validated(manifest.as_bytes()).map(|manifests| manifests.len()), Ok(1));
        let said = validated(replaced(&manifest, field, misspelt).as_bytes()).unwrap_err();
        assert!(said.contains(misspelt), "{said}");
    }
}

#[test]
fn a_manifest_with_a_wrong_value_would_be_found() {
    for (file, value, wrong, said) in [
        ("sidecar/deployment.yaml", "replicas: 2", "replicas: two", "'two' is not of type 'integer'"),
        ("prometheus-operator/podmonitor.yaml", "interval: 15s", "interval: 15 s", "'15 s'"),
    ] {
        let manifest = replaced(&read(&format!("kubernetes/{file}")), value, wrong);
        let error = validated(manifest.as_bytes()).unwrap_err();
        assert!(error.contains(said), "{error}");
    }
}

/// A kustomization as an operator writes it, with the component for Prometheus' operator.
#[test]
fn the_pod_monitor_is_added_to_either_example_and_selects_its_port_and_the_job_of_the_alerts() {
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(path("kubernetes"), dir.path().join("kubernetes")).unwrap();
    let overlay = dir.path().join("overlay");
    fs::create_dir(&overlay).unwrap();
    for folder in FOLDERS {
        let kustomization = format!(
            "resources: [../kubernetes/{folder}]\ncomponents: [../kubernetes/prometheus-operator]\nnamespace: shop\n"
        );
        fs::write(overlay.join("kustomization.yaml"), kustomization).unwrap();
        let manifests = kustomized(&overlay);
        let monitor = of_kind(&manifests, "PodMonitor");
        assert_eq!(monitor["metadata"]["namespace"], "shop");
        let endpoint = &monitor["spec"]["podMetricsEndpoints"][0];
        let (container, _) = container(&manifests);
        assert_eq!(endpoint["port"], container["ports"][0]["name"]);
        let job = &endpoint["relabelings"][0]["replacement"];
        assert!(read("prometheus/alerts.yaml").contains(&format!("up{{job={job}}}")), "{job}");
    }
}

/// The callers that a policy lets in at a port.
fn let_in<'a>(policy: &'a Value, port: &Value) -> Option<&'a Value> {
    let rules = policy["spec"]["ingress"].as_array().unwrap();
    let rule = rules.iter().find(|rule| rule["ports"][0]["port"] == *port)?;
    Some(&rule["from"])
}

#[test]
fn the_policy_lets_prometheus_in_and_the_callers_of_the_application() {
    for folder in FOLDERS {
        let manifests = manifests(folder);
        let policy = of_kind(&manifests, "NetworkPolicy");
        let deployment = of_kind(&manifests, "Deployment");
        let labels = &deployment["spec"]["template"]["metadata"]["labels"];
        assert_eq!(policy["spec"]["podSelector"]["matchLabels"], *labels);
        let (container, pod) = container(&manifests);
        let from = let_in(policy, &container["ports"][0]["containerPort"]).expect("a rule");
        let monitoring = "kubernetes.io/metadata.name";
        assert_eq!(from[0]["namespaceSelector"]["matchLabels"][monitoring], "monitoring");
        let application = &pod["containers"][0];
        if application != container {
            let port = &application["ports"][0]["containerPort"];
            assert_eq!(let_in(policy, port), Some(&Value::Null), "everybody is let in");
        }
    }
}

/// The series that a scrape from this address has. The address is on loopback, and the example's loopback is narrowed to one.
fn scraped_from(address: &str, sidecar: &Sidecar) -> String {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--fail", "--interface", address]);
    let output = curl.arg(format!("http://{}/metrics", sidecar.addr())).output().expect("curl");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_scrape_from_the_network_of_the_pods_has_the_series_that_alerts_on_nodes_need() {
    let pod = Pod::ready();
    for (address, has_nodes) in [("127.0.0.1", true), ("127.0.2.9", true), ("127.0.3.9", false)] {
        let series = scraped_from(address, &pod.sidecar);
        assert!(series.contains("cache_up{alias=\"main\",check=\"round_trip\"} 1"), "{series}");
        assert_eq!(series.contains("\ncache_node_up{"), has_nodes, "from {address}: {series}");
    }
}

#[test]
fn every_file_of_a_folder_is_named_in_its_kustomization() {
    for folder in FOLDERS.into_iter().chain(["prometheus-operator"]) {
        let kustomization = read(&format!("kubernetes/{folder}/kustomization.yaml"));
        let named = kustomization.lines().filter_map(|line| line.trim().strip_prefix("- "));
        let named = named.filter(|word| !word.contains(':')).map(str::to_owned);
        let named: BTreeSet<_> = named.chain(["kustomization.yaml".to_owned()]).collect();
        let entries = fs::read_dir(path("kubernetes").join(folder)).unwrap();
        let there = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        assert_eq!(named, there, "in {folder}");
    }
}

#[test]
fn the_container_may_do_nothing_that_it_need_not() {
    for folder in FOLDERS {
        let manifests = manifests(folder);
        let (container, pod) = container(&manifests);
        let context = &container["securityContext"];
        assert_eq!(context["runAsNonRoot"], true);
        assert_eq!(context["readOnlyRootFilesystem"], true);
        assert_eq!(context["allowPrivilegeEscalation"], false);
        assert_eq!(context["capabilities"], serde_json::json!({ "drop": ["ALL"] }));
        assert_eq!(context["seccompProfile"]["type"], "RuntimeDefault");
        assert_eq!(pod["automountServiceAccountToken"], false);
        // The user that the Dockerfile names.
        let user = format!("USER {}:{}\n", context["runAsUser"], context["runAsGroup"]);
        let dockerfile = concat!(env!("CARGO_MANIFEST_DIR"), "/Dockerfile");
        assert!(fs::read_to_string(dockerfile).unwrap().contains(&user), "{user}");
    }
}

/// The caches that the sidecar's configuration names, and the sidecar.
struct Pod {
    redis: Redis,
    memcached: Memcached,
    sidecar: Sidecar,
    kubelet: Kubelet,
    _secrets: tempfile::TempDir,
}

impl Pod {
    /// Starts the pod's sidecar while there is no Redis.
    fn start() -> Self {
        let manifests = manifests("sidecar");
        let (container, pod) = container(&manifests);
        assert_eq!(container["restartPolicy"], "Always", "no native sidecar");
        let secret = pod["volumes"].as_array().unwrap().iter().find(|volume| !volume["secret"].is_null());
        let mounts = container["volumeMounts"].as_array().unwrap();
        assert!(
            mounts.iter().any(|mount| {
                mount["name"] == secret.expect("a secret")["name"] && mount["mountPath"] == SECRETS
            }),
            "the secret is not where the configuration looks"
        );

        let secrets = tempfile::tempdir().unwrap();
        fs::write(secrets.path().join("password"), "correct-horse\n").unwrap();
        let mut redis = Redis::start(&[]);
        redis.set_user("shop", "on >correct-horse ~djblets-* +@all");
        let memcached = Memcached::start(&[]);
        let config = config(&manifests);
        let config = replaced(&config, SECRETS, secrets.path().to_str().unwrap());
        let config = replaced(&config, "redis:6379", &redis.addr().to_string());
        let config = replaced(&config, "memcached:11211", &memcached.addr().to_string());
        redis.kill();
        let sidecar = Sidecar::start_as_written(&config);
        let kubelet = Kubelet::watch(container, sidecar.addr().parse().unwrap());
        Self { redis, memcached, sidecar, kubelet, _secrets: secrets }
    }

    /// The same, when all its caches have been up and it is ready.
    fn ready() -> Self {
        let mut pod = Self::start();
        pod.restart_redis();
        pod.kubelet.pass(8);
        assert!(pod.kubelet.ready(), "{}", pod.kubelet.readiness());
        pod
    }

    fn restart_redis(&mut self) {
        self.redis.restart();
        self.redis.set_user("shop", "on >correct-horse ~djblets-* +@all");
    }
}

#[test]
fn the_application_is_started_when_its_caches_are_up() {
    let mut pod = Pod::start();
    pod.kubelet.pass(30);
    assert!(!pod.kubelet.started());

    pod.restart_redis();
    pod.kubelet.pass(2);
    assert!(pod.kubelet.started());
    assert_eq!(pod.kubelet.restarts(), 0);
}

#[test]
fn an_outage_takes_the_pod_out_of_service_and_restarts_nothing() {
    let mut pod = Pod::ready();

    pod.redis.kill();
    pod.kubelet.pass(10);
    assert!(!pod.kubelet.ready());
    pod.kubelet.pass(60);
    assert_eq!(pod.kubelet.restarts(), 0, "a restart does not repair a cache");

    pod.restart_redis();
    pod.kubelet.pass(5);
    assert!(pod.kubelet.ready(), "{}", pod.kubelet.readiness());
}

#[test]
fn a_cache_that_the_application_can_do_without_leaves_it_in_service() {
    let mut pod = Pod::ready();

    pod.memcached.kill();
    pod.kubelet.pass(30);
    assert_eq!((pod.kubelet.ready(), pod.kubelet.readiness()), (true, "200"));
    let health = pod.sidecar.health();
    assert_eq!((health.code, &health.body["checks"]["cache.pages"]), (503, &"DOWN".into()));
}

#[test]
fn the_kubelet_has_an_answer_in_time_when_a_cache_hangs() {
    let mut pod = Pod::ready();

    pod.redis.stop();
    pod.kubelet.pass(10);
    assert_eq!((pod.kubelet.ready(), pod.kubelet.readiness()), (false, "503"));

    pod.redis.cont();
    pod.kubelet.pass(5);
    assert_eq!((pod.kubelet.ready(), pod.kubelet.readiness()), (true, "200"));
}

#[test]
fn a_sidecar_that_hangs_is_restarted() {
    let mut pod = Pod::ready();
    let process = Pid::from_raw(i32::try_from(pod.sidecar.pid()).unwrap()).unwrap();
    kill_process(process, Signal::STOP).unwrap();
    pod.kubelet.pass(30);
    kill_process(process, Signal::CONT).unwrap();
    assert_eq!(pod.kubelet.restarts(), 1);
}

#[test]
fn a_central_instance_can_be_asked_for_the_caches_that_are_down() {
    let manifests = manifests("central");
    let config = config(&manifests);
    let port = Port::reserve();
    let nowhere = port.addr().to_string();
    let config = replaced(&config, "sentinel.shop.svc", &nowhere);
    let config = replaced(&config, "redis.search.svc", &nowhere);
    let config = replaced(&config, "memcached.sessions.svc:11211", &nowhere);
    let sidecar = Sidecar::start_as_written(&config);
    let (container, _) = container(&manifests);
    let mut kubelet = Kubelet::watch(container, sidecar.addr().parse().unwrap());

    kubelet.pass(30);
    assert!(kubelet.ready(), "{}", kubelet.readiness());
    assert_eq!(kubelet.restarts(), 0);
    assert_eq!(sidecar.health().code, 503);
}

#[test]
fn a_pod_is_given_the_time_that_it_drains_and_finishes() {
    let manifests = manifests("central");
    let (_, pod) = container(&manifests);
    let config = config(&manifests);
    let drain = config.lines().find_map(|line| line.strip_prefix("drain = \"")?.strip_suffix("s\""));
    let drain: u64 = drain.expect("a drain in seconds").parse().unwrap();
    // Open requests may take 10 s after it.
    assert!(drain > 0 && pod["terminationGracePeriodSeconds"].as_u64() > Some(drain + 10));
}
