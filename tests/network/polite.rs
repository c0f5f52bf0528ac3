//! A service that refuses every dial for a time: it is asked by one session of the route, not by all.

use std::time::Duration;

use futures_util::future::join_all;
use perennial::clock;

use crate::{
    peer::Peer,
    stage::Stage,
    support::{service::Asked, ws::Wire},
    tcp::Terms,
};

const SESSIONS: usize = 20;
const AWAY: Duration = Duration::from_secs(12);

#[tokio::test(start_paused = true)]
async fn sessions_that_a_service_refuses_for_now_do_not_storm_it() {
    let terms = Terms::rtt(20);
    let stage = Stage::set("handshake", "keepalive = \"0s\"", terms);
    let mut clients = Vec::new();
    let mut services = Vec::new();
    for _ in 0..SESSIONS {
        let (client, _, service, _) = stage.session(terms).await;
        clients.push(client);
        services.push(service);
    }
    drop(services);
    let lost = clock::now();
    let service = async {
        let (mut refused, mut served) = (0, Vec::new());
        while served.len() < SESSIONS {
            let (end, _) = stage.fabric.accept().await;
            let mut wire = Wire::new(end);
            if lost.elapsed() < AWAY {
                let head = wire.head().await;
                let limit = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 5\r\nContent-Length: 0\r\n\r\n";
                Asked { head, wire }.answer(limit).await;
                refused += 1;
            } else {
                served.push(Peer::service(wire).await);
            }
        }
        (refused, lost.elapsed())
    };
    let ((refused, took), _) =
        tokio::join!(service, join_all(clients.iter_mut().map(|client| client.listen(AWAY * 3))));
    println!("{refused} dials were refused, and all sessions were served after {took:?}");
    // Those that were under way at the first refusal, and one each time that it named.
    assert!(refused <= SESSIONS + 3, "{refused} dials to a service that refuses them all");
    assert!(took < AWAY * 2, "all sessions were served after {took:?}");
    assert!(clients.iter().all(|client| client.end.is_none()), "no client has noticed");
}
