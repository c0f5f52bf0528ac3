//! `perennial probe`, `status` and `rehearse` from outside, against an admin server that is played here, and
//! against one that is not what it should be.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Command, Output, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use perennial::admin::{
    done::{Asked, Rehearsed},
    status::{CredentialStatus, EventLine, Outcomes, RouteStatus, Status, StoreStatus},
};
use rustix::process::{Pid, Signal, kill_process};

type Answers = dyn Fn(&str) -> Vec<u8> + Send + Sync;

/// An admin server: each request's head is kept, and answered as the test says.
struct Played {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Played {
    fn new(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::<Mutex<Vec<String>>>::default();
        let (kept, answer): (_, Arc<Answers>) = (Arc::clone(&heads), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (kept, answer) = (Arc::clone(&kept), Arc::clone(&answer));
                std::thread::spawn(move || serve(stream, &kept, &*answer));
            }
        });
        Self { address, heads }
    }

    /// The first lines of what was asked.
    fn asked(&self) -> Vec<String> {
        let heads = self.heads.lock().unwrap();
        heads.iter().map(|head| head.lines().next().unwrap().to_owned()).collect()
    }
}

fn serve(mut stream: TcpStream, kept: &Mutex<Vec<String>>, answer: &Answers) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let said = answer(&head);
    kept.lock().unwrap().push(head);
    let _ = stream.write_all(&said);
}

fn http(status: u16, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let mut answer = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n", body.len()).into_bytes();
    answer.extend_from_slice(body);
    answer
}

fn command(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_perennial"));
    command.args(arguments).current_dir(directory).stdin(Stdio::null());
    for name in ["PERENNIAL_CONFIG", "PERENNIAL_LOG", "PERENNIAL_ADMIN", "PERENNIAL_REHEARSAL_SECRET"] {
        command.env_remove(name);
    }
    command
}

/// Status, what went to stdout, and what went to stderr.
fn said(output: &Output) -> (Option<i32>, String, String) {
    let [out, err] =
        [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    (output.status.code(), out, err)
}

/// The same of a command that is told where the admin server is.
fn run(server: &Played, arguments: &[&str]) -> (Option<i32>, String, String) {
    let address = server.address.to_string();
    let arguments: Vec<&str> = arguments.iter().copied().chain(["--admin", &address]).collect();
    said(&command(Path::new("/"), &arguments).output().unwrap())
}

#[test]
fn probe_says_one_line_and_its_status_is_the_answer() {
    let server = Played::new(|head| match head.split(' ').nth(1).unwrap() {
        "/livez" => http(200, "live: the loop turns\n"),
        "/readyz" => {
            http(503, "not ready\nroute \"r\": its credential has no valid token\nchecked: this and that\n")
        }
        "/startupz" => http(200, "started: was ready\x1b[2J once\nmore\n"),
        _ => http(404, "not here"),
    });
    let not_ready = "not ready: route \"r\": its credential has no valid token\n";
    for (arguments, status, line) in [
        (&["probe", "live"][..], 0, "live: the loop turns\n"),
        (&["probe"], 1, not_ready),
        (&["probe", "ready"], 1, not_ready),
        (&["probe", "started"], 0, "started: was ready\\u{1b}[2J once\n"),
    ] {
        assert_eq!(run(&server, arguments), (Some(status), line.to_owned(), String::new()), "{arguments:?}");
    }
    let other = Played::new(|_| http(404, "some other server"));
    let (status, out, err) = run(&other, &["probe"]);
    assert_eq!((status, &*out), (Some(1), ""));
    assert!(
        err.contains("404 for /readyz") && err.contains("--admin HOST:PORT") && !err.contains("some other"),
        "{err}"
    );
    assert_eq!(run(&server, &["probe", "well"]).0, Some(64));
}

#[test]
fn the_admin_address_is_found_where_it_is_said() {
    let server = Played::new(|_| http(200, "ready: yes\n"));
    let address = server.address.to_string();
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, admin: &str| {
        // Neither its secret nor its route is for this command to judge.
        let text = format!(
            "[admin]\naddress = \"{admin}\"\nrehearsal_secret = {{ env = \"NOWHERE\" }}\n[[route]]\nname = 5\nsecret = {{ env = \"NOWHERE\" }}\n"
        );
        std::fs::write(directory.path().join(name), text).unwrap();
    };
    let well = |command: &mut Command| said(&command.output().unwrap()).0 == Some(0);
    let here = || command(directory.path(), &["probe"]);
    assert!(well(here().args(["--admin", &address])));
    assert!(well(here().args(["--admin", &format!("http://{address}/")])));
    assert!(well(here().env("PERENNIAL_ADMIN", &address)));
    write("perennial.toml", &address.replace("127.0.0.1", "0.0.0.0"));
    assert!(well(&mut here()), "0.0.0.0 means loopback");
    let (_none, nobody) = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        ((), address)
    };
    write("perennial.toml", &nobody);
    write("other.toml", &address);
    assert!(well(here().args(["--config", "other.toml"])));
    assert!(well(here().env("PERENNIAL_CONFIG", "other.toml")));
    assert!(
        !well(here().env("PERENNIAL_CONFIG", "other.toml").args(["--admin", &nobody])),
        "--admin comes first"
    );
    let (status, out, err) = said(&here().output().unwrap());
    assert_eq!((status, &*out), (Some(1), ""));
    let way_out = format!("perennial: nothing listens on {nobody}; is perennial running? --admin");
    assert!(err.starts_with(&way_out), "{err}");
    for (arguments, words) in [
        (["--config", "nowhere.toml"], "nowhere.toml: cannot be read"),
        (["--admin", "127.0.0.1"], "expected HOST:PORT"),
    ] {
        let (status, _, err) = said(&here().args(arguments).output().unwrap());
        assert!(status == Some(64) && err.contains(words), "{status:?} {err}");
    }
    write("perennial.toml", "127.0.0.1:0");
    let (status, _, err) = said(&here().output().unwrap());
    assert!(status == Some(1) && err.contains("`listening`"), "{status:?} {err}");
}

