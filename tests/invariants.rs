//! Invariants of the design that need several routes, or frames as no SDK writes them.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use perennial::{
    app::App,
    config::Config,
    demo::service::{Key, Options, Service, ServiceHandle},
};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{
        Message,
        protocol::frame::{
            Frame,
            coding::{Data, OpCode},
        },
    },
};
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(60);

async fn service(key: Key) -> ServiceHandle {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let options = Options { key, hint_before: Duration::ZERO, basic: false, ..Options::default() };
    Service::start(listener, options, &CancellationToken::new()).unwrap()
}

fn route(name: &str, service: &ServiceHandle, lifetime: u32) -> String {
    format!(
        "[[route]]\nname = \"{name}\"\npath = \"/{name}\"\nupstream = \"ws://{}\"\ndialect = \"ably\"\n\
         [route.token]\nsource = \"ably-key\"\nkey = \"{}\"\nttl = \"{lifetime}s\"\n",
        service.address(),
        service.key().expose(),
    )
}

async fn sidecar(routes: &str) -> App {
    let ports = "[listen]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\n";
    App::start(&Config::parse(&format!("{ports}{routes}"), "test").unwrap()).await.unwrap()
}

struct Client(WebSocketStream<TcpStream>);

impl Client {
    async fn connect(app: &App, path: &str) -> Self {
        let tcp = TcpStream::connect(app.address()).await.unwrap();
        let url = format!("ws://{}/{path}/?v=2&format=json&key=app.key:secret", app.address());
        let (socket, _) = client_async(url, tcp).await.unwrap();
        let mut client = Self(socket);
        client.until(4).await;
        client
    }

    /// Reads until a message of this action.
    async fn until(&mut self, action: u64) -> Value {
        let reading = async {
            loop {
                match self.0.next().await.unwrap().unwrap() {
                    Message::Text(text) => {
                        let message: Value = serde_json::from_str(&text).unwrap();
                        if message["action"] == action {
                            return message;
                        }
                        assert_ne!(message["action"], 17, "the service's request is none of the client's");
                    }
                    Message::Close(close) => panic!("closed: {close:?}"),
                    Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
                }
            }
        };
        tokio::time::timeout(PATIENCE, reading).await.unwrap()
    }

    async fn frame(&mut self, text: &str, opcode: Data, last: bool) {
        let frame = Frame::message(text.to_owned().into_bytes(), OpCode::Data(opcode), last);
        self.0.send(Message::Frame(frame)).await.unwrap();
    }
}

/// Invariant 9. Each service knows its own key only: a token of the other would be refused.
#[tokio::test(flavor = "multi_thread")]
async fn credentials_of_two_routes_never_mix() {
    let one = service(Key::parse("appone.key:the-first-secret-of-all").unwrap()).await;
    let two = service(Key::parse("apptwo.key:quite-another-secret").unwrap()).await;
    let app = sidecar(&(route("one", &one, 2) + &route("two", &two, 3))).await;
    let mut clients = Vec::new();
    for path in ["one", "two", "one", "two"] {
        clients.push(Client::connect(&app, path).await);
    }
    for service in [&one, &two] {
        assert!(service.ledger().until(PATIENCE, |record| record.counts.auths_accepted >= 6).await);
        let counts = service.ledger().counts();
        assert_eq!(
            (counts.bad_credentials, counts.dead_tokens, counts.expiry_disconnects),
            (0, 0, 0),
            "{counts:?}"
        );
        assert_eq!((counts.connects, service.ledger().violations()), (2, vec![]), "{counts:?}");
    }
    drop(clients);
    app.stop().await;
}

/// Invariant 3. A message comes in two frames, and exchanges fall between them: the service, which is
/// strict, gets the message whole, and an AUTH never inside it.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_put_between_the_fragments_of_a_message() {
    let service = service(Key::demo()).await;
    let app = sidecar(&route("one", &service, 2)).await;
    let mut client = Client::connect(&app, "one").await;
    for serial in 0..3u64 {
        let message = json!({"action": 15, "channel": "c", "msgSerial": serial, "messages": [{"name": "n", "data": serial}]});
        let text = message.to_string();
        let (head, tail) = text.split_at(text.len() / 2);
        client.frame(head, Data::Text, false).await;
        let before = service.ledger().counts().auths_accepted;
        assert!(service.ledger().until(PATIENCE, |record| record.counts.auths_accepted > before).await);
        client.frame(tail, Data::Continue, true).await;
        assert_eq!(client.until(1).await["msgSerial"], serial);
    }
    assert_eq!(service.ledger().violations(), Vec::<String>::new());
    assert_eq!(service.ledger().published().len(), 3);
    app.stop().await;
}
