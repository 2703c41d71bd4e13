//! What form a file has: by its name where that says it, else by its first bytes. Goes through all files in order.

use opsward_analyzers::load;
use opsward_analyzers::objects::Gap;
use serde_json::Value;

use crate::gather::Gather;
use crate::kind::Kind;
use crate::lines::{self, Whose};
use crate::open::{self, Entry};
use crate::settings::{FileRule, Settings};
use crate::time::Assume;
use crate::{Bundle, Options, SETTINGS, json, kubernetes, skew, table, take};

/// What stands before a container's log in a dump.
const DUMP_MARK: &[u8] = b"==== START logs for container ";
/// Lines of one container's log in a dump.
const DUMP_LINES_MAX: usize = 100_000;
/// Bytes of a file that decide what form it has.
const PEEK_BYTES: usize = 4096;

/// The form of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Table,
    Document,
    Yaml,
    Lines,
    Other,
}

/// Reads every file.
pub(crate) fn gather(entries: Vec<Entry>, gaps: Vec<Gap>, options: &Options) -> Bundle {
    let mut gather = Gather::new(options.bounds, Default::default(), Assume::default());
    gather.gaps = gaps;
    let mut settings = Settings::default();
    let mut left = options.limits.total_bytes_max;
    for entry in entries {
        let named = entry.name.clone();
        let (name, bytes) = match open::bytes(entry, &options.limits, left) {
            Ok(read) => read,
            Err(reason) => {
                gather.gap(named, reason);
                continue;
            }
        };
        left -= (bytes.len() as u64).min(left);
        if name == SETTINGS {
            settings = configure(&mut gather, &bytes);
            continue;
        }
        file(&mut gather, &name, &bytes, &settings);
    }
    finish(gather)
}

/// Applies `bundle.toml`.
fn configure(gather: &mut Gather, bytes: &[u8]) -> Settings {
    gather.begin(SETTINGS);
    let (settings, wrong) = Settings::parse(&String::from_utf8_lossy(bytes));
    for what in wrong {
        gather.problem(0, what);
    }
    gather.rename.clone_from(&settings.rename);
    gather.assume = Assume { offset_ms: settings.offset_ms.unwrap_or(0), year: settings.year };
    if let Some(alert) = &settings.alert {
        take::alert::take(gather, &crate::record::Record::of_json(alert));
    }
    gather.end();
    settings
}

fn file(gather: &mut Gather, name: &str, bytes: &[u8], settings: &Settings) {
    let rule = settings.file(name);
    if rule.is_some_and(|rule| rule.skip) {
        gather.gap(name, "bundle.toml says skip");
        return;
    }
    gather.begin(name);
    let before = gather.assume;
    gather.assume.offset_ms = rule.and_then(|rule| rule.offset_ms).unwrap_or(before.offset_ms);
    let (first, spans) = (gather.gaps.len(), gather.case.spans.len());
    let rest = dumped(gather, bytes);
    let bytes = rest.as_deref().unwrap_or(bytes);
    let form = form(name, bytes, rule);
    match form {
        _ if rest.is_some() && bytes.trim_ascii().is_empty() => {}
        Form::Table => table::read(gather, bytes, stem(name), rule),
        Form::Document => document(gather, name, bytes, rule),
        Form::Yaml => yaml(gather, bytes),
        Form::Lines => lines::read(gather, bytes, &whose(name, rule)),
        Form::Other => {}
    }
    take::span::mend(&mut gather.case.spans[spans..]);
    gather.assume = before;
    learn_year(gather);
    if !gather.end() && gather.gaps.len() == first {
        let reason = match form {
            _ if bytes.is_empty() => "an empty file",
            Form::Table => {
                "a table of no known shape: expected logs, spans, metrics (long, or a time and columns), calls or changes"
            }
            Form::Document | Form::Yaml => {
                "a document of no known shape: expected an alert, logs, metrics, spans, changes, events or Kubernetes objects"
            }
            Form::Lines => "text in which no line begins with a time",
            Form::Other => "not a form that is read (.json, .ndjson, .csv, .log, .yaml, also .gz and .zst)",
        };
        gather.gap(name, reason);
    }
}

/// Reads the logs of a cluster dump; what is left of the file, if it held any.
fn dumped(gather: &mut Gather, bytes: &[u8]) -> Option<Vec<u8>> {
    if !bytes.windows(DUMP_MARK.len()).any(|window| window == DUMP_MARK) {
        return None;
    }
    let text = String::from_utf8_lossy(bytes);
    let (rest, logs) = load::split_dump(&text, DUMP_LINES_MAX);
    for ((namespace, pod, container), tail) in logs {
        let whose = Whose { service: None, pod: Some(pod), namespace: Some(namespace), container: Some(container) };
        lines::read(gather, tail.lines.join("\n").as_bytes(), &whose);
    }
    Some(rest.into_owned().into_bytes())
}

/// The file's own name without its end.
fn stem(name: &str) -> &str {
    let file = name.rsplit('/').next().unwrap_or(name);
    file.split_once('.').map_or(file, |(stem, _)| stem)
}

