//! The presets, each with a service and its real client, which has one token for its whole life.
//!
//! A service sends a number each 200 ms. The client has to hear five lifetimes of the token, and what it hears, loses, hears
//! twice and notices is held against what the page of the preset promises.

mod guide;
mod rig;
mod services;

use rig::{Client, Line, Service};

use crate::sidecar::Sidecar;

/// A preset, and what holds for it.
#[derive(Clone, Copy)]
struct Case {
    preset: &'static str,
    /// A dialect of the preset's page in its place, and what is different in the rig.
    variant: &'static str,
    /// More of the route.
    route: &'static str,
    /// Plain requests go to the service, too.
    http: bool,
    /// What the client sees of its beginning.
    begins: &'static [&'static str],
    /// What it opens besides with the token that it has.
    opens: bool,
}

impl Case {
    const fn new(preset: &'static str, begins: &'static [&'static str]) -> Self {
        Self { preset, variant: "", route: "", http: false, begins, opens: false }
    }

    /// Its name, and its tables if it is not the preset.
    fn dialect(&self) -> (&'static str, String) {
        if self.variant.is_empty() {
            return (self.preset, String::new());
        }
        let block = guide::block_of(self.preset, self.variant);
        let tables = block.find("[dialect.").map(|at| block[at..].to_owned());
        (self.variant, tables.unwrap_or_default())
    }
}

/// Numbers in five lifetimes of 4 s.
const FIVE_LIVES: usize = 100;

/// What a client has heard.
#[derive(Debug, PartialEq)]
struct Heard {
    missed: u64,
    twice: u64,
    /// What it noticed after its beginning.
    noticed: Vec<String>,
    unanswered: u64,
}

impl Heard {
    fn of(case: &Case, lines: &[Line]) -> Self {
        let (mut missed, mut twice, mut last, mut unanswered) = (0, 0, 0, 0);
        let mut noticed = Vec::new();
        for line in lines {
            match line {
                Line::Tick(nth) => {
                    missed += if last > 0 { nth.saturating_sub(last + 1) } else { 0 };
                    twice += u64::from(*nth <= last);
                    last = last.max(*nth);
                }
                Line::Event(event) if !case.begins.contains(&&**event) => noticed.push(event.clone()),
                Line::Unanswered { .. } => unanswered += 1,
                Line::Event(_) | Line::Also(_) | Line::Opened(_) | Line::Said(_) | Line::Answered(_) => {}
            }
        }
        Self { missed, twice, noticed, unanswered }
    }
}

async fn started(case: &Case) -> (Service, Sidecar, Client) {
    let service = Service::start(case.preset, case.variant).await;
    let http = if case.http {
        format!("[route.http]\nupstream = \"http://127.0.0.1:{}\"\n", service.port)
    } else {
        String::new()
    };
    let (dialect, tables) = case.dialect();
    let sidecar = Sidecar::start(&format!(
        "[[route]]\nupstream = \"ws://127.0.0.1:{}\"\ndialect = \"{}\"\n{}\n{http}[route.token]\nsource = \"http\"\n\
         url = \"{}\"\nrefresh_before = \"1500ms\"\n{tables}",
        service.port,
        dialect,
        case.route,
        service.token_url()
    ))
    .await;
    let client = Client::start((case.preset, case.variant), sidecar.port, &service.token().await);
    (service, sidecar, client)
}

/// Five lifetimes, in which nothing goes wrong.
async fn five_lives(case: Case) -> (Heard, rig::Ledger, String) {
    let (service, sidecar, client) = started(&case).await;
    client.until("a hundred numbers", |client| client.ticks().len() >= FIVE_LIVES).await;
    if case.opens {
        client.until("that it opened more", |client| client.lines().contains(&Line::Opened(4))).await;
    }
    let lines = client.stop().await;
    let (ledger, log) = (service.ledger().await, sidecar.stop().await);
    let heard = Heard::of(&case, &lines);
    println!("{}: {} numbers, {heard:?}, {ledger:?}", case.preset, FIVE_LIVES);
    (heard, ledger, log)
}

/// The service loses all connections twice.
async fn killed_twice(case: Case) -> (Heard, rig::Ledger, String) {
    let (service, sidecar, client) = started(&case).await;
    for _ in 0..2 {
        let before = client.ticks().len();
        client.until("more numbers", |client| client.ticks().len() >= before + 15).await;
        service.kill().await;
    }
    let before = client.ticks().len();
    client.until("more numbers", |client| client.ticks().len() >= before + 15).await;
    let lines = client.stop().await;
    let (ledger, log) = (service.ledger().await, sidecar.stop().await);
    let heard = Heard::of(&case, &lines);
    println!("{}: killed twice, {heard:?}, {ledger:?}", case.preset);
    (heard, ledger, log)
}

/// By the service's own account nothing was lost or repeated.
fn in_order(ledger: &rig::Ledger) {
    let all: Vec<u64> = (1..=ledger.said.len() as u64).collect();
    assert_eq!(ledger.said, all);
}

/// The client notices nothing, in five lifetimes of its token.
async fn is_unseen(case: Case) {
    let (heard, ledger, log) = five_lives(case).await;
    assert_eq!(heard, Heard { missed: 0, twice: 0, noticed: Vec::new(), unanswered: 0 }, "{log}");
    in_order(&ledger);
    assert_eq!((ledger.refused, ledger.expired), (0, 0), "{log}");
}

/// It notices nothing of two lost connections either, but for what was said meanwhile; and then it hears on.
async fn is_unseen_when_killed(case: Case, most_missed: u64) {
    let (heard, _, log) = killed_twice(case).await;
    assert_eq!((heard.twice, &heard.noticed), (0, &Vec::new()), "{log}");
    assert!(heard.missed <= most_missed, "{heard:?} {log}");
}

const GRAPHQL: Case = Case::new("graphql-transport-ws", &["connected"]);
const SOCKETIO: Case = Case::new("socketio", &["connected"]);
const SUPABASE: Case =
    Case::new("supabase", &["room SUBSCRIBED", "rows SUBSCRIBED", "present: nobody", "present: me"]);

#[tokio::test]
#[ignore = "needs npm packages: npm ci --prefix tests/dialects"]
async fn a_graphql_client_sees_nothing_of_its_token() {
    is_unseen(GRAPHQL).await;
}

#[tokio::test]
#[ignore = "needs npm packages: npm ci --prefix tests/dialects"]
async fn a_socketio_client_sees_nothing_of_its_token() {
    is_unseen(SOCKETIO).await;
}

#[tokio::test]
#[ignore = "needs npm packages: npm ci --prefix tests/dialects"]
async fn a_supabase_client_sees_nothing_of_its_token() {
    is_unseen(Case { http: true, ..SUPABASE }).await;
}
