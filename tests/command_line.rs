//! The commands from outside: what they exit with, and what they say.

use std::{
    io::{Read, Write},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output},
};

use tempfile::TempDir;

fn perennial(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_perennial"));
    command.args(arguments).current_dir(directory);
    for name in ["PERENNIAL_CONFIG", "PERENNIAL_LOG", "PERENNIAL_TEST_SECRET"] {
        command.env_remove(name);
    }
    command.output().unwrap()
}

fn written(text: &str) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("perennial.toml"), text).unwrap();
    directory
}

/// Status, what went to stdout, and what went to stderr.
fn said(output: Output) -> (Option<i32>, String, String) {
    (
        output.status.code(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

const ROUTE: &str = "[[route]]\nname = \"r\"\nupstream = \"ws://127.0.0.1:9\"\ndialect = \"none\"\n";

/// A port that somebody else has.
fn taken() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

#[test]
fn check_says_what_the_configuration_means_and_listens_nowhere() {
    // Both addresses are taken: who would listen there would fail.
    let ((_one, listen), (_other, admin)) = (taken(), taken());
    let text = format!(
        "[listen]\naddress = \"{listen}\"\n[admin]\naddress = \"{admin}\"\n{ROUTE}\
         [route.token]\nsource = \"static\"\ntoken = \"s3cret-token\"\n[route.handshake]\nquery = \"token\"\n"
    );
    let directory = written(&text);
    let mode = |mode| std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(directory.path().join("perennial.toml"), mode(0o644)).unwrap();
    let (status, _, stderr) = said(perennial(directory.path(), &["check"]));
    assert_eq!(status, Some(0));
    assert!(
        stderr.contains("warning: ./perennial.toml has a secret in it, and every user can read it"),
        "{stderr}"
    );
    std::fs::set_permissions(directory.path().join("perennial.toml"), mode(0o600)).unwrap();
    let (status, stdout, stderr) = said(perennial(directory.path(), &["check"]));
    assert_eq!((status, &*stderr), (Some(0), ""));
    assert!(stdout.contains(&listen) && stdout.contains("ws://127.0.0.1:9"), "{stdout}");
    // Defaults are spelt out, secrets are not.
    assert!(stdout.contains("drain = \"10s\"") && !stdout.contains("s3cret"), "{stdout}");
    // It is a configuration itself, but for what is masked.
    let again = written(&stdout.replace(&listen, "127.0.0.1:0"));
    assert_eq!(said(perennial(again.path(), &["check"])).0, Some(0), "{stdout}");
}

#[test]
fn what_is_wrong_is_named_with_file_line_and_key() {
    let bad = [
        (
            format!("[limits]\nsessionz = 5\n{ROUTE}"),
            "bad.toml:2:1: limits.sessionz: ",
            "did you mean \"sessions\"?",
        ),
        (format!("[limits]\nmessage = \"1MB\"\n{ROUTE}"), "bad.toml:2:11: limits.message: ", "KiB"),
        (
            format!("[listen]\naddress = \"0.0.0.0:1\"\n{ROUTE}"),
            "bad.toml:2:11: listen.address: ",
            "open = true",
        ),
        ("[limits\n".to_owned(), "bad.toml:1:", ""),
        (String::new(), "bad.toml", "add a [[route]]"),
        (
            format!("{ROUTE}[route.client]\nsecret = {{ env = \"PERENNIAL_TEST_SECRET\" }}\n"),
            "bad.toml:6:10: route.client.secret: ",
            "PERENNIAL_TEST_SECRET",
        ),
    ];
    for (text, place, way_out) in bad {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("bad.toml"), &text).unwrap();
        for command in ["check", "run"] {
            let (status, stdout, stderr) =
                said(perennial(directory.path(), &[command, "--config", "bad.toml"]));
            assert_eq!((status, &*stdout), (Some(64), ""), "{text}\n{stderr}");
            assert!(stderr.starts_with("perennial: ") && stderr.contains(place), "{text}\n{stderr}");
            assert!(stderr.contains(way_out), "{text}\n{stderr}");
        }
    }
}

#[test]
fn certificates_and_keys_that_do_not_go_together_are_of_the_configuration() {
    let directory = written(&format!(
        "[listen]\ncertificate = \"one.pem\"\nkey = \"other.key\"\n{}[route.tls]\nca = \"no.pem\"\n",
        ROUTE.replace("ws://127.0.0.1:9", "wss://localhost")
    ));
    let pair = || rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    write("one.pem", &pair().cert.pem());
    write("other.key", &pair().signing_key.serialize_pem());
    write("no.pem", "no certificate\n");
    for command in ["check", "run"] {
        let (status, stdout, stderr) = said(perennial(directory.path(), &[command]));
        assert_eq!((status, &*stdout), (Some(64), ""), "{stderr}");
        let lines: Vec<&str> = stderr.lines().collect();
        let [listen, route] = lines[..] else { panic!("{stderr}") };
        assert!(
            listen.contains("./perennial.toml: [listen]: ") && listen.contains("KeyMismatch"),
            "{stderr}"
        );
        assert!(route.contains("route \"r\": [route.tls]: no.pem: "), "{stderr}");
    }
}

#[test]
fn the_schema_is_json_and_knows_the_keys() {
    let here = tempfile::tempdir().unwrap();
    let (status, stdout, _) = said(perennial(here.path(), &["schema"]));
    let schema: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(status, Some(0));
    assert_eq!(schema["properties"]["limits"]["properties"]["sessions"]["minimum"], 1);
}

#[test]
fn what_is_generated_is_of_this_version() {
    let here = tempfile::tempdir().unwrap();
    for (arguments, name) in [
        (&["schema"][..], "docs/perennial.schema.json"),
        (&["schema", "--page"], "docs/configuration.md"),
        (&["schema", "--file"], "docs/every-key.toml"),
    ] {
        let (status, generated, _) = said(perennial(here.path(), arguments));
        let committed = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name));
        let way_out = format!("{name} is stale: cargo run -- {} > {name}", arguments.join(" "));
        assert!(status == Some(0) && committed.unwrap_or_default() == generated, "{way_out}");
    }
}

