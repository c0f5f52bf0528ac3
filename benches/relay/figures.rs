//! What the kernel says of a process: the time it ran, the memory it has.

use std::{fs, io};

use anyhow::{Context as _, Result};

/// A process and all that it started.
pub(crate) fn family(pid: u32) -> Vec<u32> {
    let mut pids = vec![pid];
    let mut at = 0;
    while at < pids.len() {
        pids.extend(children(pids[at]).unwrap_or_default());
        at += 1;
    }
    pids
}

fn children(pid: u32) -> io::Result<Vec<u32>> {
    let mut children = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let listed = fs::read_to_string(task?.path().join("children"))?;
        children.extend(listed.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
    }
    Ok(children)
}

/// Nanoseconds that all threads of the processes ran.
pub(crate) fn cpu_nanos(pids: &[u32]) -> Result<u64> {
    let mut nanos = 0;
    for pid in pids {
        for task in fs::read_dir(format!("/proc/{pid}/task")).context("the proxy has ended")? {
            let path = task?.path().join("schedstat");
            let line = fs::read_to_string(&path).context("this kernel keeps no schedstat")?;
            let ran = line.split_whitespace().next().context("an empty schedstat")?;
            nanos += ran.parse::<u64>()?;
        }
    }
    Ok(nanos)
}

/// KiB of the processes that are in memory.
pub(crate) fn resident_kib(pids: &[u32]) -> Result<u64> {
    pids.iter().map(|pid| Ok(status(&pid.to_string(), "VmRSS:")?.parse::<u64>()?)).sum()
}

/// The first two CPUs that this process may use.
pub(crate) fn two_cpus() -> Result<(u32, u32)> {
    let list = status("self", "Cpus_allowed_list:")?;
    let mut cpus = Vec::new();
    for range in list.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        cpus.extend(first.parse::<u32>()?..=last.parse()?);
    }
    let [proxy, others, ..] = cpus[..] else { anyhow::bail!("two CPUs are needed") };
    Ok((proxy, others))
}

/// The first word of a line of a process's status.
fn status(pid: &str, key: &str) -> Result<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("the proxy has ended")?;
    let value = status.lines().find_map(|line| line.strip_prefix(key));
    let word = value.and_then(|value| value.split_whitespace().next());
    Ok(word.with_context(|| format!("no {key} in a status"))?.to_owned())
}
