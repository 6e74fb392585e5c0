//! The chart: rendered by Helm's own library, valid, the same as the examples for Kustomize, and accepted by the program.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::kubernetes::{container, container_of, manifests, of_kind, validated};
use crate::support::{Kubelet, Port, Redis, Sidecar, python};
use crate::{path, read, replaced};

/// The least that a central instance needs.
const LEAST: &str =
    "image: { repository: registry.example/cache-canary }\nconfig: { content: 'interval = \"10s\"' }\n";

fn chart() -> PathBuf {
    path("helm/cache-canary")
}

/// A file beside this one.
fn given(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/deploy/helm").join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The output of `helm.py COMMAND CHART ...` with these values, or its error.
fn helm(command: &str, chart: &Path, rest: &[&str], values: &str) -> Result<String, String> {
    let mut arguments = vec![command, chart.to_str().unwrap()];
    arguments.extend(rest);
    let mut python = python("deploy/helm.py", &arguments);
    python.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = python.spawn().expect("python3; `tests/run` installs what the tests need");
    process.stdin.take().unwrap().write_all(values.as_bytes()).unwrap();
    let Output { status, stdout, stderr } = process.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    if status.success() { Ok(text(stdout)) } else { Err(text(stderr)) }
}

/// What `helm template` prints for a release `canary` with these values.
fn template(values: &str) -> String {
    helm("template", &chart(), &["canary"], values).unwrap()
}

/// The same as manifests, each valid.
fn rendered(values: &str) -> Vec<Value> {
    validated(template(values).as_bytes()).unwrap()
}

/// The kinds of these manifests, in order.
fn kinds(manifests: &[Value]) -> Vec<&str> {
    manifests.iter().map(|manifest| manifest["kind"].as_str().unwrap()).collect()
}

/// The kinds with their names, as text.
fn overview(manifests: &[Value]) -> BTreeSet<String> {
    let word = |manifest: &Value, at: &str| manifest.pointer(at).unwrap().as_str().unwrap().to_owned();
    manifests
        .iter()
        .map(|manifest| word(manifest, "/kind") + " " + &word(manifest, "/metadata/name"))
        .collect()
}

fn copy_folder(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-rL").arg(from).arg(to).status().unwrap();
    assert!(copied.success());
}

/// A copy of the chart in which a part of a file is another.
fn chart_with(file: &str, part: &str, by: &str) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("cache-canary");
    copy_folder(&chart(), &copy);
    let file = copy.join(file);
    fs::write(&file, replaced(&fs::read_to_string(&file).unwrap(), part, by)).unwrap();
    (dir, copy)
}

/// The chart of an application that includes this one, as `helm dependency update` leaves it.
fn shop() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    // The dependency is a path from the one to the other.
    let tests = dir.path().join("tests/deploy/helm");
    fs::create_dir_all(&tests).unwrap();
    copy_folder(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/deploy/helm/shop"), &tests);
    std::os::unix::fs::symlink(path(""), dir.path().join("deploy")).unwrap();
    let shop = tests.join("shop");
    helm("dependencies", &shop, &[], "").unwrap();
    (dir, shop)
}

fn rendered_shop(values: &str) -> Vec<Value> {
    let (_dir, shop) = shop();
    validated(helm("template", &shop, &["shop"], values).unwrap().as_bytes()).unwrap()
}

#[test]
fn helm_lints_each_set_of_values_without_a_warning() {
    for values in ["central.yaml", "stateful.yaml"] {
        assert_eq!(helm("lint", &chart(), &[], &given(values)), Ok(String::new()), "{values}");
    }
    let (_dir, shop) = shop();
    assert_eq!(helm("lint", &shop, &[], ""), Ok(String::new()));

    let (_dir, broken) = chart_with("templates/service.yaml", "{{- end }}\n{{- end }}", "{{- end }}");
    let said = helm("lint", &broken, &[], &given("central.yaml")).unwrap_err();
    assert!(said.contains("service.yaml"), "{said}");
}

