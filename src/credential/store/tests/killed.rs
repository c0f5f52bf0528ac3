//! A process that is killed in the middle of its work, again and again: what it said was durable is there.
//!
//! The process is this very test, started with a directory in its environment.

use std::{
    io::{BufRead, BufReader, Read, Write},
    process::{Command, Stdio},
};

use super::*;

const DIRECTORY: &str = "PERENNIAL_TEST_STORE";
const CLIENTS: usize = 8;
const ROUNDS: usize = 25;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_takes_nothing_back() {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        work(Path::new(&directory)).await;
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let mut random = fastrand::Rng::with_seed(7);
    let mut durable = [0; CLIENTS];
    for round in 0..ROUNDS {
        // In the first rounds while the file is made, then anywhere.
        let lines = if round < 8 { 0 } else { random.usize(0..200) };
        let wait = Duration::from_micros(random.u64(0..if round < 8 { 40_000 } else { 5_000 }));
        kill_after(directory.path(), lines, wait, &mut durable);
        let rig = Rig::disk(directory.path());
        for (client, durable) in durable.iter_mut().enumerate() {
            *durable = newest(&rig, client, *durable).await;
        }
    }
    assert!(durable.iter().sum::<u64>() > 200, "{durable:?}");
}

/// Starts the process, waits for so many lines of it and a little longer, and kills it. Notes what it said.
fn kill_after(directory: &Path, lines: usize, wait: Duration, durable: &mut [u64; CLIENTS]) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "credential::store::tests::killed::a_kill_takes_nothing_back", "--nocapture"])
        .env(DIRECTORY, directory)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap());
    let mut noted = 0;
    while noted < lines {
        let mut line = String::new();
        assert_ne!(said.read_line(&mut line).unwrap(), 0, "it ended by itself");
        noted += usize::from(note(&line, durable));
    }
    std::thread::sleep(wait);
    child.kill().unwrap();
    child.wait().unwrap();
    // What it had said before it was killed counts as well.
    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    for line in rest.split_inclusive('\n') {
        note(line, durable);
    }
}

/// Takes a line in; `false` where it is not one of ours, or was cut.
fn note(line: &str, durable: &mut [u64; CLIENTS]) -> bool {
    let said = line.strip_suffix('\n').and_then(|line| line.strip_prefix("durable "));
    let Some((client, generation)) = said.and_then(|said| said.split_once(' ')) else { return false };
    let durable = &mut durable[client.parse::<usize>().unwrap()];
    *durable = (*durable).max(generation.parse().unwrap());
    true
}

/// The newest generation that is there; it is what was said to be durable, or the one that was under way.
async fn newest(rig: &Rig, client: usize, durable: u64) -> u64 {
    let name = format!("c{client}");
    for newest in [durable + 1, durable] {
        if newest > 0 && rig.standing(&name, newest).await != format!("current {newest}") {
            continue;
        }
        if newest > 0 {
            let text = token(&name, newest - 1);
            let standing = rig.store.standing(&rig.key(&text), &text, rig.now).await.unwrap();
            let Standing::Grace { text, .. } = standing else { panic!("{name}-{newest}: {standing:?}") };
            assert_eq!(text.as_str(), token(&name, newest));
        }
        for old in 0..newest.saturating_sub(1) {
            assert_eq!(rig.standing(&name, old).await, "revoked", "{name}-{old} of {newest}");
        }
        assert_eq!(rig.standing(&name, newest + 1).await, "unknown");
        return newest;
    }
    let around = rig.standings(&name, durable.saturating_sub(2)..=durable + 2).await;
    panic!("{name}: {durable} was said to be durable, and around it is {around}")
}

/// What is killed: clients whose tokens are superseded without end, each said aloud when it is durable.
async fn work(directory: &Path) {
    let rig = Arc::new(Rig::disk(directory));
    let tasks = TaskTracker::new();
    for client in 0..CLIENTS {
        let rig = rig.clone();
        tasks.spawn(async move {
            let name = format!("c{client}");
            let mut generation = 0;
            while rig.standing(&name, generation + 1).await != "unknown" {
                generation += 1;
            }
            loop {
                generation += 1;
                rig.supersede(&name, generation).await.unwrap();
                let mut out = std::io::stdout().lock();
                writeln!(out, "durable {client} {generation}").unwrap();
                out.flush().unwrap();
            }
        });
    }
    tasks.close();
    tasks.wait().await;
}