/// A sidecar of forty sessions.
fn sidecar() -> Status {
    let mut route = RouteStatus { name: "ably".into(), share: "route".into(), ..RouteStatus::default() };
    route.sessions.insert("live".into(), 40);
    route.credentials_total = 1;
    route.credentials.push(CredentialStatus {
        name: "1a2b3c4d".into(),
        state: "valid".into(),
        generation: 3,
        issued: Some(900.0),
        expires: Some(1300.0),
        next_refresh: Some(1200.0),
        ..CredentialStatus::default()
    });
    let store = StoreStatus { kind: "memory".into(), up: true, error: None };
    let event = EventLine {
        level: "info".into(),
        message: "listening".into(),
        at: 950.0,
        count: 1,
        ..EventLine::default()
    };
    Status {
        now: 1000.0,
        started: 900.0,
        ready: true,
        store,
        routes: vec![route],
        events: vec![event],
        ..Status::default()
    }
}

fn json(status: &Status) -> Vec<u8> {
    http(200, serde_json::to_vec(status).unwrap())
}

#[test]
fn status_is_a_page_for_people_and_json_for_machines() {
    let server = Played::new(|_| json(&sidecar()));
    let (status, out, err) = run(&server, &["status"]);
    assert_eq!((status, &*err), (Some(0), ""), "{out}");
    for words in [
        "● healthy\n",
        "· All 40 sessions up. Next refresh in 3 min 20 s.\n",
        "time left   ██████████████████░░░░░░ 5 min of 6 min 40 s\n",
        "00:15:50  info  listening\n",
    ] {
        assert!(out.contains(words), "{words} in\n{out}");
    }
    assert!(!out.contains('\x1b'), "no colour where stdout is no terminal");
    assert_eq!(server.asked(), ["GET /status.json HTTP/1.1"]);
    let (status, out, _) = run(&server, &["status", "--json"]);
    let same: Status = serde_json::from_str(&out).unwrap();
    assert_eq!((status, out.lines().count(), same), (Some(0), 1, sidecar()));
    let away = Played::new(|_| {
        json(&Status { ready: false, problems: vec!["no \x1b[2Jtoken".into()], ..sidecar() })
    });
    for arguments in [&["status"][..], &["status", "--json"]] {
        let (status, out, _) = run(&away, arguments);
        assert!(status == Some(1) && !out.contains('\x1b'), "{status:?} {out}");
    }
    assert!(run(&away, &["status"]).1.starts_with("✗ unhealthy\n✗ Not ready: no \\u{1b}[2Jtoken.\n"));
}

