//! Members: entered again after a loss, unless somebody else says what they are.

use super::*;

/// What the service is told of members once the channel is attached again with these flags.
fn entered_again(middle: &mut Middle, flags: u64) -> Vec<Value> {
    let mut said = middle.resumes();
    middle.service(Moment::Resuming, &attached("c", flags));
    said.extend(middle.said());
    of(14, &said)
}

fn actions(presence: &[Value]) -> Vec<u64> {
    presence.iter().map(|message| message["presence"][0]["action"].as_u64().unwrap()).collect()
}

fn with_a_member() -> Middle {
    let mut middle = Middle::open();
    middle.attach("c");
    middle.enters("c", 0);
    middle
}

#[test]
fn a_leave_under_way_is_the_last_word() {
    let mut middle = with_a_member();
    middle.presence("c", 1, 3, "");
    assert_eq!(actions(&entered_again(&mut middle, 4)), [3]);
}

#[test]
fn an_update_under_way_is_the_last_word() {
    let mut middle = with_a_member();
    middle.presence("c", 1, 4, "new");
    let presence = entered_again(&mut middle, 4);
    assert_eq!((actions(&presence), &presence[0]["presence"][0]["data"]), (vec![4], &json!("new")));
}

#[test]
fn a_member_that_names_no_client_id_is_the_connections_own() {
    let mut middle = Middle::new("/?format=json&v=2");
    let details = json!({"connectionKey": "k1", "clientId": "alice"});
    middle
        .service(Moment::Opening, &json!({"action": 4, "connectionId": "me", "connectionDetails": details}));
    middle.attach("c");
    middle.enters("c", 0);
    middle.client(&json!({"action": 14, "channel": "c", "msgSerial": 1, "presence": [{"action": 3}]}));
    assert_eq!(actions(&entered_again(&mut middle, 4)), [3]);
}

#[test]
fn a_member_of_another_channel_or_name_is_entered_again() {
    let mut middle = with_a_member();
    middle.attach("d");
    middle.presence("d", 1, 3, "");
    middle.client(
        &json!({"action": 14, "channel": "c", "msgSerial": 2, "presence": [{"action": 3, "clientId": "bob"}]}),
    );
    middle.resumes();
    middle.service(Moment::Resuming, &attached("d", 4));
    middle.service(Moment::Resuming, &attached("c", 4));
    assert_eq!(actions(&of(14, &middle.said())), [3, 3, 2]);
}

/// The service drops the repeat of what it has taken, and keeps a member only if it is entered again.
#[test]
fn a_member_whose_echo_came_is_entered_again_though_the_acknowledgement_did_not() {
    let mut middle = with_a_member();
    middle.presence("c", 1, 4, "new");
    middle.echo("c", 1, "new");
    let presence = entered_again(&mut middle, 4);
    assert_eq!(actions(&presence), [4, 2]);
    assert_eq!(
        presence[1]["presence"][0],
        json!({"action": 2, "id": "me:1:0", "clientId": "alice", "data": "new"})
    );
}

#[test]
fn members_are_entered_by_the_sdk_if_it_sees_a_gap() {
    let mut middle = with_a_member();
    middle.resumes();
    let verdict = middle.service(Moment::Resuming, &attached("c", 0));
    assert_eq!(verdict, Verdict::forward(Meaning::Ready), "messages are missing");
    assert_eq!(middle.said(), Vec::<Value>::new(), "an SDK that sees this enters them itself");
}

#[test]
fn a_channel_with_objects_shows_its_attached_and_keeps_its_members() {
    let mut middle = with_a_member();
    middle.service(Moment::Live, &attached("c", 128));
    middle.resumes();
    let verdict = middle.service(Moment::Resuming, &attached("c", 4 | 128));
    assert_eq!(verdict, Verdict::forward(Meaning::Ready), "its Objects are synchronised again");
    assert_eq!(actions(&middle.said()), [2], "no SDK enters them after ATTACHED with RESUMED");
}

#[test]
fn a_member_that_is_refused_again_leaves_before_the_clients_eyes() {
    let mut middle = with_a_member();
    assert_eq!(actions(&entered_again(&mut middle, 4)), [2]);
    middle.told();
    let denied = json!({"code": 40160, "statusCode": 401, "message": "denied"});
    let nack = json!({"action": 2, "msgSerial": 1, "count": 1, "error": denied});
    assert_eq!(middle.service(Moment::Live, &nack).fate, Fate::Swallow, "the client did not send it");
    let told = middle.told();
    assert_eq!(told.len(), 1, "{told:?}");
    let left = json!({"action": 3, "clientId": "alice", "connectionId": "me", "id": "me:1:0"});
    assert_eq!(told[0]["presence"], json!([left]));
    assert_eq!((&told[0]["error"]["code"], &told[0]["error"]["cause"]), (&json!(91004), &denied));
    assert_eq!(
        actions(&entered_again(&mut middle, 4)),
        Vec::<u64>::new(),
        "nor is it entered at the next loss"
    );
}

#[test]
fn a_refusal_of_a_member_that_has_changed_since_is_not_told() {
    let mut middle = with_a_member();
    entered_again(&mut middle, 4);
    middle.told();
    middle.presence("c", 1, 4, "new");
    middle.echo("c", 2, "new");
    let nack = json!({"action": 2, "msgSerial": 1, "count": 1, "error": {"code": 40160}});
    middle.service(Moment::Live, &nack);
    assert_eq!(middle.told(), Vec::<Value>::new());
}