#[test]
fn check_says_how_each_is_reached_and_shows_no_password() {
    let directory = written(
        "[[route]]\nname = \"r\"\nupstream = \"wss://feed.example\"\ndialect = \"handshake\"\nhandshake.query = \"t\"\n\
         token = { source = \"http\", url = \"https://auth.corp/t\" }\nhttp.upstream = \"http://127.0.0.1:9\"\n",
    );
    let check = |proxy: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_perennial"));
        command.arg("check").current_dir(directory.path()).env("https_proxy", proxy).env("no_proxy", ".corp");
        said(command.output().unwrap())
    };
    let (status, stdout, stderr) = check("http://me:CANARY@proxy.example:3128");
    assert_eq!(status, Some(0), "{stderr}");
    let (_, ways) = stdout.split_once("# How each is reached:\n").unwrap();
    let ways: Vec<&str> = ways.lines().collect();
    assert_eq!(
        ways,
        [
            "# route \"r\", upstream: feed.example:443: through http://proxy.example:3128 (https_proxy)",
            "# route \"r\", http.upstream: 127.0.0.1:9: directly (no proxy)",
            "# route \"r\", token: auth.corp:443: directly (NO_PROXY)",
        ]
    );
    assert!(!stdout.contains("CANARY") && !stderr.contains("CANARY"), "{stdout}{stderr}");
    let (status, stdout, stderr) = check("ftp://me:CANARY@proxy.example");
    assert_eq!((status, &*stdout), (Some(64), ""), "{stderr}");
    assert!(stderr.contains("the environment variable https_proxy: expected a URL"), "{stderr}");
    assert!(!stderr.contains("CANARY"), "{stderr}");
}

#[test]
fn everything_that_is_wrong_is_named_at_once() {
    let directory = written(&format!(
        "[limits]\nsessions = 0\ndrain = 5\n[admin]\naddress = \"x\"\n{ROUTE}path = \"no\"\n"
    ));
    let (status, _, stderr) = said(perennial(directory.path(), &["check"]));
    assert_eq!(status, Some(64));
    for key in ["limits.sessions", "limits.drain", "admin.address", "route.path"] {
        assert!(stderr.contains(key), "{key} is not named:\n{stderr}");
    }
}

#[test]
fn without_a_configuration_the_way_out_is_said() {
    let empty = tempfile::tempdir().unwrap();
    for command in ["run", "check"] {
        let (status, _, stderr) = said(perennial(empty.path(), &[command]));
        assert_eq!(status, Some(64));
        assert!(stderr.contains("./perennial.toml") && stderr.contains("--config FILE"), "{stderr}");
        let (status, _, stderr) = said(perennial(empty.path(), &[command, "--config", "nowhere.toml"]));
        assert_eq!(status, Some(64));
        assert!(stderr.contains("nowhere.toml: cannot be read"), "{stderr}");
    }
}

