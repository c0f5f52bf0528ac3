//! H20 to H49: frames, from either side.

use std::time::Duration;

use perennial::clock;

use crate::{
    hostile::Stage,
    support::{
        plain,
        ws::{BINARY, CLOSE, CONTINUATION, MASK, PING, TEXT, close, frame, header, session, session_at},
    },
};

/// What one session may cost: its queue of a mebibyte, and a mebibyte besides.
const MOST: usize = 2 << 20;

/// What is said, by a side whose frames are masked or not; and the code that it is told.
fn cases(mask: Option<[u8; 4]>) -> Vec<(&'static str, Vec<u8>, u16)> {
    let whole = |first: u8, payload: &[u8]| frame(first, payload, mask);
    let other = if mask.is_some() { None } else { Some(MASK) };
    let flag = if mask.is_some() { 0x80 } else { 0 };
    let key = || mask.unwrap_or_default().into_iter().take(if mask.is_some() { 4 } else { 0 });
    let length = |bytes: &[u8]| -> Vec<u8> {
        [0x82, flag | bytes[0]].iter().chain(&bytes[1..]).copied().chain(key()).collect()
    };
    let wide = |n: u64| length(&[&[127][..], &n.to_be_bytes()].concat());
    let closes = |code: u16| whole(0x88, &close(code, ""));
    let mut all = vec![
        ("H20 rsv1", whole(0xc1, b"x"), 1002),
        ("H20 rsv2", whole(0xa1, b"x"), 1002),
        ("H20 rsv3", whole(0x91, b"x"), 1002),
        ("H21 opcode-3", whole(0x83, b"x"), 1002),
        ("H21 opcode-B", whole(0x8b, b"x"), 1002),
        ("H22 unmasked-client, H23 masked-server", frame(0x81, b"x", other), 1002),
        ("H24 ping-126", whole(0x89, &[0; 126]), 1002),
        ("H24 ping-fragmented", whole(PING, b"x"), 1002),
        ("H25 close-1-byte", whole(0x88, &[3]), 1002),
        ("H26 close-reason-124", whole(0x88, &close(1000, [b'a'; 124])), 1002),
        ("H26 close-reason-bad-utf8", whole(0x88, &close(1000, [0xff])), 1007),
        ("H29 len16-for-5", length(&[126, 0, 5]), 1002),
        ("H29 len64-for-200", wide(200), 1002),
        ("H30 len64-msb-set", wide(1 << 63), 1002),
        ("H31 len64-max", wide(u64::MAX >> 1), 1009),
        ("H32 len64-2^53+1", wide((1 << 53) + 1), 1009),
        ("H34 frame-1M+1", wide((1 << 20) + 1), 1009),
        ("H35 continuation-first", whole(0x80, b"x"), 1002),
        ("H35 new-text-inside-fragment", [whole(TEXT, b"x"), whole(0x81, b"y")].concat(), 1002),
        (
            "H37 empty-fragments-2M",
            [whole(TEXT, b""), whole(CONTINUATION, b"").repeat(2_000_000)].concat(),
            1009,
        ),
        (
            "H38 one-byte-fragments-1M",
            [whole(TEXT, b"a"), whole(CONTINUATION, b"a").repeat(1_100_000)].concat(),
            1009,
        ),
        ("H47 rsv1-after-no-negotiation", whole(0xc2, &[0xaa, 0x56, 0, 0]), 1002),
        ("H45 deflate-bomb", whole(0xc2, &vec![0; 100_000]), 1002),
    ];
    for code in [0, 999, 1004, 1005, 1006, 1015, 2999, 5000] {
        all.push(("H25 close-code", closes(code), 1002));
    }
    all
}

/// A route that is inspected, so that whole messages are what is read.
fn inspected(port: u16) -> String {
    let route = plain(port).replace("plain", "inspected").replace("\"none\"", "\"ably\"");
    format!(
        "{}{route}path = \"/inspected\"\n[route.token]\nsource = \"ably-key\"\nkey = \"app.id:secret\"\n",
        plain(port)
    )
}

/// A client that breaks the protocol is told how, the service is told that it ends; both where messages are
/// streamed and where they are inspected.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_breaks_the_protocol_is_told() {
    let mut stage = Stage::start("", inspected).await;
    for target in ["/", "/inspected"] {
        for (case, said, code) in cases(Some(MASK)) {
            let (_, mut client, mut theirs) = session_at(stage.port(), &stage.service, target, "").await;
            // What may be forwarded of it is read, so that nobody waits.
            let (sent, told, ()) =
                tokio::join!(client.try_send(&said), theirs.ending(), stage.honest.relays());
            assert!(sent.is_ok(), "{case} at {target}: it could not finish what it said");
            // An Ably client is told in an ERROR, and not by the code. A goodbye is answered as it was said.
            let in_words = target == "/inspected" && code != 1009 && !case.contains("close-code");
            let close = if in_words { 1000 } else { code };
            assert_eq!(client.ending().await.map(|(code, _)| code), Some(close), "{case} at {target}");
            // Neither a limit of the proxy's nor the code of a goodbye is a fault that the service is told of.
            let code = match code {
                1009 => 1001,
                _ if case.contains("close-code") => 1000,
                code => code,
            };
            assert_eq!(told.map(|(code, _)| code), Some(code), "{case} at {target}: the service");
        }
    }
    stage.end().await;
}

