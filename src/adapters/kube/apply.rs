//! Doing a step once: look the key up, look at the object, write it in one request that carries the key and
//! the version it was read in, wait for it, write the answer down.
//!
//! A request without an answer is never guessed about: the object is read again, and its mark tells.

use std::sync::Arc;

use opsward_domain::action::{Action, ActionKind};
use opsward_domain::context::CallContext;
use opsward_domain::event::Outcome;
use opsward_domain::fault::{Code, Fault};
use opsward_domain::name::Workspace;
use opsward_domain::plan::Step;
use opsward_domain::resource::{Resource, ResourceState, ResourceVersion};
use opsward_ports::provider::memory::step_digest;
use serde_json::{Value, json};

use crate::change::{self, How, Live, Write, applied_digest, mark};
use crate::cluster::{Ask, Cluster, FIELD_MANAGER, Verb};
use crate::json::uid;
use crate::kinds::{AUTOSCALER, QUOTA, SERVICE};
use crate::ledger::{Entry, Left, Stage};
use crate::look::{Look, claim_version};
use crate::owner;
use crate::place::{self, Place};
use crate::provider::Inner;
use crate::refusal::{Refusal, Why};
use crate::rights;
use crate::workload::{Flavour, Found, version_of};

/// Longest key.
const KEY_BYTES_MAX: usize = 200;
/// Writes of one step that met somebody else's, or had no answer.
const WRITES_MAX: u32 = 5;
/// First wait between two of them; doubled each time.
const WAIT_MS: u64 = 200;

