//! Outages: when one ends, what is a verdict, and how soon a service is asked again.

use super::*;

impl Bench {
    /// The serving connection is lost, without a Close.
    fn lose(&mut self) -> Vec<Action> {
        let epoch = self.newest();
        self.tell(Event::UpstreamClosed(epoch, None, "reset"))
    }

    /// The dial that is under way succeeds, and the service greets.
    fn comes_back(&mut self) {
        let shown = self.shown(1, 3600);
        self.tell(Event::Opened(self.newest(), Some(shown)));
        self.hears("ready");
        assert_eq!(self.session.phase(), Phase::Live);
    }

    /// Waits until a dial is under way.
    fn dials(&mut self) -> Duration {
        let since = self.now;
        while self.session.step() != Some(state::Step::Dialing) {
            self.wait();
        }
        self.now - since
    }

    fn dial_fails(&mut self, failure: DialFailure) -> Vec<Action> {
        self.dials();
        self.tell(Event::DialFailed(self.newest(), failure))
    }
}

fn close_code(actions: &[Action]) -> Option<u16> {
    actions.iter().find_map(|action| if let Action::CloseClient(close) = action { close.code } else { None })
}

#[test]
fn a_service_that_greets_and_drops_for_ever_is_an_outage() {
    let mut bench = Bench::live();
    let begun = bench.now;
    let last = loop {
        bench.now += Duration::from_millis(100);
        let lost =
            bench.tell(Event::UpstreamClosed(bench.newest(), Some(Close::new(1013, "busy")), "closed"));
        if bench.session.phase() == Phase::Closing {
            break lost;
        }
        while bench.session.phase() == Phase::Resuming && bench.session.step() != Some(state::Step::Dialing) {
            let out = bench.wait();
            if out.iter().any(|action| matches!(action, Action::Finished(_))) {
                assert_eq!(close_code(&out), Some(1013), "the service's own last word: {out:?}");
                assert!(
                    bench.now - begun <= HOLD * 6 + Duration::from_millis(100),
                    "{:?}",
                    bench.now - begun
                );
                return;
            }
        }
        bench.comes_back();
        assert!(bench.now - begun < HOLD * 7, "it goes on for ever");
    };
    assert_eq!(close_code(&last), Some(1013), "the service's own last word: {last:?}");
    assert!(bench.now - begun >= HOLD * 6 - Duration::from_secs(6), "{:?}", bench.now - begun);
}

#[test]
fn an_outage_is_over_once_a_connection_has_served_for_a_while() {
    let mut bench = Bench::live();
    bench.lose();
    for _ in 0..6 {
        bench.dial_fails(DialFailure::Passing { why: "refused".into(), retry_after: None });
    }
    bench.dials();
    bench.comes_back();
    bench.now += Duration::from_secs(3);
    bench.tell(Event::Timer);
    assert_eq!(
        bench.lose().last(),
        Some(&Action::Dial(bench.newest())),
        "the first dial of an outage waits for nothing"
    );
}

#[test]
fn a_time_that_the_service_names_is_waited_for() {
    let mut bench = Bench::live();
    bench.lose();
    let named = Duration::from_secs(7);
    bench.dial_fails(DialFailure::Passing { why: "429".into(), retry_after: Some(named) });
    let waited = bench.dials();
    assert!(waited >= named && waited < named + Duration::from_secs(5), "{waited:?}");
}

#[test]
fn a_refusal_that_a_fresh_token_gets_too_is_a_verdict() {
    let mut bench = Bench::live();
    bench.lose();
    let out = bench.dial_fails(DialFailure::Token(Generation(1), 403));
    assert_eq!(close_code(&out), None, "the token may be to blame: {out:?}");
    let shown = bench.shown(2, 60);
    bench.tell(Event::Token(&token_of(shown)));
    let out = bench.dial_fails(DialFailure::Token(Generation(2), 403));
    assert_eq!((close_code(&out), out.last()), (Some(1008), Some(&Action::Finished(Cause::Refused))));
}

#[test]
fn a_verdict_on_what_was_asked_for_is_believed_when_it_is_said_twice() {
    for status in [404, 410, 401] {
        let mut bench = Bench::live();
        bench.lose();
        let out = bench.dial_fails(DialFailure::Refused { status });
        assert_eq!(close_code(&out), None, "once: {out:?}");
        let out = bench.dial_fails(DialFailure::Refused { status });
        assert_eq!(close_code(&out), Some(1008), "{status}: {out:?}");
    }
}

#[test]
fn the_same_token_with_a_later_end_is_one_to_dial_with() {
    let mut bench = Bench::live();
    bench.now += Duration::from_secs(61);
    bench.lose();
    assert_eq!(bench.session.step(), Some(state::Step::NeedsToken));
    let later = bench.shown(1, 600);
    assert_eq!(bench.tell(Event::Token(&token_of(later))), [Action::Dial(Epoch(2))]);
}

#[test]
fn a_goodbye_in_an_exchange_gives_the_turn_back_at_once() {
    let mut bench = Bench::live();
    bench.exchange(2);
    let close = Close::new(1000, "");
    let out = bench.tell(Event::ClientClosed(Some(close.clone())));
    assert_eq!(out, [Action::CloseUpstream(Epoch(1), close), Action::EndTurn]);
}

#[test]
fn a_close_at_the_end_of_the_token_is_counted_as_that() {
    let mut bench = Bench::live_with(Some(Swap::Never));
    bench.now += Duration::from_secs(60);
    let out = bench.tell(Event::UpstreamClosed(Epoch(1), Some(Close::new(1000, "bye")), "closed"));
    assert_eq!((close_code(&out), out.last()), (Some(1000), Some(&Action::Finished(Cause::TokenExpired))));
}

#[test]
fn what_was_read_is_not_in_doubt() {
    for (read, expected) in [(0, 3), (2, 1), (3, 0), (99, 0)] {
        let mut bench = Bench::live();
        for word in ["a", "b", "c"] {
            bench.says(word);
        }
        bench.tell(Event::UpstreamRead(Epoch(1), read));
        let mut out = Vec::new();
        bench.session.on_event(Event::UpstreamClosed(Epoch(1), None, "reset"), bench.now, &mut out);
        let doubt = Action::Note(Note::InDoubt { direction: Direction::Up, messages: expected });
        assert!(out.contains(&doubt), "{read} of 3 were read: {out:?}");
    }
}
