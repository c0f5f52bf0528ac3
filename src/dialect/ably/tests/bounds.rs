//! What is kept is bounded as it is kept, and work grows with what is said, not with its square.

use super::*;

#[test]
fn attaches_are_bounded_and_a_connection_beyond_it_is_not_resumed() {
    let mut middle = Middle::open();
    let pad = "x".repeat(100_000);
    let mut most = 0;
    for n in 0..64 {
        let attach = json!({"action": 10, "channel": format!("c{n}"), "params": {"a": pad}});
        assert_eq!(middle.client(&attach), Verdict::FORWARD, "the service is the judge of it");
        most = most.max(middle.dialect.channels.bytes());
    }
    assert!(most <= LIMIT && middle.dialect.channels.bytes() == 0, "{most} bytes were kept");
    assert!(middle.dialect.lost().is_err());
    assert!(middle.dialect.lost().is_err_and(|why| why.contains("channels")));
}

#[test]
fn members_and_serials_count_as_well() {
    let mut middle = Middle::open();
    middle.attach("c");
    let pad = "x".repeat(100_000);
    for n in 0..20 {
        let item = json!({"action": 1, "clientId": format!("u{n}"), "connectionId": "me", "id": "me:0:0", "data": pad});
        middle.service(Moment::Live, &json!({"action": 16, "channel": "c", "presence": [item]}));
    }
    assert!(middle.dialect.channels.are_forgotten());
    let mut middle = Middle::open();
    middle.attach("c");
    let serial = "s".repeat(LIMIT);
    middle.service(Moment::Live, &json!({"action": 15, "channel": "c", "channelSerial": serial}));
    assert!(middle.dialect.channels.are_forgotten());
}

#[test]
fn what_is_kept_no_longer_is_not_counted() {
    let mut middle = Middle::open();
    for n in 0..1000 {
        let channel = format!("c{n}");
        middle.attach(&channel);
        middle.client(&json!({"action": 10, "channel": channel, "params": {"rewind": "1"}}));
        middle.service(Moment::Live, &attached(&channel, 4));
        middle.client(&json!({"action": 12, "channel": channel}));
        middle.service(Moment::Live, &json!({"action": 13, "channel": channel}));
    }
    assert_eq!(middle.dialect.channels.bytes(), 0);
    middle.attach("c");
    let before = middle.dialect.channels.bytes();
    middle.enters("c", 0);
    assert!(middle.dialect.channels.bytes() > before);
    middle.presence("c", 1, 3, "");
    let leave = json!({"action": 3, "clientId": "alice", "data": ""});
    middle.service(
        Moment::Live,
        &json!({"action": 14, "channel": "c", "connectionId": "me", "id": "me:1", "presence": [leave]}),
    );
    assert_eq!(middle.dialect.channels.bytes(), before);
}

#[test]
fn a_resume_during_which_the_channels_grow_too_large_is_given_up() {
    let mut middle = Middle::open_with(4096);
    middle.attach("c");
    middle.attach("d");
    middle.enters("c", 0);
    middle.resumes();
    let mut long = attached("d", 4);
    long["channelSerial"] = json!("s".repeat(5000));
    assert!(matches!(middle.service(Moment::Resuming, &long).meaning, Meaning::Lost(_)));
    assert!(middle.dialect.lost().is_err());
}

#[test]
fn ids_of_pings_are_bounded() {
    let mut middle = Middle::open();
    let pad = "x".repeat(1_000_000);
    for n in 0..64 {
        middle.client(&json!({"action": 0, "id": format!("{n}{pad}")}));
        middle.client(&json!({"action": 0, "id": format!("{n}")}));
    }
    let bytes: usize = middle.dialect.pings.iter().map(|id| id.len()).sum();
    assert!(bytes <= PINGS * PING_ID && middle.dialect.pings.len() == PINGS, "{bytes} bytes of ids");
}

#[test]
fn each_ping_has_an_answer_even_if_two_have_one_id() {
    let mut middle = Middle::open();
    let ping = json!({"action": 0, "id": "p"});
    middle.client(&ping);
    middle.client(&ping);
    middle.service(Moment::Live, &ping);
    middle.resumes();
    assert_eq!(middle.told(), [ping], "the second was lost, and is answered for the service");
}

