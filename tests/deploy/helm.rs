//! The chart, as Helm's own engine renders and lints it.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use serde_json::{Value, json};

use crate::deploy::{
    pod::{self, Kind},
    tools::{self, documents, kubernetes_takes, of_kind, path, read, run, tool},
};

const CHART: &str = "deploy/helm/perennial";

/// What the templates come to: a text for each, or why there is none.
fn render_at(chart: &Path, values: &Value) -> Result<BTreeMap<String, String>, String> {
    let mut command = tool("python");
    let answer = run(command.arg(path("tests/deploy/render.py")).arg(chart), &values.to_string());
    let mut answer: Value = serde_json::from_str(&answer.expected("render.py")).unwrap();
    match answer["error"].as_str() {
        Some(error) => Err(error.to_owned()),
        None => Ok(serde_json::from_value(answer["templates"].take()).unwrap()),
    }
}

fn render(values: &Value) -> Result<BTreeMap<String, String>, String> {
    render_at(&path(CHART), values)
}

/// The manifests among them, as one file.
fn manifests(rendered: &BTreeMap<String, String>) -> String {
    let yaml = rendered.iter().filter(|(name, text)| !name.ends_with("NOTES.txt") && !text.trim().is_empty());
    yaml.map(|(_, text)| format!("---\n{text}\n")).collect()
}

/// The manifests, which the newest Kubernetes takes.
fn rendered(values: &Value) -> Vec<Value> {
    let manifests = manifests(&render(values).unwrap());
    kubernetes_takes(&manifests, "1.37");
    documents(&manifests)
}

#[tokio::test]
#[ignore = "needs helm-python-sdk: tests/deploy/install"]
async fn the_chart_makes_a_native_sidecar() {
    let documents = rendered(&json!({ "application": { "image": "app:1" } }));
    assert_eq!(documents.len(), 2, "a ConfigMap and a Deployment");
    pod::holds(&documents, Kind::Native);
    pod::answered(&documents).await;
}

#[test]
#[ignore = "needs helm-python-sdk: tests/deploy/install"]
fn the_chart_makes_a_classic_sidecar() {
    let documents = rendered(&json!({ "application": { "image": "app:1" }, "nativeSidecar": false }));
    pod::holds(&documents, Kind::Classic);
}

#[test]
#[ignore = "needs helm-python-sdk: tests/deploy/install"]
fn every_switch_does_what_it_says() {
    let configuration = read("deploy/systemd/perennial.toml")
        .replace("127.0.0.1:7371", "[::]:9999")
        .replace("drain", "sessions = 50\ndrain")
        .replace("/run/credentials/perennial.service/", "/var/run/secrets/perennial/");
    let documents = rendered(&json!({
        "fullnameOverride": "other",
        "imagePullSecrets": [{ "name": "pull" }],
        "config": configuration,
        "existingSecret": "keys",
        "extraEnv": [{ "name": "A", "value": "b" }],
        "extraVolumes": [{ "name": "state", "emptyDir": {} }],
        "extraVolumeMounts": [{ "name": "state", "mountPath": "/var/lib/perennial" }],
        "podLabels": { "team": "blue" },
        "podAnnotations": { "note": "1" },
        "metrics": { "podMonitor": { "enabled": true, "labels": { "release": "prometheus" } } },
        "networkPolicy": { "enabled": true },
        "serviceAccount": { "create": true, "annotations": { "role": "r" } },
        "application": {
            "image": "app:1", "replicas": 3, "command": ["/app"], "args": ["-v"],
            "env": [{ "name": "REALTIME_URL", "value": "ws://127.0.0.1:7370" }],
            "ports": [{ "containerPort": 80 }], "resources": { "limits": { "memory": "1Gi" } },
            "securityContext": { "runAsNonRoot": true }, "podSecurityContext": { "fsGroup": 65532 },
        },
    }));
    pod::holds(&documents, Kind::Native);
    let deployment = of_kind(&documents, "Deployment");
    let monitor = of_kind(&documents, "PodMonitor");
    pod::monitored(monitor, deployment);
    pod::guarded(of_kind(&documents, "NetworkPolicy"), deployment);
    assert_eq!(monitor["metadata"]["labels"]["release"], "prometheus");
    let account = of_kind(&documents, "ServiceAccount");
    assert_eq!(
        (&account["metadata"]["name"], &account["automountServiceAccountToken"]),
        (&json!("other"), &json!(false))
    );

    let template = &deployment["spec"]["template"];
    let (metadata, pod) = (&template["metadata"], &template["spec"]);
    assert_eq!(
        (&metadata["labels"]["team"], &metadata["annotations"]["note"]),
        (&json!("blue"), &json!("1"))
    );
    assert_eq!(
        (&pod["serviceAccountName"], &pod["imagePullSecrets"][0]["name"]),
        (&json!("other"), &json!("pull"))
    );
    assert_eq!(pod["securityContext"]["fsGroup"], 65532);
    let sidecar = &pod["initContainers"][0];
    assert_eq!(sidecar["ports"][0]["containerPort"], 9999, "the port of the configuration");
    assert_eq!(
        (&sidecar["env"][0]["name"], &sidecar["volumeMounts"][2]["name"]),
        (&json!("A"), &json!("state"))
    );
    let application = &pod["containers"][0];
    assert_eq!((&application["command"], &application["args"]), (&json!(["/app"]), &json!(["-v"])));
    for key in ["env", "ports", "resources", "securityContext"] {
        assert!(!application[key].is_null(), "{key}");
    }
}

