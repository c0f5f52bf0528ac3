use proptest::prelude::*;

use super::*;
use crate::clock;

const TEN: Duration = Duration::from_secs(10);

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn alive() -> Option<Delivery> {
    Some(Delivery { outstanding: false, overdue: false, retry: ms(200), last_ack: ms(1) })
}

/// What a kernel says `after` everything stopped to be acknowledged, at a first timeout of `rto`.
fn cut(after: Duration, rto: Duration) -> Option<Delivery> {
    let mut retry = rto;
    let mut next = rto;
    while next <= after {
        retry *= 2;
        next += retry;
    }
    Some(Delivery { outstanding: true, overdue: retry > rto, retry, last_ack: after })
}

/// An idle leg whose peer answers each Ping after `rtt`: the Pings in `length`, and the verdict.
fn idle(patience: Patience, rtt: Duration, length: Duration) -> (u32, Verdict) {
    let start = clock::now();
    let (mut leg, mut pings, mut pong) = (Liveness::new(start), 0, None);
    loop {
        let due = leg.deadline(patience).unwrap();
        let now = pong.map_or(due, |at: Instant| at.min(due));
        if now > start + length {
            return (pings, Verdict::Alive);
        }
        if pong == Some(now) {
            leg.heard(now);
            leg.ponged(now);
            pong = None;
        }
        match leg.judge(patience, now, alive) {
            Verdict::Ask => {
                pings += 1;
                leg.pinged(6, now);
                leg.wrote(6, now);
                pong = Some(now + rtt);
            }
            Verdict::Alive => {}
            gone @ Verdict::Gone(_) => return (pings, gone),
        }
        assert!(leg.deadline(patience).unwrap() > now, "rule 1: {leg:?}");
    }
}

/// A leg to a service that was quiet for one span and has been sent a Ping; when it began.
fn asked() -> (Instant, Patience, Liveness) {
    let start = clock::now();
    let patience = Patience::with_service(TEN);
    let mut leg = Liveness::new(start);
    assert_eq!(leg.judge(patience, start + TEN, alive), Verdict::Ask);
    leg.pinged(6, start + TEN);
    leg.wrote(6, start + TEN);
    (start, patience, leg)
}

#[test]
fn an_idle_leg_is_pinged_once_in_each_span_at_any_round_trip_time() {
    for rtt in [0, 50, 200, 1000, 2000] {
        let (pings, verdict) = idle(Patience::with_service(TEN), ms(rtt), ms(27_000));
        assert!((1..=2).contains(&pings), "{rtt} ms: {pings}");
        assert_eq!(verdict, Verdict::Alive, "{rtt} ms");
        let (pings, verdict) = idle(Patience::with_service(TEN / 2), ms(rtt), ms(27_000));
        assert!((3..=5).contains(&pings), "{rtt} ms: {pings}");
        assert_eq!(verdict, Verdict::Alive, "{rtt} ms");
    }
}

#[test]
fn a_hung_peer_on_an_idle_leg_is_found_in_one_and_a_half_spans() {
    let (start, patience, mut leg) = asked();
    let due = leg.deadline(patience).unwrap();
    assert!(due > start + ms(14_999) && due < start + ms(15_100), "{:?}", due - start);
    assert_eq!(leg.judge(patience, due, alive), Verdict::Gone(HUNG));
}

#[test]
fn a_half_open_idle_leg_is_found_as_fast() {
    let (start, patience, mut leg) = asked();
    let due = leg.deadline(patience).unwrap();
    assert!(due < start + ms(15_100), "{:?}", due - start);
    assert_eq!(leg.judge(patience, due, || cut(due - start, ms(300))), Verdict::Gone(DEAD));
}

#[test]
fn a_delayed_acknowledgement_hides_no_hung_peer() {
    let (start, patience, mut leg) = asked();
    // The client goes on sending: the last of it is always on its way.
    let delayed = Delivery { outstanding: true, overdue: false, retry: ms(200), last_ack: ms(40) };
    let mut now = start;
    while leg.judge(patience, now, || Some(delayed)) != Verdict::Gone(HUNG) {
        now = leg.deadline(patience).unwrap();
        assert!(now < start + ms(15_100), "{:?}", now - start);
    }
}

#[test]
fn a_slow_way_is_no_hung_peer() {
    let start = clock::now();
    let patience = Patience::with_service(TEN);
    let mut leg = Liveness::new(start);
    leg.wrote(60_000, start);
    let mut now = start;
    // A kilobyte a second: the kernel has most of it, and the host acknowledges what arrives.
    while now < start + ms(60_000) {
        now = leg.deadline(patience).unwrap();
        let slow = Delivery { outstanding: true, overdue: false, retry: ms(3_000), last_ack: ms(1_500) };
        match leg.judge(patience, now, || Some(slow)) {
            Verdict::Ask => {
                leg.pinged(6, now);
                leg.wrote(6, now);
            }
            Verdict::Alive => {}
            Verdict::Gone(why) => panic!("after {:?}: {why}", now - start),
        }
        assert!(leg.deadline(patience).unwrap() > now, "rule 1: {leg:?}");
    }
}

