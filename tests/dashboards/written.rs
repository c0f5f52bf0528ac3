//! What is checked in: made from its source, and as the tools for it want it.

use std::collections::{BTreeMap, BTreeSet};

use super::{DASHBOARDS, at, read, run};

#[test]
#[ignore = "needs jsonnet: run by tests/all"]
fn what_is_checked_in_is_what_its_source_makes() {
    let directory = tempfile::tempdir().unwrap();
    let made = directory.path().to_str().unwrap();
    let (good, said) = run("jsonnet", &["-m", made, "dashboards/perennial.jsonnet"]);
    assert!(good, "{said}");
    for name in DASHBOARDS {
        let made = std::fs::read_to_string(directory.path().join(name)).unwrap();
        // Not `assert_eq`: nobody reads two dashboards side by side.
        assert!(
            made == read(&format!("dashboards/{name}")),
            "{name}: make it again, perennial.jsonnet says how"
        );
    }
}

#[test]
#[ignore = "needs promtool: run by tests/all"]
fn promtool_has_nothing_to_object_to() {
    for arguments in [
        &["check", "config", "dashboards/prometheus.yml"][..],
        &["check", "rules", "dashboards/rules.yml"],
        &["test", "rules", "dashboards/rules_test.yml"],
    ] {
        let (good, said) = run("promtool", arguments);
        assert!(good, "{arguments:?}\n{said}");
    }
}

/// Alerts that cannot fire, and such as always do, are seen by the cases of each.
#[test]
#[ignore = "needs promtool: run by tests/all"]
fn the_cases_see_each_alert_broken() {
    let rules = read("dashboards/rules.yml");
    for (how, expr) in [("never", "vector(0) > 1"), ("always", "vector(1)")] {
        let directory = tempfile::tempdir().unwrap();
        let broken =
            alerts(&rules).iter().fold(rules.clone(), |rules, name| with_expression(&rules, name, expr));
        std::fs::write(directory.path().join("rules.yml"), broken).unwrap();
        let file = directory.path().join("rules_test.yml");
        std::fs::write(&file, read("dashboards/rules_test.yml")).unwrap();
        let (good, said) = run("promtool", &["test", "rules", file.to_str().unwrap()]);
        assert!(!good);
        for name in alerts(&rules) {
            assert!(
                said.contains(&format!("alertname: {name},")),
                "{name} fires {how}, and no case sees it:\n{said}"
            );
        }
    }
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
    let alerts: BTreeSet<_> = alerts(&rules).into_iter().collect();
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

/// The names of the alerts, as they stand in rules.yml.
fn alerts(rules: &str) -> Vec<String> {
    rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).map(str::to_owned).collect()
}

/// The rules, with another expression for this alert.
fn with_expression(rules: &str, alert: &str, expr: &str) -> String {
    let begin = rules.find(&format!("- alert: {alert}\n")).unwrap();
    let from = begin + rules[begin..].find("        expr:").unwrap();
    let to = from + rules[from..].find("        labels:").unwrap();
    format!("{}        expr: {expr}\n{}", &rules[..from], &rules[to..])
}
