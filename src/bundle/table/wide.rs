//! Metrics with one column a series. Whose a column is stands in a column of names, in header rows of their own, or
//! in the column's name.

use std::collections::HashMap;

use opsward_causes::case::ComponentId;

use super::Columns;
use crate::csv::{Row, Rows};
use crate::gather::{Gather, Named};
use crate::role::Role;
use crate::time::{self, Assume};

/// Header rows above one another.
const LEVELS_MAX: usize = 6;
/// Marks between a service and its metric in the name of a column.
const MARKS: [char; 5] = ['_', ':', '|', '/', '.'];

/// Which header row says what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Levels {
    owner: usize,
    metric: usize,
    statistic: Option<usize>,
    rows: usize,
}

/// The header rows of a table with several of them: the first column names each row, until times begin.
pub(super) fn levels(first: &[Vec<String>], assume: Assume) -> Option<Levels> {
    let rows =
        first.iter().take_while(|row| row.first().is_none_or(|cell| time::parse(cell, assume).is_none())).count();
    if !(2..=LEVELS_MAX).contains(&rows) || rows >= first.len() {
        return None;
    }
    let mut levels = Levels { rows, owner: usize::MAX, metric: usize::MAX, statistic: None };
    for (place, row) in first[..rows].iter().enumerate() {
        // A row of blanks only names the column of times.
        if row.iter().skip(1).all(|cell| cell.trim().is_empty()) {
            continue;
        }
        match row.first().and_then(|name| Role::of(name)) {
            Some(Role::Service | Role::Pod | Role::Node | Role::Workload) => levels.owner = place,
            Some(Role::Metric | Role::Name) => levels.metric = place,
            Some(Role::Statistic) => levels.statistic = Some(place),
            _ if levels.owner == usize::MAX => levels.owner = place,
            _ if levels.metric == usize::MAX => levels.metric = place,
            _ => levels.statistic = levels.statistic.or(Some(place)),
        }
    }
    (levels.owner != usize::MAX && levels.metric != usize::MAX).then_some(levels)
}

/// Reads a table with several header rows.
pub(super) fn stacked(gather: &mut Gather, bytes: &[u8], levels: &Levels, service: Option<&str>) {
    let mut rows = Rows::new(bytes);
    let mut headers: Vec<Vec<String>> = Vec::new();
    while headers.len() < levels.rows {
        match rows.read() {
            Some(Row::Read(_)) => headers.push(rows.cells().to_vec()),
            Some(Row::Broken(_)) => {}
            None => return,
        }
    }
    let width = headers.iter().map(Vec::len).max().unwrap_or(0);
    let cell = |row: usize, column: usize| headers[row].get(column).map_or("", |cell| cell.trim());
    let mut places = vec![None; width];
    for (column, place) in places.iter_mut().enumerate().skip(1) {
        let owner = Some(cell(levels.owner, column)).filter(|name| !name.is_empty()).or(service);
        let Some(component) = gather.whose(Named { service: owner, ..Named::default() }) else { continue };
        let unit = levels.statistic.map_or("", |row| cell(row, column));
        *place = gather.series(component, cell(levels.metric, column), unit);
    }
    samples(gather, &mut rows, width, 0, &[], &mut |_, _, column| places.get(column).copied().flatten());
}

/// True if a table has times and columns of numbers.
pub(super) fn is_one(columns: &Columns, first: &[Vec<String>], assume: Assume) -> bool {
    let Some(at) = time_column(columns, first, assume) else { return false };
    let numbers = |row: &Vec<String>| {
        row.iter().enumerate().any(|(column, cell)| column != at && cell.trim().parse::<f64>().is_ok())
    };
    first.len() > 1 && first[1..].iter().any(numbers)
}

/// The column of times: one that means it, else the first whose cells are times.
fn time_column(columns: &Columns, first: &[Vec<String>], assume: Assume) -> Option<usize> {
    let timed = |column: &usize| {
        let cells = first.iter().skip(1).filter_map(|row| row.get(*column));
        let times = cells.clone().filter(|cell| time::parse(cell, assume).is_some()).count();
        times > 0 && times * 2 >= cells.count()
    };
    let meant = columns.iter().position(|(_, role)| matches!(role, Some(Role::Time | Role::Start)));
    meant
        .filter(timed)
        .or_else(|| columns.iter().enumerate().position(|(column, (name, _))| name.is_empty() && timed(&column)))
}

/// Reads a table with one header row.
pub(super) fn read(gather: &mut Gather, bytes: &[u8], columns: &Columns, list: &str, service: Option<&str>) {
    let mut rows = Rows::new(bytes);
    rows.read();
    let meant = columns.iter().position(|(_, role)| matches!(role, Some(Role::Time | Role::Start)));
    let at = meant.unwrap_or(0);
    let find = |roles: &[Role]| columns.iter().position(|(_, role)| role.is_some_and(|role| roles.contains(&role)));
    let (pod, owner, node) = (find(&[Role::Pod]), find(&[Role::Service, Role::Workload]), find(&[Role::Node]));
    let kept = |column: usize| {
        let role = columns[column].1;
        column != at
            && !matches!(
                role,
                Some(
                    Role::Time
                        | Role::Start
                        | Role::End
                        | Role::Pod
                        | Role::Service
                        | Role::Workload
                        | Role::Node
                        | Role::Namespace
                        | Role::Container
                )
            )
    };
    if pod.or(owner).or(node).is_some() {
        let mut known: HashMap<(ComponentId, usize), Option<usize>> = HashMap::new();
        let skipped: Vec<usize> = (0..columns.len()).filter(|column| !kept(*column)).collect();
        samples(gather, &mut rows, columns.len(), at, &skipped, &mut |gather, cells, column| {
            let cell = |place: Option<usize>| place.and_then(|place| cells.get(place)).map(String::as_str);
            let named = Named {
                service: cell(owner).or(if pod.is_none() { cell(node) } else { None }),
                pod: cell(pod),
                node: cell(node),
            };
            let component = gather.whose(named)?;
            *known.entry((component, column)).or_insert_with(|| {
                let (name, unit) = unit_of(&columns[column].0);
                gather.series(component, name, unit)
            })
        });
        return;
    }
    let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
    let split = split_names(gather, &names, at, service.unwrap_or(list), &kept);
    samples(gather, &mut rows, columns.len(), at, &[], &mut |_, _, column| split.get(column).copied().flatten());
}

