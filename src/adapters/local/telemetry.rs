//! What leaves the platform by itself: output and events from the shims' spools, samples from the
//! sampler. One batch is out at a time; it comes again until it is acknowledged. Output and events
//! survive the server; samples that it had not handed over are measured anew, not delivered again.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use opsward_domain::fault::Fault;
use opsward_domain::name::{Tenant, Workspace};
use opsward_domain::telemetry::{Level, LogLine, ReplicaEvent, Sample};
use opsward_ports::telemetry::{BATCH_ITEMS_MAX, Batch, TelemetrySource};

use crate::disk;
use crate::place::{Cursor, Place, lock};
use crate::provider::{Inner, LocalProvider};
use crate::spool::{self, Position, Record};

/// Silence after which a workspace is not heard, in sample intervals.
const SILENT_INTERVALS: i64 = 4;
/// How far into a line its level is looked for.
const LEVEL_BYTES_MAX: usize = 200;

/// A batch on its way, with what its acknowledgement will make durable.
struct Sent {
    batch: Batch,
    cursors: Vec<(Arc<Place>, Cursor)>,
}

#[derive(Default)]
struct Desk {
    sent: Option<Sent>,
    cursor: u64,
    /// The tenant served last; the next one comes first.
    last: Option<Tenant>,
}

/// What waits to leave.
pub(crate) struct Outbox {
    desk: tokio::sync::Mutex<Desk>,
    samples: Mutex<BTreeMap<Tenant, VecDeque<Sample>>>,
    samples_max: usize,
}

impl Outbox {
    pub(crate) fn new(samples_max: usize) -> Self {
        Self { desk: tokio::sync::Mutex::default(), samples: Mutex::default(), samples_max }
    }

    /// Adds samples of one tenant; beyond the bound the oldest go.
    pub(crate) fn add(&self, tenant: &Tenant, samples: Vec<Sample>) {
        let mut queues = lock(&self.samples);
        let queue = queues.entry(tenant.clone()).or_default();
        queue.extend(samples);
        let excess = queue.len().saturating_sub(self.samples_max);
        queue.drain(..excess);
    }

    fn take(&self, tenant: &Tenant, count: usize) -> Vec<Sample> {
        let mut queues = lock(&self.samples);
        let Some(queue) = queues.get_mut(tenant) else { return Vec::new() };
        let count = queue.len().min(count);
        queue.drain(..count).collect()
    }
}

impl Inner {
    /// The next tenant's batch that is not empty.
    fn collect(&self, desk: &Desk) -> Result<Option<Sent>, Fault> {
        let mut by_tenant: BTreeMap<Tenant, Vec<Arc<Place>>> = BTreeMap::new();
        for place in self.places() {
            by_tenant.entry(place.tenant.clone()).or_default().push(place);
        }
        let (before, after): (Vec<_>, Vec<_>) =
            by_tenant.into_iter().partition(|(tenant, _)| desk.last.as_ref().is_some_and(|last| tenant <= last));
        for (tenant, places) in after.into_iter().chain(before) {
            let sent = self.collect_tenant(tenant, places, desk.cursor + 1)?;
            let batch = &sent.batch;
            let items = batch.lines.len() + batch.samples.len() + batch.events.len();
            if items > 0 || batch.lost_lines > 0 {
                return Ok(Some(sent));
            }
        }
        Ok(None)
    }

    fn collect_tenant(&self, tenant: Tenant, places: Vec<Arc<Place>>, cursor: u64) -> Result<Sent, Fault> {
        let mut batch =
            Batch { tenant, lines: Vec::new(), samples: Vec::new(), events: Vec::new(), lost_lines: 0, cursor };
        let mut cursors = Vec::new();
        // Half of a batch belongs to samples, so that a flood of output cannot starve them.
        let mut room = BATCH_ITEMS_MAX / 2;
        for place in places {
            let before = *lock(&place.cursor);
            let logs = read_in(&mut batch, &place.workspace, &place.folder.logs(), before.logs, &mut room)?;
            let calls = read_in(&mut batch, &place.workspace, &place.folder.calls(), before.calls, &mut room)?;
            let after = Cursor { logs, calls };
            if after != before {
                cursors.push((place, after));
            }
        }
        batch.samples = self.outbox.take(&batch.tenant, BATCH_ITEMS_MAX / 2);
        Ok(Sent { batch, cursors })
    }
}

/// Adds what a spool has from `from` on; returns where it ends.
fn read_in(
    batch: &mut Batch,
    workspace: &Workspace,
    dir: &Path,
    from: Position,
    room: &mut usize,
) -> Result<Position, Fault> {
    let reading = spool::read(dir, from, *room);
    let reading = reading.map_err(|error| disk::fault("output cannot be read", dir, &error))?;
    *room = room.saturating_sub(reading.records.len());
    batch.lost_lines += reading.lost;
    for record in reading.records {
        sort_in(batch, workspace, record);
    }
    Ok(reading.end)
}

