//! Health over snapshots that are made up.

use super::*;
use crate::admin::status::{Reload, RouteLimits};

const NOW: f64 = 1_795_334_930.0;

/// A route that serves 40 clients with a token for an hour.
fn calm() -> Status {
    let credential = CredentialStatus {
        state: "valid".into(),
        generation: 7,
        expires: Some(NOW + 2280.0),
        ..CredentialStatus::default()
    };
    let route = RouteStatus {
        name: "ably".into(),
        share: "route".into(),
        credentials_total: 1,
        credentials: vec![credential],
        sessions: [("live".to_owned(), 40)].into(),
        lately: LatelyStatus { within: 300.0, accepted: 40, ..LatelyStatus::default() },
        limits: RouteLimits { hold: 10.0, reconnect: 60.0, queue: 1 << 20 },
        ..RouteStatus::default()
    };
    let mut status = Status { now: NOW, ready: true, sessions_limit: 10_000, ..Status::default() };
    status.store.up = true;
    status.store.kind = "disk".into();
    status.routes.push(route);
    status
}

/// What is said after a change.
fn said(change: impl FnOnce(&mut Status)) -> (Level, Vec<String>) {
    let mut status = calm();
    change(&mut status);
    let Health { level, conditions } = Health::of(&status);
    (level, conditions.iter().map(Condition::sentence).collect())
}

#[test]
fn a_calm_sidecar_is_healthy() {
    assert_eq!(said(|_| {}), (Level::Healthy, Vec::new()));
}

