//! SIGTERM behind a load balancer: it has the time to notice before the port is closed.

use super::reload::relays;
use crate::{
    sidecar::Sidecar,
    support::{plain, service::Service, until, ws::session},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_are_served_for_the_delay_while_readiness_says_no() {
    let service = Service::start().await;
    let sidecar =
        Sidecar::start(&format!("[limits]\nshutdown_delay = \"1h\"\n{}", plain(service.port))).await;
    let (mut client, mut theirs) = session(sidecar.port, &service).await;
    sidecar.signal("TERM");
    until("readiness to fail", || sidecar.ask("/readyz"), |(status, _)| *status == 503).await;
    let (mut second, mut its) = session(sidecar.port, &service).await;
    relays(&mut client, &mut theirs).await;
    relays(&mut second, &mut its).await;
    // A second signal does not wait for the hour.
    sidecar.signal("TERM");
    sidecar.ended().await;
}
