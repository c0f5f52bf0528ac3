//! The page over snapshots that are made up.

use super::*;
use crate::{
    admin::{
        health::{Condition, Health, Level},
        status::{CredentialStatus, EventLine, Outcomes, RouteStatus},
    },
    terminal::is_harmful,
};

const NOW: f64 = 1_795_334_930.0;

fn calm() -> Status {
    let credential = CredentialStatus {
        name: "1a2b3c4d".into(),
        state: "valid".into(),
        generation: 7,
        issued: Some(NOW - 1320.0),
        expires: Some(NOW + 2280.0),
        last_refresh: Some(NOW - 1320.0),
        took: Some(0.023),
        next_refresh: Some(NOW + 720.0),
        refreshes: 12,
        ..CredentialStatus::default()
    };
    let mut route = RouteStatus {
        name: "ably".into(),
        path: "/".into(),
        dialect: "ably".into(),
        upstream: "wss://main.realtime.ably.net".into(),
        share: "route".into(),
        credentials_total: 1,
        credentials: vec![credential],
        uptime: Some(0.999_97),
        refreshes: Outcomes { ok: 12, failed: 0, rejected: 0 },
        refresh_latencies: vec![0.04, 0.021, 0.019],
        exchange_latencies: vec![0.012],
        ..RouteStatus::default()
    };
    for state in ["opening", "live", "exchanging", "resuming", "swapping", "parked", "closing"] {
        route.sessions.insert(state.into(), if state == "live" { 40 } else { 0 });
    }
    for cause in ["client", "token_expired", "outage"] {
        route.closed.insert(cause.into(), if cause == "client" { 4 } else { 0 });
    }
    route.reauthentications.insert("exchange".into(), Outcomes { ok: 11, failed: 0, rejected: 1 });
    route.reauthentications.insert("swap".into(), Outcomes::default());
    let event = EventLine {
        id: 17,
        at: NOW - 1320.0,
        level: "info".into(),
        message: "token refreshed".into(),
        route: Some("ably".into()),
        fields: vec![("generation".into(), "7".into()), ("duration_ms".into(), "23.4".into())],
        count: 1,
    };
    Status {
        version: "0.1.0".into(),
        now: NOW,
        started: NOW - 4320.0,
        address: "127.0.0.1:7370".into(),
        ready: true,
        store: crate::admin::status::StoreStatus { kind: "memory".into(), up: true, error: None },
        routes: vec![route],
        events: vec![event],
        ..Status::default()
    }
}

fn text(status: &Status) -> String {
    text_of(&page::page(status, &Default::default()), false)
}

fn changed(change: impl FnOnce(&mut Status)) -> String {
    let mut status = calm();
    change(&mut status);
    text(&status)
}

#[test]
fn a_calm_sidecar_is_one_green_sentence_and_its_facts() {
    let expected = "\
● healthy
· All 40 sessions up. Next refresh in 12 min.
  perennial 0.1.0 on 127.0.0.1:7370, up for 1 h 12 min; store: memory; status page: http://127.0.0.1:7371/

ROUTE ably  / ─► wss://main.realtime.ably.net  ably, one credential for all clients
  credential  1a2b3c4d  valid, generation 7  refreshed 22 min ago in 23 ms, next in 12 min
  time left   ████████████████░░░░░░░░ 38 min of 1 h
  sessions    40 live; uptime 99.997 %
  refreshes   12 ok; median 21 ms, worst 40 ms
  re-auth     exchange: 11 ok, 1 rejected; exchange median 12 ms, worst 12 ms
  held        nothing now
  messages    0 up, 0 down relayed, 0 lost
  closed      0 token expired, 4 client

LAST EVENTS (UTC, the newest first)
  07:46:50  info  ably  token refreshed  generation=7 duration_ms=23.4";
    assert_eq!(text(&calm()), expected);
}

#[test]
fn what_is_wrong_comes_first() {
    let said = changed(|status| {
        let of = |level, route: Option<&str>, text: &str| Condition {
            level,
            key: String::new(),
            route: route.map(str::to_owned),
            text: text.to_owned(),
        };
        let conditions = vec![
            of(Level::Unhealthy, Some("ably"), "the service cannot be reached"),
            of(Level::Degraded, None, "the store (disk) cannot be used"),
        ];
        status.health = Health { level: Level::Unhealthy, conditions };
        status.routes[0].sessions.insert("resuming".into(), 2);
    });
    let expected = "\
✗ unhealthy
✗ Route ably: the service cannot be reached.
▲ The store (disk) cannot be used.
· 40 of 42 sessions up. Next refresh in 12 min.
";
    assert!(said.starts_with(expected), "{said}");
    let many = changed(|status| {
        status.health.conditions = vec![Condition { text: "x".into(), ..Condition::default() }; 11];
    });
    assert!(many.contains("\n· 3 more; all: --json\n"), "{many}");
}

