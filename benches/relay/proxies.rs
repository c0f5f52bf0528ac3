//! The proxies under test, each as its own documentation has one set it up, on one thread.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use super::{
    cells::{Contender, Setting},
    child::Child,
    options::Program,
    tls::{CA_FILE, CERTIFICATE_FILE, KEY_FILE, PAIR_FILE},
    upstream::Ports,
};

/// Connections that a proxy is told to expect; two sockets each.
const CONNECTIONS: usize = 9_100;
/// Connections to the service that nginx keeps for plain HTTP: as many as there are clients.
const KEPT: usize = 64;
/// Requests on one connection. By default nginx ends a connection after a thousand.
const REQUESTS: usize = 1_000_000_000;

/// What a proxy's configuration speaks of.
struct Scene<'a> {
    port: u16,
    upstream: u16,
    setting: Setting,
    /// A directory of the proxy's own.
    directory: &'a Path,
    /// The certificates of the run.
    ca: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
    pair: PathBuf,
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
        let upstream = match contender.setting {
            Setting::Plain | Setting::TlsClient | Setting::Handshake | Setting::Declared => ports.plain,
            Setting::TlsUpstream => ports.tls,
            Setting::Ably => ports.ably,
            Setting::Http => ports.http,
        };
        let scene = Scene {
            port: free_port()?,
            upstream,
            setting: contender.setting,
            directory: &own,
            ca: directory.join(CA_FILE),
            certificate: directory.join(CERTIFICATE_FILE),
            key: directory.join(KEY_FILE),
            pair: directory.join(PAIR_FILE),
        };
        let (program, configuration, before, after) = match contender.program {
            Program::Nginx => (found("nginx")?, nginx(&scene), &["-c"][..], &["-e", "stderr"][..]),
            Program::Haproxy => (found("haproxy")?, haproxy(&scene), &["-db", "-f"][..], &[][..]),
            Program::Before | Program::Perennial => {
                (perennial.to_owned(), perennial_toml(&scene, ports)?, &["run", "--config"][..], &[][..])
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
pub(crate) fn found(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    let file = places.map(|place| place.join(name)).find(|file| file.is_file());
    file.with_context(|| format!("{name} is not there: benches/run installs it"))
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn nginx(scene: &Scene<'_>) -> String {
    let Scene { port, upstream, setting, .. } = scene;
    let (directory, ca) = (scene.directory.display(), scene.ca.display());
    let files = 2 * CONNECTIONS;
    // With a sixteenth left, nginx ends connections that have not said yet what they want.
    let connections = files * 8 / 7;
    let (scheme, verify) = if *setting == Setting::TlsUpstream {
        let verify = format!(
            "proxy_ssl_protocols TLSv1.2 TLSv1.3; proxy_ssl_verify on; proxy_ssl_name localhost;
             proxy_ssl_server_name on; proxy_ssl_trusted_certificate {ca};"
        );
        ("https", verify)
    } else {
        ("http", String::new())
    };
    let (listen, certificate) = if *setting == Setting::TlsClient {
        let (certificate, key) = (scene.certificate.display(), scene.key.display());
        let protocols = "ssl_protocols TLSv1.2 TLSv1.3;";
        (" ssl", format!("{protocols} ssl_certificate {certificate}; ssl_certificate_key {key};"))
    } else {
        ("", String::new())
    };
    let (kept, fields) = if *setting == Setting::Http {
        let kept = format!("keepalive {KEPT}; keepalive_requests {REQUESTS};");
        (kept, "proxy_set_header Connection \"\";")
    } else {
        let upgrade = "proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection \"upgrade\";";
        (String::new(), upgrade)
    };
    format!(
        "daemon off; worker_processes 1; worker_rlimit_nofile {files}; pid {directory}/pid;
         error_log stderr;
         events {{ worker_connections {connections}; }}
         http {{
           access_log off;
           client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy;
           fastcgi_temp_path {directory}/fastcgi; uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;
           upstream service {{ server 127.0.0.1:{upstream}; {kept} }}
           server {{
             listen 127.0.0.1:{port}{listen};
             {certificate}
             keepalive_requests {REQUESTS};
             location / {{
               proxy_pass {scheme}://service;
               proxy_http_version 1.1;
               {fields}
               proxy_read_timeout 1h;
               {verify}
             }}
           }}
         }}
        "
    )
}

fn haproxy(scene: &Scene<'_>) -> String {
    let Scene { port, upstream, setting, .. } = scene;
    let (mut listen, mut verify) = (String::new(), String::new());
    if *setting == Setting::TlsClient {
        listen = format!("ssl crt {}", scene.pair.display());
    }
    if *setting == Setting::TlsUpstream {
        let ca = scene.ca.display();
        verify = format!("ssl verify required ca-file {ca} sni str(localhost) verifyhost localhost");
    }
    format!(
        "global\n  nbthread 1\n  maxconn {CONNECTIONS}\n\
         defaults\n  mode http\n  timeout connect 5s\n  timeout client 1h\n  timeout server 1h\n  timeout tunnel 1h\n\
         frontend clients\n  bind 127.0.0.1:{port} {listen}\n  default_backend service\n\
         backend service\n  server echo 127.0.0.1:{upstream} {verify}\n"
    )
}

fn perennial_toml(scene: &Scene<'_>, ports: Ports) -> Result<String> {
    let Scene { port, upstream, setting, .. } = scene;
    let admin = free_port()?;
    let token = "[route.token]\nsource = \"static\"\ntoken = \"bench\"\n";
    let header = "[route.handshake]\nheader = \"Authorization: Bearer {token}\"\n";
    let plain = format!("upstream = \"ws://127.0.0.1:{upstream}\"\n");
    let route = match setting {
        Setting::Plain | Setting::TlsClient => format!("{plain}dialect = \"none\"\n"),
        Setting::TlsUpstream => format!(
            "upstream = \"wss://localhost:{upstream}\"\ndialect = \"none\"\n[route.tls]\nca = \"{}\"\n",
            scene.ca.display()
        ),
        Setting::Handshake => format!("{plain}dialect = \"handshake\"\n{token}{header}"),
        Setting::Declared => format!("{plain}dialect = \"graphql-transport-ws\"\n{token}"),
        Setting::Ably => format!("{plain}dialect = \"ably\"\n{token}"),
        Setting::Http => format!(
            "upstream = \"ws://127.0.0.1:{}\"\ndialect = \"none\"\n\
             [route.http]\nupstream = \"http://127.0.0.1:{upstream}\"\n",
            ports.plain
        ),
    };
    let listen = if *setting == Setting::TlsClient {
        format!("certificate = \"{}\"\nkey = \"{}\"\n", scene.certificate.display(), scene.key.display())
    } else {
        String::new()
    };
    if port == &admin {
        bail!("two ports were one");
    }
    Ok(format!(
        "[listen]\naddress = \"127.0.0.1:{port}\"\n{listen}[admin]\naddress = \"127.0.0.1:{admin}\"\n\
         [limits]\nsessions = {CONNECTIONS}\nmessage = \"16MiB\"\n[[route]]\nname = \"bench\"\n{route}"
    ))
}
