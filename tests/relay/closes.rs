//! Every end is told as it was: code and reason, or none.

use tokio::io::AsyncWriteExt;

use crate::{
    sidecar::Sidecar,
    support::{
        beside, plain,
        service::Service,
        until,
        ws::{BINARY, CLOSE, CONTINUATION, PING, TEXT, Wire, bare, close, frame, masked, session},
    },
};

async fn start() -> (Service, Sidecar) {
    let service = Service::start().await;
    let sidecar = Sidecar::start(&plain(service.port)).await;
    (service, sidecar)
}

fn closes() -> Vec<Vec<u8>> {
    let long = "é".repeat(61);
    let words = [(1000, ""), (1001, "bye"), (1011, "oh"), (3000, ""), (4001, "späte Züge"), (4999, &long)];
    let mut all: Vec<_> = words.into_iter().map(|(code, reason)| close(code, reason)).collect();
    all.push(Vec::new());
    all
}

#[tokio::test]
async fn a_clients_close_reaches_the_service_and_its_answer_the_client() {
    let (service, sidecar) = start().await;
    for said in closes() {
        let (mut client, mut theirs) = session(sidecar.port, &service).await;
        client.send([masked(TEXT, b"last words"), masked(CLOSE, &said)].concat()).await;
        assert_eq!(theirs.message().await.payload, b"last words");
        let heard = theirs.message().await;
        assert_eq!((heard.opcode(), &heard.payload), (CLOSE, &said));
        theirs.send(bare(CLOSE, &said)).await;
        let answer = client.message().await;
        assert_eq!((answer.opcode(), &answer.payload), (CLOSE, &said));
        client.end().await;
        theirs.end().await;
    }
}

/// Eclipse Paho writes the code as text: `1000` is 12592. It is told, and its goodbye is one all the same.
#[tokio::test]
async fn a_close_with_a_wrong_code_is_the_clients_goodbye_and_counted() {
    let (service, sidecar) = start().await;
    let (mut client, mut theirs) = session(sidecar.port, &service).await;
    client.send(masked(CLOSE, b"1000")).await;
    assert_eq!(theirs.ending().await, Some((1000, String::new())));
    theirs.send(bare(CLOSE, &close(1000, ""))).await;
    assert_eq!(client.ending().await.map(|(code, _)| code), Some(1002));
    for series in [
        "wrong_close_codes_total{route=\"plain\"}",
        "sessions_closed_total{reason=\"client\",route=\"plain\"}",
    ] {
        let series = format!("perennial_{series}");
        until(&series, || sidecar.metric(&series), |count| *count == 1.0).await;
    }
}

#[tokio::test]
async fn a_services_close_reaches_the_client() {
    let (service, sidecar) = start().await;
    for said in closes() {
        let (mut client, mut theirs) = session(sidecar.port, &service).await;
        theirs.send([bare(TEXT, b"last words"), bare(CLOSE, &said)].concat()).await;
        assert_eq!(client.message().await.payload, b"last words");
        let heard = client.message().await;
        assert_eq!((heard.opcode(), &heard.payload), (CLOSE, &said));
        client.send(masked(CLOSE, &said)).await;
        let answer = theirs.message().await;
        assert_eq!((answer.opcode(), &answer.payload), (CLOSE, &said));
        client.end().await;
        theirs.end().await;
    }
}

#[tokio::test]
async fn a_close_may_stand_between_fragments() {
    let (service, sidecar) = start().await;
    let (mut client, mut theirs) = session(sidecar.port, &service).await;
    client.send([frame(TEXT, b"unfi", Some([1; 4])), masked(CLOSE, &close(4000, "enough"))].concat()).await;
    assert_eq!(theirs.message().await.payload, b"unfi");
    assert_eq!(theirs.ending().await, Some((4000, "enough".into())));
}

