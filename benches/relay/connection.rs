//! One WebSocket of the generator: opened, kept busy, kept idle.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{
    dial::{Dialer, Stream},
    load::{Progress, Shape, Talk},
    script::Script,
    ws::Socket,
};

/// Who answers nothing for so long is broken.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Connection {
    socket: Socket<Box<dyn Stream>>,
    script: Script,
}

impl Connection {
    /// Opens it, up to where messages may go.
    pub(crate) async fn open(talk: Talk, shape: Shape, dialer: Dialer, number: u32) -> Result<Self> {
        let opening = async {
            let socket = Socket::connect(dialer.dial().await?, &talk.target(shape.size)).await?;
            let mut connection = Self { socket, script: Script::new(talk, shape, number) };
            while !connection.script.ready {
                connection.turn(false).await?;
            }
            Ok(connection)
        };
        timeout(PATIENCE, opening).await.context("a handshake was not answered")?
    }

    /// One message goes around.
    pub(crate) async fn exchange(mut self) -> Result<Self> {
        self.script.send(&mut self.socket.out);
        let exchange = async {
            while !self.script.settled() {
                self.turn(false).await?;
            }
            Ok(self)
        };
        timeout(PATIENCE, exchange).await.context("a message was not answered")?
    }

    /// Keeps `window` messages in flight until all is to stop, and then waits for those still on their way.
    pub(crate) async fn run(mut self, window: u32, progress: Arc<Progress>) -> Result<()> {
        for _ in 0..window {
            self.script.send(&mut self.socket.out);
        }
        loop {
            let again = !progress.stopped();
            let before = self.script.answered;
            self.turn(again).await?;
            progress.add(self.script.answered - before);
            if !again && self.script.settled() {
                return Ok(());
            }
        }
    }

    /// Says nothing, and answers Pings, until it is released.
    pub(crate) async fn stay(mut self, release: CancellationToken) -> Result<Self> {
        loop {
            tokio::select! {
                biased;
                () = release.cancelled() => return Ok(self),
                turn = self.turn(false) => turn?,
            }
        }
    }

    /// `again`: for each message that came back the next one goes.
    async fn turn(&mut self, again: bool) -> Result<()> {
        let Self { socket, script } = self;
        let open = socket.turn(|frame, out| script.take(&frame, again, out)).await?;
        ensure!(open, "the proxy ended the connection");
        Ok(())
    }
}
