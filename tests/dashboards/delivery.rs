//! An outage, from the client that is turned away to the message that somebody reads.
//!
//! ```text
//!   client ──► sidecar ──► a service that is away
//!                 ▲
//!             Prometheus ──────────► Alertmanager ──────► Pager
//!             prometheus.yml,        alertmanager.yml,    the webhook, and Slack
//!             rules.yml              perennial.tmpl
//! ```
//!
//! The files are those of `dashboards/`. In `services` they take the time that they take. In the other test every time in
//! them is a tenth of it: intervals, windows and waits alike, so that the rules decide as ever.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use futures_util::StreamExt;
use tokio::{
    net::{TcpSocket, TcpStream},
    process::{Child, Command},
    task::JoinHandle,
};
use tokio_tungstenite::{accept_async, client_async};

use super::{
    pager::Pager,
    read,
    server::{Prometheus, listening},
};
use crate::{
    sidecar::{Gone, Sidecar},
    support::plain,
};

/// Promised from the first client that is turned away.
const PROMISED: Duration = Duration::from_secs(120);
/// How often a client tries again, and how often a condition is looked at.
const PAUSE: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(60);
/// A tenth of every time.
const FASTER: u32 = 10;
/// How soon Alertmanager says what has changed, in alertmanager.yml.
const GROUP_INTERVAL: Duration = Duration::from_secs(60);
const UNREACHABLE: &str = "PerennialServiceUnreachable";
const DOWN: &str = "PerennialDown";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs prometheus and prometheus-alertmanager: run by tests/all"]
async fn an_outage_is_over_if_the_service_is_back_and_not_if_the_sidecar_dies() {
    let mut scene = Scene::set(FASTER).await;
    let client = Client::come(scene.sidecar().port);
    scene.pager.is_told(UNREACHABLE, "firing").await;

    let gone = scene.kill().await;
    scene.pager.is_told(DOWN, "firing").await;
    // Its series have ended, and with them the alert. That nothing is said of it takes as long as to say it.
    scene.fires(UNREACHABLE, false).await;
    tokio::time::sleep(2 * GROUP_INTERVAL / FASTER).await;

    scene.sidecar = Some(gone.again().await);
    scene.fires(UNREACHABLE, true).await;
    scene.pager.is_told(DOWN, "resolved").await;
    assert_eq!(scene.pager.alerts(UNREACHABLE, "resolved").count(), 0, "{:#?}", scene.pager.pages);

    scene.service_is_back();
    scene.pager.is_told(UNREACHABLE, "resolved").await;
    scene.fires(UNREACHABLE, false).await;
    client.task.abort();
}

/// In the time that it takes.
mod services {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "needs prometheus and prometheus-alertmanager: run by tests/all --services"]
    async fn somebody_is_woken_within_two_minutes() {
        let mut scene = Scene::set(1).await;
        let client = Client::come(scene.sidecar().port);
        let instance = format!("127.0.0.1:{}", scene.sidecar().admin);
        let told = scene.pager.is_told(UNREACHABLE, "firing").await;
        let took = client.began.elapsed();
        println!("first failed client -> firing alert delivered: {:.1} s", took.as_secs_f64());
        assert!(took < PROMISED, "{took:?}");

        assert_eq!(told["labels"]["instance"], instance);
        assert_eq!(told["labels"]["route"], "plain");
        let described = format!("{instance}, route plain: about ");
        let description = told["annotations"]["description"].as_str().unwrap();
        assert!(description.starts_with(&described), "{description}");
        assert_eq!(scene.pager.pages[0].authorization, "Bearer a key");
        // Those who read the channel see the same, and what to do.
        scene.pager.is_posted(&described).await;
        scene.pager.is_posted("RUNBOOK.md#perennialserviceunreachable").await;
        client.task.abort();
    }
}

/// Everything that runs, but the client.
struct Scene {
    sidecar: Option<Sidecar>,
    /// Bound, so that the port is nobody else's, and not listening.
    away: Option<TcpSocket>,
    pager: Pager,
    prometheus: Prometheus,
    _alertmanager: (tempfile::TempDir, Child),
}

impl Scene {
    /// With a service that is away, and all times this much shorter.
    async fn set(faster: u32) -> Self {
        let away = TcpSocket::new_v4().unwrap();
        away.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let sidecar = Sidecar::start(&plain(away.local_addr().unwrap().port())).await;
        let pager = Pager::start().await;
        let (port, alertmanager) = alertmanager(&pager, faster).await;
        let prometheus = prometheus(sidecar.admin, port, faster).await;
        let scene =
            Self { sidecar: Some(sidecar), away: Some(away), pager, prometheus, _alertmanager: alertmanager };
        // What happened before the first scrape did not happen, for a rate.
        scene.until("up == 1", true).await;
        scene
    }

    fn sidecar(&self) -> &Sidecar {
        self.sidecar.as_ref().unwrap()
    }

