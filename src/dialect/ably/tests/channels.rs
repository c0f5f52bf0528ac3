//! What a new upstream is told of channels, whatever was under way.

use super::*;

fn attach() -> Value {
    json!({"action": 10, "channel": "c"})
}

fn detach() -> Value {
    json!({"action": 12, "channel": "c"})
}

fn detached() -> Value {
    json!({"action": 13, "channel": "c"})
}

fn failed() -> Value {
    json!({"action": 9, "channel": "c", "error": {"code": 40160, "statusCode": 401}})
}

/// Plays a conversation on an attached channel; how many ATTACHes and DETACHes a new upstream is then sent.
fn told_again(conversation: &[Value]) -> (usize, usize) {
    let mut middle = Middle::open();
    middle.attach("c");
    for message in conversation {
        match message["action"].as_u64() {
            Some(10 | 12) => middle.client(message),
            _ => middle.service(Moment::Live, message),
        };
    }
    let said = middle.resumes();
    (of(10, &said).len(), of(12, &said).len())
}

#[test]
fn the_newest_request_says_what_a_new_upstream_is_told() {
    let (a, d, attached) = (attach, detach, || attached("c", 0));
    for (conversation, expected) in [
        (vec![], (1, 0)),
        (vec![d(), detached()], (0, 0)),
        // DETACH and ATTACH in one go, lost at each step.
        (vec![d(), a()], (1, 0)),
        (vec![d(), a(), detached()], (1, 0)),
        (vec![d(), a(), detached(), attached()], (1, 0)),
        // Any number of them.
        (vec![d(), a(), d(), a(), detached(), attached(), detached()], (1, 0)),
        (vec![d(), a(), d(), a(), detached(), attached(), detached(), attached()], (1, 0)),
        (vec![d(), a(), d(), detached(), attached()], (0, 1)),
        (vec![d(), a(), d(), detached(), attached(), detached()], (0, 0)),
        // The service ends the channel by itself.
        (vec![detached()], (0, 0)),
        (vec![failed()], (0, 0)),
        (vec![d(), failed()], (0, 0)),
        // A newer ATTACH is under way behind it.
        (vec![a(), failed(), attached()], (1, 0)),
        (vec![a(), detached(), attached()], (1, 0)),
        (vec![d(), detached(), a(), a(), failed(), attached()], (1, 0)),
        (vec![d(), detached(), a(), a(), failed()], (1, 0)),
        (vec![d(), detached(), a(), a(), failed(), failed()], (0, 0)),
        (vec![d(), detached(), a(), failed()], (0, 0)),
        // An answer that never came is not awaited behind a DETACH that was answered.
        (vec![a(), failed(), a(), attached(), d(), detached()], (0, 0)),
    ] {
        assert_eq!(told_again(&conversation), expected, "{conversation:?}");
    }
}

#[test]
fn what_the_client_asked_for_is_answered_to_the_client() {
    let mut middle = Middle::open();
    middle.attach("c");
    middle.client(&detach());
    middle.client(&attach());
    middle.resumes();
    assert_eq!(middle.service(Moment::Live, &attached("c", 4)).fate, Fate::Forward);
    assert_eq!(of(10, &middle.resumes()).len(), 1);
    assert_eq!(middle.service(Moment::Live, &attached("c", 4)).fate, Fate::Swallow, "Perennial's own");
}

#[test]
fn a_gap_is_shown_though_the_client_attaches_meanwhile() {
    let mut middle = Middle::open();
    middle.attach("c");
    middle.resumes();
    middle.client(&attach());
    assert_eq!(middle.service(Moment::Live, &attached("c", 0)).fate, Fate::Forward, "messages are missing");
    assert_eq!(middle.service(Moment::Live, &attached("c", 4)).fate, Fate::Forward, "it asked");
}

#[test]
fn a_channel_that_was_detached_has_no_members_and_no_serial() {
    let mut middle = Middle::open();
    middle.attach("c");
    middle.enters("c", 0);
    middle.client(&detach());
    middle.client(&attach());
    middle.service(Moment::Live, &detached());
    let said = middle.resumes();
    assert_eq!(said, [attach()], "no channelSerial");
    middle.service(Moment::Resuming, &attached("c", 0));
    assert_eq!(middle.said(), Vec::<Value>::new(), "nobody is entered again");
}
