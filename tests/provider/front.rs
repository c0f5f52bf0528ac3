//! A front that passes requests on, one for each connection, and does with the answers as it is told.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::{Timestamp, fmt::rfc2822::DateTimePrinter};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
    time::Instant,
};

/// What becomes of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Pass,
    /// The service never hears of the request, and nobody answers it.
    Hold,
    /// The service answers, and the answer is lost.
    Lose,
    /// The service answers, and the one who asked waits for the answer in vain.
    Keep,
    /// The service answers, and the answer goes on after this time.
    After(Duration),
}

/// One request and its answer, as the front saw them.
#[derive(Debug, Clone, Copy)]
pub struct Passed {
    /// When the request had come whole.
    pub asked: Instant,
    /// When the service had answered.
    pub answered: Option<Instant>,
    /// When the answer had been handed on whole.
    pub delivered: Option<Instant>,
}

/// A listener before a port.
pub struct Front {
    pub port: u16,
    state: Arc<State>,
    accepting: JoinHandle<()>,
}

struct State {
    to: u16,
    /// It says what time it is, as reverse proxies do.
    says_time: bool,
    /// Connections are refused at once while this says so.
    cut: watch::Sender<bool>,
    ways: Mutex<VecDeque<Way>>,
    passed: Mutex<Vec<Passed>>,
    count: watch::Sender<usize>,
    answers: watch::Sender<usize>,
    /// Connections that are served, and where the newest came from.
    open: watch::Sender<(usize, u16)>,
}

impl Front {
    pub async fn start(to: u16) -> Self {
        Self::begin(to, false).await
    }

    /// One that adds the time to each answer, as reverse proxies do.
    pub async fn with_time(to: u16) -> Self {
        Self::begin(to, true).await
    }

    async fn begin(to: u16, says_time: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State {
            to,
            says_time,
            cut: watch::Sender::new(false),
            ways: Mutex::default(),
            passed: Mutex::default(),
            count: watch::Sender::new(0),
            answers: watch::Sender::new(0),
            open: watch::Sender::new((0, 0)),
        });
        let shared = Arc::clone(&state);
        let accepting = tokio::spawn(async move {
            while let Ok((socket, from)) = listener.accept().await {
                let state = Arc::clone(&shared);
                state.open.send_modify(|(open, newest)| (*open, *newest) = (*open + 1, from.port()));
                tokio::spawn(async move {
                    state.serve(socket).await;
                    state.open.send_modify(|(open, _)| *open -= 1);
                });
            }
        });
        Self { port, state, accepting }
    }

    /// The next answer goes this way, those after it as they would.
    pub fn next(&self, way: Way) {
        self.state.ways.lock().unwrap().push_back(way);
    }

    /// Cuts all connections and refuses new ones, or lets them through again.
    pub fn cut(&self, cut: bool) {
        self.state.cut.send_replace(cut);
    }

    /// Everything so far.
    pub fn passed(&self) -> Vec<Passed> {
        self.state.passed.lock().unwrap().clone()
    }

    /// Waits until everything that somebody said who has gone was heard, and has been dealt with.
    pub async fn quiet(&self) {
        // Anyone who came before is let in before.
        let last = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let newest = last.local_addr().unwrap().port();
        let mut open = self.state.open.subscribe();
        open.wait_for(|(_, at)| *at == newest).await.unwrap();
        drop(last);
        let waiting = open.wait_for(|(open, _)| *open == 0);
        tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("it ends").unwrap();
    }

    /// Waits until so many requests have come.
    pub async fn asked(&self, times: usize) {
        let mut count = self.state.count.subscribe();
        let waiting = count.wait_for(|count| *count >= times);
        tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("it asks").unwrap();
    }

    /// Waits until the service has answered so many.
    pub async fn answered(&self, times: usize) {
        let mut answers = self.state.answers.subscribe();
        let waiting = answers.wait_for(|answers| *answers >= times);
        tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("it answers").unwrap();
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl State {
    async fn serve(&self, socket: TcpStream) {
        let mut cut = self.cut.subscribe();
        tokio::select! {
            _ = cut.wait_for(|cut| *cut) => {}
            _ = self.relay(socket) => {}
        }
    }

    async fn relay(&self, mut socket: TcpStream) -> std::io::Result<()> {
        let request = read_request(&mut socket).await?;
        let at = {
            let mut passed = self.passed.lock().unwrap();
            passed.push(Passed { asked: Instant::now(), answered: None, delivered: None });
            passed.len() - 1
        };
        self.count.send_modify(|count| *count += 1);
        let way = self.ways.lock().unwrap().pop_front().unwrap_or(Way::Pass);
        if way == Way::Hold {
            return has_gone(&mut socket).await;
        }
        let mut service = TcpStream::connect(("127.0.0.1", self.to)).await?;
        service.write_all(&request).await?;
        let mut answer = Vec::new();
        service.read_to_end(&mut answer).await?;
        if self.says_time {
            let head = answer.windows(2).position(|two| two == b"\r\n").unwrap() + 2;
            let time = DateTimePrinter::new().timestamp_to_rfc9110_string(&Timestamp::now()).unwrap();
            let date = format!("Date: {time}\r\n");
            answer.splice(head..head, date.into_bytes());
        }
        self.passed.lock().unwrap()[at].answered = Some(Instant::now());
        self.answers.send_modify(|answers| *answers += 1);
        match way {
            Way::Lose => return Ok(()),
            Way::Keep => return has_gone(&mut socket).await,
            Way::After(time) => tokio::time::sleep(time).await,
            Way::Pass | Way::Hold => {}
        }
        socket.write_all(&answer).await?;
        socket.flush().await?;
        self.passed.lock().unwrap()[at].delivered = Some(Instant::now());
        socket.shutdown().await
    }
}

/// Waits until the one who asked has gone.
async fn has_gone(socket: &mut TcpStream) -> std::io::Result<()> {
    socket.read_u8().await.map(|_| ())
}

/// A head, and as much body as it says.
async fn read_request(socket: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut request = Vec::new();
    loop {
        if socket.read_buf(&mut request).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let text = String::from_utf8_lossy(&request).to_ascii_lowercase();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        if body.len() >= length.map_or(0, |length| length.trim().parse().unwrap()) {
            return Ok(request);
        }
    }
}
