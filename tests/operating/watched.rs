//! `run --watch`: a changed file is read again by itself, all of it or nothing.

use super::reload::{relays, reloads, route};
use crate::{
    sidecar::Sidecar,
    support::{
        http::{ask, handshake},
        service::Service,
        ws::session_at,
    },
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_file_is_read_again_whoever_changed_it() {
    let service = Service::start().await;
    let file = |name: &str| {
        let ports = "[listen]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\n";
        format!("{ports}{}", route(name, &format!("/{name}"), service.port))
    };
    let sidecar = Sidecar::launch(&route("a", "/a", service.port), &["--watch"], &[]).await;
    let (_, mut client, mut theirs) = session_at(sidecar.port, &service, "/a", "").await;
    assert!(reloads(&sidecar, || sidecar.configure(&file("b"))).await, "saved by an editor");
    assert_eq!(ask(sidecar.port, handshake("/a", "")).await.0.status(), 404);
    assert!(!reloads(&sidecar, || sidecar.configure("nonsense")).await);
    assert_eq!(sidecar.metric("perennial_config_last_reload_successful").await, 0.0);
    let (_, mut second, mut its) = session_at(sidecar.port, &service, "/b", "").await;
    assert!(reloads(&sidecar, || sidecar.mount(&file("c"))).await, "mounted");
    assert!(reloads(&sidecar, || sidecar.mount(&file("d"))).await, "and changed by a link");
    assert_eq!(ask(sidecar.port, handshake("/c", "")).await.0.status(), 404);
    let (_, mut third, mut whose) = session_at(sidecar.port, &service, "/d", "").await;
    for (client, service) in [(&mut client, &mut theirs), (&mut second, &mut its), (&mut third, &mut whose)] {
        relays(client, service).await;
    }
}
