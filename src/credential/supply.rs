//! Where a credential's tokens come from: straight from the source, or from a chain that others are on as well.

use std::{sync::Arc, time::Duration};

use super::{
    chain::Chain,
    clients::SharedClient,
    source::{Asking, Issued, Source, SourceError},
    token::Token,
};
use crate::clock::{Instant, Now};

/// One for all clients of a route: the old token may be good for little once another sidecar has a new one.
const CHAIN_LOOKED_AT: Duration = Duration::from_secs(1);
/// There may be thousands of these, and a token that was superseded has its grace.
const CLIENT_LOOKED_AT: Duration = Duration::from_secs(20);

/// What a credential asks for its tokens.
#[derive(Debug, Clone)]
pub enum Supply {
    /// The source can be asked again, and by anybody.
    Source(Arc<Source>),
    /// Each of its answers is given once, or is shared by several sidecars.
    Chain(Arc<Chain>),
    /// A client's own, which another sidecar may have as well.
    Client(Arc<SharedClient>),
}

/// What another process has done.
pub(super) enum Offer {
    /// It has a newer token.
    Token(Box<Issued>),
    /// It asked for one, and its answer does not come.
    Doubt,
}

impl Supply {
    /// The source at its end.
    pub fn source(&self) -> &Source {
        match self {
            Self::Source(source) => source,
            Self::Chain(chain) => chain.source(),
            Self::Client(client) => client.source(),
        }
    }

    /// One token, by `deadline`; a chain may take a little longer, to write down what came.
    pub async fn fetch(&self, asking: Asking, now: Now, deadline: Instant) -> Result<Issued, SourceError> {
        match self {
            // A source keeps to its deadline; this holds even where one does not.
            Self::Source(source) => {
                match tokio::time::timeout_at(deadline, source.fetch(&asking, now, deadline)).await {
                    Ok(answer) => answer,
                    Err(_) => Err(SourceError::passing("no answer in time")),
                }
            }
            Self::Chain(chain) => chain.fetch(asking, now, deadline).await,
            Self::Client(client) => client.fetch(asking, now, deadline).await,
        }
    }

    /// A newer token than `current` that another process has asked for, or that it has asked and is not heard of.
    pub(super) async fn offered(&self, current: Option<&Token>, now: Now) -> Option<Offer> {
        match self {
            Self::Source(_) => None,
            Self::Chain(chain) => chain.offered(now).await,
            // Where the store is away there is nothing on offer.
            Self::Client(client) => {
                let successor = client.successor(current?, now).await.ok()?;
                successor.map(|issued| Offer::Token(Box::new(issued)))
            }
        }
    }

    /// What came of the last fetch has been written down, or there was nothing to write.
    pub(super) async fn settled(&self) {
        match self {
            Self::Source(_) | Self::Chain(_) => {}
            Self::Client(client) => client.settled().await,
        }
    }

    /// How often to look whether what the source is asked with has changed, or another process has a newer token.
    pub(super) fn look_every(&self) -> Duration {
        match self {
            Self::Source(_) => self.source().look_every(),
            Self::Chain(_) => self.source().look_every().min(CHAIN_LOOKED_AT),
            Self::Client(_) => CLIENT_LOOKED_AT,
        }
    }
}
