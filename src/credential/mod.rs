//! Tokens: what they are, when they are fetched, and where they come from.
//!
//! ```text
//!   sessions ── current, usable, demand ──► service ── Event ──► keeper (pure)
//!      ▲                                     │  ▲  ◄── Action ──┘
//!      └────────── after each publish ───────┘  └── Issued ── supply ── source
//!                                                               └ chain ── grants ── store
//!
//!   a client's token ──► clients ── standing ──► store ── Change ──► history (pure)
//!                          │ ▲                     └── memory, disk or Redis
//!           its credential ◄┘ └── supersede, seen ── its service
//! ```
//!
//! 1. A credential has one current token, read at the moment it is used. Nobody keeps a copy.
//! 2. All rules about time are the keeper's; the service reads clocks and does as it says.
//! 3. A token's text, and a secret, are in no error, log or `Debug`.

pub mod chain;
pub mod clients;
mod hash;
pub mod history;
pub mod keeper;
pub mod service;
pub mod source;
pub mod store;
pub mod supply;
pub mod token;

pub use chain::{Chain, Links};
pub use clients::{Clients, Common, Lease, NotServed, Terms, Visitor};
pub use history::{Standing, TokenKey};
pub use keeper::{Outcome, Trigger};
pub use service::{
    Begin, Credential, Fetch, Glance, News, Observer, Showing, Spec, Status, Subscription, Traced,
};
pub use source::{ClientValues, Source, reap_orphans};
pub use store::{Store, StoreError, Supersede};
pub use supply::Supply;
pub use token::{Generation, Token};
