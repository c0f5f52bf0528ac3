//! Names become addresses, by the system's own resolver.
//!
//! ```text
//!   resolve(name) ──► an address? ── yes ──────────────────────────────► itself
//!                         │ no
//!                         └──► asked already? ── yes ──► the same answer ◄──┐
//!                                   │ no                                    │
//!                                   └──► waits for a turn ──► a thread ────┘
//! ```
//!
//! `getaddrinfo` blocks its thread for as long as it likes: a dead resolver takes 5 to 60 seconds.
//!
//! 1. It has threads of its own, so that nothing else waits for it, and the end of the process does not either.
//! 2. A name is asked for once at a time, however many want it. After half a minute without an answer it is asked for
//!    again.
//! 3. Only a few names are asked for at once.

use std::{
    collections::{HashMap, VecDeque},
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use futures_util::{FutureExt, future::Shared};
use tokio::sync::oneshot;

use crate::clock::{self, Instant};

/// Lookups at once, each of another name.
const LOOKUPS: usize = 16;
/// A lookup that takes longer is not waited for by those who come later.
const STUCK: Duration = Duration::from_secs(30);

/// The addresses of a name, with port 0; or the kind of the failure and its words.
type Found = Result<Arc<[SocketAddr]>, (io::ErrorKind, Arc<str>)>;
type Lookup = Box<dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync>;

static SYSTEM: LazyLock<Arc<Resolver>> = LazyLock::new(|| Arc::new(Resolver::new(Box::new(system))));

/// The addresses of this name, or of this address itself, with port 0. It takes as long as the system does.
pub(super) async fn resolve(name: &str) -> io::Result<Arc<[SocketAddr]>> {
    SYSTEM.resolve(name).await
}

fn system(name: &str) -> io::Result<Vec<SocketAddr>> {
    Ok((name, 0).to_socket_addrs()?.collect())
}

struct Resolver {
    lookup: Lookup,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By name: who has asked, or waits for a turn.
    under_way: HashMap<Arc<str>, UnderWay>,
    waiting: VecDeque<Asked>,
    threads: usize,
}

struct UnderWay {
    since: Instant,
    found: Shared<oneshot::Receiver<Found>>,
}

struct Asked {
    name: Arc<str>,
    since: Instant,
    tell: oneshot::Sender<Found>,
}

impl Resolver {
    fn new(lookup: Lookup) -> Self {
        Self { lookup, state: Mutex::default() }
    }

    async fn resolve(self: &Arc<Self>, name: &str) -> io::Result<Arc<[SocketAddr]>> {
        if let Ok(address) = name.parse::<IpAddr>() {
            return Ok(Arc::new([SocketAddr::new(address, 0)]));
        }
        let found = self.ask(name, clock::now())?.await;
        let found = found.map_err(|_| io::Error::other("the lookup was given up"))?;
        found.map_err(|(kind, words)| io::Error::new(kind, &*words))
    }

    /// The answer that is under way, or a new one.
    fn ask(self: &Arc<Self>, name: &str, now: Instant) -> io::Result<Shared<oneshot::Receiver<Found>>> {
        let mut state = self.state();
        state.under_way.retain(|_, one| now < one.since + STUCK);
        if let Some(one) = state.under_way.get(name) {
            return Ok(one.found.clone());
        }
        if state.threads < LOOKUPS {
            let resolver = Arc::clone(self);
            thread::Builder::new().name("resolver".into()).spawn(move || resolver.work())?;
            state.threads += 1;
        }
        let name: Arc<str> = name.into();
        let (tell, told) = oneshot::channel();
        state.waiting.push_back(Asked { name: Arc::clone(&name), since: now, tell });
        let found = told.shared();
        state.under_way.insert(name, UnderWay { since: now, found: found.clone() });
        Ok(found)
    }

    /// A thread: as long as somebody waits for a turn.
    fn work(&self) {
        while let Some(Asked { name, since, tell }) = self.next() {
            let found = (self.lookup)(&name).map(Arc::from);
            let found = found.map_err(|error| (error.kind(), error.to_string().into()));
            self.is_over(&name, since);
            // Nobody may want to know any more.
            let _ = tell.send(found);
        }
    }

    fn next(&self) -> Option<Asked> {
        let mut state = self.state();
        let next = state.waiting.pop_front();
        state.threads -= usize::from(next.is_none());
        next
    }

    /// Who comes from now on asks again.
    fn is_over(&self, name: &str, since: Instant) {
        let mut state = self.state();
        if state.under_way.get(name).is_some_and(|one| one.since == since) {
            state.under_way.remove(name);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc,
    };

    use futures_util::future::join_all;

    use super::*;

    /// A resolver that answers each lookup when it is told to, and how many it was asked for.
    fn held() -> (Arc<Resolver>, mpsc::Sender<()>, Arc<AtomicUsize>) {
        let (answer, held) = mpsc::channel();
        let (held, asked) = (Mutex::new(held), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&asked);
        let lookup = move |name: &str| {
            count.fetch_add(1, Ordering::SeqCst);
            held.lock().unwrap().recv().unwrap();
            match name {
                "good" => Ok(vec!["10.0.0.1:0".parse().unwrap()]),
                _ => Err(io::Error::new(io::ErrorKind::NotFound, "no such name")),
            }
        };
        (Arc::new(Resolver::new(Box::new(lookup))), answer, asked)
    }

    #[tokio::test]
    async fn six_hundred_who_want_one_name_ask_once() {
        let (resolver, answer, asked) = held();
        let wanted = (0..600).map(|_| resolver.resolve("good"));
        let (found, ()) = tokio::join!(join_all(wanted), async { answer.send(()).unwrap() });
        assert!(found.iter().all(|found| found.as_ref().unwrap()[0].ip().to_string() == "10.0.0.1"));
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        // It is not remembered.
        answer.send(()).unwrap();
        resolver.resolve("good").await.unwrap();
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_failure_keeps_its_kind_and_words() {
        let (resolver, answer, _) = held();
        answer.send(()).unwrap();
        let error = resolver.resolve("bad").await.unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (io::ErrorKind::NotFound, "no such name"));
    }

    #[tokio::test]
    async fn a_lookup_that_hangs_is_left_alone_after_half_a_minute() {
        let (resolver, answer, asked) = held();
        let start = clock::now();
        let first = resolver.ask("good", start).unwrap();
        assert!(first.clone().now_or_never().is_none());
        assert!(first.ptr_eq(&resolver.ask("good", start + STUCK / 2).unwrap()));
        let second = resolver.ask("good", start + STUCK).unwrap();
        assert!(!first.ptr_eq(&second));
        (0..2).for_each(|_| answer.send(()).unwrap());
        let (first, second) = tokio::join!(first, second);
        assert!(first.unwrap().is_ok() && second.unwrap().is_ok());
        assert_eq!(asked.load(Ordering::SeqCst), 2);
        assert!(resolver.state().under_way.is_empty());
    }

    #[tokio::test]
    async fn dead_names_leave_no_more_threads_than_there_are_turns() {
        let (resolver, answer, asked) = held();
        let names: Vec<String> = (0..3 * LOOKUPS).map(|n| format!("dead-{n}")).collect();
        let lookups: Vec<_> = names.iter().map(|name| resolver.ask(name, clock::now()).unwrap()).collect();
        lookups.iter().for_each(|one| assert!(one.clone().now_or_never().is_none()));
        while asked.load(Ordering::SeqCst) < LOOKUPS {
            tokio::task::yield_now().await;
        }
        assert_eq!(resolver.state().threads, LOOKUPS);
        assert_eq!(asked.load(Ordering::SeqCst), LOOKUPS);
        (0..names.len()).for_each(|_| answer.send(()).unwrap());
        assert!(join_all(lookups).await.iter().all(|found| found.as_ref().unwrap().is_err()));
        assert!(resolver.state().under_way.is_empty());
    }

    #[tokio::test]
    async fn an_address_is_not_looked_up() {
        let (resolver, _, asked) = held();
        for address in ["127.0.0.1", "::1"] {
            assert_eq!(resolver.resolve(address).await.unwrap()[0].ip().to_string(), address);
        }
        assert_eq!(asked.load(Ordering::SeqCst), 0);
    }
}
