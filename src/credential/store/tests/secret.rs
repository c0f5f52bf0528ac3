//! The secret of the store: who lacks it finds nothing, and it can be replaced.

use super::{
    grants::{keep, kept},
    *,
};
use crate::config::Secret;

fn opened_with(directory: &Path, secrets: &[&str]) -> Rig {
    let secret = secrets.iter().map(|text| Secret::literal(text)).collect();
    Rig::of(opened(&StateConfig::Disk { path: directory.to_owned(), secret }, HISTORY).unwrap())
}

async fn standing(rig: &Rig, generation: u64) -> String {
    let text = token("a", generation);
    match rig.store.standing_of(("route", "client", &text), rig.now).await.unwrap() {
        Standing::Unknown => "unknown".into(),
        Standing::Current { generation, .. } => format!("current {generation}"),
        Standing::Revoked => "revoked".into(),
        Standing::Grace { text, successor, .. } => {
            assert_eq!(successor, rig.key(text.as_str()), "known by the key of now");
            format!("grace {}", text.as_str())
        }
    }
}

#[tokio::test]
async fn a_secret_is_replaced_and_nothing_is_forgotten() {
    let directory = tempfile::tempdir().unwrap();
    let old = opened_with(directory.path(), &["the old secret"]);
    old.supersede("a", 1).await.unwrap();
    let lineage = old.store.lineage("", b"first");
    keep(&old.store, &lineage, 5).await;
    drop((old, lineage));
    let both = opened_with(directory.path(), &["the new secret", "the old secret"]);
    assert_eq!(standing(&both, 0).await, "grace a-CANARY-1");
    assert_eq!(standing(&both, 1).await, "current 1");
    let lineage = both.store.lineage("", b"first");
    assert_eq!(kept(&both.store, &lineage).await, Some(5));
    // What is written from now on is written under the new one.
    keep(&both.store, &lineage, 6).await;
    both.supersede("a", 2).await.unwrap();
    drop((both, lineage));
    let new = opened_with(directory.path(), &["the new secret"]);
    assert_eq!(kept(&new.store, &new.store.lineage("", b"first")).await, Some(6));
    assert_eq!(standing(&new, 1).await, "grace a-CANARY-2");
    assert_eq!(standing(&new, 0).await, "unknown", "its time under the old one is over");
}

/// Who has the file and the tokens, and not the secret, opens nothing and can tell of no token that it is one.
#[tokio::test]
async fn without_the_secret_nothing_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let rig = opened_with(directory.path(), &["the secret"]);
    rig.supersede("a", 1).await.unwrap();
    keep(&rig.store, &rig.store.lineage("", b"first"), 5).await;
    drop(rig);
    for secrets in [&[][..], &["another secret"]] {
        let rig = opened_with(directory.path(), secrets);
        assert_eq!((standing(&rig, 0).await, standing(&rig, 1).await), ("unknown".into(), "unknown".into()));
        assert_eq!(kept(&rig.store, &rig.store.lineage("", b"first")).await, None);
    }
    let file = std::fs::read(file_in(&directory)).unwrap();
    for text in ["CANARY", "the secret", "refresh-5"] {
        assert!(!file.windows(text.len()).any(|window| window == text.as_bytes()), "{text} is in the file");
    }
}
