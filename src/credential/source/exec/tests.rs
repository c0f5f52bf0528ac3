//! Real commands: what they give, every way in which they do not, and that none is left behind.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use super::*;
use crate::{
    clock::{self, Now},
    config::Secret,
    credential::{
        keeper::{FailureKind, Life},
        token::{Generation, Token},
    },
};

const SECOND: Duration = Duration::from_secs(1);

fn command(words: &[&str]) -> ExecSource {
    let mut words = words.iter().map(ToString::to_string);
    let program = words.next().unwrap();
    ExecSource {
        program,
        arguments: words.collect(),
        answer: Default::default(),
        env: Vec::new(),
        others: Vec::new(),
        directory: None,
    }
}

fn sh(script: &str) -> ExecSource {
    command(&["sh", "-c", script])
}

async fn fetch_in(source: &ExecSource, time: Duration) -> Result<Issued, SourceError> {
    ExecTokens::new(source).fetch(&Asking::default(), clock::now() + time).await
}

async fn fetch(source: &ExecSource) -> Result<Issued, SourceError> {
    fetch_in(source, SECOND * 30).await
}

async fn error(source: &ExecSource) -> String {
    let error = fetch(source).await.unwrap_err();
    assert_eq!(error.kind, FailureKind::Passing, "{error}");
    error.reason
}

/// Waits for a number that a script writes down.
async fn number(path: PathBuf) -> u32 {
    loop {
        // With its line end, it is the whole number.
        if let Some(number) =
            fs::read_to_string(&path).ok().and_then(|text| text.strip_suffix('\n')?.parse().ok())
        {
            return number;
        }
        time::sleep(Duration::from_millis(2)).await;
    }
}

/// Waits until a process is no more. One of our own has to be reaped as well; what becomes of others is init's.
async fn gone(process: u32, own: bool) {
    let wait = async {
        while let Ok(stat) = fs::read_to_string(format!("/proc/{process}/stat")) {
            if !own && stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')) {
                return;
            }
            time::sleep(Duration::from_millis(2)).await;
        }
    };
    time::timeout(SECOND * 20, wait).await.unwrap_or_else(|_| panic!("{process} is still there"));
}

#[tokio::test]
async fn every_shape_is_a_token() {
    let expiring = r#"{"access_token":"abc","expires_in":60}"#;
    let credential = r#"{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1",
        "status":{"token":"abc","expirationTimestamp":"2027-01-15T08:00:00Z"}}"#;
    let wall = Duration::from_secs(1_800_000_000);
    let cases = [
        ("abc\n", Life::Unknown),
        (expiring, Life::For(SECOND * 60)),
        (credential, Life::Until { wall, at_most: None }),
    ];
    for (output, life) in cases {
        let issued = fetch(&command(&["printf", "%s", output])).await.unwrap();
        assert_eq!((issued.text.as_str(), issued.life), ("abc", life));
    }
}

#[tokio::test]
async fn there_is_no_shell_and_nothing_to_type() {
    let literal = fetch(&command(&["printf", "%s", "$HOME;`id`"])).await.unwrap();
    assert_eq!(literal.text, "$HOME;`id`");
    assert_eq!(fetch(&sh("cat; printf abc")).await.unwrap().text, "abc", "stdin is empty");
}

#[tokio::test]
async fn it_finds_its_environment_and_its_directory() {
    let dir = tempfile::tempdir().unwrap();
    let mut source = sh("printf '%s:%s:%s' \"$SECRET\" \"$CARGO_PKG_NAME\" \"$(pwd -P)\"");
    source.env = vec![("SECRET".to_owned(), Secret::literal("two-words"))];
    source.directory = Some(dir.path().canonicalize().unwrap());
    let want = format!("two-words:perennial:{}", dir.path().canonicalize().unwrap().display());
    assert_eq!(fetch(&source).await.unwrap().text, want);
    let mut source = sh("printf %s \"$KUBERNETES_EXEC_INFO\" >info; printf abc");
    source.directory = Some(dir.path().to_owned());
    fetch(&source).await.unwrap();
    let info: serde_json::Value =
        serde_json::from_slice(&fs::read(dir.path().join("info")).unwrap()).unwrap();
    assert_eq!((&info["kind"], &info["spec"]["interactive"]), (&"ExecCredential".into(), &false.into()));
    // A plugin of the older version is told so.
    source.env = vec![("KUBERNETES_EXEC_INFO".to_owned(), Secret::literal("older"))];
    fetch(&source).await.unwrap();
    assert_eq!(fs::read(dir.path().join("info")).unwrap(), b"older");
}

