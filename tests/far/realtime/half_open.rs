//! The way to the service is cut without a word: nothing arrives, and nothing is acknowledged.

use std::time::Duration;

use perennial::clock;
use tokio::time::sleep;

use crate::{
    far::{
        namespace::Namespace,
        stage::{DIALECTS, Dialect, Stage, all},
    },
    sidecar::Sidecar,
    wire_proxy::{Conditions, WireProxy},
};

/// Twenty messages a second.
const BUSY: Duration = Duration::from_millis(50);

/// How soon it has to be found: one and a half keepalives, and a little for a busy machine.
fn bound(dialect: Dialect) -> Duration {
    match dialect {
        Dialect::None | Dialect::Handshake => Duration::from_secs(16),
        Dialect::Ably => Duration::from_secs(8),
    }
}

async fn found(dialect: Dialect, busy: Option<Duration>) {
    let case = format!("{dialect:?}, {}", if busy.is_some() { "busy" } else { "idle" });
    let namespace = Namespace::make();
    let listener = namespace.listener();
    let address = listener.local_addr().unwrap();
    let proxy = WireProxy::on(listener, dialect.service().await, Conditions::default());
    let sidecar = Sidecar::start(&dialect.route(&address.to_string())).await;
    let stage = Stage { dialect, proxy, sidecar };
    let client = stage.client(busy).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(namespace.cut(), 1, "{case}");
    let took = stage.found(client, clock::now(), bound(dialect)).await;
    println!("{case}: found after {took:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root and iproute2, which tests/all installs"]
async fn a_half_open_link_is_found_in_one_and_a_half_keepalives_busy_or_idle() {
    let cases = DIALECTS.iter().flat_map(|dialect| [None, Some(BUSY)].map(|busy| found(*dialect, busy)));
    all(cases).await;
}
