//! `dialect = "none"` reads nothing: extensions of the WebSocket are between the two ends.
//!
//! Broken on purpose, and caught: the offer stays behind · reserved bits are refused though an extension was agreed · they
//! are taken though none was · a dialect that reads passes the offer on.

use crate::{
    sidecar::Sidecar,
    support::{
        http::{ask, handshake},
        plain,
        service::Service,
        ws::{Wire, frame, session_at},
    },
};

const OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
const TAKEN: &str = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
/// Text, final, compressed (RFC 7692 §6).
const COMPRESSED: u8 = 0x80 | 0x40 | 0x01;

async fn agreed(taken: &str) -> (Wire, Wire, Sidecar) {
    let service = Service::start().await;
    let sidecar = Sidecar::start(&plain(service.port)).await;
    let asked = async {
        let asked = service.asked().await;
        let offered = asked.head.get("sec-websocket-extensions").map(str::to_owned);
        assert_eq!(offered.as_deref(), Some("permessage-deflate; client_max_window_bits"));
        asked.accept(taken).await
    };
    let ((answer, client), theirs) = tokio::join!(ask(sidecar.port, handshake("/", OFFER)), asked);
    assert_eq!(answer.status(), 101);
    let expected = (!taken.is_empty()).then_some("permessage-deflate");
    assert_eq!(answer.get("sec-websocket-extensions"), expected);
    (client, theirs, sidecar)
}

#[tokio::test]
async fn what_the_ends_agreed_on_passes() {
    let (mut client, mut theirs, _sidecar) = agreed(TAKEN).await;
    // What is in it is theirs to read: here it is not even a text.
    let payload = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0xff];
    client.send(frame(COMPRESSED, &payload, Some([1, 2, 3, 4]))).await;
    let heard = theirs.frame().await.unwrap();
    assert_eq!((heard.first, heard.payload), (COMPRESSED, payload.to_vec()));
    // In fragments, only the first of which has the bit; and longer than a short frame.
    let long = vec![7; 70_000];
    theirs.send([frame(0x41, &long, None), frame(0x80, &payload, None)].concat()).await;
    let (first, last) = (client.frame().await.unwrap(), client.frame().await.unwrap());
    assert_eq!((first.first, first.payload.len()), (0x41, long.len()));
    assert_eq!((last.first, last.payload), (0x80, payload.to_vec()));
}

#[tokio::test]
async fn what_they_did_not_agree_on_is_a_violation() {
    let (mut client, _theirs, _sidecar) = agreed("").await;
    client.send(frame(COMPRESSED, b"x", Some([1, 2, 3, 4]))).await;
    assert_eq!(client.ending().await.map(|(code, _)| code), Some(1002));
}

#[tokio::test]
async fn a_control_frame_has_no_reserved_bits_in_any_case() {
    let (mut client, _theirs, _sidecar) = agreed(TAKEN).await;
    client.send(frame(0x80 | 0x40 | 0x09, b"x", Some([1, 2, 3, 4]))).await;
    assert_eq!(client.ending().await.map(|(code, _)| code), Some(1002));
}

/// A dialect that reads messages, or makes connections again, offers no extension.
#[tokio::test]
async fn others_decline_extensions() {
    let service = Service::start().await;
    let text = plain(service.port).replace("\"none\"", "\"handshake\"")
        + "token = { source = \"static\", token = \"T\" }\nhandshake = { query = \"t\" }\n";
    let sidecar = Sidecar::start(&text).await;
    let (asked, ..) = session_at(sidecar.port, &service, "/", OFFER).await;
    assert_eq!(asked.get("sec-websocket-extensions"), None);
}