#[test]
fn the_client_may_be_silent_and_zero_turns_pings_off() {
    let (pings, verdict) = idle(Patience::with_client(TEN), ms(10_000_000), ms(600_000));
    assert_eq!((pings, verdict), (60, Verdict::Alive));
    let leg = Liveness::new(clock::now());
    assert_eq!(leg.deadline(Patience::with_service(Duration::ZERO)), None);
}

#[test]
fn a_hung_peer_is_found_however_much_the_client_goes_on_sending() {
    for (bytes, limit) in [(10, 18_000), (20_000, 530_000)] {
        let start = clock::now();
        let patience = Patience::with_service(TEN);
        let (mut leg, mut now) = (Liveness::new(start), start);
        loop {
            let due = leg.deadline(patience).unwrap();
            now += ms(50);
            if due > now {
                leg.wrote(bytes, now);
                continue;
            }
            now = due;
            match leg.judge(patience, now, alive) {
                Verdict::Ask => leg.pinged(6, now),
                Verdict::Alive => {}
                Verdict::Gone(_) => break,
            }
        }
        assert!(now - start < ms(limit), "{bytes} bytes at once: {:?}", now - start);
    }
}

#[test]
fn one_that_was_slow_to_answer_may_be_so_again() {
    let start = clock::now();
    let patience = Patience::with_service(TEN);
    let mut leg = Liveness::new(start);
    assert_eq!(leg.judge(patience, start + TEN, alive), Verdict::Ask);
    leg.pinged(6, start + TEN);
    leg.heard(start + ms(14_000));
    leg.ponged(start + ms(14_000));
    leg.pinged(6, start + ms(24_000));
    assert_eq!(leg.judge(patience, start + ms(31_900), alive), Verdict::Alive);
}

#[test]
fn after_an_upload_the_peer_gets_the_time_to_read_it() {
    let start = clock::now();
    let patience = Patience::with_service(TEN);
    let mut leg = Liveness::new(start);
    // A megabyte at once into the kernels' buffers; the peer reads 10 kB/s.
    leg.wrote(1_000_000, start);
    let (mut now, read) = (start, start + ms(100_000));
    let mut pongs = 0;
    while now < read {
        now = leg.deadline(patience).unwrap();
        match leg.judge(patience, now, alive) {
            Verdict::Ask => {
                leg.pinged(6, now);
                leg.wrote(6, now);
                pongs += 1;
            }
            Verdict::Alive => {}
            Verdict::Gone(why) => panic!("after {:?}: {why}", now - start),
        }
    }
    assert!((8..=11).contains(&pongs), "{pongs}");
}

#[test]
fn a_peer_that_has_shown_its_rate_is_not_waited_for_as_the_slowest() {
    let start = clock::now();
    let patience = Patience::with_service(TEN);
    let mut leg = Liveness::new(start);
    for second in 0..20 {
        leg.wrote(100_000, start + ms(1000 * second));
        if second % 10 == 9 {
            leg.pinged(0, start + ms(1000 * second));
            leg.heard(start + ms(1000 * second + 100));
            leg.ponged(start + ms(1000 * second + 100));
        }
    }
    // It hangs, with ten seconds' worth before it.
    leg.wrote(1_000_000, start + ms(20_000));
    leg.pinged(0, start + ms(29_500));
    let due = leg.deadline(patience).unwrap();
    while leg.judge(patience, leg.deadline(patience).unwrap(), alive) == Verdict::Alive {}
    assert!(due < start + ms(150_000), "{:?}", due - start);
}

#[test]
fn a_dead_network_is_found_in_one_and_a_half_spans_busy_or_not() {
    for (keepalive, limit) in [(TEN, 16_000), (TEN / 2, 8_000)] {
        for rto in [200, 250, 300, 450, 800, 1500, 3000] {
            let start = clock::now();
            let patience = Patience::with_service(keepalive);
            let mut leg = Liveness::new(start);
            // The last message before the cut was acknowledged, and the answer to it did not arrive.
            leg.wrote(100, start);
            let mut now = start;
            // The client goes on sending, 20 times a second.
            let why = loop {
                let due = leg.deadline(patience).unwrap();
                let sent = now + ms(50);
                if due > sent {
                    now = sent;
                    leg.wrote(100, now);
                    continue;
                }
                now = due;
                match leg.judge(patience, now, || cut(now - start - ms(20), ms(rto))) {
                    Verdict::Ask => leg.pinged(6, now),
                    Verdict::Alive => {}
                    Verdict::Gone(why) => break why,
                }
                assert!(leg.deadline(patience).unwrap() > now, "rule 1: {leg:?}");
            };
            assert!(why.starts_with("the network is dead"), "{why}");
            assert!(now - start <= ms(limit), "rto {rto}: {:?}", now - start);
        }
    }
}

