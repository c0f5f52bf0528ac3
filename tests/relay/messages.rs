//! Messages pass as the bytes they were, whatever they are cut into.

use std::time::Duration;

use fastrand::Rng;
use perennial::net::Io;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};

use crate::{
    sidecar::Sidecar,
    support::{
        beside,
        http::{ask, handshake},
        plain, seeded,
        service::Service,
        soon,
        ws::{BINARY, CONTINUATION, Frame, Honest, PING, PONG, TEXT, bare, frame, masked, session},
    },
};

type Reader = ReadHalf<Box<dyn Io>>;
type Writer = WriteHalf<Box<dyn Io>>;

/// What one side says: its bytes, the data frames among them, and what its pings carry.
#[derive(Default)]
struct Speech {
    bytes: Vec<u8>,
    data: Vec<u8>,
    pings: Vec<Vec<u8>>,
}

/// Sizes at which a header changes its form, and anything up to 200 KiB.
fn size(random: &mut Rng) -> usize {
    match random.u8(0..8) {
        0 => 0,
        1..=3 => random.usize(1..400),
        4 => *random.choice(&[125, 126, 127, 65_535, 65_536]).unwrap(),
        5 | 6 => random.usize(400..20_000),
        _ => random.usize(20_000..=200 * 1024),
    }
}

impl Speech {
    fn random(random: &mut Rng, masked: bool) -> Self {
        let mut speech = Self::default();
        for _ in 0..random.usize(1..12) {
            speech.message(random, masked);
        }
        // The end of the conversation is heard on both sides.
        speech.ping(random, masked);
        speech
    }

    fn message(&mut self, random: &mut Rng, masked: bool) {
        let kind = if random.bool() { TEXT } else { BINARY };
        let mut payload = vec![0; size(random)];
        random.fill(&mut payload);
        let fragments = random.usize(1..6);
        let mut cuts: Vec<usize> = (1..fragments).map(|_| random.usize(0..=payload.len())).collect();
        cuts.sort_unstable();
        cuts.push(payload.len());
        let mut from = 0;
        for (nth, to) in cuts.into_iter().enumerate() {
            let opcode = if nth == 0 { kind } else { CONTINUATION };
            let fin = if nth + 1 == fragments { 0x80 } else { 0 };
            let mask = masked.then(|| random.u32(..).to_be_bytes());
            let bytes = frame(fin | opcode, &payload[from..to], mask);
            self.bytes.extend_from_slice(&bytes);
            self.data.extend_from_slice(&bytes);
            from = to;
            if random.u8(0..3) == 0 {
                self.ping(random, masked);
            }
        }
    }

    fn ping(&mut self, random: &mut Rng, masked: bool) {
        let mut payload = vec![0; random.usize(0..=125)];
        random.fill(&mut payload);
        let mask = masked.then(|| random.u32(..).to_be_bytes());
        let opcode = if random.u8(0..4) == 0 { PONG } else { PING };
        self.bytes.extend(frame(0x80 | opcode, &payload, mask));
        if opcode == PING {
            self.pings.push(payload);
        }
    }
}

/// Writes in slices of any size, a byte at a time among them.
async fn say(mut to: Writer, bytes: Vec<u8>, mut random: Rng) -> Writer {
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let most = if random.bool() { 20 } else { 60_000 };
        let (now, later) = rest.split_at(random.usize(1..=most).min(rest.len()));
        to.write_all(now).await.unwrap();
        to.flush().await.unwrap();
        if random.bool() {
            tokio::task::yield_now().await;
        }
        rest = later;
    }
    to
}

