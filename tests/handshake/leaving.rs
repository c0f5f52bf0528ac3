//! A client that has said all it has to say, and leaves while nobody reads it.

use std::time::Duration;

use tokio::io::AsyncWriteExt;

use crate::{
    sidecar::Sidecar,
    support::{
        service::Service,
        ws::{BINARY, PING, PONG, bare, masked, session},
    },
};

/// Of the sidecar's Pings.
const KEEPALIVE: Duration = Duration::from_millis(500);

/// Its kernel still sends for it, and throws everything away if it is asked whether the client is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_client_said_before_it_left_outlives_an_outage() {
    let service = Service::start().await;
    let sidecar = Sidecar::start(&format!(
        "[[route]]\nname = \"plain\"\nupstream = \"ws://127.0.0.1:{}\"\ndialect = \"handshake\"\n\
         session.keepalive = \"{}ms\"\nsession.queue = \"64KiB\"\n\
         [route.token]\nsource = \"static\"\ntoken = \"T\"\n[route.handshake]\nquery = \"token\"\n",
        service.port,
        KEEPALIVE.as_millis(),
    ))
    .await;
    let (mut client, theirs) = session(sidecar.port, &service).await;
    // From now on nobody answers: the next handshake waits until the test lets it in.
    drop(theirs);
    let again = service.asked().await;
    let message = masked(BINARY, &[7; 60_000]);
    let mut said = 0;
    let blocked = Duration::from_millis(300);
    while let Ok(taken) =
        tokio::time::timeout(blocked, client.io.write(&message[said % message.len()..])).await
    {
        said += taken.unwrap();
    }
    drop(client);
    // Real time is the point: a Ping would be due, several times over.
    tokio::time::sleep(KEEPALIVE * 4).await;
    let mut theirs = again.accept("").await;
    let mut heard = 0;
    while let Some(frame) = theirs.frame().await {
        match frame.opcode() {
            PING => theirs.send(bare(PONG, &frame.payload)).await,
            BINARY => heard += 1,
            _ => break,
        }
    }
    assert_eq!(heard, said / message.len(), "of {said} bytes");
}
