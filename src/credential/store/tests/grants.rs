//! Grants: kept, found again by the next process, one asker at a time.

use super::*;
use crate::credential::store::{Grant, Leased, Lineage, RefreshLease};

pub(super) fn grant(number: u64) -> Grant {
    let refresh_token = Some(format!("refresh-{number}").into());
    Grant { number, refresh_token, ..Grant::default() }
}

pub(super) async fn lease(store: &Store, lineage: &Lineage) -> RefreshLease {
    match store.lease(lineage).await.unwrap() {
        Leased::Ours(lease) => lease,
        Leased::Theirs { .. } => panic!("somebody else has it"),
    }
}

pub(super) async fn keep(store: &Store, lineage: &Lineage, number: u64) {
    let held = lease(store, lineage).await;
    store.keep(lineage, &held, &grant(number), Now::read()).await.unwrap();
    store.release(lineage, held).await;
}

pub(super) async fn kept(store: &Store, lineage: &Lineage) -> Option<u64> {
    store.grant(lineage).await.unwrap().map(|grant| grant.number)
}

#[tokio::test]
async fn a_grant_is_found_by_its_secret_and_scope_and_no_earlier_one_replaces_it() {
    let directory = tempfile::tempdir().unwrap();
    for store in [Rig::disk(directory.path()).store, Rig::memory().store] {
        let lineage = store.lineage("jobs", b"first");
        assert_eq!(kept(&store, &lineage).await, None);
        keep(&store, &lineage, 2).await;
        keep(&store, &lineage, 1).await;
        assert_eq!(kept(&store, &lineage).await, Some(2));
        assert_eq!(kept(&store, &store.lineage("jobs", b"second")).await, None);
        assert_eq!(kept(&store, &store.lineage("other", b"first")).await, None);
        keep(&store, &lineage, 3).await;
        assert_eq!(store.grant(&lineage).await.unwrap(), Some(grant(3)));
    }
}

#[tokio::test]
async fn one_asks_at_a_time() {
    let store = Rig::memory().store;
    let (one, two) = (store.lineage("jobs", b"one"), store.lineage("jobs", b"two"));
    let held = lease(&store, &one).await;
    assert!(matches!(store.lease(&one).await.unwrap(), Leased::Theirs { .. }));
    lease(&store, &two).await;
    drop(held);
    lease(&store, &one).await;
}

#[tokio::test]
async fn the_next_process_finds_it() {
    let directory = tempfile::tempdir().unwrap();
    let rig = Rig::disk(directory.path());
    let lineage = rig.store.lineage("jobs", b"first");
    keep(&rig.store, &lineage, 5).await;
    drop(rig);
    let rig = Rig::disk(directory.path());
    assert_eq!(kept(&rig.store, &rig.store.lineage("jobs", b"first")).await, Some(5));
}

#[tokio::test]
async fn what_nobody_went_on_with_is_forgotten() {
    let directory = tempfile::tempdir().unwrap();
    let store = Rig::disk(directory.path()).store;
    let (old, young) = (store.lineage("jobs", b"old"), store.lineage("jobs", b"young"));
    keep(&store, &old, 1).await;
    let year = |days: u64| {
        let now = Now::read();
        Now { mono: now.mono, wall: now.wall + Duration::from_secs(days * 24 * 3600) }
    };
    let held = lease(&store, &young).await;
    store.keep(&young, &held, &grant(1), year(200)).await.unwrap();
    store.sweep(year(300)).await.unwrap();
    assert_eq!((kept(&store, &old).await, kept(&store, &young).await), (Some(1), Some(1)));
    store.sweep(year(401)).await.unwrap();
    assert_eq!((kept(&store, &old).await, kept(&store, &young).await), (None, Some(1)));
}
