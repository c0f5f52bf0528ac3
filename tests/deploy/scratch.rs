//! The program in a root like the image's: nothing but itself, its configuration, roots of TLS and resolv.conf.
//!
//! ```text
//!   unshare (mounts, processes) ──► the root, read-only ──► perennial, as 65532, no capabilities
//!                                                               ├─ a name: resolv.conf ──► a resolver of the test
//!                                                               └─ TLS: its roots ──► a token endpoint of the test
//! ```
//!
//! `PERENNIAL_STATIC` names a static binary, as the image has it:
//!
//! ```text
//!   RUSTFLAGS='-C target-feature=+crt-static' cargo build --release --target "$(rustc --print host-tuple)"
//! ```
//!
//! Without it the release binary is taken, and the libraries that it asks for are put beside it.

use std::{
    fs,
    net::UdpSocket,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    deploy::tools::{Ended, path, perennial, run},
    support::{
        service::Service,
        tls::{Authority, acceptor},
    },
};

/// Where the test's resolver listens: an address of loopback that nobody else has.
const RESOLVER: &str = "127.0.54.1:53";

/// Runs the program in the root that is its first argument; the rest are its arguments.
const ENTER: &str = r#"
root=$1; shift
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
for device in null random urandom; do mount --bind "/dev/$device" "$root/dev/$device"; done
mount -o remount,bind,ro "$root"
if touch "$root/here" 2>/dev/null; then echo "the root can be written"; exit 1; fi
exec setpriv --no-new-privs chroot --userspec=65532:65532 --groups= "$root" /usr/bin/perennial "$@"
"#;

/// A root to run it in.
struct Root(tempfile::TempDir);

impl Root {
    fn new() -> Self {
        let root = Self(tempfile::tempdir().unwrap());
        let given = std::env::var_os("PERENNIAL_STATIC").map(|binary| path("").join(binary));
        root.copy(given.as_deref().unwrap_or(&perennial()), "usr/bin/perennial");
        if given.is_none() {
            let libraries = run(Command::new("ldd").arg(perennial()), "").expected("ldd");
            let paths = libraries.split_whitespace().filter(|word| word.starts_with('/'));
            paths.for_each(|library| root.copy(Path::new(library), library.trim_start_matches('/')));
        }
        root.copy(Path::new("/etc/ssl/certs/ca-certificates.crt"), "etc/ssl/certs/ca-certificates.crt");
        for file in ["dev/null", "dev/random", "dev/urandom", "proc/.keep"] {
            root.write(file, "");
        }
        // The one who enters is nobody here.
        run(Command::new("chmod").arg("-R").arg("a+rX").arg(root.0.path()), "").expected("chmod");
        root
    }

    fn file(&self, name: &str) -> PathBuf {
        let file = self.0.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        file
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.file(name), text).unwrap();
    }

    fn copy(&self, from: &Path, name: &str) {
        fs::copy(from, self.file(name)).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
    }

    fn perennial(&self, arguments: &[&str]) -> Ended {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--pid", "--fork", "--kill-child", "bash", "-ec", ENTER, "enter"]);
        run(
            command
                .arg(self.0.path())
                .args(arguments)
                .env_clear()
                .env("PATH", std::env::var("PATH").unwrap()),
            "",
        )
    }
}

#[test]
#[ignore = "needs root and the release binary: tests/all"]
fn the_demo_runs_in_an_empty_root() {
    let root = Root::new();
    let said =
        root.perennial(&["demo", "--plain", "--for", "6s", "--token-lifetime", "3s"]).expected("the demo");
    assert!(said.contains("with perennial: never dropped"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root and the release binary: tests/all"]
async fn names_and_certificates_are_found_in_an_empty_root() {
    let (root, authority) = (Root::new(), Authority::new());
    let tokens = Service::start_tls(acceptor(&authority.sign(&["tokens.test"], |_| {}))).await;
    root.copy(&authority.ca, "etc/ssl/certs/ca-certificates.crt");
    root.write("etc/resolv.conf", "nameserver 127.0.54.1\n");
    let configuration = format!(
        "[[route]]\nupstream = \"wss://service.test\"\ndialect = \"ably\"\n\
         [route.token]\nsource = \"http\"\nurl = \"https://tokens.test:{}/token\"\n",
        tokens.port
    );
    root.write("etc/perennial/perennial.toml", &configuration);
    let socket = UdpSocket::bind(RESOLVER).expect("root, and nobody else on it");
    std::thread::spawn(move || resolve(&socket));

    root.perennial(&["check"]).expected("check");
    let asking = tokio::task::spawn_blocking(move || root.perennial(&["token"]));
    tokens.asked().await.answer("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nTOKEN").await;
    let said = asking.await.unwrap().expected("token");
    assert!(said.contains("5 bytes"), "{said}");
}

/// Says 127.0.0.1 to anyone who asks for `tokens.test`; nothing else has an address.
fn resolve(socket: &UdpSocket) {
    const NAME: &[u8] = b"\x06tokens\x04test\0";
    let mut buffer = [0; 512];
    while let Ok((length, from)) = socket.recv_from(&mut buffer) {
        let question = &buffer[12..length];
        let asked = question.get(..NAME.len() + 4).filter(|asked| asked.starts_with(NAME));
        let address = asked.is_some_and(|asked| asked[NAME.len()..] == [0, 1, 0, 1]);
        let mut answer = buffer[..2].to_vec();
        answer.extend([
            0x81,
            if asked.is_some() { 0x80 } else { 0x83 },
            0,
            1,
            0,
            u8::from(address),
            0,
            0,
            0,
            0,
        ]);
        answer.extend(asked.unwrap_or(question));
        if address {
            answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 127, 0, 0, 1]);
        }
        let _ = socket.send_to(&answer, from);
    }
}
