//! The score as a table: how many, how sure that is (Wilson's interval), the simple rule beside it, and every failure
//! by name.

use std::fmt::Write as _;

use serde::Serialize;

use super::Scored;

/// Deviations of a normal distribution that hold 95 %.
const Z: f64 = 1.959_964;
/// Characters of a failure's texts.
const TEXT_MAX: usize = 160;

/// One thing that was asked of every case.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// What was asked.
    pub measure: &'static str,
    /// Cases that met it.
    pub met: usize,
    /// Cases it was asked of.
    pub of: usize,
    /// Lower end of the 95 % interval of the share.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Cases that the simple rule met; none where it cannot answer.
    pub rule_met: Option<usize>,
}

/// The score of one format.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Table {
    /// Name and version of this form.
    pub schema: &'static str,
    /// The format.
    pub format: &'static str,
    /// One for each thing asked.
    pub rows: Vec<Row>,
    /// Milliseconds of the case in the middle.
    pub took_ms_middle: f64,
    /// Milliseconds of the slowest case.
    pub took_ms_most: f64,
    /// Every case.
    pub cases: Vec<Scored>,
}

/// Wilson's interval of a share.
fn wilson(met: usize, of: usize) -> (f64, f64) {
    if of == 0 {
        return (0.0, 1.0);
    }
    let (n, share) = (of as f64, met as f64 / of as f64);
    let middle = share + Z * Z / (2.0 * n);
    let reach = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + Z * Z / n;
    (((middle - reach) / scale).max(0.0), ((middle + reach) / scale).min(1.0))
}

impl Table {
    /// The table of these cases.
    pub(super) fn of(format: &'static str, cases: Vec<Scored>) -> Self {
        let mut measures: Vec<&'static str> = Vec::new();
        for (measure, _) in cases.iter().flat_map(|case| &case.met) {
            if !measures.contains(measure) {
                measures.push(measure);
            }
        }
        let count = |lists: &mut dyn Iterator<Item = &Vec<(&'static str, bool)>>, measure: &str| {
            let all: Vec<bool> = lists.flatten().filter(|(name, _)| *name == measure).map(|(_, met)| *met).collect();
            (all.iter().filter(|met| **met).count(), all.len())
        };
        let row = |measure: &'static str| {
            let (met, of) = count(&mut cases.iter().map(|case| &case.met), measure);
            let (rule_met, rule_of) = count(&mut cases.iter().map(|case| &case.rule_met), measure);
            let (low, high) = wilson(met, of);
            Row { measure, met, of, low, high, rule_met: (rule_of > 0).then_some(rule_met) }
        };
        let rows = measures.into_iter().map(row).collect();
        let mut took: Vec<f64> = cases.iter().map(|case| case.took_ms).collect();
        took.sort_by(f64::total_cmp);
        Self {
            schema: "opsward/score/v1",
            format,
            rows,
            took_ms_middle: took.get(took.len() / 2).copied().unwrap_or(0.0),
            took_ms_most: took.last().copied().unwrap_or(0.0),
            cases,
        }
    }

    /// The table as text.
    pub fn render(&self) -> String {
        let mut out = String::new();
        let count = self.cases.len();
        let _ = writeln!(
            out,
            "{}: {count} cases, {:.0} ms in the middle, {:.0} ms at most, no model",
            self.format, self.took_ms_middle, self.took_ms_most
        );
        let _ = writeln!(out, "{:38} {:>9} {:>6}  {:>11}  simple rule", "", "met", "share", "95 %");
        for row in &self.rows {
            let share = |met: usize| 100.0 * met as f64 / row.of.max(1) as f64;
            let rule = row.rule_met.map_or("-".to_owned(), |met| format!("{met}/{} {:.0} %", row.of, share(met)));
            let interval = format!("{:.0} - {:.0} %", 100.0 * row.low, 100.0 * row.high);
            let _ = writeln!(
                out,
                "{:38} {:>9} {:>4.0} %  {interval:>11}  {rule}",
                row.measure,
                format!("{}/{}", row.met, row.of),
                share(row.met)
            );
        }
        let failed: Vec<&Scored> = self.cases.iter().filter(|case| case.met.iter().any(|(_, met)| !met)).collect();
        if !failed.is_empty() {
            let _ = writeln!(out, "Not met:");
        }
        for case in failed {
            let missed: Vec<&str> = case.met.iter().filter(|(_, met)| !met).map(|(name, _)| *name).collect();
            let _ = writeln!(out, "  {}: {}", case.case, missed.join(", "));
            let cut = |text: &str| opsward_domain::label::visible(&text.chars().take(TEXT_MAX).collect::<String>());
            let _ = writeln!(out, "    said   {}", cut(&case.said));
            let _ = writeln!(out, "    wanted {}", cut(&case.wanted));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_those_of_the_books() {
        let near = |(low, high): (f64, f64), wanted: (f64, f64)| {
            (low - wanted.0).abs() < 5e-4 && (high - wanted.1).abs() < 5e-4
        };
        assert!(near(wilson(8, 10), (0.4902, 0.9433)), "{:?}", wilson(8, 10));
        assert!(near(wilson(0, 5), (0.0, 0.4345)), "{:?}", wilson(0, 5));
        assert_eq!(wilson(0, 0), (0.0, 1.0));
    }

    #[test]
    fn each_measure_is_counted_where_it_was_asked() {
        let case = |name: &str, met: bool, quiet: Option<bool>| Scored {
            case: name.to_owned(),
            met: std::iter::once(("right", met)).chain(quiet.map(|met| ("quiet", met))).collect(),
            rule_met: vec![("right", false)],
            said: "x".to_owned(),
            wanted: "y".to_owned(),
            took_ms: 1.0,
        };
        let table = Table::of("t", vec![case("a", true, None), case("b", false, Some(true))]);
        let counts: Vec<(usize, usize, Option<usize>)> =
            table.rows.iter().map(|row| (row.met, row.of, row.rule_met)).collect();
        assert_eq!(counts, [(1, 2, Some(0)), (1, 1, None)]);
        let shown = table.render();
        assert!(shown.contains("b: right") && !shown.contains("a: "), "{shown}");
    }
}
