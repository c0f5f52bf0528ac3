//! A real Redis on a free port of loopback, and a front before it that can fail in every way.
//!
//! ```text
//!   store ──► Front (passes, cuts, keeps silent, says something else) ──► RedisServer (killed, paused, started again)
//! ```

#![allow(dead_code, unreachable_pub, reason = "shared by several test binaries, each of which uses a part")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test's helpers fail the test")]

use std::{
    io::ErrorKind,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use redis::{Connection, FromRedisValue};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// A `redis-server` of the test's own; it ends with it.
pub struct RedisServer {
    child: Child,
    pub port: u16,
    arguments: Vec<String>,
    directory: TempDir,
}

impl RedisServer {
    /// One that forgets everything when it ends.
    pub async fn start() -> Self {
        Self::with(&["--appendonly", "no"]).await
    }

    /// One that remembers everything, whatever happens to it.
    pub async fn durable() -> Self {
        Self::with(&["--appendonly", "yes", "--appendfsync", "always"]).await
    }

    pub async fn with(arguments: &[&str]) -> Self {
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        // Somebody else may take a port between the look for it and its use.
        for _ in 0..20 {
            let directory = tempfile::tempdir().unwrap();
            let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
            let child = spawn(port, &arguments, &directory);
            let mut server = Self { child, port, arguments: arguments.clone(), directory };
            if server.is_ready().await {
                return server;
            }
        }
        panic!("redis-server does not start");
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Is this a line of what it answers to one command?
    pub fn says(&self, command: &str, line: &str) -> bool {
        self.ask::<String>(command).lines().any(|said| said == line)
    }

    /// Where it writes things down.
    pub fn directory(&self) -> &std::path::Path {
        self.directory.path()
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Another process, on the same port and the same directory.
    pub async fn again(&mut self) {
        self.child = spawn(self.port, &self.arguments, &self.directory);
        assert!(self.is_ready().await, "redis-server does not start again");
    }

    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    /// A connection that passes by everything.
    pub fn connection(&self) -> Connection {
        self.connection_as("")
    }

    /// The same as `user:password@`.
    pub fn connection_as(&self, who: &str) -> Connection {
        let client = redis::Client::open(format!("redis://{who}127.0.0.1:{}", self.port)).unwrap();
        loop {
            match client.get_connection_with_timeout(Duration::from_secs(5)) {
                Ok(connection) => return connection,
                // A child of this process ended meanwhile.
                Err(error) if error.to_string().contains("Interrupted system call") => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// What it answers to one command.
    pub fn ask<T: FromRedisValue>(&self, command: &str) -> T {
        let mut words = command.split(' ');
        let mut cmd = redis::cmd(words.next().unwrap());
        words.for_each(|word| {
            cmd.arg(word);
        });
        cmd.query(&mut self.connection()).unwrap()
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap();
    }

    /// Does it answer? `false`: it has ended.
    async fn is_ready(&mut self) -> bool {
        let ready = async {
            loop {
                if self.child.try_wait().unwrap().is_some() {
                    return false;
                }
                if answers(self.port).await {
                    return true;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), ready).await.unwrap()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // It may have been killed already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(port: u16, arguments: &[String], directory: &TempDir) -> Child {
    let port = port.to_string();
    let mut command = Command::new("redis-server");
    if arguments.iter().any(|argument| argument == "--sentinel") {
        // It writes down what it knows.
        let file = directory.path().join("sentinel.conf");
        std::fs::write(&file, "").unwrap();
        command.arg(file);
    }
    let spawned = command
        .args(["--bind", "127.0.0.1", "--port", &port, "--save", "", "--dir"])
        .arg(directory.path())
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    match spawned {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            panic!("redis-server is not installed; tests/all installs it")
        }
        other => other.unwrap(),
    }
}

/// A primary, its replica, and three sentinels, two of which must agree.
pub struct Replicated {
    pub primary: RedisServer,
    pub replica: RedisServer,
    pub sentinels: Vec<RedisServer>,
}

impl Replicated {
    /// Ready for a failover.
    pub async fn start() -> Self {
        let primary = RedisServer::start().await;
        let port = primary.port.to_string();
        let replica = RedisServer::with(&["--appendonly", "no", "--replicaof", "127.0.0.1", &port]).await;
        until(|| replica.says("INFO replication", "master_link_status:up")).await;
        let mut sentinels = Vec::new();
        for _ in 0..3 {
            let sentinel = RedisServer::with(&["--sentinel"]).await;
            let _: () = sentinel.ask(&format!("SENTINEL MONITOR mymaster 127.0.0.1 {port} 2"));
            let _: () =
                sentinel.ask("SENTINEL SET mymaster down-after-milliseconds 500 failover-timeout 2000");
            sentinels.push(sentinel);
        }
        let all = "master0:name=mymaster,status=ok,address=127.0.0.1:PORT,slaves=1,sentinels=3"
            .replace("PORT", &port);
        until(|| sentinels.iter().all(|sentinel| sentinel.says("INFO sentinel", &all))).await;
        Self { primary, replica, sentinels }
    }

    pub fn url(&self) -> String {
        let hosts: Vec<_> = self.sentinels.iter().map(|one| format!("127.0.0.1:{}", one.port)).collect();
        format!("redis+sentinel://{}/mymaster", hosts.join(","))
    }
}

async fn until(good: impl Fn() -> bool) {
    let waited = async {
        while !good() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waited).await.expect("replica and sentinels");
}

/// The commands that a Redis carries out, those of scripts among them, in their order.
pub struct Monitor {
    lines: Arc<Mutex<Vec<String>>>,
    stop: CancellationToken,
}

impl Monitor {
    /// From now on, until it is dropped.
    pub async fn of(server: &RedisServer) -> Self {
        let mut tcp = BufReader::new(TcpStream::connect(("127.0.0.1", server.port)).await.unwrap());
        tcp.write_all(b"MONITOR\r\n").await.unwrap();
        let mut line = String::new();
        tcp.read_line(&mut line).await.unwrap();
        assert_eq!(line, "+OK\r\n");
        let lines = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&lines);
        let stop = CancellationToken::new();
        TaskTracker::new().spawn(stop.clone().run_until_cancelled_owned(async move {
            let mut read = tcp.lines();
            while let Ok(Some(line)) = read.next_line().await {
                seen.lock().unwrap().push(line);
            }
        }));
        Self { lines, stop }
    }

    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Any answer that is no "I am loading" is one.
async fn answers(port: u16) -> bool {
    let Ok(mut tcp) = TcpStream::connect(("127.0.0.1", port)).await else { return false };
    let mut answer = [0; 8];
    tcp.write_all(b"PING\r\n").await.is_ok()
        && tcp.read(&mut answer).await.is_ok_and(|length| length > 0)
        && !answer.starts_with(b"-LOADING")
}

/// What a front does with who comes.
#[derive(Clone)]
pub enum Doing {
    /// To the Redis behind it, and back.
    Passes,
    /// Connections end, and new ones at once.
    Cuts,
    /// Connections stay, and nothing is passed on.
    Silent,
    /// The same to everything.
    Says(Arc<[u8]>),
    /// What it says, again and again without end.
    Floods(Arc<[u8]>),
}

/// A TCP front on a port of its own.
pub struct Front {
    pub port: u16,
    doing: watch::Sender<Doing>,
    stop: CancellationToken,
}

impl Front {
    /// One before this port of loopback.
    pub async fn before(behind: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (doing, stop) = (watch::Sender::new(Doing::Passes), CancellationToken::new());
        let (state, ended, tasks) = (doing.clone(), stop.clone(), TaskTracker::new());
        let each = tasks.clone();
        tasks.spawn(stop.clone().run_until_cancelled_owned(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let one = serve(tcp, behind, state.subscribe());
                each.spawn(ended.clone().run_until_cancelled_owned(one));
            }
        }));
        Self { port, doing, stop }
    }

    /// One that says this to anyone who comes, and nothing else.
    pub async fn saying(doing: Doing) -> Self {
        let front = Self::before(9).await;
        front.now(doing);
        front
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn now(&self, doing: Doing) {
        self.doing.send_replace(doing);
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Until it does something else: then the connection ends, unless that is silence, which nobody notices.
async fn serve(mut tcp: TcpStream, behind: u16, mut doing: watch::Receiver<Doing>) {
    loop {
        let now = doing.borrow_and_update().clone();
        tokio::select! {
            () = serve_as(now, &mut tcp, behind) => return,
            changed = doing.changed() => {
                if changed.is_err() || !matches!(*doing.borrow(), Doing::Silent) {
                    return;
                }
            }
        }
    }
}

async fn serve_as(now: Doing, tcp: &mut TcpStream, behind: u16) {
    match now {
        Doing::Cuts => {}
        Doing::Silent => std::future::pending().await,
        Doing::Passes => {
            if let Ok(mut to) = TcpStream::connect(("127.0.0.1", behind)).await {
                // However it ends, it has ended.
                let _ = copy_bidirectional(tcp, &mut to).await;
            }
        }
        Doing::Says(what) => {
            let mut asked = [0; 4096];
            while tcp.read(&mut asked).await.is_ok_and(|length| length > 0)
                && tcp.write_all(&what).await.is_ok()
            {}
        }
        Doing::Floods(what) => while tcp.write_all(&what).await.is_ok() {},
    }
}
