//! A service of another make, and what is no WebSocket.

use futures_util::future::join_all;
use serde_json::json;

use crate::{
    jobs::{BearerService, Job, KINDS, Kind, Ledger, Ready, Scenario, Work, send},
    jobs_sidecar::stage::{ALICE, LIFETIME, Plan, Stage},
    sidecar::Sidecar,
};

/// The token in a header, 4401 at its end, another way to a new one: only the configuration is another.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node and npm packages: run by tests/all"]
async fn a_service_with_a_bearer_in_a_header_is_served_for_three_lifetimes_and_more() {
    let service = BearerService::start(LIFETIME).await;
    let port = service.port;
    let sidecar = Sidecar::start(&format!(
        r#"[[route]]
        name = "bearer"
        upstream = "ws://127.0.0.1:{port}"
        dialect = "handshake"
        [route.token]
        source = "http"
        url = "http://127.0.0.1:{port}/renew"
        method = "POST"
        headers = {{ Authorization = "Bearer {{token}}" }}
        share = "client"
        lifetime = "3s"
        refresh_before = "900ms"
        [route.client]
        token = {{ header = "Authorization: Bearer {{token}}" }}"#
    ))
    .await;
    let ready = join_all(KINDS.map(|_| Ready::start())).await;
    let clients = join_all(KINDS.into_iter().zip(ready).map(|(kind, ready)| {
        let (service, sidecar) = (&service, &sidecar);
        async move {
            let name = format!("{kind:?}");
            let who = vec![service.login(&name).await.client(sidecar.port, &name)];
            let scenario =
                Scenario { seconds: 3.0 * LIFETIME.as_secs_f64() + 1.0, ..Scenario::new(kind, who) };
            ready.run(scenario).await.clients.remove(0)
        }
    }))
    .await;
    let over = |ledger: &Ledger| ledger.clients.values().all(|seen| seen.open() == 0);
    let ledger = service.until(over).await;
    for client in &clients {
        client.assert_untouched();
        let seen = ledger.client(&client.name);
        assert_eq!((&seen.work, seen.refused.len()), (&Work::all(client.sent), 0), "{ledger:#?}");
        let tokens = seen.tokens();
        assert!(tokens.len() >= 4 && tokens.is_sorted_by(|a, b| a < b), "{ledger:#?}");
    }
    assert_eq!(ledger.expired(), 0, "{ledger:#?}");
    // Each token was renewed once.
    let mut asked: Vec<_> = ledger.refreshes.iter().map(|r| (r.token.unwrap(), r.status)).collect();
    asked.sort_unstable();
    assert!(asked.is_sorted_by(|a, b| a.0 < b.0) && asked.iter().all(|(_, s)| *s == 200), "{ledger:#?}");
    let expired = "perennial_sessions_closed_total{reason=\"token_expired\",route=\"bearer\"}";
    assert_eq!(sidecar.metric(expired).await, 0.0);
    service.stop().await;
    sidecar.stop().await;
}

/// One address for everything: the job is made, followed and accounted for through the sidecar.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node and npm packages: run by tests/all"]
async fn plain_requests_reach_the_service_through_the_same_address() {
    let stage = Stage::set(Plan::default()).await;
    let port = stage.sidecar.port;
    // Nobody shows a token here, and none is added: a refresh in a client's own name is judged by the service.
    let ready = Ready::start().await;
    let job: Job = send(port, "POST", "/jobs", &[], None).await.understood();
    let early = json!({ "jobId": job.id, "oldToken": job.token });
    let early = send(port, "POST", "/token/refresh", &[], Some(&early)).await;
    assert_eq!((early.status, early.text("error").as_str()), (403, "too early"));
    assert_eq!(send(port, "GET", "/elsewhere", &[], None).await.status, 404);

    let scenario = Scenario { seconds: 1.0, ..Scenario::new(Kind::Ws, vec![job.client(port, ALICE)]) };
    let run = stage.seen(job, ready.run(scenario).await).await;
    run.client.assert_untouched();
    let ledger = format!("/jobs/{}/ledger", run.job.id);
    let told: Ledger = send(port, "GET", &ledger, &[], None).await.understood();
    assert_eq!(told.client(ALICE).work, Work::all(run.client.sent));
    assert_eq!(told.refreshes.len(), 1, "the one that was too early: {told:#?}");
    stage.stop().await;
}
