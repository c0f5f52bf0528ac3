//! A service that throws the old connection out when a new one comes: a stock jupyter_server, whose clients have one
//! token, and notice nothing while tokens end and are renewed.

mod rig;

mod services {
    use std::time::Duration;

    use crate::{
        jupyter::rig::{Jupyter, client, token, tokens},
        sidecar::Sidecar,
    };

    const LIFE: Duration = Duration::from_secs(4);
    /// Of a client: five lives of a token.
    const SECONDS: u64 = 20;

    /// The rig itself: without Perennial a client with one connection lives on, and one that comes too late does not.
    #[tokio::test]
    #[ignore = "needs jupyter_server: tests/jupyter/install"]
    async fn a_client_is_let_in_while_its_token_lives() {
        let server = Jupyter::start().await;
        let report = client(&server, server.port, &token(LIFE), LIFE.as_secs() + 2).await;
        let all: Vec<u64> = (0..report.asked).collect();
        assert_eq!(
            (&report.closed, &report.replied, &report.printed),
            (&None, &all, &all),
            "{}",
            server.log()
        );
    }

    #[tokio::test]
    #[ignore = "needs jupyter_server: tests/jupyter/install"]
    async fn a_client_whose_old_connections_are_thrown_out_notices_nothing() {
        let server = Jupyter::start().await;
        let (at, endpoint) = (server.port, tokens(LIFE).await);
        let sidecar = Sidecar::start(&format!(
            "[[route]]\nname = \"kernels\"\nupstream = \"ws://127.0.0.1:{at}\"\ndialect = \"handshake\"\n\
             [route.token]\nsource = \"http\"\nurl = \"http://127.0.0.1:{endpoint}/\"\nrefresh_before = \"1s\"\n\
             [route.handshake]\nquery = \"token\"\n"
        ))
        .await;
        let report = client(&server, sidecar.port, "the-clients-own", SECONDS).await;
        let swaps = "perennial_reauthentications_total{method=\"swap\",outcome=\"ok\",route=\"kernels\"}";
        let swaps = sidecar.metric(swaps).await;
        let (_, page) = sidecar.ask("/metrics").await;
        let lost = page.lines().filter(|line| line.starts_with("perennial_messages_lost_total{"));
        let lost: f64 = lost.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum();
        let log = sidecar.stop().await;
        println!("{swaps} swaps, {lost} counted as lost, {report:?}\n{log}\n{}", server.log());
        assert_eq!(report.closed, None, "the client was cut");
        assert!(swaps >= 4.0, "{swaps} swaps");
        let thrown_out = server.log().matches("Replacing stale connection").count();
        assert!(thrown_out >= 4, "the server threw {thrown_out} connections out");
        // In order, and what is missing was counted.
        for heard in [&report.replied, &report.printed] {
            assert!(heard.is_sorted(), "{heard:?}");
            let missing = report.asked - heard.len() as u64;
            assert!(missing as f64 <= lost, "{missing} of {} are missing, {lost} were counted", report.asked);
        }
    }
}
