//! Prometheus text to values. Bounded in lines, names and labels; never a number that was not there.
//!
//! The text format is small and stable; the crates that parse it bring a regular expression engine or a
//! parser generator, so it is read here.

use std::collections::BTreeMap;

use crate::options::SCRAPE_SERIES_MAX;

/// Most bytes of a name or a label's value.
const TEXT_BYTES_MAX: usize = 200;
/// Most labels of one value.
const LABELS_MAX: usize = 16;

/// One exposed value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Exposed {
    pub(crate) metric: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

/// Every readable line of `text`, at most [`SCRAPE_SERIES_MAX`]. Lines that make no sense are skipped:
/// one bad line must not hide the others.
pub(crate) fn parse(text: &str) -> Vec<Exposed> {
    text.lines().filter_map(line).take(SCRAPE_SERIES_MAX).collect()
}

fn line(line: &str) -> Option<Exposed> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let end = line.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':')).unwrap_or(line.len());
    let (metric, mut rest) = line.split_at(end);
    if metric.is_empty() || metric.len() > TEXT_BYTES_MAX || metric.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = read_labels(inside, &mut labels)?;
    }
    let value = match rest.split_whitespace().next()? {
        "+Inf" | "-Inf" | "NaN" => return None,
        number => number.parse::<f64>().ok().filter(|value| value.is_finite())?,
    };
    Some(Exposed { metric: metric.to_owned(), labels, value })
}

/// Reads `name="value",...}` and returns what follows.
fn read_labels<'a>(mut rest: &'a str, labels: &mut BTreeMap<String, String>) -> Option<&'a str> {
    loop {
        rest = rest.trim_start_matches([' ', ',']);
        if let Some(after) = rest.strip_prefix('}') {
            return Some(after);
        }
        let (name, quoted) = rest.split_once('=')?;
        let mut value = String::new();
        let mut chars = quoted.trim_start().strip_prefix('"')?.chars();
        loop {
            match chars.next()? {
                '"' => break,
                '\\' => match chars.next()? {
                    'n' => value.push('\n'),
                    other => value.push(other),
                },
                other => value.push(other),
            }
        }
        let name = name.trim();
        let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !plain || name.is_empty() || name.len().max(value.len()) > TEXT_BYTES_MAX || labels.len() >= LABELS_MAX {
            return None;
        }
        labels.insert(name.to_owned(), value);
        rest = chars.as_str();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_is_well_formed_and_skips_the_rest() {
        let text = "# HELP x y\nup 1\nreq_total{code=\"200\",path=\"/a \\\"b\\\\\"} 3 1700000\nlat_bucket{le=\"+Inf\",} 4e2\n\
                    bad{ 1\nnan NaN\n9lives 2\nhalf{a=\"b} 3\nnovalue\n";
        let got = parse(text);
        let exposed = |metric: &str, labels: &[(&str, &str)], value| Exposed {
            metric: metric.into(),
            labels: labels.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect(),
            value,
        };
        let wanted = [
            exposed("up", &[], 1.0),
            exposed("req_total", &[("code", "200"), ("path", "/a \"b\\")], 3.0),
            exposed("lat_bucket", &[("le", "+Inf")], 400.0),
        ];
        assert_eq!(got, wanted);
        let many: String = (0..SCRAPE_SERIES_MAX * 2).map(|i| format!("m{{i=\"{i}\"}} 1\n")).collect();
        assert_eq!(parse(&many).len(), SCRAPE_SERIES_MAX);
        assert!(parse(&format!("m{{a=\"{}\"}} 1", "x".repeat(500))).is_empty());
    }
}
