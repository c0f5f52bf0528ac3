//! Files of a few words, and a reader that takes all but "bad".

use std::{
    io::Write,
    sync::{
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
};

use super::*;
use crate::clock;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn words(path: &Path) -> Result<Arc<String>, TlsError> {
    let text = fs::read_to_string(path).unwrap_or_else(|_| "bad".to_owned());
    if text == "bad" {
        return Err(TlsError::File { path: path.to_owned(), what: "bad words".to_owned() });
    }
    Ok(Arc::new(text))
}

fn watched(path: &Path, now: Instant) -> Watched<String> {
    let read = path.to_owned();
    Watched::new("a test".to_owned(), vec![path.to_owned()], now, move || words(&read)).unwrap()
}

#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_bad_version_is_said_once_and_tried_at_each_look() {
    let dir = tempfile::tempdir().unwrap();
    let (path, start) = (dir.path().join("words"), clock::now());
    fs::write(&path, "one").unwrap();
    let watched = watched(&path, start);
    let page = Page::default();
    let to = page.clone();
    let log = tracing_subscriber::fmt().with_ansi(false).with_writer(move || to.clone()).finish();
    tracing::subscriber::with_default(log, || {
        fs::write(&path, "bad").unwrap();
        for at in [3, 6, 9] {
            assert_eq!(*watched.current(start + seconds(at)), "one");
        }
        fs::write(&path, "three").unwrap();
        assert_eq!(*watched.current(start + seconds(10)), "one", "looked a second ago");
        assert_eq!(*watched.current(start + seconds(12)), "three");
        // What is gone is a bad version too, and what it was before is worth a word again.
        fs::remove_file(&path).unwrap();
        assert_eq!(*watched.current(start + seconds(15)), "three");
    });
    let said = String::from_utf8(page.0.lock().unwrap().clone()).unwrap();
    assert_eq!(said.matches("TLS files not reloaded").count(), 2, "{said}");
    assert_eq!(said.matches("TLS files reloaded of=\"a test\"").count(), 1, "{said}");
}

#[cfg(unix)]
#[test]
fn a_swapped_symbolic_link_is_a_change() {
    use std::os::unix::fs::symlink;
    // As Kubernetes lays out a secret: `words` leads through `..data`, and that is what is swapped.
    let dir = tempfile::tempdir().unwrap();
    let (at, start) = (|name: &str| dir.path().join(name), clock::now());
    for (version, text) in [("v1", "one"), ("v2", "two")] {
        fs::create_dir(at(version)).unwrap();
        fs::write(at(version).join("words"), text).unwrap();
        // Of the same age to the nanosecond, and as long.
        let file = fs::File::options().write(true).open(at(version).join("words")).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + seconds(1_000_000)).unwrap();
    }
    symlink("v1", at("..data")).unwrap();
    symlink("..data/words", at("words")).unwrap();
    let watched = watched(&at("words"), start);
    assert_eq!(*watched.current(start + seconds(3)), "one");
    symlink("v2", at("..data_tmp")).unwrap();
    fs::rename(at("..data_tmp"), at("..data")).unwrap();
    assert_eq!(*watched.current(start + seconds(6)), "two");
}

#[test]
fn what_is_made_of_no_file_is_made_once() {
    let (made, start) = (Arc::new(AtomicU32::new(0)), clock::now());
    let counted = Arc::clone(&made);
    let watched = Watched::new("a test".to_owned(), Vec::new(), start, move || {
        Ok(Arc::new(counted.fetch_add(1, Ordering::Relaxed)))
    });
    let watched = watched.unwrap();
    assert_eq!(*watched.current(start + seconds(100)), 0);
    assert_eq!(made.load(Ordering::Relaxed), 1);
}

#[test]
fn files_that_hang_hold_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let (path, start) = (dir.path().join("words"), clock::now());
    fs::write(&path, "one").unwrap();
    let (go_on, may_go_on) = mpsc::channel();
    let may_go_on = Mutex::new(may_go_on);
    let read = path.clone();
    // Each reading waits for a word of the test's; that of the first is there already.
    go_on.send(()).unwrap();
    let watched = Watched::new("a test".to_owned(), vec![path.clone()], start, move || {
        may_go_on.lock().unwrap().recv().ok();
        words(&read)
    });
    let watched = watched.unwrap();
    fs::write(&path, "three").unwrap();
    for at in (3..60).step_by(3) {
        assert_eq!(*watched.current(start + seconds(at)), "one", "not waited for");
    }
    go_on.send(()).unwrap();
    for at in (60..).step_by(3) {
        if *watched.current(start + seconds(at)) == "three" {
            break;
        }
        assert!(at < 60_000, "what was read is not used");
        std::thread::sleep(Duration::from_millis(1));
    }
}
