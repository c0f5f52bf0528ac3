//! Clients over a source that needs no network, in paused time: the next token is what the test puts there.

use super::{journal::kept_back, *};
use crate::{
    clock,
    config::{SourceConfig, StateConfig},
    credential::{Fetch, keeper::Trigger},
    net::Egress,
};

const MINUTE: Duration = Duration::from_secs(60);

struct Deaf;

impl Observer for Deaf {
    fn refreshed(&self, _: &Fetch<'_>) {}
    fn current(&self, _: &Token) {}
}

struct Rig {
    clients: Arc<Clients>,
    tasks: TaskTracker,
    stop: CancellationToken,
    file: tempfile::NamedTempFile,
    issued: AtomicUsize,
}

impl Rig {
    /// Every token lives for an hour from first sight.
    fn new() -> Self {
        let file = tempfile::NamedTempFile::new().unwrap();
        let source = SourceConfig::File { path: file.path().to_owned(), answer: Default::default() };
        let policy = RefreshPolicy {
            refresh_before: Some(30 * MINUTE),
            check_every: 15 * MINUTE,
            lifetime: Some(60 * MINUTE),
            once: false,
            timeout: Duration::from_secs(10),
        };
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let clients = Clients::new(Common {
            route: "jobs".to_owned(),
            terms: ArcSwap::from_pointee(Terms {
                source: Arc::new(Source::new(&source, &Egress::default()).unwrap()),
                policy,
                grace: 5 * MINUTE,
                revoke_for: 150 * MINUTE,
            }),
            observer: Arc::new(Deaf),
            store: Arc::new(
                Store::open(&StateConfig::Memory, 1 << 20, &TaskTracker::new(), &CancellationToken::new())
                    .unwrap(),
            ),
            tasks: tasks.clone(),
            stop: stop.clone(),
        });
        Self { clients, tasks, stop, file, issued: AtomicUsize::new(0) }
    }

    async fn enter(&self, token: &str) -> Result<Lease, NotServed> {
        self.enter_as(Some(token), "").await
    }

    async fn enter_as(&self, token: Option<&str>, identity: &str) -> Result<Lease, NotServed> {
        let visitor = Visitor { token, identity, values: ClientValues::default() };
        self.clients.enter(visitor, Now::read()).await
    }

    /// A refresh that brings a token that nobody had before.
    async fn next(&self, lease: &Lease) -> Arc<Token> {
        let credential = lease.credential();
        let now = credential.usable(clock::now() + MINUTE).await.expect("a token").generation;
        let nth = self.issued.fetch_add(1, Ordering::Relaxed) + 1;
        std::fs::write(self.file.path(), format!("T{nth}")).unwrap();
        credential.demand(None, Trigger::Operator);
        credential.newer(now, clock::now() + 300 * MINUTE).await.expect("a newer token")
    }

