//! The log store's twin in memory: obvious rather than fast. Never durable, never for production.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use opsward_domain::context::CallContext;
use opsward_domain::fault::{Code, Fault};
use opsward_domain::name::{Tenant, Workload};
use opsward_domain::telemetry::{Level, LogHit, LogLine, LogQuery, TemplateCount};
use opsward_domain::time::AtMs;

use super::text::TextFilter;
use super::{GroupField, HITS_MAX, Logs, level, text};

/// Most lines kept of one tenant; more are refused.
pub const LINES_MAX: usize = 1_000_000;

#[derive(Default)]
struct Tenancy {
    /// In order of arrival.
    hits: Vec<LogHit>,
    ids: HashMap<String, u64>,
    texts: Vec<String>,
}

/// Log lines in memory, by tenant.
#[derive(Default)]
pub struct MemoryLogs(Mutex<HashMap<Tenant, Tenancy>>);

impl MemoryLogs {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn with<T>(&self, cx: &CallContext, run: impl FnOnce(&mut Tenancy) -> T) -> T {
        let mut tenants = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        run(tenants.entry(cx.tenant().clone()).or_default())
    }

    /// The matching hits, oldest first, ties in order of arrival.
    fn matching(&self, cx: &CallContext, query: &LogQuery) -> Result<Vec<LogHit>, Fault> {
        let filter = TextFilter::parse(&query.text)?;
        let mut found: Vec<LogHit> = self.with(cx, |tenancy| {
            let wanted = |hit: &&LogHit| selects(query, hit) && filter.matches(&hit.line.text);
            tenancy.hits.iter().filter(wanted).cloned().collect()
        });
        found.sort_by_key(|hit| hit.line.at_ms);
        Ok(found)
    }
}

/// True if `hit` passes every filter of `query` but the text.
fn selects(query: &LogQuery, hit: &LogHit) -> bool {
    let line = &hit.line;
    query.workspace == line.workspace
        && (query.workloads.is_empty() || query.workloads.contains(&line.workload))
        && query.window.contains(line.at_ms)
        && query.level_min.is_none_or(|min| line.level.unwrap_or(Level::Info) >= min)
        && query.template.is_none_or(|template| hit.template == template)
}

/// Cuts out every word with a digit: the simplest template that is one.
fn split(text: &str) -> (String, Vec<String>) {
    let (mut template, mut params) = (String::new(), Vec::new());
    for (index, piece) in text.split(' ').enumerate() {
        if index > 0 {
            template.push(' ');
        }
        if piece.bytes().any(|b| b.is_ascii_digit()) {
            template.push_str("<*>");
            params.push(piece.to_owned());
        } else {
            template.push_str(piece);
        }
    }
    (template, params)
}

#[async_trait]
impl Logs for MemoryLogs {
    async fn ingest(&self, cx: &CallContext, lines: Vec<LogLine>) -> Result<(), Fault> {
        self.with(cx, |tenancy| {
            if tenancy.hits.len() + lines.len() > LINES_MAX {
                return Err(Fault::new(Code::TooMany, "the memory log store is full"));
            }
            for mut line in lines {
                line.text = text::bounded(&line.text).into_owned();
                line.level = line.level.or_else(|| level::of(&line.text));
                let (text, params) = split(&line.text);
                let next = tenancy.texts.len() as u64 + 1;
                let template = *tenancy.ids.entry(text.clone()).or_insert(next);
                if template == next {
                    tenancy.texts.push(text);
                }
                tenancy.hits.push(LogHit { line, template, params });
            }
            Ok(())
        })
    }

    async fn search(&self, cx: &CallContext, query: &LogQuery) -> Result<Vec<LogHit>, Fault> {
        let mut found = self.matching(cx, query)?;
        found.drain(..found.len().saturating_sub(query.limit.min(HITS_MAX)));
        Ok(found)
    }

    async fn histogram(&self, cx: &CallContext, query: &LogQuery, bucket_ms: i64) -> Result<Vec<(AtMs, u64)>, Fault> {
        let count = super::buckets(query, bucket_ms)?;
        let from_ms = query.window.from_ms;
        let mut counts: Vec<(AtMs, u64)> =
            (0..count as i64).map(|i| (from_ms.saturating_add(i.saturating_mul(bucket_ms)), 0)).collect();
        for hit in self.matching(cx, query)? {
            let bucket = hit.line.at_ms.saturating_sub(from_ms) / bucket_ms;
            counts[bucket as usize].1 += 1;
        }
        Ok(counts)
    }

    async fn group(&self, cx: &CallContext, query: &LogQuery, by: GroupField) -> Result<Vec<(String, u64)>, Fault> {
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for hit in self.matching(cx, query)? {
            let value = match by {
                GroupField::Workload => hit.line.workload.to_string(),
                GroupField::Level => hit.line.level.map_or("unknown", level::word).to_owned(),
                GroupField::Template => hit.template.to_string(),
            };
            *counts.entry(value).or_default() += 1;
        }
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        Ok(counts)
    }

    async fn templates(&self, cx: &CallContext, query: &LogQuery) -> Result<Vec<TemplateCount>, Fault> {
        let mut counts: BTreeMap<(u64, Workload), TemplateCount> = BTreeMap::new();
        for LogHit { line, template, .. } in self.matching(cx, query)? {
            let text = self.with(cx, |tenancy| tenancy.texts[template as usize - 1].clone());
            let entry = counts.entry((template, line.workload.clone())).or_insert_with(|| TemplateCount {
                template,
                text,
                workload: line.workload.clone(),
                level: line.level,
                count: 0,
                first_ms: line.at_ms,
                last_ms: line.at_ms,
                sample: String::new(),
            });
            entry.count += 1;
            entry.level = entry.level.max(line.level);
            entry.last_ms = line.at_ms;
            entry.sample = line.text;
        }
        let mut counts: Vec<_> = counts.into_values().collect();
        counts.sort_by_key(|entry| std::cmp::Reverse(entry.count));
        counts.truncate(query.limit.min(HITS_MAX));
        Ok(counts)
    }

    async fn expire(&self, cx: &CallContext, before_ms: AtMs) -> Result<u64, Fault> {
        Ok(self.with(cx, |tenancy| {
            let had = tenancy.hits.len();
            tenancy.hits.retain(|hit| hit.line.at_ms >= before_ms);
            (had - tenancy.hits.len()) as u64
        }))
    }
}

#[cfg(all(test, feature = "conformance"))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn conforms() {
        crate::logs::conformance::all(|| async { MemoryLogs::new() }).await;
    }
}
