//! Verdicts over snapshots that are made up.

use super::*;
use crate::admin::{done::Asked, status::CredentialStatus};

const WAYS: Sought = Sought::Reauthentications;

fn status(change: impl FnOnce(&mut RouteStatus)) -> Status {
    let mut route = RouteStatus { name: "r".into(), ..RouteStatus::default() };
    route.reauthentications.insert("resume".into(), Outcomes { ok: 7, failed: 1, rejected: 0 });
    route.closed.insert("client".into(), 3);
    route.closed.insert("outage".into(), 1);
    (route.lost.up, route.holds) = (5, vec![0.0, 9.0]);
    change(&mut route);
    Status { started: 1.0, routes: vec![route], ..Status::default() }
}

fn of(asked: usize) -> Rehearsed {
    Rehearsed { action: "drop".into(), routes: vec![Asked { route: "r".into(), asked, of: 40, follow: 0 }] }
}

fn resumed(route: &mut RouteStatus, ok: u64) {
    route.reauthentications.insert("resume".into(), Outcomes { ok: 7 + ok, failed: 1, rejected: 0 });
}

fn at(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Follows `end` until it is over: the verdict, and when it was.
fn after(asked: usize, sought: Sought, end: &Status) -> (Verdict, Duration) {
    let mut followed = Followed::new(status(|_| {}), &of(asked), sought);
    let over = (0..280).map(|look| at(look * 250)).find(|time| followed.look(end.clone(), *time));
    (Verdict::of(&followed), over.unwrap_or_else(|| at(70_000)))
}

#[test]
fn it_is_over_when_as_much_was_counted_and_it_was_calm() {
    let mut followed = Followed::new(status(|_| {}), &of(2), WAYS);
    assert!(!followed.look(status(|_| {}), at(0)), "nothing has begun");
    assert!(!followed.look(status(|r| resumed(r, 1)), at(2000)), "half of it");
    let last = |route: &mut RouteStatus| {
        resumed(route, 2);
        route.sessions.insert("resuming".into(), 1);
    };
    assert!(!followed.look(status(last), at(4000)), "somebody is on the way");
    assert!(!followed.look(status(|r| resumed(r, 2)), at(5000)), "just now");
    assert!(!followed.look(status(|r| resumed(r, 2)), at(6999)));
    assert!(followed.look(status(|r| resumed(r, 3)), at(7000)), "another who resumes does not disturb it");
    let verdict = Verdict::of(&followed);
    assert!(verdict.holds(), "{verdict}");
    assert!(
        verdict.to_string().ends_with("All live again after 5.0 s; nothing lost, nobody closed."),
        "{verdict}"
    );
    assert!(verdict.to_string().contains("re-authenticated  3 by resume\n"), "{verdict}");
}

#[test]
fn those_that_were_not_live_are_not_waited_for_for_ever_and_are_named() {
    let (verdict, over) = after(2, WAYS, &status(|route| resumed(route, 1)));
    assert_eq!(over, at(12_000));
    let said = verdict.to_string();
    assert!(!verdict.holds() && !said.contains("All live"), "{said}");
    assert!(
        said.ends_with("It did not go as it should: 1 of 2 sessions has not re-authenticated yet."),
        "{said}"
    );
    let mut followed = Followed::new(status(|_| {}), &of(3), Sought::Gaps);
    assert!((0..60).any(|look| followed.look(status(|_| {}), at(look * 250))));
    let said = Verdict::of(&followed).to_string();
    assert!(said.contains("3 of 3 sessions have not got a new upstream yet"), "{said}");
}

/// The sessions of one credential, so many of which have exchanged, and how long it took until it was over.
fn spread(looks: &[(u64, u64)]) -> (String, bool, Option<Duration>) {
    let asked = Asked { route: "r".into(), asked: 1, of: 1, follow: 5_000 };
    let asked = Rehearsed { action: "refresh".into(), routes: vec![asked] };
    let mut followed = Followed::new(status(|_| {}), &asked, Sought::Fetches);
    let mut over = None;
    for (millis, exchanged) in looks {
        let sight = status(|route| {
            route.refreshes.ok = 1;
            route
                .reauthentications
                .insert("exchange".into(), Outcomes { ok: *exchanged, ..Outcomes::default() });
        });
        if over.is_none() && followed.look(sight, at(*millis)) {
            over = Some(at(*millis));
        }
    }
    let verdict = Verdict::of(&followed);
    (verdict.to_string(), verdict.holds(), over)
}

#[test]
fn a_refresh_waits_for_the_spread_of_its_exchanges() {
    let all = [(250, 0), (5_000, 3_518), (7_250, 4_200), (10_050, 5_000), (11_000, 5_000), (12_050, 5_000)];
    let (said, holds, over) = spread(&all);
    assert_eq!((holds, over), (true, Some(at(12_050))), "{said}");
    assert!(said.contains("re-authenticated  5000 by exchange\n"), "{said}");
    assert!(said.ends_with("All live again after 10 s; nothing lost, nobody closed."), "{said}");
}

#[test]
fn what_is_still_to_come_is_said_and_not_all_is_live() {
    let (said, holds, over) = spread(&[(5_000, 3_518), (16_000, 3_518), (17_000, 3_518)]);
    assert_eq!((holds, over), (false, Some(at(17_000))), "{said}");
    assert!(
        !said.contains("All live") && said.contains("1482 of 5000 sessions have not re-authenticated yet"),
        "{said}"
    );
}

#[test]
fn a_busy_sidecar_is_not_waited_for_for_ever() {
    let busy = |route: &mut RouteStatus| {
        route.sessions.insert("exchanging".into(), 9);
    };
    let mut followed = Followed::new(status(busy), &of(1), WAYS);
    let end = status(|route| {
        busy(route);
        resumed(route, 1);
    });
    assert!((0..10).any(|look| followed.look(end.clone(), at(look * 250))));
}

#[test]
fn what_was_lost_or_closed_breaks_it_and_what_was_before_does_not() {
    type Break = (&'static str, fn(&mut RouteStatus));
    let breaks: [Break; 4] = [
        ("2 messages lost", |route| route.lost.down = 2),
        ("1 session closed", |route| {
            route.closed.insert("token_expired".into(), 1);
        }),
        ("1 session closed", |route| {
            route.closed.insert("outage".into(), 2);
        }),
        ("1 session still on the way", |route| {
            route.sessions.insert("resuming".into(), 1);
        }),
    ];
    for (words, change) in breaks {
        let end = status(|route| {
            resumed(route, 1);
            change(route);
        });
        let (verdict, _) = after(1, WAYS, &end);
        assert!(!verdict.holds() && verdict.to_string().contains(words), "{words}: {verdict}");
    }
    // A client that leaves is no loss.
    let (verdict, _) = after(
        1,
        WAYS,
        &status(|route| {
            route.closed.insert("client".into(), 5);
        }),
    );
    assert!(
        verdict.holds() && verdict.to_string().contains("clients left      2, of their own accord"),
        "{verdict}"
    );
}

#[test]
fn a_refresh_waits_for_its_fetch_and_wants_a_token() {
    let fetched = |ok, failed| {
        move |route: &mut RouteStatus| {
            route.refreshes = Outcomes { ok, failed, rejected: 0 };
        }
    };
    let (verdict, over) = after(1, Sought::Fetches, &status(fetched(1, 0)));
    assert!(verdict.holds() && over == at(2000), "{over:?} {verdict}");
    let (verdict, _) = after(1, Sought::Fetches, &status(fetched(0, 1)));
    assert!(
        !verdict.holds() && verdict.to_string().contains("not every credential has a new token"),
        "{verdict}"
    );
    let fetching = status(|route| {
        fetched(1, 0)(route);
        route.credentials = vec![CredentialStatus { fetching: true, ..CredentialStatus::default() }];
    });
    assert_eq!(after(1, Sought::Fetches, &fetching).1, at(70_000));
}

#[test]
fn a_sidecar_that_was_started_anew_says_nothing_of_it() {
    let (verdict, over) = after(1, WAYS, &Status { started: 2.0, ..status(|_| {}) });
    assert_eq!(over, at(0));
    assert!(!verdict.holds() && verdict.to_string().contains("started again"), "{verdict}");
}

#[test]
fn the_longest_hold_is_one_of_its_own() {
    let longest = |looks: &[(&[f64], Option<f64>)]| {
        let mut followed = Followed::new(status(|_| {}), &of(1), WAYS);
        for (holds, now) in looks {
            followed.look(status(|route| (route.holds, route.longest_hold) = (holds.to_vec(), *now)), at(0));
        }
        followed.longest_hold
    };
    let near = |one: f64, other: f64| (one - other).abs() < 1e-9;
    assert!(near(longest(&[(&[0.0, 9.0], None)]), 0.0), "what was held before is not ours");
    assert!(near(longest(&[(&[0.0, 9.0], Some(2.0)), (&[0.0, 9.0], None)]), 2.0), "seen while it was held");
    assert!(near(longest(&[(&[9.0, 0.0], None), (&[9.0, 0.3], None)]), 0.3), "a new step");
    assert!(near(longest(&[(&[0.0, 11.0], None)]), 11.0), "a step that has grown");
    assert!(near(longest(&[(&[11.0, 0.0], None)]), 11.0), "one that grew in its last moment");
    let numbers = Verdict::of(&Followed::new(status(|_| {}), &of(1), WAYS)).to_string();
    assert!(numbers.contains("longest hold      none seen"), "{numbers}");
}

#[test]
fn an_upstream_that_was_made_anew_is_seen_by_its_gap() {
    let sight = |gaps: u64| Sight {
        gaps: [("r".to_owned(), gaps), ("other".to_owned(), 9)].into(),
        ..status(|_| {}).into()
    };
    let mut followed = Followed::new(sight(5), &of(2), Sought::Gaps);
    assert!(!(0..10).any(|look| followed.look(sight(6), at(look * 250))), "one of two");
    assert!(!followed.look(sight(7), at(2500)));
    assert!(followed.look(sight(7), at(4500)));
    let verdict = Verdict::of(&followed);
    assert!(verdict.holds() && verdict.to_string().starts_with("  new upstreams     2\n"), "{verdict}");
}
