//! What a service saw, as `ledger.mjs` writes it down. Times are milliseconds since the service, or the job, began.

#![allow(dead_code, reason = "some of what a report says is only shown by a failing test")]

use std::{collections::BTreeMap, time::Duration};

use serde::Deserialize;

const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Deserialize)]
pub struct Ledger {
    /// By name.
    pub clients: BTreeMap<String, Seen>,
    /// In the order of issue.
    pub tokens: Vec<Token>,
    pub refreshes: Vec<Refresh>,
    /// The last number that was pushed.
    pub progress: u64,
}

/// One client, whatever the number of its connections.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Seen {
    pub work: Work,
    pub connections: Vec<Connection>,
    pub refused: Vec<Refused>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Work {
    /// Duplicates included.
    pub received: u64,
    pub duplicates: u64,
    pub out_of_order: u64,
    /// What came when the service had closed the connection; it is not received.
    pub late: u64,
    /// One more than the highest number.
    pub next: u64,
    /// Numbers below `next` that did not come.
    pub missing: Vec<u64>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Connection {
    /// Which of the tokens it was made with.
    pub token: usize,
    pub opened: u64,
    pub closed: Option<Closed>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Closed {
    pub at: u64,
    /// `client`, `service` or `loss`.
    pub by: String,
    pub code: u16,
    pub reason: String,
}

/// A handshake that was turned away.
#[derive(Debug, Clone, Deserialize)]
pub struct Refused {
    pub at: u64,
    pub status: u16,
    pub why: String,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Token {
    pub issued: u64,
    pub expires: u64,
    /// Sooner than it expires, where it was superseded.
    pub ends: u64,
    pub superseded: u64,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Refresh {
    pub at: u64,
    /// Which of the tokens it was asked with, if any.
    pub token: Option<usize>,
    pub status: u16,
    pub outcome: String,
    /// Which it issued.
    pub issued: Option<usize>,
}

impl Ledger {
    /// A client that was seen.
    pub fn client(&self, name: &str) -> &Seen {
        self.clients.get(name).unwrap_or_else(|| panic!("no {name} in {self:#?}"))
    }

    /// How many tokens took the place of another, where each was asked for once, with the one before it, and none
    /// was refused.
    pub fn rotations(&self) -> usize {
        for (nth, refresh) in self.refreshes.iter().enumerate() {
            let Refresh { token, status, issued, .. } = *refresh;
            assert_eq!((token, status, issued), (Some(nth), 200, Some(nth + 1)), "{self:#?}");
        }
        self.refreshes.len()
    }

    /// Connections that the service closed since their token had ended.
    pub fn expired(&self) -> usize {
        let ends = self.clients.values().flat_map(|seen| &seen.connections).filter_map(|c| c.closed.as_ref());
        ends.filter(|closed| closed.by == "service").count()
    }
}

impl Seen {
    /// Connections that have not ended.
    pub fn open(&self) -> usize {
        self.connections.iter().filter(|connection| connection.closed.is_none()).count()
    }
}

impl Seen {
    /// The tokens that its connections were made with.
    pub fn tokens(&self) -> Vec<usize> {
        self.connections.iter().map(|connection| connection.token).collect()
    }
}

impl Work {
    /// So many messages, each once and in order.
    pub fn all(messages: u64) -> Self {
        Self { received: messages, next: messages, ..Self::default() }
    }
}

pub(super) async fn until<F: Future<Output = Ledger>>(
    read: impl Fn() -> F,
    is_so: impl Fn(&Ledger) -> bool,
) -> Ledger {
    let mut last = None;
    let waiting = async {
        loop {
            let ledger = read().await;
            if is_so(&ledger) {
                return ledger;
            }
            last = Some(ledger);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    match tokio::time::timeout(PATIENCE, waiting).await {
        Ok(ledger) => ledger,
        Err(_) => panic!("it never was so: {last:#?}"),
    }
}