#[test]
fn an_answer_that_is_no_snapshot_is_refused_in_time_and_not_shown() {
    type Case = (fn(&str) -> Vec<u8>, &'static str);
    let answers: [Case; 6] = [
        (|_| b"SSH-2.0-OpenSSH_9.6 \x1b[2J\r\n\r\n".to_vec(), "not as perennial does"),
        (|_| http(200, "{\"version\":\"\x1b[2Jevil\""), "not understood at line 1"),
        (|_| http(200, "{\"version\":{\"evil\":5}}"), "not understood at line 1"),
        (|_| http(404, "evil"), "404 for /status.json"),
        (|_| http(200, vec![b' '; (8 << 20) + 1]), "larger than 8 MiB"),
        (|_| http(200, "[".repeat(100_000)), "not understood at line 1"),
    ];
    for (answer, words) in answers {
        let server = Played::new(answer);
        for arguments in [&["status"][..], &["status", "--json"], &["rehearse", "drop"]] {
            let (status, out, err) = run(&server, arguments);
            assert_eq!((status, &*out), (Some(1), ""), "{words}: {err}");
            assert!(err.contains(words) && err.contains(&server.address.to_string()), "{words}: {err}");
            assert!(!err.contains('\x1b') && !err.contains("evil"), "{err}");
        }
    }
    // One that says nothing: it holds the connection, and does not answer.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let began = Instant::now();
    let address = silent.local_addr().unwrap().to_string();
    let output = command(Path::new("/"), &["probe", "--admin", &address]).output().unwrap();
    assert!(said(&output).2.contains("no whole answer within 5 s"), "{:?}", said(&output));
    assert!(began.elapsed() < Duration::from_secs(20));
}

#[test]
fn watch_looks_again_says_silence_and_ends_well() {
    let looks = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&looks);
    let server = Played::new(move |_| {
        let mut looks = counted.lock().unwrap();
        *looks += 1;
        // The second look fails, and the third does not.
        if *looks == 2 { http(500, "evil") } else { json(&sidecar()) }
    });
    let address = server.address.to_string();
    let mut child = command(Path::new("/"), &["status", "--watch", "--admin", &address])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut until = |words: &str| loop {
        let line = lines.next().unwrap_or_else(|| panic!("it ended before {words}")).unwrap();
        if line.contains(words) {
            return line;
        }
    };
    until("· All 40 sessions up.");
    let silence = until("✗ No word from ");
    assert!(silence.contains(&address), "{silence}");
    until("500 for /status.json");
    until("may be so no more");
    until("· All 40 sessions up.");
    until("· All 40 sessions up.");
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(*looks.lock().unwrap() >= 3);
}

