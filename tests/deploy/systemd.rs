//! The unit: verified, weighed, and run by a real systemd.
//!
//! ```text
//!   systemd-nspawn ──► systemd, a root of its own, no network ──► perennial.service, as it stands
//!                            │                                         but for the path of the program
//!                            └──► steps.sh: what an operator does, and what it comes to
//! ```

use std::{collections::BTreeMap, fs, process::Command};

use crate::deploy::tools::{AFTER_DRAIN, address, checked, drain, perennial, read, run, seconds, secrets};

const UNIT: &str = "deploy/systemd/perennial.service";
const CONFIGURATION: &str = "deploy/systemd/perennial.toml";
/// Ten times what `systemd-analyze security` gives: the network, and that it is the machine's, are most of it.
const EXPOSURE: &str = "11";

/// The unit with the program at this place.
fn unit(program: &str) -> String {
    read(UNIT).replace("/usr/bin/perennial", program)
}

/// The settings, each with its last value.
fn settings() -> BTreeMap<String, String> {
    let text = read(UNIT);
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

#[test]
#[ignore = "needs systemd-analyze: tests/deploy/install"]
fn systemd_finds_no_fault() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("perennial.service");
    fs::write(&file, unit(perennial().to_str().unwrap())).unwrap();
    let ended = run(Command::new("systemd-analyze").arg("verify").arg(&file), "");
    // It exits with 0 after an unknown setting, too.
    assert_eq!((ended.success, ended.stdout + &ended.stderr), (true, String::new()));
    let threshold = format!("--threshold={EXPOSURE}");
    let mut command = Command::new("systemd-analyze");
    command.args(["security", "--offline=true", "--no-pager", &threshold]).arg(&file);
    run(&mut command, "").expected("the exposure");
}

#[test]
#[ignore = "needs the release binary: tests/all"]
fn the_unit_fits_its_configuration() {
    let (settings, text) = (settings(), read(CONFIGURATION));
    let configuration = checked(&text);
    assert_eq!(settings["Type"], "notify", "systemd 252 takes notify-reload for simple");
    assert_eq!(settings["RestartPreventExitStatus"], "64", "configuration");
    assert!(!settings.contains_key("ExecStartPre"), "its status would not count there");
    assert_eq!(settings["LimitCORE"], "0", "a core dump would hold tokens");
    assert!(seconds(&settings["WatchdogSec"]) >= 10);
    assert!(
        seconds(&settings["TimeoutStopSec"]) >= drain(&configuration) + AFTER_DRAIN,
        "killed while it drains"
    );
    let state = format!("/var/lib/{}", settings["StateDirectory"]);
    assert_eq!(configuration["state"]["path"].as_str(), Some(state.as_str()));
    let (credential, _) = settings["LoadCredential"].split_once(':').unwrap();
    assert_eq!(secrets(&text), [format!("/run/credentials/perennial.service/{credential}")]);
    let limit: i64 = settings["LimitNOFILE"].parse().unwrap();
    // `limits.sessions` where it is not named, and two sockets for each.
    assert!(limit >= 2 * 10_000);
    let both = ["listen", "admin"].map(|table| address(&configuration, table));
    assert!(both.iter().all(|address| address.ip().is_loopback()));
}

/// What an operator does, each step with what it comes to.
const STEPS: &str = r#"
said() { journalctl -u perennial --no-pager -o cat; }
until_said() { for _ in {1..100}; do said | grep -q "$1" && return 0; sleep 0.1; done; echo "never said: $1"; said; }
show() { systemctl show perennial -p "$1" --value; }