#[test]
fn kubernetes_takes_a_deployment_with_a_secret() {
    let manifests = rendered(&given("central.yaml"));
    let name = "canary-cache-canary";
    let expected = [
        format!("Secret {name}"),
        format!("Deployment {name}"),
        format!("Service {name}"),
        format!("Pod {name}-test"),
    ];
    assert_eq!(overview(&manifests), BTreeSet::from(expected));
    let (_, pod) = container(&manifests);
    assert_eq!(pod["volumes"], json!([{ "name": "cache-canary", "secret": { "secretName": name } }]));
    let config = of_kind(&manifests, "Secret")["stringData"]["cache-canary.toml"].as_str().unwrap();
    assert!(given("central.yaml").contains(config.lines().next().unwrap()), "{config}");
}

#[test]
fn kubernetes_takes_a_stateful_set_with_everything_on() {
    let manifests = rendered(&given("stateful.yaml"));
    let expected = [
        "ConfigMap canary",
        "ConfigMap canary-dashboard",
        "NetworkPolicy canary",
        "Pod canary-test",
        "PodDisruptionBudget canary",
        "PodMonitor canary",
        "PrometheusRule canary",
        "Service canary",
        "Service canary-pods",
        "ServiceAccount canary",
        "StatefulSet canary",
    ];
    assert_eq!(overview(&manifests), expected.map(str::to_owned).into());
}

#[test]
fn kubernetes_takes_the_chart_of_an_application_that_includes_the_sidecar() {
    let manifests = rendered_shop("");
    let expected = [
        "ConfigMap shop-cache-canary",
        "Deployment shop",
        "NetworkPolicy shop-cache-canary",
        "PodMonitor shop-cache-canary",
    ];
    assert_eq!(overview(&manifests), expected.map(str::to_owned).into());
    let (container, pod) = container(&manifests);
    assert_eq!(container["restartPolicy"], "Always", "no native sidecar");
    // Whatever is mounted is in the pod.
    let names = |list: &Value| -> BTreeSet<_> {
        list.as_array().unwrap().iter().map(|entry| entry["name"].to_string()).collect()
    };
    assert_eq!(names(&container["volumeMounts"]), names(&pod["volumes"]));
}

#[test]
fn kubernetes_takes_an_autoscaler() {
    let manifests = rendered(&format!("{LEAST}autoscaling: {{ enabled: true }}\n"));
    let scaler = &of_kind(&manifests, "HorizontalPodAutoscaler")["spec"];
    let deployment = of_kind(&manifests, "Deployment");
    assert_eq!(scaler["scaleTargetRef"]["name"], deployment["metadata"]["name"]);
    assert_eq!(deployment["spec"]["replicas"], Value::Null, "an upgrade would undo what it has scaled");
}

#[test]
fn a_misspelt_field_of_a_template_would_be_found() {
    for (file, field, misspelt) in [
        ("templates/_container.tpl", "imagePullPolicy", "imagepullpolicy"),
        ("templates/_pod.tpl", "automountServiceAccountToken", "autoMountServiceAccountToken"),
        ("templates/poddisruptionbudget.yaml", "maxUnavailable:", "maxUnavailabel:"),
        ("templates/podmonitor.yaml", "scrapeTimeout:", "scrapetimeout:"),
        ("templates/prometheusrule.yaml", "spec:", "specs:"),
        ("values.yaml", "seccompProfile", "secCompProfile"),
    ] {
        let (_dir, chart) = chart_with(file, field, misspelt);
        let manifests = helm("template", &chart, &["canary"], &given("stateful.yaml")).unwrap();
        let said = validated(manifests.as_bytes()).unwrap_err();
        assert!(said.contains(misspelt.trim_end_matches(':')), "{file}: {said}");
    }
}

