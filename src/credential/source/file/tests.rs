//! Files as they are written well and badly. Time is real: files are dated by the real clock.

use std::{fs, io::Write, os::unix::fs::symlink, sync::mpsc};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::*;
use std::fs::File;

const SECOND: Duration = Duration::from_secs(1);

async fn fetch(file: &FileToken) -> Result<Issued, SourceError> {
    file.fetch(clock::now() + SECOND * 10).await
}

/// What is dated back is not waited for.
fn date_back(path: &Path) {
    let then = UNIX_EPOCH + SECOND * 1_000_000_000;
    File::options().write(true).open(path).unwrap().set_modified(then).unwrap();
}

fn jwt(end: u64) -> String {
    let claims = URL_SAFE_NO_PAD.encode(format!("{{\"exp\":{end}}}"));
    format!("eyJhbGciOiJSUzI1NiJ9.{claims}.{}", "c2ln".repeat(80))
}

#[tokio::test]
async fn a_file_system_that_hangs_has_one_thread_and_is_an_error() {
    let file = FileToken::new(Path::new("/t"), &AnswerForm::Auto);
    let (answer, hangs) = mpsc::channel::<()>();
    let late = async || {
        task::yield_now().await;
        time::advance(2 * PATIENCE).await;
    };
    time::pause();
    let hang =
        file.read_by(move || hangs.recv().map_or(Err(Unreadable::NoFile), |()| Err(Unreadable::Directory)));
    let said = tokio::join!(hang, late()).0.err().unwrap().reason;
    assert_eq!(said, "/t: its file system does not answer");
    for _ in 0..100 {
        let next = file.read_by(|| unreachable!("one looks at a time"));
        assert_eq!(tokio::join!(next, late()).0.err().unwrap().reason, said);
    }
    time::resume();
    answer.send(()).unwrap();
    let again = file.read_by(|| Err(Unreadable::Directory)).await;
    assert_eq!(again.err().unwrap().reason, "/t: is a directory");
}

#[tokio::test]
async fn it_is_read_as_it_is_now() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    let file = FileToken::new(&path, &AnswerForm::Auto);
    let reason = async |text: &str| {
        fs::write(&path, text).unwrap();
        date_back(&path);
        fetch(&file).await.unwrap_err().reason
    };
    assert!(fetch(&file).await.unwrap_err().reason.contains("token: entity not found"));
    assert!(reason("").await.ends_with("token: the answer is empty"));
    assert!(reason("{\"token\":\"on").await.ends_with("token: the answer is neither JSON nor a token"));
    assert!(reason(&"x".repeat(300_000)).await.ends_with("token: is larger than 192 KiB"));
    fs::write(&path, "one\n").unwrap();
    assert_eq!(fetch(&file).await.unwrap().text, "one");
    let new = dir.path().join("new");
    fs::write(&new, "two\n").unwrap();
    fs::rename(&new, &path).unwrap();
    assert_eq!(fetch(&file).await.unwrap().text, "two");
}

#[tokio::test]
async fn what_is_old_is_taken_at_once_and_what_is_new_half_a_second_later() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    let file = FileToken::new(&path, &AnswerForm::Auto);
    fs::write(&path, "old").unwrap();
    date_back(&path);
    let begun = clock::now();
    fetch(&file).await.unwrap();
    assert!(clock::now() - begun < SETTLED, "{:?}", clock::now() - begun);
    fs::write(&path, "new").unwrap();
    let begun = clock::now();
    fetch(&file).await.unwrap();
    // The clock that dates files ticks in steps of up to 10 ms.
    assert!(clock::now() - begun >= SETTLED - Duration::from_millis(20));
    // A date in the future is one of another clock.
    let later = UNIX_EPOCH + Now::read().wall + SECOND * 3600;
    File::options().write(true).open(&path).unwrap().set_modified(later).unwrap();
    assert_eq!(fetch(&file).await.unwrap().text, "new");
}

#[tokio::test]
async fn half_a_token_is_not_taken_from_a_slow_writer() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    let whole = jwt(2_000_000_000);
    let file = FileToken::new(&path, &AnswerForm::Auto);
    let (first, second) = whole.split_at(whole.len() / 2);
    let writer = async {
        let mut out = File::create(&path).unwrap();
        for part in ["", first, second, "\n"] {
            out.write_all(part.as_bytes()).unwrap();
            time::sleep(Duration::from_millis(300)).await;
        }
    };
    let reader = async {
        while !path.exists() {
            time::sleep(Duration::from_millis(1)).await;
        }
        fetch(&file).await
    };
    let ((), issued) = tokio::join!(writer, reader);
    assert!(issued.unwrap().text == whole, "it was half of it");
}

#[tokio::test]
async fn who_never_stops_writing_is_told_of() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    let file = FileToken::new(&path, &AnswerForm::Auto);
    let mut nth = 0;
    let writer = async {
        loop {
            nth += 1;
            fs::write(&path, format!("t{nth}")).unwrap();
            time::sleep(Duration::from_millis(20)).await;
        }
    };
    let reader = async { file.fetch(clock::now() + SECOND * 2).await };
    let error = tokio::select! {
        // The file is there before anybody looks for it.
        biased;
        () = writer => unreachable!(),
        error = reader => error.unwrap_err(),
    };
    assert!(error.reason.contains("is being written to all the time"), "{error}");
}

#[tokio::test]
async fn a_swapped_link_of_the_kubelets_is_followed() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let put = |version: &str, token: &str| {
        fs::create_dir(at(version)).unwrap();
        fs::write(at(version).join("token"), token).unwrap();
        symlink(version, at("..data_tmp")).unwrap();
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
    };
    put("..2026_01", &jwt(2_000_000_000));
    symlink("..data/token", at("token")).unwrap();
    let file = FileToken::new(&at("token"), &AnswerForm::Auto);
    let until = |seconds| Life::Until { wall: SECOND * seconds, at_most: None };
    assert_eq!(fetch(&file).await.unwrap().life, until(2_000_000_000));
    put("..2026_02", &jwt(2_000_003_600));
    fs::remove_dir_all(at("..2026_01")).unwrap();
    assert_eq!(fetch(&file).await.unwrap().life, until(2_000_003_600));
}

#[tokio::test]
async fn what_is_no_file_is_an_error_and_no_hang() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("fifo");
    let made = std::process::Command::new("mkfifo").arg(&fifo).status().unwrap();
    assert!(made.success());
    let socket = dir.path().join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    for path in [&fifo, &socket, Path::new("/dev/zero")] {
        let file = FileToken::new(path, &AnswerForm::Auto);
        let error = fetch(&file).await.unwrap_err();
        assert!(error.reason.ends_with(": is a device, a pipe or a socket, and no file"), "{error}");
        assert!(file.contents().await.is_none());
    }
    let error = fetch(&FileToken::new(dir.path(), &AnswerForm::Auto)).await.unwrap_err();
    assert!(error.reason.ends_with(": is a directory"), "{error}");
}

#[tokio::test]
async fn a_lifetime_counts_from_the_writing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    fs::write(&path, r#"{"token":"abc","expires_in":60}"#).unwrap();
    date_back(&path);
    let life = fetch(&FileToken::new(&path, &AnswerForm::Auto)).await.unwrap().life;
    let wall = SECOND * 1_000_000_060;
    assert_eq!(life, Life::Until { wall, at_most: Some(SECOND * 60) });
}