#[test]
fn small_messages_count_with_what_it_costs_to_keep_them() {
    let mut middle = Middle::open();
    let mut serial = 0;
    while !middle.dialect.is_full() {
        middle.client(&json!({"action": 15, "msgSerial": serial}));
        serial += 1;
    }
    let real = serial as usize * (30 + size_of::<serials::Sent>());
    assert!(real <= LIMIT, "{real} bytes are kept, counted as {LIMIT}");
}

#[test]
fn repeats_that_the_service_does_not_acknowledge_make_no_client_unread() {
    let mut middle = Middle::open_with(4096);
    let mut serial = 0;
    while !middle.dialect.is_full() {
        middle.client(&publish(serial));
        serial += 1;
    }
    middle.resumes();
    assert!(!middle.dialect.is_full(), "the acknowledgement can come only with a later message");
    middle.client(&publish(serial));
    middle.service(Moment::Live, &ack(serial));
    let told = middle.told();
    let covered: u64 = told.iter().filter_map(|message| message["count"].as_u64()).sum();
    assert_eq!((covered, middle.dialect.serials.bytes()), (serial + 1, 0), "{told:?}");
}

#[test]
fn repeats_have_a_hard_bound_at_which_the_client_starts_over() {
    let mut middle = Middle::open_with(4096);
    let mut serial = 0;
    for _ in 0..2 {
        while !middle.dialect.is_full() {
            middle.client(&publish(serial));
            serial += 1;
        }
        if middle.dialect.clone().lost().is_ok() {
            middle.resumes();
        }
    }
    let bytes = middle.dialect.serials.bytes();
    assert!((8192..9000).contains(&bytes), "{bytes} bytes are kept");
    assert!(middle.dialect.lost().is_err(), "or it would be deaf for ever");
    assert!(middle.dialect.lost().is_err_and(|why| why.contains("acknowledgement")));
}

/// The least time of three that some work takes.
fn least(work: impl Fn() -> Duration) -> f64 {
    (0..3).map(|_| work()).min().unwrap_or_default().as_secs_f64()
}

/// How long it takes to do something with each text.
fn timed(texts: &[String], mut each: impl FnMut(&str)) -> Duration {
    let start = clock::now();
    texts.iter().for_each(|text| each(text));
    start.elapsed()
}

/// The same texts, only read: the yardstick.
fn reading(texts: &[String]) -> f64 {
    least(|| timed(texts, |text| drop(serde_json::from_str::<Value>(text))))
}

impl Middle {
    fn hears(&mut self, text: &str) {
        let message = Message { kind: Kind::Text, payload: text.as_bytes() };
        self.dialect.upstream(message, Moment::Live, clock::now(), &mut self.say);
    }
}

#[test]
fn the_work_for_members_grows_with_their_number_not_with_its_square() {
    let items: Vec<_> = (0..16_000)
        .map(|n| json!({"action": 1, "clientId": format!("u{n}"), "connectionId": "me", "id": "me:0:0"}))
        .collect();
    let sync = [json!({"action": 16, "channel": "c", "presence": items}).to_string()];
    let taken = least(|| {
        let mut middle = Middle::open_with(1 << 30);
        middle.attach("c");
        timed(&sync, |text| middle.hears(text))
    });
    let times = taken / reading(&sync);
    assert!(times < 40.0, "it takes {times:.0} times as long as to read it");
}

#[test]
fn the_work_for_acknowledgements_grows_with_their_number_not_with_its_square() {
    const MESSAGES: u64 = 64_000;
    let acks: Vec<String> = (1..=MESSAGES).map(|serial| ack(serial + 1).to_string()).collect();
    let taken = least(|| {
        let mut middle = Middle::open_with(1 << 30);
        middle.attach("c");
        middle.enters("c", 0);
        middle.resumes();
        middle.service(Moment::Resuming, &attached("c", 4));
        middle.service(Moment::Live, &ack(1));
        (1..=MESSAGES).for_each(|serial| drop(middle.client(&publish(serial))));
        middle.said();
        timed(&acks, |text| middle.hears(text))
    });
    let times = taken / reading(&acks);
    assert!(times < 20.0, "it takes {times:.0} times as long as to read them");
}
