//! `bundle.toml`: names and maps what does not explain itself. Everything in it is optional, and what it cannot
//! mean is told, not guessed.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::kind::Kind;
use crate::role::Role;
use crate::time;

/// The file as it is written.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Written {
    timezone: Option<String>,
    year: Option<i64>,
    rename: BTreeMap<String, String>,
    alert: Option<toml::Table>,
    file: Vec<FileWritten>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct FileWritten {
    path: String,
    kind: Option<String>,
    service: Option<String>,
    timezone: Option<String>,
    columns: BTreeMap<String, String>,
}

/// What is said of the files that a pattern names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FileRule {
    pattern: String,
    /// What its records are; `None` as recognised.
    pub(crate) kind: Option<Kind>,
    /// Not to be looked at.
    pub(crate) skip: bool,
    /// Whose records are that do not say.
    pub(crate) service: Option<String>,
    /// Offset of zoneless times.
    pub(crate) offset_ms: Option<i64>,
    /// Field name to meaning.
    pub(crate) columns: BTreeMap<String, Role>,
}

/// The file as it is meant.
#[derive(Debug, Clone, Default)]
pub(crate) struct Settings {
    /// Offset of zoneless times.
    pub(crate) offset_ms: Option<i64>,
    /// Year of times that have none.
    pub(crate) year: Option<i64>,
    /// Other names of components.
    pub(crate) rename: BTreeMap<String, String>,
    /// What called for attention.
    pub(crate) alert: Option<serde_json::Value>,
    files: Vec<FileRule>,
}

impl Settings {
    /// Reads the file; second, what it says that cannot be meant.
    pub(crate) fn parse(text: &str) -> (Self, Vec<String>) {
        let written: Written = match toml::from_str(text) {
            Ok(written) => written,
            Err(error) => {
                let at = error.span().map_or(0, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
                return (Self::default(), vec![format!("line {at}: {}", error.message())]);
            }
        };
        let mut wrong = Vec::new();
        let mut offset = |zone: &Option<String>| {
            let zone = zone.as_deref()?;
            let offset = time::offset_ms(zone);
            if offset.is_none() {
                wrong.push(format!("timezone {zone:?}: expected an offset such as +08:00 or Z"));
            }
            offset
        };
        let offset_ms = offset(&written.timezone);
        let offsets: Vec<Option<i64>> = written.file.iter().map(|file| offset(&file.timezone)).collect();
        let mut files = Vec::new();
        for (file, offset_ms) in written.file.into_iter().zip(offsets) {
            files.push(rule(file, offset_ms, &mut wrong));
        }
        let alert = written.alert.and_then(|table| serde_json::to_value(table).ok());
        (Self { offset_ms, year: written.year, rename: written.rename, alert, files }, wrong)
    }

    /// What is said of the file at `path`; the last rule that names it counts.
    pub(crate) fn file(&self, path: &str) -> Option<&FileRule> {
        self.files.iter().rev().find(|rule| matches(&rule.pattern, path))
    }
}

fn rule(file: FileWritten, offset_ms: Option<i64>, wrong: &mut Vec<String>) -> FileRule {
    let skip = file.kind.as_deref() == Some("skip");
    let kind = file.kind.as_deref().filter(|_| !skip).and_then(|name| {
        let kind = Kind::named(name);
        if kind.is_none() {
            wrong.push(format!("file {:?}: kind {name:?} is none of {}", file.path, Kind::names()));
        }
        kind
    });
    let mut columns = BTreeMap::new();
    for (meaning, name) in file.columns {
        match Role::of(&meaning) {
            Some(role) => {
                columns.insert(name, role);
            }
            None => wrong.push(format!("file {:?}: a column cannot mean {meaning:?}", file.path)),
        }
    }
    FileRule { pattern: file.path, kind, skip, service: file.service, offset_ms, columns }
}

/// True if `path` fits a pattern in which `*` stands for any run of characters.
fn matches(pattern: &str, path: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = path.strip_prefix(first) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_meant() {
        let (settings, wrong) = Settings::parse(
            "timezone = \"+08:00\"\n[rename]\na = \"b\"\n[alert]\nservice = \"shop\"\n[[file]]\npath = \"x/*.txt\"\nkind = \"logs\"\nservice = \"shop\"\n[file.columns]\ntime = \"Zeit\"\n",
        );
        assert!(wrong.is_empty(), "{wrong:?}");
        assert_eq!(settings.offset_ms, Some(28_800_000));
        let rule = settings.file("x/y/z.txt").unwrap();
        assert_eq!((rule.kind, rule.columns["Zeit"]), (Some(Kind::Log), Role::Time));
        assert!(settings.file("y.txt").is_none());
    }

    #[test]
    fn what_it_cannot_mean_is_told() {
        let (_, wrong) = Settings::parse(
            "timezone = \"Mars\"\n[[file]]\npath = \"a\"\nkind = \"poem\"\n[file.columns]\nwarp = \"x\"\n",
        );
        assert_eq!(wrong.len(), 3, "{wrong:?}");
        let (_, wrong) = Settings::parse("a = 1\nb = [");
        assert!(wrong[0].starts_with("line "), "{wrong:?}");
        let (_, wrong) = Settings::parse("timezon = \"Z\"\n");
        assert_eq!(wrong.len(), 1);
    }

    #[test]
    fn patterns() {
        for (pattern, path, fits) in [
            ("a.csv", "a.csv", true),
            ("*.csv", "x/a.csv", true),
            ("x/*/b*.log", "x/y/bc.log", true),
            ("x/*", "y/a", false),
            ("a", "ab", false),
        ] {
            assert_eq!(matches(pattern, path), fits, "{pattern} {path}");
        }
    }
}
