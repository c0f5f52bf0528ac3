//! Known failures that the simulated network shows; `tests/README.md` lists them.

use std::time::Duration;

use crate::{expected::expected_failure, stage::Stage, tcp::Terms};

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn a_client_that_comes_back_at_once_finds_its_session() {
    expected_failure("core.md 8, H08", async || {
        let stage = Stage::parking(Terms::rtt(20));
        let (_client, near, mut service, _) = stage.session(Terms::rtt(20)).await;
        near.freeze();
        let again = async { tokio::time::timeout(secs(5), stage.service()).await.ok() };
        let (_back, _other, _) = tokio::join!(stage.client(Terms::rtt(20)), again, service.listen(secs(5)));
        assert_eq!(stage.fabric.dials().len(), 1, "the service is dialled again for a client that it serves");
    });
}
