//! What a file or a command may hold in place of a token: each has its own message, and the current token goes on.

use std::fs;

use super::*;
use crate::config::ExecSource;

const GOOD: &str = r#"{"token":"good","expires_in":3600}"#;
const CONTROL: &str = "the token has a line break, a NUL, white space or another control character in it";

/// What is put there, and what is said of it.
const BAD: [(&str, &str); 14] = [
    ("", "the answer is empty"),
    ("{\"token\": CANARY", "the answer is neither JSON nor a token"),
    ("<html><h1>CANARY</h1>", "the answer is HTML: a login or an error page?"),
    ("one CANARY\ntwo", CONTROL),
    ("{\"token\":[\"CANARY\"]}", "`token` has the wrong type"),
    ("CANARY\0", CONTROL),
    ("{\"access_token\":7,\"expires_in\":[]}", "`access_token` has the wrong type"),
    ("{\"token\":\"CANARY\",\"expires_at\":1000000000}", "the source gave a token that has already expired"),
    ("{\"token\":\"CANARY\\r\\nX-Evil: 1\"}", CONTROL),
    ("[\"CANARY\"]", "the answer is JSON but no object"),
    ("{\"CANARY\":1}", "the answer has no token"),
    ("{\"token\":\"CANARY\\u0000\"}", CONTROL),
    (
        "{\"kind\":\"ExecCredential\",\"apiVersion\":\"client.authentication.k8s.io/v1\",\"status\":{\"clientCertificateData\":\"CANARY\"}}",
        "the ExecCredential has a client certificate and no token",
    ),
    ("{\"error\":\"invalid_grant\"}", "the source answered with the error invalid_grant"),
];

impl Rig {
    /// The current token is the one that was good, still valid.
    async fn unharmed(&self, what: &str) {
        let token = self.token().await;
        assert_eq!((token.expose(), token.generation), ("good", Generation(1)), "{what}");
        let status = self.credential.status();
        assert!(!format!("{status:?}").contains("CANARY"), "{what}: {status:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_a_file_holds_the_current_token_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    fs::write(&path, GOOD).unwrap();
    let rig = Rig::new(&SourceConfig::File { path: path.clone(), answer: Default::default() });
    rig.token().await;
    for (text, reason) in BAD {
        fs::write(&path, text).unwrap();
        rig.said(Some(reason)).await;
        rig.unharmed(text).await;
    }
    let huge = fs::File::create(&path).unwrap();
    // It has holes: nobody needs a gigabyte of disk for this.
    huge.set_len(1 << 30).unwrap();
    // Too large to be looked at, it is no change; anyone who asks is told.
    rig.credential.secret_changed();
    rig.said(Some("token: is larger than 192 KiB")).await;
    rig.unharmed("a gigabyte").await;
    fs::write(&path, GOOD).unwrap();
    rig.said(None).await;
    rig.unharmed("the same token again").await;
    fs::write(&path, GOOD.replace("good", "better")).unwrap();
    let better = rig.credential.newer(Generation(1), within(60)).await.expect("the new token");
    assert_eq!((better.expose(), better.generation), ("better", Generation(2)));
    rig.end().await;
}

/// In real time: processes do not wait for a clock that is paused.
#[tokio::test]
async fn whatever_a_command_prints_the_current_token_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let script = |text: &str| fs::write(at("script"), text).unwrap();
    let print = |text: &str| {
        fs::write(at("output"), text).unwrap();
        script("cat output");
    };
    print(GOOD);
    let rig = Rig::with(
        &SourceConfig::Exec(Box::new(ExecSource {
            program: "sh".to_owned(),
            arguments: vec!["script".to_owned()],
            answer: Default::default(),
            env: Vec::new(),
            others: Vec::new(),
            directory: Some(dir.path().to_owned()),
        })),
        |policy| policy.timeout = Duration::from_secs(2),
    );
    rig.token().await;
    for (text, reason) in BAD {
        print(text);
        rig.credential.secret_changed();
        rig.said(Some(reason)).await;
        rig.unharmed(text).await;
    }
    for (text, reason) in [
        ("head -c 1073741824 /dev/zero", "sh printed more than 192 KiB, and was killed"),
        ("while printf a; do sleep 0.2; done", "sh did not end in time, and was killed with its children"),
        ("echo CANARY; exit 7", "sh ended with status 7"),
        ("printf '\\377CANARY'", "sh: the answer is not UTF-8"),
    ] {
        script(text);
        rig.credential.secret_changed();
        rig.said(Some(reason)).await;
        rig.unharmed(text).await;
    }
    // The life is not told again, or it would be a longer one.
    print("good");
    rig.credential.secret_changed();
    rig.said(None).await;
    rig.unharmed("the same token again").await;
    print(&GOOD.replace("good", "better"));
    rig.credential.secret_changed();
    let better = rig.credential.newer(Generation(1), within(60)).await.expect("the new token");
    assert_eq!((better.expose(), better.generation), ("better", Generation(2)));
    rig.end().await;
}