fn form(name: &str, bytes: &[u8], rule: Option<&FileRule>) -> Form {
    let end = name.rsplit('/').next().unwrap_or(name).rsplit_once('.').map_or("", |(_, end)| end).to_ascii_lowercase();
    let head = &bytes[..bytes.len().min(PEEK_BYTES)];
    let begin = head.trim_ascii_start();
    let text = !head.contains(&0);
    match end.as_str() {
        "csv" | "tsv" => Form::Table,
        "json" => Form::Document,
        "yaml" | "yml" => Form::Yaml,
        "ndjson" | "jsonl" | "log" | "logs" | "out" | "err" => Form::Lines,
        "md" | "html" | "pdf" | "png" | "toml" if rule.is_none_or(|rule| rule.kind.is_none()) => Form::Other,
        _ if !text => Form::Other,
        _ if rule.and_then(|rule| rule.kind).is_some_and(|kind| kind != Kind::Log) && !begin.starts_with(b"{") => {
            Form::Table
        }
        _ if begin.starts_with(b"{") || begin.starts_with(b"[") => Form::Document,
        _ => Form::Lines,
    }
}

/// One JSON value, or one a line.
fn document(gather: &mut Gather, name: &str, bytes: &[u8], rule: Option<&FileRule>) {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut values = serde_json::Deserializer::from_slice(bytes).into_iter::<Value>();
    let mut read = Vec::new();
    let mut broken = None;
    for value in values.by_ref() {
        match value {
            Ok(value) => read.push(value),
            Err(error) => broken = Some(error),
        }
    }
    if let Some(error) = broken {
        if bytes.split(|b| *b == b'\n').filter(|line| line.trim_ascii().starts_with(b"{")).count() > 1
            && read.len() != 1
        {
            lines::read(gather, bytes, &whose(name, rule));
            return;
        }
        let line = u32::try_from(error.line()).unwrap_or(0);
        gather.problem(line, format!("not JSON from column {} on: {error}", error.column()));
    }
    let service = rule.and_then(|rule| rule.service.as_deref());
    for value in &read {
        json::document(gather, value, stem(name), service, rule.and_then(|rule| rule.kind));
    }
}

/// Kubernetes objects, and whatever else a document says.
fn yaml(gather: &mut Gather, bytes: &[u8]) {
    let (values, broken) = load::values(&String::from_utf8_lossy(bytes));
    for value in &values {
        if value["kind"].is_string() {
            json::document(gather, value, "", None, None);
        }
    }
    for what in broken {
        let line = what.split(|c: char| !c.is_ascii_digit()).find_map(|word| word.parse().ok());
        gather.problem(line.unwrap_or(0), what);
    }
}

/// Whose lines a file holds, by its place: `logs/NAMESPACE/POD/CONTAINER.log`, the kubelet's
/// `NAMESPACE_POD_UID/CONTAINER/0.log`, `logs/SERVICE/FILE.log`, else a service by the file's name.
fn whose(name: &str, rule: Option<&FileRule>) -> Whose {
    let service = rule.and_then(|rule| rule.service.clone());
    let parts: Vec<&str> = name.split('/').collect();
    let stem = stem(name).to_owned();
    if let [.., pod, container, file] = parts.as_slice()
        && file.split('.').next().is_some_and(|number| number.bytes().all(|b| b.is_ascii_digit()))
        && let [space, pod, _] = pod.split('_').collect::<Vec<_>>().as_slice()
    {
        let text = |text: &str| Some(text.to_owned());
        return Whose { service, pod: text(pod), namespace: text(space), container: text(container) };
    }
    match parts.as_slice() {
        ["logs" | "log", owner, _] => Whose { service: service.or(Some((*owner).to_owned())), ..Whose::default() },
        [.., space, pod, _] => {
            Whose { service, pod: Some((*pod).to_owned()), namespace: Some((*space).to_owned()), container: Some(stem) }
        }
        _ => Whose { service: service.or(Some(stem)), ..Whose::default() },
    }
}

/// Times without a year take that of what was read before.
fn learn_year(gather: &mut Gather) {
    if gather.assume.year.is_none() {
        let case = &gather.case;
        let known = case
            .logs
            .first()
            .map(|line| line.at_ms)
            .or_else(|| case.metrics.first()?.points.first().map(|point| point.0));
        let known = known
            .or_else(|| gather.alerts.first().and_then(|(alert, _)| alert.fired_ms))
            .or_else(|| case.changes.first().map(|change| change.at_ms));
        gather.assume.year = known.map(crate::time::year_of);
    }
}

fn finish(mut gather: Gather) -> Bundle {
    kubernetes::finish(&mut gather);
    let quiet = gather.alerts.iter().filter(|(_, firing)| !firing).map(|(alert, _)| alert.clone()).collect();
    gather.alerts.retain(|(_, firing)| *firing);
    gather.finish();
    skew::check(&mut gather);
    let mut gaps = gather.gaps;
    gaps.sort();
    gaps.dedup();
    Bundle {
        case: gather.case,
        objects: gather.collection,
        quiet_alerts: quiet,
        monitors: gather.monitors,
        files: gather.files,
        looked_at: gather.looked,
        not_looked_at: gaps,
        problems: gather.problems,
    }
}