#[test]
fn a_wrong_value_is_refused_with_the_name_of_its_key() {
    for (values, said) in [
        ("replica: 2", "additional properties 'replica' not allowed"),
        ("config: { contents: '' }", "at '/config': additional properties 'contents' not allowed"),
        ("replicas: two", "at '/replicas': got string, want integer"),
        ("image: { tag: 1.5 }", "at '/image/tag': got number, want string"),
        ("image: { digest: latest }", "at '/image/digest': 'latest' does not match pattern"),
        ("mode: library", "at '/mode': value must be one of 'central', 'sidecar'"),
        ("config: { kind: Pod }", "at '/config/kind': value must be one of 'ConfigMap', 'Secret'"),
        ("ports: { canary: 0 }", "at '/ports/canary': minimum: got 0, want 1"),
        ("access: { details: [monitoring] }", "at '/access/details/0': 'monitoring' does not match pattern"),
        ("drain: 5", "at '/drain': got number, want string"),
        ("drain: soon", "at '/drain': 'soon' does not match pattern"),
        ("podMonitor: { enabled: 'yes' }", "at '/podMonitor/enabled': got string, want boolean"),
        ("env: [{ value: a }]", "at '/env/0': missing property 'name'"),
        (
            "probes: { liveness: { path: / } }",
            "at '/probes/liveness': additional properties 'path' not allowed",
        ),
    ] {
        let error = helm("template", &chart(), &["canary"], values).unwrap_err();
        assert!(error.contains(said), "{values}: {error}");
    }
}

#[test]
fn values_that_contradict_each_other_are_refused_with_the_next_step() {
    let image = "image: { repository: registry.example/cache-canary }\n";
    for (values, said) in [
        (String::new(), "image.repository must be set: the registry and repository to which you push"),
        ("env: [{ name: CACHE_URL, value: 'redis://a' }]".to_owned(), "image.repository must be set"),
        (image.to_owned(), "no caches: set config.content, config.existingName or env"),
        (
            format!("{image}config: {{ content: 'a', existingName: 'b' }}"),
            "config.content and config.existingName exclude each other",
        ),
        (
            format!("{LEAST}kind: StatefulSet\nautoscaling: {{ enabled: true }}"),
            "autoscaling.enabled needs kind Deployment",
        ),
        (format!("{LEAST}shard: true"), "shard needs mode central and kind StatefulSet"),
        (
            format!("{LEAST}mode: sidecar\nnetworkPolicy: {{ enabled: true }}"),
            "networkPolicy.enabled needs sidecar.podLabels",
        ),
        (
            format!(
                "{LEAST}mode: sidecar\nsidecar: {{ podLabels: {{ a: b }} }}\nnetworkPolicy: {{ enabled: true }}"
            ),
            "networkPolicy.enabled needs networkPolicy.extraIngress",
        ),
    ] {
        let error = helm("template", &chart(), &["canary"], &values).unwrap_err();
        assert!(error.contains(said), "{values}: {error}");
    }
    let (_dir, shop) = shop();
    let error = helm("template", &shop, &["shop"], "cache-canary: { mode: central }").unwrap_err();
    assert!(error.contains("cache-canary.sidecar.container needs the value mode: sidecar"), "{error}");
}

/// The keys of these values and of the schema that differ.
fn compare(values: &Value, schema: &Value, at: &str, differ: &mut Vec<String>) {
    let Some(properties) = schema["properties"].as_object() else { return };
    // Those are for charts that include this one.
    let known = |key: &&String| !(at.is_empty() && ["global", "enabled"].contains(&key.as_str()));
    let values_keys: BTreeSet<_> = values.as_object().unwrap().keys().collect();
    let schema_keys: BTreeSet<_> = properties.keys().filter(known).collect();
    differ.extend(values_keys.symmetric_difference(&schema_keys).map(|key| format!("{at}.{key}")));
    for key in values_keys.intersection(&schema_keys) {
        compare(&values[*key], &properties[*key], &format!("{at}.{key}"), differ);
    }
}

