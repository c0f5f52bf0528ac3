//! Room for so many connections at once, in which anyone who connects and asks nothing makes room for others.
//!
//! ```text
//!   accepted ──► room? ── yes ──────────────────────────────────────────────────► served
//!                  │ no
//!                  ├──► the oldest quiet one leaves ────────────────────────────► served
//!                  └──► nobody is quiet: the oldest busy one leaves, or the new one does
//! ```
//!
//! 1. Who asks does so as soon as it is connected. So anyone who connects and waits, however often, keeps nobody out.
//! 2. Who has to leave has its socket for a moment longer. There are never more of these than a quarter of all:
//!    who comes faster is closed at once.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio_util::sync::CancellationToken;

/// What a connection does at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// It has asked nothing, or nothing new.
    Quiet,
    /// It is being answered.
    Busy,
    /// The same, for as long as it likes: it never leaves.
    Lasting,
}

/// A connection.
pub trait Guest {
    fn doing(&self) -> Doing;
}

/// Who is inside, in the order of their coming.
#[derive(Debug)]
pub struct Room<G> {
    inside: Mutex<Inside<G>>,
}

#[derive(Debug)]
struct Inside<G> {
    next: u64,
    /// Have to leave, and are still here.
    leaving: usize,
    guests: BTreeMap<u64, Entry<G>>,
}

#[derive(Debug)]
struct Entry<G> {
    guest: Arc<G>,
    leave: CancellationToken,
}

/// A connection has its place until this is dropped, or it has to leave.
#[derive(Debug)]
pub struct Place<G> {
    room: Arc<Room<G>>,
    number: u64,
    leave: CancellationToken,
}

impl<G: Guest> Room<G> {
    /// One more comes in, if there are fewer than `most` or a quiet one can leave.
    pub fn enter(self: &Arc<Self>, guest: Arc<G>, most: usize) -> Option<Place<G>> {
        self.enter_for(guest, most, &[Doing::Quiet])
    }

    /// The same, and a busy one leaves if nobody is quiet.
    pub fn enter_anyway(self: &Arc<Self>, guest: Arc<G>, most: usize) -> Option<Place<G>> {
        self.enter_for(guest, most, &[Doing::Quiet, Doing::Busy])
    }

    fn enter_for(self: &Arc<Self>, guest: Arc<G>, most: usize, leaves: &[Doing]) -> Option<Place<G>> {
        let mut inside = self.inside();
        if inside.guests.len() + inside.leaving >= most + most.div_ceil(4) {
            return None;
        }
        if inside.guests.len() >= most {
            let left = leaves.iter().find_map(|doing| inside.oldest(*doing))?;
            inside.guests.remove(&left)?.leave.cancel();
            inside.leaving += 1;
            tracing::warn!(connections = most, "too many connections at once; one was closed");
        }
        let (number, leave) = (inside.next, CancellationToken::new());
        inside.next += 1;
        inside.guests.insert(number, Entry { guest, leave: leave.clone() });
        Some(Place { room: Arc::clone(self), number, leave })
    }
}

impl<G: Guest> Inside<G> {
    fn oldest(&self, doing: Doing) -> Option<u64> {
        self.guests.iter().find(|(_, one)| one.guest.doing() == doing).map(|(number, _)| *number)
    }
}

impl<G> Room<G> {
    fn inside(&self) -> MutexGuard<'_, Inside<G>> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<G> Default for Room<G> {
    fn default() -> Self {
        Self { inside: Mutex::new(Inside { next: 0, leaving: 0, guests: BTreeMap::new() }) }
    }
}

impl<G> Place<G> {
    /// Ends when it has to leave.
    pub async fn left(&self) {
        self.leave.cancelled().await;
    }
}

impl<G> Drop for Place<G> {
    fn drop(&mut self) {
        let mut inside = self.room.inside();
        if inside.guests.remove(&self.number).is_none() {
            inside.leaving -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Does(Mutex<Doing>);

    impl Guest for Does {
        fn doing(&self) -> Doing {
            *self.0.lock().unwrap()
        }
    }

    fn does(doing: Doing) -> Arc<Does> {
        Arc::new(Does(Mutex::new(doing)))
    }

    #[test]
    fn the_oldest_quiet_one_leaves_first_and_a_lasting_one_never() {
        let room = Arc::new(Room::default());
        let guests = [Doing::Lasting, Doing::Busy, Doing::Quiet, Doing::Quiet].map(does);
        let [stream, asks, waits, last] = guests.clone().map(|guest| room.enter(guest, 4).unwrap());
        let has_to_leave = |place: &Place<Does>| place.leave.is_cancelled();
        let fifth = room.enter(does(Doing::Busy), 4).unwrap();
        assert!(has_to_leave(&waits) && ![&stream, &asks, &last].into_iter().any(has_to_leave));
        assert!(
            room.enter_anyway(does(Doing::Quiet), 4).is_none(),
            "one is on its way out, which is a quarter"
        );
        drop(waits);
        *guests[3].0.lock().unwrap() = Doing::Busy;
        assert!(room.enter(does(Doing::Quiet), 4).is_none(), "all are busy");
        let sixth = room.enter_anyway(does(Doing::Quiet), 4).unwrap();
        assert!(has_to_leave(&asks) && ![&stream, &last, &fifth].into_iter().any(has_to_leave));
        drop((stream, asks, last, fifth, sixth));
        let inside = room.inside();
        assert!(inside.guests.is_empty() && inside.leaving == 0);
    }
}
