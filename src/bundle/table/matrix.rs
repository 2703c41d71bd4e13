//! A graph as a square table: a row calls the columns in which it has more than nothing.

use crate::csv::{Row, Rows};
use crate::gather::Gather;

/// True if the first column names what the first row names, and everything else is a number.
pub(super) fn is_one(first: &[Vec<String>]) -> bool {
    let Some((header, rows)) = first.split_first() else { return false };
    let names: Vec<&str> = header.iter().skip(1).map(|name| name.trim()).collect();
    let square = |row: &Vec<String>| {
        let named = row.first().is_some_and(|name| names.contains(&name.trim()));
        named && row.iter().skip(1).all(|cell| cell.trim().is_empty() || cell.trim().parse::<f64>().is_ok())
    };
    names.len() > 1 && !rows.is_empty() && rows.iter().filter(|row| square(row)).count() * 5 >= rows.len() * 4
}

/// Reads the calls.
pub(super) fn read(gather: &mut Gather, bytes: &[u8]) {
    let mut rows = Rows::new(bytes);
    rows.read();
    let callees: Vec<_> = rows.cells().iter().map(|name| gather.component(name)).collect();
    while let Some(row) = rows.read() {
        let line = match row {
            Row::Read(line) => line,
            Row::Broken(line) => {
                gather.problem(line, "a quote that does not close; row left out");
                continue;
            }
        };
        let cells = rows.cells();
        let Some(caller) = cells.first().and_then(|name| gather.component(name)) else { continue };
        if cells.len() != callees.len() {
            gather.problem(line, format!("{} cells: expected {} as in the header", cells.len(), callees.len()));
        }
        for (cell, callee) in cells.iter().zip(&callees).skip(1) {
            if let (true, Some(callee)) = (cell.trim().parse::<f64>().is_ok_and(|weight| weight > 0.0), *callee) {
                gather.call(caller, callee);
            }
        }
    }
}