#[test]
fn each_value_is_in_the_schema_and_each_key_of_the_schema_has_a_value() {
    let values: Value = serde_json::from_str(&helm("values", &chart(), &[], "").unwrap()).unwrap();
    let schema: Value = serde_json::from_str(&read("helm/cache-canary/values.schema.json")).unwrap();
    let mut differ = Vec::new();
    compare(&values, &schema, "", &mut differ);
    assert_eq!(differ, Vec::<String>::new());

    let mut wrong = values.clone();
    wrong["podMonitor"]["path"] = "/metrics".into();
    compare(&wrong, &schema, "", &mut differ);
    assert_eq!(differ, [".podMonitor.path"]);
}

/// The keys of the values that have no line of documentation, nor a key above them that has one.
fn undocumented(values: &str) -> Vec<String> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut undocumented = Vec::new();
    let mut documented_at = None;
    let mut lines = values.lines().peekable();
    let mut before = "";
    while let Some(line) = lines.next() {
        let previous = std::mem::replace(&mut before, line);
        let is_key = !line.trim_start().starts_with(['#', '-']) && line.contains(':');
        if !is_key || documented_at.is_some_and(|at| indent(line) > at) {
            continue;
        }
        documented_at = previous.trim_start().starts_with('#').then(|| indent(line));
        // A table of values that have lines of their own.
        let is_table =
            line.ends_with(':') && lines.peek().is_some_and(|next| next.trim_start().starts_with('#'));
        if documented_at.is_none() && !is_table {
            undocumented.push(line.trim().to_owned());
        }
    }
    undocumented
}

#[test]
fn each_value_has_a_line_of_documentation() {
    let values = read("helm/cache-canary/values.yaml");
    assert_eq!(undocumented(&values), Vec::<String>::new());
    let comment = values.lines().find(|line| line.contains("When the image is pulled")).unwrap();
    assert_eq!(undocumented(&values.replace(&format!("{comment}\n"), "")), ["pullPolicy: IfNotPresent"]);
}

/// A container without the parts in which the chart has more than the base: the environment, the ports and the image.
fn without_ports(container: &Value) -> Value {
    let mut container = container.clone();
    let parts = container.as_object_mut().unwrap();
    for part in ["env", "image", "imagePullPolicy", "ports", "volumeMounts"] {
        parts.remove(part);
    }
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        if let Some(probe) = parts.get_mut(probe) {
            probe["httpGet"]["port"] = "".into();
        }
    }
    container
}

#[test]
fn a_central_instance_is_that_of_the_kustomize_base() {
    let (base, chart) = (manifests("central"), rendered(LEAST));
    let ((base_container, base_pod), (chart_container, chart_pod)) = (container(&base), container(&chart));
    assert_eq!(without_ports(chart_container), without_ports(base_container));
    assert_eq!(chart_container["ports"][0], base_container["ports"][0]);
    assert_eq!(chart_container["volumeMounts"], base_container["volumeMounts"]);
    for part in ["automountServiceAccountToken", "terminationGracePeriodSeconds"] {
        assert_eq!(chart_pod[part], base_pod[part], "{part}");
    }
    let of = |manifests: &[Value], kind: &str, at: &str| of_kind(manifests, kind).pointer(at).cloned();
    for (kind, at) in [
        ("Deployment", "/spec/replicas"),
        ("Deployment", "/spec/template/metadata/annotations"),
        ("Service", "/spec/ports"),
    ] {
        assert_eq!(of(&chart, kind, at), of(&base, kind, at), "{kind} {at}");
    }

    let other = format!("{LEAST}securityContext: {{ readOnlyRootFilesystem: false }}\n");
    let other = rendered(&other);
    assert_ne!(without_ports(container(&other).0), without_ports(base_container), "the comparison sees it");
}

