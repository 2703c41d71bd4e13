//! What a run may look at, by name. Each look passes the gate, yields a value with its label, and raises
//! the run's high-water mark by it. Never changes anything.

use std::sync::Arc;

use async_trait::async_trait;
use opsward_domain::context::CallContext;
use opsward_domain::fault::Fault;
use opsward_domain::label::{Integrity, Label, Source};
use opsward_domain::name::{Workload, Workspace};
use opsward_domain::telemetry::{Level, LogQuery, SeriesQuery};
use opsward_domain::time::Window;
use opsward_ports::provider::{Observation, Query};
use opsward_ports::runner::{Observer, Reply};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::changes::Changes;
use crate::facade::Setup;
use crate::investigate::Senses;
use crate::looks::{Answer, Looks, Seen};
use crate::parts::Parts;

/// The observation functions, each with the word policies know it by.
pub const OBSERVATIONS: &[(&str, &str, &str)] = &[
    ("workloads", "state", "every workload with its replicas"),
    ("volumes", "state", "every volume with its size and use"),
    ("functions", "state", "every function with its versions"),
    ("backups", "state", "every backup"),
    ("changes", "changes", "deploys, configuration and scaling, newest last; {minutes}"),
    ("logs", "logs", "matching lines; {text, workload, minutes, level, limit}"),
    ("log_templates", "logs", "matching lines grouped by template; same arguments as logs"),
    ("metrics", "metrics", "one metric's series; {metric, workload, minutes}"),
    ("metric_names", "metrics", "the metrics there are"),
    ("platform_events", "state", "what the platform noted by itself, where it does; {workload}"),
    ("platform_objects", "state", "the platform's own objects of a kind, where it has such; {kind}"),
    ("live_output", "logs", "a workload's newest output, read in place; {workload, previous, limit}"),
    ("output", "logs", "lines of an earlier large output; {digest, text, limit}"),
];

/// The policy word of an observation.
pub fn what(name: &str) -> Option<&'static str> {
    OBSERVATIONS.iter().find(|(known, _, _)| *known == name).map(|(_, what, _)| *what)
}

const MINUTES_DEFAULT: i64 = 15;
const MINUTES_MAX: i64 = 7 * 24 * 60;
const LINES_MAX: usize = 200;
const POINTS_SHOWN_MAX: usize = 60;
const OUTPUT_LINES_MAX: usize = 100;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Arguments {
    text: String,
    workload: Option<Workload>,
    minutes: Option<i64>,
    level: Option<Level>,
    limit: Option<usize>,
    metric: String,
    digest: String,
    kind: String,
    previous: bool,
}

/// A look's result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Looked {
    /// What was seen.
    pub value: Value,
    /// How far it may be trusted.
    pub label: Label,
}

/// Looks on behalf of one run.
pub struct Looking {
    setup: Arc<Setup>,
    senses: Arc<dyn Senses>,
    cx: CallContext,
    workspace: Workspace,
    allowed: Vec<String>,
    mark: Mutex<Label>,
    looks: Looks,
}

impl Looking {
    /// Looks as `cx` in `workspace`, only at what `allowed` names.
    pub fn new(
        setup: Arc<Setup>,
        senses: Arc<dyn Senses>,
        cx: CallContext,
        workspace: Workspace,
        allowed: Vec<String>,
    ) -> Self {
        let mark = Mutex::new(Label::of(Integrity::Typed));
        Self { setup, senses, cx, workspace, allowed, mark, looks: Looks::default() }
    }

    /// Everything seen so far, joined.
    pub async fn mark(&self) -> Label {
        self.mark.lock().await.clone()
    }