/// A sidecar whose sessions lose their upstream, as the test says, when it is asked to.
fn practised(
    refusal: Option<(u16, &'static str)>,
    after: impl Fn(&mut RouteStatus) + Send + Sync + 'static,
) -> Played {
    let done = Mutex::new(false);
    Played::new(move |head| {
        let mut done = done.lock().unwrap();
        if head.starts_with("GET /metrics ") {
            let anew = if *done { 9 } else { 5 };
            return http(200, format!("perennial_upstream_gap_seconds_count{{route=\"ably\"}} {anew}\n"));
        }
        if head.starts_with("GET ") {
            let mut status = sidecar();
            if *done {
                after(&mut status.routes[0]);
            }
            return json(&status);
        }
        if let Some((status, why)) = refusal {
            return http(status, why);
        }
        *done = true;
        let routes = vec![Asked { route: "ably".into(), asked: 4, of: 40, follow: 0 }];
        http(200, serde_json::to_vec(&Rehearsed { action: "drop".into(), routes }).unwrap())
    })
}

fn resumed(route: &mut RouteStatus) {
    route.reauthentications.insert("resume".into(), Outcomes { ok: 4, failed: 0, rejected: 0 });
    route.holds = vec![0.0, 0.312];
}

#[test]
fn rehearse_says_what_was_asked_and_what_it_came_to() {
    let server = practised(None, resumed);
    let (status, out, err) = run(&server, &["rehearse", "drop", "--route", "a b&c", "--sessions", "10%"]);
    let expected = "\
4 of 40 sessions of route \"ably\" lose their upstream now.
  new upstreams     4
  new tokens        0
  re-authenticated  4 by resume
  longest hold      312 ms
  messages lost     0
  sessions closed   0
All live again after ";
    assert!(status == Some(0) && out.starts_with(expected), "{out}{err}");
    assert_eq!(
        server.asked()[..3],
        [
            "GET /status.json HTTP/1.1",
            "GET /metrics HTTP/1.1",
            "POST /rehearse/drop?route=a+b%26c&sessions=10%25 HTTP/1.1"
        ]
    );
    let heads = server.heads.lock().unwrap();
    assert!(heads[2].contains("\r\nperennial-operator: yes\r\n"), "{}", heads[2]);
    assert!(heads[0].contains(&format!("host: {}\r\n", server.address)), "{}", heads[0]);
}

/// It stands in no argument: process lists show those.
#[test]
fn rehearse_shows_the_secret_where_it_finds_it() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    write("secret", "of a file\n");
    let shown = |change: &dyn Fn(&mut Command)| {
        let server = practised(None, resumed);
        let address = server.address;
        write(
            "perennial.toml",
            &format!("[admin]\naddress = \"{address}\"\nrehearsal_secret = \"of the file\""),
        );
        let mut command = command(directory.path(), &["rehearse", "drop", "--no-wait"]);
        change(&mut command);
        let (status, out, err) = said(&command.output().unwrap());
        assert_eq!(status, Some(0), "{out}{err}");
        let heads = server.heads.lock().unwrap();
        let (post, get) = heads.iter().partition::<Vec<_>, _>(|head| head.starts_with("POST "));
        assert!(get.iter().all(|head| !head.contains("authorization")), "only what does something: {get:?}");
        let mut lines = post[0].lines().filter_map(|line| line.strip_prefix("authorization: "));
        lines.next().map(str::to_owned)
    };
    assert_eq!(shown(&|_| {}).as_deref(), Some("Bearer of the file"));
    let variable = |command: &mut Command| {
        command.env("PERENNIAL_REHEARSAL_SECRET", "of the variable");
    };
    assert_eq!(shown(&variable).as_deref(), Some("Bearer of the variable"));
    let file = |command: &mut Command| {
        variable(command);
        command.args(["--secret-file", "secret"]);
    };
    assert_eq!(shown(&file).as_deref(), Some("Bearer of a file"));
    write("empty", "\n");
    let server = practised(None, resumed);
    let file = directory.path().join("empty");
    let (status, _, err) = run(&server, &["rehearse", "drop", "--secret-file", file.to_str().unwrap()]);
    assert!(status == Some(1) && err.contains("is empty; --secret-file"), "{err}");
    assert!(server.asked().iter().all(|line| line.starts_with("GET ")), "{:?}", server.asked());
}

#[test]
fn rehearse_fails_where_something_was_lost() {
    let server = practised(None, |route| {
        resumed(route);
        route.lost.down = 3;
        route.closed.insert("outage".into(), 1);
    });
    let (status, out, _) = run(&server, &["rehearse", "drop"]);
    assert_eq!(status, Some(1), "{out}");
    assert!(out.ends_with("It did not go as it should: 3 messages lost; 1 session closed.\n"), "{out}");
    assert!(out.contains("sessions closed   1 outage\n"), "{out}");
    let (status, out, _) = run(&server, &["rehearse", "drop", "--no-wait"]);
    assert_eq!((status, out.lines().count()), (Some(0), 1), "only asked: {out}");
}

