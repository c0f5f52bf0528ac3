//! A sidecar under load, with services that fail on order.
//!
//! ```text
//!   Ably clients ──► / ──────┐           ┌──► the embedded service: resets, late answers
//!                            ├─ sidecar ─┤       └ /token, for both
//!   plain clients ─► /jobs ──┘           └──► an echo, which is moved to at each token, and cut
//! ```

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use perennial::demo::service::{Options, Service, ServiceHandle};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::broadcast,
    task::JoinSet,
    time::{Interval, MissedTickBehavior},
};
use tokio_tungstenite::{accept_async, client_async};
use tokio_util::sync::CancellationToken;

use crate::{
    ably_client::{Client, Dial, Format},
    sidecar::{Sidecar, ask},
};

/// Clients of each route.
const CLIENTS: usize = 3;
/// Short, so that there is a refresh every other second.
const LIFETIME: Duration = Duration::from_secs(4);
/// How often each client speaks, and how often something happens to the services.
const TALK: Duration = Duration::from_millis(20);
const TROUBLE: Duration = Duration::from_millis(1_100);
/// How long a late answer to an exchange takes: messages wait meanwhile.
const LATE: Duration = Duration::from_millis(300);

/// Everything that runs.
pub(super) struct Stage {
    pub(super) sidecar: Sidecar,
    running: JoinSet<()>,
}

impl Stage {
    pub(super) async fn set() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let options = Options {
            basic: true,
            token_lifetime: LIFETIME,
            hint_before: Duration::from_millis(50),
            // So that something is always un-acknowledged when the connection is lost.
            ack_batch: 8,
            ack_delay: LATE,
            ..Options::default()
        };
        let service = Service::start(listener, options, &CancellationToken::new()).unwrap();
        let echo = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let sidecar = Sidecar::start(&configuration(&service, echo.local_addr().unwrap().port())).await;
        let mut running = JoinSet::new();
        let (cut, _) = broadcast::channel(1);
        running.spawn(echoes(echo, cut.clone()));
        for number in 0..CLIENTS {
            running.spawn(ably_client(sidecar.port, number));
            running.spawn(plain_client(sidecar.port));
        }
        running.spawn(visitors(sidecar.port));
        running.spawn(trouble(service, cut));
        Self { sidecar, running }
    }

    /// Ends everything, and fails if the sidecar does not end as it should.
    pub(super) async fn end(mut self) {
        self.running.shutdown().await;
        self.sidecar.stop().await;
    }
}

fn configuration(service: &ServiceHandle, echo: u16) -> String {
    let at = service.address();
    let token = format!("[route.token]\nsource = \"http\"\nurl = \"http://{at}/token\"\n");
    format!(
        "[[route]]\nname = \"ably\"\nupstream = \"ws://{at}\"\ndialect = \"ably\"\n{token}\
         [[route]]\nname = \"jobs\"\npath = \"/jobs\"\nupstream = \"ws://127.0.0.1:{echo}\"\n\
         dialect = \"handshake\"\n{token}[route.handshake]\nquery = \"token\"\n\
         [route.http]\nupstream = \"http://{at}\"\n"
    )
}

fn every(period: Duration) -> Interval {
    let mut interval = tokio::time::interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

/// Publishes for as long as it may, and hears itself.
async fn ably_client(port: u16, number: usize) {
    let dial = Dial::new(([127, 0, 0, 1], port).into(), Format::Json, &format!("client{number}"));
    let client = Client::connect(dial).await;
    client.attach("one").await;
    let mut pause = every(TALK);
    loop {
        pause.tick().await;
        client.publish("one").await;
    }
}

/// Says one thing after another, and hears each.
async fn plain_client(port: u16) {
    let tcp = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let (mut socket, _) = client_async("ws://localhost/jobs", tcp).await.unwrap();
    let mut pause = every(TALK);
    loop {
        tokio::select! {
            _ = pause.tick() => socket.send("a word".into()).await.unwrap(),
            said = socket.next() => drop(said.unwrap().unwrap()),
        }
    }
}

/// One comes after another, and leaves; then asks over plain HTTP for what is not there.
async fn visitors(port: u16) {
    let mut pause = every(TROUBLE);
    loop {
        pause.tick().await;
        let tcp = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let (mut socket, _) = client_async("ws://localhost/jobs", tcp).await.unwrap();
        socket.close(None).await.unwrap();
        // Read to the end, as the protocol has it.
        while let Some(Ok(_)) = socket.next().await {}
        ask(port, "/jobs").await;
    }
}

/// Says back what it is told, until it is cut off without a word.
async fn echoes(listener: TcpListener, cut: broadcast::Sender<()>) {
    let mut serving = JoinSet::new();
    while let Ok((tcp, _)) = listener.accept().await {
        let mut cut = cut.subscribe();
        serving.spawn(async move {
            let Ok(mut socket) = accept_async(tcp).await else { return };
            loop {
                tokio::select! {
                    _ = cut.recv() => return,
                    said = socket.next() => match said {
                        Some(Ok(said)) if !said.is_close() => drop(socket.send(said).await),
                        // The library answers a Close when it is read on.
                        Some(Ok(_)) => {}
                        Some(Err(_)) | None => return,
                    },
                }
            }
        });
    }
}

/// One thing after another goes wrong, for as long as it lasts.
async fn trouble(service: ServiceHandle, cut: broadcast::Sender<()>) {
    let mut pause = every(TROUBLE);
    for turn in 0_u64.. {
        pause.tick().await;
        match turn % 3 {
            0 => service.faults().delay_auths(CLIENTS, LATE),
            1 => service.faults().reset(),
            // Nobody listens where all are being moved.
            _ => drop(cut.send(())),
        }
    }
}
