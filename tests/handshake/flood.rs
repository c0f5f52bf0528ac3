//! Made-up tokens, as many as anybody likes: they cost what a refused handshake costs, and nothing stays.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::AsyncWriteExt;

use crate::{
    handshake::stage::{LATER, Plan, Stage, choose, up},
    support::{
        beside,
        http::{ask, handshake},
        resident, until,
        ws::{CLOSE, PING, PONG, TEXT, Wire, bare, close, masked},
    },
};

/// `PERENNIAL_MADE_UP=1000000` for the whole of it.
fn how_many() -> usize {
    std::env::var("PERENNIAL_MADE_UP").ok().and_then(|text| text.parse().ok()).unwrap_or(20_000)
}

/// Clients at once.
const AT_ONCE: usize = 32;
/// What the sidecar may grow by: buffers of the handshakes under way, and no more.
const GROWTH: usize = 24 << 20;

/// Made-up tokens, one after another, until enough have been refused.
async fn make_up(port: u16, nth: &AtomicUsize, most: usize) {
    loop {
        let nth = nth.fetch_add(1, Ordering::Relaxed);
        if nth >= most {
            return;
        }
        let target = format!("/ws?jobId=7&token=made-up-{nth}-{nth:032}");
        let (answer, _) = ask(port, handshake(&target, "")).await;
        assert_eq!(answer.status(), 401, "{answer:?}");
    }
}

/// An honest connection at the service: every message comes back, and a Ping is answered.
async fn serve(mut theirs: Wire) {
    while let Some(frame) = theirs.frame().await {
        let answer = if frame.opcode() == PING { PONG } else { frame.opcode() };
        if theirs.try_send(&bare(answer, &frame.payload)).await.is_err() {
            return;
        }
    }
}

async fn echoes(client: &mut Wire, text: &str) {
    client.send(masked(TEXT, text.as_bytes())).await;
    assert_eq!(client.message().await.text(), text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn made_up_tokens_cost_an_honest_client_nothing() {
    let before = "[limits]\nhistory = \"64KiB\"\nsessions = 100\n";
    let plan = Plan { token: LATER, client: "grace = \"1h\"\nrevoke_for = \"2h\"", ..Plan::default() };
    let stage = Stage::set_in(before, plan).await;
    // An honest client with a history: T0 was superseded by T1, which is in use.
    let (mut client, mut theirs) = stage.client("T0").await;
    theirs.send(bare(CLOSE, &close(4401, ""))).await;
    stage.refresh("T0", "T1").await;
    let mut theirs = stage.replaced("T1").await;
    up(&mut client, &mut theirs, "before").await;
    let Stage { service, endpoint, sidecar } = stage;
    beside(serve(theirs));
    let refusing = beside(async move {
        loop {
            let asked = service.asked().await;
            if asked.head.target().ends_with("token=T1") {
                beside(serve(choose(asked, "T1").await));
                continue;
            }
            let mut wire = asked.wire;
            let _ =
                wire.io.write_all(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
            let _ = wire.io.shutdown().await;
        }
    });
    let (port, most, nth) = (sidecar.port, how_many(), AtomicUsize::new(0));
    // What a process of this kind takes anyhow is there after the first thousand.
    make_up(port, &nth, 1000).await;
    nth.store(1000, Ordering::Relaxed);
    let calm = resident(sidecar.id());
    let began = perennial::clock::now();
    futures_util::future::join_all((0..AT_ONCE).map(|_| make_up(port, &nth, most))).await;
    let (grown, took) = (resident(sidecar.id()).saturating_sub(calm), began.elapsed());
    println!(
        "{most} made-up tokens in {took:?}: {} KiB resident, {} KiB more than before",
        calm >> 10,
        grown >> 10
    );
    assert!(grown <= GROWTH, "{grown} bytes more");
    // The honest one notices nothing, and its old token is still known for what it is.
    echoes(&mut client, "after").await;
    let more = "Sec-WebSocket-Protocol: auth.T0\r\n";
    let (answer, mut back) = ask(port, handshake("/ws?jobId=7&token=T0", more)).await;
    assert_eq!(answer.status(), 101, "{answer:?}");
    echoes(&mut back, "served on its current token").await;
    let credentials = || async {
        let (_, page) = sidecar.ask("/metrics").await;
        let line = page
            .lines()
            .find(|line| line.starts_with("perennial_credentials{route=\"jobs\",state=\"valid\"}"));
        line.unwrap().rsplit(' ').next().unwrap().parse::<u64>().unwrap()
    };
    until("only the honest credential is left", credentials, |count| *count == 1).await;
    assert!(endpoint.is_alone().await, "nothing is renewed that was made up");
    refusing.abort();
}
