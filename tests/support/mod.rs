//! Both peers of the sidecar, as raw as a test wants them: every byte is the test's own.
//!
//! ```text
//!   client (ws, http) ──► sidecar (crate::sidecar) ──► Service (service)
//! ```
//!
//! Nothing here uses the crate's own reading or writing of frames: what checks must not be what is checked.

#![allow(dead_code, unreachable_pub, reason = "shared by several test binaries, each of which uses a part")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test's helpers fail the test")]

pub mod http;
pub mod redis;
pub mod service;
pub mod tls;
pub mod ws;

use std::{future::Future, time::Duration};

use tokio::task::JoinHandle;

/// Longer than anything here takes, shorter than anybody's patience.
const PATIENCE: Duration = Duration::from_secs(60);

/// What must happen, and soon; else the test fails, and says what it waited for.
pub async fn soon<T>(what: &str, it: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, it).await {
        Ok(done) => done,
        Err(_) => panic!("this never came: {what}"),
    }
}

/// Runs beside the test.
#[expect(clippy::disallowed_methods, reason = "a test's runtime ends with the test")]
pub fn beside<T: Send + 'static>(it: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
    tokio::spawn(it)
}

/// A plain route to this port, as the last table of a configuration. However slow the machine is, no ping of the
/// sidecar's own comes among the bytes.
pub fn plain(port: u16) -> String {
    format!(
        "[[route]]\nname = \"plain\"\nupstream = \"ws://127.0.0.1:{port}\"\ndialect = \"none\"\n\
         session.keepalive = \"10m\"\n"
    )
}

/// A port for a program that binds it itself. It is none of those that the system gives to others meanwhile.
pub fn free_port() -> u16 {
    loop {
        let port = fastrand::u16(10_000..30_000);
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Asks until the answer is as wanted.
pub async fn until<T, F: Future<Output = T>>(
    what: &str,
    ask: impl Fn() -> F,
    good: impl Fn(&T) -> bool,
) -> T {
    soon(what, async {
        loop {
            let answer = ask().await;
            if good(&answer) {
                return answer;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

/// A seed that can be given again: `PERENNIAL_SEED=…`. It is printed, which a failing test shows.
#[expect(clippy::print_stdout, reason = "a failing test has to name its seed")]
pub fn seeded() -> fastrand::Rng {
    let given = std::env::var("PERENNIAL_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(|| fastrand::u64(..));
    println!("PERENNIAL_SEED={seed}");
    fastrand::Rng::with_seed(seed)
}

/// The memory of a process that is really there, in bytes.
pub fn resident(pid: u32) -> usize {
    memory(pid, "VmRSS:")
}

/// The most that it ever was.
pub fn peak(pid: u32) -> usize {
    memory(pid, "VmHWM:")
}

fn memory(pid: u32, what: &str) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(what)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}