impl Inner {
    pub(crate) async fn apply(&self, cx: &CallContext, step: &Step, key: &str) -> Result<Outcome, Fault> {
        if key.is_empty() || key.len() > KEY_BYTES_MAX || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Fault::invalid("a key is 1 to 200 printable characters"));
        }
        step.action.validate()?;
        let _turn = self.turns.turn(cx.tenant(), key).await;
        let digest = step_digest(step);
        let known = self.recall(cx, key).await?;
        if known.as_ref().is_some_and(|entry| entry.digest != digest && entry.stage != Stage::Refused) {
            return Err(Fault::conflict("this key was used for another step"));
        }
        let left = match known.map(|entry| entry.stage) {
            Some(Stage::Done(outcome)) => return Ok(outcome),
            Some(Stage::Failed { fault, .. }) => return Err(fault),
            Some(Stage::Written { left }) => left,
            _ => {
                let left = self.commit(cx, step, key, &digest).await?;
                self.put(cx, step, key, &digest, Stage::Written { left: left.clone() }).await?;
                left
            }
        };
        let look = self.look(cx);
        match self.complete(&look, step, left.as_ref()).await {
            Ok(outcome) => {
                self.put(cx, step, key, &digest, Stage::Done(outcome.clone())).await?;
                Ok(outcome)
            }
            Err(fault) => {
                let version = left.map(|left| left.version);
                self.put(cx, step, key, &digest, Stage::Failed { fault: fault.clone(), version }).await?;
                Err(fault)
            }
        }
    }

    pub(crate) async fn lookup(&self, cx: &CallContext, key: &str) -> Result<Option<Outcome>, Fault> {
        let _turn = self.turns.turn(cx.tenant(), key).await;
        let Some(entry) = self.recall(cx, key).await? else { return Ok(None) };
        let told = |summary: String, version| Some(Outcome { summary, result: Value::Null, version });
        Ok(match entry.stage {
            Stage::Done(outcome) => Some(outcome),
            Stage::Written { left } => told(entry.summary, left.map(|left| left.version)),
            Stage::Failed { fault, version } => told(format!("done, but {fault}"), version),
            Stage::Refused => None,
            Stage::Intended { removes } => {
                let found = self.look(cx).resource(&entry.workspace, &entry.resource).await;
                let live = match found {
                    // A workspace that is gone has taken everything in it along.
                    Err(fault) if fault.code == Code::NotFound => Live::Nothing,
                    found => found?.1,
                };
                let version = live.object().map(|object| version(&entry.resource, object));
                let marked = live.object().is_some_and(|it| applied_digest(it, key).as_ref() == Some(&entry.digest));
                let removed = removes.is_some_and(|was| live.object().is_none_or(|it| uid(it) != was));
                if removed {
                    told(entry.summary, None)
                } else if marked {
                    told(entry.summary, version)
                } else {
                    None
                }
            }
        })
    }

    async fn recall(&self, cx: &CallContext, key: &str) -> Result<Option<Entry>, Fault> {
        let (ledger, tenant, key) = (self.ledger.clone(), cx.tenant().clone(), key.to_owned());
        let read = tokio::task::spawn_blocking(move || ledger.get(&tenant, &key)).await;
        read.map_err(|_| Fault::internal("the read died"))?
    }

    async fn put(&self, cx: &CallContext, step: &Step, key: &str, digest: &str, stage: Stage) -> Result<(), Fault> {
        let entry = Entry {
            key: key.to_owned(),
            digest: digest.to_owned(),
            workspace: step.workspace.clone(),
            resource: step.resource(),
            summary: summary(step),
            stage,
        };
        let (ledger, tenant) = (self.ledger.clone(), cx.tenant().clone());
        let write = tokio::task::spawn_blocking(move || ledger.put(&tenant, entry)).await;
        write.map_err(|_| Fault::internal("the write died"))?
    }

    /// Writes the step's object, once, and says how that left it.
    async fn commit(&self, cx: &CallContext, step: &Step, key: &str, digest: &str) -> Result<Option<Left>, Fault> {
        let look = self.look(cx);
        let left = |object: &Value| Some(Left::new(version(&step.resource(), object), object));
        let mut removes: Option<String> = None;
        let mut wait_ms = WAIT_MS;
        for _ in 0..WRITES_MAX {
            let (state, live) = look.resource(&step.workspace, &step.resource()).await?;
            if let Some(object) = live.object()
                && let Some(done) = applied_digest(object, key)
            {
                return match done == digest {
                    true => Ok(left(object)),
                    false => Err(Fault::conflict("this key was used for another step")),
                };
            }
            if removes.as_ref().is_some_and(|was| live.object().is_none_or(|it| uid(it) != was)) {
                return Ok(None);
            }
            check(step, &state)?;
            let place = place::place(&self.options, cx.tenant(), &step.workspace);
            look.refuse_dangling(&place, &step.action).await?;
            let write = look.draft(&place, &step.action, &step.workspace, &live, self.now()).await?;
            if let How::Remove { uid, .. } = &write.how {
                removes = Some(uid.clone());
            }
            self.put(cx, step, key, digest, Stage::Intended { removes: removes.clone() }).await?;
            match send(&look.cluster, &place, &write, Some((key, digest)), false).await {
                Ok(_) if removes.is_some() => return Ok(None),
                Ok(object) => return Ok(left(&object)),
                // Somebody else wrote meanwhile, which may have been a status only; or nobody knows.
                Err(refusal) if refusal.why == Why::Conflict || refusal.is_unsure() => {
                    self.clock.sleep_ms(wait_ms).await;
                    wait_ms = wait_ms.saturating_mul(2);
                }
                Err(refusal) => {
                    self.put(cx, step, key, digest, Stage::Refused).await?;
                    return Err(refusal.into());
                }
            }
        }
        Err(Fault::unavailable(format!("{} could not be written", step.resource()))
            .detail("the cluster answered with conflicts or not at all, again and again")
            .hint("try again when the cluster is calmer"))
    }

    /// Brings a written step about and says what became of it. May run twice.
    async fn complete(&self, look: &Look<'_>, step: &Step, left: Option<&Left>) -> Result<Outcome, Fault> {
        let clock = self.clock.as_ref();
        let (workspace, resource) = (&step.workspace, step.resource());
        let mut version = left.map(|left| left.version.clone());
        let result = match &step.action {
            Action::CreateWorkspace(create) => {
                look.ensure_quota(workspace, create.memory_bytes_max).await?;
                Value::Null
            }
            Action::DeleteWorkspace(_) | Action::DeleteWorkload(_) | Action::DeleteVolume(_) => {
                look.vanish(clock, workspace, &resource, None).await?;
                Value::Null
            }
            _ => match &resource {
                Resource::Workload(name) => {
                    look.ensure_service(workspace, &resource, &step.action).await?;
                    let scales = matches!(step.action, Action::ScaleWorkload(_));
                    let status = look.settle(clock, workspace, name, left, scales).await?;
                    version = Some(status.resource_version.clone());
                    json!({ "revision": status.revision, "ready": status.ready() })
                }
                _ => Value::Null,
            },
        };
        Ok(Outcome { summary: summary(step), result, version })
    }

    /// The time as annotations write it.
    pub(crate) fn now(&self) -> String {
        jiff::Timestamp::from_millisecond(self.clock.now_ms()).unwrap_or_default().to_string()
    }
}

