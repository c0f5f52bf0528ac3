//! The tools, the files, and a configuration as the program takes it.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;

/// After the drain: six seconds for clients that do not answer, sixteen for a refresh token that is exchanged.
pub(crate) const AFTER_DRAIN: u64 = 22;

/// A file of the checkout.
pub(crate) fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Its text.
pub(crate) fn read(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A tool that `tests/deploy/install` has put into `.tools`.
pub(crate) fn tool(name: &str) -> Command {
    let program = path(".tools/bin").join(name);
    assert!(program.exists(), "{name} is missing; first: tests/deploy/install");
    let mut command = Command::new(program);
    command.current_dir(path(""));
    command
}

/// What a command came to.
pub(crate) struct Ended {
    pub(crate) success: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// Its standard output, where it succeeded.
    pub(crate) fn expected(self, what: &str) -> String {
        assert!(self.success, "{what}:\n{}{}", self.stdout, self.stderr);
        self.stdout
    }
}

/// Runs it to its end, with this on its standard input.
pub(crate) fn run(command: &mut Command, input: &str) -> Ended {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}", command.get_program().display()));
    // One that does not read it has ended, or will.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ended { success: output.status.success(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// The documents of a YAML file, each as JSON.
pub(crate) fn documents(yaml: &str) -> Vec<Value> {
    let script = "import json, sys, yaml; json.dump(list(yaml.safe_load_all(sys.stdin)), sys.stdout)";
    let json = run(tool("python").args(["-c", script]), yaml).expected("YAML");
    serde_json::from_str(&json).unwrap()
}

/// The one of this kind.
pub(crate) fn of_kind<'a>(documents: &'a [Value], kind: &str) -> &'a Value {
    let found: Vec<&Value> = documents.iter().filter(|document| document["kind"] == kind).collect();
    assert_eq!(found.len(), 1, "{kind}");
    found[0]
}

/// Manifests that the schemas of this Kubernetes take, nothing unknown in them.
pub(crate) fn kubernetes_takes(manifests: &str, version: &str) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("manifests.yaml");
    fs::write(&file, manifests).unwrap();
    let ended = run(tool("kubernetes-validate").args(["--strict", "-k", version]).arg(&file), "");
    let said = format!("{}{}", ended.stdout, ended.stderr);
    assert!(ended.success && said.contains("INFO"), "{said}");
    // It has no schema of these, and says so: `pod::monitored` reads the one, promtool the rules in the other.
    let without = ["PodMonitor", "PrometheusRule"];
    let warnings = said
        .lines()
        .filter(|line| !line.starts_with("INFO") && !without.iter().any(|kind| line.contains(kind)));
    assert_eq!(warnings.collect::<Vec<_>>(), Vec::<&str>::new());
}

/// The program: `tests/all` names the release binary.
pub(crate) fn perennial() -> PathBuf {
    std::env::var_os("PERENNIAL_BINARY")
        .map_or_else(|| env!("CARGO_BIN_EXE_perennial").into(), |binary| path("").join(binary))
}

/// A configuration that `perennial check` takes, once the secrets that it names are there.
pub(crate) fn checked(configuration: &str) -> toml::Table {
    let directory = tempfile::tempdir().unwrap();
    let mut text = configuration.to_owned();
    for (index, secret) in secrets(configuration).iter().enumerate() {
        let file = directory.path().join(index.to_string());
        fs::write(&file, "appId.keyId:secret\n").unwrap();
        text = text.replace(secret, file.to_str().unwrap());
    }
    let file = directory.path().join("perennial.toml");
    fs::write(&file, text).unwrap();
    run(Command::new(perennial()).args(["check", "--config"]).arg(&file), "").expected(configuration);
    configuration.parse().unwrap()
}

/// The files that a configuration has secrets in.
pub(crate) fn secrets(configuration: &str) -> Vec<String> {
    let quoted = configuration.split("{ file = \"").skip(1);
    quoted.map(|rest| rest.split('"').next().unwrap().to_owned()).collect()
}

/// The address of one of its listeners.
pub(crate) fn address(configuration: &toml::Table, table: &str) -> std::net::SocketAddr {
    configuration[table]["address"].as_str().unwrap().parse().unwrap()
}

/// `limits.drain`, in seconds.
pub(crate) fn drain(configuration: &toml::Table) -> u64 {
    seconds(configuration["limits"]["drain"].as_str().unwrap())
}

/// `10s`, in seconds.
pub(crate) fn seconds(text: &str) -> u64 {
    text.strip_suffix('s').unwrap().parse().unwrap()
}

#[test]
#[ignore = "needs yamllint: tests/deploy/install"]
fn every_yaml_file_is_tidy() {
    let rules = "{extends: default, ignore: [templates, files], rules: {line-length: {max: 120}, document-start: disable}}";
    run(tool("yamllint").args(["--strict", "-d", rules, "deploy"]), "").expected("yamllint");
}

#[test]
#[ignore = "needs a whole checkout: tests/all"]
fn whatever_the_readme_leads_to_is_there() {
    let text = read("deploy/README.md");
    let links = text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap());
    let lost: Vec<_> = links.filter(|link| !path("deploy").join(link).exists()).collect();
    assert_eq!(lost, Vec::<&str>::new());
    let commands = text.split('`').filter(|word| word.contains(" deploy/"));
    let files = commands.flat_map(str::split_whitespace).filter(|word| word.starts_with("deploy/"));
    let lost: Vec<_> = files.filter(|file| *file != "deploy/legacy-app" && !path(file).exists()).collect();
    assert_eq!(lost, Vec::<&str>::new());
}