#[test]
fn what_is_not_understood_is_64_and_help_is_not_an_error() {
    let here = written(ROUTE);
    for arguments in [
        &["token", "r", "--query", "no-pair"][..],
        &["run", "--no-such-flag"],
        &["no-such-command"],
        &[],
        &["check", "--log-level", "=,="],
        &["check", "--log-level", "warning"],
        &["check", "--log-format", "xml"],
    ] {
        let (status, stdout, stderr) = said(perennial(here.path(), arguments));
        assert_eq!((status, &*stdout), (Some(64), ""), "{arguments:?}");
        assert!(!stderr.is_empty(), "{arguments:?}");
    }
    for (arguments, word) in [
        (&["--help"][..], "Usage: perennial"),
        (&["run", "--help"], "--config <FILE>"),
        (&["check", "--help"], "secrets masked"),
        (&["token", "--help"], "--client-token-file <FILE>"),
        (&["--version"], concat!("perennial ", env!("CARGO_PKG_VERSION"))),
    ] {
        let (status, stdout, stderr) = said(perennial(here.path(), arguments));
        assert_eq!((status, &*stderr), (Some(0), ""), "{arguments:?}");
        assert!(stdout.contains(word), "{arguments:?}: {stdout}");
    }
}

/// A configuration of one route whose token a script prints.
fn printing(script: &str) -> TempDir {
    let directory = written(&format!(
        "{ROUTE}[route.token]\nsource = \"exec\"\ncommand = [\"sh\", \"script\"]\ntimeout = \"2s\"\n\
         [route.handshake]\nquery = \"token\"\n\
         [[route]]\nname = \"bare\"\npath = \"/bare\"\nupstream = \"ws://127.0.0.1:9\"\ndialect = \"none\"\n"
    ));
    std::fs::write(directory.path().join("script"), script).unwrap();
    directory
}

#[test]
fn token_says_what_a_source_gives_and_shows_nothing_of_it() {
    let script = "echo \"got s3cret-token\" >&2; echo '{\"token\":\"s3cret-token\",\"expires_in\":3600}'";
    let directory = printing(script);
    for arguments in [&["token"][..], &["token", "r"], &["token", "r", "--log-level", "trace"]] {
        let (status, stdout, stderr) = said(perennial(directory.path(), arguments));
        assert_eq!(status, Some(0), "{stderr}");
        for row in [
            "route          r\n",
            "source         exec sh\n",
            "kind           opaque\n",
            "length         12 bytes\n",
        ] {
            assert!(stdout.contains(row), "{row} in\n{stdout}");
        }
        assert!(stdout.contains("told by the answer"), "{stdout}");
        assert!(stderr.contains("got ***"), "{stderr}");
        assert!(!format!("{stdout}{stderr}").contains("s3cret"), "{stdout}{stderr}");
    }
    let (status, stdout, _) =
        said(perennial(directory.path(), &["token", "--format", "json", "--log-level", "off"]));
    let json: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((status, &json["length"], &json["source"]), (Some(0), &12.into(), &"exec".into()));
}

