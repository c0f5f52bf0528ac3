//! The network that the proxy dials into: each dial is answered as the test says.
//!
//! ```text
//!   Dialer ─► Fabric ── answer? ──► refused, or no answer
//!                └───── Connect ──► tcp::connection ─► one end to the proxy, the other to `accept`
//! ```

use std::{
    future::poll_fn,
    io,
    sync::{Arc, Mutex},
};

use perennial::{
    clock::{self, Instant},
    net::{Io, Network, dial::Dialled},
};
use tokio::sync::mpsc;

use crate::tcp::{Cable, End, Terms, connection};

/// Connections that wait to be accepted: more than any test has.
const BACKLOG: usize = 1024;

/// What becomes of a dial.
#[derive(Debug, Clone, Copy)]
pub enum Answer {
    Connect(Terms),
    Refused,
    /// Neither the resolver nor the host says anything.
    Silence,
}

type Answers = Box<dyn FnMut(usize) -> Answer + Send>;

/// The network.
pub struct Fabric {
    answers: Mutex<Answers>,
    dials: Mutex<Vec<Instant>>,
    cables: Mutex<Vec<Cable>>,
    arrived: mpsc::Sender<(End, Cable)>,
    accept: Mutex<mpsc::Receiver<(End, Cable)>>,
}

impl Fabric {
    /// Every dial connects.
    pub fn new(terms: Terms) -> Arc<Self> {
        let (arrived, accept) = mpsc::channel(BACKLOG);
        Arc::new(Self {
            answers: Mutex::new(Box::new(move |_| Answer::Connect(terms))),
            dials: Mutex::default(),
            cables: Mutex::default(),
            arrived,
            accept: Mutex::new(accept),
        })
    }

    /// From now on dials are answered so; the argument counts them all, from 0.
    pub fn answer(&self, answers: impl FnMut(usize) -> Answer + Send + 'static) {
        *self.answers.lock().unwrap() = Box::new(answers);
    }

    /// When each dial began.
    pub fn dials(&self) -> Vec<Instant> {
        self.dials.lock().unwrap().clone()
    }

    /// Every connection that was made, in order.
    pub fn cables(&self) -> Vec<Cable> {
        self.cables.lock().unwrap().clone()
    }

    /// The newest of them.
    pub fn newest(&self) -> Cable {
        self.cables.lock().unwrap().last().unwrap().clone()
    }

    /// The service's end of the next connection.
    pub async fn accept(&self) -> (End, Cable) {
        poll_fn(|cx| self.accept.lock().unwrap().poll_recv(cx)).await.unwrap()
    }
}

impl Network for Fabric {
    fn dial(&self, _host: Arc<str>, _port: u16) -> Dialled {
        let count = {
            let mut dials = self.dials.lock().unwrap();
            dials.push(clock::now());
            dials.len() - 1
        };
        let answer = (self.answers.lock().unwrap())(count);
        match answer {
            Answer::Silence => Box::pin(std::future::pending()),
            Answer::Refused => Box::pin(async { Err(io::ErrorKind::ConnectionRefused.into()) }),
            Answer::Connect(terms) => {
                let (near, far, cable) = connection(terms);
                self.cables.lock().unwrap().push(cable.clone());
                let arrived = self.arrived.clone();
                Box::pin(async move {
                    tokio::time::sleep(terms.latency * 2).await;
                    let near: Box<dyn Io> = Box::new(near);
                    match arrived.try_send((far, cable)) {
                        Ok(()) => Ok(near),
                        Err(_) => Err(io::ErrorKind::ConnectionRefused.into()),
                    }
                })
            }
        }
    }
}
