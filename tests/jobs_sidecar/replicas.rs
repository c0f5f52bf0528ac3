//! Clients whose credential two sidecars have at once, over one Redis.
//!
//! ```text
//!   client ──► A ──┐                 ┌──► the job service: its Ledger counts the renewals, and who was refused
//!                  ├── Redis (real) ─┤
//!   client ──► B ──┘                 └──► killed, started again, looked at
//! ```
//!
//! A client shows the token that it began with, wherever it comes. A client that comes back does so under
//! another name, so that the service counts its messages apart; to the sidecars a client is its token.

use std::time::{Duration, Instant};

use crate::{
    jobs::{Client, Job, JobService, Kind, Ledger, Options, Ready, Scenario, Who, Work},
    jobs_sidecar::stage::{ALICE, MOMENT, Plan},
    sidecar::Sidecar,
    support::{
        redis::{Doing, Front, Monitor, RedisServer},
        until,
    },
};
use tokio::sync::oneshot;

const BOB: &str = "bob";
/// Alice, who comes back.
const BACK: &str = "alice-back";

/// The service, and a Redis that remembers what it was told.
struct Rig {
    service: JobService,
    redis: RedisServer,
}

/// Tokens of so many seconds, renewed with so much of them left at the earliest; the service takes an old one for as
/// long as `grace`.
fn options(lifetime: u64, window: u64, grace: u64) -> Options {
    let [lifetime, window, grace] = [lifetime, window, grace].map(Duration::from_millis);
    Options { lifetime, window, grace, ..Options::default() }
}

/// Renewed after 2.8 to 3.1 s.
fn short() -> Plan {
    let options = options(4000, 1500, 3000);
    Plan { options, grace: Duration::from_secs(10), ..Plan::default() }
}

impl Rig {
    async fn set(options: Options) -> Self {
        let (service, redis) = tokio::join!(JobService::start(options), RedisServer::durable());
        Self { service, redis }
    }

    async fn sidecar(&self, plan: &Plan) -> Sidecar {
        let before = format!(
            "[state]\nstore = \"redis\"\nsecret = \"the secret of all sidecars\"\nurl = {:?}",
            self.redis.url()
        );
        let plan = Plan { before, ..plan.clone() };
        Sidecar::start(&plan.configuration(self.service.port)).await
    }

    /// Two of the same kind.
    async fn pair(&self, plan: &Plan) -> (Sidecar, Sidecar) {
        tokio::join!(self.sidecar(plan), self.sidecar(plan))
    }

    /// A client that works until the ledger of its job is so.
    async fn works(&self, ready: Ready, who: Who, job: &Job, over: impl Fn(&Ledger) -> bool) -> Client {
        let (stop, stopped) = oneshot::channel();
        let story = async {
            self.service.until(job, over).await;
            stop.send(()).expect("the client still runs");
        };
        self.works_during(ready, who, stopped, story).await.0
    }

    /// A client that works until it is told to stop, and what happens meanwhile.
    async fn works_during<T>(
        &self,
        ready: Ready,
        who: Who,
        stopped: oneshot::Receiver<()>,
        story: impl Future<Output = T>,
    ) -> (Client, T) {
        let scenario = Scenario { seconds: 80.0, settle: 2.0, ..Scenario::new(Kind::Ws, vec![who]) };
        let (mut report, told) = tokio::join!(ready.run_until(scenario, stopped), story);
        (report.clients.remove(0), told)
    }

    /// The ledger of a job that all of its clients have left: each was served to its own end.
    async fn left(&self, job: &Job, clients: &[&Client]) -> Ledger {
        let ledger = self.service.until(job, |l| l.clients.values().all(|seen| seen.open() == 0)).await;
        for client in clients {
            client.assert_untouched();
            let seen = ledger.client(&client.name);
            assert_eq!((&seen.work, seen.refused.len()), (&Work::all(client.sent), 0), "{ledger:#?}");
        }
        assert_eq!(ledger.expired(), 0, "{ledger:#?}");
        ledger
    }

    /// No client was told that its token had ended; what the sidecars said.
    async fn stop<const N: usize>(self, sidecars: [Sidecar; N]) -> String {
        let mut logs = String::new();
        for sidecar in sidecars {
            logs += &sidecar.stop().await;
        }
        self.service.stop().await;
        logs
    }
}

