//! The proxies under test, each as its own documentation has one set it up, on one thread.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use super::{
    cells::{Contender, Leg},
    child::Child,
    options::Program,
    upstream::{CA_FILE, Ports},
};

/// Connections that a proxy is told to expect; two sockets each.
const CONNECTIONS: usize = 9_100;

/// What a proxy's configuration speaks of.
struct Scene<'a> {
    port: u16,
    upstream: u16,
    leg: Leg,
    /// A directory of the proxy's own.
    directory: &'a Path,
    ca: PathBuf,
}

/// A proxy that runs.
pub(crate) struct Proxy {
    pub(crate) child: Child,
    pub(crate) port: u16,
}

impl Proxy {
    /// Starts a contender on one CPU, with its files in a directory of its own below `directory`.
    pub(crate) async fn start(
        contender: Contender,
        perennial: &Path,
        cpu: u32,
        ports: Ports,
        directory: &Path,
    ) -> Result<Self> {
        let own = directory.join(contender.name());
        fs::create_dir_all(&own)?;
        let upstream = match contender.leg {
            Leg::Plain => ports.plain,
            Leg::Tls => ports.tls,
            Leg::AblyUnread | Leg::AblyRead => ports.ably,
        };
        let ca = directory.join(CA_FILE);
        let scene = Scene { port: free_port()?, upstream, leg: contender.leg, directory: &own, ca };
        let (program, configuration, before, after) = match contender.program {
            Program::Nginx => (found("nginx")?, nginx(&scene), &["-c"][..], &["-e", "stderr"][..]),
            Program::Haproxy => (found("haproxy")?, haproxy(&scene), &["-db", "-f"][..], &[][..]),
            Program::Perennial => {
                (perennial.to_owned(), perennial_toml(&scene)?, &["run", "--config"][..], &[][..])
            }
        };
        let file = own.join("configuration.toml");
        fs::write(&file, configuration)?;
        let file = file.to_str().context("a temporary directory that is not UTF-8")?;
        let arguments = [before, &[file], after].concat();
        let mut child = Child::start(cpu, own.join("log"), &program, arguments, false)?;
        let port = scene.port;
        child.listens(port).await.with_context(|| format!("{} does not start", contender.name()))?;
        Ok(Self { child, port })
    }
}

/// The proxies are also looked for where Debian puts them for root alone.
fn found(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    let file = places.map(|place| place.join(name)).find(|file| file.is_file());
    file.with_context(|| format!("{name} is not there: benches/run installs it"))
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn nginx(scene: &Scene<'_>) -> String {
    let Scene { port, upstream, .. } = scene;
    let (directory, ca) = (scene.directory.display(), scene.ca.display());
    let connections = 2 * CONNECTIONS;
    let (scheme, tls) = match scene.leg {
        Leg::Tls => (
            "https",
            format!(
                "proxy_ssl_protocols TLSv1.2 TLSv1.3; proxy_ssl_verify on; proxy_ssl_name localhost;
                 proxy_ssl_server_name on; proxy_ssl_trusted_certificate {ca};"
            ),
        ),
        Leg::Plain | Leg::AblyUnread | Leg::AblyRead => ("http", String::new()),
    };
    format!(
        "daemon off; worker_processes 1; worker_rlimit_nofile {connections}; pid {directory}/pid;
         error_log stderr;
         events {{ worker_connections {connections}; }}
         http {{
           access_log off;
           client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy;
           fastcgi_temp_path {directory}/fastcgi; uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;
           server {{
             listen 127.0.0.1:{port};
             location / {{
               proxy_pass {scheme}://127.0.0.1:{upstream};
               proxy_http_version 1.1;
               proxy_set_header Upgrade $http_upgrade;
               proxy_set_header Connection \"upgrade\";
               proxy_read_timeout 1h;
               {tls}
             }}
           }}
         }}
        "
    )
}

fn haproxy(scene: &Scene<'_>) -> String {
    let Scene { port, upstream, .. } = scene;
    let tls = match scene.leg {
        Leg::Tls => {
            format!(
                "ssl verify required ca-file {} sni str(localhost) verifyhost localhost",
                scene.ca.display()
            )
        }
        Leg::Plain | Leg::AblyUnread | Leg::AblyRead => String::new(),
    };
    format!(
        "global\n  nbthread 1\n  maxconn {CONNECTIONS}\n\
         defaults\n  mode http\n  timeout connect 5s\n  timeout client 1h\n  timeout server 1h\n  timeout tunnel 1h\n\
         frontend clients\n  bind 127.0.0.1:{port}\n  default_backend service\n\
         backend service\n  server echo 127.0.0.1:{upstream} {tls}\n"
    )
}

fn perennial_toml(scene: &Scene<'_>) -> Result<String> {
    let Scene { port, upstream, .. } = scene;
    let admin = free_port()?;
    let route = match scene.leg {
        Leg::Plain | Leg::AblyUnread => {
            format!("upstream = \"ws://127.0.0.1:{upstream}\"\ndialect = \"none\"\n")
        }
        Leg::Tls => format!(
            "upstream = \"wss://localhost:{upstream}\"\ndialect = \"none\"\n[route.tls]\nca = \"{}\"\n",
            scene.ca.display()
        ),
        Leg::AblyRead => format!(
            "upstream = \"ws://127.0.0.1:{upstream}\"\ndialect = \"ably\"\n\
             [route.token]\nsource = \"static\"\ntoken = \"bench\"\n"
        ),
    };
    if port == &admin {
        bail!("two ports were one");
    }
    Ok(format!(
        "[listen]\naddress = \"127.0.0.1:{port}\"\n[admin]\naddress = \"127.0.0.1:{admin}\"\n\
         [limits]\nsessions = {CONNECTIONS}\nmessage = \"16MiB\"\n[[route]]\nname = \"bench\"\n{route}"
    ))
}