/// Hears until as many bytes of data have come, and as many answers to pings.
async fn hear(mut from: Reader, data: usize, pongs: usize) -> (Vec<u8>, Vec<Vec<u8>>) {
    let (mut buffer, mut heard, mut answers) = (Vec::new(), Vec::new(), Vec::new());
    while heard.len() < data || answers.len() < pongs {
        assert_ne!(from.read_buf(&mut buffer).await.unwrap(), 0, "it ended early");
        while let Some(frame) = Frame::take(&mut buffer) {
            match frame.opcode() {
                PONG => answers.push(frame.payload),
                PING => panic!("a ping of the other leg came through"),
                _ => heard.extend(frame.raw),
            }
        }
    }
    assert!(buffer.is_empty(), "bytes that nobody said");
    (heard, answers)
}

/// The same bytes come out, either way, and the pings are answered where they were said, all of them and in
/// their order: not a byte of them is forwarded.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_in_comes_out() {
    let service = Service::start().await;
    let sidecar = Sidecar::start(&plain(service.port)).await;
    let mut random = seeded();
    for round in 0..40 {
        let (client, theirs) = session(sidecar.port, &service).await;
        let (up, down) = (Speech::random(&mut random, true), Speech::random(&mut random, false));
        let (client_reads, client_writes) = tokio::io::split(client.io);
        let (service_reads, service_writes) = tokio::io::split(theirs.io);
        let said = [
            beside(say(client_writes, up.bytes, random.fork())),
            beside(say(service_writes, down.bytes, random.fork())),
        ];
        let at_service = beside(hear(service_reads, up.data.len(), down.pings.len()));
        let at_client = beside(hear(client_reads, down.data.len(), up.pings.len()));
        let (at_service, at_client) =
            soon("all that was said", async { (at_service.await.unwrap(), at_client.await.unwrap()) }).await;
        assert!(at_service.0 == up.data, "round {round}: what the client said came out otherwise");
        assert!(at_client.0 == down.data, "round {round}: what the service said came out otherwise");
        assert!(at_service.1 == down.pings, "round {round}: the service's pings");
        assert!(at_client.1 == up.pings, "round {round}: the client's pings");
        for writer in said {
            drop(writer.await.unwrap());
        }
    }
    assert!(!sidecar.stop().await.contains("panicked"));
}

/// Cut at every byte, with time for the sidecar to read each piece for itself: a word on another session,
/// there and back, stands between them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_cut_of_a_message_is_noticed() {
    let service = Service::start().await;
    let other = plain(Service::start().await.echo()).replace("plain", "other") + "path = \"/other\"\n";
    let sidecar = Sidecar::start(&(other + &plain(service.port))).await;
    let mut honest = Honest::open(sidecar.port, "/other").await;
    let (mut client, mut theirs) = session(sidecar.port, &service).await;
    for mask in [Some([1, 2, 3, 4]), None] {
        let part = |first: u8, payload: &[u8]| frame(first, payload, mask);
        let frames = [part(TEXT, b"one"), part(0x80 | PING, b"?!"), part(0x80, &[b'2'; 130])];
        let (all, data) = (frames.concat(), [&frames[0][..], &frames[2]].concat());
        let (from, to) = if mask.is_some() { (&mut client, &mut theirs) } else { (&mut theirs, &mut client) };
        for cut in 1..40 {
            from.send(&all[..cut]).await;
            honest.relays().await;
            from.send(&all[cut..]).await;
            let heard = [to.message().await.raw, to.message().await.raw].concat();
            assert!(heard == data, "cut at {cut}: {heard:?}");
            assert_eq!(from.frame().await.unwrap().payload, b"?!", "cut at {cut}");
        }
    }
}

/// Many small frames in one segment leave in one write: the service has them all with one read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_that_arrive_together_leave_together() {
    let service = Service::start().await;
    let sidecar = Sidecar::start(&plain(service.port)).await;
    let (mut client, mut theirs) = session(sidecar.port, &service).await;
    let many: Vec<u8> = (0..50).flat_map(|n| masked(TEXT, format!("message {n}").as_bytes())).collect();
    let mut buffer = vec![0; 64 * 1024];
    for _ in 0..50 {
        client.send(&many).await;
        let n = soon("a read", theirs.io.read(&mut buffer)).await.unwrap();
        assert_eq!(n, many.len(), "they came in several writes");
    }
}

