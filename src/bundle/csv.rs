//! Comma-separated rows that recover: a row with a broken quote costs that row, never the rest of the file.

/// Most lines that one quoted row may span; beyond, its quote is taken for a slip.
const ROW_LINES_MAX: usize = 200;
/// Most bytes of one row.
const ROW_BYTES_MAX: usize = 16 << 20;

/// Rows of a text, one at a time.
#[derive(Debug)]
pub(crate) struct Rows<'a> {
    bytes: &'a [u8],
    at: usize,
    line: u32,
    mark: u8,
    cells: Vec<String>,
}

/// One row as far as it could be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Row {
    /// The cells are in [`Rows::cells`]; the number is that of its first line.
    Read(u32),
    /// A quote that never closes; the line it is in was left out.
    Broken(u32),
}

impl<'a> Rows<'a> {
    /// Rows of `bytes`. The separator is what the first line has most of.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let first = bytes.split(|b| *b == b'\n').next().unwrap_or_default();
        let count = |mark: u8| first.iter().filter(|b| **b == mark).count();
        let mark = [b',', b';', b'\t', b'|'].into_iter().rev().max_by_key(|mark| count(*mark)).unwrap_or(b',');
        Self { bytes, at: 0, line: 1, mark, cells: Vec::new() }
    }

    /// The cells of the row read last.
    pub(crate) fn cells(&self) -> &[String] {
        &self.cells
    }

    /// Reads the next row that is not blank.
    pub(crate) fn read(&mut self) -> Option<Row> {
        while self.at < self.bytes.len() {
            let (start, line) = (self.at, self.line);
            self.cells.clear();
            if self.row().is_none() {
                let length = self.bytes[start..].iter().position(|b| *b == b'\n').unwrap_or(self.bytes.len() - start);
                self.at = (start + length + 1).min(self.bytes.len());
                self.line = line + 1;
                self.cells.clear();
                return Some(Row::Broken(line));
            }
            if self.cells.len() > 1 || self.cells.first().is_some_and(|cell| !cell.trim().is_empty()) {
                return Some(Row::Read(line));
            }
        }
        None
    }

    /// Reads cells up to the end of the row; none if a quote does not close.
    fn row(&mut self) -> Option<()> {
        let (start, first) = (self.at, self.line);
        loop {
            let cell = if self.bytes.get(self.at) == Some(&b'"') { self.quoted(start, first)? } else { self.plain() };
            self.cells.push(cell);
            match self.bytes.get(self.at) {
                Some(b) if *b == self.mark => self.at += 1,
                _ => {
                    self.at = (self.at + 1).min(self.bytes.len());
                    self.line += 1;
                    return Some(());
                }
            }
        }
    }

    fn plain(&mut self) -> String {
        let rest = &self.bytes[self.at..];
        let length = rest.iter().position(|b| *b == self.mark || *b == b'\n').unwrap_or(rest.len());
        self.at += length;
        let cell = rest[..length].strip_suffix(b"\r").unwrap_or(&rest[..length]);
        String::from_utf8_lossy(cell).into_owned()
    }

    fn quoted(&mut self, start: usize, first: u32) -> Option<String> {
        let mut cell = Vec::new();
        self.at += 1;
        loop {
            if self.at - start > ROW_BYTES_MAX || self.line - first > ROW_LINES_MAX as u32 {
                return None;
            }
            match *self.bytes.get(self.at)? {
                b'"' if self.bytes.get(self.at + 1) == Some(&b'"') => {
                    cell.push(b'"');
                    self.at += 2;
                }
                b'"' if self.closes(self.at + 1) => {
                    self.at += 1;
                    if self.bytes.get(self.at) == Some(&b'\r') {
                        self.at += 1;
                    }
                    return Some(String::from_utf8_lossy(&cell).into_owned());
                }
                byte => {
                    // A quote in the middle of a cell that nobody doubled is a quote.
                    self.line += u32::from(byte == b'\n');
                    cell.push(byte);
                    self.at += 1;
                }
            }
        }
    }

    /// True if a cell ends before `at`.
    fn closes(&self, at: usize) -> bool {
        match self.bytes.get(at) {
            None | Some(b'\n') => true,
            Some(b'\r') => matches!(self.bytes.get(at + 1), None | Some(b'\n')),
            Some(byte) => *byte == self.mark,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Vec<(Row, Vec<String>)> {
        let mut rows = Rows::new(text.as_bytes());
        let mut read = Vec::new();
        while let Some(row) = rows.read() {
            read.push((row, rows.cells().to_vec()));
        }
        read
    }

    fn cells(text: &str) -> Vec<Vec<String>> {
        all(text).into_iter().map(|(_, cells)| cells).collect()
    }

    #[test]
    fn quotes_separators_and_line_ends() {
        assert_eq!(cells("a,b\r\n\"x, \"\"y\"\"\",2\r\n\n"), [["a", "b"], ["x, \"y\"", "2"]]);
        assert_eq!(cells("a;b\n1;2"), [["a", "b"], ["1", "2"]]);
        assert_eq!(cells("a\tb\n1\t"), [vec!["a", "b"], vec!["1", ""]]);
        assert_eq!(cells("\u{feff}a,b\n\"two\nlines\",2\n3,4"), [["a", "b"], ["two\nlines", "2"], ["3", "4"]]);
        assert_eq!(all("a,b\n\"x\ny\",2\n3,4").last().unwrap().0, Row::Read(4));
        assert!(cells("").is_empty());
    }

    #[test]
    fn a_broken_quote_costs_one_row() {
        let read = all("a,b\n1,\"open\n2,3\n4,5\n");
        let rows: Vec<Row> = read.iter().map(|(row, _)| *row).collect();
        assert_eq!(rows, [Row::Read(1), Row::Broken(2), Row::Read(3), Row::Read(4)]);
        // A quote that nobody doubled stays what it is.
        assert_eq!(cells("a,b\n\"say \"no\" now\",1\n"), [["a", "b"], ["say \"no\" now", "1"]]);
        let long = format!("a,b\n1,\"open\n{}", "2,3\n".repeat(1000));
        assert_eq!(all(&long).iter().filter(|(row, _)| matches!(row, Row::Broken(_))).count(), 1);
        assert_eq!(all(&long).len(), 1002);
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced() {
        let mut rows = Rows::new(b"a,b\n\xff\xfe,1\n");
        rows.read();
        rows.read();
        assert_eq!(rows.cells()[1], "1");
        assert!(rows.cells()[0].contains('\u{fffd}'));
    }
}
