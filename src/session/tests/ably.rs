//! What only a dialect that keeps messages shows: how fast it says them again, and for how long.

use std::sync::Arc;

use super::*;
use crate::{
    config::Config,
    dialect::{Dialects, Request},
};

/// Messages a second that the service takes.
const RATE: usize = 50;

fn connected(key: &str) -> String {
    format!(
        r#"{{"action":4,"connectionId":"me","connectionDetails":{{"connectionKey":"{key}","maxInboundRate":{RATE}}}}}"#
    )
}

fn publish(serial: usize) -> String {
    format!(r#"{{"action":15,"channel":"c","msgSerial":{serial},"messages":[{{"data":1}}]}}"#)
}

fn acknowledge(serial: usize) -> String {
    format!(r#"{{"action":1,"msgSerial":{serial},"count":1}}"#)
}

fn sent(actions: &[Action]) -> usize {
    actions.iter().filter(|action| matches!(action, Action::ToUpstream(..))).count()
}

impl Bench {
    fn ably() -> Self {
        Self::ably_that_keeps(1 << 20)
    }

    fn ably_that_keeps(queue: usize) -> Self {
        let config = format!(
            "[listen]\naddress = \"127.0.0.1:0\"\n[[route]]\nupstream = \"ws://127.0.0.1:1\"\ndialect = \"ably\"\n\
             [route.token]\nsource = \"static\"\ntoken = \"x\"\n[route.session]\nqueue = \"{queue}B\"\n"
        );
        let route = Arc::clone(&Config::parse(&config, "test").unwrap().routes[0]);
        let request = Request::new("/?format=json&v=2", &http::HeaderMap::new());
        let dialect = Dialects::new(route, 10).open(request, clock::now());
        let mut bench = Self::of(dialect, queue, mpsc::channel().1);
        bench.tell(Event::Opened(Epoch(1), Some(bench.shown(1, 3600))));
        bench.hears(&connected("k1"));
        assert_eq!(bench.session.phase(), Phase::Live);
        bench
    }

    /// The connection ends as `end` says, again and again, until the session does; how many there were, and what
    /// the service was sent on them.
    fn ends_again_and_again(&mut self, end: impl Fn(Epoch) -> Event<'static>) -> (usize, usize) {
        let (mut connections, mut messages) = (0, 0);
        loop {
            let end = end(self.newest());
            self.tell(end);
            while self.session.phase() == Phase::Resuming && self.session.step() != Some(state::Step::Dialing)
            {
                self.wait();
            }
            if self.session.phase() == Phase::Closing {
                return (connections, messages);
            }
            assert!(connections < 1000, "it goes on for ever");
            connections += 1;
            self.tell(Event::Opened(self.newest(), Some(self.shown(1, 3600))));
            self.now += Duration::from_millis(20);
            messages += sent(&self.hears(&connected("k2")));
            self.now += Duration::from_millis(20);
        }
    }
}

/// A client may say more than a service acknowledges: that waits, and the client is heard all the same.
#[test]
fn a_client_with_much_unacknowledged_is_still_heard() {
    let mut bench = Bench::ably_that_keeps(4096);
    let mut went = 0;
    while bench.says(&publish(went))[..] == [Action::Forward] {
        went += 1;
    }
    assert!(went > 3 && bench.session.held_messages() == 1, "{went}");
    assert!(bench.session.wants_client());
    assert_eq!(bench.says(r#"{"action":0,"id":"p"}"#), [Action::Forward], "its ping is not held");
    bench.says(&publish(went + 1));
    // Each acknowledgement makes room for one, in their order.
    let go_on =
        |actions: Vec<Action>| actions.iter().filter(|it| matches!(it, Action::ToUpstream(..))).count();
    assert_eq!(go_on(bench.hears(&acknowledge(0))), 1);
    assert_eq!(go_on(bench.hears(&acknowledge(1))), 1);
    assert_eq!(bench.session.held_messages(), 0);
    // A client that says nothing but publishes is made to wait in the end.
    for serial in went + 2.. {
        if !bench.session.wants_client() {
            break;
        }
        assert!(serial < 1000, "nothing is bounded");
        bench.says(&publish(serial));
    }
    // And its goodbye is not.
    let goodbye = bench.says(r#"{"action":7}"#);
    assert_eq!(bench.session.held_messages(), 0, "{goodbye:?}");
}

/// A client that says CLOSE, is told CLOSED, and whose service then ends the connection, has left by itself.
#[test]
fn a_goodbye_that_is_answered_is_the_clients_end() {
    for close in [Some(Close::new(1000, "")), Some(Close::new(1001, "")), None] {
        let mut bench = Bench::ably();
        assert_eq!(bench.says(r#"{"action":7}"#), [Action::Forward]);
        assert_eq!(bench.hears(r#"{"action":8}"#), [Action::Forward]);
        let ended = bench.tell(Event::UpstreamClosed(Epoch(1), close, "the service closed it"));
        assert!(ended.contains(&Action::Finished(Cause::Client)), "{ended:?}");
        assert!(ended.iter().any(|it| matches!(it, Action::CloseClient(close) if close.code == Some(1000))));
    }
}

#[test]
fn a_message_that_ends_each_connection_is_not_sent_for_ever() {
    const REFUSED: &[u8] =
        br#"{"action":6,"error":{"code":40009,"statusCode":413,"message":"maximum message length exceeded"}}"#;
    let mut bench = Bench::ably();
    bench.says(&publish(0));
    let begun = bench.now;
    let refuses = |epoch| Event::Upstream(epoch, Message { kind: Kind::Text, payload: REFUSED });
    let (connections, messages) = bench.ends_again_and_again(refuses);
    assert!((1..=connections).contains(&messages), "{messages} messages on {connections} connections");
    assert!(bench.now - begun <= HOLD * 7, "{:?}", bench.now - begun);
}

#[test]
fn a_message_that_cannot_be_read_is_not_asked_for_for_ever() {
    let mut bench = Bench::ably();
    let begun = bench.now;
    bench.ends_again_and_again(|epoch| Event::UpstreamBroke(epoch, crate::wire::Violation::TooBig));
    assert!(bench.now - begun <= HOLD * 7, "{:?}", bench.now - begun);
}

#[test]
fn what_passes_on_a_live_connection_delays_nothing_later() {
    let mut bench = Bench::ably();
    // For half an hour a little less than the service takes.
    for serial in 0..1800 * (RATE - 2) {
        bench.says(&publish(serial));
        bench.hears(&acknowledge(serial));
        bench.now += Duration::from_secs(1) / (RATE - 2) as u32;
    }
    bench.tell(Event::Token(&token_of(bench.shown(2, 3600))));
    while bench.session.phase() != Phase::Exchanging {
        if bench.wait().contains(&Action::AskTurn) {
            let token = bench.token(2, 3600);
            bench.tell(Event::Turn(Some(&token)));
        }
    }
    bench.says(&publish(1800 * (RATE - 2)));
    bench.now += Duration::from_millis(50);
    let said = bench.hears(&connected("k2"));
    assert_eq!(sent(&said), 1, "what was held goes on at once: {said:?}");
}

#[test]
fn what_is_said_again_keeps_the_pace() {
    let mut bench = Bench::ably();
    for serial in 0..10 * RATE {
        bench.says(&publish(serial));
        bench.now += Duration::from_millis(21);
    }
    bench.tell(Event::UpstreamClosed(Epoch(1), None, "reset"));
    bench.tell(Event::Opened(bench.newest(), Some(bench.shown(1, 3600))));
    let begun = bench.now;
    let mut messages = sent(&bench.hears(&connected("k2")));
    loop {
        assert!(messages <= (bench.now - begun).as_secs() as usize * RATE + RATE, "{messages} at once");
        if messages >= 10 * RATE {
            break;
        }
        messages += sent(&bench.wait());
    }
    assert!(bench.now - begun <= Duration::from_secs(11), "{:?}", bench.now - begun);
}

/// It is held during an exchange, and then ends the session in the middle of what the client's Close brings about.
#[test]
fn what_ends_the_session_while_it_is_flushed_ends_it_once() {
    let mut bench = Bench::ably();
    bench.tell(Event::Token(&token_of(bench.shown(2, 3600))));
    while bench.session.phase() != Phase::Exchanging {
        if bench.wait().contains(&Action::AskTurn) {
            let token = bench.token(2, 3600);
            bench.tell(Event::Turn(Some(&token)));
        }
    }
    bench.says(r#"{"action":17,"auth":{"accessToken":"FORGED"},}"#);
    let said = bench.tell(Event::ClientClosed(Some(Close::new(1000, ""))));
    let over = said.iter().position(|action| matches!(action, Action::Finished(_)));
    assert_eq!(over, Some(said.len() - 1), "nothing comes behind the end: {said:?}");
}
