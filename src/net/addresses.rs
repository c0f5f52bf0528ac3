//! The addresses of a host: which is tried first, and which last.
//!
//! ```text
//!   resolver: 6 6 6 4 ──► 6 4 6 6 ──► those that failed lately go last ──► race ──► the first that answers
//!                                                  ▲                                        │
//!                                                  └──── Blamed ◄── it answered, and failed ┘
//! ```
//!
//! 1. The families take turns, and the family of the resolver's first address begins (RFC 8305 §4). No address is left
//!    out: the deadline of the dial is the only bound.
//! 2. A refusal moves on at once. Silence costs a quarter of a second for each address (RFC 8305 §5).
//! 3. That a kernel takes a connection says nothing of the program behind it. An address that took one and then failed
//!    (TLS, HTTP, the WebSocket handshake) is tried last for a minute, and later than silence alone would allow: it would
//!    win the race again.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::time;

use crate::clock::{self, Instant};

/// How long an address may keep silent before the next one is tried beside it.
const NEXT: Duration = Duration::from_millis(250);
/// The same before an address that failed lately: as long as it takes until a lost SYN is sent again.
const NEXT_BLAMED: Duration = Duration::from_secs(1);
/// How long an address that failed is tried last.
const BLAMED_FOR: Duration = Duration::from_secs(60);
/// Addresses that are remembered; the oldest are forgotten.
const MAX_BLAMED: usize = 64;

/// Addresses that took a connection and then failed. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Blamed(Arc<Mutex<Vec<(SocketAddr, Instant)>>>);

/// An address that waits for its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) address: SocketAddr,
    pub(super) blamed: bool,
}

impl Blamed {
    /// This address has failed just now.
    pub(super) fn add(&self, address: SocketAddr, now: Instant) {
        let mut all = self.current(now);
        all.retain(|(known, _)| !same(*known, address));
        if all.len() == MAX_BLAMED {
            all.remove(0);
        }
        all.push((address, now));
    }

    /// The addresses in the order in which they are tried. Of those that failed, the one whose failure is the longest
    /// ago is the first.
    pub(super) fn turns(&self, addresses: &[SocketAddr], now: Instant) -> Vec<Turn> {
        let all = self.current(now);
        let when = |address: SocketAddr| all.iter().position(|(known, _)| same(*known, address));
        let mut turns: Vec<_> = alternating(addresses).into_iter().map(|one| (when(one), one)).collect();
        // Stable: what has not failed keeps its order, and is before all others.
        turns.sort_by_key(|(when, _)| *when);
        turns.into_iter().map(|(when, address)| Turn { address, blamed: when.is_some() }).collect()
    }

    /// In the order of their failures.
    fn current(&self, now: Instant) -> MutexGuard<'_, Vec<(SocketAddr, Instant)>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|(_, since)| now < *since + BLAMED_FOR);
        all
    }
}

/// Is it the same address and port? A peer's address lacks what else the resolver's may have.
fn same(one: SocketAddr, other: SocketAddr) -> bool {
    (one.ip(), one.port()) == (other.ip(), other.port())
}

/// The families take turns, from the first one's on.
fn alternating(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (own, other): (Vec<_>, Vec<_>) =
        addresses.iter().copied().partition(|one| one.is_ipv6() == first_is_v6);
    let (mut own, mut other) = (own.into_iter(), other.into_iter());
    let mut all = Vec::with_capacity(addresses.len());
    loop {
        let pair = [own.next(), other.next()];
        if pair == [None, None] {
            return all;
        }
        all.extend(pair.into_iter().flatten());
    }
}

