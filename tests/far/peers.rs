//! Services and clients that behave: they answer Pings, and take what they are sent.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use crate::{
    ably_client::Client,
    support::{
        beside,
        service::{Asked, Service},
        ws::{CLOSE, PING, PONG, TEXT, Wire, bare, masked},
    },
};

/// Lets everybody in, answers Pings and Closes, and says every message again.
pub fn answering(service: Service) -> u16 {
    serving(service, |mut wire| async move {
        while let Some(frame) = wire.patient_frame().await {
            let answer = if frame.opcode() == PING { PONG } else { frame.opcode() };
            if frame.opcode() != PONG && wire.try_send(&bare(answer, &frame.payload)).await.is_err()
                || frame.opcode() == CLOSE
            {
                break;
            }
        }
    })
}

/// Lets everybody in, and serves each connection so.
pub fn serving<F: Future<Output = ()> + Send + 'static>(
    service: Service,
    serve: impl Fn(Wire) -> F + Send + Sync + 'static,
) -> u16 {
    let port = service.port;
    let serve = Arc::new(serve);
    beside(async move {
        while let Ok((tcp, _)) = service.listener.accept().await {
            tcp.set_nodelay(true).unwrap();
            let serve = Arc::clone(&serve);
            beside(async move {
                let mut wire = Wire::new(tcp);
                let head = wire.head().await;
                // One that ended before it had asked is not served.
                if !head.first.is_empty() {
                    serve(Asked { head, wire }.accept("").await).await;
                }
            });
        }
    });
    port
}

/// A client that answers Pings until it is closed, and sends a message each time that so much has passed.
pub async fn client(mut wire: Wire, every: Option<Duration>) {
    loop {
        let frame = tokio::select! {
            frame = wire.patient_frame() => frame,
            () = pause(every) => {
                if wire.try_send(&masked(TEXT, b"busy")).await.is_err() {
                    return;
                }
                continue;
            }
        };
        let Some(frame) = frame else { return };
        let lives = match frame.opcode() {
            CLOSE => false,
            PING => wire.try_send(&masked(PONG, &frame.payload)).await.is_ok(),
            _ => true,
        };
        if !lives {
            return;
        }
    }
}

/// The same, publishing on the channel of its name.
pub async fn ably_client(client: Client, every: Option<Duration>) {
    let publishing = async {
        loop {
            pause(every).await;
            client.publish(&client.dial.name).await;
        }
    };
    tokio::select! {
        () = client.whenever(|seen| seen.ended.is_some()) => {}
        () = publishing => {}
    }
}

async fn pause(every: Option<Duration>) {
    match every {
        Some(every) => sleep(every).await,
        None => std::future::pending().await,
    }
}
