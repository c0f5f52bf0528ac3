//! The service, where its tokens come from, a sidecar before it, and a client.

use std::sync::{Arc, Mutex};

use perennial::demo::service::{Options, Service, ServiceHandle, Target};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    ably_client::{Client, Dial, Format, world::long_lived},
    sidecar::{self, Sidecar},
    support::{self, beside, until},
};

/// A header's value that nobody but the collector may see, as the variable has it and as it is sent.
pub(crate) const HEADERS: (&str, &str) =
    ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20can4ry-of-the-header");

const EXCHANGED: &str =
    "perennial_reauthentications_total{method=\"exchange\",outcome=\"ok\",route=\"ably\"}";

/// Everything, with the sidecar in a process of its own.
pub(crate) struct Stage {
    pub(crate) service: ServiceHandle,
    pub(crate) sidecar: Sidecar,
    pub(crate) client: Client,
    /// Every answer of the token endpoint.
    pub(crate) given: Arc<Mutex<Vec<String>>>,
}

impl Stage {
    /// A session that is attached, in a sidecar that sends its spans to this port.
    pub(crate) async fn start(collector: u16, variables: &[(&str, &str)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let options: Options = long_lived();
        let service = Service::start(listener, options, &CancellationToken::new()).unwrap();
        let at = service.address();
        let (tokens, given) = tokens(at.port()).await;
        let configuration = format!(
            "[limits]\ndrain = \"200ms\"\n[[route]]\nname = \"ably\"\nupstream = \"ws://{at}\"\ndialect = \"ably\"\n\
             [route.token]\nsource = \"http\"\nurl = \"http://127.0.0.1:{tokens}/token\"\n"
        );
        let endpoint = format!("http://127.0.0.1:{collector}");
        let variables = [&[("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()), HEADERS], variables].concat();
        let sidecar = Sidecar::launch(&configuration, &["--log-level", "debug"], &variables).await;
        until("a token", || sidecar.ask("/readyz"), |(status, _)| *status == 200).await;
        let address = ([127, 0, 0, 1], sidecar.port).into();
        let client = Client::connect(Dial::new(address, Format::Json, "one")).await;
        client.attach("c").await;
        Self { service, sidecar, client, given }
    }

    /// Has the service ask for a newer token, and waits until the session has shown one.
    pub(crate) async fn exchange(&self) {
        let before = self.sidecar.metric(EXCHANGED).await;
        self.service.faults().hint(&Target::All);
        until("an exchange", || self.sidecar.metric(EXCHANGED), |now| *now > before).await;
    }

    /// The client has noticed nothing, and everything ends as it should; what it was called, and the whole log.
    pub(crate) async fn end(self) -> String {
        self.client.publish("c").await;
        self.client.settled().await;
        self.client.calm();
        drop(self.client);
        let log = self.sidecar.stop().await;
        self.service.stop().await;
        log
    }
}

/// A token endpoint before the service's own: what it gives is noted, and its first answer is a failure that
/// quotes a token.
async fn tokens(service: u16) -> (u16, Arc<Mutex<Vec<String>>>) {
    let endpoint = support::service::Service::start().await;
    let (port, given) = (endpoint.port, Arc::new(Mutex::new(Vec::new())));
    let noted = Arc::clone(&given);
    beside(async move {
        let quoting = "{\"error\":\"no such token: can4ryV1StGXR8Z5jdHi6BmyT02\"}";
        let length = quoting.len();
        let refusal = format!("HTTP/1.1 500 can4ry-of-a-reason\r\nContent-Length: {length}\r\n\r\n{quoting}");
        endpoint.asked().await.answer(refusal).await.rest().await;
        while let Ok((tcp, _)) = endpoint.listener.accept().await {
            let mut wire = support::ws::Wire::new(tcp);
            wire.head().await;
            let (status, token) = sidecar::ask(service, "/token").await;
            assert_eq!(status, 200, "{token}");
            noted.lock().unwrap().push(token.clone());
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                token.len()
            );
            let _ = wire.try_send(format!("{head}{token}").as_bytes()).await;
        }
    });
    (port, given)
}