#[test]
fn rehearse_says_why_it_is_refused() {
    for (code, why, shown) in [
        (403, "[admin] rehearsal = false\x1b[2J\nmore", "refuses (403): [admin] rehearsal = false\\u{1b}[2J"),
        (404, "there is no route \"x\"\n", "refuses (404): there is no route \"x\""),
    ] {
        let (status, out, err) = run(&practised(Some((code, why)), |_| {}), &["rehearse", "expire"]);
        assert_eq!((status, &*out), (Some(1), ""));
        assert!(err.trim_end().ends_with(shown), "{err}");
    }
    let nobody = Played::new(|head| {
        let routes = vec![Asked { route: "ably".into(), asked: 0, of: 0, follow: 0 }];
        let answer = Rehearsed { action: "drop".into(), routes };
        if head.starts_with("GET ") {
            json(&sidecar())
        } else {
            http(200, serde_json::to_vec(&answer).unwrap())
        }
    });
    let (status, out, err) = run(&nobody, &["rehearse", "drop"]);
    assert_eq!((status, &*out), (Some(1), "0 of 0 sessions of route \"ably\" lose their upstream now.\n"));
    assert!(err.contains("nothing was practised"), "{err}");
    for wrong in [&["rehearse"][..], &["rehearse", "explode"], &["rehearse", "drop", "--sessions", "0"]] {
        assert_eq!(said(&command(Path::new("/"), wrong).output().unwrap()).0, Some(64), "{wrong:?}");
    }
    let (status, help, _) = said(&command(Path::new("/"), &["rehearse", "--help"]).output().unwrap());
    for words in [
        "the sessions of real clients",
        "refresh",
        "reauthenticate",
        "lose their connection",
        "Messages are held",
    ] {
        assert!(status == Some(0) && help.contains(words), "{words} in {help}");
    }
}

/// The demo is a whole sidecar with a session. It ends with the test.
struct Demo {
    child: std::process::Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Demo {
    fn start() -> Self {
        let mut child = command(Path::new("/"), &["demo", "--plain"]).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    fn line(&mut self, words: &str) -> String {
        let found = self.lines.by_ref().map_while(Result::ok).find(|line| line.contains(words));
        found.unwrap_or_else(|| panic!("it ended before {words}"))
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_real_sidecar_is_probed_shown_and_practised_on() {
    let mut demo = Demo::start();
    let page = demo.line("status page: ").trim().trim_start_matches("status page: ").to_owned();
    demo.line("connected to perennial");
    let ask = |arguments: &[&str]| {
        let all: Vec<&str> = arguments.iter().copied().chain(["--admin", &page]).collect();
        said(&command(Path::new("/"), &all).output().unwrap())
    };
    for what in ["live", "ready", "started"] {
        let (status, out, err) = ask(&["probe", what]);
        assert!(status == Some(0) && out.starts_with(what) && out.lines().count() == 1, "{out}{err}");
    }
    let (status, out, err) = ask(&["status"]);
    assert_eq!((status, &*err), (Some(0), ""), "{out}");
    for words in [
        "· The one session is up. Next refresh in ",
        "ROUTE ably  / ─► ws://",
        "valid, generation ",
        "listening",
    ] {
        assert!(out.contains(words), "{words} in\n{out}");
    }
    let known: Status = serde_json::from_str(&ask(&["status", "--json"]).1).unwrap();
    assert_eq!((known.routes.len(), known.routes[0].sessions["live"]), (1, 1));
    for (action, asked, came_to) in [
        ("refresh", "1 of 1 credential of route \"ably\" fetches a new token now.\n", "re-authenticated  "),
        ("reauthenticate", "1 of 1 session of route \"ably\" re-authenticates now.\n", " by exchange"),
        ("drop", "1 of 1 session of route \"ably\" loses its upstream now.\n", "new upstreams     1\n"),
        ("expire", "1 of 1 session of route \"ably\" takes its token for ended now.\n", " by resume"),
    ] {
        let (status, out, err) = ask(&["rehearse", action, "--sessions", "100%"]);
        assert_eq!(status, Some(0), "{out}{err}");
        assert!(out.starts_with(asked) && out.contains(came_to), "{out}{err}");
        assert!(out.contains("nothing lost, nobody closed"), "{out}");
    }
    let (status, out, err) = ask(&["rehearse", "drop", "--route", "nowhere"]);
    assert_eq!((status, &*out), (Some(1), ""));
    assert!(err.contains("refuses (404)") && err.contains("ably"), "{err}");
    let (_, out, _) = ask(&["status"]);
    assert!(out.contains("an operator practises"), "{out}");
    kill_process(Pid::from_child(&demo.child), Signal::INT).unwrap();
    let summary = demo.line("with perennial: ");
    assert!(summary.contains("never dropped"), "{summary}");
    assert!(demo.line("acknowledged").contains(" 0 lost, 0 doubled, 0 out of order"), "the client noticed");
}
