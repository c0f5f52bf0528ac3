//! The rules of the core, each by itself, with a toy dialect: every word of the service's is one message.

mod ably;
mod declared;
mod outages;
mod swaps;

use std::{sync::mpsc, time::Duration};

use super::*;
use crate::{
    clock::{self, Instant, Now},
    config::{Overlap, SessionPolicy, Swap},
    credential::{Generation, Token},
    dialect::{
        Awaits, Dialect, Ending, Exchanged, Meaning, Moment, Outgoing, Purpose, Reading, Say, Verdict,
    },
    wire::{Close, Direction, Kind, Message, Payload},
};

/// `ready`, `ok`, `no`, `ask` and `lapsed` of the service mean what they say; anything else passes.
#[derive(Clone)]
struct Toy {
    ended: mpsc::Sender<()>,
    swap: Option<Swap>,
    settle: Duration,
}

fn text(text: &str) -> Payload {
    Payload { kind: Kind::Text, bytes: text.as_bytes().into() }
}

impl Dialect for Toy {
    fn reads(&self, _direction: Direction) -> Reading {
        Reading::Messages
    }

    fn handshake(&mut self, _token: Option<&Token>) -> Result<Outgoing, String> {
        Ok(Outgoing { target: "/".into(), headers: http::HeaderMap::new(), elsewhere: None })
    }

    fn upstream(&mut self, message: Message<'_>, _moment: Moment, _now: Instant, _say: &mut Say) -> Verdict {
        Verdict::swallow(match message.payload {
            b"ready" => Meaning::Ready,
            b"ok" => Meaning::Accepted,
            b"no" => Meaning::Rejected("no".into()),
            b"ask" => Meaning::Asks,
            b"lapsed" => Meaning::Lapsed("lapsed".into()),
            _ => return Verdict::FORWARD,
        })
    }

    fn opened(&mut self, _purpose: Purpose, _now: Instant, _say: &mut Say) -> Awaits {
        Awaits::Ready
    }

    fn exchange(&mut self, token: Option<&Token>, _now: Instant, say: &mut Say) -> Exchanged {
        let Some(token) = token else { return Exchanged::Needless };
        say.to_upstream.push(text(&format!("auth {}", token.generation)));
        Exchanged::Asked
    }

    fn swap(&self) -> Option<Swap> {
        self.swap
    }

    fn settle(&self) -> Duration {
        self.settle
    }

    fn ending(&self, close: Option<&Close>, at_the_end: bool) -> Ending {
        match close.and_then(|close| close.code) {
            _ if at_the_end && close.is_some() => Ending::Lapsed,
            Some(3501) => Ending::Final,
            _ => Ending::Lost,
        }
    }

    fn pace(&self) -> u32 {
        1000
    }

    fn ended(&mut self, _now: Instant) {
        let _ = self.ended.send(());
    }
}

impl PartialEq for Toy {
    fn eq(&self, other: &Self) -> bool {
        self.swap == other.swap
    }
}

/// A token as the core knows it.
fn token_of(shown: Shown) -> Token {
    let mut token = Token::new("t", shown.generation, Now::read(), None);
    token.expires = shown.expires;
    token
}

/// A session in made-up time.
struct Bench {
    session: Session,
    now: Instant,
    ended: mpsc::Receiver<()>,
}

const QUEUE: usize = 1000;
const HOLD: Duration = Duration::from_secs(10);

impl Bench {
    /// Live, on a token of generation 1 that lives for a minute.
    fn live() -> Self {
        Self::live_with(None)
    }

    fn live_with(swap: Option<Swap>) -> Self {
        let mut bench = Self::opening_with(swap);
        bench.tell(Event::Opened(Epoch(1), Some(bench.shown(1, 60))));
        assert_eq!(bench.hears("ready"), []);
        assert_eq!(bench.session.phase(), Phase::Live);
        bench
    }

    fn opening() -> Self {
        Self::opening_with(None)
    }

    fn opening_with(swap: Option<Swap>) -> Self {
        let (sender, ended) = mpsc::channel();
        let toy = Box::new(Toy { ended: sender, swap, settle: Duration::ZERO });
        Self::of(toy, QUEUE, ended)
    }

