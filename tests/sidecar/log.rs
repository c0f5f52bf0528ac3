//! What a sidecar says: read all the time, and shown if its test fails.

use std::sync::{Arc, Mutex};

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::ChildStderr,
    task::JoinHandle,
};

/// Lines that a failed test shows: the last ones.
const SHOWN: usize = 200;

pub struct Log {
    said: Arc<Mutex<String>>,
    reader: JoinHandle<()>,
}

impl Log {
    /// Reads until the sidecar says `listening`, and goes on beside the test; that line.
    pub async fn until_listening(stderr: ChildStderr) -> (Self, serde_json::Value) {
        let mut lines = BufReader::new(stderr).lines();
        let mut early = String::new();
        let listening = loop {
            let line = lines.next_line().await.unwrap().unwrap_or_else(|| panic!("it ended:\n{early}"));
            early += &format!("{line}\n");
            let Ok(line) = serde_json::from_str::<serde_json::Value>(&line) else { continue };
            if line["message"] == "listening" {
                break line;
            }
        };
        let said = Arc::new(Mutex::new(early));
        let saying = Arc::clone(&said);
        #[expect(clippy::disallowed_methods, reason = "it ends with the process that it reads")]
        let reader = tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                let mut said = saying.lock().unwrap();
                said.push_str(&line);
                said.push('\n');
            }
        });
        (Self { said, reader }, listening)
    }

    /// Everything that it said. The process must have ended.
    pub async fn whole(mut self) -> String {
        (&mut self.reader).await.unwrap();
        std::mem::take(&mut self.said.lock().unwrap())
    }
}

#[expect(clippy::print_stderr, reason = "a failing test shows what the sidecar said")]
impl Drop for Log {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let said = self.said.lock().map(|said| said.clone()).unwrap_or_default();
            let from = said.lines().count().saturating_sub(SHOWN);
            eprintln!("the last lines of the sidecar:");
            said.lines().skip(from).for_each(|line| eprintln!("{line}"));
        }
    }
}
