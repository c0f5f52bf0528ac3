//! A client's own credential: begun with a token that is there, refreshed only while somebody is on it.

use super::*;

/// A keeper that was given a token of this life.
fn adopted(life: Life, change: impl FnOnce(&mut RefreshPolicy)) -> Rig {
    let mut rig = Rig::unstarted(change);
    let fetched = Fetched { text: "own".into(), life, provenance: Provenance::default() };
    rig.on(Event::Adopted { fetched, generation: Generation(3) });
    assert_eq!((rig.published(), rig.fetches()), (Some(3), vec![]), "it was not fetched");
    rig
}

#[test]
fn a_clients_own_token_is_refreshed_when_it_is_due() {
    let mut rig = adopted(Life::For(HOUR), |policy| {
        policy.check_every = HOUR * 24;
        policy.refresh_before = Some(HOUR / 4);
    });
    let waited = rig.until_deadline();
    assert!(waited >= HOUR * 3 / 4 && waited < HOUR, "{waited:?}");
    assert_eq!(rig.fetches(), [Trigger::Schedule]);
    rig.give("next", Life::For(HOUR));
    assert_eq!(rig.published(), Some(4), "its generation goes on");
}

#[test]
fn a_token_that_nobody_told_the_end_of_lives_from_first_sight() {
    let rig = adopted(Life::Unknown, |policy| policy.lifetime = Some(HOUR * 2));
    assert_eq!(rig.keeper.current().unwrap().remaining(rig.now), Some(HOUR * 2));
}

#[test]
fn nothing_is_fetched_while_nobody_is_there_and_at_once_when_somebody_is() {
    let mut rig = adopted(Life::For(HOUR), |_| {});
    rig.on(Event::Active(false));
    assert_eq!(rig.keeper.deadline(), None);
    rig.pass(HOUR - SECOND);
    rig.on(Event::Timer);
    rig.demand(Some(3), Trigger::Expiry);
    assert_eq!(rig.fetches(), []);
    rig.on(Event::Active(true));
    assert_eq!(rig.fetches(), [Trigger::Schedule]);
}

#[test]
fn an_answer_to_a_client_that_has_gone_is_taken_all_the_same() {
    let mut rig = adopted(Life::For(HOUR), |_| {});
    rig.demand(None, Trigger::Operator);
    rig.on(Event::Active(false));
    assert!(rig.keeper.deadline().is_some(), "the fetch has a deadline");
    rig.give("next", Life::For(HOUR));
    assert_eq!(rig.published(), Some(4));
    assert_eq!(rig.keeper.deadline(), None);
}

#[test]
fn a_refresh_that_is_due_waits_for_an_exchange_in_steps_and_not_beyond_the_end() {
    let mut rig = adopted(Life::For(HOUR), |policy| policy.check_every = HOUR * 24);
    rig.on(Event::Busy(true));
    rig.until_deadline();
    assert_eq!(rig.fetches(), [], "it is due, and waits");
    assert_eq!(rig.until_deadline(), SECOND * 5);
    rig.on(Event::Busy(false));
    assert_eq!(rig.fetches(), [Trigger::Schedule], "it was not lost");

    let mut rig = adopted(Life::For(HOUR), |policy| policy.check_every = HOUR * 24);
    rig.on(Event::Busy(true));
    while rig.fetches().is_empty() {
        rig.until_deadline();
    }
    let current = rig.keeper.current().unwrap();
    assert!(!current.is_expired(rig.now), "an exchange that never ends costs the client its token");
}

#[test]
fn a_refusal_is_hopeless_where_no_token_is_left() {
    let hopeless = |rig: &Rig| rig.last.iter().any(|action| matches!(action, Action::Hopeless));
    let mut rig = adopted(Life::For(HOUR), |_| {});
    rig.demand(None, Trigger::Operator);
    rig.refuse(FailureKind::Terminal, None);
    assert!(!hopeless(&rig), "the current token is still good");
    let mut rig = adopted(Life::For(HOUR), |_| {});
    rig.pass(HOUR / 2);
    rig.demand(Some(3), Trigger::Expiry);
    rig.refuse(FailureKind::Passing, None);
    assert!(!hopeless(&rig), "it may mend itself");
    rig.until_deadline();
    rig.refuse(FailureKind::Terminal, None);
    assert!(hopeless(&rig), "the service has refused it, and the source has too");
    // And so it is for anyone who asks while the next try is a while off.
    let mut rig = adopted(Life::For(HOUR), |_| {});
    rig.demand(None, Trigger::Operator);
    rig.refuse(FailureKind::Terminal, None);
    rig.demand(Some(3), Trigger::Expiry);
    assert!(hopeless(&rig));
}

#[test]
fn a_refusal_is_asked_about_once_more_before_the_token_ends() {
    // A service may refuse to renew a token that has more left than it allows.
    let mut rig = adopted(Life::For(SECOND * 40), |_| {});
    rig.until_deadline();
    rig.refuse(FailureKind::Terminal, None);
    let waited = rig.until_deadline();
    assert!(waited < SECOND * 10, "the token ends in 10 to 14 s: {waited:?}");
    assert_eq!(rig.fetches(), [Trigger::Schedule]);
    rig.give("next", Life::For(SECOND * 40));
    assert_eq!(rig.published(), Some(4));
}