/// Process lists show arguments.
#[test]
fn what_a_client_would_show_may_stand_in_a_file() {
    let endpoint = TcpListener::bind("127.0.0.1:0").unwrap();
    let text = format!(
        "{ROUTE}[route.token]\nsource = \"http\"\nurl = \"http://{}/hooks/9f86d081884c7d659a2feaa0?user={{query.user}}\"\n\
         headers = {{ Authorization = \"{{header.authorization}}\" }}\nshare = \"client\"\nidentity = \"{{query.user}}\"\n\
         [route.handshake]\nquery = \"token\"\n",
        endpoint.local_addr().unwrap()
    );
    let directory = written(&text);
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    write("header", "Bearer s3cret-header\n");
    write("query", "s3cret-query");
    let head = std::thread::spawn(move || {
        let (mut tcp, _) = endpoint.accept().unwrap();
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") && tcp.read(&mut byte).unwrap() == 1 {
            head.push(byte[0]);
        }
        let body = "{\"token\":\"s3cret-token\",\"expires_in\":60}";
        let kind = "Content-Type: application/json";
        write!(tcp, "HTTP/1.1 200 OK\r\n{kind}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        String::from_utf8(head).unwrap()
    });
    let files = ["token", "--header-file", "Authorization=header", "--query-file", "user=query"];
    let (status, stdout, stderr) = said(perennial(directory.path(), &files));
    assert_eq!(status, Some(0), "{stdout}{stderr}");
    let head = head.join().unwrap();
    assert!(head.contains("authorization: Bearer s3cret-header\r\n"), "{head}");
    assert!(head.contains("?user=s3cret-query "), "{head}");
    // What looks like a secret in the path of a URL is one.
    assert!(stdout.contains("/hooks/***?***\n"), "{stdout}");
    let (_, checked, _) = said(perennial(directory.path(), &["check"]));
    assert!(checked.contains("/hooks/***?***\""), "{checked}");
    assert!(!format!("{stdout}{stderr}{checked}").contains("s3cret"), "{stdout}{stderr}{checked}");

    let missing = ["token", "--header-file", "Authorization=nowhere"];
    let (status, _, stderr) = said(perennial(directory.path(), &missing));
    assert!(
        status == Some(64) && stderr.contains("--header-file: the file nowhere cannot be read"),
        "{stderr}"
    );
    let (_, help, _) = said(perennial(directory.path(), &["token", "--help"]));
    assert_eq!(help.matches("Other users of the machine").count(), 2, "{help}");
}

#[test]
fn token_fails_with_one_and_a_wrong_route_is_64() {
    let failing = printing("echo s3cret-token; exit 9");
    let (status, stdout, stderr) = said(perennial(failing.path(), &["token"]));
    assert_eq!((status, &*stdout), (Some(1), ""), "{stderr}");
    assert!(
        stderr.contains("route \"r\": sh ended with status 9") && stderr.contains("asks again"),
        "{stderr}"
    );
    assert!(!stderr.contains("s3cret"), "{stderr}");
    for (route, way_out) in [("nowhere", "those with a token: r"), ("bare", "those with one: r")] {
        let (status, stdout, stderr) = said(perennial(failing.path(), &["token", route]));
        assert_eq!((status, &*stdout), (Some(64), ""), "{stderr}");
        assert!(stderr.contains(way_out), "{stderr}");
    }
    let expired = printing("echo '{\"token\":\"s3cret-token\",\"expires_at\":1000000000}'");
    let (status, stdout, stderr) = said(perennial(expired.path(), &["token"]));
    assert!(
        status == Some(1) && stdout.contains(" ago, 2001-09-09") && stderr.contains("already expired"),
        "{stdout}{stderr}"
    );
}

#[test]
fn token_leaves_no_command_behind_when_it_is_interrupted() {
    let directory = printing("sleep 1000 & echo $! >child; wait");
    let text = std::fs::read_to_string(directory.path().join("perennial.toml")).unwrap();
    let text = text.replace("timeout = \"2s\"", "timeout = \"1h\"");
    std::fs::write(directory.path().join("perennial.toml"), text).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_perennial"))
        .arg("token")
        .current_dir(directory.path())
        .env_remove("PERENNIAL_CONFIG")
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let written = || {
        std::fs::read_to_string(directory.path().join("child")).ok()?.strip_suffix('\n').map(str::to_owned)
    };
    soon(|| written().is_some());
    let kill = Command::new("kill").args(["-s", "INT", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    assert_eq!(child.wait().unwrap().code(), Some(1));
    let left_behind = written().unwrap();
    // Who reaps it now is not for us to say: a zombie runs no more.
    soon(|| match std::fs::read_to_string(format!("/proc/{left_behind}/stat")) {
        Ok(stat) => stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')),
        Err(_) => true,
    });
}

/// Waits until it is so.
fn soon(is_so: impl Fn() -> bool) {
    for _ in 0..4000 {
        if is_so() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    panic!("it did not become so in 20 s");
}

#[test]
fn an_address_in_use_is_named() {
    let (_held, address) = taken();
    let free = "127.0.0.1:0";
    for (listen, admin, key) in [(&*address, free, "listen.address"), (free, &*address, "admin.address")] {
        let directory =
            written(&format!("[listen]\naddress = \"{listen}\"\n[admin]\naddress = \"{admin}\"\n{ROUTE}"));
        let (status, _, stderr) = said(perennial(directory.path(), &["run"]));
        assert_eq!(status, Some(1), "{stderr}");
        assert!(stderr.contains(&format!("{key} = \"{address}\"")) && stderr.contains("in use"), "{stderr}");
    }
}

/// A token endpoint and a device authorization endpoint: what is said to each request, in their order.
fn played(answers: &'static [&'static str]) -> (u16, std::thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        let mut seen = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = vec![0; 16 * 1024];
            let mut length = 0;
            while !String::from_utf8_lossy(&request[..length]).contains("client_id=") {
                length += stream.read(&mut request[length..]).unwrap();
            }
            seen.push(String::from_utf8_lossy(&request[..length]).into_owned());
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", answer.len());
            stream.write_all((head + answer).as_bytes()).unwrap();
        }
        seen
    });
    (port, server)
}