impl Look<'_> {
    /// The write of an action, if nobody else looks after the object.
    async fn draft(
        &self,
        place: &Place,
        action: &Action,
        workspace: &Workspace,
        live: &Live,
        now: String,
    ) -> Result<Write, Fault> {
        if let Live::Workload(found) = live {
            let (autoscalers, _) = self.cluster.list_if_may(&AUTOSCALER, Some(&place.namespace), None).await?;
            owner::allows(action, found.flavour, &found.object, &autoscalers)?;
        } else if let Some(owner) = live.object().and_then(owner::of) {
            return Err(owner.refusal(action.resource().kind(), action.resource().name()));
        }
        if let Action::CreateWorkspace(_) = action
            && (place.mapped || !self.options.create_namespaces)
        {
            return Err(Fault::denied("workspaces are not made in this cluster")
                .hint("set create_namespaces = true, or name an existing namespace in the configuration"));
        }
        let scene = change::scene(place, self.tenant, workspace, self.options.storage_class.as_deref(), now);
        change::write(action, live, &scene)
    }

    /// What a deployment needs besides itself.
    async fn refuse_dangling(&self, place: &Place, action: &Action) -> Result<(), Fault> {
        let Action::DeployWorkload(deploy) = action else { return Ok(()) };
        for volume in &deploy.spec.volumes {
            if self.cluster.get(&crate::kinds::CLAIM, Some(&place.namespace), volume.as_str()).await?.is_none() {
                return Err(Fault::not_found(format!("there is no volume {volume}")).hint("create the volume first"));
            }
        }
        Ok(())
    }

    /// The state an action would lead to, by the cluster's own word: rights, owners, and a dry run.
    pub(crate) async fn rehearse(
        &self,
        workspace: &Workspace,
        action: &Action,
        now: String,
    ) -> Result<ResourceState, Fault> {
        let resource = action.resource();
        let (before, live) = self.resource(workspace, &resource).await?;
        let predicted = action.predict(&before)?;
        let place = place::place(self.options, self.tenant, workspace);
        let write = self.draft(&place, action, workspace, &live, now).await?;
        rights::require(&self.cluster, &ask(&place, &write)).await?;
        let object = send(&self.cluster, &place, &write, None, true).await?;
        let Resource::Workload(name) = &resource else { return Ok(predicted) };
        let found = match live {
            Live::Workload(found) => Found { object, ..*found },
            _ if predicted == ResourceState::Absent => return Ok(predicted),
            _ => {
                let none = Arc::new(Vec::new());
                let (kept, pods, services) = (none.clone(), none.clone(), none);
                Found { flavour: Flavour::Deployment, object, kept, pods, services }
            }
        };
        if predicted == ResourceState::Absent {
            return Ok(predicted);
        }
        let mut after = found.status(name);
        if let ResourceState::Workload(predicted) = &predicted {
            // The Service is made after the Deployment, so a dry run does not show it.
            after.spec.port |= predicted.spec.port;
        }
        Ok(ResourceState::Workload(Box::new(after)))
    }

    async fn ensure_quota(&self, workspace: &Workspace, memory_bytes_max: u64) -> Result<(), Fault> {
        let place = place::place(self.options, self.tenant, workspace);
        let ask = Ask::new(Verb::Create, &QUOTA, Some(&place.namespace), None)
            .with("fieldManager", FIELD_MANAGER)
            .body(place::quota(&place, memory_bytes_max));
        made(self.cluster.ask(&ask).await)
    }

    async fn ensure_service(&self, workspace: &Workspace, resource: &Resource, action: &Action) -> Result<(), Fault> {
        let Action::DeployWorkload(deploy) = action else { return Ok(()) };
        let (_, Live::Workload(found)) = self.resource(workspace, resource).await? else { return Ok(()) };
        let Some(service) = change::service(&found.object, &deploy.spec) else { return Ok(()) };
        let place = place::place(self.options, self.tenant, workspace);
        let ask = Ask::new(Verb::Create, &SERVICE, Some(&place.namespace), None)
            .with("fieldManager", FIELD_MANAGER)
            .body(service);
        made(self.cluster.ask(&ask).await)
    }
}

