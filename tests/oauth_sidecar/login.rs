//! A person logs in while the sidecar waits for its first refresh token.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::Command,
};

use super::{ready, rotating};
use crate::{
    provider::Provider,
    sidecar::Sidecar,
    support::{soon, until},
};

/// What a person does with this address, to the end.
async fn person(address: &str) {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/provider/person.mjs");
    let done = Command::new("node").arg(script).arg(address).output();
    let done = soon("the end of the person's way", done).await.unwrap();
    let said = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
    assert!(done.status.success(), "{}\n{}", said(&done.stdout), said(&done.stderr));
}

/// `perennial login`, whose addresses a person opens: the last one that stands alone in a line.
async fn log_in(configuration: &Path, arguments: &[&str], last_line: &str) -> String {
    let binary = std::env::var("PERENNIAL_BINARY");
    let mut child = Command::new(binary.unwrap_or_else(|_| env!("CARGO_BIN_EXE_perennial").into()))
        .args(["login", "oauth", "--scope", "openid offline_access ws"])
        .args(arguments)
        .arg("--config")
        .arg(configuration)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let (mut all, mut address) = (String::new(), String::new());
    while !all.contains(last_line) {
        let mut line = String::new();
        assert_ne!(soon("what to do", out.read_line(&mut line)).await.unwrap(), 0, "{all}");
        if line.starts_with("    http") {
            line.trim().clone_into(&mut address);
        }
        all.push_str(&line);
    }
    person(&address).await;
    soon("the rest", out.read_to_string(&mut all)).await.unwrap();
    assert_eq!(soon("its end", child.wait()).await.unwrap().code(), Some(0), "{all}");
    all
}

async fn a_waiting_sidecar_goes_on(arguments: &[&str], last_line: &str) {
    let provider = Provider::start(2).await;
    let directory = tempfile::tempdir().unwrap();
    let (state, refresh) = (directory.path().join("state"), directory.path().join("refresh"));
    let token_url = format!("token_url = \"http://127.0.0.1:{}/token\"", provider.port);
    let issuer = format!("issuer = \"http://127.0.0.1:{}\"", provider.port);
    let configuration = rotating(provider.port, &state, &refresh)
        .replace(&token_url, &issuer)
        .replace("\"basic\"", "\"native\"");
    let file = directory.path().join("perennial.toml");
    std::fs::write(&file, &configuration).unwrap();

    let sidecar = Sidecar::start(&configuration).await;
    let advice = format!("{} is not there yet; run perennial login oauth", refresh.display());
    until("the advice", || async { sidecar.ask("/status.json").await.1 }, |status| status.contains(&advice))
        .await;

    let said = log_in(&file, arguments, last_line).await;
    let token = std::fs::read_to_string(&refresh).unwrap();
    assert!(said.contains(&format!("The refresh token is in {}.", refresh.display())), "{said}");
    assert!(!token.is_empty() && !said.contains(&token), "{said}");
    assert_eq!(std::fs::metadata(&refresh).unwrap().permissions().mode() & 0o777, 0o600);

    ready(&sidecar).await;
    // It goes on from the successor of that one.
    let ledger = provider.until(|ledger| ledger.granted >= 3).await;
    assert_eq!(ledger.revoked, 0, "{ledger:?}");
    assert!(ledger.refused.iter().all(|code| code == "authorization_pending"), "{ledger:?}");
    let log = sidecar.stop().await;
    assert_eq!(log.matches("\"message\":\"route \\\"oauth\\\", token.refresh_token: ").count(), 1, "{log}");
    assert!(!log.contains(&token));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs npm's oidc-provider, which tests/all installs"]
async fn a_sidecar_that_waits_goes_on_after_a_device_login() {
    a_waiting_sidecar_goes_on(&[], "Ctrl-C").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs npm's oidc-provider, which tests/all installs"]
async fn a_sidecar_that_waits_goes_on_after_a_login_in_a_browser() {
    a_waiting_sidecar_goes_on(&["--way", "browser", "--parameter", "prompt=consent"], "Ctrl-C").await;
}
