//! As process 1, in a container without an init: what a command leaves behind is this process's to reap.

use std::{fs, process::Command};

use crate::{
    sidecar::Sidecar,
    support::{plain, service::Service, until},
};

/// Refreshes, each by a command that leaves a process behind, in a group of its own.
const REFRESHES: f64 = 4.0;
const REFRESHED: &str =
    "perennial_token_refreshes_total{outcome=\"ok\",route=\"leaving\",trigger=\"schedule\"}";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root: run by tests/all"]
async fn realtime_what_commands_leave_behind_is_reaped() {
    let service = Service::start().await;
    let command = "setsid sleep 0.2 >/dev/null 2>&1 & echo '{\\\"token\\\":\\\"T\\\",\\\"expires_in\\\":2}'";
    let route = format!(
        "[[route]]\nname = \"leaving\"\npath = \"/leaving\"\nupstream = \"ws://127.0.0.1:{}\"\ndialect = \"handshake\"\n\
         [route.handshake]\nquery = \"token\"\n\
         [route.token]\nsource = \"exec\"\ncommand = [\"sh\", \"-c\", \"{command}\"]\n{}",
        service.port,
        plain(service.port)
    );
    let sidecar = Sidecar::launch_by(&["unshare", "--pid", "--fork", "--kill-child"], &route).await;
    let first = children(sidecar.id())[0];
    until("refreshes", || sidecar.metric(REFRESHED), |count| *count >= REFRESHES).await;
    until("all are reaped", async || zombies(first), |count| *count == 0).await;
    assert!(Command::new("kill").args(["-s", "TERM", &first.to_string()]).status().unwrap().success());
    let (status, log) = sidecar.ended().await;
    assert_eq!(status, Some(0), "{log}");
}

fn children(of: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{of}/task/{of}/children")).unwrap();
    children.split_whitespace().map(|id| id.parse().unwrap()).collect()
}

/// Children of it that have ended and nobody has reaped.
fn zombies(of: u32) -> usize {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let stats = processes.filter_map(|process| fs::read_to_string(process.path().join("stat")).ok());
    // Behind the name, which is in brackets: its state, and its parent.
    let of = of.to_string();
    stats
        .filter(|stat| {
            let mut words = stat.rsplit_once(") ").map_or("", |(_, rest)| rest).split(' ');
            words.next() == Some("Z") && words.next() == Some(&of)
        })
        .count()
}
