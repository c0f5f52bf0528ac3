//! What a pod with the sidecar holds, no matter who wrote it: the manifests or the chart.

use serde_json::{Value, json};

use crate::{
    deploy::tools::{AFTER_DRAIN, address, checked, drain, of_kind, secrets},
    sidecar::Sidecar,
};

/// What the process takes beside its queues, at the most that was measured, twice.
const PROCESS: u64 = 32 << 20;
/// `session.queue` where it is not named.
const QUEUE: u64 = 1 << 20;

/// How the sidecar is started and ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Native,
    Classic,
}

/// The Deployment among these documents, its ConfigMap, and each fact that joins them.
pub(crate) fn holds(documents: &[Value], kind: Kind) {
    let template = &of_kind(documents, "Deployment")["spec"]["template"];
    let pod = &template["spec"];
    let sidecar = sidecar(pod, kind);
    let map = of_kind(documents, "ConfigMap");
    let text = map["data"]["perennial.toml"].as_str().unwrap();
    let configuration = checked(text);

    began_and_ended(pod, sidecar, kind, drain(&configuration));
    confined(sidecar);
    let admin = address(&configuration, "admin");
    assert!(admin.ip().is_unspecified(), "the kubelet asks from outside");
    assert!(address(&configuration, "listen").ip().is_loopback(), "clients are in the pod");
    assert_eq!(sidecar["ports"], json!([{ "name": "perennial-admin", "containerPort": admin.port() }]));
    for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
        assert_eq!(sidecar[probe]["httpGet"]["port"], "perennial-admin", "{probe}");
    }
    mounted(pod, sidecar, map, text);
    let annotations = &template["metadata"]["annotations"];
    if !annotations["prometheus.io/scrape"].is_null() {
        assert_eq!(annotations["prometheus.io/port"], admin.port().to_string());
        assert_eq!(annotations["prometheus.io/path"], "/metrics");
    }
    let sessions = u64::try_from(configuration["limits"]["sessions"].as_integer().unwrap()).unwrap();
    assert!(sessions * QUEUE * 2 + PROCESS <= memory(sidecar), "full queues exceed the limit on memory");
}

/// The sidecar's container, where it belongs.
fn sidecar(pod: &Value, kind: Kind) -> &Value {
    let among =
        |list: &str| pod[list].as_array().is_some_and(|all| all.iter().any(|c| c["name"] == "perennial"));
    assert_eq!(among("initContainers"), kind == Kind::Native);
    assert_eq!(among("containers"), kind == Kind::Classic);
    let list = if kind == Kind::Native { "initContainers" } else { "containers" };
    // Started first, either way.
    assert_eq!(pod[list][0]["name"], "perennial");
    &pod[list][0]
}

fn began_and_ended(pod: &Value, sidecar: &Value, kind: Kind, drain: u64) {
    let grace = pod["terminationGracePeriodSeconds"].as_u64().unwrap();
    let before = match kind {
        Kind::Native => {
            assert_eq!(sidecar["restartPolicy"], "Always");
            assert_eq!(
                sidecar["lifecycle"],
                Value::Null,
                "a preStop would run while the application still talks"
            );
            // The application has at least so long.
            10
        }
        Kind::Classic => {
            assert_eq!(sidecar["restartPolicy"], Value::Null);
            sidecar["lifecycle"]["preStop"]["sleep"]["seconds"].as_u64().unwrap()
        }
    };
    assert!(grace >= before + drain + AFTER_DRAIN, "{kind:?}: killed while it drains");
}

fn confined(sidecar: &Value) {
    let wanted = json!({
        "runAsNonRoot": true,
        "runAsUser": 65532,
        "runAsGroup": 65532,
        "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true,
        "capabilities": { "drop": ["ALL"] },
        "seccompProfile": { "type": "RuntimeDefault" },
    });
    assert_eq!(sidecar["securityContext"], wanted);
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(sidecar["image"], format!("perennial:{version}"));
    assert_eq!(sidecar["args"][0], "run");
    assert_eq!(sidecar["resources"]["limits"]["cpu"], Value::Null, "throttled, it would be late");
}

/// Each file that the configuration names is in a directory that a volume of the pod is mounted at.
fn mounted(pod: &Value, sidecar: &Value, map: &Value, configuration: &str) {
    let volume = |path: &str| {
        let mounts = sidecar["volumeMounts"].as_array().unwrap();
        let mount =
            mounts.iter().find(|mount| mount["mountPath"] == path).unwrap_or_else(|| panic!("{path}"));
        // A file that is mounted alone is not changed when its Secret is.
        assert_eq!((&mount["readOnly"], &mount["subPath"]), (&json!(true), &Value::Null));
        let volumes = pod["volumes"].as_array().unwrap();
        volumes.iter().find(|volume| volume["name"] == mount["name"]).expect("its volume")
    };
    assert_eq!(volume("/etc/perennial")["configMap"]["name"], map["metadata"]["name"]);
    for secret in secrets(configuration) {
        let (directory, _) = secret.rsplit_once('/').unwrap();
        assert!(volume(directory)["secret"]["secretName"].is_string(), "{secret}");
    }
}

