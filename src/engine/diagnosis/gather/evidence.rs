//! The citable side of a picture: one bounded, labelled piece for each thing that was looked at, with
//! the query that fetches it again. Text of workloads is quoted, never trusted.

use std::fmt::Write as _;

use opsward_domain::canonical;
use opsward_domain::evidence::{EXCERPT_BYTES_MAX, Evidence, EvidenceKind};
use opsward_domain::label::{Integrity, Label, Labelled, Source};
use opsward_domain::name::{Id, Workload};
use opsward_domain::telemetry::Lifecycle;
use opsward_domain::time::Window;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::Took;
use crate::diagnosis::picture::{Picture, SeriesByMetric, Topic};
use crate::diagnosis::traffic::measure;
use crate::diagnosis::words::{bytes, clock, percent, quoted};

/// Most lines of one excerpt.
const LINES_MAX: usize = 30;
/// Windows that an excerpt of metrics shows, oldest first.
const WINDOWS: i64 = 6;

struct Shelf<'a> {
    next: u32,
    took: &'a Took,
    kept: Vec<(Evidence, u64)>,
}

struct Piece {
    topic: Topic,
    kind: EvidenceKind,
    title: String,
    query: Value,
    window: Option<Window>,
    excerpt: String,
    label: Label,
    digest: String,
}

fn cut(mut text: String) -> String {
    if text.len() > EXCERPT_BYTES_MAX {
        let mut end = EXCERPT_BYTES_MAX - 4;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
    text
}

impl Shelf<'_> {
    fn put(&mut self, picture: &mut Picture, piece: Piece) {
        let Ok(id) = Id::parse(&format!("e{}", self.next)) else { return };
        self.next = self.next.saturating_add(1);
        let took_us = self.took.get(&piece.topic).copied().unwrap_or(0);
        picture.citations.put(piece.topic, id.clone());
        let evidence = Evidence {
            id,
            kind: piece.kind,
            title: piece.title,
            query: piece.query,
            window: piece.window,
            excerpt: Labelled::new(cut(piece.excerpt), piece.label),
            digest: piece.digest,
            at_ms: picture.now_ms,
        };
        self.kept.push((evidence, took_us));
    }
}

fn typed() -> Label {
    Label::of(Integrity::Typed)
}

fn state(picture: &Picture) -> Piece {
    let mut excerpt = String::new();
    for status in picture.workloads.iter().take(LINES_MAX) {
        let restarts: u64 = status.replicas.iter().map(|replica| u64::from(replica.restarts)).sum();
        let _ = writeln!(
            excerpt,
            "{}: {} of {} ready, revision {}, version {}, {restarts} restarts",
            status.name,
            status.ready(),
            status.spec.replicas,
            status.revision,
            quoted(&status.spec.version)
        );
    }
    Piece {
        topic: Topic::State,
        kind: EvidenceKind::State,
        title: format!("state of {} workloads", picture.workloads.len()),
        query: json!({"query": "workloads", "workspace": picture.workspace}),
        window: None,
        excerpt,
        label: typed(),
        digest: canonical::digest("opsward-evidence-1", &picture.workloads),
    }
}

fn volumes(picture: &Picture) -> Piece {
    let line = |volume: &opsward_domain::resource::VolumeStatus| {
        let share = volume.used_bytes as f64 / volume.size_bytes.max(1) as f64;
        let (used, size) = (bytes(volume.used_bytes as f64), bytes(volume.size_bytes as f64));
        format!("{}: {used} of {size} ({})\n", volume.name, percent(share))
    };
    Piece {
        topic: Topic::Volumes,
        kind: EvidenceKind::State,
        title: format!("use of {} volumes", picture.volumes.len()),
        query: json!({"query": "volumes", "workspace": picture.workspace}),
        window: None,
        excerpt: picture.volumes.iter().take(LINES_MAX).map(line).collect(),
        label: typed(),
        digest: canonical::digest("opsward-evidence-1", &picture.volumes),
    }
}

fn changes(picture: &Picture) -> Piece {
    let line = |change: &opsward_domain::cause::Change| {
        let on = change.workload.as_ref().map_or("the workspace", Workload::as_str);
        format!("{} {} on {on} by {}: {}\n", clock(change.at_ms), change.action, change.by, quoted(&change.summary))
    };
    Piece {
        topic: Topic::Changes,
        kind: EvidenceKind::Changes,
        title: format!("{} changes before the look", picture.changes.len()),
        query: json!({"query": "changes", "workspace": picture.workspace, "until_ms": picture.now_ms}),
        window: None,
        excerpt: picture.changes.iter().rev().take(LINES_MAX).map(line).collect(),
        label: typed(),
        digest: canonical::digest("opsward-evidence-1", &picture.changes),
    }
}

