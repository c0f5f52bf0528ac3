//! Chains against a server that takes no refresh token twice: what it was asked with tells everything.
//!
//! Each of these bugs was planted, one at a time, and was seen to be caught:
//! the token is handed out before its grant is written · the configured refresh token is used again · the request ends
//! with who waits for it · the mark that the source is asked is not written · or never cleared · a loss is not spoken of ·
//! what is unwritten is forgotten · a token for another scope is handed out · or a dead one · or the same a second time ·
//! what is unwritten is used though the current token lives · or not used though it has ended · a new secret is not seen ·
//! an answer that nobody waited for counts as handed out.

use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    config::{Config, StateConfig},
    credential::{
        source::{Fault, Played},
        token::{Generation, Token},
    },
    net::Egress,
};

const SECOND: Duration = Duration::from_secs(1);

/// A sidecar's part: its chain on a store.
struct Rig {
    server: Played,
    store: Arc<Store>,
    chain: Arc<Chain>,
    tasks: TaskTracker,
}

impl Rig {
    fn new(server: &Played, store: Arc<Store>) -> Self {
        let tasks = TaskTracker::new();
        let links = Links {
            scope: "route".to_owned(),
            source: Arc::new(Source::Played(server.clone())),
            store: Arc::clone(&store),
            lifetime: None,
            tasks: tasks.clone(),
        };
        Self { server: server.clone(), store, chain: Chain::new(links), tasks }
    }

    /// Another process on the same store.
    fn again(&self) -> Self {
        Self::new(&self.server, Arc::clone(&self.store))
    }

    /// One fetch: the token, or the kind of failure and what is said.
    async fn fetch(&self) -> Result<String, (FailureKind, String)> {
        self.fetch_while(None).await
    }

    /// The same, so much later by the wall clock.
    async fn fetch_after(&self, time: Duration) -> Result<String, (FailureKind, String)> {
        let now = Now::read();
        let later = Now { wall: now.wall + time, ..now };
        let answer = self.chain.fetch(Asking::default(), later, now.mono + SECOND * 10).await;
        answer.map(|issued| issued.text.as_str().to_owned()).map_err(|error| (error.kind, error.reason))
    }

    async fn fetch_while(&self, current: Option<Token>) -> Result<String, (FailureKind, String)> {
        let asking = Asking { current: current.map(Arc::new), ..Asking::default() };
        let now = Now::read();
        let answer = self.chain.fetch(asking, now, now.mono + SECOND * 10).await;
        answer.map(|issued| issued.text.as_str().to_owned()).map_err(|error| (error.kind, error.reason))
    }

    /// What the store has: the number, and the refresh token.
    async fn stored(&self) -> (u64, String) {
        let lineage = self.store.lineage("", &self.server_lineage());
        let grant = self.store.grant(&lineage).await.unwrap().unwrap_or_default();
        (grant.number, grant.refresh_token.map(|token| token.to_string()).unwrap_or_default())
    }

    fn server_lineage(&self) -> Vec<u8> {
        self.chain.source().lineage().unwrap()
    }
}

fn memory() -> Arc<Store> {
    Arc::new(
        Store::open(&StateConfig::Memory, 1 << 20, &TaskTracker::new(), &CancellationToken::new()).unwrap(),
    )
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn current(life: Duration) -> Token {
    Token::new("a0", Generation(1), Now::read(), Some(life))
}

#[tokio::test(start_paused = true)]
async fn each_request_goes_on_from_the_last_answer() {
    let rig = Rig::new(&Played::new(), memory());
    for number in 1..=5 {
        assert_eq!(rig.fetch().await.unwrap(), format!("a{number}"));
        assert_eq!(rig.stored().await, (number, format!("r{number}")), "durable before it is used");
    }
    assert_eq!(rig.server.requests(), ["r0", "r1", "r2", "r3", "r4"]);
}

/// The configuration may name a file that `perennial login` is yet to write.
#[tokio::test(start_paused = true)]
async fn a_refresh_token_that_is_not_there_yet_is_waited_for_with_advice() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("refresh");
    let text = format!(
        "[[route]]\nupstream = \"wss://h\"\ndialect = \"handshake\"\nhandshake.query = \"t\"\n\
         [route.token]\nsource = \"oauth2\"\ntoken_url = \"http://127.0.0.1:9\"\nclient_id = \"c\"\n\
         grant = \"refresh_token\"\nrefresh_token = {{ file = \"{}\" }}",
        path.display()
    );
    let config = Config::parse(&text, "t").unwrap_or_else(|error| panic!("{error}"));
    let source = Source::new(&config.routes[0].token.as_ref().unwrap().source, &Egress::default()).unwrap();
    let tasks = TaskTracker::new();
    let links =
        Links { scope: "r".to_owned(), source: Arc::new(source), store: memory(), lifetime: None, tasks };
    let chain = Chain::new(links);
    let fetch = async || {
        let now = Now::read();
        chain.fetch(Asking::default(), now, now.mono + SECOND * 10).await.unwrap_err()
    };
    let error = fetch().await;
    let said = format!("{} is not there yet; run perennial login r", path.display());
    assert_eq!((error.kind, error.reason), (FailureKind::Passing, said));
    std::fs::write(&path, "first").unwrap();
    tokio::time::advance(SECOND).await;
    assert_eq!(fetch().await.kind, FailureKind::Unreached, "it is shown to the server, who is away");
}

