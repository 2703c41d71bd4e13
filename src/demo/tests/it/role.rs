//! One of the demo's roles as a child process that speaks lines of JSON.
//! Must never outlive the test.

use serde::de::DeserializeOwned;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

pub(crate) struct Role<Line> {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<Line>,
}

impl<Line: DeserializeOwned + Send + 'static> Role<Line> {
    pub(crate) fn start(args: &[&str], shown: bool) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        let name = args[0].to_owned();
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if shown {
                    println!("{name} {line}");
                }
                let parsed = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{name}: {e}: {line}"));
                if sender.send(parsed).is_err() {
                    return;
                }
            }
        });
        let stdin = child.stdin.take();
        Self { child, stdin, lines }
    }

    pub(crate) fn say(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("open standard input");
        stdin.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// The first line for which `pick` gives something, within `patience`.
    pub(crate) fn find<T>(&self, patience: Duration, mut pick: impl FnMut(Line) -> Option<T>) -> Result<T, String> {
        let until = Instant::now() + patience;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    if let Some(found) = pick(line) {
                        return Ok(found);
                    }
                }
                Err(cause) => return Err(format!("no such line: {cause}")),
            }
        }
    }

    /// Closes its standard input and waits for its end.
    pub(crate) fn finish(mut self) {
        drop(self.stdin.take());
        // Whatever its status: lines have said what matters.
        let _ = self.child.wait();
    }
}

impl<Line> Drop for Role<Line> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
