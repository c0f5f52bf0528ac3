//! Lines on their way to stderr: a bounded queue, and one thread that writes.
//!
//! ```text
//!   any thread ──► queue ──► the writing thread ──► stderr
//!                    │ full          │ the reader has gone, the disk is full
//!                    └──► dropped ◄──┘
//! ```
//!
//! Rules:
//! 1. A thread that logs never waits. A line that finds no room is dropped and counted.
//! 2. A line that cannot be written is counted the same way. The next line is tried again.
//! 3. The end of the process waits for the queue, but no longer than [`LAST_LINES`].
//! 4. The writing thread has a descriptor of its own. If it wrote by `std::io::stderr()`, it would hold the lock of
//!    that while nobody reads, and a panic's message would wait for the lock.

use std::{
    fs::File,
    io::{self, Write},
    os::fd::AsFd,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};

/// Lines that may wait. A few hundred bytes each: together less than a megabyte.
const WAITING: usize = 1024;
/// How long the end of the process waits for lines that are still in the queue.
const LAST_LINES: Duration = Duration::from_millis(1500);

/// Counts lines that were not written. Cheap to clone; all clones count the same lines.
#[derive(Debug, Clone, Default)]
pub struct Dropped {
    /// The queue was full; `None` if there is no queue.
    full: Option<ErrorCounter>,
    /// They could not be written.
    failed: Arc<AtomicU64>,
}

impl Dropped {
    /// How many lines, since the start.
    pub fn lines(&self) -> u64 {
        let full = self.full.as_ref().map_or(0, ErrorCounter::dropped_lines);
        u64::try_from(full).unwrap_or(u64::MAX).saturating_add(self.failed.load(Ordering::Relaxed))
    }
}

/// The writing thread. Dropping this waits until the queue is written, for a second and a half at most.
#[derive(Debug)]
#[must_use = "the last lines are lost without it"]
pub struct Writing(Option<WorkerGuard>);

impl Drop for Writing {
    fn drop(&mut self) {
        let Some(guard) = self.0.take() else { return };
        // If the queue is full, the guard prints to stdout when it is dropped, and stdout may be the same unread
        // pipe: this thread must not be the one that waits.
        let (done, is_done) = mpsc::sync_channel(1);
        let drop_guard = move || {
            drop(guard);
            let _ = done.send(());
        };
        if thread::Builder::new().name("log-end".to_owned()).spawn(drop_guard).is_ok() {
            let _ = is_done.recv_timeout(LAST_LINES);
        }
    }
}

/// A queue before stderr.
pub(super) fn to_stderr() -> io::Result<(NonBlocking, Writing, Dropped)> {
    let stderr = io::stderr().as_fd().try_clone_to_owned()?;
    Ok(queue(File::from(stderr), WAITING))
}

fn queue<W: Write + Send + 'static>(to: W, waiting: usize) -> (NonBlocking, Writing, Dropped) {
    let failed = Arc::default();
    let lines = Lines { to, failed: Arc::clone(&failed) };
    let builder = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(waiting);
    let (queue, guard) = builder.thread_name("log").finish(lines);
    let full = Some(queue.error_counter());
    (queue, Writing(Some(guard)), Dropped { full, failed })
}

/// Writes lines, and counts those that it cannot write.
struct Lines<W> {
    to: W,
    failed: Arc<AtomicU64>,
}

impl<W: Write> Write for Lines<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.to.write_all(line).is_err() {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "these tests measure real time")]
mod tests {
    use std::{
        io::{BufRead, BufReader},
        time::Instant,
    };

    use super::*;

    const LINE: &[u8] = b"0123456789012345678901234567890123456789012345678901234567890123\n";

    #[test]
    fn nobody_reads_and_nobody_waits() {
        let (reader, writer) = io::pipe().unwrap();
        let (mut queue, writing, dropped) = queue(writer, 16);
        let began = Instant::now();
        // Two megabytes: no pipe and no queue has so much room.
        (0..32_768).for_each(|_| queue.write_all(LINE).unwrap());
        assert!(dropped.lines() > 16_384, "{}", dropped.lines());
        drop(writing);
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        drop(reader);
    }

    #[test]
    fn the_end_waits_for_what_is_read() {
        let (reader, writer) = io::pipe().unwrap();
        let (mut queue, writing, dropped) = queue(writer, 64);
        (0..64).for_each(|_| queue.write_all(LINE).unwrap());
        drop((queue, writing));
        assert_eq!((BufReader::new(reader).lines().count(), dropped.lines()), (64, 0));
    }

    #[test]
    fn what_cannot_be_written_is_counted_and_the_next_line_is_tried() {
        /// Fails at every second line.
        struct Moody(mpsc::Sender<Vec<u8>>, usize);
        impl Write for Moody {
            fn write(&mut self, line: &[u8]) -> io::Result<usize> {
                self.1 += 1;
                if self.1.is_multiple_of(2) {
                    return Err(io::ErrorKind::StorageFull.into());
                }
                self.0.send(line.to_vec()).map_err(io::Error::other)?;
                Ok(line.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (sender, written) = mpsc::channel();
        let (mut queue, writing, dropped) = queue(Moody(sender, 0), 16);
        (0..10).for_each(|_| queue.write_all(LINE).unwrap());
        drop((queue, writing));
        assert_eq!((written.iter().count(), dropped.lines()), (5, 5));
    }
}
