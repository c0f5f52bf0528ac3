//! Room for so many connections at once; who comes last has it.
//!
//! ```text
//!   accepted ──► room? ── yes ──────────────────────────────────► served
//!                  │ no
//!                  └──► the oldest that has asked nothing leaves, else the oldest that is no stream of events
//! ```
//!
//! A probe or a scraper asks as soon as it is connected, and has its answer a moment later. So anyone who connects and
//! waits, however often, keeps no probe out.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// Who is inside.
pub(super) struct Room {
    most: usize,
    /// In the order of their coming.
    inside: Mutex<Vec<Arc<Guest>>>,
}

/// A connection; it has its place until this is dropped, or it has to leave.
pub(super) struct Place {
    room: Arc<Room>,
    guest: Arc<Guest>,
}

#[derive(Default)]
struct Guest {
    /// Its request is here.
    asked: CancellationToken,
    /// It is a stream of events: those are few.
    lasting: CancellationToken,
    leave: CancellationToken,
}

impl Room {
    /// `most` is larger than the number of streams that there may be.
    pub(super) fn new(most: usize) -> Self {
        Self { most, inside: Mutex::default() }
    }

    /// One more comes in, and another leaves if it has to.
    pub(super) fn enter(self: &Arc<Self>) -> Place {
        let mut inside = self.inside();
        if inside.len() >= self.most {
            let quiet = inside.iter().position(|guest| !guest.asked.is_cancelled());
            let leaves = quiet.or_else(|| inside.iter().position(|guest| !guest.lasting.is_cancelled()));
            if let Some(leaves) = leaves {
                inside.remove(leaves).leave.cancel();
                tracing::warn!(
                    connections = self.most,
                    "no room at the admin port: the oldest one was closed"
                );
            }
        }
        let guest = Arc::new(Guest::default());
        inside.push(Arc::clone(&guest));
        Place { room: Arc::clone(self), guest }
    }

    fn inside(&self) -> MutexGuard<'_, Vec<Arc<Guest>>> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Told when its request is here.
    pub(super) fn asked(&self) -> CancellationToken {
        self.guest.asked.clone()
    }

    /// Told when its answer is a stream of events.
    pub(super) fn lasting(&self) -> CancellationToken {
        self.guest.lasting.clone()
    }

    /// Ends when it has to leave.
    pub(super) async fn left(&self) {
        self.guest.leave.cancelled().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.room.inside().retain(|guest| !Arc::ptr_eq(guest, &self.guest));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_that_has_asked_nothing_leaves_first_and_a_stream_never() {
        let room = Arc::new(Room::new(4));
        let [stream, asks, waits, last] = [(); 4].map(|()| room.enter());
        for place in [&stream, &asks] {
            place.asked().cancel();
        }
        stream.lasting().cancel();
        let left = |places: [&Place; 4]| places.map(|place| place.guest.leave.is_cancelled());
        let fifth = room.enter();
        assert_eq!(left([&stream, &asks, &waits, &last]), [false, false, true, false]);
        // Its place is another's already.
        drop(waits);
        assert_eq!(room.inside().len(), 4);
        for place in [&last, &fifth] {
            place.asked().cancel();
        }
        let sixth = room.enter();
        assert!(asks.guest.leave.is_cancelled() && !last.guest.leave.is_cancelled());
        drop((stream, asks, last, fifth, sixth));
        assert!(room.inside().is_empty());
    }
}
