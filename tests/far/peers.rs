//! Services and clients that behave: they answer Pings, and take what they are sent.

use std::sync::Arc;

use crate::support::{
    beside,
    service::{Asked, Service},
    ws::{CLOSE, PING, PONG, Wire, bare, masked},
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
                serve(Asked { head, wire }.accept("").await).await;
            });
        }
    });
    port
}

/// A client that says nothing of its own, until its connection ends.
pub async fn idle(mut wire: Wire) {
    while let Some(frame) = wire.patient_frame().await {
        if frame.opcode() == PING && wire.try_send(&masked(PONG, &frame.payload)).await.is_err() {
            return;
        }
    }
}
