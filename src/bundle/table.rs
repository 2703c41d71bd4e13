//! Tables: logs, spans, samples, calls and changes row by row, and metrics with one column a series. What a table
//! is follows from what its columns mean.

mod matrix;
mod wide;

use crate::csv::{Row, Rows};
use crate::gather::Gather;
use crate::kind::Kind;
use crate::record::Record;
use crate::role::Role;
use crate::settings::FileRule;
use crate::take::{self, Place};

/// Rows that are looked at to see what a table is.
const PEEK_ROWS: usize = 12;
/// Columns of a table that are looked at.
const COLUMNS_MAX: usize = 20_000;

/// A column's name and meaning.
pub(crate) type Columns = Vec<(String, Option<Role>)>;

/// Reads a table.
pub(crate) fn read(gather: &mut Gather, bytes: &[u8], list: &str, rule: Option<&FileRule>) {
    let mut peek = Rows::new(bytes);
    let mut first: Vec<Vec<String>> = Vec::new();
    while first.len() < PEEK_ROWS {
        match peek.read() {
            Some(Row::Read(_)) => first.push(peek.cells().iter().take(COLUMNS_MAX).cloned().collect()),
            Some(Row::Broken(_)) => {}
            None => break,
        }
    }
    let Some(header) = first.first() else {
        gather.gap(gather.path().to_owned(), "an empty table");
        return;
    };
    let meaning = |name: &String| {
        let told = rule.and_then(|rule| rule.columns.get(name.trim()).copied());
        (name.trim().to_owned(), told.or_else(|| Role::of(name)))
    };
    let columns: Columns = header.iter().map(meaning).collect();
    let service = rule.and_then(|rule| rule.service.as_deref());
    let kind = rule.and_then(|rule| rule.kind);
    if kind.is_none() {
        if let Some(levels) = wide::levels(&first, gather.assume) {
            wide::stacked(gather, bytes, &levels, service);
            return;
        }
        if matrix::is_one(&first) {
            matrix::read(gather, bytes);
            return;
        }
    }
    let ones: Vec<String> = columns.iter().map(|_| "1".to_owned()).collect();
    let found = kind.or_else(|| Kind::of(&Record::of_row(&columns, &ones), list));
    match found {
        Some(Kind::Metric) if !columns.iter().any(|(_, role)| *role == Some(Role::Value)) => {
            wide::read(gather, bytes, &columns, list, service);
        }
        Some(kind) => rows(gather, bytes, &columns, kind, list, service),
        None if wide::is_one(&columns, &first, gather.assume) => wide::read(gather, bytes, &columns, list, service),
        None => {}
    }
}

/// One record a row.
fn rows(gather: &mut Gather, bytes: &[u8], columns: &Columns, kind: Kind, list: &str, service: Option<&str>) {
    let mut rows = Rows::new(bytes);
    rows.read();
    while let Some(row) = rows.read() {
        let line = match row {
            Row::Read(line) => line,
            Row::Broken(line) => {
                gather.problem(line, "a quote that does not close: expected \" at the end of the cell; row left out");
                continue;
            }
        };
        let cells = rows.cells();
        if cells.len() != columns.len() && !excess(columns, cells.len(), kind) {
            gather.problem(line, format!("{} cells: expected {} as in the header", cells.len(), columns.len()));
        }
        let joined;
        let cells = if excess(columns, cells.len(), kind) {
            joined = rejoin(cells, columns.len());
            &joined
        } else {
            cells
        };
        let record = Record::of_row(columns, cells);
        let place = Place { list, line, entry: false, service, pod: None };
        if !take::take(gather, &record, kind, place) {
            gather.problem(line, format!("a row without what {} need (a time, whose it is, a value)", kind.word()));
        }
    }
}

/// True for a log whose last column is its message and that has more cells than columns: commas that nobody quoted.
fn excess(columns: &Columns, cells: usize, kind: Kind) -> bool {
    kind == Kind::Log && cells > columns.len() && columns.last().is_some_and(|(_, role)| *role == Some(Role::Message))
}

fn rejoin(cells: &[String], columns: usize) -> Vec<String> {
    let (own, rest) = cells.split_at(columns.saturating_sub(1).min(cells.len()));
    let mut joined = own.to_vec();
    joined.push(rest.join(","));
    joined
}
