//! From a replica's pipes to lines: cut at a bound, always valid text, never a control character.

use std::cell::RefCell;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use opsward_domain::name::Workload;
use opsward_domain::telemetry::LINE_BYTES_MAX;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;

use super::core::{Core, now_ms};
use crate::spool::Record;

/// Put at the end of a line that was longer than [`LINE_BYTES_MAX`].
const CUT_MARK: &str = " [cut]";
/// Bytes taken from a pipe at once.
const READ_BYTES: usize = 16 * 1024;

/// Reads one pipe until its end and spools what comes.
pub(super) async fn follow(core: Rc<RefCell<Core>>, pipe: OwnedFd, workload: Workload, replica: u32) {
    let Ok(mut pipe) = Receiver::from_owned_fd(pipe) else { return };
    let mut lines = Lines::default();
    let mut chunk = vec![0_u8; READ_BYTES];
    loop {
        let count = pipe.read(&mut chunk).await.unwrap_or(0);
        let mut core = core.borrow_mut();
        let at_ms = now_ms();
        let mut keep = |text: String| {
            let workload = workload.clone();
            core.spool.push(&Record { workload, replica, at_ms, line: Some(text), event: None });
        };
        if count == 0 {
            lines.finish(&mut keep);
            core.spool.flush();
            return;
        }
        lines.feed(&chunk[..count], &mut keep);
        core.spool.flush();
    }
}

/// Cuts a byte stream into bounded lines.
#[derive(Default)]
struct Lines {
    held: Vec<u8>,
    skipping: bool,
}

impl Lines {
    fn feed(&mut self, bytes: &[u8], keep: &mut impl FnMut(String)) {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.hold(&rest[..end]);
            self.finish(keep);
            rest = &rest[end + 1..];
        }
        self.hold(rest);
    }

    fn hold(&mut self, bytes: &[u8]) {
        let room = LINE_BYTES_MAX - CUT_MARK.len() - self.held.len().min(LINE_BYTES_MAX - CUT_MARK.len());
        self.held.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.skipping |= bytes.len() > room;
    }

    fn finish(&mut self, keep: &mut impl FnMut(String)) {
        if self.held.is_empty() {
            return;
        }
        if self.held.last() == Some(&b'\r') {
            self.held.pop();
        }
        let mut text = plain(&self.held);
        if self.skipping {
            text.push_str(CUT_MARK);
        }
        self.held.clear();
        self.skipping = false;
        keep(text);
    }
}

/// Valid text in which nothing can move a cursor or turn the reading direction.
pub(crate) fn plain(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let hidden =
        |c: char| (c.is_control() && c != '\t') || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if !text.contains(hidden) {
        return text.into_owned();
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if hidden(c) { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out.truncate(out.floor_char_boundary(LINE_BYTES_MAX - CUT_MARK.len()));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(chunks: &[&[u8]]) -> Vec<String> {
        let (mut got, mut lines) = (Vec::new(), Lines::default());
        for chunk in chunks {
            lines.feed(chunk, &mut |text| got.push(text));
        }
        lines.finish(&mut |text| got.push(text));
        got
    }

    #[test]
    fn lines_are_whole_bounded_and_harmless() {
        assert_eq!(lines(&[b"a\nb", b"c\r\n\n", b"tail"]), ["a", "bc", "tail"]);
        assert_eq!(lines(&[b"\x1b[31mred\x00\xff\n"]), ["\\u{1b}[31mred\\u{0}\u{fffd}"]);
        assert_eq!(lines(&["\u{202e}evil\n".as_bytes()]), ["\\u{202e}evil"]);
        let long = vec![b'x'; LINE_BYTES_MAX * 3];
        let got = lines(&[&long, b"more\nnext\n"]);
        assert_eq!((got.len(), got[0].len()), (2, LINE_BYTES_MAX));
        assert!(got[0].ends_with(CUT_MARK) && got[1] == "next");
        assert!(lines(&[&[1_u8; LINE_BYTES_MAX * 2]])[0].len() <= LINE_BYTES_MAX);
    }
}