fn memory(sidecar: &Value) -> u64 {
    let limit = sidecar["resources"]["limits"]["memory"].as_str().unwrap();
    limit.strip_suffix("Mi").unwrap().parse::<u64>().unwrap() << 20
}

/// A PodMonitor that finds the pods of the Deployment, and their port.
pub(crate) fn monitored(monitor: &Value, deployment: &Value) {
    assert_eq!(
        (&monitor["apiVersion"], &monitor["kind"]),
        (&json!("monitoring.coreos.com/v1"), &json!("PodMonitor"))
    );
    let labels = &deployment["spec"]["template"]["metadata"]["labels"];
    assert!(selects(&monitor["spec"]["selector"], labels), "{monitor}");
    let [endpoint] = &monitor["spec"]["podMetricsEndpoints"].as_array().unwrap()[..] else {
        panic!("{monitor}")
    };
    assert_eq!((&endpoint["port"], &endpoint["path"]), (&json!("perennial-admin"), &json!("/metrics")));
}

/// A NetworkPolicy that closes the admin port of the Deployment's pods to all but Prometheus, and no other port.
pub(crate) fn guarded(policy: &Value, deployment: &Value) {
    let labels = &deployment["spec"]["template"]["metadata"]["labels"];
    let spec = &policy["spec"];
    assert!(selects(&spec["podSelector"], labels), "{policy}");
    assert_eq!(spec["policyTypes"], json!(["Ingress"]), "what goes out stays as it is");
    let admin = deployment["spec"]["template"]["metadata"]["annotations"]["prometheus.io/port"].as_str();
    let admin: u64 = admin.unwrap().parse().unwrap();
    let stranger = json!({ "kubernetes.io/metadata.name": "elsewhere" });
    for port in [1, admin - 1, admin + 1, 65_535] {
        assert!(opens(spec, &stranger, "TCP", port), "the application lost port {port}");
    }
    assert!(opens(spec, &stranger, "UDP", 1) && opens(spec, &stranger, "UDP", 65_535));
    assert!(!opens(spec, &stranger, "TCP", admin));
    assert!(opens(spec, &json!({ "kubernetes.io/metadata.name": "monitoring" }), "TCP", admin), "Prometheus");
}

/// Does a policy let pods of a namespace with these labels in?
pub(crate) fn opens(spec: &Value, namespace: &Value, protocol: &str, port: u64) -> bool {
    spec["ingress"].as_array().unwrap().iter().any(|rule| {
        // Kubernetes takes an empty list for everybody, and for every port.
        let listed = |key: &str| rule[key].as_array().filter(|all| !all.is_empty());
        listed("from").is_none_or(|all| all.iter().any(|it| selects(&it["namespaceSelector"], namespace)))
            && listed("ports").is_none_or(|all| {
                all.iter().any(|it| {
                    let first = it["port"].as_u64().unwrap();
                    it["protocol"] == protocol
                        && (first..=it["endPort"].as_u64().unwrap_or(first)).contains(&port)
                })
            })
    })
}

fn selects(selector: &Value, labels: &Value) -> bool {
    let wanted = selector["matchLabels"].as_object().unwrap();
    assert!(!wanted.is_empty(), "it selects everything");
    wanted.iter().all(|(label, value)| labels[label] == *value)
}

/// What the probes and Prometheus ask is answered by a sidecar that runs.
pub(crate) async fn answered(documents: &[Value]) {
    let running = Sidecar::start("[[route]]\nupstream = \"ws://127.0.0.1:9\"\ndialect = \"none\"\n").await;
    let pod = &of_kind(documents, "Deployment")["spec"]["template"]["spec"];
    let lists =
        ["initContainers", "containers"].map(|list| pod[list].as_array().cloned().unwrap_or_default());
    let sidecar = lists.concat().into_iter().find(|container| container["name"] == "perennial").unwrap();
    let probes = ["startupProbe", "readinessProbe", "livenessProbe"];
    for path in
        probes.map(|probe| sidecar[probe]["httpGet"]["path"].as_str().unwrap()).iter().chain(&["/metrics"])
    {
        assert_eq!(running.ask(path).await.0, 200, "{path}");
    }
    assert_eq!(
        probes.map(|probe| sidecar[probe]["httpGet"]["path"].clone()),
        ["/startupz", "/readyz", "/livez"]
    );
    running.stop().await;
}