#[tokio::test]
async fn what_cannot_be_run_is_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str, text: &str, mode: u32| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    assert_eq!(
        error(&command(&["perennial-no-such-program", "CANARY"])).await,
        "perennial-no-such-program was not found; name its whole path, or put it where PATH looks"
    );
    let (plain, lost) = (at("plain", "#!/bin/sh\n", 0o600), at("lost", "#!/nonexistent/sh\n", 0o700));
    assert!(
        error(&command(&[&plain]))
            .await
            .ends_with("plain may not be executed by this user; look at its mode")
    );
    assert!(error(&command(&[&lost])).await.ends_with("what its first line names to run it was not found"));
    let mut homeless = sh("printf abc");
    homeless.directory = Some("/nonexistent".into());
    assert_eq!(error(&homeless).await, "sh was not started: there is no directory /nonexistent to run it in");
    let mut secretless = sh("printf abc");
    secretless.env = vec![("KEY".to_owned(), Secret::file("/nonexistent/key"))];
    assert!(
        error(&secretless)
            .await
            .starts_with("sh was not started: its variable KEY: the file /nonexistent/key")
    );
}

#[tokio::test]
async fn every_way_to_fail_has_its_message_and_quotes_nothing() {
    let cases = [
        ("echo CANARY; exit 3", "sh ended with status 3; its stderr is in the log"),
        ("echo CANARY; kill -9 $$", "sh was killed by signal 9"),
        ("", "sh: the answer is empty"),
        ("echo '<!doctype html><p>CANARY'", "sh: the answer is HTML: a login or an error page?"),
        ("echo '{\"token\": CANARY'", "sh: the answer is neither JSON nor a token"),
        ("printf '\\377CANARY'", "sh: the answer is not UTF-8"),
        (
            "echo CANARY one; echo two",
            "sh: the token has a line break, a NUL, white space or another control character in it",
        ),
        (
            "printf 'CANARY\\000'",
            "sh: the token has a line break, a NUL, white space or another control character in it",
        ),
        ("echo '{\"token\":[\"CANARY\"],\"expires_in\":-5}'", "sh: `token` has the wrong type"),
        (
            "echo '{\"keyName\":\"a.b\",\"mac\":\"CANARY\",\"nonce\":\"n\"}'",
            "sh printed a TokenRequest, which is exchanged only with source = \"http\"",
        ),
        ("exec cat /dev/zero", "sh printed more than 192 KiB, and was killed"),
    ];
    for (script, reason) in cases {
        assert_eq!(error(&sh(script)).await, reason, "{script}");
    }
    let refused = fetch(&sh("echo '{\"error\":\"invalid_grant\"}'")).await.unwrap_err();
    assert_eq!(refused.kind, FailureKind::Terminal);
}

#[tokio::test]
async fn at_the_deadline_it_is_killed_with_its_children() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let mut source = sh("sleep 1000 & echo $! >child; echo $$ >self; while printf a; do sleep 0.05; done");
    source.directory = Some(dir.path().to_owned());
    let fetching = fetch_in(&source, Duration::from_millis(700));
    let (error, own, child) = tokio::join!(fetching, number(at("self")), number(at("child")));
    assert_eq!(error.unwrap_err().reason, "sh did not end in time, and was killed with its children");
    gone(own, true).await;
    gone(child, false).await;
}

#[tokio::test]
async fn a_fetch_that_is_dropped_leaves_nobody_behind() {
    let dir = tempfile::tempdir().unwrap();
    let mut source = sh("sleep 1000 & echo $! >child; echo $$ >self; sleep 1000");
    source.directory = Some(dir.path().to_owned());
    let fetching = Box::pin(fetch_in(&source, SECOND * 60));
    let started = async { (number(dir.path().join("self")).await, number(dir.path().join("child")).await) };
    let (own, child) = tokio::select! {
        _ = fetching => panic!("it ended"),
        numbers = started => numbers,
    };
    gone(own, true).await;
    gone(child, false).await;
}

