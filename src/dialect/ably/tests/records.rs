//! What one session leaves for the next one that continues the connection.

use super::*;

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn records() -> Arc<Records> {
    Arc::new(Records::new(100))
}

/// A session whose service says this connection and key.
fn session(records: &Arc<Records>, asks: &str, now: Instant, (id, key): (&str, &str)) -> Middle {
    let mut middle = Middle::on(records, &format!("/?format=json&v=2{asks}"), now, LIMIT);
    middle.service(Moment::Opening, &connected_as(id, key));
    middle
}

/// What a client that comes back with this key resumes with.
fn resumes_with(records: &Arc<Records>, key: &str, now: Instant) -> String {
    let mut middle = Middle::on(records, &format!("/?format=json&v=2&resume={key}"), now, LIMIT);
    let target = middle.dials();
    target.rsplit('=').next().unwrap().to_owned()
}

/// A member is entered again after a loss: upstream serial 1 is Perennial's own, and not acknowledged.
fn owes(middle: &mut Middle) {
    middle.attach("c");
    middle.enters("c", 0);
    middle.resumes();
    middle.service(Moment::Resuming, &attached("c", 4));
    assert_eq!(middle.said().len(), 1);
}

#[test]
fn a_session_that_was_superseded_ends_nothing() {
    let (records, start) = (records(), clock::now());
    let mut old = session(&records, "", start, ("me", "k1"));
    let mut new = session(&records, "&resume=k1", start, ("me", "k2"));
    old.dialect.ended(start + secs(1));
    assert_eq!(resumes_with(&records, "k2", start + secs(180)), "k2", "the newer one still serves");
    new.dialect.ended(start + secs(181));
}

#[test]
fn a_session_that_was_superseded_writes_nothing() {
    let (records, start) = (records(), clock::now());
    let mut old = session(&records, "", start, ("me", "k1"));
    let mut new = session(&records, "&resume=k1", start, ("me", "k2"));
    owes(&mut new);
    new.service(Moment::Live, &ack(1));
    new.client(&publish(1));
    // Whatever comes late for the old one.
    old.client(&publish(70));
    old.service(Moment::Live, &connected("stale"));
    old.dialect.ended(start + secs(1));
    new.dialect.ended(start + secs(2));
    old.dialect.ended(start + secs(3));
    let back = session(&records, "&resume=k2", start + secs(4), ("me", "k4"));
    assert_eq!(back.dialect.serials.upstream_of(1), 2, "serial 1 upstream is Perennial's own");
    assert_eq!(resumes_with(&records, "k4", start + secs(5)), "k4");
    let mut back = back.dialect;
    assert_eq!(back.serials.take_own(), 3, "and 70 was never said");
}

#[test]
fn a_session_that_was_superseded_never_dials_again() {
    let (records, start) = (records(), clock::now());
    let mut old = session(&records, "", start, ("me", "k1"));
    assert!(!old.dialect.is_superseded() && old.dialect.clone().lost().is_ok());
    let mut new = Middle::on(&records, "/?format=json&v=2&resume=k1", start, LIMIT);
    assert!(
        old.dialect.is_superseded() && old.dialect.lost().is_err(),
        "from the start: it is about to dial"
    );
    assert!(old.dialect.lost().is_err());
    new.service(Moment::Opening, &connected("k2"));
    assert!(!new.dialect.is_superseded() && new.dialect.lost().is_ok());
}

#[test]
fn a_session_that_took_over_and_never_connected_leaves_a_record_that_ends() {
    let (records, start) = (records(), clock::now());
    let mut old = session(&records, "", start, ("me", "k1"));
    let mut new = Middle::on(&records, "/?format=json&v=2&resume=k1", start, LIMIT);
    new.dialect.ended(start + secs(10));
    old.dialect.ended(start + secs(11));
    assert_eq!(resumes_with(&records, "k1", start + secs(100)), "k1");
    let records = self::records();
    let mut old = session(&records, "", start, ("me", "k1"));
    let mut new = Middle::on(&records, "/?format=json&v=2&resume=k1", start, LIMIT);
    new.dialect.ended(start + secs(10));
    old.dialect.ended(start + secs(11));
    assert_eq!(resumes_with(&records, "k1", start + secs(131)), "unknown");
}

