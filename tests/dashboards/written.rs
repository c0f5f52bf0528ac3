//! What is checked in: made from its source, and as the tools for it want it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use super::{DASHBOARDS, at, read, run};

#[test]
#[ignore = "needs jsonnet: run by tests/all"]
fn what_is_checked_in_is_what_its_source_makes() {
    for (name, made) in made(&[]) {
        // Not `assert_eq`: nobody reads two dashboards side by side.
        assert!(made == read(&format!("dashboards/{name}")), "{name}: make it again, its .jsonnet says how");
    }
}

#[test]
#[ignore = "needs jsonnet: run by tests/all"]
fn alerts_and_dashboards_lead_to_a_runbook_of_ones_own() {
    let own = "https://wiki.example.com/perennial";
    for (name, made) in made(&["--tla-str", &format!("runbook={own}")]) {
        let ours = read(&format!("dashboards/{name}")).replace("deploy/RUNBOOK.md", own);
        assert!(made.contains(own) && made == ours, "{name}");
    }
}

/// The files that the sources make, by the commands that they name.
fn made(arguments: &[&str]) -> Vec<(&'static str, String)> {
    let directory = tempfile::tempdir().unwrap();
    let to = directory.path().to_str().unwrap();
    let (good, said) = run("jsonnet", &[&["-m", to], arguments, &["dashboards/perennial.jsonnet"]].concat());
    assert!(good, "{said}");
    let mut made: Vec<_> = DASHBOARDS
        .into_iter()
        .map(|name| (name, std::fs::read_to_string(directory.path().join(name)).unwrap()))
        .collect();
    let (good, rules) = run("jsonnet", &[&["-S"], arguments, &["dashboards/rules.jsonnet"]].concat());
    assert!(good, "{rules}");
    made.push(("rules.yml", rules));
    made
}

#[test]
#[ignore = "needs promtool and amtool: run by tests/all"]
fn the_tools_have_nothing_to_object_to() {
    for (tool, arguments) in [
        ("promtool", &["check", "config", "dashboards/prometheus.yml"][..]),
        ("promtool", &["check", "rules", "dashboards/rules.yml"]),
        ("promtool", &["test", "rules", "dashboards/rules_test.yml", "dashboards/rules_day_test.yml"]),
        ("amtool", &["check-config", "dashboards/alertmanager.yml"]),
    ] {
        let (good, said) = run(tool, arguments);
        assert!(good, "{arguments:?}\n{said}");
    }
}

/// Alerts that cannot fire, and such as always do, are seen by the cases of each.
#[test]
#[ignore = "needs promtool and jsonnet: run by tests/all"]
fn the_cases_see_each_alert_broken() {
    for (how, expr) in [("never", "vector(0) > 1"), ("always", "vector(1)")] {
        let directory = tempfile::tempdir().unwrap();
        let mut broken = rules();
        for_each_alert(&mut broken, |alert| alert["expr"] = expr.into());
        // JSON is YAML.
        std::fs::write(directory.path().join("rules.yml"), broken.to_string()).unwrap();
        let file = directory.path().join("rules_test.yml");
        std::fs::write(&file, read("dashboards/rules_test.yml")).unwrap();
        let (good, said) = run("promtool", &["test", "rules", file.to_str().unwrap()]);
        assert!(!good);
        for_each_alert(&mut broken, |alert| {
            let name = alert["alert"].as_str().unwrap();
            assert!(
                said.contains(&format!("alertname: {name},")),
                "{name} fires {how}, and no case sees it:\n{said}"
            );
        });
    }
}

/// The series of a sidecar end with it. An alert that fires has to last until the one that says so.
#[test]
#[ignore = "needs jsonnet: run by tests/all"]
fn every_alert_outlives_its_sidecar() {
    let minutes = |time: &Json| time.as_str().unwrap().strip_suffix('m').unwrap().parse::<u64>().unwrap();
    let mut rules = rules();
    let mut down = None;
    for_each_alert(&mut rules, |alert| {
        if alert["alert"] == "PerennialDown" {
            down = Some(minutes(&alert["for"]));
        }
    });
    for_each_alert(&mut rules, |alert| {
        assert!(minutes(&alert["keep_firing_for"]) > down.unwrap(), "{alert:#}");
    });
}

