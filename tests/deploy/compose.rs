//! Compose, as its second major version reads the file.

use serde_json::{Value, json};

use crate::deploy::tools::{AFTER_DRAIN, address, checked, documents, drain, path, read, run, seconds, tool};

const FILE: &str = "deploy/compose/compose.yaml";
/// What is made here, of one image.
const OURS: [&str; 3] = ["service", "perennial", "client"];

/// The file with everything that it refers to put in.
fn model() -> Value {
    let mut command = tool("docker-compose");
    let model = run(command.args(["-f", FILE, "config", "--format", "json"]), "");
    assert_eq!(model.stderr, "", "a warning");
    serde_json::from_str(&model.expected("docker-compose config")).unwrap()
}

#[test]
#[ignore = "needs docker-compose: tests/deploy/install"]
fn every_part_is_confined() {
    let model = model();
    let services = model["services"].as_object().unwrap();
    let mut names: Vec<&str> = services.keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["client", "grafana", "perennial", "prometheus", "service"]);
    for (name, service) in services {
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(service["cap_drop"], json!(["ALL"]), "{name}");
        assert_eq!(service["security_opt"], json!(["no-new-privileges:true"]), "{name}");
        assert!(service["mem_limit"].is_string() && service["pids_limit"].is_number(), "{name}");
        for port in service["ports"].as_array().into_iter().flatten() {
            assert_eq!(port["host_ip"], "127.0.0.1", "{name} is published beyond this machine");
        }
        let (_, tag) = service["image"].as_str().unwrap().rsplit_once(':').expect("a tag");
        assert!(tag != "latest" && tag.contains('.'), "{name}: {tag}");
        for volume in
            service["volumes"].as_array().into_iter().flatten().filter(|volume| volume["type"] == "bind")
        {
            let source = volume["source"].as_str().unwrap();
            assert!(std::path::Path::new(source).exists(), "{name}: {source}");
            assert_eq!(volume["read_only"], true, "{name}: {source}");
        }
    }
}

#[test]
#[ignore = "needs docker-compose: tests/deploy/install"]
fn the_parts_find_each_other() {
    let model = model();
    let services = &model["services"];
    for name in OURS {
        assert_eq!(services[name]["image"], concat!("perennial:", env!("CARGO_PKG_VERSION")));
        assert_eq!(services[name]["user"], "65532:65532");
        let build = &services[name]["build"];
        let context = std::path::Path::new(build["context"].as_str().unwrap()).canonicalize().unwrap();
        assert_eq!(context, path("").canonicalize().unwrap());
        assert!(context.join(build["dockerfile"].as_str().unwrap()).exists());
    }
    let sidecar = &services["perennial"];
    let text = read("deploy/compose/perennial.toml");
    let configuration = checked(&text);
    let (listen, admin) = (address(&configuration, "listen"), address(&configuration, "admin"));

    assert_eq!(sidecar["healthcheck"]["test"], json!(["CMD", "/usr/bin/perennial", "probe", "ready"]));
    assert_eq!(sidecar["ports"][0]["target"], admin.port());
    assert_eq!(sidecar["volumes"][0]["target"], "/etc/perennial/perennial.toml");
    let grace = seconds(sidecar["stop_grace_period"].as_str().unwrap());
    assert!(grace >= drain(&configuration) + AFTER_DRAIN, "killed while it drains");

    let client = services["client"]["command"].as_array().unwrap();
    assert_eq!(client[..3], [json!("demo"), json!("client"), json!("--url")]);
    assert_eq!(client[3], format!("ws://perennial:{}", listen.port()));
    let service = services["service"]["command"].as_array().unwrap();
    assert_eq!(service[..4], [json!("demo"), json!("service"), json!("--listen"), json!("0.0.0.0:9000")]);
    assert!(
        text.contains("upstream = \"ws://service:9000\"")
            && text.contains("url = \"http://service:9000/token\"")
    );

    // Who waits for whom, and who can reach whom.
    let waits = |name: &str, other: &str| services[name]["depends_on"][other]["condition"].clone();
    assert_eq!(waits("perennial", "service"), "service_started");
    assert_eq!(waits("client", "perennial"), "service_healthy");
    assert_eq!(waits("prometheus", "perennial"), "service_healthy");
    assert_eq!(waits("grafana", "prometheus"), "service_healthy");
    let networks =
        |name: &str| services[name]["networks"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(networks("client"), ["clients"]);
    assert_eq!(networks("service"), ["upstream"]);
    assert_eq!(networks("perennial"), ["clients", "upstream", "watching"]);

    let prometheus = &documents(&read("deploy/compose/prometheus.yml"))[0];
    let target = &prometheus["scrape_configs"][0]["static_configs"][0]["targets"][0];
    assert_eq!(*target, format!("perennial:{}", admin.port()));
    let mounts = services["prometheus"]["volumes"].as_array().unwrap();
    assert!(mounts.iter().any(|mount| mount["target"] == prometheus["rule_files"][0]));
}

#[test]
#[ignore = "needs docker-compose: tests/deploy/install"]
fn grafana_finds_its_dashboards_and_prometheus() {
    let model = model();
    let grafana = &model["services"]["grafana"];
    let mounted = |target: &str| {
        let mounts = grafana["volumes"].as_array().unwrap();
        let mount = mounts.iter().find(|mount| mount["target"] == target);
        mount.unwrap_or_else(|| panic!("{target}"))["source"].as_str().unwrap().to_owned()
    };
    let provisioning = mounted("/etc/grafana/provisioning");
    let provided = |name: &str| {
        let text = std::fs::read_to_string(format!("{provisioning}/{name}/perennial.yml")).expect(name);
        documents(&text).remove(0)
    };
    let directory = provided("dashboards")["providers"][0]["options"]["path"].as_str().unwrap().to_owned();
    let files = std::fs::read_dir(mounted(&directory)).unwrap().map(|file| file.unwrap().path());
    assert!(files.filter(|file| file.extension().is_some_and(|it| it == "json")).count() >= 2);
    assert_eq!(provided("datasources")["datasources"][0]["url"], "${PROMETHEUS_URL}");
    assert_eq!(grafana["environment"]["PROMETHEUS_URL"], "http://prometheus:9090");
}

#[test]
#[ignore = "needs compose-lint: tests/deploy/install"]
fn lint_finds_nothing_but_what_is_meant() {
    let mut command = tool("compose-lint");
    let said = run(command.args(["check", "--format", "json", "--fail-on", "critical", FILE]), "");
    let said: Value = serde_json::from_str(&said.expected("compose-lint")).unwrap();
    let of = |finding: &Value| ["rule_id", "service"].map(|key| finding[key].as_str().unwrap().to_owned());
    let others =
        said["findings"].as_array().unwrap().iter().map(of).filter(|[rule, service]| match rule.as_str() {
            // An image by its digest: it differs by architecture, and would hide which version it is.
            "CL-0019" => false,
            // A limit on CPU: throttled, a sidecar would be late.
            "CL-0026" => !OURS.contains(&service.as_str()),
            _ => true,
        });
    assert_eq!(others.collect::<Vec<_>>(), Vec::<[String; 2]>::new());
}