#[test]
#[expect(clippy::too_many_lines, reason = "one row for each thing that can be wrong")]
fn each_thing_that_is_wrong_has_its_level_and_its_sentence() {
    type Case = (Level, &'static str, fn(&mut Status));
    use Level::{Degraded, Unhealthy};
    let cases: [Case; 24] = [
        (
            Unhealthy,
            "Route ably: the service has not been reached for 2 min 10 s, tried 517 times: refused.",
            |s| {
                let away = UnreachedStatus {
                    since: NOW - 130.0,
                    last: NOW - 2.0,
                    failures: 517,
                    error: "refused".into(),
                };
                s.routes[0].unreached = Some(away);
            },
        ),
        (Degraded, "Route ably: the service has not been reached for 2.0 s, tried once: refused.", |s| {
            let away =
                UnreachedStatus { since: NOW - 2.0, last: NOW - 2.0, failures: 1, error: "refused".into() };
            s.routes[0].unreached = Some(away);
        }),
        (
            Degraded,
            "Route ably: the service could not be reached when it was last tried, 1 h ago, 9 times: refused.",
            |s| {
                let away = UnreachedStatus {
                    since: NOW - 4000.0,
                    last: NOW - 3600.0,
                    failures: 9,
                    error: "refused".into(),
                };
                s.routes[0].unreached = Some(away);
            },
        ),
        (Degraded, "Route ably: 1 of 41 clients were turned away in 5 min: the service refused them.", |s| {
            s.routes[0].lately.rejected = 1;
        }),
        // Accepted, and told then.
        (
            Unhealthy,
            "Route ably: 40 of 40 clients were turned away in 5 min: 40101 invalid credentials.",
            |s| {
                let lately = &mut s.routes[0].lately;
                (lately.rejected, lately.rejected_later) = (40, 40);
                lately.said = Some("40101 invalid credentials".into());
            },
        ),
        (
            Unhealthy,
            "Route ably: 50 of 90 clients were turned away in 5 min: there was no token for them; a limit was reached.",
            |s| {
                (s.routes[0].lately.without_token, s.routes[0].lately.over_limit) = (49, 1);
            },
        ),
        (Unhealthy, "Route ably: 1 client was closed in 5 min because a token had expired.", |s| {
            s.routes[0].lately.expired = 1
        }),
        (
            Unhealthy,
            "Route ably: 3 clients were closed in 5 min: the service was away for longer than reconnect (1 min).",
            |s| {
                s.routes[0].lately.outlasted = 3;
            },
        ),
        (Degraded, "Route ably: refresh has failed 4 times; the token lasts 3 min 10 s more.", |s| {
            let one = &mut s.routes[0].credentials[0];
            (one.failures, one.expires, one.state) = (4, Some(NOW + 190.0), "failing".into());
        }),
        (Unhealthy, "Route ably: refresh has failed twice; the token lasts 20 s more.", |s| {
            let one = &mut s.routes[0].credentials[0];
            (one.failures, one.expires, one.state) = (2, Some(NOW + 20.0), "failing".into());
        }),
        (Unhealthy, "Route ably: the token ended 5.0 s ago; refresh has failed once.", |s| {
            let one = &mut s.routes[0].credentials[0];
            (one.failures, one.expires, one.state) = (1, Some(NOW - 5.0), "expired".into());
        }),
        (Unhealthy, "Route ably: there is no token: fetching one has failed once.", |s| {
            let one = &mut s.routes[0].credentials[0];
            (one.failures, one.expires, one.state) = (1, None, "missing".into());
        }),
        (Degraded, "Route ably: the first token is being fetched.", |s| {
            let one = &mut s.routes[0].credentials[0];
            (one.fetching, one.expires, one.state) = (true, None, "missing".into());
        }),
        (
            Degraded,
            "Route ably: refresh fails for 1 of 4312 credentials; the first token lasts 1 min 10 s more.",
            |s| {
                let route = &mut s.routes[0];
                (route.share, route.credentials_total) = ("client".into(), 4312);
                (route.credentials[0].state, route.credentials[0].expires) =
                    ("failing".into(), Some(NOW + 70.0));
            },
        ),
        (Degraded, "Route ably: the token has ended for 1 of 4312 credentials.", |s| {
            let route = &mut s.routes[0];
            (route.share, route.credentials_total) = ("client".into(), 4312);
            route.credentials[0].state = "expired".into();
        }),
        (Degraded, "Route ably: 2 of 42 sessions without a connection to the service.", |s| {
            s.routes[0].sessions.insert("resuming".into(), 2);
        }),
        (
            Unhealthy,
            "Route ably: 2 of 42 sessions without a connection to the service, the longest for 31 s of 1 min.",
            |s| {
                s.routes[0].sessions.insert("resuming".into(), 2);
                s.routes[0].longest_hold = Some(31.0);
            },
        ),
        (Unhealthy, "Route ably: a session has held its messages for 31 s of 1 min.", |s| {
            s.routes[0].longest_hold = Some(31.0)
        }),
        (Degraded, "Route ably: the queue of a session is 90 % full.", |s| {
            s.routes[0].fullest_queue = 943_719
        }),
        (Degraded, "Draining: no new clients, 40 sessions left.", |s| {
            (s.draining, s.ready, s.problems) = (true, false, vec!["going away".into()]);
        }),
        (Unhealthy, "Not ready: route \"x\" has no token.", |s| {
            (s.ready, s.problems) = (false, vec!["route \"x\" has no token".into()]);
        }),
        (Unhealthy, "The limit of 40 sessions is reached: new clients are turned away.", |s| {
            s.sessions_limit = 40
        }),
        (
            Degraded,
            "The store (disk) cannot be used; sessions go on with the tokens in hand: no space.",
            |s| {
                (s.store.up, s.store.error) = (false, Some("no space".into()));
            },
        ),
        (Degraded, "The reload 3 min ago was refused, the configuration before it stays: line 3.", |s| {
            s.reload = Reload { successful: false, at: Some(NOW - 180.0), error: Some("line 3".into()) };
        }),
    ];
    for (level, sentence, change) in cases {
        assert_eq!(said(change), (level, vec![sentence.to_owned()]));
    }
}

#[test]
fn a_certificate_is_told_before_it_ends() {
    let ends_in = |seconds: f64| {
        said(|status| {
            let whose = "the listener".to_owned();
            status.certificates.push(CertificateStatus { whose, expires: NOW + seconds });
        })
    };
    assert_eq!(ends_in(15.0 * 86_400.0).0, Level::Healthy);
    let (level, sentences) = ends_in(2.0 * 86_400.0);
    assert_eq!((level, &*sentences[0]), (Level::Degraded, "The certificate of the listener ends in 2 d."));
    assert_eq!(ends_in(-60.0).0, Level::Unhealthy);
}

#[test]
fn the_worst_comes_first() {
    let (level, sentences) = said(|status| {
        status.store.up = false;
        status.routes[0].sessions.insert("resuming".into(), 2);
        status.routes[0].lately.expired = 1;
    });
    assert_eq!((level, sentences.len()), (Level::Unhealthy, 3));
    assert!(sentences[0].contains("a token had expired"), "{sentences:?}");
}
