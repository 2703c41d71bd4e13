//! `opsward log ingest`: sends files of any size in whole lines, a bounded piece at a time. Must never hold
//! more of a file than one piece.

use std::io::{BufRead, BufReader, IsTerminal as _, Read};

use clap::ArgMatches;
use opsward_domain::fault::Fault;

use super::super::client::Client;
use super::super::print;
use super::{text, workspace};

/// Bytes sent at a time; well below what the server takes at once.
const PIECE_BYTES: usize = 4 * 1024 * 1024;

pub(super) async fn run(client: &Client, matches: &ArgMatches) -> Result<u8, Fault> {
    let space = workspace(client, matches).await?;
    let mut files: Vec<String> = matches.get_many::<String>("file").into_iter().flatten().cloned().collect();
    if files.is_empty() {
        files.push("-".to_owned());
    }
    let workload = Some(text(matches, "workload")).filter(|name| !name.is_empty());
    let path =
        format!("/workspaces/{space}/logs{}", workload.map_or(String::new(), |name| format!("?workload={name}")));
    let shows = std::io::stderr().is_terminal();
    let mut kept = 0;
    for file in files {
        let unread = |error: std::io::Error, kept: u64| {
            Fault::invalid(format!("{file} cannot be read")).detail(error.to_string()).hint(sofar(kept))
        };
        let mut pieces = Pieces::open(&file).map_err(|error| unread(error, kept))?;
        while let Some(piece) = pieces.next_piece().map_err(|error| unread(error, kept))? {
            let answer = client.post_text(&path, piece).await.map_err(|fault| {
                let hint = format!("{} {}", fault.hint, sofar(kept));
                fault.hint(hint.trim().to_owned())
            })?;
            kept += answer["ingested"].as_u64().unwrap_or(0);
            if shows {
                print::progress(&format!("{kept} lines kept"));
            }
        }
    }
    if shows {
        print::progress("");
    }
    print::line(&format!("{kept} lines kept"));
    Ok(0)
}

fn sofar(kept: u64) -> String {
    format!("{kept} lines were kept before that")
}

/// A file in pieces of whole lines.
struct Pieces {
    reader: Box<dyn BufRead>,
    rest: Vec<u8>,
}

impl Pieces {
    fn open(file: &str) -> std::io::Result<Self> {
        let reader: Box<dyn BufRead> = match file {
            "-" => Box::new(std::io::stdin().lock()),
            _ => Box::new(BufReader::new(std::fs::File::open(file)?)),
        };
        Ok(Self { reader, rest: Vec::new() })
    }

    /// The next piece, at most [`PIECE_BYTES`] and ending with a line's end. A longer line is cut there: the
    /// server bounds a line far below it.
    fn next_piece(&mut self) -> std::io::Result<Option<String>> {
        let mut bytes = std::mem::take(&mut self.rest);
        let want = PIECE_BYTES.saturating_sub(bytes.len()) as u64;
        let read = self.reader.by_ref().take(want).read_to_end(&mut bytes)?;
        if bytes.is_empty() {
            return Ok(None);
        }
        if read as u64 == want
            && let Some(end) = bytes.iter().rposition(|byte| *byte == b'\n')
        {
            self.rest = bytes.split_off(end + 1);
        }
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(bytes: Vec<u8>) -> Vec<String> {
        let mut pieces = Pieces { reader: Box::new(std::io::Cursor::new(bytes)), rest: Vec::new() };
        std::iter::from_fn(|| pieces.next_piece().unwrap()).collect()
    }

    #[test]
    fn lines_stay_whole_and_nothing_is_lost() {
        let line = format!("{}\n", "x".repeat(999_999));
        let all = pieces(line.repeat(9).into_bytes());
        assert!(all.iter().all(|piece| piece.ends_with('\n') && piece.len() <= PIECE_BYTES));
        assert_eq!((all.len(), all.concat()), (3, line.repeat(9)));
        assert_eq!(pieces(b"a\nb".to_vec()), ["a\nb"]);
        assert!(pieces(Vec::new()).is_empty());
    }

    #[test]
    fn a_line_without_end_is_cut_and_broken_text_replaced() {
        let all = pieces(vec![b'x'; PIECE_BYTES + 7]);
        assert_eq!(all.iter().map(String::len).collect::<Vec<_>>(), [PIECE_BYTES, 7]);
        assert_eq!(pieces(vec![0xff, b'\n']), ["\u{fffd}\n"]);
    }
}