#[tokio::test(start_paused = true)]
async fn the_next_process_is_served_without_a_request_and_goes_on_from_there() {
    let rig = Rig::new(&Played::new(), memory());
    rig.fetch().await.unwrap();
    rig.fetch().await.unwrap();
    let next = rig.again();
    assert_eq!(next.fetch().await.unwrap(), "a2", "that token lives");
    assert_eq!(next.fetch().await.unwrap(), "a3", "asked again because it will not do");
    assert_eq!(rig.server.requests(), ["r0", "r1", "r2"]);
    // One whose token has ended is not handed out.
    assert_eq!(next.again().fetch_after(SECOND * 601).await.unwrap(), "a4");
}

#[tokio::test(start_paused = true)]
async fn what_was_asked_for_otherwise_is_not_taken_but_its_refresh_token_is() {
    let rig = Rig::new(&Played::new(), memory());
    rig.fetch().await.unwrap();
    rig.server.ask_for("+admin");
    assert_eq!(rig.again().fetch().await.unwrap(), "a2+admin");
    assert_eq!(rig.server.requests(), ["r0", "r1"]);
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_made_up_for_where_the_server_allows_it() {
    let rig = Rig::new(&Played::new().with_grace(SECOND * 5), memory());
    rig.fetch().await.unwrap();
    rig.server.fault(Fault::AnswerLost);
    assert_eq!(rig.fetch().await.unwrap_err().0, FailureKind::Lost);
    assert_eq!(rig.fetch().await.unwrap(), "a3");
    assert_eq!(rig.server.requests(), ["r0", "r1", "r1"]);
    assert_eq!(rig.stored().await, (2, "r3".to_owned()));
}

/// The process that asked is killed after the server has answered, and started again.
#[tokio::test(start_paused = true)]
async fn the_next_process_asks_again_at_once_where_an_answer_was_lost() {
    let rig = Rig::new(&Played::new().with_grace(SECOND * 10), memory());
    rig.fetch().await.unwrap();
    rig.server.fault(Fault::AnswerLost);
    rig.fetch().await.unwrap_err();
    let next = rig.again();
    let now = Now::read();
    let handed = next.chain.fetch(Asking::default(), now, now.mono + SECOND * 10).await.unwrap();
    assert_eq!(handed.text, "a1", "it lives, and clients are served with it");
    assert!(handed.provenance.in_doubt, "but it is not to be rested on");
    assert_eq!(next.fetch().await.unwrap(), "a3");
    assert_eq!((rig.server.requests(), rig.server.is_revoked()), (texts(&["r0", "r1", "r1"]), false));
    // And the doubt is over; how old the token is, is known.
    let (third, later) = (rig.again(), Now { wall: now.wall + SECOND * 22, ..now });
    let handed = third.chain.fetch(Asking::default(), later, now.mono + SECOND * 10).await.unwrap();
    let Provenance { taken_over, age, in_doubt, .. } = handed.provenance;
    assert!(taken_over && !in_doubt && age >= SECOND * 21, "{:?}", handed.provenance);
}

#[tokio::test(start_paused = true)]
async fn a_refresh_token_of_a_useless_answer_is_kept() {
    let rig = Rig::new(&Played::new(), memory());
    rig.fetch().await.unwrap();
    for number in 2..5 {
        rig.server.fault(Fault::Useless);
        assert_eq!(rig.fetch().await.unwrap_err().0, FailureKind::Passing);
        assert_eq!(rig.stored().await, (number, format!("r{number}")));
    }
    // Another process goes on from there, too.
    assert_eq!(rig.again().fetch().await.unwrap(), "a5");
    assert_eq!(rig.server.requests(), ["r0", "r1", "r2", "r3", "r4"]);
    assert!(!rig.server.is_revoked());
}

#[tokio::test(start_paused = true)]
async fn where_it_does_not_the_loss_is_said_and_a_new_secret_begins_a_new_chain() {
    let rig = Rig::new(&Played::new(), memory());
    rig.fetch().await.unwrap();
    rig.server.fault(Fault::AnswerLost);
    rig.fetch().await.unwrap_err();
    let (kind, reason) = rig.fetch().await.unwrap_err();
    assert_eq!(kind, FailureKind::Terminal);
    assert!(reason.contains("invalid_grant") && reason.contains("an answer was lost before"), "{reason}");
    assert!(rig.server.is_revoked());
    rig.server.answer_from(100);
    assert_eq!(rig.fetch().await.unwrap(), "a101");
    assert_eq!(rig.server.requests(), ["r0", "r1", "r1", "r100"]);
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_is_certain_leaves_no_doubt() {
    let rig = Rig::new(&Played::new(), memory());
    rig.fetch().await.unwrap();
    rig.server.fault(Fault::Busy);
    assert_eq!(rig.fetch().await.unwrap_err().0, FailureKind::Passing);
    let lineage = rig.store.lineage("", &rig.server_lineage());
    assert_eq!(rig.store.grant(&lineage).await.unwrap().unwrap().asked, None);
    rig.server.fault(Fault::RequestLost);
    rig.fetch().await.unwrap_err();
    assert!(rig.store.grant(&lineage).await.unwrap().unwrap().asked.is_some(), "the next one is to know");
    // And one that may mend itself says nothing about an earlier loss.
    rig.server.fault(Fault::Busy);
    rig.fetch().await.unwrap_err();
    assert!(rig.store.grant(&lineage).await.unwrap().unwrap().asked.is_some());
    assert_eq!(rig.fetch().await.unwrap(), "a2");
}

#[tokio::test(start_paused = true)]
async fn what_was_begun_is_finished_if_its_caller_stops_waiting() {
    let rig = Rig::new(&Played::new(), memory());
    rig.server.fault(Fault::Held);
    let fetch = {
        let (chain, now) = (Arc::clone(&rig.chain), Now::read());
        rig.tasks.spawn(async move { chain.fetch(Asking::default(), now, now.mono + SECOND).await })
    };
    rig.server.held().await;
    fetch.abort();
    assert!(fetch.await.unwrap_err().is_cancelled());
    rig.server.go();
    assert_eq!(rig.fetch().await.unwrap(), "a1", "the answer that nobody waited for");
    assert_eq!(rig.server.requests(), ["r0"]);
    rig.tasks.close();
    rig.tasks.wait().await;
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_written_down_is_not_used_and_not_asked_for_again() {
    let rig = Rig::new(&Played::new(), memory());
    rig.fetch().await.unwrap();
    rig.server.fault(Fault::Held);
    let fetch = rig.fetch_while(Some(current(SECOND * 60)));
    let breaking = async {
        rig.server.held().await;
        rig.store.refuse(true);
        rig.server.go();
    };
    let (answer, ()) = tokio::join!(fetch, breaking);
    let (kind, reason) = answer.unwrap_err();
    assert_eq!(kind, FailureKind::Passing);
    assert!(reason.contains("cannot be written down"), "{reason}");
    assert_eq!(rig.stored().await.0, 1);
    assert_eq!(rig.fetch_while(Some(current(SECOND * 60))).await.unwrap_err().0, FailureKind::Passing);
    rig.store.refuse(false);
    assert_eq!(rig.fetch_while(Some(current(SECOND * 60))).await.unwrap(), "a2");
    assert_eq!(rig.stored().await, (2, "r2".to_owned()));
    assert_eq!(rig.server.requests(), ["r0", "r1"], "asked once");
}

#[tokio::test(start_paused = true)]
async fn it_is_used_all_the_same_where_the_current_token_has_ended() {
    let rig = Rig::new(&Played::new(), memory());
    rig.fetch().await.unwrap();
    rig.server.fault(Fault::Held);
    let fetch = rig.fetch_while(Some(current(Duration::ZERO)));
    let breaking = async {
        rig.server.held().await;
        rig.store.refuse(true);
        rig.server.go();
    };
    let (answer, ()) = tokio::join!(fetch, breaking);
    assert_eq!(answer.unwrap(), "a2", "clients wait");
    rig.store.refuse(false);
    assert_eq!(rig.fetch().await.unwrap(), "a3");
    assert_eq!(rig.server.requests(), ["r0", "r1", "r2"], "from the one that was kept here meanwhile");
    assert_eq!(rig.stored().await, (3, "r3".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn without_the_store_a_rotating_source_is_not_asked() {
    let rig = Rig::new(&Played::new(), memory());
    rig.fetch().await.unwrap();
    rig.store.refuse(true);
    let (kind, reason) = rig.fetch().await.unwrap_err();
    assert_eq!(kind, FailureKind::Passing);
    assert!(reason.starts_with("the refresh token is not used without the store"), "{reason}");
    assert_eq!(rig.server.requests(), ["r0"]);
}

#[tokio::test(start_paused = true)]
async fn two_routes_on_one_refresh_token_take_turns() {
    let one = Rig::new(&Played::new(), memory());
    let two = one.again();
    one.server.fault(Fault::Held);
    let asking = async {
        one.server.held().await;
        let (kind, _) = two.fetch().await.unwrap_err();
        assert_eq!(kind, FailureKind::Elsewhere);
        one.server.go();
    };
    let (answer, ()) = tokio::join!(one.fetch(), asking);
    assert_eq!(answer.unwrap(), "a1");
    assert_eq!(two.fetch().await.unwrap(), "a1");
    assert_eq!(two.fetch().await.unwrap(), "a2");
    assert_eq!(one.fetch().await.unwrap(), "a2");
    assert_eq!(one.server.requests(), ["r0", "r1"]);
}
