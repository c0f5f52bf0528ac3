//! What one client address may have: so many sessions at once, and so many handshakes a second.
//!
//! An IPv6 client has a whole network of addresses, and is known by its first 64 bits.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::clock::Instant;

/// Addresses whose handshakes are counted. If there are more within a second, the rest is not counted.
const MOST: usize = 10_000;

/// A second: what is allowed within it is allowed again after it.
const SECOND: Duration = Duration::from_secs(1);

/// All client addresses that are here, and those that were here a moment ago.
#[derive(Debug, Default)]
pub struct Crowd {
    sessions: Mutex<HashMap<IpAddr, usize>>,
    handshakes: Mutex<HashMap<IpAddr, Pace>>,
}

/// What an address did lately.
#[derive(Debug)]
struct Pace {
    /// Handshakes that it still has.
    left: f64,
    at: Instant,
}

/// One session of an address, until it is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    crowd: Arc<Crowd>,
    address: IpAddr,
}

impl Crowd {
    /// May this address begin one more handshake?
    pub(super) fn may_ask(&self, address: IpAddr, a_second: Option<usize>, now: Instant) -> bool {
        let Some(most) = a_second.map(|most| most as f64) else { return true };
        let mut paces = lock(&self.handshakes);
        if paces.len() >= MOST {
            paces.retain(|_, pace| now.saturating_duration_since(pace.at) < SECOND);
            if paces.len() >= MOST {
                return true;
            }
        }
        let pace = paces.entry(known(address)).or_insert(Pace { left: most, at: now });
        let since = now.saturating_duration_since(pace.at).as_secs_f64();
        *pace = Pace { left: most.min(pace.left + since * most), at: now };
        let may = pace.left >= 1.0;
        if may {
            pace.left -= 1.0;
        }
        may
    }

    /// One more session of this address, if it has fewer than `most`.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr, most: Option<usize>) -> Option<Seat> {
        let address = known(address);
        let mut sessions = lock(&self.sessions);
        let taken = sessions.entry(address).or_default();
        if most.is_some_and(|most| *taken >= most) {
            return None;
        }
        *taken += 1;
        Some(Seat { crowd: Arc::clone(self), address })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut sessions = lock(&self.crowd.sessions);
        if let Some(taken) = sessions.get_mut(&self.address) {
            *taken -= 1;
            if *taken == 0 {
                sessions.remove(&self.address);
            }
        }
    }
}

/// What an address is known by.
fn known(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_has_so_many_sessions_and_gives_them_back() {
        let crowd = Arc::new(Crowd::default());
        let (own, other) = (address("10.0.0.7"), address("10.0.0.8"));
        let first = crowd.enter(own, Some(2)).unwrap();
        let second = crowd.enter(address("::ffff:10.0.0.7"), Some(2)).unwrap();
        assert!(crowd.enter(own, Some(2)).is_none());
        let unlimited = (crowd.enter(other, Some(2)).unwrap(), crowd.enter(own, None).unwrap());
        drop((first, unlimited));
        let again = crowd.enter(own, Some(2)).unwrap();
        drop((second, again));
        assert!(lock(&crowd.sessions).is_empty());
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let crowd = Arc::new(Crowd::default());
        let _first = crowd.enter(address("2001:db8::1"), Some(1)).unwrap();
        assert!(crowd.enter(address("2001:db8::2"), Some(1)).is_none());
        assert!(crowd.enter(address("2001:db8:0:1::1"), Some(1)).is_some());
    }

    #[test]
    fn handshakes_come_back_with_time() {
        let (crowd, now, own) = (Crowd::default(), clock::now(), address("10.0.0.7"));
        let asked = |at, times| (0..times).filter(|_| crowd.may_ask(own, Some(5), at)).count();
        assert_eq!(asked(now, 100), 5);
        assert!(crowd.may_ask(address("10.0.0.8"), Some(5), now));
        assert_eq!(asked(now + SECOND / 5, 100), 1);
        assert_eq!(asked(now + 100 * SECOND, 100), 5, "no more are saved");
        assert!((0..100).all(|_| crowd.may_ask(own, None, now)));
    }

    #[test]
    fn so_many_addresses_are_counted_and_no_more() {
        let (crowd, now) = (Crowd::default(), clock::now());
        for nth in 0..2 * MOST as u32 {
            assert!(crowd.may_ask(IpAddr::from(nth.to_be_bytes()), Some(1), now));
        }
        assert_eq!(lock(&crowd.handshakes).len(), MOST);
        assert!(crowd.may_ask(address("1.2.3.4"), Some(1), now + SECOND));
        assert_eq!(lock(&crowd.handshakes).len(), 1);
    }
}
