//! Refresh tokens that are not OAuth's: `source = "http"`, in JSON, with names of the service's own. They are as durable
//! as OAuth's.

use std::sync::{Arc, Mutex};

use crate::{
    handshake::stage::{body, json},
    sidecar::Sidecar,
    support::{beside, service::Service, until},
};

/// A service that takes each refresh token once, `R0` first; which ones it was shown.
async fn office() -> (u16, Arc<Mutex<Vec<String>>>) {
    let (service, shown) = (Service::start().await, Arc::new(Mutex::new(Vec::new())));
    let (port, noted) = (service.port, Arc::clone(&shown));
    beside(async move {
        loop {
            let mut asked = service.asked().await;
            let used = body(&mut asked).await["refreshToken"].as_str().unwrap_or_default().to_owned();
            let next = {
                let mut noted = noted.lock().unwrap();
                noted.push(used.clone());
                noted.len()
            };
            let is_next = used == format!("R{}", next - 1);
            let answer = match is_next {
                true => json(
                    200,
                    &format!(
                        r#"{{"data":{{"accessToken":"T{next}","expiresIn":2,"refreshToken":"R{next}"}}}}"#
                    ),
                ),
                false => json(400, r#"{"error_code":"refresh_token_already_used"}"#),
            };
            asked.answer(answer).await;
        }
    });
    (port, shown)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_token_in_json_outlives_a_kill() {
    let ((port, shown), directory) = (office().await, tempfile::tempdir().unwrap());
    let at = directory.path().display();
    std::fs::write(directory.path().join("first"), "R0").unwrap();
    std::fs::write(directory.path().join("secret"), "sixteen characters").unwrap();
    let configuration = format!(
        "[state]\nstore = \"disk\"\npath = \"{at}/kept\"\nsecret = {{ file = \"{at}/secret\" }}\n\
         [[route]]\nname = \"t\"\nupstream = \"ws://127.0.0.1:9\"\ndialect = \"handshake\"\n\
         [route.token]\nsource = \"http\"\nurl = \"http://127.0.0.1:{port}/refresh\"\n\
         refresh_token = {{ file = \"{at}/first\" }}\njson = {{ refreshToken = \"{{refresh_token}}\" }}\n\
         answer = {{ token = \"/data/accessToken\" }}\n[route.handshake]\nquery = \"t\"\n"
    );
    let refreshed = "perennial_token_refreshes_total{outcome=\"ok\",route=\"t\",trigger=\"schedule\"}";
    let mut sidecar = Sidecar::start(&configuration).await;
    for _ in 0..3 {
        until("a refresh that is over", || sidecar.metric(refreshed), |refreshed| *refreshed >= 1.0).await;
        sidecar = sidecar.killed_and_run_again().await.1;
    }
    until("a refresh that is over", || sidecar.metric(refreshed), |refreshed| *refreshed >= 1.0).await;
    let shown = shown.lock().unwrap().clone();
    let in_order = shown.iter().enumerate().all(|(nth, used)| *used == format!("R{nth}"));
    assert!(in_order && shown.len() >= 5, "{shown:?}");
}
