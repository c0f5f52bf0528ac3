//! The machine of a run, and the versions of what ran on it.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result};

use super::{figures, proxies};

/// Files that a Perennial is built of.
const SOURCES: &[&str] = &["src", "Cargo.toml", "Cargo.lock"];

/// What a reader has to know, each with its name.
pub(crate) struct Machine(pub(crate) Vec<(&'static str, String)>);

impl Machine {
    /// Looks before anything is measured: the load is that of others.
    pub(crate) fn look(perennial: &Path) -> Result<Self> {
        let (proxy, others) = figures::two_cpus()?;
        let model = line("/proc/cpuinfo", "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned());
        let cpus = std::thread::available_parallelism()?;
        let memory = line("/proc/meminfo", "MemTotal").unwrap_or_default();
        let kib = memory.split(' ').next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or_default();
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
        let system = line("/etc/os-release", "PRETTY_NAME").unwrap_or_default();
        let load = fs::read_to_string("/proc/loadavg")?;
        let load = load.split(' ').next().unwrap_or_default();
        Ok(Self(vec![
            ("processor", format!("{model}, {cpus} CPUs, {} GiB of memory", (kib + (1 << 19)) >> 20)),
            ("CPUs", format!("{proxy} for the proxy, {others} for the generator and the service")),
            ("system", format!("{}, Linux {}", system.trim_matches('"'), kernel.trim())),
            ("load before the run", format!("{load} (one minute)")),
            ("nginx", nginx()?),
            ("HAProxy", haproxy()?),
            ("Rust", said("rustc", &["--version"])?),
            ("Perennial", format!("{}, commit {}", last_word(&said(perennial, &["--version"])?), commit())),
            ("date", jiff::Timestamp::now().strftime("%-d %B %Y").to_string()),
        ]))
    }
}

/// The value of the first line of a file that begins so.
fn line(file: &str, key: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let rest = text.lines().find_map(|line| line.strip_prefix(key))?;
    Some(rest.trim_start_matches([' ', '\t', ':', '=']).to_owned())
}

/// The first line that a program says; some say their version on standard error.
fn said(program: impl AsRef<Path>, arguments: &[&str]) -> Result<String> {
    let program = program.as_ref();
    let said = Command::new(program).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    let said = said.with_context(|| format!("{} does not run", program.display()))?;
    let text = [said.stdout, said.stderr].concat();
    Ok(String::from_utf8_lossy(&text).lines().next().unwrap_or_default().to_owned())
}

fn nginx() -> Result<String> {
    let said = said(proxies::found("nginx")?, &["-v"])?;
    Ok(said.rsplit('/').next().unwrap_or_default().to_owned())
}

fn haproxy() -> Result<String> {
    let said = said(proxies::found("haproxy")?, &["-v"])?;
    Ok(said.split(' ').nth(2).unwrap_or_default().to_owned())
}

fn last_word(text: &str) -> &str {
    text.rsplit(' ').next().unwrap_or_default()
}

/// The commit, if this is a checkout, and whether its files were changed since.
fn commit() -> String {
    let commit = said("git", &["rev-parse", "--short", "HEAD"]).unwrap_or_default();
    let changes = said("git", &[&["status", "--porcelain", "--"][..], SOURCES].concat()).unwrap_or_default();
    if changes.is_empty() { commit } else { format!("{commit} with changes") }
}