    fn of(dialect: Box<dyn Dialect>, queue: usize, ended: mpsc::Receiver<()>) -> Self {
        let session = SessionPolicy {
            queue,
            hold: HOLD,
            reconnect: HOLD * 6,
            keepalive: HOLD,
            park: Duration::ZERO,
            overlap: Overlap::Keep,
            stateless: false,
            swap: Swap::Make,
        };
        let policy = Policy { session, opening: HOLD, needs: Needs::Token };
        let now = clock::now();
        Self { session: Session::new(dialect, policy, None, 1, now), now, ended }
    }

    fn shown(&self, generation: u64, seconds: u64) -> Shown {
        let expires = Some(self.now + Duration::from_secs(seconds));
        Shown { generation: Generation(generation), expires }
    }

    fn token(&self, generation: u64, seconds: u64) -> Token {
        let now = Now { mono: self.now, wall: Duration::from_secs(1) };
        Token::new("secret", Generation(generation), now, Some(Duration::from_secs(seconds)))
    }

    fn tell(&mut self, event: Event<'_>) -> Vec<Action> {
        let mut out = Vec::new();
        self.session.on_event(event, self.now, &mut out);
        out.retain(|action| !matches!(action, Action::Note(_)));
        out
    }

    fn hears(&mut self, word: &str) -> Vec<Action> {
        let epoch = self.newest();
        self.tell(Event::Upstream(epoch, Message { kind: Kind::Text, payload: word.as_bytes() }))
    }

    /// The connection that is being made, or the one that serves.
    fn newest(&self) -> Epoch {
        let attempt = self.session.attempt.as_ref().map(|attempt| attempt.epoch);
        attempt.or_else(|| self.session.serving()).unwrap()
    }

    fn says(&mut self, word: &str) -> Vec<Action> {
        self.tell(Event::Client(Message { kind: Kind::Text, payload: word.as_bytes() }))
    }

    /// Lets time pass to the next deadline.
    fn wait(&mut self) -> Vec<Action> {
        self.now = self.session.deadline().unwrap();
        self.tell(Event::Timer)
    }

    /// A new token comes, its turn comes, and AUTH goes out.
    fn exchange(&mut self, generation: u64) {
        let shown = self.shown(generation, 60);
        self.tell(Event::Token(&token_of(shown)));
        assert_eq!(self.wait(), [Action::AskTurn]);
        let token = self.token(generation, 60);
        let auth = text(&format!("auth {generation}"));
        assert_eq!(self.tell(Event::Turn(Some(&token))), [Action::ToUpstream(Epoch(1), auth)]);
        assert_eq!(self.session.phase(), Phase::Exchanging);
    }
}

#[test]
fn messages_wait_for_the_answer_and_go_in_their_order() {
    let mut bench = Bench::live();
    assert_eq!(bench.says("a"), [Action::Forward]);
    bench.exchange(2);
    assert_eq!((bench.says("b"), bench.says("c")), (vec![], vec![]));
    assert_eq!(bench.hears("a message of the service's"), [Action::Forward]);
    let (b, c) = (Action::ToUpstream(Epoch(1), text("b")), Action::ToUpstream(Epoch(1), text("c")));
    assert_eq!(bench.hears("ok"), [Action::EndTurn, b, c]);
    assert_eq!(bench.session.authenticated_with().generation, Generation(2));
    assert_eq!(bench.says("d"), [Action::Forward]);
}