/// What rules.yml has.
fn rules() -> Json {
    let (good, said) = run("jsonnet", &["-e", "(import 'dashboards/source/rules.libsonnet')('')"]);
    assert!(good, "{said}");
    serde_json::from_str(&said).unwrap()
}

fn for_each_alert(rules: &mut Json, mut what: impl FnMut(&mut Json)) {
    let groups = rules["groups"].as_array_mut().unwrap();
    let rules = groups.iter_mut().flat_map(|group| group["rules"].as_array_mut().unwrap());
    let mut seen = 0;
    for alert in rules.filter(|rule| !rule["alert"].is_null()) {
        seen += 1;
        what(alert);
    }
    assert!(seen > 10, "{seen}");
}

/// Every word, type and name is one that Grafana publishes; and one that is not is found.
#[test]
#[ignore = "needs Node and npm packages: run by tests/all"]
fn the_dashboards_are_what_grafana_takes() {
    assert!(at("tests/dashboards/node_modules").is_dir(), "first: npm ci --prefix tests/dashboards");
    let paths = DASHBOARDS.map(|name| at(&format!("dashboards/{name}")).to_str().unwrap().to_owned());
    let (good, said) = run("node", &["tests/dashboards/schema.mjs", &paths[0], &paths[1]]);
    assert!(good, "{said}");

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("planted.json");
    let planted = [("\"w\": 3,", "\"w\": \"3\","), ("\"mode\": \"dashed\"", "\"mode\": \"dotted\"")];
    let text = planted.iter().fold(read(&format!("dashboards/{}", DASHBOARDS[0])), |text, (right, wrong)| {
        assert!(text.contains(right), "{right}");
        text.replacen(right, wrong, 1)
    });
    std::fs::write(&file, text).unwrap();
    let (good, said) = run("node", &["tests/dashboards/schema.mjs", file.to_str().unwrap()]);
    assert!(!good && planted.iter().all(|(_, wrong)| said.contains(wrong)), "{said}");
}

/// Who is woken finds an entry of that name, and the alert was seen to fire and to be silent.
#[test]
fn each_alert_has_its_entry_and_its_cases() {
    let rules = read("dashboards/rules.yml");
    let named = |line: &str| Some(line.trim().strip_prefix("- alert: ")?.to_owned());
    let alerts: BTreeSet<String> = rules.lines().filter_map(named).collect();
    assert!(!alerts.is_empty());
    let runbook = read("deploy/RUNBOOK.md");
    let headings = runbook.lines().filter_map(|line| line.strip_prefix("## "));
    let entries: BTreeSet<_> =
        headings.filter(|heading| heading.starts_with("Perennial")).map(str::to_owned).collect();
    assert_eq!(entries, alerts, "deploy/RUNBOOK.md");

    let mut cases: BTreeMap<String, [bool; 2]> = BTreeMap::new();
    let text = read("dashboards/rules_test.yml");
    for part in text.split("alertname: ").skip(1) {
        let name = part.split([',', '\n']).next().unwrap();
        let silent = part.split("eval_time").next().unwrap().contains("exp_alerts: []");
        cases.entry(name.to_owned()).or_default()[usize::from(silent)] = true;
    }
    for name in &alerts {
        assert_eq!(cases.get(name), Some(&[true, true]), "{name}: fires, and is silent");
        // GitHub makes the anchor of a heading so.
        let anchor = format!("runbook_url: deploy/RUNBOOK.md#{}\n", name.to_lowercase());
        assert!(rules.contains(&anchor), "{name} does not lead to its entry");
    }
    assert_eq!(cases.len(), alerts.len(), "a case of an alert that there is not");
}
