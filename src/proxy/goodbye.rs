//! A client that is turned away after its handshake: a browser cannot read an HTTP status, but it can read
//! why a WebSocket was closed.

use std::{future::poll_fn, task::Poll, time::Duration};

use crate::{
    clock,
    net::link::Link,
    wire::{Close, Opcode, Payload, Step},
};

/// How long the client may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a client hears last: a message, if its dialect has one for that, and a Close.
pub(super) type Words = (Option<Payload>, Close);

/// Says the last words, and waits for the end of the client's side; what it still sends is for nobody.
pub(super) async fn say(mut client: Link, (message, close): Words) {
    let mut random = fastrand::Rng::new();
    if let Some(Payload { kind, bytes }) = message {
        client.queue(kind.opcode(), &bytes, &mut random);
    }
    client.close(&close, &mut random);
    let (mut read, mut rest) = ([0; 1024], Vec::new());
    let ended = poll_fn(|cx| {
        if let Poll::Ready(Err(_)) = client.poll_flush(cx, clock::now()) {
            return Poll::Ready(());
        }
        loop {
            match client.poll_read(cx, &mut read) {
                Poll::Ready(Ok(n)) if n > 0 => {
                    rest.extend_from_slice(&read[..n]);
                    if has_answered(&mut client, &mut rest) {
                        return Poll::Ready(());
                    }
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    });
    let answered = tokio::time::timeout(PATIENCE, ended).await;
    tracing::debug!(in_time = answered.is_ok(), "turned away");
    let _ = poll_fn(|cx| client.poll_shutdown(cx)).await;
}

/// Reads on to the client's own Close; what is no frame counts as one.
fn has_answered(client: &mut Link, rest: &mut Vec<u8>) -> bool {
    let mut at = 0;
    loop {
        match client.inbound.next_part(&rest[at..]) {
            Ok(Step::Control { opcode: Opcode::Close, .. }) | Err(_) => return true,
            Ok(Step::Control { total, .. } | Step::Part { total, .. }) => at += total,
            Ok(Step::More | Step::Single { .. } | Step::Fragment { .. }) => break,
        }
    }
    rest.drain(..at);
    false
}