/// What is slow to read is slow to answer: its last words are not cut off.
#[test]
fn a_service_that_was_slow_to_read_is_listened_to_for_longer() {
    for (read_after, listened) in [(10, 250), (300, 1200), (4000, 6000)] {
        let [read_after, listened] = [read_after, listened].map(Duration::from_millis);
        let mut bench = Bench::live_with(Some(Swap::Make));
        bench.tell(Event::Token(&token_of(bench.shown(2, 60))));
        assert_eq!(bench.wait(), [Action::AskTurn]);
        let token = bench.token(2, 60);
        assert_eq!(bench.tell(Event::Turn(Some(&token))), [Action::Dial(Epoch(2))]);
        let opened = bench.tell(Event::Opened(Epoch(2), Some(bench.shown(2, 60))));
        assert_eq!(opened, []);
        let ready = bench.hears("ready");
        let old = Epoch(1);
        assert_eq!(ready, [Action::PingUpstream(old, 0), Action::CloseUpstream(old, Close::new(1000, ""))]);
        bench.now += read_after;
        assert_eq!(bench.tell(Event::UpstreamRead(old, 0)), []);
        assert_eq!(bench.session.deadline(), Some(bench.now + listened));
        bench.now += Duration::from_millis(200);
        let answer = Message { kind: Kind::Text, payload: b"a late answer" };
        assert_eq!(bench.tell(Event::Upstream(old, answer)), [Action::Forward]);
        let end = (bench.now + listened).min(bench.now - read_after - Duration::from_millis(200) + HOLD);
        assert_eq!(bench.session.deadline(), Some(end), "each word is waited on as long, within the hold");
        assert!(bench.wait().contains(&Action::HangUp(old)));
    }
}

#[test]
fn rule_2_what_is_held_is_bounded_by_not_reading() {
    let mut bench = Bench::live();
    bench.exchange(2);
    let mut held = 0;
    while bench.session.wants_client() {
        bench.says(&"x".repeat(100));
        held += 1;
        assert!(held < 100, "nothing stops the client");
    }
    assert!(bench.session.held_bytes() < QUEUE + 300);
    assert!(bench.session.awaits_answer(), "the service is read on meanwhile");
    bench.hears("ok");
    assert!(bench.session.wants_client());
}

#[test]
fn rule_3_late_words_change_nothing() {
    let mut bench = Bench::live();
    let lost = bench.tell(Event::UpstreamClosed(Epoch(1), None, "reset"));
    assert_eq!(lost, [Action::HangUp(Epoch(1)), Action::Dial(Epoch(2))]);
    bench.tell(Event::Opened(Epoch(2), Some(bench.shown(1, 60))));
    let late = Message { kind: Kind::Text, payload: b"ready" };
    assert_eq!(bench.tell(Event::Upstream(Epoch(1), late)), []);
    assert_eq!(bench.session.phase(), Phase::Resuming, "the old connection's word made the new one live");
    assert_eq!(bench.tell(Event::UpstreamClosed(Epoch(1), Some(Close::new(1000, "")), "late")), []);
    assert_eq!(bench.tell(Event::DialFailed(Epoch(1), DialFailure::NoToken)), []);
    assert_eq!((bench.hears("ready"), bench.session.phase()), (vec![], Phase::Live));
}

#[test]
fn rule_4_the_end_is_the_end() {
    let mut bench = Bench::live();
    let out = bench.tell(Event::Shutdown);
    assert_eq!(out.last(), Some(&Action::Finished(Cause::Shutdown)));
    assert!(bench.ended.try_recv().is_ok());
    let token = bench.token(2, 60);
    for event in [Event::Timer, Event::Turn(Some(&token)), Event::ClientClosed(None), Event::Shutdown] {
        assert_eq!(bench.tell(event), []);
    }
    assert_eq!(bench.session.deadline(), None);
}

#[test]
fn an_operator_ends_a_session_in_any_state_and_the_client_is_told_why() {
    let away = |bench: &mut Bench| {
        bench.tell(Event::UpstreamClosed(Epoch(1), None, "reset"));
    };
    let exchanging = |bench: &mut Bench| {
        bench.exchange(2);
    };
    for before in [&|_: &mut Bench| {}, &away, &exchanging] as [&dyn Fn(&mut Bench); 3] {
        let mut bench = Bench::live();
        before(&mut bench);
        let out = bench.tell(Event::Closed);
        let close = Close::new(1001, "an operator closed the session");
        assert!(out.contains(&Action::CloseClient(close)), "{out:?}");
        assert_eq!(out.last(), Some(&Action::Finished(Cause::Operator)));
    }
}