fn events(picture: &Picture) -> Piece {
    let line = |event: &opsward_domain::telemetry::ReplicaEvent| {
        let what = match &event.what {
            Lifecycle::Started => "started".to_owned(),
            Lifecycle::Ready => "became ready".to_owned(),
            Lifecycle::Unhealthy { reason } => format!("failed its health check: {}", quoted(reason)),
            Lifecycle::Exited { exit } => {
                format!("ended ({}; code {:?}, signal {:?})", quoted(&exit.reason), exit.code, exit.signal)
            }
        };
        format!("{} {} replica {} {what}\n", clock(event.at_ms), event.workload, event.replica)
    };
    let sources = picture
        .events
        .iter()
        .map(|event| Source::Workload { workspace: picture.workspace.clone(), workload: event.workload.clone() });
    Piece {
        topic: Topic::Events,
        kind: EvidenceKind::Events,
        title: format!("{} lifecycle events of replicas", picture.events.len()),
        query: json!({"query": "events", "workspace": picture.workspace, "window": picture.window}),
        window: Some(picture.window),
        excerpt: picture.events.iter().rev().take(LINES_MAX).map(line).collect(),
        label: Label { integrity: Integrity::Untrusted, sources: sources.collect() },
        digest: canonical::digest("opsward-evidence-1", &picture.events),
    }
}

/// Over the points themselves: a text form of a hundred thousand numbers would cost more than the look.
fn series_digest(series: &SeriesByMetric) -> String {
    let mut hash = Sha256::new();
    for (metric, list) in series {
        hash.update(metric.as_bytes());
        for one in list {
            hash.update([0]);
            for (key, value) in &one.labels {
                hash.update(key.as_bytes());
                hash.update([1]);
                hash.update(value.as_bytes());
            }
            hash.update(one.replica.unwrap_or(u32::MAX).to_le_bytes());
            for (at, value) in &one.points {
                hash.update(at.to_le_bytes());
                hash.update(value.to_bits().to_le_bytes());
            }
        }
    }
    hex::encode(hash.finalize())
}

fn metrics(picture: &Picture, name: &Workload) -> Option<Piece> {
    let series = picture.series.get(name)?;
    let length = (picture.window.length_ms() / WINDOWS).max(1);
    let mut excerpt = String::new();
    for back in (0..WINDOWS).rev() {
        let to_ms = picture.window.to_ms.saturating_sub(back * length);
        let found = measure(series, Window::before(to_ms, length));
        if found.requests > 0.0 {
            let p95 = found.p95_ms.map_or("unknown".to_owned(), |ms| format!("{ms:.0} ms"));
            let (n, share) = (found.requests, percent(found.error_ratio()));
            let _ = writeln!(excerpt, "until {}: {n:.0} requests, {share} failed, p95 {p95}", clock(to_ms));
        }
    }
    let names: Vec<&String> = series.keys().collect();
    if excerpt.is_empty() {
        let _ = writeln!(excerpt, "no request metrics; known: {}", names.len());
    }
    Some(Piece {
        topic: Topic::Metrics(name.clone()),
        kind: EvidenceKind::Metrics,
        title: format!("metrics of {name}"),
        query: json!({"query": "series", "workspace": picture.workspace, "workload": name, "metrics": names,
            "window": picture.window}),
        window: Some(picture.window),
        excerpt,
        label: typed(),
        digest: series_digest(series),
    })
}

fn logs(picture: &Picture, name: &Workload) -> Option<Piece> {
    let own: Vec<_> = picture.templates_now.iter().filter(|template| template.workload == *name).collect();
    if own.is_empty() {
        return None;
    }
    let line = |template: &&opsward_domain::telemetry::TemplateCount| {
        let earlier = picture.templates_before.iter();
        let before: u64 =
            earlier.filter(|t| t.workload == *name && t.template == template.template).map(|t| t.count).sum();
        format!("{} times ({before} before): {}\n", template.count, quoted(&template.sample))
    };
    let source = Source::Workload { workspace: picture.workspace.clone(), workload: name.clone() };
    Some(Piece {
        topic: Topic::Logs(name.clone()),
        kind: EvidenceKind::Logs,
        title: format!("{} log templates of {name} at warning or above, or without a level", own.len()),
        query: json!({"query": "templates", "workspace": picture.workspace, "workloads": [name], "level_min": "warn",
            "window": picture.incident, "compared_with": picture.baseline}),
        window: Some(picture.incident),
        excerpt: own.iter().take(LINES_MAX).map(line).collect(),
        label: Label::from(Integrity::Untrusted, source),
        digest: canonical::digest("opsward-evidence-1", &own),
    })
}

/// Makes the evidence of a picture and points its citations at it.
pub(super) fn collect(picture: &mut Picture, first: u32, took: &Took) -> Vec<(Evidence, u64)> {
    let mut pieces = Vec::new();
    if !picture.workloads.is_empty() {
        pieces.push(state(picture));
    }
    if !picture.volumes.is_empty() {
        pieces.push(volumes(picture));
    }
    if !picture.changes.is_empty() {
        pieces.push(changes(picture));
    }
    if !picture.events.is_empty() {
        pieces.push(events(picture));
    }
    for status in &picture.workloads {
        pieces.extend(metrics(picture, &status.name));
        pieces.extend(logs(picture, &status.name));
    }
    let mut shelf = Shelf { next: first.max(1), took, kept: Vec::with_capacity(pieces.len()) };
    for piece in pieces {
        shelf.put(picture, piece);
    }
    shelf.kept
}