/// Has the client a connection with this token, and been heard?
fn moved_to(ledger: &Ledger, name: &str, token: usize) -> bool {
    ledger.clients.get(name).is_some_and(|seen| seen.tokens().contains(&token) && seen.work.received > 0)
}

/// Waits until each of these clients, of jobs of their own, has a connection with this token.
async fn all_moved_to(service: &JobService, jobs: [(&Job, &str); 2], token: usize) {
    for (job, name) in jobs {
        service.until(job, |ledger| moved_to(ledger, name, token)).await;
    }
}

/// A client that is turned away: it was told so, and the service heard nothing of it.
async fn assert_turned_away(rig: &Rig, ready: Ready, sidecar: &Sidecar, job: &Job) {
    let before = rig.service.ledger(job).await;
    let who = vec![job.client(sidecar.port, BACK)];
    let client = ready.run(Scenario { seconds: 1.0, ..Scenario::new(Kind::Ws, who) }).await.clients.remove(0);
    let told: Vec<_> = client.closes.iter().map(|close| (close.code, close.reason.as_str())).collect();
    assert_eq!((told, client.open_at_end), (vec![(1008, "Token expired")], false), "{client:#?}");
    let after = rig.service.ledger(job).await;
    assert!(!after.clients.contains_key(BACK), "it was dialled: {after:#?}");
    assert_eq!(after.rotations(), before.rotations(), "{after:#?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages and redis-server: run by tests/all"]
async fn a_client_that_another_sidecar_renewed_is_served_within_grace_on_the_new_token() {
    let plan = short();
    let rig = Rig::set(plan.options).await;
    let ((a, b), first, second) = tokio::join!(rig.pair(&plan), Ready::start(), Ready::start());
    let job = rig.service.job().await;
    let gone = rig.works(first, job.client(a.port, ALICE), &job, |ledger| moved_to(ledger, ALICE, 1)).await;
    let back = rig.works(second, job.client(b.port, BACK), &job, |ledger| moved_to(ledger, BACK, 2)).await;
    let ledger = rig.left(&job, &[&gone, &back]).await;
    let tokens = [ALICE, BACK].map(|name| ledger.client(name).tokens());
    assert_eq!(tokens, [[0, 1], [1, 2]], "it goes on where the other left off: {ledger:#?}");
    assert_eq!(ledger.rotations(), 2);
    rig.stop([a, b]).await;
}

/// The service would take the token: only the sidecars' own grace is over.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages and redis-server: run by tests/all"]
async fn a_client_that_another_sidecar_renewed_is_turned_away_after_grace() {
    let options = options(4000, 1500, 20_000);
    let plan = Plan { options, grace: Duration::from_millis(700), ..Plan::default() };
    let rig = Rig::set(plan.options).await;
    let ((a, b), first, second) = tokio::join!(rig.pair(&plan), Ready::start(), Ready::start());
    let job = rig.service.job().await;
    let gone = rig.works(first, job.client(a.port, ALICE), &job, |ledger| moved_to(ledger, ALICE, 1)).await;
    let ledger = rig.left(&job, &[&gone]).await;
    assert_eq!(ledger.rotations(), 1);
    // It began when the new token came, which was before anybody was moved to it.
    tokio::time::sleep(plan.grace + MOMENT).await;
    assert_turned_away(&rig, second, &b, &job).await;
    rig.stop([a, b]).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages and redis-server: run by tests/all"]
async fn two_sessions_of_one_client_at_two_sidecars_are_renewed_by_one_request_each_time() {
    let plan = short();
    let rig = Rig::set(plan.options).await;
    let ((a, b), first, second) = tokio::join!(rig.pair(&plan), Ready::start(), Ready::start());
    let monitor = Monitor::of(&rig.redis).await;
    let job = rig.service.job().await;
    let over = |ledger: &Ledger| [ALICE, BOB].iter().all(|name| moved_to(ledger, name, 3));
    let (one, two) = tokio::join!(
        rig.works(first, job.client(a.port, ALICE), &job, over),
        rig.works(second, job.client(b.port, BOB), &job, over),
    );
    let ledger = rig.left(&job, &[&one, &two]).await;
    let rotations = ledger.rotations();
    for name in [ALICE, BOB] {
        let tokens = ledger.client(name).tokens();
        let each: Vec<_> = (0..tokens.len()).collect();
        assert!(tokens == each && tokens.len() > 3 && rotations >= 3, "{ledger:#?}");
    }
    let spans = written_under_lease(&monitor.lines());
    assert!(spans.len() >= 3 && spans.iter().all(|written| *written), "{spans:?}: {:#?}", monitor.lines());
    drop(monitor);
    let log = rig.stop([a, b]).await;
    let refreshed = log.matches("\"token refreshed\"").count();
    assert!(refreshed <= rotations && log.matches("\"token taken over\"").count() >= 3, "{log}");
}

/// For each token that was renewed: was what took its place written down before the first lease was given back?
fn written_under_lease(lines: &[String]) -> Vec<bool> {
    let mut spans: Vec<(String, bool, bool)> = Vec::new();
    for line in lines.iter().filter(|line| line.contains(" lua] ")) {
        let mut words = line.split('"').skip(1).step_by(2);
        let (Some(command), Some(key)) = (words.next(), words.next()) else { continue };
        match command {
            "SET" if key.ends_with(":lease") && spans.iter().all(|(lease, ..)| lease != key) => {
                spans.push((key.to_owned(), true, false));
            }
            "SET" if key.contains(":t:") => {
                spans.iter_mut().filter(|(_, open, _)| *open).for_each(|(.., written)| *written = true);
            }
            "DEL" if key.ends_with(":lease") => {
                spans.iter_mut().filter(|(lease, ..)| lease == key).for_each(|(_, open, _)| *open = false);
            }
            _ => {}
        }
    }
    spans.into_iter().filter(|(_, open, _)| !open).map(|(.., written)| written).collect()
}

/// B's own time comes half a minute later, and the service would have ended its connection before that.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages and redis-server: run by tests/all"]
async fn what_one_sidecar_renewed_early_is_found_by_another_that_is_not_due() {
    let early = Plan { options: options(40_000, 38_000, 30_000), ..short() };
    let early = Plan { margin: Some(Duration::from_secs(36)), ..early };
    let late = Plan { margin: Some(Duration::from_secs(4)), ..early.clone() };
    let rig = Rig::set(early.options).await;
    let (a, b, first, second) =
        tokio::join!(rig.sidecar(&early), rig.sidecar(&late), Ready::start(), Ready::start());
    let job = rig.service.job().await;
    let (stop, stopped) = oneshot::channel();
    let story = async {
        rig.service.until(&job, |ledger| moved_to(ledger, BOB, 0)).await;
        let alice = job.client(a.port, ALICE);
        let alice = rig.works(first, alice, &job, |ledger| moved_to(ledger, ALICE, 1)).await;
        rig.service.until(&job, |ledger| moved_to(ledger, BOB, 1)).await;
        stop.send(()).unwrap();
        alice
    };
    let (bob, alice) = rig.works_during(second, job.client(b.port, BOB), stopped, story).await;
    let ledger = rig.left(&job, &[&alice, &bob]).await;
    assert_eq!((ledger.rotations(), ledger.client(BOB).tokens()), (1, vec![0, 1]), "{ledger:#?}");
    rig.stop([a, b]).await;
}

/// The whole of a token's life passes before a sidecar that has lost its Redis begins anything new with the others.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages and redis-server: run by tests/all"]
async fn while_redis_is_away_tokens_are_renewed_and_what_was_superseded_is_known_when_it_is_back() {
    let plan = Plan { options: options(8000, 5000, 6000), grace: Duration::from_secs(20), ..Plan::default() };
    let mut rig = Rig::set(plan.options).await;
    let (a, b) = rig.pair(&plan).await;
    let (first, second, third) = tokio::join!(Ready::start(), Ready::start(), Ready::start());
    let (ones, twos) = tokio::join!(rig.service.job(), rig.service.job());
    let scenario = |who| Scenario { seconds: 80.0, settle: 2.0, ..Scenario::new(Kind::Ws, vec![who]) };
    let ((stop_one, one_stops), (stop_two, two_stops)) = (oneshot::channel(), oneshot::channel());
    let alice = first.run_until(scenario(ones.client(a.port, ALICE)), one_stops);
    let bob = second.run_until(scenario(twos.client(b.port, BOB)), two_stops);
    let jobs = [(&ones, ALICE), (&twos, BOB)];
    let story = async {
        all_moved_to(&rig.service, jobs, 0).await;
        rig.redis.kill();
        all_moved_to(&rig.service, jobs, 1).await;
        rig.redis.again().await;
        let written = async || rig.redis.ask::<Vec<String>>("KEYS *:t:*").len();
        until("what was superseded is written down", written, |records| *records >= 4).await;
        for sidecar in [&a, &b] {
            until("the store is up", async || sidecar.metric("perennial_store_up").await, |up| *up == 1.0)
                .await;
        }
        // The first token at the other sidecar: it was superseded while neither could say so.
        let back = ones.client(b.port, BACK);
        let back = rig.works(third, back, &ones, |ledger| moved_to(ledger, BACK, 1)).await;
        all_moved_to(&rig.service, jobs, 2).await;
        for stop in [stop_one, stop_two] {
            stop.send(()).unwrap();
        }
        back
    };
    let (mut alice, mut bob, back) = tokio::join!(alice, bob, story);
    let (alice, bob) = (alice.clients.remove(0), bob.clients.remove(0));
    let (ones, twos) = (rig.left(&ones, &[&alice, &back]).await, rig.left(&twos, &[&bob]).await);
    assert_eq!(
        (ones.client(BACK).tokens(), ones.rotations(), twos.rotations()),
        (vec![1], 2, 2),
        "{ones:#?}"
    );
    let log = rig.stop([a, b]).await;
    assert_eq!(log.matches("\"store back\"").count(), 2, "{log}");
}

/// A asks first (its margin is more than B's by what either may be late), and is killed before the service has heard of it: its lease stays. How long B took from then, and
/// how long it would have had to wait for the lease.
#[expect(clippy::disallowed_methods, reason = "a kill and a lease are of real time")]
async fn killed(options: Options, margins: [u64; 2]) -> (Duration, Duration) {
    let rig = Rig::set(options).await;
    let front = Front::before(rig.service.port).await;
    front.now(Doing::Silent);
    let [early, late] = margins.map(|margin| Some(Duration::from_millis(margin)));
    let plan = Plan { options, margin: late, grace: Duration::from_secs(20), ..Plan::default() };
    let doomed = Plan { margin: early, renewed_at: Some(front.port), ..plan.clone() };
    let (a, b, first, second) =
        tokio::join!(rig.sidecar(&doomed), rig.sidecar(&plan), Ready::start(), Ready::start());
    let job = rig.service.job().await;
    let (stop, stopped) = oneshot::channel();
    let (gone, over) = oneshot::channel();
    let alice = rig.works_during(first, job.client(a.port, ALICE), over, async {});
    let story = async {
        let leases = async || rig.redis.ask::<Vec<String>>("KEYS *:lease");
        let lease = until("A asks", leases, |leases| leases.len() == 1).await.remove(0);
        a.signal("KILL");
        let killed = Instant::now();
        let left: u64 = rig.redis.ask(&format!("PTTL {lease}"));
        rig.service.until(&job, |ledger| !ledger.refreshes.is_empty()).await;
        let took = killed.elapsed();
        rig.service.until(&job, |ledger| moved_to(ledger, BOB, 1)).await;
        stop.send(()).unwrap();
        gone.send(()).unwrap();
        (took, Duration::from_millis(left))
    };
    let bob = rig.works_during(second, job.client(b.port, BOB), stopped, story);
    let ((alice, ()), (bob, times)) = tokio::join!(alice, bob);
    assert_eq!(alice.closes[0].code, 1006, "{alice:#?}");
    let ledger = rig.left(&job, &[&bob]).await;
    assert_eq!((ledger.rotations(), ledger.client(BOB).tokens()), (1, vec![0, 1]), "{ledger:#?}");
    rig.stop([b]).await;
    println!("B asked {:?} after the end of A, whose lease had {:?} left", times.0, times.1);
    times
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages and redis-server: run by tests/all"]
async fn who_asks_and_is_killed_is_waited_for_until_its_lease_ends() {
    let (took, left) = killed(options(20_000, 19_000, 15_000), [15_000, 12_000]).await;
    // Redis' clock and ours, and the time between a kill and the look at the lease.
    assert!(took + MOMENT >= left, "B did not wait for the lease: {took:?}, {left:?}");
    assert!(took < Duration::from_secs(10), "{took:?}");
}

/// A live client counts more than that nobody else asks.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages and redis-server: run by tests/all"]
async fn who_asks_and_is_killed_is_not_waited_for_until_the_token_ends() {
    let (took, left) = killed(options(10_000, 9000, 8000), [8000, 4000]).await;
    assert!(took < left, "the token would have lived on: {took:?}, {left:?}");
}
