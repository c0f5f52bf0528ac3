//! A credential whose token another program keeps in a file.

use std::{fs, os::unix::fs::symlink, path::Path};

use super::*;

fn file(path: &Path) -> SourceConfig {
    SourceConfig::File { path: path.to_owned(), answer: Default::default() }
}

/// What it is called, and how it puts a token there.
type Way<'a> = (&'a str, &'a dyn Fn(&str));

/// In real time, since files are dated by the real clock.
#[tokio::test]
async fn a_change_is_taken_within_a_second_however_it_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::write(at("first"), "token-0").unwrap();
    symlink("first", at("token")).unwrap();
    let rig = Rig::new(&file(&at("token")));
    rig.token().await;
    let ways: [Way<'_>; 3] = [
        ("a link is swapped", &|text| {
            fs::write(at(text), text).unwrap();
            symlink(text, at("swap")).unwrap();
            fs::rename(at("swap"), at("token")).unwrap();
        }),
        ("a file is renamed", &|text| {
            fs::write(at("new"), text).unwrap();
            fs::rename(at("new"), at("token")).unwrap();
        }),
        ("it is written in place", &|text| fs::write(at("token"), text).unwrap()),
    ];
    let mut nth = 0;
    for (way, change) in ways {
        let mut took = Vec::new();
        // A machine with much else to do may be late once.
        for _ in 0..3 {
            let before = rig.token().await.generation;
            nth += 1;
            change(&format!("token-{nth}"));
            let begun = clock::now();
            let token = rig.credential.newer(before, within(20)).await.expect("the new token");
            took.push(clock::now() - begun);
            assert_eq!(token.expose(), format!("token-{nth}"));
        }
        assert!(took.iter().min().is_some_and(|took| *took < Duration::from_secs(1)), "{way}: {took:?}");
    }
    assert_eq!(rig.credential.status().failures, 0);
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn while_the_file_is_empty_or_away_its_last_token_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    fs::write(&path, "one").unwrap();
    let rig = Rig::new(&file(&path));
    rig.token().await;
    fs::write(&path, "").unwrap();
    rig.said(Some("token: the answer is empty")).await;
    assert_eq!(rig.token().await.expose(), "one");
    fs::remove_file(&path).unwrap();
    rig.credential.secret_changed();
    rig.said(Some("entity not found")).await;
    assert_eq!(rig.token().await.expose(), "one");
    fs::write(&path, "one").unwrap();
    rig.said(None).await;
    assert_eq!(rig.token().await.generation, Generation(1), "it is the one that was there before");
    fs::write(&path, "two").unwrap();
    let two = rig.credential.newer(Generation(1), within(60)).await.expect("the new token");
    assert_eq!(two.expose(), "two");
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_rotated_at_four_fifths_is_not_late() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    fs::write(&path, "one").unwrap();
    // Assumed, since the wall clock is not paused: an end that is told would seem to move.
    let rig = Rig::with(&file(&path), |policy| policy.lifetime = Some(Duration::from_secs(1000)));
    rig.token().await;
    let failed = || rig.count.failed.load(Ordering::Relaxed);
    time::sleep(Duration::from_secs(930)).await;
    assert_eq!((failed(), rig.credential.status().last_error.clone()), (0, None));
    time::sleep(Duration::from_secs(20)).await;
    assert!(failed() > 0, "a minute was left at 940 s");
    rig.said(Some("the current token again, which is due")).await;
    rig.end().await;
}