#[test]
fn rule_5_one_exchange_at_a_time_and_the_newest_token_in_the_end() {
    let mut bench = Bench::live();
    bench.exchange(2);
    let shown = bench.shown(3, 60);
    assert_eq!(bench.tell(Event::Token(&token_of(shown))), []);
    let token = bench.token(3, 60);
    assert_eq!(bench.tell(Event::Turn(Some(&token))), [Action::EndTurn], "not while the other has no answer");
    bench.hears("ok");
    bench.wait();
    assert_eq!(bench.tell(Event::Turn(Some(&token))), [Action::ToUpstream(Epoch(1), text("auth 3"))]);
}

#[test]
fn rule_6_no_dead_and_no_refused_token_goes_out() {
    let mut bench = Bench::live();
    let shown = bench.shown(2, 30);
    bench.tell(Event::Token(&token_of(shown)));
    let token = bench.token(2, 30);
    assert_eq!(bench.wait(), [Action::AskTurn]);
    bench.now += Duration::from_secs(31);
    let out = bench.tell(Event::Turn(Some(&token)));
    assert!(
        out.contains(&Action::EndTurn) && !out.iter().any(|a| matches!(a, Action::ToUpstream(..))),
        "{out:?}"
    );

    let mut bench = Bench::live();
    bench.exchange(2);
    let out = bench.hears("no");
    let rejected = Some(Generation(2));
    let demand = Action::Demand(Demand { rejected, trigger: Trigger::Expiry });
    assert!(out.contains(&demand) && !out.iter().any(|a| matches!(a, Action::Dial(_))), "{out:?}");
    let shown = bench.shown(3, 60);
    assert_eq!(
        bench.tell(Event::Token(&token_of(shown))),
        [Action::Dial(Epoch(2))],
        "only a newer one will do"
    );
}

#[test]
fn rule_6_an_older_generation_is_dropped() {
    let mut bench = Bench::live();
    bench.exchange(5);
    bench.hears("ok");
    let older = bench.shown(4, 0);
    assert_eq!(bench.tell(Event::Token(&token_of(older))), []);
    assert_eq!(bench.session.deadline(), None, "nothing follows from it");
    let lost = bench.tell(Event::UpstreamClosed(Epoch(1), None, "reset"));
    assert!(lost.contains(&Action::Dial(Epoch(2))), "the newer one is still there to dial with: {lost:?}");
}

#[test]
fn rule_7_an_exchange_without_an_answer_is_given_up() {
    let mut bench = Bench::live();
    bench.exchange(2);
    bench.says("held");
    let started = bench.now;
    let out = bench.wait();
    assert_eq!(bench.now, started + HOLD);
    assert_eq!(out, [Action::HangUp(Epoch(1)), Action::EndTurn, Action::Dial(Epoch(2))]);
    bench.tell(Event::Opened(Epoch(2), Some(bench.shown(2, 60))));
    assert_eq!(bench.hears("ready"), [Action::ToUpstream(Epoch(2), text("held"))]);
}

#[test]
fn rule_7_each_step_of_a_reconnect_has_an_end() {
    let mut bench = Bench::live();
    bench.tell(Event::UpstreamClosed(Epoch(1), None, "reset"));
    let lost = bench.now;
    bench.says("held");
    let mut last = Vec::new();
    while bench.session.phase() == Phase::Resuming {
        assert!(bench.session.deadline().is_some(), "{:?}", bench.session);
        last = bench.wait();
    }
    assert_eq!(bench.now, lost + HOLD * 6, "an outage is hidden for as long as it was asked for");
    assert_eq!(last.last(), Some(&Action::Finished(Cause::Outage)));
    let close = last.iter().find_map(|a| if let Action::CloseClient(c) = a { c.code } else { None });
    assert_eq!(close, Some(Close::TRY_AGAIN));
}

#[test]
fn a_first_connection_that_is_refused_is_tried_with_a_newer_token() {
    let mut bench = Bench::opening();
    bench.tell(Event::Opened(Epoch(1), Some(bench.shown(1, 60))));
    let out = bench.hears("lapsed");
    assert!(!out.iter().any(|a| matches!(a, Action::CloseClient(_) | Action::Dial(_))), "{out:?}");
    let shown = bench.shown(2, 60);
    assert_eq!(bench.tell(Event::Token(&token_of(shown))), [Action::Dial(Epoch(2))]);
}