    /// Until nobody has anything to do.
    async fn settle(&self) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn tokens_of_one_lineage_lead_to_one_credential() {
    let rig = Rig::new();
    let (one, two) = (rig.enter("T0").await.unwrap(), rig.enter("T0").await.unwrap());
    assert!(Arc::ptr_eq(one.credential(), two.credential()));
    let other = rig.enter("U0").await.unwrap();
    assert!(!Arc::ptr_eq(one.credential(), other.credential()));
    let newer = rig.next(&one).await;
    for shown in ["T0", newer.expose()] {
        let back = rig.enter(shown).await.unwrap();
        assert!(Arc::ptr_eq(one.credential(), back.credential()), "{shown}");
    }
    // Superseded once more: the first is refused at once, the one between has its own grace.
    let newest = rig.next(&one).await;
    assert!(matches!(rig.enter("T0").await, Err(NotServed::Expired)));
    for shown in [newer.expose(), newest.expose()] {
        assert!(Arc::ptr_eq(one.credential(), rig.enter(shown).await.unwrap().credential()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_credential_ends_with_its_last_session_and_its_history_does_not() {
    let rig = Rig::new();
    let lease = rig.enter("T0").await.unwrap();
    let newer = rig.next(&lease).await;
    drop(lease);
    rig.settle().await;
    assert!(rig.clients.credentials().is_empty());
    rig.tasks.close();
    tokio::time::timeout(MINUTE, rig.tasks.wait()).await.expect("its task ends");
    rig.tasks.reopen();
    let back = rig.enter("T0").await.unwrap();
    let current = back.credential().usable(clock::now() + MINUTE).await.unwrap();
    assert_eq!((current.expose(), current.generation), (newer.expose(), newer.generation));
    drop(back);
    rig.settle().await;
    tokio::time::sleep(6 * MINUTE).await;
    assert!(matches!(rig.enter("T0").await, Err(NotServed::Expired)), "its grace is over");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_refreshed_for_nobody() {
    let rig = Rig::new();
    drop(rig.enter("T0").await.unwrap());
    rig.settle().await;
    tokio::time::sleep(600 * MINUTE).await;
    let back = rig.enter("T0").await.unwrap();
    let current = back.credential().usable(clock::now() + MINUTE).await.unwrap();
    assert_eq!((current.expose(), current.generation), ("T0", Generation(1)), "nobody has vouched for it");
}

#[tokio::test(start_paused = true)]
async fn the_end_of_an_opaque_token_is_reckoned_once_it_has_been_taken() {
    let rig = Rig::new();
    let lease = rig.enter("T0").await.unwrap();
    let first = lease.credential().usable(clock::now() + MINUTE).await.unwrap();
    lease.prove();
    rig.settle().await;
    drop(lease);
    rig.settle().await;
    let back = rig.enter("T0").await.unwrap();
    let current = back.credential().usable(clock::now() + MINUTE).await.unwrap();
    let millis = |token: &Token| token.expires_wall.unwrap().as_millis();
    assert!(!Arc::ptr_eq(&first, &current) && millis(&first) == millis(&current), "it is reckoned once");
    assert!(back.is_proven());
}

#[tokio::test(start_paused = true)]
async fn clients_without_tokens_are_known_by_their_identity() {
    let rig = Rig::new();
    let (one, same) = (rig.enter_as(None, "ann").await.unwrap(), rig.enter_as(None, "ann").await.unwrap());
    let other = rig.enter_as(None, "bob").await.unwrap();
    assert!(Arc::ptr_eq(one.credential(), same.credential()));
    assert!(!Arc::ptr_eq(one.credential(), other.credential()));
    std::fs::write(rig.file.path(), "token").unwrap();
    let token = one.credential().usable(clock::now() + MINUTE).await.unwrap();
    assert_eq!((token.expose(), token.generation), ("token", Generation(1)));
    // One token under two identities is two clients'.
    let (ann, bob) =
        (rig.enter_as(Some("T0"), "ann").await.unwrap(), rig.enter_as(Some("T0"), "bob").await.unwrap());
    assert!(!Arc::ptr_eq(ann.credential(), bob.credential()));
}

#[tokio::test(start_paused = true)]
async fn made_up_tokens_leave_nothing_behind() {
    let rig = Rig::new();
    let honest = rig.enter("T0").await.unwrap();
    let newer = rig.next(&honest).await;
    for nth in 0..20_000 {
        drop(rig.enter(&format!("made-up-{nth}")).await.unwrap());
        if nth % 1000 == 0 {
            rig.settle().await;
        }
    }
    rig.settle().await;
    assert_eq!(rig.clients.credentials().len(), 1);
    assert!(matches!(rig.enter("\u{7f}").await, Err(NotServed::Malformed)));
    for shown in ["T0", newer.expose()] {
        assert!(Arc::ptr_eq(honest.credential(), rig.enter(shown).await.unwrap().credential()));
    }
}

#[tokio::test(start_paused = true)]
async fn clients_that_come_and_go_while_a_token_changes_are_on_one_credential() {
    // Time passes only when everybody waits: each round the refresh falls among those who come and go.
    let rig = Arc::new(Rig::new());
    let first = rig.enter("T0").await.unwrap();
    let come = |rig: Arc<Rig>, shown: Arc<str>| async move {
        let mut seen = Vec::new();
        for _ in 0..50 {
            if let Ok(lease) = rig.enter(&shown).await {
                seen.push(Arc::as_ptr(lease.credential()) as usize);
            }
            tokio::task::yield_now().await;
        }
        seen
    };
    let mut shown: Arc<str> = "T0".into();
    for _ in 0..20 {
        let tasks: Vec<_> = (0..8).map(|_| rig.tasks.spawn(come(rig.clone(), shown.clone()))).collect();
        let newer = rig.next(&first).await;
        for task in tasks {
            let own = Arc::as_ptr(first.credential()) as usize;
            assert!(
                task.await.unwrap().iter().all(|seen| *seen == own),
                "a second credential for one lineage"
            );
        }
        shown = newer.expose().into();
    }
    rig.stop.cancel();
}

#[tokio::test(start_paused = true)]
async fn a_new_token_is_not_kept_back_until_the_old_one_is_of_no_use() {
    let (now, grace) = (Now::read(), 5 * MINUTE);
    let old = |life| Token::new("T0", Generation(1), now, life);
    for (life, grace, longest) in [
        (Some(60 * MINUTE), grace, grace / 4),
        (None, grace, grace / 4),
        (Some(Duration::from_secs(4)), grace, Duration::from_secs(1)),
        (Some(60 * MINUTE), Duration::ZERO, Duration::ZERO),
        (Some(Duration::ZERO), grace, Duration::ZERO),
    ] {
        assert_eq!(kept_back(&old(life), grace, now), longest, "{life:?} {grace:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_is_kept_fresh_from_when_the_service_has_taken_it() {
    let rig = Rig::new();
    let lease = rig.enter("T0").await.unwrap();
    std::fs::write(rig.file.path(), "T1").unwrap();
    tokio::time::sleep(31 * MINUTE).await;
    let current = lease.credential().current().unwrap();
    assert_eq!((current.expose(), current.generation), ("T0", Generation(1)), "it may be made up");
    lease.prove();
    let newer = lease.credential().newer(current.generation, clock::now() + 30 * MINUTE).await.unwrap();
    assert_eq!(newer.expose(), "T1");
}

#[tokio::test(start_paused = true)]
async fn an_opaque_token_that_has_ended_is_not_taken_for_a_new_one() {
    let rig = Rig::new();
    let lease = rig.enter("T0").await.unwrap();
    lease.credential().usable(clock::now() + MINUTE).await.unwrap();
    lease.prove();
    rig.settle().await;
    drop(lease);
    rig.settle().await;
    let now = Now::read();
    for minutes in [61, 121, 181] {
        let later = Now { mono: now.mono + minutes * MINUTE, wall: now.wall + minutes * MINUTE };
        let visitor = Visitor { token: Some("T0"), identity: "", values: ClientValues::default() };
        let served = rig.clients.enter(visitor, later).await;
        assert!(matches!(served, Err(NotServed::Expired)), "after {minutes} minutes");
    }
}

/// A disk that hangs does not fail: it says nothing.
#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_keeps_a_new_token_back_for_its_time_only() {
    let rig = Rig::new();
    let lease = rig.enter("T0").await.unwrap();
    rig.clients.common.store.stall(true);
    let began = clock::now();
    let newer = rig.next(&lease).await;
    assert_eq!(newer.expose(), "T1");
    // A quarter of the grace, and the time in which the source is asked.
    assert!(clock::now() - began < 2 * MINUTE, "{:?}", clock::now() - began);
}