    /// Takes what was seen so far, with the answers.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.looks.take()
    }

    /// Looks once.
    pub async fn look(&self, name: &str, args: Value) -> Result<Looked, Fault> {
        let word = what(name).filter(|_| self.allowed.iter().any(|allowed| allowed == name));
        let Some(word) = word else {
            return Err(Fault::denied(format!("this tool may not look at {name:?}")));
        };
        self.setup.may_observe(&self.cx, Some(&self.workspace), word).await?;
        let found = self.senses.look(&self.cx, &self.workspace, name, &args).await;
        let answer = match &found {
            Ok(looked) => Answer::Saw(looked.clone()),
            Err(fault) => Answer::Failed(fault.clone()),
        };
        self.looks.push(name, args, answer);
        let looked = found?;
        self.mark.lock().await.join(&looked.label);
        Ok(looked)
    }
}

/// One look at the stores, already allowed.
pub(crate) struct Glance<'a> {
    pub(crate) parts: &'a Parts,
    pub(crate) changes: &'a Changes,
    pub(crate) cx: &'a CallContext,
    pub(crate) workspace: &'a Workspace,
}

impl Glance<'_> {
    /// Answers one observation by name.
    pub(crate) async fn look(&self, name: &str, args: &Value) -> Result<Looked, Fault> {
        let args: Arguments = match args {
            Value::Null => Arguments::default(),
            other => serde_json::from_value(other.clone())
                .map_err(|error| Fault::invalid(format!("arguments of {name}: {error}")))?,
        };
        self.dispatch(name, &args).await
    }

    async fn dispatch(&self, name: &str, args: &Arguments) -> Result<Looked, Fault> {
        let workspace = self.workspace.clone();
        match name {
            "workloads" => self.state(Query::Workloads { workspace }).await,
            "volumes" => self.state(Query::Volumes { workspace }).await,
            "functions" => self.state(Query::Functions { workspace }).await,
            "backups" => self.state(Query::Backups { workspace }).await,
            "changes" => {
                let window = self.window(args);
                let list = self.changes.list(self.cx.tenant(), self.workspace, window);
                Ok(Looked { value: json!(list), label: Label::of(Integrity::Typed) })
            }
            "logs" => {
                let hits = self.parts.logs.search(self.cx, &self.log_query(args)).await?;
                let lines: Vec<Value> = hits.iter().map(|hit| json!(hit.line)).collect();
                let label = self.lines_label(hits.iter().map(|hit| &hit.line.workload));
                Ok(Looked { value: json!(lines), label })
            }
            "log_templates" => {
                let counts = self.parts.logs.templates(self.cx, &self.log_query(args)).await?;
                let label = self.lines_label(counts.iter().map(|count| &count.workload));
                Ok(Looked { value: json!(counts), label })
            }
            "metrics" => self.metrics(args).await,
            "metric_names" => {
                let names = self.parts.series.names(self.cx, self.workspace).await?;
                Ok(Looked { value: json!(names), label: Label::of(Integrity::Typed) })
            }
            "platform_events" => {
                let query = Query::Events { workspace, workload: args.workload.clone() };
                Ok(Looked { label: self.lines_label(args.workload.iter()), ..self.state(query).await? })
            }
            "platform_objects" => {
                let query = Query::Objects { workspace, kind: args.kind.clone() };
                Ok(Looked { label: Label::of(Integrity::Untrusted), ..self.state(query).await? })
            }
            "live_output" => self.live_output(args).await,
            "output" => self.output(args).await,
            _ => Err(Fault::not_found(format!("there is no observation {name:?}"))),
        }
    }

    async fn state(&self, query: Query) -> Result<Looked, Fault> {
        let value = match self.parts.provider.observe(self.cx, &query).await? {
            Observation::Workloads(mut list) => {
                // File bodies and old specs say nothing that a digest and a number do not.
                list.iter_mut().for_each(|workload| {
                    workload.spec.files.values_mut().for_each(|body| {
                        *body = format!("sha256:{}", &opsward_domain::canonical::digest_bytes(body.as_bytes())[..12]);
                    });
                    workload.revisions.iter_mut().for_each(|revision| revision.spec.files.clear());
                });
                json!(list)
            }
            Observation::Volumes(list) => json!(list),
            Observation::Functions(list) => json!(list),
            Observation::Backups(list) => json!(list),
            Observation::Objects(found) => json!(found),
            Observation::Events(list) => json!(list),
            Observation::Output(found) => json!(found),
            other => json!(other),
        };
        Ok(Looked { value, label: Label::of(Integrity::Typed) })
    }

    fn window(&self, args: &Arguments) -> Window {
        let minutes = args.minutes.unwrap_or(MINUTES_DEFAULT).clamp(1, MINUTES_MAX);
        Window::before(self.parts.clock.now_ms() + 1, minutes * 60_000)
    }

    fn log_query(&self, args: &Arguments) -> LogQuery {
        LogQuery {
            workspace: self.workspace.clone(),
            workloads: args.workload.iter().cloned().collect(),
            window: self.window(args),
            level_min: args.level,
            text: args.text.clone(),
            template: None,
            limit: args.limit.unwrap_or(50).clamp(1, LINES_MAX),
        }
    }

    /// Log text is written by whoever can make a workload log something.
    fn lines_label<'a>(&self, workloads: impl Iterator<Item = &'a Workload>) -> Label {
        let mut label = Label::of(Integrity::Untrusted);
        label
            .sources
            .extend(workloads.map(|w| Source::Workload { workspace: self.workspace.clone(), workload: w.clone() }));
        label
    }

    async fn metrics(&self, args: &Arguments) -> Result<Looked, Fault> {
        if args.metric.is_empty() {
            return Err(Fault::invalid("metrics needs a metric's name").hint("metric_names lists them"));
        }
        let query = SeriesQuery {
            workspace: self.workspace.clone(),
            workload: args.workload.clone(),
            metric: args.metric.clone(),
            labels: std::collections::BTreeMap::new(),
            window: self.window(args),
        };
        let mut series = self.parts.series.range(self.cx, &query).await?;
        for one in &mut series {
            let every = one.points.len().div_ceil(POINTS_SHOWN_MAX).max(1);
            one.points = one.points.iter().copied().step_by(every).collect();
        }
        Ok(Looked { value: json!(series), label: Label::of(Integrity::Typed) })
    }

    async fn live_output(&self, args: &Arguments) -> Result<Looked, Fault> {
        let workload = args.workload.clone().ok_or_else(|| Fault::invalid("live_output needs a workload"))?;
        let lines_max = u32::try_from(args.limit.unwrap_or(50).clamp(1, LINES_MAX)).unwrap_or(u32::MAX);
        let label = self.lines_label(std::iter::once(&workload));
        let (workspace, previous) = (self.workspace.clone(), args.previous);
        let looked = self.state(Query::Output { workspace, workload, previous, lines_max }).await?;
        Ok(Looked { label, ..looked })
    }

    async fn output(&self, args: &Arguments) -> Result<Looked, Fault> {
        let bytes = self.parts.journal.get_blob(self.cx, &args.digest).await.map_err(crate::parts::journal_fault)?;
        let bytes = bytes.ok_or_else(|| Fault::not_found("there is no kept output with that digest"))?;
        let text = String::from_utf8_lossy(&bytes);
        let limit = args.limit.unwrap_or(20).clamp(1, OUTPUT_LINES_MAX);
        let wanted = args.text.to_lowercase();
        let lines: Vec<&str> = text.lines().filter(|line| line.to_lowercase().contains(&wanted)).take(limit).collect();
        Ok(Looked { value: json!(lines), label: Label::of(Integrity::Untrusted) })
    }
}

#[async_trait]
impl Observer for Looking {
    async fn observe(&self, query: &str, args: Value) -> Reply {
        match self.look(query, args).await {
            Ok(looked) => Reply::Value(looked.value),
            Err(fault) => Reply::Refused {
                code: serde_json::to_value(fault.code)
                    .ok()
                    .and_then(|v| v.as_str().map(str::to_owned))
                    .unwrap_or_default(),
                message: fault.to_string(),
            },
        }
    }
}
