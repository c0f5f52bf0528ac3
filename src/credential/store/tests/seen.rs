//! A client's own token, whose end was reckoned from its first sight: a later process does not reckon again.

use super::*;

#[tokio::test]
async fn the_end_of_a_clients_own_token_outlives_the_process() {
    let directory = tempfile::tempdir().unwrap();
    let rig = Rig::disk(directory.path());
    let key = rig.key("own");
    let ends = rig.now.wall + 90 * MINUTE;
    rig.store.seen(key, Generation(1), (ends, 60 * MINUTE), rig.now).await.unwrap();
    // Anyone who sees it again does not make it live longer.
    rig.store.seen(key, Generation(1), (ends + 60 * MINUTE, 60 * MINUTE), rig.now).await.unwrap();
    drop(rig);
    let mut rig = Rig::disk(directory.path());
    let ends = Duration::from_millis(ends.as_millis() as u64);
    let expected = Standing::Current { generation: Generation(1), expires_wall: Some(ends) };
    assert_eq!(rig.store.standing(&key, "own", rig.now).await.unwrap(), expected);
    // When it has ended, it is still known for as long as what is revoked: nobody takes it for a new one.
    let after =
        |minutes: u32| Now { mono: rig.now.mono + minutes * MINUTE, wall: rig.now.wall + minutes * MINUTE };
    let (ended, forgotten) = (after(91), after(151));
    assert_eq!(rig.store.standing(&key, "own", ended).await.unwrap(), expected);
    // Then it is forgotten: nothing that is no use takes room.
    rig.now = forgotten;
    assert_eq!(rig.store.standing(&key, "own", rig.now).await.unwrap(), Standing::Unknown);
    rig.store.sweep(rig.now).await.unwrap();
    let disk = rig.store.disk().unwrap();
    assert_eq!(disk.index().history().len(), 0);
}

#[tokio::test]
async fn what_was_superseded_is_not_seen_as_new() {
    let rig = Rig::memory();
    rig.supersede("a", 1).await.unwrap();
    let old = rig.key(&token("a", 0));
    rig.store.seen(old, Generation(1), (rig.now.wall + 90 * MINUTE, 60 * MINUTE), rig.now).await.unwrap();
    assert_eq!(rig.standing("a", 0).await, "grace a-CANARY-1");
}
