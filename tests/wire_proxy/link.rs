//! One connection through the proxy: two directions, each a reader, a queue and a writer.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use perennial::clock::{self, Instant};
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy, sink},
    net::TcpStream,
    sync::{Semaphore, SemaphorePermit, mpsc},
    time::{sleep, sleep_until, timeout},
};

use super::{
    Action, Cut, Direction, Event, Kind, Shared, What,
    frames::{Frames, Part},
};

/// Bytes that are read or written at once.
const CHUNK: usize = 4 * 1024;
/// Pieces in a queue, beside its bound in bytes.
const PIECES: usize = 4 * 1024;
/// A limited line sends so many times a second.
const TICKS: u32 = 20;
/// How long a peer may take to end its side after a FIN.
const FAREWELL: Duration = Duration::from_secs(5);

/// When it is due: a piece and the room that it takes, or the end.
type Queued<'a> = (Instant, Result<(Bytes, SemaphorePermit<'a>), Cut>);

/// Serves a connection to its end.
pub async fn run(number: usize, mut near: TcpStream, shared: Arc<Shared>) {
    let mut orders = shared.cut.subscribe();
    let link = Link { number, shared: &shared };
    match link.meet(Direction::Up, Kind::Connection, 0) {
        Some(Action::Stall) => std::future::pending().await,
        Some(Action::Cut(cut)) => return link.end([&mut near], cut).await,
        Some(Action::Delay(time)) => sleep(time).await,
        Some(Action::Drop) | None => {}
    }
    let Ok(mut far) = shared.dial().await else { return link.end([&mut near], Cut::Reset).await };
    let cut = {
        let (near_in, near_out) = near.split();
        let (far_in, far_out) = far.split();
        let (up, down) = (shared.conditions.up, shared.conditions.down);
        let both = async {
            tokio::try_join!(
                link.direction(Direction::Up, near_in, far_out, up),
                link.direction(Direction::Down, far_in, near_out, down),
            )
        };
        tokio::select! {
            ended = both => ended.err().unwrap_or(Cut::Fin),
            order = orders.changed() => order.ok().and_then(|()| *orders.borrow()).unwrap_or(Cut::Reset),
        }
    };
    link.end([&mut near, &mut far], cut).await;
}

#[derive(Clone, Copy)]
struct Link<'a> {
    number: usize,
    shared: &'a Shared,
}

impl Link<'_> {
    /// Writes down that something came, and says what happens to it.
    fn meet(self, direction: Direction, kind: Kind, size: u64) -> Option<Action> {
        let met = self.shared.faults.meet(direction, kind);
        self.write_down(direction, What::Came { kind, size, met });
        met
    }

    fn write_down(self, direction: Direction, what: What) {
        let event = Event { at: clock::now(), connection: self.number, direction, what };
        self.shared.seen.send_modify(|seen| seen.add(event));
    }

    async fn end<const N: usize>(self, sockets: [&mut TcpStream; N], cut: Cut) {
        self.write_down(Direction::Up, What::Ended(cut));
        for socket in sockets {
            match cut {
                Cut::Reset => SockRef::from(&*socket).set_linger(Some(Duration::ZERO)).unwrap(),
                // What was not read would turn the FIN into a reset.
                Cut::Fin => {
                    let _ = socket.shutdown().await;
                    let _ = timeout(FAREWELL, copy(socket, &mut sink())).await;
                }
            }
        }
    }

    async fn direction(
        self,
        direction: Direction,
        from: impl AsyncRead + Unpin,
        to: impl AsyncWrite + Unpin,
        rate: Option<u32>,
    ) -> Result<(), Cut> {
        let room = Semaphore::new(self.shared.conditions.buffer as usize);
        let (queue, queued) = mpsc::channel(PIECES);
        tokio::try_join!(self.read(direction, from, queue, &room), write(to, queued, rate)).map(drop)
    }

    /// Reads, lets faults happen, and puts on its way what is left.
    async fn read<'a>(
        self,
        direction: Direction,
        mut from: impl AsyncRead + Unpin,
        queue: mpsc::Sender<Queued<'a>>,
        room: &'a Semaphore,
    ) -> Result<(), Cut> {
        let (mut frames, mut read) = (Frames::default(), BytesMut::with_capacity(CHUNK));
        let (mut last, mut passes) = (clock::now(), true);
        loop {
            read.reserve(CHUNK);
            let come = (&mut from).take(CHUNK as u64).read_buf(&mut read).await;
            let mut due = clock::now() + self.shared.conditions.latency;
            while let Some(part) = frames.take(&mut read) {
                let bytes = match part {
                    Part::More(bytes) => bytes,
                    Part::Begin(kind, size, bytes) => {
                        let met = self.meet(direction, kind, size);
                        passes = met != Some(Action::Drop);
                        match met {
                            Some(Action::Stall) => std::future::pending().await,
                            Some(Action::Cut(cut)) => return Err(cut),
                            Some(Action::Delay(time)) => due += time,
                            Some(Action::Drop) | None => {}
                        }
                        bytes
                    }
                };
                last = due.max(last);
                if passes {
                    // What is larger than the whole queue fills it.
                    let size = (bytes.len() as u32).min(self.shared.conditions.buffer);
                    let room = room.acquire_many(size).await.map_err(|_| Cut::Reset)?;
                    queue.send((last, Ok((bytes, room)))).await.map_err(|_| Cut::Reset)?;
                }
            }
            let end = match come {
                Ok(1..) => continue,
                Ok(0) => Cut::Fin,
                Err(_) => Cut::Reset,
            };
            return queue.send((due.max(last), Err(end))).await.map_err(|_| Cut::Reset);
        }
    }
}

/// Writes each piece when it is due, no faster than the line is.
async fn write(
    mut to: impl AsyncWrite + Unpin,
    mut queued: mpsc::Receiver<Queued<'_>>,
    rate: Option<u32>,
) -> Result<(), Cut> {
    let step = rate.map_or(CHUNK, |rate| (rate / TICKS) as usize).clamp(1, CHUNK);
    let mut free = clock::now();
    while let Some((due, piece)) = queued.recv().await {
        sleep_until(due).await;
        let (mut bytes, _room) = match piece {
            Ok(piece) => piece,
            Err(Cut::Fin) => return to.shutdown().await.map_err(|_| Cut::Reset),
            Err(Cut::Reset) => return Err(Cut::Reset),
        };
        while !bytes.is_empty() {
            let now = bytes.split_to(step.min(bytes.len()));
            sleep_until(free).await;
            to.write_all(&now).await.map_err(|_| Cut::Reset)?;
            if let Some(rate) = rate {
                free = free.max(clock::now()) + Duration::from_secs(1) * now.len() as u32 / rate;
            }
        }
    }
    Ok(())
}