/// The first address that answers. The error is that of the last one that failed.
pub(super) async fn race<T, F: Future<Output = io::Result<T>>>(
    turns: Vec<Turn>,
    connect: impl Fn(SocketAddr) -> F,
) -> io::Result<T> {
    let mut left = turns.into_iter().peekable();
    let mut trying = FuturesUnordered::new();
    let mut due = clock::now();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    loop {
        if trying.is_empty() || due <= clock::now() {
            match left.next() {
                Some(turn) => trying.push(connect(turn.address)),
                None if trying.is_empty() => return Err(last),
                None => {}
            }
            let next = left.peek().map_or(NEXT, |turn| if turn.blamed { NEXT_BLAMED } else { NEXT });
            due = clock::now() + next;
        }
        let answered = if left.peek().is_none() {
            trying.next().await
        } else {
            // Nobody has answered yet: another address gets its turn beside this one.
            let Ok(answered) = time::timeout_at(due, trying.next()).await else { continue };
            answered
        };
        match answered {
            Some(Ok(made)) => return Ok(made),
            Some(Err(cause)) => {
                last = cause;
                if left.peek().is_some_and(|turn| !turn.blamed) {
                    due = clock::now();
                }
            }
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        format!("{text}:1").parse().unwrap()
    }

    fn many(of: impl Fn(usize) -> String, count: usize) -> Vec<SocketAddr> {
        (1..=count).map(|n| address(&of(n))).collect()
    }

    fn fresh(addresses: &[SocketAddr]) -> Vec<Turn> {
        Blamed::default().turns(addresses, clock::now())
    }

    fn order(turns: &[Turn]) -> String {
        turns.iter().map(|turn| turn.address.ip().to_string()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn families_take_turns_and_none_is_cut_off() {
        let six = many(|n| format!("[fd00::{n}]"), 4);
        let four = many(|n| format!("10.0.0.{n}"), 2);
        let both = fresh(&[six.clone(), four.clone()].concat());
        assert_eq!(order(&both), "fd00::1 10.0.0.1 fd00::2 10.0.0.2 fd00::3 fd00::4");
        let both = fresh(&[four, six].concat());
        assert_eq!(order(&both), "10.0.0.1 fd00::1 10.0.0.2 fd00::2 fd00::3 fd00::4");
        assert_eq!(fresh(&many(|n| format!("10.0.{}.{}", n / 200, n % 200), 500)).len(), 500);
        assert!(fresh(&[]).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn sixteen_that_refuse_do_not_hide_one_that_lives() {
        let mut addresses = many(|n| format!("[fd00::{n:x}]"), 16);
        addresses.push(address("10.0.0.1"));
        let began = clock::now();
        let dial = async |one: SocketAddr| match one.ip().is_ipv4() {
            true => Ok(one),
            false => Err(io::ErrorKind::ConnectionRefused.into()),
        };
        let found = race(fresh(&addresses), dial).await.unwrap();
        assert_eq!((found, clock::now()), (address("10.0.0.1"), began), "and without a wait");
        // The order of the resolver alone leads there too.
        let as_they_are = addresses.iter().map(|one| Turn { address: *one, blamed: false }).collect();
        assert_eq!(race(as_they_are, dial).await.unwrap(), address("10.0.0.1"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_black_hole_costs_a_quarter_of_a_second() {
        let addresses = many(|n| format!("10.0.0.{n}"), 4);
        let began = clock::now();
        let dial = async |one: SocketAddr| match one == address("10.0.0.4") {
            true => Ok(one),
            false => std::future::pending().await,
        };
        assert_eq!(race(fresh(&addresses), dial).await.unwrap(), address("10.0.0.4"));
        assert_eq!(clock::now() - began, 3 * NEXT);
    }

    #[tokio::test(start_paused = true)]
    async fn if_nobody_answers_the_last_refusal_is_told() {
        let dial = async |_| Err::<(), _>(io::ErrorKind::ConnectionRefused.into());
        let error = race(fresh(&many(|n| format!("10.0.0.{n}"), 3)), dial).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        let error = race(Vec::new(), dial).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn one_that_failed_is_last_for_a_minute() {
        let addresses = many(|n| format!("10.0.0.{n}"), 3);
        let (blamed, now) = (Blamed::default(), clock::now());
        let same = blamed.clone();
        same.add(addresses[0], now);
        let after = |seconds: u64| order(&blamed.turns(&addresses, now + Duration::from_secs(seconds)));
        assert_eq!(after(0), "10.0.0.2 10.0.0.3 10.0.0.1");
        // Of two, the one that failed first is the next.
        blamed.add(addresses[1], now + Duration::from_secs(10));
        assert_eq!(after(10), "10.0.0.3 10.0.0.1 10.0.0.2");
        blamed.add(addresses[0], now + Duration::from_secs(20));
        assert_eq!(after(20), "10.0.0.3 10.0.0.2 10.0.0.1");
        assert_eq!(after(79), "10.0.0.2 10.0.0.3 10.0.0.1");
        assert_eq!(after(80), "10.0.0.1 10.0.0.2 10.0.0.3");
    }

    #[test]
    fn it_does_not_remember_more_than_it_may() {
        let (blamed, now) = (Blamed::default(), clock::now());
        for one in many(|n| format!("10.0.{}.{}", n / 200, n % 200), 500) {
            blamed.add(one, now);
        }
        assert_eq!(blamed.current(now).len(), MAX_BLAMED);
        assert!(blamed.current(now + BLAMED_FOR).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_failed_does_not_win_against_a_slow_one() {
        let (near, far) = (address("10.0.0.1"), address("10.0.0.2"));
        let blamed = Blamed::default();
        let dial = async |one: SocketAddr| {
            time::sleep(Duration::from_millis(if one == near { 1 } else { 600 })).await;
            Ok(one)
        };
        let turns = |blamed: &Blamed| blamed.turns(&[near, far], clock::now());
        assert_eq!(race(turns(&blamed), dial).await.unwrap(), near);
        blamed.add(near, clock::now());
        assert_eq!(race(turns(&blamed), dial).await.unwrap(), far);
        // It is tried all the same if the other one keeps silent, or refuses.
        let silent = async |one: SocketAddr| if one == near { Ok(one) } else { std::future::pending().await };
        let began = clock::now();
        assert_eq!(race(turns(&blamed), silent).await.unwrap(), near);
        assert_eq!(clock::now() - began, NEXT_BLAMED);
        let refusing = async |one: SocketAddr| {
            if one == near { Ok(one) } else { Err(io::ErrorKind::ConnectionRefused.into()) }
        };
        let began = clock::now();
        assert_eq!(race(turns(&blamed), refusing).await.unwrap(), near);
        assert_eq!(clock::now(), began);
    }
}
