//! The service, met by a raw client that does exactly what a test says.

mod auth;
mod channels;
mod connect;
mod faults;
mod presence;
mod publish;

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value as Json, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Error, Message},
};
use tokio_util::sync::CancellationToken;

use super::{
    Options, Record, Service, ServiceHandle,
    frame::{Format, action, from_json, to_json},
};

const PATIENCE: Duration = Duration::from_secs(5);
const BOTH: [Format; 2] = [Format::Json, Format::Msgpack];

async fn serve(options: Options) -> ServiceHandle {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    Service::start(listener, options, &CancellationToken::new()).unwrap()
}

/// Waits until the ledger is as asked for.
async fn until(service: &ServiceHandle, is_so: impl FnMut(&Record) -> bool) {
    assert!(service.ledger().until(PATIENCE, is_so).await, "{:#?}", service.ledger().counts());
}

fn clean(service: &ServiceHandle) {
    assert_eq!(service.ledger().violations(), Vec::<String>::new());
}

struct Client {
    socket: WebSocketStream<TcpStream>,
    format: Format,
}

impl Client {
    /// Dials with this query; the error is the HTTP status.
    async fn try_dial(service: &ServiceHandle, format: Format, query: &str) -> Result<Self, u16> {
        let name = match format {
            Format::Json => "json",
            Format::Msgpack => "msgpack",
        };
        let stream = TcpStream::connect(service.address()).await.unwrap();
        let url = format!("ws://{}/?format={name}&v=6&{query}", service.address());
        match tokio_tungstenite::client_async(url, stream).await {
            Ok((socket, _)) => Ok(Self { socket, format }),
            Err(Error::Http(response)) => Err(response.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    async fn dial(service: &ServiceHandle, format: Format, query: &str) -> Self {
        Self::try_dial(service, format, query).await.unwrap()
    }

    /// Dials with the key, as this client, and reads CONNECTED.
    async fn connect(service: &ServiceHandle, format: Format, client_id: &str) -> (Self, Json) {
        Self::connect_with(service, format, &format!("clientId={client_id}&{}", keyed(service))).await
    }

    async fn connect_with(service: &ServiceHandle, format: Format, query: &str) -> (Self, Json) {
        let mut client = Self::dial(service, format, query).await;
        let connected = client.expect(action::CONNECTED).await;
        (client, connected)
    }

    async fn send(&mut self, frame: Json) {
        self.socket.send(self.format.encode(&from_json(frame))).await.unwrap();
    }

    /// The next protocol message; `None` when the transport is over.
    async fn next(&mut self) -> Option<Json> {
        loop {
            let message =
                tokio::time::timeout(PATIENCE, self.socket.next()).await.expect("a message in time");
            match message? {
                Ok(message @ (Message::Text(_) | Message::Binary(_))) => {
                    return Some(to_json(&self.format.decode(&message).unwrap()));
                }
                Ok(_) => {}
                Err(_) => return None,
            }
        }
    }

    /// The next protocol message, which must be of this action.
    async fn expect(&mut self, action: u64) -> Json {
        let frame = self.next().await.expect("an open transport");
        assert_eq!(frame["action"], action, "{frame}");
        frame
    }

    async fn expect_end(&mut self) {
        assert_eq!(self.next().await, None);
    }

    async fn attach(&mut self, channel: &str) -> Json {
        self.send(json!({"action": action::ATTACH, "channel": channel})).await;
        self.expect(action::ATTACHED).await
    }

    async fn publish(&mut self, channel: &str, serial: u64, data: &str) {
        let messages = json!([{"name": "n", "data": data}]);
        self.send(json!({
            "action": action::MESSAGE, "channel": channel, "msgSerial": serial, "messages": messages,
        }))
        .await;
    }
}

/// The key, as a query.
fn keyed(service: &ServiceHandle) -> String {
    format!("key={}", service.key().expose())
}

/// The query that continues the connection of this CONNECTED.
fn resuming(connected: &Json) -> String {
    format!("resume={}", connected["connectionDetails"]["connectionKey"].as_str().unwrap())
}

/// One plain request; the status and the body of its answer.
async fn request(service: &ServiceHandle, method: &str, path: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(service.address()).await.unwrap();
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
    );
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}