fn sort_in(batch: &mut Batch, workspace: &Workspace, record: Record) {
    let Record { workload, replica, at_ms, line, event } = record;
    let workspace = workspace.clone();
    if let Some(what) = event {
        batch.events.push(ReplicaEvent { workspace, workload, replica, at_ms, what });
    } else if let Some(text) = line {
        let level = level_of(&text);
        batch.lines.push(LogLine { workspace, workload, replica, at_ms, level, text });
    }
}

/// The level that a line states itself, in any of the usual places: a bare word in capitals or in
/// brackets, `level=warn`, `"level":"warn"`.
fn level_of(text: &str) -> Option<Level> {
    let head = &text[..text.floor_char_boundary(LEVEL_BYTES_MAX)];
    let mut after_key = false;
    for word in head.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()) {
        let known = match word.to_ascii_lowercase().as_str() {
            "trace" => Some(Level::Trace),
            "debug" => Some(Level::Debug),
            "info" | "notice" => Some(Level::Info),
            "warn" | "warning" => Some(Level::Warn),
            "error" | "err" => Some(Level::Error),
            "fatal" | "critical" | "panic" | "emerg" | "alert" | "crit" => Some(Level::Fatal),
            _ => None,
        };
        let bare = word.bytes().all(|byte| byte.is_ascii_uppercase()) || head.contains(&format!("[{word}]"));
        if known.is_some() && (after_key || bare) {
            return known;
        }
        after_key = matches!(word.to_ascii_lowercase().as_str(), "level" | "lvl" | "severity");
    }
    None
}

#[async_trait]
impl TelemetrySource for LocalProvider {
    async fn next(&self) -> Result<Batch, Fault> {
        let pause = Duration::from_millis(self.inner.options.poll_interval_ms);
        loop {
            {
                let mut desk = self.inner.outbox.desk.lock().await;
                if let Some(sent) = &desk.sent {
                    return Ok(sent.batch.clone());
                }
                if let Some(sent) = self.inner.collect(&desk)? {
                    let batch = sent.batch.clone();
                    desk.cursor = batch.cursor;
                    desk.last = Some(batch.tenant.clone());
                    desk.sent = Some(sent);
                    return Ok(batch);
                }
            }
            tokio::time::sleep(pause).await;
        }
    }

    async fn acknowledge(&self, cursor: u64) -> Result<(), Fault> {
        let mut desk = self.inner.outbox.desk.lock().await;
        let Some(sent) = desk.sent.take_if(|sent| sent.batch.cursor <= cursor) else { return Ok(()) };
        for (place, cursor) in sent.cursors {
            *lock(&place.cursor) = cursor;
            let path = place.folder.cursor();
            let kept = disk::encode(&cursor)
                .and_then(|bytes| disk::write_whole(&path, &bytes))
                .and_then(|()| spool::forget(&place.folder.logs(), cursor.logs))
                .and_then(|()| spool::forget(&place.folder.calls(), cursor.calls));
            match kept {
                // The workspace was removed meanwhile.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                kept => kept.map_err(|error| disk::fault("the cursor cannot be kept", &path, &error))?,
            }
        }
        Ok(())
    }

    async fn heard(&self, tenant: &Tenant, workspace: &Workspace) -> bool {
        let Ok(place) = self.inner.place(tenant, workspace) else { return false };
        let interval_ms = i64::try_from(self.inner.options.scrape_interval_ms).unwrap_or(i64::MAX);
        let silence_ms = self.inner.clock.now_ms().saturating_sub(place.link.heard_at_ms());
        silence_ms <= interval_ms.saturating_mul(SILENT_INTERVALS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_read_where_they_are_stated_and_nowhere_else() {
        for (text, level) in [
            ("2026-01-01 ERROR cannot connect", Some(Level::Error)),
            ("[warn] slow", Some(Level::Warn)),
            ("time=1 level=warning msg=\"an ERROR in text\"", Some(Level::Warn)),
            (r#"{"level":"info","msg":"x"}"#, Some(Level::Info)),
            (r#"{"severity": "CRITICAL"}"#, Some(Level::Fatal)),
            ("there was an error somewhere", None),
            ("informational", None),
            ("", None),
        ] {
            assert_eq!(level_of(text), level, "{text}");
        }
    }

    #[test]
    fn samples_are_bounded() {
        let outbox = Outbox::new(2);
        let tenant = Tenant::parse("acme").unwrap();
        let sample = |value| Sample {
            workspace: Workspace::parse("shop").unwrap(),
            workload: None,
            replica: None,
            metric: "m".into(),
            labels: BTreeMap::new(),
            at_ms: 0,
            value,
        };
        outbox.add(&tenant, vec![sample(1.0), sample(2.0), sample(3.0)]);
        let left: Vec<f64> = outbox.take(&tenant, 9).iter().map(|sample| sample.value).collect();
        assert_eq!(left, [2.0, 3.0]);
    }
}