/// Nothing follows a Close: what the client says behind it is not for the service (RFC 6455 §5.5.1).
#[tokio::test]
async fn nothing_goes_on_behind_a_close() {
    let (service, sidecar) = start().await;
    for together in [true, false] {
        let (mut client, mut theirs) = session(sidecar.port, &service).await;
        let late =
            [masked(TEXT, b"too late"), masked(PING, b"?"), frame(BINARY, &[0; 99], Some([2; 4]))].concat();
        let mut said = masked(CLOSE, &close(1000, ""));
        if together {
            said.extend(&late);
        }
        client.send(said).await;
        if !together {
            client.send(&late).await;
        }
        assert_eq!(theirs.ending().await, Some((1000, String::new())));
        theirs.send(bare(CLOSE, &close(1000, ""))).await;
        theirs.end().await;
        assert_eq!(client.ending().await, Some((1000, String::new())));
    }
}

/// Who vanishes says no Close, and none is said in his name: a service tells the two apart.
#[tokio::test]
async fn a_client_that_vanishes_says_no_close() {
    let (service, sidecar) = start().await;
    for unfinished in [&b""[..], &[0x81], &frame(0x81, &[0; 500], Some([3; 4]))[..200]] {
        let (mut client, mut theirs) = session(sidecar.port, &service).await;
        client.send([&masked(TEXT, b"last words")[..], unfinished].concat()).await;
        assert_eq!(theirs.message().await.payload, b"last words");
        drop(client);
        let rest = theirs.rest().await;
        assert!(!rest.windows(1).any(|one| one == [0x88]), "a Close in its name: {rest:?}");
    }
}

#[tokio::test]
async fn a_service_that_vanishes_says_no_close() {
    let (service, sidecar) = start().await;
    for unfinished in [&b""[..], &[0x81], &frame(0x81, &[0; 500], None)[..200]] {
        let (mut client, mut theirs) = session(sidecar.port, &service).await;
        theirs.send([&bare(TEXT, b"last words")[..], unfinished].concat()).await;
        assert_eq!(client.message().await.payload, b"last words");
        drop(theirs);
        let rest = client.rest().await;
        assert!(rest.len() < 300 && rest.first() != Some(&0x88), "a Close in its name: {rest:?}");
    }
}

/// What was said before the end is heard, also by a client that takes its time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abrupt_end_takes_no_words_back() {
    let (service, sidecar) = start().await;
    for _ in 0..3 {
        let (mut client, mut theirs) = tokio::join!(
            async {
                let mut client = Wire::dial_narrow(sidecar.port).await;
                client.send(crate::support::http::handshake("/", "")).await;
                assert_eq!(client.head().await.status(), 101);
                client
            },
            async { service.asked().await.accept("").await }
        );
        let message = bare(BINARY, &[5; 1019]);
        let all = message.repeat(20_000);
        let total = all.len();
        let said = beside(async move {
            theirs.io.write_all(&all).await.unwrap();
            drop(theirs);
        });
        let mut heard = 0;
        let mut buffer = [0; 4096];
        crate::support::soon("everything", async {
            use tokio::io::AsyncReadExt;
            while let Ok(n @ 1..) = client.io.read(&mut buffer).await {
                heard += n;
            }
        })
        .await;
        assert_eq!(heard, total, "{} bytes were taken back", total - heard);
        said.await.unwrap();
    }
}

/// A whole message, and nothing between: a continuation that is cut off does not end as if it were whole.
#[tokio::test]
async fn an_unfinished_message_stays_unfinished() {
    let (service, sidecar) = start().await;
    let (mut client, mut theirs) = session(sidecar.port, &service).await;
    theirs.send([frame(TEXT, b"one ", None), frame(CONTINUATION, b"two", None)].concat()).await;
    drop(theirs);
    let first = client.frame().await.unwrap();
    let second = client.frame().await.unwrap();
    assert_eq!((first.first, second.first), (TEXT, CONTINUATION));
    client.end().await;
}
