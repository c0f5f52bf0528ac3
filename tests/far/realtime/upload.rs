//! A service that reads slowly is not dead: what a client uploads arrives, however long that takes.
//!
//! A Ping waits behind megabytes that the kernels hold, so its Pong comes far too late. That the peer's host
//! acknowledges more and more is what tells that it lives.

use std::{sync::Arc, time::Duration};

use aws_lc_rs::digest::{Context, SHA256};
use futures_util::{SinkExt, StreamExt};
use tokio::{net::TcpListener, net::TcpStream, sync::watch, time::timeout};
use tokio_tungstenite::tungstenite::Message;

use crate::{
    far::{
        peers,
        stage::{self, DIALECTS, Dialect, Stage, all},
    },
    support::{
        beside, seeded,
        service::Service,
        ws::{BINARY, PING, PONG, bare},
    },
    wire_proxy::Conditions,
};

/// Bytes of a message.
const MESSAGE: usize = 16 * 1024;

/// What came of an upload, over all connections.
#[derive(Clone)]
struct Taken {
    bytes: usize,
    sum: Context,
}

impl Default for Taken {
    fn default() -> Self {
        Self { bytes: 0, sum: Context::new(&SHA256) }
    }
}

impl Taken {
    fn add(&mut self, message: &[u8]) {
        self.bytes += message.len();
        self.sum.update(message);
    }

    fn end(&self) -> (usize, Vec<u8>) {
        (self.bytes, self.sum.clone().finish().as_ref().to_vec())
    }
}

/// An upload of so many bytes to a service that takes so many a second.
#[derive(Debug, Clone, Copy)]
struct Upload {
    dialect: Dialect,
    bytes: usize,
    rate: u32,
}

impl Upload {
    fn conditions(self) -> Conditions {
        Conditions { up: Some(self.rate), buffer: 16 * 1024, ..Conditions::default() }
    }

    /// Half as long again as it takes, and what else there is to do.
    fn limit(self) -> Duration {
        Duration::from_secs(20 + self.bytes as u64 * 3 / 2 / u64::from(self.rate))
    }

    /// Its messages; each is text that JSON takes as it is.
    fn messages(self) -> Vec<String> {
        let mut random = seeded();
        let count = self.bytes / MESSAGE;
        (0..count).map(|_| std::iter::repeat_with(|| random.alphanumeric()).take(MESSAGE).collect()).collect()
    }

    async fn arrives(self) {
        match self.dialect {
            Dialect::None | Dialect::Handshake => self.arrives_raw().await,
            Dialect::Ably => self.arrives_published().await,
        }
        println!("{self:?}: whole");
    }

    /// To a service that adds up what comes, and says nothing else.
    async fn arrives_raw(self) {
        let taken = Arc::new(watch::Sender::new(Taken::default()));
        let port = adding(Service::start().await, Arc::clone(&taken));
        let stage = Stage::before(self.dialect, port, self.conditions()).await;
        let tcp = TcpStream::connect(("127.0.0.1", stage.sidecar.port)).await.unwrap();
        let (socket, _) = tokio_tungstenite::client_async("ws://127.0.0.1/", tcp).await.unwrap();
        let (mut sink, mut heard) = socket.split();
        // Reading answers Pings.
        let ended = beside(async move { while let Some(Ok(_)) = heard.next().await {} });
        let mut sent = Taken::default();
        let mut taken = taken.subscribe();
        let uploading = async {
            for message in self.messages() {
                sent.add(message.as_bytes());
                sink.send(Message::binary(message)).await.unwrap();
            }
            taken.wait_for(|taken| taken.bytes >= sent.bytes).await.unwrap();
        };
        let done = timeout(self.limit(), async {
            tokio::select! {
                () = uploading => true,
                _ = ended => false,
                () = stage.proxy.whenever(|seen| seen.connections() > 1) => false,
            }
        });
        let done = done.await;
        let arrived = taken.borrow().bytes;
        assert_eq!(done, Ok(true), "{self:?}: one connection, and {arrived} bytes have arrived");
        assert_eq!(taken.borrow().end(), sent.end(), "{self:?}");
    }

    /// To the embedded service, as messages that it acknowledges.
    async fn arrives_published(self) {
        let service = stage::ably(TcpListener::bind("127.0.0.1:0").await.unwrap());
        let stage = Stage::before(self.dialect, service.address().port(), self.conditions()).await;
        let client = stage::ably_client(stage.sidecar.port, "uploading").await;
        let messages = self.messages();
        let uploading = async {
            for message in &messages {
                client.publish_padded("uploading", message).await;
            }
            client.whenever(|seen| seen.unacked.is_empty() || seen.ended.is_some()).await;
        };
        let done = timeout(self.limit(), async {
            tokio::select! {
                () = uploading => true,
                () = stage.proxy.whenever(|seen| seen.connections() > 1) => false,
            }
        });
        let done = done.await;
        let taken: Vec<_> = service.ledger().read(|record| {
            record.published.iter().map(|message| message.data["pad"].as_str().unwrap().to_owned()).collect()
        });
        assert_eq!(done, Ok(true), "{self:?}: one connection, and {} messages have arrived", taken.len());
        assert!(taken == messages, "{self:?}: {} of {} messages", taken.len(), messages.len());
        client.calm();
    }
}

/// Lets everybody in, answers Pings, and adds up what comes.
fn adding(service: Service, taken: Arc<watch::Sender<Taken>>) -> u16 {
    peers::serving(service, move |mut wire| {
        let taken = Arc::clone(&taken);
        async move {
            while let Some(frame) = wire.patient_frame().await {
                match frame.opcode() {
                    BINARY => taken.send_modify(|taken| taken.add(&frame.payload)),
                    PING => wire.send(bare(PONG, &frame.payload)).await,
                    _ => {}
                }
            }
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a minute of real time: run by tests/all"]
async fn an_upload_arrives_whole_however_slowly_it_is_read() {
    all(uploads(8_000_000, 150_000)).await;
}

mod services {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "needs two minutes of real time: run by tests/all --services"]
    async fn an_upload_arrives_whole_by_a_modem() {
        all(uploads(1_000_000, 10_000)).await;
    }
}

/// One in each dialect.
fn uploads(bytes: usize, rate: u32) -> impl Iterator<Item = impl Future<Output = ()> + Send + 'static> {
    DIALECTS.iter().map(move |dialect| Upload { dialect: *dialect, bytes, rate }.arrives())
}