#[test]
#[ignore = "needs helm-python-sdk: tests/deploy/install"]
fn alerts_and_dashboards_are_those_of_this_tree_and_lead_to_the_runbook() {
    let own = "https://wiki.example.com/perennial";
    let documents = rendered(&json!({ "metrics": {
        "prometheusRule": { "enabled": true, "labels": { "release": "prometheus" } },
        "dashboards": { "enabled": true },
        "runbookUrl": own,
    } }));
    let led = |name: &str| {
        let text = read(&format!("dashboards/{name}")).replace("deploy/RUNBOOK.md", own);
        assert!(text.contains(own), "{name}");
        text
    };
    let rule = of_kind(&documents, "PrometheusRule");
    assert_eq!(rule["metadata"]["labels"]["release"], "prometheus");
    assert_eq!(rule["spec"], tools::documents(&led("rules.yml"))[0]);
    for name in ["perennial-fleet.json", "perennial-sidecar.json"] {
        let mut maps = documents.iter().filter(|document| document["data"][name].is_string());
        let map = maps.next().unwrap();
        assert_eq!(map["data"][name], led(name));
        assert_eq!(map["metadata"]["labels"]["grafana_dashboard"], "1");
        assert!(maps.next().is_none(), "{name}");
    }
}

/// In a policy an empty list is everybody.
#[test]
#[ignore = "needs helm-python-sdk: tests/deploy/install"]
fn an_admin_port_for_nobody_is_open_to_nobody() {
    let documents = rendered(&json!({ "networkPolicy": { "enabled": true, "adminFrom": [] } }));
    let spec = &of_kind(&documents, "NetworkPolicy")["spec"];
    let namespace = json!({ "kubernetes.io/metadata.name": "monitoring" });
    assert!(pod::opens(spec, &namespace, "TCP", 80) && !pod::opens(spec, &namespace, "TCP", 7371));
}

#[test]
#[ignore = "needs helm-python-sdk: tests/deploy/install"]
fn another_configuration_is_another_pod() {
    let annotation = |config: &str| {
        let values = json!({ "config": config, "application": { "image": "app:1" } });
        let documents = documents(&manifests(&render(&values).unwrap()));
        of_kind(&documents, "Deployment")["spec"]["template"]["metadata"]["annotations"]["perennial/config"]
            .clone()
    };
    let first = "[admin]\naddress = \"0.0.0.0:1\"\n";
    assert_eq!(annotation(first), annotation(first));
    assert_ne!(annotation(first), annotation(&format!("{first}# \n")));
}

