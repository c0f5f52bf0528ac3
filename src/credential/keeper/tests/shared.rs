//! Answers that are lost, and answers that are others'.

use super::*;

/// How long it waits after a failure of this kind, as the deadline says.
fn wait_after(rig: &mut Rig, kind: FailureKind) -> Duration {
    rig.refuse(kind, None);
    rig.keeper.deadline().expect("a deadline").saturating_duration_since(rig.now.mono)
}

#[test]
fn a_lost_answer_is_asked_for_again_three_times_in_five_seconds_and_then_said_loudly() {
    let mut rig = Rig::new(|policy| policy.check_every = HOUR * 24);
    rig.give("a", Life::For(HOUR));
    rig.until_deadline();
    let mut spent = Duration::ZERO;
    for time in 1..=3 {
        let wait = wait_after(&mut rig, FailureKind::Lost);
        assert!(wait < SECOND, "asked again within a second: {wait:?}");
        assert!(!refused(&rig), "{time}: not loud yet");
        spent += rig.until_deadline();
        assert_eq!(rig.fetches().len(), 1, "{time}");
    }
    assert!(spent < SECOND * 5);
    let wait = wait_after(&mut rig, FailureKind::Lost);
    assert!(wait >= SECOND * 60, "no more of it: {wait:?}");
    assert!(refused(&rig));
    // The current token goes on; a new secret is taken at once.
    assert!(rig.keeper.current().is_some());
    rig.on(Event::SecretChanged);
    assert_eq!(rig.fetches(), [Trigger::Operator]);
    rig.give("b", Life::For(HOUR));
    assert_eq!(rig.published(), Some(2));
    rig.until_deadline();
    assert!(wait_after(&mut rig, FailureKind::Lost) < SECOND, "another loss, another time");
}

#[test]
fn a_loss_that_takes_long_to_be_seen_is_not_asked_for_again_quickly() {
    let mut rig = Rig::new(|_| {});
    assert!(wait_after(&mut rig, FailureKind::Lost) < SECOND);
    rig.until_deadline();
    rig.pass(SECOND * 6);
    assert!(wait_after(&mut rig, FailureKind::Lost) >= SECOND * 60, "five seconds are over");
}

fn refused(rig: &Rig) -> bool {
    rig.last.iter().any(|action| matches!(action, Action::Report(Report::Failed { terminal: true, .. })))
}

#[test]
fn while_another_asks_nothing_is_reported_but_for_half_a_minute_at_the_most() {
    let mut rig = Rig::new(|_| {});
    let mut spent = Duration::ZERO;
    while spent < SECOND * 28 {
        let wait = wait_after(&mut rig, FailureKind::Elsewhere);
        assert!(wait <= SECOND, "{wait:?}");
        assert_eq!(rig.failure(), None);
        spent += rig.until_deadline();
        assert_eq!(rig.fetches().len(), 1);
    }
    rig.pass(SECOND * 3);
    rig.refuse(FailureKind::Elsewhere, None);
    assert!(rig.failure().is_some(), "that takes too long");
}

#[test]
fn a_token_that_another_fetched_is_taken_over_and_not_counted_as_a_refresh() {
    let mut rig = Rig::new(|policy| policy.check_every = HOUR * 24);
    rig.give("a", Life::For(HOUR));
    rig.pass(SECOND * 60);
    let offer = |text: &str, life| {
        Event::Offered(Fetched {
            text: text.into(),
            life,
            provenance: Provenance { taken_over: true, ..Provenance::default() },
        })
    };
    rig.on(offer("b", Life::For(HOUR)));
    assert_eq!(rig.published(), Some(2));
    assert!(matches!(rig.last[1], Action::Report(Report::TakenOver { generation: Generation(2), .. })));
    let waited = rig.until_deadline();
    assert!(waited >= HOUR / 2, "due as any other: {waited:?}");
    // While it is being fetched here, the answer will tell.
    rig.on(offer("c", Life::For(HOUR)));
    assert_eq!(rig.published(), None);
    rig.give("d", Life::For(HOUR));
    assert_eq!(rig.published(), Some(3));
    for (text, life) in [("d", HOUR), ("", HOUR), ("e", Duration::ZERO)] {
        rig.on(offer(text, Life::For(life)));
        assert_eq!(rig.published(), None, "{text}");
    }
    rig.demand(Some(3), Trigger::Expiry);
    rig.give("f", Life::For(HOUR));
    rig.on(offer("d", Life::For(HOUR)));
    assert_eq!(rig.published(), None, "the service has rejected that one");
}

#[test]
fn patience_ends_when_the_current_token_will_not_do_any_more() {
    for rejected in [true, false] {
        let mut rig = Rig::new(|policy| policy.check_every = HOUR * 24);
        rig.give("a", Life::For(HOUR));
        rig.until_deadline();
        // A draw that is patient indeed.
        while wait_after(&mut rig, FailureKind::Passing) < SECOND * 100 {
            rig.until_deadline();
        }
        if rejected {
            rig.demand(Some(1), Trigger::Expiry);
        } else {
            rig.now.wall += HOUR;
            rig.on(Event::Timer);
        }
        let wait = rig.keeper.deadline().expect("a deadline").saturating_duration_since(rig.now.mono);
        assert!(wait <= SECOND * 30, "rejected: {rejected}, {wait:?}");
        rig.until_deadline();
        assert_eq!(rig.fetches().len(), 1);
    }
}
