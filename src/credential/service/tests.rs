//! Credentials over sources that need no network, in paused time.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::{
    clock,
    config::{AblyKeySource, Secret, SourceConfig},
    credential::source::Source,
    net::Egress,
};

mod files;
mod hostile;

#[derive(Default)]
struct Count {
    ok: AtomicU64,
    failed: AtomicU64,
    expires: AtomicU64,
}

impl Observer for Count {
    fn refreshed(&self, fetch: &Fetch<'_>) {
        assert_eq!(fetch.generation.is_some(), fetch.error.is_none(), "{fetch:?}");
        let count = match fetch.outcome {
            Outcome::Ok => &self.ok,
            Outcome::Unchanged => return,
            Outcome::Failed | Outcome::Rejected => &self.failed,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    fn current(&self, token: &Token) {
        let expires_wall = token.expires_wall;
        self.expires.store(expires_wall.unwrap_or_default().as_secs(), Ordering::Relaxed);
    }
}

/// A credential with what keeps it alive.
struct Rig {
    credential: Arc<Credential>,
    count: Arc<Count>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Rig {
    fn new(source: &SourceConfig) -> Self {
        Self::with(source, |_| {})
    }

    fn with(source: &SourceConfig, change: impl FnOnce(&mut RefreshPolicy)) -> Self {
        let (tasks, stop, count) = (TaskTracker::new(), CancellationToken::new(), Arc::new(Count::default()));
        let mut policy = RefreshPolicy {
            refresh_before: None,
            check_every: Duration::from_secs(900),
            lifetime: None,
            once: false,
            timeout: Duration::from_secs(10),
        };
        change(&mut policy);
        let spec = Spec {
            route: "ably".to_owned(),
            identity: "".into(),
            begin: Begin::Fetch,
            supply: Supply::Source(Arc::new(Source::new(source, &Egress::default()).unwrap())),
            policy,
            seed: 1,
            observer: count.clone(),
            journal: None,
        };
        Self { credential: Credential::spawn(spec, &tasks, stop.clone()), count, tasks, stop }
    }

    fn minting(ttl: u64) -> Self {
        Self::new(&SourceConfig::AblyKey(Box::new(AblyKeySource {
            key: Secret::literal("app.key:secret"),
            ttl: Duration::from_secs(ttl),
            capability: "{}".to_owned(),
            client_id: Some(format!("client of {ttl}")),
        })))
    }

    async fn token(&self) -> Arc<Token> {
        self.credential.usable(within(60)).await.expect("a token")
    }

    /// Waits until the last fetch is known to have failed so, or not to have failed.
    async fn said(&self, error: Option<&str>) {
        let fits = |said: Option<&str>| match (said, error) {
            (Some(said), Some(error)) => said.contains(error),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        let deadline = within(30);
        loop {
            let status = self.credential.status();
            if fits(status.last_error.as_deref()) {
                return;
            }
            assert!(clock::now() < deadline, "{error:?} was not said: {status:?}");
            time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn end(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

fn within(seconds: u64) -> Instant {
    clock::now() + Duration::from_secs(seconds)
}

#[tokio::test(start_paused = true)]
async fn a_token_is_there_and_is_refreshed_before_its_end() {
    let rig = Rig::minting(3600);
    assert_eq!(rig.credential.current().map(|token| token.generation), None);
    let first = rig.token().await;
    assert_eq!(first.generation, Generation(1));
    let asked = || rig.count.ok.load(Ordering::Relaxed) + rig.count.failed.load(Ordering::Relaxed);
    time::sleep(Duration::from_secs(2300)).await;
    assert_eq!(asked(), 1, "not yet due");
    // The wall clock is not paused, so what is minted may be the same token, and not count as a new one.
    time::sleep(Duration::from_secs(400)).await;
    assert!(asked() > 1, "due three quarters through, at the latest");
    assert!(rig.count.expires.load(Ordering::Relaxed) > 0);
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_let_go_at_the_deadline() {
    let rig = Rig::new(&SourceConfig::Static { token: Secret::literal("two words") });
    let asked = clock::now();
    assert!(rig.credential.usable(within(5)).await.is_none());
    assert_eq!(clock::now() - asked, Duration::from_secs(5));
    let status = rig.credential.status();
    assert!(status.failures > 0 && status.next_fetch.is_some());
    assert!(status.last_error.as_ref().is_some_and(|error| error.contains("white space")));
    assert!(rig.count.failed.load(Ordering::Relaxed) > 0);
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_file_that_changes_is_the_next_token_and_hooks_are_called() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    std::fs::write(&path, "one").unwrap();
    let rig = Rig::new(&SourceConfig::File { path: path.clone(), answer: Default::default() });
    assert_eq!(rig.token().await.expose(), "one");
    let heard = Arc::new(AtomicU64::new(0));
    let hook = heard.clone();
    let subscription = rig.credential.subscribe(Box::new(move |news| {
        if let News::Token(token) = news {
            hook.store(token.generation.0, Ordering::Relaxed);
        }
    }));
    std::fs::write(&path, "two").unwrap();
    let second = rig.credential.newer(Generation(1), within(60)).await.expect("the new token");
    assert_eq!((second.expose(), heard.load(Ordering::Relaxed)), ("two", 2));
    drop(subscription);
    std::fs::write(&path, "three").unwrap();
    rig.credential.secret_changed();
    let third = rig.credential.newer(Generation(2), within(60)).await.expect("the new token");
    assert_eq!((third.expose(), heard.load(Ordering::Relaxed)), ("three", 2), "no longer called");
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn many_that_reject_one_token_cause_one_fetch() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    std::fs::write(&path, "one").unwrap();
    let rig = Rig::new(&SourceConfig::File { path: path.clone(), answer: Default::default() });
    rig.token().await;
    std::fs::write(&path, "two").unwrap();
    for _ in 0..1000 {
        rig.credential.demand(Some(Generation(1)), Trigger::Expiry);
    }
    rig.credential.newer(Generation(1), within(60)).await.expect("the new token");
    rig.credential.demand(Some(Generation(1)), Trigger::Expiry);
    assert_eq!(rig.count.ok.load(Ordering::Relaxed), 2);
    rig.end().await;
}

/// Collects what is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn the_log_tells_everything_but_the_token() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    // Where there is one subscriber only, a line that is first reached on another test's thread asks that
    // thread, which has none, and is off for good. With a second one everybody is asked.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    std::fs::write(&path, "CANARY").unwrap();
    let rig = Rig::new(&SourceConfig::File { path: path.clone(), answer: Default::default() });
    rig.token().await;
    rig.credential.demand(Some(Generation(1)), Trigger::Hint);
    assert!(rig.credential.newer(Generation(1), within(2)).await.is_none());
    let shown = format!("{:?} {:?}", rig.credential, rig.credential.status());
    rig.end().await;
    let said = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    for part in [
        "token refreshed",
        "generation=1",
        "trigger=\"start\"",
        "duration_ms=",
        "token refresh failed",
        "trigger=\"hint\"",
        "rejected",
        "retry_in_ms=",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
    assert!(!said.contains("CANARY") && !shown.contains("CANARY"), "{said}{shown}");
}

#[tokio::test(start_paused = true)]
async fn a_stopped_credential_leaves_nothing_behind() {
    let rig = Rig::minting(60);
    rig.token().await;
    let credential = rig.credential.clone();
    rig.end().await;
    assert_eq!(Arc::strong_count(&credential), 1, "the task is gone");
    assert!(credential.current().is_some(), "and its last token can still be read");
}