#[test]
fn the_policy_is_that_of_the_kustomize_base() {
    let (base, chart) =
        (manifests("central"), rendered(&format!("{LEAST}networkPolicy: {{ enabled: true }}\n")));
    let policy = |manifests: &[Value], part: &str| of_kind(manifests, "NetworkPolicy")["spec"][part].clone();
    for part in ["ingress", "policyTypes"] {
        assert_eq!(policy(&chart, part), policy(&base, part), "{part}");
    }
}

#[test]
fn a_sidecar_is_that_of_the_kustomize_base() {
    let (base, chart) = (manifests("sidecar"), rendered_shop(""));
    let ((base_container, _), (chart_container, _)) = (container(&base), container(&chart));
    assert_eq!(without_ports(chart_container), without_ports(base_container));
    assert_eq!(chart_container["ports"][0], base_container["ports"][0]);
    let mounted = |container: &Value| -> Vec<Value> {
        container["volumeMounts"].as_array().unwrap().iter().map(|mount| mount["mountPath"].clone()).collect()
    };
    assert_eq!(mounted(chart_container), mounted(base_container));
}

#[test]
fn probes_have_a_port_of_their_own_unless_there_is_none() {
    for (values, port, ports) in [("", "canary-probes", 2), ("ports: { probes: 0 }", "canary", 1)] {
        let manifests = rendered(&format!("{LEAST}{values}\n"));
        let (container, _) = container(&manifests);
        assert_eq!(container["livenessProbe"]["httpGet"]["port"], port);
        assert_eq!(container["ports"].as_array().unwrap().len(), ports);
    }
}

#[test]
fn a_pod_of_a_stateful_set_has_its_number_in_the_environment() {
    let label = "metadata.labels['apps.kubernetes.io/pod-index']";
    let of = |values: &str, kind: &str| {
        let manifests = rendered(values);
        let (container, _) = container_of(of_kind(&manifests, kind));
        let entries = container["env"].as_array().unwrap();
        entries.iter().find(|entry| entry["name"] == "POD_INDEX").cloned()
    };
    let number = of(&given("stateful.yaml"), "StatefulSet").expect("a number");
    assert_eq!(number["valueFrom"]["fieldRef"]["fieldPath"], label);
    assert_eq!(of(LEAST, "Deployment"), None);
}

#[test]
fn a_change_of_the_configuration_restarts_no_pod_unless_asked() {
    let with = |content: &str, restart: bool| {
        let image = "image: { repository: registry.example/cache-canary }";
        let manifests =
            rendered(&format!("{image}\nconfig: {{ content: '{content}', restartOnChange: {restart} }}\n"));
        let config = of_kind(&manifests, "ConfigMap")["data"].clone();
        (config, of_kind(&manifests, "Deployment")["spec"]["template"].clone())
    };
    for restart in [false, true] {
        let (before, after) = (with("slow = \"0s\"", restart), with("slow = \"100ms\"", restart));
        assert_ne!(before.0, after.0);
        assert_eq!(before.1 != after.1, restart);
    }
}

#[test]
fn an_upgrade_of_the_chart_alone_restarts_no_pod() {
    let (_dir, newer) = chart_with("Chart.yaml", "\nversion: 0.1.0", "\nversion: 0.1.1");
    let newer = helm("template", &newer, &["canary"], LEAST).unwrap();
    assert!(newer.contains("cache-canary-0.1.1"), "{newer}");
    let pod = |manifests: &[Value]| of_kind(manifests, "Deployment")["spec"]["template"].clone();
    assert_eq!(pod(&validated(newer.as_bytes()).unwrap()), pod(&rendered(LEAST)));
}

