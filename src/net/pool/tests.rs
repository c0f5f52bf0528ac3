//! Connections that are kept, over a network in memory where time is made up, and over sockets where the kernel counts.

use std::{
    io,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use http_body_util::{BodyExt, Empty};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, duplex},
    net::TcpListener,
    time::sleep,
};

use super::*;
use crate::{
    config::{Endpoint, UpstreamTls},
    net::{Io, Network, dial::Dialled},
};

const AMPLE: Duration = Duration::from_secs(10);

/// Two places where the service can be.
const PLACES: [&str; 2] = ["blue ", "green"];

/// Answers each request with the name of its place.
async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, place: &str) {
    let mut head = Vec::new();
    while let Ok(1..) = stream.read_buf(&mut head).await {
        if head.ends_with(b"\r\n\r\n") {
            head.clear();
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{place}", place.len());
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

/// A service that has moved as often as `moved` says.
struct Moving {
    moved: AtomicUsize,
    dials: AtomicUsize,
    tasks: TaskTracker,
}

impl Network for Moving {
    fn dial(&self, _: Arc<str>, _: u16) -> Dialled {
        self.dials.fetch_add(1, Ordering::SeqCst);
        let (near, far) = duplex(4096);
        let place = PLACES[self.moved.load(Ordering::SeqCst)];
        self.tasks.spawn(async move { serve(far, place).await });
        Box::pin(async { Ok::<_, io::Error>(Box::new(near) as Box<dyn Io>) })
    }
}

fn dialer(port: u16) -> Dialer {
    let endpoint = Endpoint { tls: false, host: "service".to_owned(), port, path_and_query: "/".to_owned() };
    Dialer::new(&endpoint, &UpstreamTls::default()).unwrap()
}

fn pool(dialer: Dialer) -> Pool<Empty<Bytes>> {
    Pool::new(dialer, AMPLE, TaskTracker::new(), CancellationToken::new())
}

async fn ask(pool: &Pool<Empty<Bytes>>) -> Result<String, String> {
    let request = Request::get("/").body(Empty::new()).unwrap();
    let answer = pool.send(request).await.map_err(|error| error.to_string())?;
    let body = answer.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
    Ok(String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test(start_paused = true)]
async fn requests_that_never_stop_follow_a_name_that_moved() {
    let (moved, dials, tasks) = (AtomicUsize::new(0), AtomicUsize::new(0), TaskTracker::new());
    let network = Arc::new(Moving { moved, dials, tasks });
    let pool = pool(dialer(80).over(Arc::clone(&network) as Arc<dyn Network>));
    let began = clock::now();
    let mut green = None;
    while clock::now() < began + 3 * LIFE {
        if clock::now() >= began + LIFE / 2 {
            network.moved.store(1, Ordering::SeqCst);
        }
        let asked = clock::now();
        let place = ask(&pool).await.expect("no request fails");
        if place == PLACES[0] {
            assert!(asked < began + LIFE && green.is_none(), "at {:?}", asked - began);
        } else {
            green.get_or_insert(asked);
        }
        sleep(Duration::from_millis(500)).await;
    }
    assert!(green.unwrap() >= began + LIFE / 2);
    // A connection is kept for as long as it may be: one in each minute, or a little less.
    let dials = network.dials.load(Ordering::SeqCst);
    assert!((3..=4).contains(&dials), "{dials}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_rested_takes_no_request_after_its_life() {
    let (moved, dials, tasks) = (AtomicUsize::new(0), AtomicUsize::new(0), TaskTracker::new());
    let network = Arc::new(Moving { moved, dials, tasks });
    let pool = pool(dialer(80).over(Arc::clone(&network) as Arc<dyn Network>));
    let began = clock::now();
    // The longest rest after which a connection is still there.
    let rest = IDLE - Duration::from_millis(100);
    loop {
        let asked = clock::now();
        assert_eq!(ask(&pool).await.unwrap(), PLACES[0]);
        if network.dials.load(Ordering::SeqCst) == 2 {
            assert!(asked > began + LIFE - 2 * IDLE, "at {:?}", asked - began);
            return;
        }
        assert!(asked < began + LIFE, "at {:?}", asked - began);
        sleep(rest).await;
    }
}

/// Listeners at two addresses of one port, and a dialer that knows both.
async fn twins() -> ([TcpListener; 2], Dialer) {
    let addresses = ["127.0.0.2", "127.0.0.3"].map(|one| one.parse::<IpAddr>().unwrap());
    loop {
        let one = TcpListener::bind((addresses[0], 0)).await.unwrap();
        let port = one.local_addr().unwrap().port();
        if let Ok(other) = TcpListener::bind((addresses[1], port)).await {
            return ([one, other], dialer(port).known_at(move || addresses.to_vec()));
        }
    }
}

#[tokio::test]
async fn an_address_that_closes_or_keeps_silent_is_asked_once() {
    for closes in [true, false] {
        let ([bad, good], dialer) = twins().await;
        let tasks = TaskTracker::new();
        tasks.spawn(async move {
            let mut held = Vec::new();
            while let Ok((tcp, _)) = bad.accept().await {
                if !closes {
                    held.push(tcp);
                }
            }
        });
        tasks.spawn(async move {
            while let Ok((tcp, _)) = good.accept().await {
                serve(tcp, PLACES[1]).await;
            }
        });
        let pool = pool(dialer);
        if closes {
            ask(&pool).await.unwrap_err();
        } else {
            let patience = SILENT + Duration::from_millis(200);
            assert!(tokio::time::timeout(patience, ask(&pool)).await.is_err());
        }
        let answer = tokio::time::timeout(AMPLE, ask(&pool)).await.unwrap();
        assert_eq!(answer.as_deref(), Ok(PLACES[1]), "closes: {closes}");
    }
}
