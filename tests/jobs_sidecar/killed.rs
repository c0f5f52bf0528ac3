//! A sidecar that is killed while its clients are on tokens that it has renewed.

use std::{path::Path, time::Duration};

use crate::{
    jobs::{Client, Job, Kind, Ledger, Ready, Scenario},
    jobs_sidecar::stage::{ALICE, Plan, Stage},
};
use tokio::sync::oneshot;

/// A client that comes back by itself, until `over` says that it is enough.
async fn client(ready: Ready, port: u16, job: &Job, over: oneshot::Receiver<()>) -> Client {
    let scenario = Scenario {
        seconds: 60.0,
        settle: 2.0,
        back: Some(0.2),
        ..Scenario::new(Kind::Ws, vec![job.client(port, ALICE)])
    };
    ready.run_until(scenario, over).await.clients.remove(0)
}

fn moved_to(ledger: &Ledger, token: usize) -> bool {
    ledger.clients.get(ALICE).is_some_and(|seen| seen.tokens().contains(&token))
}

/// Tokens and jobs are UUIDs: whatever has the shape of one.
fn uuids(bytes: &[u8]) -> Vec<String> {
    let dashes = [8, 13, 18, 23];
    let is_one = |part: &[u8]| {
        part.iter()
            .enumerate()
            .all(|(at, byte)| if dashes.contains(&at) { *byte == b'-' } else { byte.is_ascii_hexdigit() })
    };
    bytes.windows(36).filter(|part| is_one(part)).map(|part| String::from_utf8_lossy(part).into()).collect()
}

fn stored(directory: &Path) -> Vec<u8> {
    let files = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.is_file()).flat_map(|path| std::fs::read(path).unwrap()).collect()
}

/// One job is renewed twice, so that its client's token is revoked, and one only once, so that it is in its grace.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node and npm packages: run by tests/all"]
async fn a_sidecar_that_was_killed_serves_within_grace_and_still_refuses_what_was_revoked() {
    let state = tempfile::tempdir().unwrap();
    let before = format!("[state]\nstore = \"disk\"\npath = {:?}", state.path());
    let plan = Plan { grace: Duration::from_secs(10), before, ..Plan::default() };
    let Stage { service, sidecar } = Stage::set(plan).await;
    let (first, second) = tokio::join!(Ready::start(), Ready::start());
    let (port, twice) = (sidecar.port, service.job().await);
    let (stop_twice, over_twice) = oneshot::channel();
    let (stop_once, over_once) = oneshot::channel();

    let story = async {
        service.until(&twice, |ledger| moved_to(ledger, 1)).await;
        let once = service.job().await;
        let second = client(second, port, &once, over_once);
        let rest = async {
            tokio::join!(
                service.until(&twice, |ledger| moved_to(ledger, 2)),
                service.until(&once, |ledger| moved_to(ledger, 1)),
            );
            let (log, sidecar) = sidecar.killed_and_run_again().await;
            let at_the_kill = service.ledger(&twice).await;
            // Back, and renewed once more.
            let ledger = service.until(&once, |ledger| moved_to(ledger, 2)).await;
            assert_eq!(ledger.rotations(), 2);
            for stop in [stop_twice, stop_once] {
                stop.send(()).unwrap();
            }
            (log, sidecar, at_the_kill)
        };
        let (second, rest) = tokio::join!(second, rest);
        (once, second, rest)
    };
    let (revoked, (once, served, (log, sidecar, at_the_kill))) =
        tokio::join!(client(first, port, &twice, over_twice), story);

    assert_eq!((served.opens.len(), served.open_at_end), (2, true), "{served:#?}");
    let ledger = service.ledger(&once).await;
    assert_eq!(ledger.client(ALICE).tokens(), [0, 1, 1, 2], "the new token, and then the next: {ledger:#?}");
    assert!(ledger.client(ALICE).refused.is_empty() && ledger.expired() == 0, "{ledger:#?}");

    let told: Vec<_> = revoked.closes.iter().filter(|close| close.code != 1006).collect();
    assert!(!told.is_empty() && !revoked.open_at_end, "{revoked:#?}");
    assert!(told.iter().all(|close| (close.code, &*close.reason) == (1008, "Token expired")), "{revoked:#?}");
    let ledger = service.ledger(&twice).await;
    let (seen, then) = (ledger.client(ALICE), at_the_kill.client(ALICE));
    assert_eq!((seen.connections.len(), seen.refused.len()), (then.connections.len(), 0), "{ledger:#?}");
    assert_eq!(ledger.rotations(), at_the_kill.rotations());

    let store = stored(state.path());
    assert!(store.len() > 1000 && uuids(twice.token.as_bytes()).len() == 1);
    assert_eq!(uuids(&store), Vec::<String>::new(), "the store holds no token");
    service.stop().await;
    let log = log + &sidecar.stop().await;
    assert_eq!(uuids(log.as_bytes()), Vec::<String>::new(), "nor does the log");
}