#[test]
fn an_image_has_a_tag_a_digest_or_both() {
    let digest = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    let version = env!("CARGO_PKG_VERSION");
    for (image, expected) in [
        ("tag: ''".to_owned(), format!(":{version}")),
        ("tag: next".to_owned(), ":next".to_owned()),
        (format!("digest: {digest}"), format!("@{digest}")),
        (format!("tag: next, digest: {digest}"), format!(":next@{digest}")),
    ] {
        let values = format!(
            "image: {{ repository: registry.example/canary, {image} }}\nconfig: {{ existingName: a }}\n"
        );
        let manifests = rendered(&values);
        assert_eq!(container(&manifests).0["image"], format!("registry.example/canary{expected}"));
    }
}

/// A file of the packaged chart.
fn packaged(chart: &Path, file: &str) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let archive = helm("package", chart, &[dir.path().to_str().unwrap()], "").unwrap();
    let file = format!("cache-canary/{file}");
    let output = Command::new("tar").args(["-xOzf", archive.trim(), &file]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// They are links, which Helm follows, so that there is one of each.
#[test]
fn the_package_has_the_alerts_and_the_dashboard_as_they_are() {
    for (file, of) in [
        ("files/alerts.yaml", "prometheus/alerts.yaml"),
        ("files/cache-canary.json", "grafana/cache-canary.json"),
    ] {
        assert_eq!(String::from_utf8(packaged(&chart(), file)).unwrap(), read(of));
    }
    let (_dir, older) = chart_with("files/alerts.yaml", "for: 1m", "for: 2m");
    assert_ne!(
        String::from_utf8(packaged(&older, "files/alerts.yaml")).unwrap(),
        read("prometheus/alerts.yaml")
    );
}

#[test]
fn the_objects_hold_the_alerts_and_the_dashboard_as_they_are() {
    let manifests = rendered(&given("stateful.yaml"));
    let indented = read("prometheus/alerts.yaml").replace('\n', "\n  ");
    let head =
        "apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata: { name: alerts }\nspec:\n  ";
    let alerts = validated(format!("{head}{indented}").as_bytes()).unwrap();
    assert_eq!(of_kind(&manifests, "PrometheusRule")["spec"], alerts[0]["spec"]);
    assert!(alerts[0]["spec"]["groups"].as_array().unwrap().len() > 3);

    let dashboard =
        manifests.iter().find(|manifest| manifest["metadata"]["name"] == "canary-dashboard").unwrap();
    let text = dashboard["data"]["cache-canary.json"].as_str().unwrap();
    let (dashboard, file) = (serde_json::from_str::<Value>(text), read("grafana/cache-canary.json"));
    assert_eq!(dashboard.unwrap(), serde_json::from_str::<Value>(&file).unwrap());
}

#[test]
fn the_pod_monitor_scrapes_the_pods_as_the_job_of_the_alerts_and_with_the_token() {
    for (manifests, kind) in
        [(rendered(&given("stateful.yaml")), "StatefulSet"), (rendered_shop(""), "Deployment")]
    {
        let monitor = &of_kind(&manifests, "PodMonitor")["spec"];
        let workload = of_kind(&manifests, kind);
        let labels = workload["spec"]["template"]["metadata"]["labels"].as_object().unwrap();
        let selected = monitor["selector"]["matchLabels"].as_object().unwrap();
        assert!(
            !selected.is_empty() && selected.iter().all(|(name, value)| labels[name] == *value),
            "{selected:?}"
        );
        let endpoint = &monitor["podMetricsEndpoints"][0];
        let (container, _) = container_of(workload);
        assert_eq!(endpoint["port"], container["ports"][0]["name"]);
        let job = &endpoint["relabelings"][0]["replacement"];
        assert!(read("prometheus/alerts.yaml").contains(&format!("up{{job={job}}}")), "{job}");
        let has_token = kind == "StatefulSet";
        let token = if has_token { json!({ "name": "canary-token", "key": "token" }) } else { Value::Null };
        assert_eq!(endpoint["authorization"]["credentials"], token);
    }
}

#[test]
fn the_notes_say_when_alerts_on_nodes_cannot_fire() {
    let notes = |values: &str| helm("notes", &chart(), &["canary"], values).unwrap();
    let warning = "the alerts on them cannot fire";
    let monitored = format!("{LEAST}podMonitor: {{ enabled: true }}\n");
    assert!(notes(&monitored).contains(warning));
    assert!(!notes(&format!("{monitored}access: {{ details: [10.244.0.0/16] }}\n")).contains(warning));
    assert!(!notes(&format!("{monitored}access: {{ tokenSecret: {{ name: token }} }}\n")).contains(warning));
    let least = notes(LEAST);
    assert!(!least.contains(warning) && least.contains("helm test canary --namespace caches"), "{least}");
    assert!(
        notes(&format!("{LEAST}mode: sidecar\n"))
            .contains("{{- include \"cache-canary.sidecar.container\" . | nindent 8 }}")
    );
}

/// `config show` with the configuration and the environment that the pod has.
fn shown(manifests: &[Value], kind: &str, more: &[(&str, &str)]) -> Result<String, String> {
    let dir = tempfile::tempdir().unwrap();
    let config = manifests.iter().find_map(|manifest| {
        ["data", "stringData"].iter().find_map(|data| manifest[data]["cache-canary.toml"].as_str())
    });
    let file = dir.path().join("cache-canary.toml");
    // Kubernetes puts the Secrets where they are expected; here they are in a folder.
    for secret in ["cache-canary/password", "cache-canary-token/token"] {
        fs::create_dir_all(dir.path().join(secret).parent().unwrap()).unwrap();
        fs::write(dir.path().join(secret), "a-secret-of-more-than-16-characters\n").unwrap();
    }
    let here = |text: &str| text.replace("/run/secrets/", &format!("{}/", dir.path().display()));
    fs::write(&file, here(config.expect("a configuration"))).unwrap();
    let (container, _) = container_of(of_kind(manifests, kind));
    let mut command = Command::new(env!("CARGO_BIN_EXE_cache-canary"));
    command.env_clear().args(["config", "show", "-c"]).arg(&file);
    for entry in container["env"].as_array().unwrap() {
        let name = entry["name"].as_str().unwrap();
        let value = match (entry["value"].as_str(), name) {
            (Some(value), _) => here(&value.replace("$(POD_INDEX)", "1")),
            (None, "POD_INDEX") => "1".to_owned(),
            (None, _) => "redis://from-a-secret:6379/0".to_owned(),
        };
        command.env(name, value);
    }
    let Output { status, stdout, stderr } = command.envs(more.iter().copied()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    if status.success() { Ok(text(stdout)) } else { Err(text(stderr)) }
}

#[test]
fn the_program_accepts_the_configuration_and_the_environment_of_each_pod() {
    let central = rendered(&given("central.yaml"));
    let shown_central = shown(&central, "Deployment", &[]).unwrap();
    for part in ["[::]:8080", "[::]:8081", "drain = \"5s\"", "interval = \"10s\""] {
        assert!(shown_central.contains(part), "{part}: {shown_central}");
    }
    let stateful = shown(&rendered(&given("stateful.yaml")), "StatefulSet", &[]).unwrap();
    // Both caches are on the shard of this pod.
    for part in [
        "drain = \"10s\"",
        "10.244.0.0/16",
        "CACHE_CANARY_ACCESS__TOKEN_FILE",
        "redis://from-a-secret:6379",
        "index = 1",
        "of = 3",
    ] {
        assert!(stateful.contains(part), "{part}: {stateful}");
    }
    let sidecar = shown(&rendered_shop(""), "Deployment", &[]).unwrap();
    for part in ["[::]:8081", "drain = \"0s\"", "10.244.0.0/16"] {
        assert!(sidecar.contains(part), "{part}: {sidecar}");
    }

    let error = shown(&central, "Deployment", &[("CACHE_CANARY_ACCESS__DETAIL", "10.0.0.0/8")]).unwrap_err();
    assert!(error.contains("CACHE_CANARY_ACCESS__DETAIL"), "{error}");
}

/// The code of the response to a request for this path at this port.
fn code(port: &Port, path: &str) -> String {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--output", "/dev/null", "--write-out", "%{http_code}"]);
    let output = curl.arg(format!("http://{}{path}", port.addr())).output().expect("curl");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_kubelet_finds_the_probes_of_a_sidecar_at_the_port_that_the_container_names() {
    let manifests = rendered_shop("");
    let (container, _) = container(&manifests);
    let (canary, probes) = (Port::reserve(), Port::reserve());
    let mut command = Command::new(env!("CARGO_BIN_EXE_cache-canary"));
    for entry in container["env"].as_array().unwrap() {
        let value = entry["value"].as_str().unwrap();
        let value = value.replace("[::]:8080", &canary.addr().to_string());
        let value = value.replace("[::]:8081", &probes.addr().to_string());
        command.env(entry["name"].as_str().unwrap(), value);
    }
    let mut redis = Redis::start(&[]);
    let caches = format!("[caches.main]\nurl = \"redis://{}\"", redis.addr());
    let _sidecar = Sidecar::start_by(command, &canary, "", caches);
    assert_eq!((code(&canary, "/metrics"), code(&probes, "/metrics")), ("200".into(), "404".into()));

    let mut kubelet = Kubelet::watch(container, probes.addr());
    kubelet.pass(10);
    assert!(kubelet.started() && kubelet.ready(), "{}", kubelet.readiness());
    redis.kill();
    kubelet.pass(10);
    assert_eq!((kubelet.ready(), kubelet.readiness(), kubelet.restarts()), (false, "503", 0));
}

#[test]
fn helm_test_asks_for_the_health_of_every_cache() {
    let manifests = rendered(&given("central.yaml"));
    let pod = of_kind(&manifests, "Pod");
    assert_eq!(pod["metadata"]["annotations"]["helm.sh/hook"], "test");
    // The Service must not send it requests.
    let selected = of_kind(&manifests, "Service")["spec"]["selector"].as_object().unwrap();
    assert!(selected.iter().any(|(name, value)| pod["metadata"]["labels"][name] != *value));
    let container = &pod["spec"]["containers"][0];
    assert_eq!(
        container["securityContext"],
        container_of(of_kind(&manifests, "Deployment")).0["securityContext"]
    );
    let arguments: Vec<_> =
        container["args"].as_array().unwrap().iter().map(|argument| argument.as_str().unwrap()).collect();

    let mut redis = Redis::start(&[]);
    let sidecar = Sidecar::start(format!("[caches.main]\nurl = \"redis://{}\"", redis.addr()));
    let ask = || {
        let arguments = arguments.iter().map(|word| word.replace("canary-cache-canary:80", sidecar.addr()));
        Command::new(env!("CARGO_BIN_EXE_cache-canary")).args(arguments).output().unwrap()
    };
    assert_eq!(ask().status.code(), Some(0));
    redis.kill();
    let output = ask();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(said.contains("refused"), "{said}");
}

#[test]
fn the_version_of_the_chart_is_that_of_the_program() {
    let version = env!("CARGO_PKG_VERSION");
    assert!(read("helm/cache-canary/Chart.yaml").contains(&format!("\nappVersion: {version}\n")));
}

#[test]
fn a_central_chart_has_no_more_objects_than_it_needs() {
    assert_eq!(kinds(&rendered(LEAST)), ["ConfigMap", "Deployment", "Service", "Pod"]);
    // Variables alone need no object for the configuration, and no mount.
    let values = "image: { repository: a }\nenv: [{ name: CACHE_URL, value: 'redis://redis' }]\n";
    let manifests = rendered(values);
    assert_eq!(kinds(&manifests), ["Deployment", "Service", "Pod"]);
    let (container, pod) = container(&manifests);
    assert_eq!((&container["args"], &pod["volumes"]), (&json!(["serve"]), &Value::Null));
}