systemctl start perennial || said
echo "started: $(show ActiveState), $(show NotifyAccess), $(show StatusText | grep -c .)"
# It listens before its first token has come.
for _ in {1..100}; do curl --silent --fail --max-time 5 http://127.0.0.1:7371/readyz && break; sleep 0.1; done
pid=$(show MainPID)
echo "user: $([ "$(stat -c %u /proc/$pid)" -gt 60000 ] && echo dynamic)"
echo "capabilities: $(grep -E '^Cap(Eff|Prm|Bnd)' /proc/$pid/status | cut -f 2 | sort -u)"
echo "state: $(stat -c %a /var/lib/private/perennial), $(ls /var/lib/private/perennial | wc -l)"
metrics=$(curl --silent --max-time 5 http://127.0.0.1:7371/metrics)
echo "start time: $(grep -c '^process_start_time_seconds 1[0-9]\{9\}$' <<< "$metrics")"

sed -i s/7371/7372/ /etc/perennial/perennial.toml
echo 'nonsense = 1' >> /etc/perennial/perennial.toml
systemctl reload perennial; until_said "not reloaded"
echo "after nonsense: $(show ActiveState), $([ "$(show MainPID)" = "$pid" ] && echo the same)"
sed -i s/7372/7371/\;/nonsense/d /etc/perennial/perennial.toml
systemctl reload perennial; until_said " reloaded"
echo "after a reload: $(show ActiveState), $([ "$(show MainPID)" = "$pid" ] && echo the same)"

kill -STOP "$pid"
until_said "Watchdog timeout"; kill -CONT "$pid" 2>/dev/null
for _ in {1..100}; do [ "$(show MainPID)" != "$pid" ] && [ "$(show ActiveState)" = active ] && break; sleep 0.1; done
echo "after silence: $(show ActiveState), $(show NRestarts)"

systemctl stop perennial
echo "stopped: $(show Result), $(show ExecMainStatus)"
echo 'nonsense = 1' >> /etc/perennial/perennial.toml
systemctl start perennial 2>/dev/null || echo "refused: $(said | grep -c '^perennial: .*unknown key'), $(show ActiveState)"
systemctl stop perennial
journalctl -u perennial --no-pager -o cat | tail -100 > /out/journal
"#;

const EXPECTED: &str = "\
started: active, main, 1
ready: the listener accepts; each route's credential has a valid token
healthy
user: dynamic
capabilities: 0000000000000000
state: 700, 1
start time: 1
after nonsense: active, the same
after a reload: active, the same
after silence: active, 1
stopped: success, 0
refused: 1, failed
";

#[test]
#[ignore = "needs root and systemd-nspawn: tests/deploy/install"]
fn a_real_systemd_runs_it() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let file = directory.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, text).unwrap();
        file.to_str().unwrap().to_owned()
    };
    // Silence is noticed after two seconds here, and not after thirty.
    let service =
        file("perennial.service", &unit("/opt/perennial").replace("WatchdogSec=30s", "WatchdogSec=2s"));
    let steps = file(
        "steps.service",
        "[Unit]\nAfter=basic.target\n[Service]\nType=oneshot\nExecStart=/bin/bash /out/steps.sh\n\
         StandardOutput=file:/out/said\nStandardError=file:/out/said\nExecStopPost=/bin/systemctl --no-block halt --force\n",
    );
    file("out/steps.sh", STEPS);
    file("etc/perennial.toml", &read(CONFIGURATION));
    let key = file("etc/ably-key", "appId.keyId:secret\n");
    run(Command::new("chmod").args(["600", &key]), "").expected("chmod");

    let machine = format!("--machine=perennial-{}", std::process::id());
    let mut command = Command::new("timeout");
    command.args([
        "60",
        "systemd-nspawn",
        "--quiet",
        "--directory=/",
        "--volatile=yes",
        "--boot",
        "--register=no",
    ]);
    command.args(["--keep-unit", "--private-network", &machine]);
    // Another run of this test has the same root.
    command.envs([("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1"), ("SYSTEMD_NSPAWN_LOCK", "0")]);
    let inside = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let program = fs::canonicalize(perennial()).unwrap();
    command.arg(format!("--bind-ro={}:/opt/perennial", program.display()));
    command.arg(format!("--bind-ro={service}:/etc/systemd/system/perennial.service"));
    command.arg(format!("--bind-ro={steps}:/etc/systemd/system/steps.service"));
    command.arg(format!("--bind={}:/out", inside("out")));
    command.arg(format!("--bind={}:/etc/perennial", inside("etc")));
    command.arg("--bind-ro=/etc/ssl");
    let console = run(
        command.args(["systemd.unit=steps.service", "systemd.firstboot=no", "systemd.show_status=no"]),
        "",
    );
    let out = |name: &str| fs::read_to_string(directory.path().join("out").join(name)).unwrap_or_default();
    assert_eq!(out("said"), EXPECTED, "{}\n{}{}", out("journal"), console.stdout, console.stderr);
}