#[test]
fn what_goes_on_is_one_sentence() {
    type Case = (&'static str, fn(&mut Status));
    let cases: [Case; 3] = [
        ("● healthy\n· No sessions. Next", |s| {
            s.routes[0].sessions.insert("live".into(), 0);
        }),
        ("● healthy\n· The one session is up.", |s| {
            s.routes[0].sessions.insert("live".into(), 1);
        }),
        ("● healthy\n· All 40 sessions up. A refresh is due.", |s| {
            s.routes[0].credentials[0].next_refresh = Some(NOW - 1.0);
        }),
    ];
    for (first, change) in cases {
        let said = changed(change);
        assert!(said.starts_with(first), "{first} in\n{said}");
    }
}

#[test]
fn colours_repeat_what_signs_and_words_say() {
    let painted = text_of(&page::page(&calm(), &Default::default()), true);
    assert!(painted.starts_with("\x1b[32m● healthy"), "{painted}");
    let mut status = calm();
    status.routes[0].closed.insert("token_expired".into(), 2);
    let painted = text_of(&page::page(&status, &Default::default()), true);
    assert!(painted.contains("\x1b[31m2 token expired\x1b[0m"), "{painted}");
}

#[test]
fn many_credentials_are_few_lines() {
    let said = changed(|status| {
        let route = &mut status.routes[0];
        route.credentials = vec![route.credentials[0].clone(); 50];
        (route.credentials_total, route.share) = (4312, "client".into());
    });
    assert_eq!(said.matches("1a2b3c4d").count(), 5);
    assert!(
        said.contains("a credential for each client, 4312 now")
            && said.contains("these 5 end first, of 4312")
    );
}

#[test]
fn what_is_held_is_said_against_its_limits() {
    let said = changed(|status| {
        let route = &mut status.routes[0];
        (route.longest_hold, route.fullest_queue, route.held_bytes.up) = (Some(31.0), 2048, 4096);
        route.limits.reconnect = 60.0;
        route.limits.queue = 1 << 20;
        route.holds = vec![0.0, 0.3, 0.0];
    });
    let held = "held        4.0 KiB for 31 s at most (closed after 1 min), 2.0 KiB in the fullest queue (of 1.0 MiB); \
                longest of the last 10 min: 300 ms\n";
    assert!(said.contains(held), "{said}");
}

#[test]
fn hostile_words_and_numbers_neither_drive_a_terminal_nor_panic() {
    const EVIL: &str = "\x1b[2J\x07\u{9b}31m\u{202e}\r\nevil";
    let evil = || EVIL.to_owned();
    for number in [f64::MAX, f64::MIN, -1.0, 0.0, 1e300] {
        let mut status = calm();
        (status.version, status.address, status.problems) = (evil(), evil(), vec![evil()]);
        (status.now, status.started, status.ready) = (number, -number, false);
        (status.reload.successful, status.reload.error, status.reload.at) =
            (false, Some(evil()), Some(number));
        (status.store.kind, status.store.up) = (evil(), false);
        let evil_one = Condition { text: evil(), key: evil(), route: Some(evil()), ..Condition::default() };
        status.health.conditions = vec![evil_one];
        let route = &mut status.routes[0];
        for text in
            [&mut route.name, &mut route.path, &mut route.dialect, &mut route.upstream, &mut route.share]
        {
            *text = evil();
        }
        let one = &mut route.credentials[0];
        (one.name, one.state, one.error, one.failures) = (evil(), evil(), Some(evil()), u64::MAX);
        (one.expires, one.issued, one.next_refresh) = (Some(-number), Some(number), Some(number));
        (one.last_refresh, one.took) = (Some(-number), Some(number));
        for map in [&mut route.sessions, &mut route.closed] {
            map.insert(evil(), u64::MAX);
            map.insert("live".into(), u64::MAX);
        }
        route.reauthentications.insert(evil(), Outcomes { ok: u64::MAX, failed: 1, rejected: 1 });
        (route.lost.up, route.lost.down) = (u64::MAX, u64::MAX);
        (route.uptime, route.longest_hold, route.fullest_queue) = (Some(number), Some(number), u64::MAX);
        (route.held_bytes.up, route.held_bytes.down) = (u64::MAX, u64::MAX);
        route.refresh_latencies = vec![number; 3];
        status.routes.push(status.routes[0].clone());
        let event = &mut status.events[0];
        (event.level, event.message, event.route, event.at) = (evil(), evil(), Some(evil()), number);
        event.fields = vec![(evil(), evil())];
        for line in page::page(&status, &Default::default()) {
            let bare = line.bare();
            assert!(!bare.contains(is_harmful), "{bare:?}");
        }
        assert!(text(&status).contains("\\u{1b}[2J"), "it is shown for what it is");
    }
}

#[test]
fn json_stays_the_same_json_and_drives_no_terminal() {
    let json = "{\"a\":\t\"x\u{9b}\u{202e}\u{7f}ü\",\r\n\"b\":[1]}\n";
    let shown = harmless(json);
    assert_eq!(shown, "{\"a\": \"x\\u009b\\u202e\\u007fü\",  \"b\":[1]}");
    let same: [serde_json::Value; 2] = [json, &shown].map(|text| serde_json::from_str(text).unwrap());
    assert_eq!(same[0], same[1]);
}