/// A chart of somebody's own, which has this one for a dependency.
#[test]
#[ignore = "needs helm-python-sdk: tests/deploy/install"]
fn another_chart_takes_the_sidecar_from_it() {
    let directory = tempfile::tempdir().unwrap();
    let parent = directory.path();
    fs::create_dir_all(parent.join("templates")).unwrap();
    fs::create_dir_all(parent.join("charts")).unwrap();
    run(Command::new("cp").arg("-rL").arg(path(CHART)).arg(parent.join("charts")), "").expected("cp");
    let chart = "apiVersion: v2\nname: parent\nversion: 1.0.0\ndependencies:\n  - name: perennial\n    version: 0.1.0\n";
    fs::write(parent.join("Chart.yaml"), chart).unwrap();
    fs::write(parent.join("values.yaml"), "perennial:\n  existingSecret: keys\n").unwrap();
    // The lines of the pod, as the head of values.yaml says them.
    let values = read(&format!("{CHART}/values.yaml"));
    let said =
        values.lines().filter_map(|line| line.strip_prefix("#   ")).filter(|line| line.starts_with("    "));
    let pod = said.collect::<Vec<_>>().join("\n").replace("labels:", "labels:\n        app: own");
    let deployment = format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: own\nspec:\n  selector:\n    matchLabels:\n      \
         app: own\n  template:\n{pod}\n      containers: [{{ name: app, image: \"app:1\" }}]\n      \
         terminationGracePeriodSeconds: 60\n"
    );
    fs::write(parent.join("templates/deployment.yaml"), deployment).unwrap();
    let manifests = manifests(&render_at(parent, &json!({})).unwrap());
    kubernetes_takes(&manifests, "1.37");
    pod::holds(&documents(&manifests), Kind::Native);
}

#[test]
#[ignore = "needs helm-python-sdk: tests/deploy/install"]
fn what_cannot_work_is_refused_with_the_way_out() {
    let application = json!({ "image": "app:1" });
    for config in [
        "# nothing",
        "[admin]\naddress = \"127.0.0.1:7371\"",
        "[listen]\naddress = \"0.0.0.0:7370\"\n[admin]",
    ] {
        let error = render(&json!({ "config": config, "application": application })).unwrap_err();
        assert!(error.contains("address = \"0.0.0.0:7371\""), "{config}: {error}");
    }
    for values in [
        json!({ "nativeSidecars": false }),
        json!({ "nativeSidecar": "yes" }),
        json!({ "config": { "listen": {} } }),
        json!({ "application": { "repository": "app" } }),
        json!({ "metrics": { "podMonitor": { "interval": "often" } } }),
        json!({ "metrics": { "runbookUrl": "" } }),
        json!({ "networkPolicy": { "adminFrom": [{}] } }),
    ] {
        assert!(render(&values).is_err(), "{values}");
    }
}

#[test]
#[ignore = "needs helm-python-sdk: tests/deploy/install"]
fn the_notes_name_what_was_made() {
    let notes = |values: &Value| render(values).unwrap()["perennial/templates/NOTES.txt"].clone();
    let with = notes(&json!({ "application": { "image": "app:1" } }));
    for said in
        ["secret generic perennial ", "deployment/demo-perennial", "http://127.0.0.1:7371/", "-n production"]
    {
        assert!(with.contains(said), "{said}: {with}");
    }
    let without = notes(&json!({ "existingSecret": "" }));
    assert!(without.contains("application.image=") && !without.contains("secret"), "{without}");
}

#[test]
#[ignore = "needs helm-python-sdk: tests/deploy/install"]
fn lint_finds_nothing_but_the_icon() {
    let mut command = tool("python");
    let said = run(command.arg(path("tests/deploy/render.py")).args([CHART, "--lint"]), "").expected("lint");
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["errors"], json!([]));
    let messages: Vec<_> =
        said["messages"].as_array().unwrap().iter().map(|message| &message["error"]).collect();
    assert_eq!(messages, ["icon is recommended"]);
    let version = env!("CARGO_PKG_VERSION");
    assert!(read(&format!("{CHART}/Chart.yaml")).contains(&format!("appVersion: \"{version}\"")));
}
