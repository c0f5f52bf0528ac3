//! The plain manifests.

use crate::deploy::{
    pod::{self, Kind},
    tools::{address, checked, documents, kubernetes_takes, of_kind, read},
};

#[tokio::test]
#[ignore = "needs kubernetes-validate: tests/deploy/install"]
async fn the_native_sidecar_is_one() {
    let text = read("deploy/kubernetes/native.yaml");
    // The first that has them, and the newest.
    ["1.29", "1.37"].iter().for_each(|version| kubernetes_takes(&text, version));
    let documents = documents(&text);
    pod::holds(&documents, Kind::Native);
    pod::answered(&documents).await;
}

#[tokio::test]
#[ignore = "needs kubernetes-validate: tests/deploy/install"]
async fn the_classic_sidecar_outlives_the_application() {
    let text = read("deploy/kubernetes/classic.yaml");
    ["1.30", "1.37"].iter().for_each(|version| kubernetes_takes(&text, version));
    let documents = documents(&text);
    pod::holds(&documents, Kind::Classic);
    pod::answered(&documents).await;
}

#[test]
#[ignore = "needs kubernetes-validate: tests/deploy/install"]
fn both_are_the_same_but_for_the_way() {
    let of = |name| documents(&read(&format!("deploy/kubernetes/{name}.yaml")));
    let (native, classic) = (of("native"), of("classic"));
    let configuration = of_kind(&native, "ConfigMap").clone();
    assert_eq!(configuration, *of_kind(&classic, "ConfigMap"));
    let pod = |all| of_kind(all, "Deployment")["spec"]["template"]["spec"].clone();
    let (native, classic) = (pod(&native), pod(&classic));
    assert_eq!(native["containers"][0], classic["containers"][1], "the application");
    let mut sidecar = native["initContainers"][0].clone();
    sidecar.as_object_mut().unwrap().remove("restartPolicy");
    sidecar["lifecycle"] = classic["containers"][0]["lifecycle"].clone();
    assert_eq!(sidecar, classic["containers"][0]);
    // The application is told the port on which the sidecar listens.
    let listen = address(&checked(configuration["data"]["perennial.toml"].as_str().unwrap()), "listen");
    assert_eq!(native["containers"][0]["env"][0]["value"], format!("ws://{listen}"));
}

#[test]
#[ignore = "needs kubernetes-validate: tests/deploy/install"]
fn the_pod_monitor_finds_either() {
    let monitor = documents(&read("deploy/kubernetes/podmonitor.yaml"));
    for name in ["native", "classic"] {
        let documents = documents(&read(&format!("deploy/kubernetes/{name}.yaml")));
        pod::monitored(of_kind(&monitor, "PodMonitor"), of_kind(&documents, "Deployment"));
    }
}

#[test]
#[ignore = "needs kubernetes-validate: tests/deploy/install"]
fn the_network_policy_closes_the_admin_port_of_either_and_no_other() {
    let text = read("deploy/kubernetes/networkpolicy.yaml");
    ["1.29", "1.37"].iter().for_each(|version| kubernetes_takes(&text, version));
    let policy = documents(&text);
    for name in ["native", "classic"] {
        let documents = documents(&read(&format!("deploy/kubernetes/{name}.yaml")));
        pod::guarded(of_kind(&policy, "NetworkPolicy"), of_kind(&documents, "Deployment"));
    }
}
