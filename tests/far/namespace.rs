//! A network namespace for the far end of a connection, so that its way can really be cut.
//!
//! ```text
//!   this namespace                    Namespace
//!   sidecar ──► near end ═══veth═══ eth0 ──► a listener of this process
//! ```
//!
//! After [`Namespace::cut`] nothing of the connections that there were arrives, in either direction, and nothing
//! is acknowledged; a new connection is served. So it is when a firewall or NAT has lost its state. A proxy in
//! user space cannot do that: its kernel acknowledges.
//!
//! The namespace and its link go when the value is dropped.

use std::{
    fs::File,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Command, id},
    sync::atomic::{AtomicU32, Ordering},
};

use nix::sched::{CloneFlags, setns};
use tokio::net::TcpListener;

/// Addresses of /30 networks are taken from here.
const NETWORK: u32 = u32::from_be_bytes([10, 200, 0, 0]);
/// So many /30 networks are in it.
const LINKS: u32 = 1 << 14;

pub struct Namespace {
    name: String,
    /// Its own address.
    pub address: Ipv4Addr,
}

impl Namespace {
    pub fn make() -> Self {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("pn{}x{number}", id());
        let network = NETWORK + (id().wrapping_mul(8) + number) % LINKS * 4;
        let [near, far] = [1, 2].map(|host| Ipv4Addr::from(network + host));
        let namespace = Self { name, address: far };
        let name = &namespace.name;
        ip(&format!("netns add {name}"));
        ip(&format!("link add {name} type veth peer name eth0 netns {name}"));
        ip(&format!("address add {near}/30 dev {name}"));
        ip(&format!("link set {name} up"));
        namespace.ip(&format!("address add {far}/30 dev eth0"));
        namespace.ip("link set eth0 up");
        namespace
    }

    /// The same, whose programs know these lines of a hosts file and no other name; its loopback is up.
    pub fn with_hosts(hosts: &str) -> Self {
        let namespace = Self::make();
        namespace.ip("link set lo up");
        let etc = namespace.etc();
        std::fs::create_dir_all(&etc).unwrap();
        std::fs::write(etc.join("hosts"), hosts).unwrap();
        namespace
    }

    /// What its programs see in the place of files of /etc.
    fn etc(&self) -> PathBuf {
        Path::new("/etc/netns").join(&self.name)
    }

    /// A command that runs inside.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    /// A listener inside. A socket belongs to the namespace of the thread that made it.
    pub fn listener(&self) -> TcpListener {
        self.listener_at(self.address)
    }

    /// The same, at an address that it has.
    pub fn listener_at(&self, address: Ipv4Addr) -> TcpListener {
        let entry = File::open(format!("/run/netns/{}", self.name)).unwrap();
        let address = SocketAddr::from((address, 0));
        let made = std::thread::spawn(move || {
            setns(entry, CloneFlags::CLONE_NEWNET).unwrap();
            std::net::TcpListener::bind(address).unwrap()
        });
        let listener = made.join().unwrap();
        listener.set_nonblocking(true).unwrap();
        TcpListener::from_std(listener).unwrap()
    }

    /// Cuts the way of every connection that there is now; says how many.
    pub fn cut(&self) -> usize {
        let listed = run(&format!("ip netns exec {} ss -Htn state established", self.name));
        let peers: Vec<_> = listed
            .lines()
            .filter_map(|line| line.split_whitespace().nth(3)?.rsplit(':').next())
            .map(str::to_owned)
            .collect();
        // Rules that come before the one for local addresses, which is the first.
        self.ip("rule add pref 10 lookup local");
        self.ip("rule del pref 0");
        for peer in &peers {
            for side in ["sport", "dport"] {
                self.ip(&format!("rule add pref 1 ipproto tcp {side} {peer} blackhole"));
            }
        }
        peers.len()
    }

    fn ip(&self, arguments: &str) {
        ip(&format!("-n {} {arguments}", self.name));
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        ip(&format!("netns del {}", self.name));
        // Most have none.
        let _ = std::fs::remove_dir_all(self.etc());
    }
}

fn ip(arguments: &str) {
    run(&format!("ip {arguments}"));
}

/// Runs a command, which must succeed; what it printed.
fn run(command: &str) -> String {
    let mut words = command.split(' ');
    let done = Command::new(words.next().unwrap()).args(words).output().unwrap();
    assert!(done.status.success(), "{command}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}