#[test]
fn a_record_lives_as_long_as_the_session_that_continues_it() {
    let (records, start) = (records(), clock::now());
    let mut first = session(&records, "", start, ("me", "k1"));
    first.dialect.ended(start);
    let second = session(&records, "&resume=k1", start + secs(60), ("me", "k2"));
    assert_eq!(resumes_with(&records, "k1", start + secs(600)), "k2", "with the newest key");
    drop(second);
}

#[test]
fn records_that_nobody_can_come_back_to_go_first() {
    let (records, mut now) = (Arc::new(Records::new(20)), clock::now());
    session(&records, "", now, ("long", "key-long"));
    for n in 0..25 {
        now += secs(600);
        let mut short = session(&records, "", now, (&format!("s{n}"), &format!("key-{n}")));
        short.dialect.ended(now);
    }
    assert_eq!(resumes_with(&records, "key-long", now + secs(600)), "key-long");
}

#[test]
fn sessions_that_ended_just_now_go_before_those_that_live() {
    let (records, now) = (Arc::new(Records::new(20)), clock::now());
    session(&records, "", now, ("long", "key-long"));
    for n in 0..50 {
        let mut short = session(&records, "", now, (&format!("s{n}"), &format!("key-{n}")));
        short.dialect.ended(now);
    }
    assert_eq!(resumes_with(&records, "key-long", now), "key-long");
    assert_eq!(resumes_with(&records, "key-49", now), "key-49");
    assert_eq!(resumes_with(&records, "key-0", now), "unknown");
}

#[test]
fn the_keys_are_bounded_though_all_sessions_live() {
    let (records, now) = (Arc::new(Records::new(3)), clock::now());
    for n in 0..5 {
        session(&records, "", now, (&format!("s{n}"), &format!("key-{n}")));
    }
    assert_eq!(resumes_with(&records, "key-1", now), "unknown");
    assert_eq!(resumes_with(&records, "key-2", now), "key-2");
}

#[test]
fn a_client_that_is_cut_behind_a_resume_keeps_its_connection() {
    let (records, start) = (records(), clock::now());
    let mut old = session(&records, "", start, ("me", "k1"));
    owes(&mut old);
    old.client(&publish(1));
    old.said();
    old.dialect.ended(start);
    let mut new = session(&records, "&resume=k1", start, ("me", "k3"));
    assert_eq!(new.said(), Vec::<Value>::new());
    new.client(&publish(1));
    let said = new.said();
    let serials: Vec<_> = said.iter().map(|message| message["msgSerial"].as_u64()).collect();
    assert_eq!(serials, [Some(1), Some(2)], "Perennial's own, then the client's: {said:?}");
    assert_eq!(said[0]["presence"][0]["id"], "me:0:0", "as it was said before");
    new.service(Moment::Live, &json!({"action": 1, "msgSerial": 1, "count": 2}));
    assert_eq!(new.told(), [json!({"action": 1, "msgSerial": 1, "count": 1})]);
    // It is owed no longer.
    new.dialect.ended(start);
    let mut third = session(&records, "&resume=k3", start, ("me", "k4"));
    third.client(&publish(2));
    let said = third.said();
    assert_eq!((said.len(), &said[0]["msgSerial"]), (1, &json!(3)));
}

#[test]
fn a_refusal_of_what_an_earlier_session_owed_is_not_told() {
    let (records, start) = (records(), clock::now());
    let mut old = session(&records, "", start, ("me", "k1"));
    owes(&mut old);
    old.dialect.ended(start);
    let mut new = session(&records, "&resume=k1", start, ("me", "k3"));
    new.client(&publish(1));
    new.said();
    new.service(Moment::Live, &json!({"action": 2, "msgSerial": 1, "count": 1, "error": {"code": 90001}}));
    assert_eq!(new.told(), Vec::<Value>::new(), "the client's SDK enters its members itself");
}

#[test]
fn a_connection_that_the_service_replaced_is_not_continued() {
    let (records, start) = (records(), clock::now());
    let mut old = session(&records, "", start, ("me", "k1"));
    old.dialect.ended(start);
    session(&records, "&resume=k1", start, ("other", "k2"));
    assert_eq!(resumes_with(&records, "k1", start), "unknown");
    assert_eq!(resumes_with(&records, "k2", start), "k2");
}