/// While a long download passes, of frames that never end with a read, pings are answered all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ping_is_answered_during_a_download() {
    let service = Service::start().await;
    let sidecar = Sidecar::start(&plain(service.port)).await;
    let (mut client, mut theirs) = session(sidecar.port, &service).await;
    let message = bare(BINARY, &[7; 1000]);
    // The stream is cut so that every write ends inside a frame.
    theirs.send(&message[..500]).await;
    let piece = [&message[500..], &message[..500]].concat();
    client.send(masked(PING, b"are you there?")).await;
    let mut pieces = 0;
    let answer = loop {
        theirs.send(&piece).await;
        pieces += 1;
        let frame = client.frame().await.unwrap();
        if frame.opcode() == PONG {
            break frame;
        }
        assert!(frame.raw == message && pieces < 200, "no answer beside {pieces} messages");
    };
    assert_eq!(answer.payload, b"are you there?");
}

/// Answers that wait for the end of a frame do not keep it from ending.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pings_do_not_stop_the_frame_that_they_wait_for() {
    let service = Service::start().await;
    let sidecar = Sidecar::start(&plain(service.port)).await;
    let (mut client, mut theirs) = session(sidecar.port, &service).await;
    let message = bare(BINARY, &[7; 100_000]);
    theirs.send(&message[..50_000]).await;
    soon("half a frame", async {
        while client.buffer.len() < 50_000 {
            client.io.read_buf(&mut client.buffer).await.unwrap();
        }
    })
    .await;
    // Then a word of the client's own, so that the pings are known to have been heard.
    client.send([masked(PING, &[1; 125]).repeat(1000), masked(TEXT, b"heard?")].concat()).await;
    assert_eq!(theirs.message().await.text(), "heard?");
    theirs.send(&message[50_000..]).await;
    assert!(client.message().await.raw == message);
    assert_eq!(client.frame().await.unwrap().opcode(), PONG);
}

/// Bytes behind the handshake, in its segment: a part of a frame is no reason to stop listening.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_with_the_handshake_is_not_lost() {
    let service = Service::start().await;
    let sidecar = Sidecar::start(&plain(service.port)).await;
    let (up, down) = (masked(TEXT, b"early words"), bare(TEXT, b"early answer"));
    for cut in [0, 1, 3, up.len() - 1, up.len()] {
        let mut request = handshake("/", "").into_bytes();
        request.extend_from_slice(&up[..cut]);
        let ((answer, mut client), mut theirs) = tokio::join!(ask(sidecar.port, request), async {
            let asked = service.asked().await;
            let mut answer = asked.switching("").into_bytes();
            answer.extend_from_slice(&down[..cut.min(down.len())]);
            asked.answer(answer).await
        });
        assert_eq!(answer.status(), 101);
        client.send(&up[cut..]).await;
        theirs.send(&down[cut.min(down.len())..]).await;
        // Within less than the time after which a stalled session looks up by itself.
        let heard = tokio::time::timeout(Duration::from_secs(20), async {
            assert_eq!(theirs.message().await.raw, up, "cut at {cut}");
            assert_eq!(client.message().await.raw, down, "cut at {cut}");
        });
        assert!(heard.await.is_ok(), "cut at {cut}: the rest was not heard");
    }
}

/// What a wire is, in the words of this file.
#[test]
fn frames_are_read_as_they_are_written() {
    for size in [0, 125, 126, 65_535, 65_536] {
        let mut bytes = frame(TEXT, &vec![9; size], Some([1, 2, 3, 4]));
        let raw = bytes.clone();
        let read = Frame::take(&mut bytes).unwrap();
        assert!(read.raw == raw && read.payload == vec![9; size] && read.masked && bytes.is_empty());
    }
}
