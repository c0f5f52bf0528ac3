//! Starting, asking and stopping the service.

use std::{io, net::SocketAddr, time::Duration};

use rmpv::Value;
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    attach::flag,
    connection::word,
    credential::{Key, Minted},
    due,
    faults::Faults,
    frame::{action, from_json, map},
    http,
    hub::Shared,
    ledger::Ledger,
    options::Options,
    publish::published,
};
use crate::clock::Now;

/// The service; see [`Service::start`].
#[derive(Debug)]
pub struct Service;

impl Service {
    /// Serves on a listener until `stop` is cancelled or [`ServiceHandle::stop`] is called.
    pub fn start(
        listener: TcpListener,
        options: Options,
        stop: &CancellationToken,
    ) -> io::Result<ServiceHandle> {
        let address = listener.local_addr()?;
        let shared = Shared::new(options);
        let tasks = TaskTracker::new();
        let stop = stop.child_token();
        tasks.spawn(due::run(shared.clone(), stop.clone()));
        tasks.spawn(http::accept(listener, shared.clone(), tasks.clone(), stop.clone()));
        Ok(ServiceHandle { address, shared, tasks, stop })
    }
}

/// A running service.
#[derive(Clone)]
pub struct ServiceHandle {
    address: SocketAddr,
    shared: Shared,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// A connection, as the service sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connected {
    /// Its id.
    pub id: String,
    /// Whose it is; `*` where anybody's.
    pub client_id: Option<String>,
    /// Has it a transport? Else it waits to be resumed.
    pub live: bool,
    /// The channels attached to on that transport.
    pub attached: Vec<String>,
    /// What its token has left; `None` for a key.
    pub token_left: Option<Duration>,
}

impl ServiceHandle {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What goes wrong, on order.
    pub fn faults(&self) -> Faults {
        Faults { shared: self.shared.clone() }
    }

    /// What was seen.
    pub fn ledger(&self) -> Ledger {
        self.shared.ledger.clone()
    }

    /// The application's key.
    pub fn key(&self) -> &Key {
        &self.shared.options.key
    }

    /// The connections that are known, in the order of their ids.
    pub fn connections(&self) -> Vec<Connected> {
        let wall = Now::read().wall;
        let hub = self.shared.lock();
        let mut all: Vec<Connected> = hub
            .connections
            .values()
            .map(|connection| {
                let transport = connection.transport.and_then(|id| hub.transports.get(&id));
                Connected {
                    id: connection.id.clone(),
                    client_id: connection.client_id.clone(),
                    live: transport.is_some(),
                    attached: transport.map(|t| t.attached.keys().cloned().collect()).unwrap_or_default(),
                    token_left: transport.and_then(|t| t.grant.expires).map(|at| at.saturating_sub(wall)),
                }
            })
            .collect();
        all.sort_by(|a, b| a.id.cmp(&b.id));
        all
    }

    /// The client ids present on a channel, those in their grace included.
    pub fn present(&self, channel: &str) -> Vec<String> {
        let hub = self.shared.lock();
        let members = hub.channels.get(channel).map(|c| c.members.keys().map(|(_, client)| client.clone()));
        members.map(Iterator::collect).unwrap_or_default()
    }

    /// Publishes a message of the service's own.
    pub fn publish(&self, channel: &str, name: &str, data: impl Into<serde_json::Value>) {
        let item = map([("name", name.into()), ("data", from_json(data.into()))]);
        let mut hub = self.shared.lock();
        hub.ledger.publish(published("", channel, &item));
        let id = format!("{}:0", word(10));
        let items = Value::Array(vec![item]);
        hub.deliver(channel, "", action::MESSAGE, flag::SUBSCRIBE, "messages", &id, items);
    }

    /// An opaque token.
    pub fn issue_token(&self, lifetime: Duration, client_id: Option<&str>) -> Minted {
        self.shared.lock().issuer.issue(lifetime, client_id.map(str::to_owned), Now::read().wall)
    }

    /// A JWT signed with the key.
    pub fn mint_jwt(&self, lifetime: Duration, client_id: Option<&str>) -> Minted {
        self.shared.lock().issuer.mint(lifetime, client_id.map(str::to_owned), Now::read().wall)
    }

    /// Ends everything at once, as a crash would, and waits until it has ended.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}