#[test]
fn a_rehearsed_expiry_takes_a_newer_token_and_a_new_connection() {
    let mut bench = Bench::live();
    let out = bench.tell(Event::Rehearsal(Rehearsal::Expire));
    let demand = Demand { rejected: Some(Generation(1)), trigger: Trigger::Expiry };
    assert!(out.contains(&Action::Demand(demand)) && out.contains(&Action::HangUp(Epoch(1))), "{out:?}");
    assert!(!out.iter().any(|a| matches!(a, Action::Dial(_))), "not with the token that has ended: {out:?}");
    bench.says("held");
    let shown = bench.shown(2, 60);
    assert_eq!(bench.tell(Event::Token(&token_of(shown))), [Action::Dial(Epoch(2))]);
    bench.tell(Event::Opened(Epoch(2), Some(shown)));
    assert_eq!(bench.hears("ready"), [Action::ToUpstream(Epoch(2), text("held"))]);
}

#[test]
fn a_rehearsed_exchange_shows_the_same_token_once() {
    let mut bench = Bench::live();
    assert_eq!(bench.tell(Event::Rehearsal(Rehearsal::Reauthenticate)), [Action::AskTurn]);
    assert_eq!(bench.tell(Event::Rehearsal(Rehearsal::Reauthenticate)), [], "it is about to");
    let token = bench.token(1, 60);
    assert_eq!(bench.tell(Event::Turn(Some(&token))), [Action::ToUpstream(Epoch(1), text("auth 1"))]);
    for rehearsal in [Rehearsal::Reauthenticate, Rehearsal::Expire] {
        assert_eq!(bench.tell(Event::Rehearsal(rehearsal)), [], "an exchange is under way");
    }
    assert_eq!(bench.hears("ok"), [Action::EndTurn]);
    assert_eq!(bench.session.phase(), Phase::Live);
    assert_eq!(bench.session.deadline(), None, "once");
}

#[test]
fn what_will_not_be_sent_is_counted() {
    let mut bench = Bench::live();
    bench.tell(Event::UpstreamClosed(Epoch(1), None, "reset"));
    bench.says("held");
    let mut out = Vec::new();
    bench.session.on_event(Event::ClientClosed(None), bench.now, &mut out);
    // A service may still come back for it; it does not.
    assert!(!out.iter().any(|a| matches!(a, Action::Finished(_))), "{out:?}");
    while bench.session.phase() == Phase::Resuming {
        bench.now = bench.session.deadline().unwrap();
        bench.session.on_event(Event::Timer, bench.now, &mut out);
    }
    let lost = out.iter().filter(|a| matches!(a, Action::Note(Note::Lost { known: false, .. }))).count();
    assert_eq!(lost, 1, "{out:?}");
}

#[test]
fn rule_5_no_exchange_begins_on_a_connection_that_ends() {
    let mut bench = Bench::live();
    let shown = bench.shown(2, 60);
    bench.tell(Event::Token(&token_of(shown)));
    assert_eq!(bench.wait(), [Action::AskTurn]);
    bench.tell(Event::ClientClosed(Some(Close::new(1000, ""))));
    let token = bench.token(2, 60);
    assert_eq!(bench.tell(Event::Turn(Some(&token))), [Action::EndTurn]);
}

/// Core 3.2: a client that finds its session over hears that, once.
#[test]
fn a_client_that_comes_back_to_a_session_that_is_over_is_told() {
    let mut bench = Bench::live();
    bench.session.policy.park = HOLD;
    assert_eq!(bench.tell(Event::ClientClosed(None)), [Action::Park]);
    while !bench.wait().contains(&Action::Finished(Cause::Client)) {}
    let told = Close::new(Close::TRY_AGAIN, "the session is over; connect again");
    assert_eq!(bench.tell(Event::ClientBack), [Action::CloseClient(told)]);
    assert_eq!(bench.tell(Event::ClientBack), []);
}