/// What is there already was made by an earlier try.
fn made(answer: Result<Value, Refusal>) -> Result<(), Fault> {
    match answer {
        Err(refusal) if refusal.why != Why::Exists => Err(refusal.into()),
        _ => Ok(()),
    }
}

/// The request of a write, without its body.
fn ask<'a>(place: &'a Place, write: &'a Write) -> Ask<'a> {
    let (verb, name) = match write.how {
        How::Create(_) => (Verb::Create, None),
        How::Replace(_) => (Verb::Update, Some(write.name.as_str())),
        How::Remove { .. } => (Verb::Delete, Some(write.name.as_str())),
    };
    Ask::new(verb, write.kind, Some(&place.namespace), name)
}

async fn send(
    cluster: &Cluster,
    place: &Place,
    write: &Write,
    key: Option<(&str, &str)>,
    dry_run: bool,
) -> Result<Value, Refusal> {
    let mut ask = ask(place, write);
    if dry_run {
        ask = ask.with("dryRun", "All");
    }
    let ask = match &write.how {
        How::Create(object) | How::Replace(object) => {
            let mut object = object.clone();
            match key {
                Some((key, digest)) => mark(&mut object, key, digest),
                // A rehearsal is about the wish, not about who writes a status meanwhile.
                None => drop(
                    crate::json::child(&mut object, "metadata").as_object_mut().map(|it| it.remove("resourceVersion")),
                ),
            }
            ask.with("fieldManager", FIELD_MANAGER).body(object)
        }
        How::Remove { uid, version } => ask.body(json!({
            "apiVersion": "v1", "kind": "DeleteOptions",
            // A workload is gone when its pods are.
            "propagationPolicy": if write.kind.group == "apps" { "Foreground" } else { "Background" },
            "preconditions": { "uid": uid, "resourceVersion": version },
        })),
    };
    cluster.ask(&ask).await
}

/// The version in which an object is left.
fn version(resource: &Resource, object: &Value) -> ResourceVersion {
    match resource {
        Resource::Volume(_) => claim_version(object),
        Resource::Workspace => ResourceVersion(uid(object).to_owned()),
        _ => version_of(object),
    }
}

/// Is the resource still as the plan saw it, and does the action make sense on it?
fn check(step: &Step, before: &ResourceState) -> Result<(), Fault> {
    let predicted = step.action.predict(before);
    if before.version() == step.expects.as_ref() {
        return predicted.map(|_| ());
    }
    Err(match (predicted, before) {
        (Err(fault), ResourceState::Absent) => fault,
        _ => Fault::conflict(format!("{} has changed since the plan was made", step.resource()))
            .hint("observe it again and make a new plan"),
    })
}

fn summary(step: &Step) -> String {
    let kind: ActionKind = step.action.kind();
    format!("{}: {}", kind.facts().name, step.resource())
}
