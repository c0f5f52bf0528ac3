//! Connections that come and go: a handshake, a Close that is answered, the end; then the next one.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use perennial::wire::{Opcode, encode_frame};
use tokio::time::timeout;

use super::{dial::Dialer, load::Progress, ws::Socket};

/// No connection takes longer, if the proxy is not broken.
const PATIENCE: Duration = Duration::from_secs(20);
/// The Close that goes around: 1000.
const NORMAL: [u8; 2] = 1000_u16.to_be_bytes();
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// One connection after the other, until all is to stop.
pub(crate) async fn run(dialer: Dialer, progress: Arc<Progress>) -> Result<()> {
    while !progress.stopped() {
        timeout(PATIENCE, once(&dialer)).await.context("a connection did not end")??;
        progress.add(1);
    }
    Ok(())
}

async fn once(dialer: &Dialer) -> Result<()> {
    let mut socket = Socket::connect(dialer.dial().await?, "/").await?;
    encode_frame(Opcode::Close, &NORMAL, Some(MASK), &mut socket.out);
    let mut answered = false;
    loop {
        let turn = socket.turn(|frame, _| {
            ensure!(frame.opcode == Opcode::Close && frame.payload == NORMAL, "{:?} came", frame.opcode);
            answered = true;
            Ok(())
        });
        match turn.await {
            Ok(true) => {}
            Ok(false) => break,
            // Behind the Close, TLS may end without a word.
            Err(_) if answered => break,
            Err(error) => return Err(error),
        }
    }
    ensure!(answered, "the connection ended without a Close");
    Ok(())
}
