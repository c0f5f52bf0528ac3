//! One request to a service on loopback.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::net::TcpStream;

/// A status and a JSON body; null where there is none.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub body: Value,
}

impl Answer {
    /// The body of a 200, as what it is.
    pub fn understood<T: DeserializeOwned>(self) -> T {
        assert_eq!(self.status, 200, "{self:?}");
        serde_json::from_value(self.body).unwrap()
    }

    /// A member of the body that is text.
    pub fn text(&self, name: &str) -> String {
        self.body[name].as_str().unwrap_or_else(|| panic!("no {name} in {self:?}")).to_owned()
    }
}

/// Asks over a connection of its own.
pub async fn send(
    port: u16,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<&Value>,
) -> Answer {
    let tcp = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tcp)).await.unwrap();
    let mut request = http::Request::builder().method(method).uri(path).header("host", "127.0.0.1");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = Full::new(Bytes::from(body.map(Value::to_string).unwrap_or_default()));
    let asking = async move {
        let response = sender.send_request(request.body(body).unwrap()).await.unwrap();
        let status = response.status().as_u16();
        (status, response.into_body().collect().await.unwrap().to_bytes())
    };
    // The connection ends with its only sender.
    let ((status, bytes), _) = tokio::join!(asking, connection);
    Answer { status, body: serde_json::from_slice(&bytes).unwrap_or(Value::Null) }
}