#[test]
fn a_login_says_what_to_do_and_puts_the_refresh_token_into_its_file() {
    let (port, server) = played(&[
        r#"{"device_code":"DEV-CANARY","user_code":"WDJB\u202e-MJHT","verification_uri":"http://h/device","expires_in":600,"interval":0}"#,
        r#"{"access_token":"AT-CANARY","refresh_token":"RT-CANARY","refresh_expires_in":86400}"#,
    ]);
    let text = format!(
        "[[route]]\nname = \"r\"\nupstream = \"ws://127.0.0.1:9\"\ndialect = \"handshake\"\nhandshake.query = \"t\"\n\
         [route.token]\nsource = \"oauth2\"\ntoken_url = \"http://127.0.0.1:{port}/token\"\nclient_id = \"me\"\n\
         grant = \"refresh_token\"\nrefresh_token = {{ file = \"refresh\" }}\n"
    );
    let here = written(&text);
    let (status, _, stderr) = said(perennial(here.path(), &["check"]));
    let warning =
        "warning: route \"r\", token.refresh_token: refresh is not there yet; run perennial login r\n";
    assert!(status == Some(0) && stderr.ends_with(warning), "{stderr}");
    let (status, _, stderr) = said(perennial(here.path(), &["login", "r"]));
    assert!(status == Some(64) && stderr.contains("add --device-url URL"), "{stderr}");

    let url = format!("http://127.0.0.1:{port}/device");
    let (status, stdout, stderr) = said(perennial(here.path(), &["login", "r", "--device-url", &url]));
    assert_eq!((status, &*stderr), (Some(0), ""));
    assert!(
        stdout.contains("\n    http://h/device\n") && stdout.contains("\n    WDJB\\u{202e}-MJHT\n"),
        "{stdout}"
    );
    assert!(stdout.contains("The code is good for 10m."), "{stdout}");
    assert!(stdout.contains("\nThe refresh token is in refresh. It ends in 1d, 20"), "{stdout}");
    assert!(!stdout.contains("CANARY"), "{stdout}");
    let file = here.path().join("refresh");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "RT-CANARY");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(server.join().unwrap()[1].contains("device_code=DEV-CANARY"));
    assert!(!said(perennial(here.path(), &["check"])).2.contains("not there"));
}

#[test]
fn explain_tells_what_a_message_takes_and_which_routes_there_are() {
    let dialect = "[dialect.x.source.s]\nsource = \"file\"\npath = \"/v\"\n[[dialect.x.frame]]\nmatch = { \"/op\" = \"sub\" }\n\
                   arg = \"{item/ch}\"\nset = { \"/t\" = \"{token.s}\" }\n";
    let directory = written(&format!("{}{dialect}", ROUTE.replace("none", "x")));
    std::fs::write(directory.path().join("said"), "> {\"op\":\"sub\",\"ch\":\"a\"}\n").unwrap();
    let (status, stdout, stderr) = said(perennial(directory.path(), &["check", "--explain", "said"]));
    assert_eq!((status, &*stderr), (Some(0), ""));
    let told = "> {\"op\":\"sub\",\"ch\":\"a\"}\n    frame 1: /t is set\n    waits for the value of source \"s\" for \"a\"\n    \
                goes on as {\"op\":\"sub\",\"ch\":\"a\",\"t\":\"VALUE\"}\n";
    assert_eq!(stdout, told);
    let (status, _, stderr) =
        said(perennial(directory.path(), &["check", "--explain", "said", "--route", "q"]));
    assert_eq!(status, Some(64));
    assert!(stderr.contains("there is no route \"q\"; known are r"), "{stderr}");
}