/// `CpuUsageRate(%)` is `CpuUsageRate` in `%`.
fn unit_of(name: &str) -> (&str, &str) {
    match name.strip_suffix(')').and_then(|rest| rest.rsplit_once(['(', '['])) {
        Some((metric, unit)) if !metric.trim().is_empty() => (metric.trim(), unit.trim()),
        _ => (name, ""),
    }
}

/// Whose each column is and which metric, by names such as `cart_cpu`: ends that recur under several beginnings are
/// metrics, beginnings that recur before several ends are services.
fn split_names(
    gather: &mut Gather,
    names: &[&str],
    at: usize,
    fallback: &str,
    kept: &dyn Fn(usize) -> bool,
) -> Vec<Option<usize>> {
    let mut beginnings: HashMap<&str, usize> = HashMap::new();
    let mut ends: HashMap<&str, usize> = HashMap::new();
    let cuts = |name: &'_ str| -> Vec<usize> {
        name.char_indices().filter(|(_, c)| MARKS.contains(c)).map(|(cut, _)| cut).collect()
    };
    for (column, name) in names.iter().enumerate().filter(|(column, _)| *column != at) {
        for cut in cuts(name).into_iter().filter(|_| kept(column)) {
            *beginnings.entry(&name[..cut]).or_default() += 1;
            *ends.entry(&name[cut + 1..]).or_default() += 1;
        }
    }
    let worth = |name: &str, cut: usize| {
        beginnings.get(&name[..cut]).copied().unwrap_or(0) * ends.get(&name[cut + 1..]).copied().unwrap_or(0)
    };
    let best = |name: &str, owners: &HashMap<&str, usize>| {
        let valid = cuts(name).into_iter().filter(|cut| *cut > 0 && *cut + 1 < name.len());
        let owned = |cut: usize| owners.get(&name[..cut]).copied().unwrap_or(0);
        valid.max_by_key(|cut| (owned(*cut), worth(name, *cut), std::cmp::Reverse(*cut)))
    };
    // A column that could be cut in two ways is cut as most of the others are.
    let mut owners: HashMap<&str, usize> = HashMap::new();
    for (column, name) in names.iter().enumerate() {
        if let Some(cut) = best(name, &HashMap::new()).filter(|_| column != at && kept(column)) {
            *owners.entry(&name[..cut]).or_default() += 1;
        }
    }
    names
        .iter()
        .enumerate()
        .map(|(column, name)| {
            if column == at || !kept(column) {
                return None;
            }
            let (owner, metric) = best(name, &owners).map_or((fallback, *name), |cut| (&name[..cut], &name[cut + 1..]));
            let (metric, unit) = unit_of(metric);
            let component = gather.component(owner)?;
            gather.series(component, metric, unit)
        })
        .collect()
}

/// Finds the series of a cell.
type Find<'a> = dyn FnMut(&mut Gather, &[String], usize) -> Option<usize> + 'a;

/// Reads the rest of the rows, each with a time and numbers.
fn samples(gather: &mut Gather, rows: &mut Rows<'_>, width: usize, at: usize, skipped: &[usize], find: &mut Find<'_>) {
    while let Some(row) = rows.read() {
        let line = match row {
            Row::Read(line) => line,
            Row::Broken(line) => {
                gather.problem(line, "a quote that does not close; row left out");
                continue;
            }
        };
        let cells = rows.cells();
        let Some(stamp) = cells.get(at).and_then(|cell| time::parse(cell, gather.assume)) else {
            gather.problem(line, format!("column {}: expected a time", at + 1));
            continue;
        };
        if cells.len() > width {
            gather.problem(line, format!("{} cells: expected {width} as in the header", cells.len()));
        }
        for (column, cell) in cells.iter().enumerate().take(width) {
            let cell = cell.trim();
            if column == at || skipped.contains(&column) {
                continue;
            }
            match cell.parse::<f64>() {
                Ok(value) => {
                    if let Some(place) = find(gather, cells, column) {
                        gather.point(place, stamp.at_ms, value);
                    }
                }
                Err(_)
                    if cell.is_empty()
                        || ["nan", "null", "none", "-"].contains(&cell.to_ascii_lowercase().as_str()) =>
                {
                    gather.count("gaps in metrics", 1);
                }
                Err(_) => gather.problem(line, format!("column {}: expected a number", column + 1)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_in_names() {
        assert_eq!(unit_of("CpuUsageRate(%)"), ("CpuUsageRate", "%"));
        assert_eq!(unit_of("cpu"), ("cpu", ""));
        assert_eq!(unit_of("(s)"), ("(s)", ""));
    }
}