/// The same from the service's side: the client is told as much as it can use.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_breaks_the_protocol_is_let_go() {
    let mut stage = Stage::start("", plain).await;
    for (case, said, code) in cases(None) {
        let (mut client, mut theirs) = session(stage.port(), &stage.service).await;
        let (_, told, ()) = tokio::join!(theirs.try_send(&said), client.ending(), stage.honest.relays());
        assert_eq!(told, Some((code, "the service broke the protocol".into())), "{case}");
        drop(theirs);
    }
    stage.end().await;
}

/// Odd, and allowed. What is streamed is not unmasked, so that its text is not checked to be UTF-8 either
/// (H40, H42): the service, whose text it is, checks it, and its 1007 passes.
///
/// H36 and H39: fragments are streamed and not assembled, so that neither their number nor the time between
/// them costs anything; with their headers they count towards the limit (H37, H38).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_odd_and_allowed_passes_bit_for_bit() {
    let stage = Stage::start("", plain).await;
    for mask in [Some(MASK), None] {
        let part = |first: u8, payload: &[u8]| frame(first, payload, mask);
        for (case, said) in [
            (
                "H36 fragments-1025",
                [part(TEXT, b"a"), part(CONTINUATION, b"a").repeat(1024), part(0x80, b"")].concat(),
            ),
            ("H40 utf8-surrogate", part(0x81, &[0xed, 0xa0, 0x80])),
            ("H41 utf8-split-across-fragments", [part(TEXT, &[0xe2, 0x82]), part(0x80, &[0xac])].concat()),
            ("H42 utf8-truncated-at-fin", part(0x81, &[0xe2, 0x82])),
            ("H42 utf8-overlong", part(0x81, &[0xc0, 0xaf])),
            ("H39 fragment-never-fin", part(BINARY, b"to be continued")),
        ] {
            let (mut client, mut theirs) = session(stage.port(), &stage.service).await;
            let (from, to) =
                if mask.is_some() { (&mut client, &mut theirs) } else { (&mut theirs, &mut client) };
            from.send(&said).await;
            let mut heard = Vec::new();
            while heard.len() < said.len() {
                heard.extend(to.frame().await.unwrap().raw);
            }
            assert!(heard == said, "{case}");
        }
    }
    stage.end().await;
}

/// H33: a length that is claimed costs nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_costs_nothing() {
    let mut stage = Stage::start("message = \"16MiB\"", plain).await;
    let before = stage.resident();
    let mut open = Vec::new();
    for _ in 0..100 {
        let (mut client, theirs) = session(stage.port(), &stage.service).await;
        client.send(header(0x82, 16 << 20, Some(MASK))).await;
        open.push((client, theirs));
    }
    stage.honest.relays().await;
    let grown = stage.resident().saturating_sub(before);
    assert!(grown < 4 << 20, "a hundred claims cost {grown} bytes");
    stage.end().await;
}

/// H44: a client that asks and does not listen. The corpus would cut it off by its rate; here it is not read
/// on once its answers pile up, and costs no more than a full outbox.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_pings_costs_no_memory() {
    let mut stage = Stage::start("", plain).await;
    let (mut client, _theirs) = session(stage.port(), &stage.service).await;
    let before = stage.resident();
    let pings = frame(0x80 | PING, &[7; 125], Some(MASK)).repeat(1000);
    for _ in 0..200 {
        // It may be let wait.
        if tokio::time::timeout(Duration::from_millis(200), client.try_send(&pings)).await.is_err() {
            break;
        }
    }
    stage.honest.relays().await;
    let grown = stage.resident().saturating_sub(before);
    println!("a flood of Pings cost {grown} bytes");
    assert!(grown < MOST, "it cost {grown} bytes");
    stage.end().await;
}

/// H28: who does not answer a Close is waited for five seconds, and no longer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_close_that_is_not_answered_has_a_deadline() {
    let stage = Stage::start("", plain).await;
    let (mut deaf_client, mut theirs) = session(stage.port(), &stage.service).await;
    let (mut client, mut deaf_service) = session(stage.port(), &stage.service).await;
    let began = clock::now();
    theirs.send(frame(0x80 | CLOSE, &close(4000, "go"), None)).await;
    client.send(frame(0x80 | CLOSE, &close(4001, "gone"), Some(MASK))).await;
    assert_eq!(deaf_client.ending().await, Some((4000, "go".into())));
    assert_eq!(deaf_service.ending().await, Some((4001, "gone".into())));
    let ends = async {
        deaf_client.end().await;
        began.elapsed()
    };
    let answered = async {
        // The client's own Close is answered for the service that does not.
        assert_eq!(client.ending().await, Some((4001, "gone".into())));
        began.elapsed()
    };
    let (client_cut, answered) = tokio::join!(ends, answered);
    for took in [client_cut, answered] {
        assert!((4_500..15_000).contains(&took.as_millis()), "{took:?}");
    }
    deaf_service.rest().await;
    stage.end().await;
}