#[test]
fn a_lost_packet_after_a_quiet_time_is_no_dead_network() {
    let start = clock::now();
    let patience = Patience::with_service(TEN / 2);
    let mut leg = Liveness::new(start);
    leg.wrote(100, start);
    let due = leg.deadline(patience).unwrap();
    // Nothing was sent since, and the last packet was sent twice: its host was heard long ago.
    let lost = Delivery { outstanding: true, overdue: true, retry: ms(400), last_ack: ms(60_000) };
    for _ in 0..3 {
        let now = leg.deadline(patience).unwrap().max(due);
        let verdict = leg.judge(patience, now, || Some(lost));
        assert_ne!(verdict, Verdict::Gone(DEAD));
        if verdict == Verdict::Ask {
            leg.pinged(6, now);
        }
        leg.heard(now);
    }
}

#[test]
fn a_closed_window_that_is_probed_is_a_slow_reader() {
    let start = clock::now();
    let patience = Patience::with_client(TEN);
    let mut leg = Liveness::new(start);
    leg.wrote(3_000_000, start);
    leg.blocked(start);
    let mut now = start;
    while now < start + ms(200_000) {
        now = leg.deadline(patience).unwrap();
        // The last probe was answered as long ago as the next is away.
        let probed =
            Delivery { outstanding: false, overdue: false, retry: ms(200), last_ack: (now - start) / 2 };
        match leg.judge(patience, now, || Some(probed)) {
            Verdict::Ask => leg.pinged(6, now),
            Verdict::Alive => {}
            Verdict::Gone(why) => panic!("after {:?}: {why}", now - start),
        }
    }
    // It does not wait for ever.
    assert!(leg.deadline(patience).unwrap() <= start + STALL + READING + TEN);
}

/// Something that happens to a leg.
#[derive(Debug, Clone)]
enum Happening {
    Heard,
    Ponged,
    Wrote(usize),
    Blocked,
    Time(u64),
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        Just(Happening::Heard),
        Just(Happening::Ponged),
        (0..2_000_000_usize).prop_map(Happening::Wrote),
        Just(Happening::Blocked),
        (1..40_000_u64).prop_map(Happening::Time),
    ]
}

fn delivery() -> impl Strategy<Value = Option<Delivery>> {
    let some = (any::<bool>(), any::<bool>(), 200..60_000_u64, 0..100_000_u64);
    proptest::option::of(some.prop_map(|(outstanding, overdue, retry, last_ack)| Delivery {
        outstanding,
        overdue,
        retry: ms(retry),
        last_ack: ms(last_ack),
    }))
}

proptest! {
    /// Rule 1: whatever happened, what was handled is over, and Pings are counted.
    #[test]
    fn the_next_deadline_is_in_the_future(
        events in proptest::collection::vec((happening(), delivery()), 1..200),
        keepalive in prop_oneof![Just(0), Just(200), Just(5_000), Just(10_000), Just(86_400_000_u64)],
        service in any::<bool>(),
    ) {
        let keepalive = ms(keepalive);
        let patience =
            if service { Patience::with_service(keepalive) } else { Patience::with_client(keepalive) };
        let start = clock::now();
        let (mut leg, mut now, mut pings) = (Liveness::new(start), start, 0_u128);
        for (event, delivery) in events {
            match event {
                Happening::Heard => leg.heard(now),
                Happening::Ponged => leg.ponged(now),
                Happening::Wrote(bytes) => leg.wrote(bytes, now),
                Happening::Blocked => leg.blocked(now),
                Happening::Time(millis) => {
                    let until = now + ms(millis);
                    while let Some(due) = leg.deadline(patience).filter(|due| *due <= until) {
                        now = now.max(due);
                        match leg.judge(patience, now, || delivery) {
                            Verdict::Alive => {}
                            Verdict::Ask => {
                                leg.pinged(6, now);
                                pings += 1;
                            }
                            Verdict::Gone(_) => return Ok(()),
                        }
                        prop_assert!(leg.deadline(patience).is_none_or(|due| due > now), "{leg:?}");
                        let elapsed = (now - start).as_millis();
                        prop_assert!(pings <= elapsed.checked_div(keepalive.as_millis()).unwrap_or(0) + 1);
                    }
                    now = until;
                }
            }
        }
    }
}
