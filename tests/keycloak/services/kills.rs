//! `kill -9` of the sidecar costs no family of refresh tokens: what Keycloak gave is on the disk before it is used, and
//! what it gave to nobody is asked for again at once.

use std::time::Duration;

use serde_json::json;

use crate::{
    keycloak::rig::{Family, Keycloak},
    oauth_sidecar::{
        killed::{is_served, killed_unheard},
        ready,
    },
    sidecar::Sidecar,
};

const KILLS: usize = 30;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Keycloak: tests/keycloak/install"]
async fn thirty_kills_lose_no_family_and_thirty_more_before_the_answer_lose_none_that_is_forgiven() {
    let keycloak = Keycloak::start().await;
    outside_of_a_request(&keycloak).await;
    before_the_answer(&keycloak).await;
}

/// Keycloak takes each refresh token once.
async fn outside_of_a_request(keycloak: &Keycloak) {
    keycloak.realm("strict", &json!({ "refreshTokenMaxReuse": 0 })).await;
    let family = Family::of(keycloak, "strict").await;
    let mut sidecar = Sidecar::start(&family.configuration()).await;
    for kill in 1..=KILLS {
        ready(&sidecar).await;
        // The first process asks as it starts; each later one goes on with the token on the disk.
        if kill > 1 {
            sidecar.refresh().await;
        }
        assert!(is_served(&sidecar).await, "lost by kill {} of {KILLS}", kill - 1);
        assert_eq!(family.front.passed().len(), kill, "one request for each process");
        tokio::time::sleep(Duration::from_millis(fastrand::u64(0..50))).await;
        (_, sidecar) = sidecar.killed_and_run_again().await;
    }
    ready(&sidecar).await;
    sidecar.refresh().await;
    assert!(is_served(&sidecar).await, "lost by the last kill");
    println!("outside of a request: {KILLS} of {KILLS} kills lost nothing");
}

/// Keycloak takes each refresh token twice.
async fn before_the_answer(keycloak: &Keycloak) {
    keycloak.realm("lenient", &json!({ "refreshTokenMaxReuse": 1 })).await;
    let family = Family::of(keycloak, "lenient").await;
    let mut sidecar = Sidecar::start(&family.configuration()).await;
    ready(&sidecar).await;
    for kill in 1..=KILLS {
        let served;
        (sidecar, served) = killed_unheard(sidecar, &family.front).await;
        assert!(served, "lost by kill {kill} of {KILLS}");
    }
    println!("before the answer: {KILLS} of {KILLS} kills lost nothing");
    sidecar.stop().await;
}
