//! One record, whatever wrote it: fields with their meaning, from a JSON object, a row of a table or `key=value`
//! pairs. Never decides what the record is.

use std::borrow::Cow;

use opsward_causes::case::TimeMs;
use serde_json::Value;

use crate::role::{self, Role};
use crate::time::{self, Assume};

/// Objects inside each other that are looked into.
const DEPTH_MAX: usize = 3;
/// Fields of one record that are looked at.
const FIELDS_MAX: usize = 256;

/// Names of objects that only hold fields of the thing itself.
const WRAPPERS: [&str; 22] = [
    "kubernetes",
    "k8s",
    "resource",
    "attributes",
    "labels",
    "fields",
    "tags",
    "metadata",
    "context",
    "data",
    "event",
    "extra",
    "props",
    "properties",
    "commonlabels",
    "commonannotations",
    "annotations",
    "localendpoint",
    "commit",
    "source",
    "object",
    "payload",
];

/// What a field holds.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Cell<'a> {
    Text(&'a str),
    Json(&'a Value),
}

impl<'a> Cell<'a> {
    /// As text; numbers and truth values as they are written.
    pub(crate) fn text(self) -> Option<Cow<'a, str>> {
        match self {
            Self::Text(text) => Some(Cow::Borrowed(text)),
            Self::Json(Value::String(text)) => Some(Cow::Borrowed(text)),
            Self::Json(Value::Number(number)) => Some(Cow::Owned(number.to_string())),
            Self::Json(Value::Bool(truth)) => Some(Cow::Borrowed(if *truth { "true" } else { "false" })),
            Self::Json(_) => None,
        }
    }

    /// As a finite number.
    pub(crate) fn number(self) -> Option<f64> {
        let number = match self {
            Self::Json(Value::Number(number)) => number.as_f64()?,
            Self::Text(text) => text.trim().parse().ok()?,
            Self::Json(value) => value.as_str()?.trim().parse().ok()?,
        };
        number.is_finite().then_some(number)
    }
}

/// A field with its name and meaning.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field<'a> {
    pub(crate) name: &'a str,
    pub(crate) role: Option<Role>,
    pub(crate) cell: Cell<'a>,
}

/// A record's fields; of fields with one meaning the first counts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Record<'a> {
    pub(crate) fields: Vec<Field<'a>>,
}

impl<'a> Record<'a> {
    /// The fields of a JSON object, those of objects inside it after its own.
    pub(crate) fn of_json(value: &'a Value) -> Self {
        let mut record = Self::default();
        let mut level = vec![("", value)];
        for _ in 0..=DEPTH_MAX {
            let mut next = Vec::new();
            for (outer, value) in level {
                record.add_object(outer, value, &mut next);
            }
            level = next;
        }
        record
    }

    fn add_object(&mut self, outer: &str, value: &'a Value, next: &mut Vec<(&'a str, &'a Value)>) {
        let wrapped = outer.is_empty() || WRAPPERS.contains(&role::plain(outer).as_str());
        for (name, inner) in value.as_object().into_iter().flatten() {
            if self.fields.len() >= FIELDS_MAX {
                return;
            }
            let own = if wrapped { Role::of(name) } else { None };
            let role = own.or_else(|| if outer.is_empty() { None } else { Role::of(&format!("{outer}.{name}")) });
            match inner {
                Value::Object(_) => {
                    next.push((name, inner));
                    // Whoever asks for the object itself finds it.
                    self.fields.push(Field { name, role, cell: Cell::Json(inner) });
                }
                Value::Null => {}
                Value::Array(list) if WRAPPERS.contains(&role::plain(name).as_str()) => self.add_tags(list),
                _ => self.fields.push(Field { name, role, cell: Cell::Json(inner) }),
            }
        }
    }

    /// `["service:checkout", "env:prod"]`.
    fn add_tags(&mut self, list: &'a [Value]) {
        for tag in list.iter().filter_map(Value::as_str).take(FIELDS_MAX) {
            if let Some((name, value)) = tag.split_once(':') {
                self.fields.push(Field { name, role: Role::of(name), cell: Cell::Text(value) });
            }
        }
    }

    /// A row of a table whose columns have these names and meanings.
    pub(crate) fn of_row(columns: &'a [(String, Option<Role>)], cells: &'a [String]) -> Self {
        let fields = columns.iter().zip(cells).filter(|(_, cell)| !cell.is_empty()).map(|((name, role), cell)| Field {
            name,
            role: *role,
            cell: Cell::Text(cell),
        });
        Self { fields: fields.collect() }
    }

    /// Pairs of text.
    pub(crate) fn of_pairs(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let field = |(name, value)| Field { name, role: Role::of(name), cell: Cell::Text(value) };
        Self { fields: pairs.take(FIELDS_MAX).map(field).collect() }
    }

    pub(crate) fn field(&self, role: Role) -> Option<&Field<'a>> {
        self.fields.iter().find(|field| field.role == Some(role))
    }

    /// True if any field has this meaning.
    pub(crate) fn has(&self, role: Role) -> bool {
        self.field(role).is_some()
    }

    /// The text of the first field of this meaning that has one.
    pub(crate) fn text(&self, role: Role) -> Option<Cow<'a, str>> {
        let own = self.fields.iter().filter(|field| field.role == Some(role));
        own.filter_map(|field| field.cell.text()).find(|text| !text.trim().is_empty())
    }

    /// The number in the first field of this meaning that has one.
    pub(crate) fn number(&self, role: Role) -> Option<f64> {
        self.fields.iter().filter(|field| field.role == Some(role)).find_map(|field| field.cell.number())
    }

    /// The JSON in the field of this meaning.
    pub(crate) fn json(&self, role: Role) -> Option<&'a Value> {
        self.fields.iter().filter(|field| field.role == Some(role)).find_map(|field| match field.cell {
            Cell::Json(value) => Some(value),
            Cell::Text(_) => None,
        })
    }

    /// A point in time in a field of this meaning. Of several such fields the one that says its zone is taken.
    pub(crate) fn time(&self, role: Role, assume: Assume) -> Option<TimeMs> {
        let stamps = self.fields.iter().filter(|field| field.role == Some(role)).filter_map(|field| match field.cell {
            Cell::Json(Value::Number(number)) => {
                let at_ms = time::epoch(number.as_f64()?)?;
                Some(time::Stamp { at_ms, zoned: true, length: 0 })
            }
            cell => time::parse(&cell.text()?, assume),
        });
        let mut first = None;
        for stamp in stamps {
            if stamp.zoned {
                return Some(stamp.at_ms);
            }
            first = first.or(Some(stamp.at_ms));
        }
        first
    }

    /// The first point in time among these meanings.
    pub(crate) fn time_of(&self, roles: &[Role], assume: Assume) -> Option<TimeMs> {
        roles.iter().find_map(|role| self.time(*role, assume))
    }
}