#[tokio::test]
async fn who_was_left_behind_holds_nothing_up_and_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    // It has both pipes open, and would have them for long.
    let mut source = sh("sleep 1000 & echo $! >child; echo $$ >self; printf abc");
    source.directory = Some(dir.path().to_owned());
    let begun = clock::now();
    assert_eq!(fetch(&source).await.unwrap().text, "abc");
    assert!(clock::now() - begun < SECOND * 10, "{:?}", clock::now() - begun);
    gone(number(dir.path().join("self")).await, true).await;
    gone(number(dir.path().join("child")).await, false).await;
}

#[tokio::test]
async fn what_is_printed_last_by_a_child_is_heard() {
    assert_eq!(fetch(&sh("(sleep 0.1; printf abc) &")).await.unwrap().text, "abc");
}

#[tokio::test]
async fn a_command_that_closes_its_pipes_is_waited_for() {
    let script = "printf abc; exec >/dev/null 2>/dev/null; sleep 0.1; exit 4";
    assert_eq!(error(&sh(script)).await, "sh ended with status 4; its stderr is in the log");
}

#[tokio::test(start_paused = true)]
async fn a_changed_secret_is_seen() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    fs::write(&path, "one").unwrap();
    let mut source = command(&["tool", "ab", "c"]);
    source.env = vec![("KEY".to_owned(), Secret::file(&path))];
    let tokens = ExecTokens::new(&source);
    let before = tokens.asked_with().unwrap();
    assert_eq!(tokens.asked_with().unwrap(), before);
    fs::write(&path, "two").unwrap();
    time::advance(Duration::from_secs(1)).await;
    assert_ne!(tokens.asked_with().unwrap(), before);
    let other = |words: &[&str]| ExecTokens::new(&command(words)).asked_with().unwrap();
    assert_ne!(other(&["tool", "ab", "c"]), other(&["tool", "a", "bc"]));
    assert!(!format!("{tokens:?}").contains("two"));
}

/// Collects what is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What a fetch with this current token and secret logs.
async fn logged(script: &str) -> String {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    // With a second subscriber no line is off for good because another test's thread reached it first.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let mut source = sh(script);
    source.env = vec![("KEY".to_owned(), Secret::literal("hunter2"))];
    let current = Arc::new(Token::new("old-word", Generation(1), Now::read(), None));
    let asking = Asking { current: Some(current), ..Asking::default() };
    let fetched = ExecTokens::new(&source).fetch(&asking, clock::now() + SECOND * 30).await;
    assert!(!format!("{fetched:?}").contains("hunter2"));
    let bytes = log.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn stderr_is_logged_without_secrets() {
    let said = logged("echo \"key $KEY, was old-word, is new-word\" >&2; echo new-word").await;
    assert!(said.contains(" INFO ") && said.contains("command=\"sh\""), "{said}");
    assert!(said.contains("line=\"key ***, was ***, is ***\""), "{said}");
    let said = logged("echo 'new-word is no token' ; echo 'got new-word' >&2; exit 1").await;
    assert!(said.contains(" WARN ") && said.contains("line=\"got ***\""), "{said}");
    assert!(!said.contains("echo"), "the arguments are not shown: {said}");
}

#[tokio::test]
async fn stderr_is_bounded() {
    let said = logged("head -c 50000000 /dev/zero >&2; seq 1000 >&2; printf abcd").await;
    assert_eq!(said.matches("line=").count(), lines::MAX_LINES, "{said}");
    assert!(said.contains("line=\"1000\"") && said.contains("lines=980"), "{said}");
    assert!(said.len() < lines::MAX_LINES * lines::MAX_LINE * 2);
}

#[tokio::test]
async fn at_the_deadline_what_was_said_is_logged() {
    let source = sh("echo waiting for the network >&2; sleep 1000");
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    fetch_in(&source, Duration::from_millis(500)).await.unwrap_err();
    let said = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(said.contains("waiting for the network"), "{said}");
}