    async fn kill(&mut self) -> Gone {
        self.sidecar.take().unwrap().killed().await.1
    }

    /// From now on it takes every client.
    fn service_is_back(&mut self) {
        let listener = self.away.take().unwrap().listen(64).unwrap();
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let Ok(mut socket) = accept_async(tcp).await else { return };
                    while let Some(Ok(_)) = socket.next().await {}
                });
            }
        });
    }

    /// Waits until an alert fires, or does not, in Prometheus.
    async fn fires(&self, alert: &str, fires: bool) {
        self.until(&format!("ALERTS{{alertname=\"{alert}\", alertstate=\"firing\"}}"), fires).await;
    }

    /// Waits until an expression has a value, or has none.
    async fn until(&self, expr: &str, has_a_value: bool) {
        let mut pause = tokio::time::interval(PAUSE);
        let asking = async {
            while self.prometheus.values(expr, false).await.unwrap().is_empty() == has_a_value {
                pause.tick().await;
            }
        };
        tokio::time::timeout(PATIENCE, asking)
            .await
            .unwrap_or_else(|_| panic!("{expr}: never {has_a_value}"));
    }
}

/// A client that tries until it is let in, and again if it is cut off.
struct Client {
    /// When it came first.
    began: Instant,
    task: JoinHandle<()>,
}

impl Client {
    fn come(port: u16) -> Self {
        let task = tokio::spawn(async move {
            loop {
                if let Ok(tcp) = TcpStream::connect(("127.0.0.1", port)).await
                    && let Ok((mut socket, _)) = client_async("ws://localhost/", tcp).await
                {
                    while let Some(Ok(_)) = socket.next().await {}
                }
                tokio::time::sleep(PAUSE).await;
            }
        });
        Self { began: Instant::now(), task }
    }
}

/// The Prometheus of `prometheus.yml`, for this sidecar and this Alertmanager.
async fn prometheus(admin: u16, alertmanager: u16, faster: u32) -> Prometheus {
    let directory = tempfile::tempdir().unwrap();
    let configuration = replaced(
        &read("dashboards/prometheus.yml"),
        &[
            ("127.0.0.1:7371", &format!("127.0.0.1:{admin}")),
            ("127.0.0.1:9093", &format!("127.0.0.1:{alertmanager}")),
        ],
    );
    let put = |name: &str, text: String| std::fs::write(directory.path().join(name), text).unwrap();
    put("prometheus.yml", shortened(&configuration, "_interval: ", faster));
    put("rules.yml", shortened(&shortened(&read("dashboards/rules.yml"), "[", faster), "for: ", faster));
    Prometheus::run(directory).await
}

/// The Alertmanager of `alertmanager.yml`, which tells this pager.
async fn alertmanager(pager: &Pager, faster: u32) -> (u16, (tempfile::TempDir, Child)) {
    let directory = tempfile::tempdir().unwrap();
    let at = |path: &str| format!("http://127.0.0.1:{}{path}", pager.port);
    let configuration = read("dashboards/alertmanager.yml");
    let configuration = replaced(
        &configuration,
        &[
            ("http://127.0.0.1:9095/alerts", &at(Pager::PAGES)),
            ("/etc/alertmanager/", &format!("{}/", directory.path().display())),
        ],
    );
    let configuration = shortened(&shortened(&configuration, "_wait: ", faster), "_interval: ", faster);
    for (name, text) in [
        ("alertmanager.yml", configuration),
        ("perennial.tmpl", read("dashboards/perennial.tmpl")),
        ("pager-key", "a key".to_owned()),
        ("slack-url", at(Pager::POSTS)),
    ] {
        std::fs::write(directory.path().join(name), text).unwrap();
    }
    let option = |name: &str, path: &Path| format!("--{name}={}", path.display());
    let (port, child) = listening(
        Command::new("prometheus-alertmanager")
            .arg(option("config.file", &directory.path().join("alertmanager.yml")))
            .arg(option("storage.path", directory.path()))
            .arg("--cluster.listen-address="),
    )
    .await;
    (port, (directory, child))
}

fn replaced(text: &str, values: &[(&str, &str)]) -> String {
    values.iter().fold(text.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replace(from, to)
    })
}

/// Every time behind this mark, divided.
fn shortened(text: &str, mark: &str, faster: u32) -> String {
    let mut parts = text.split(mark);
    let mut made = parts.next().unwrap().to_owned();
    for part in parts {
        made.push_str(mark);
        let digits = part.len() - part.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let seconds = match part.as_bytes().get(digits) {
            Some(b's') => 1,
            Some(b'm') => 60,
            Some(b'h') => 3_600,
            Some(b'd') => 86_400,
            _ => panic!("no time behind {mark}: {part:.20}"),
        };
        let time = part[..digits].parse::<u64>().unwrap() * seconds * 1_000 / u64::from(faster);
        made.push_str(&format!("{time}ms{}", &part[digits + 1..]));
    }
    assert!(made.len() > text.len(), "{mark}");
    made
}
