//! Swaps: what the old connection's end means meanwhile, and whether the new one does the same for the client.

use super::*;

const OLD: Epoch = Epoch(1);
const NEW: Epoch = Epoch(2);

impl Bench {
    /// A new token comes, and the new connection is being dialled.
    fn swaps() -> Self {
        let mut bench = Self::live_with(Some(Swap::Make));
        bench.tell(Event::Token(&token_of(bench.shown(2, 60))));
        assert_eq!(bench.wait(), [Action::AskTurn]);
        let token = bench.token(2, 60);
        assert_eq!(bench.tell(Event::Turn(Some(&token))), [Action::Dial(NEW)]);
        bench
    }

    /// The new connection serves, and the old one has ended.
    fn swapped() -> Self {
        let mut bench = Self::swaps();
        bench.tell(Event::Opened(NEW, Some(bench.shown(2, 60))));
        bench.hears("ready");
        bench.tell(Event::UpstreamClosed(OLD, Some(Close::new(1000, "")), "closed"));
        assert_eq!((bench.session.phase(), bench.session.serving()), (Phase::Live, Some(NEW)));
        bench
    }

    fn refuses(&mut self, epoch: Epoch) -> Vec<Action> {
        self.tell(Event::UpstreamClosed(epoch, Some(Close::new(3501, "bad request")), "closed"))
    }
}

fn is_told(actions: &[Action]) -> bool {
    actions.iter().any(|action| matches!(action, Action::CloseClient(_) | Action::DropClient))
}

#[test]
fn whatever_ends_the_old_connection_meanwhile_is_the_swaps_doing() {
    for code in [1000, 1008, 3501, 4401] {
        let mut bench = Bench::swaps();
        let out = bench.tell(Event::UpstreamClosed(OLD, Some(Close::new(code, "replaced")), "closed"));
        assert!(!is_told(&out), "{code}: {out:?}");
        bench.says("held");
        bench.tell(Event::Opened(NEW, Some(bench.shown(2, 60))));
        assert_eq!(bench.hears("ready"), [Action::ToUpstream(NEW, text("held"))], "{code}");
    }
}

#[test]
fn a_swap_that_the_clients_first_message_ends_is_tried_once_more() {
    let mut bench = Bench::swapped();
    assert_eq!(bench.says("presence"), [Action::Forward]);
    let out = bench.refuses(NEW);
    assert!(!is_told(&out) && out.contains(&Action::Dial(Epoch(3))), "{out:?}");
    bench.tell(Event::Opened(Epoch(3), Some(bench.shown(2, 60))));
    bench.hears("ready");
    bench.says("presence");
    let out = bench.refuses(Epoch(3));
    assert!(is_told(&out), "then the service's word is passed on: {out:?}");
}

#[test]
fn a_swap_whose_service_has_answered_since_is_a_good_one() {
    let mut bench = Bench::swapped();
    bench.says("presence");
    assert_eq!(bench.hears("present: nobody"), [Action::Forward]);
    assert!(is_told(&bench.refuses(NEW)), "what ends it now is the service's own word");
}

#[test]
fn while_it_is_restored_and_settles_the_old_one_serves() {
    let mut bench = Bench::swaps();
    let settle = Duration::from_millis(100);
    let toy = Toy { ended: mpsc::channel().0, swap: Some(Swap::Make), settle };
    bench.session.dialect = Box::new(toy);
    bench.tell(Event::Opened(NEW, Some(bench.shown(2, 60))));
    assert_eq!(bench.says("to the old one"), [Action::Forward]);
    assert_eq!(bench.hears("an answer to what was restored"), [], "the client has not asked");
    assert_eq!(bench.hears("ready"), [], "it settles");
    assert_eq!(bench.says("still to the old one"), [Action::Forward]);
    let since = bench.now;
    let drained = bench.wait();
    assert_eq!(bench.now - since, settle);
    assert!(drained.contains(&Action::CloseUpstream(OLD, Close::new(1000, ""))), "{drained:?}");
    assert_eq!(bench.says("to the new one"), []);
    let served = bench.tell(Event::UpstreamClosed(OLD, Some(Close::new(1000, "")), "closed"));
    assert!(served.contains(&Action::ToUpstream(NEW, text("to the new one"))), "{served:?}");
    assert!(
        !served.iter().any(|action| matches!(action, Action::ToClient(_))),
        "hidden for good: {served:?}"
    );
}

#[test]
fn a_new_token_is_for_new_connections_only_if_the_route_says_so() {
    let mut bench = Bench::live_with(Some(Swap::Never));
    assert_eq!(bench.tell(Event::Token(&token_of(bench.shown(2, 60)))), []);
    assert_eq!(bench.session.deadline(), None, "nothing is due");
    let out = bench.tell(Event::UpstreamClosed(OLD, Some(Close::new(1001, "restart")), "closed"));
    assert!(is_told(&out), "its Close goes to the client: {out:?}");
}
