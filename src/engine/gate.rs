//! The one place that asks policy. Allow < Ask < Deny, the strictest wins; an error is a Deny.
//! Holds the seal: nothing else can make an `Authorized<Step>`.

use std::collections::BTreeSet;
use std::sync::Arc;

use opsward_domain::context::{CallContext, Origin};
use opsward_domain::decision::{Approvers, Decision, Verdict};
use opsward_domain::effect::{Effect, Risk};
use opsward_domain::fault::Fault;
use opsward_domain::label::{Integrity, Label, Source};
use opsward_domain::name::{Subject, Workspace};
use opsward_domain::plan::{Plan, Step};
use opsward_domain::principal::{Kind, Principal, Role};
use opsward_domain::resource::ResourceVersion;
use opsward_domain::seal::{Authorized, GateSeal};
use opsward_ports::policy::{Answer, Approver, Policy, Question, Verb};
use opsward_ports::runner::Runner;

/// Facts about the world around a question that the caller cannot claim.
#[derive(Debug, Clone)]
pub struct Setting {
    /// True if the workspace is one of the caller's tenant.
    pub workspace_is_ours: bool,
    /// The workspaces of the caller's tenant, as far as the question needs them.
    pub ours: BTreeSet<Workspace>,
    /// People of the tenant with a role in the workspace.
    pub members: Vec<Principal>,
    /// True if a switch forbids effects there.
    pub switched_off: bool,
}

/// What a plan's steps were decided to be.
#[derive(Debug, Clone, PartialEq)]
pub struct PlanDecision {
    /// The strictest of all steps.
    pub overall: Decision,
    /// Each step's.
    pub steps: Vec<Decision>,
    /// Digest of the policy set that decided.
    pub policy_set: String,
    /// True if nothing but a switch stands in the way.
    pub only_switch: bool,
}

/// The gate.
pub struct Gate {
    seal: GateSeal,
    policy: Arc<dyn Policy>,
    runner: Arc<dyn Runner>,
}

impl Gate {
    /// A gate over a policy engine; `seal` is forged by the composition root for it alone.
    pub fn new(seal: GateSeal, policy: Arc<dyn Policy>, runner: Arc<dyn Runner>) -> Self {
        Self { seal, policy, runner }
    }

    /// Digest of the policy set in force.
    pub fn policy_set(&self) -> String {
        self.policy.set_digest()
    }

    /// May the caller do what `verb` says (an observation, or something about the service itself) there?
    pub async fn must(
        &self,
        cx: &CallContext,
        setting: &Setting,
        workspace: Option<&Workspace>,
        verb: Verb,
    ) -> Result<(), Fault> {
        let question = self.question(cx, setting, workspace, verb, &Label::of(Integrity::Operator));
        let answer = self.ask(&question).await;
        if answer.allowed && answer.errors.is_empty() {
            return Ok(());
        }
        let decision = self.refusal(&question, &answer);
        Err(Fault::denied(decision.reason).detail(format!("policy {}", decision.policies.join(", "))))
    }

    /// Decides a whole plan for its asker, under what influenced the run and who said yes so far.
    pub async fn decide(
        &self,
        cx: &CallContext,
        setting: &Setting,
        plan: &Plan,
        influence: &Label,
        approvers: &[Approver],
    ) -> PlanDecision {
        let mut steps = Vec::with_capacity(plan.steps.len());
        let mut only_switch = setting.switched_off;
        for step in &plan.steps {
            let questions = self.step_questions(cx, setting, step, influence, approvers);
            steps.push(self.decide_all(&questions).await);
            if setting.switched_off {
                let open = |question| Question { switched_off: false, ..question };
                let open: Vec<Question> = questions.into_iter().map(open).collect();
                only_switch &= self.decide_all(&open).await.verdict != Verdict::Deny;
            }
        }
        let overall = Decision::strictest(steps.clone());
        PlanDecision { overall, steps, policy_set: self.policy_set(), only_switch }
    }

    /// Decides one step again, with the people who said yes, and wraps it if it may be done now.
    pub async fn authorize(
        &self,
        cx: &CallContext,
        setting: &Setting,
        step: &Step,
        influence: &Label,
        approvers: &[Approver],
    ) -> Result<Authorized<Step>, Decision> {
        let decision = self.decide_all(&self.step_questions(cx, setting, step, influence, approvers)).await;
        match decision.verdict {
            Verdict::Allow => Ok(Authorized::new(&self.seal, step.clone())),
            Verdict::Ask { .. } | Verdict::Deny => Err(decision),
        }
    }

    /// Wraps the recorded inverse of a step that was authorised and took effect. The right to take back
    /// is part of the right to do; a switch still stops it.
    pub async fn authorize_undo(
        &self,
        setting: &Setting,
        step: &Step,
        expects: Option<ResourceVersion>,
    ) -> Result<Authorized<Step>, Decision> {
        let Some(undo) = &step.undo else {
            return Err(Decision::deny("gate.no-inverse", "the step has no recorded inverse"));
        };
        if setting.switched_off {
            return Err(Decision::deny("gate.switch", "a switch forbids every effect, taking back included"));
        }
        let inverse = Step { action: undo.clone(), expects, diff: Vec::new(), undo: None, ..step.clone() };
        Ok(Authorized::new(&self.seal, inverse))
    }

    /// The strictest of all answers.
    async fn decide_all(&self, questions: &[Question]) -> Decision {
        let mut decisions = Vec::with_capacity(questions.len());
        for question in questions {
            decisions.push(self.decide_question(question).await);
        }
        Decision::strictest(decisions)
    }

    /// Allow if permitted now; Ask if permitted with one of the hypothetical groups of approvers, weakest
    /// group first; Deny otherwise.
    async fn decide_question(&self, question: &Question) -> Decision {
        let plain = self.ask(question).await;
        if !plain.errors.is_empty() {
            return Decision::deny(
                "gate.error",
                format!("a policy erred, so nothing is allowed: {}", plain.errors.join("; ")),
            );
        }
        if plain.allowed {
            let reason = self.advise(&plain, "allowed");
            return Decision { verdict: Verdict::Allow, policies: plain.policies, reason };
        }
        // What stays in the way even of the strongest yes is the reason worth telling.
        let mut last = plain;
        if question.approvers.is_empty() {
            for (approvers, group) in hypothetical(question) {
                let answer = self.ask(&Question { approvers: group, ..question.clone() }).await;
                if answer.allowed && answer.errors.is_empty() {
                    let count = match approvers.people {
                        1 => "one person".to_owned(),
                        several => format!("{several} people"),
                    };
                    let who = if approvers.not_asker { "other than the asker" } else { "(the asker counts)" };
                    let reason = format!("needs the yes of {count} {who}");
                    return Decision { verdict: Verdict::Ask { approvers }, policies: answer.policies, reason };
                }
                last = answer;
            }
        }
        self.refusal(question, &last)
    }

    async fn ask(&self, question: &Question) -> Answer {
        match self.policy.ask(question).await {
            Ok(answer) => answer,
            Err(fault) => Answer { allowed: false, policies: Vec::new(), errors: vec![fault.to_string()] },
        }
    }

    fn refusal(&self, question: &Question, answer: &Answer) -> Decision {
        if !answer.errors.is_empty() {
            return Decision::deny("gate.error", format!("a policy erred: {}", answer.errors.join("; ")));
        }
        if answer.policies.is_empty() {
            let role = question.role.map_or("no role", Role::word);
            let what = match &question.verb {
                Verb::Observe { what } => format!("observe {what}"),
                Verb::Act { action } => action.clone(),
                Verb::Govern { what } => what.clone(),
            };
            return Decision::deny(
                "gate.default-deny",
                format!("no policy lets {} with {role} here do {what}", question.subject),
            );
        }
        let reason = self.advise(answer, "refused by policy");
        Decision { verdict: Verdict::Deny, policies: answer.policies.clone(), reason }
    }

    fn advise(&self, answer: &Answer, otherwise: &str) -> String {
        let lines: Vec<String> = answer.policies.iter().filter_map(|id| self.policy.advice(id)).collect();
        if lines.is_empty() { otherwise.to_owned() } else { lines.join("; ") }
    }

    /// The question about a step, and the same one about the other workspace that it reads from, if any: what
    /// one may not do there, one may not carry out of there.
    fn step_questions(
        &self,
        cx: &CallContext,
        setting: &Setting,
        step: &Step,
        influence: &Label,
        approvers: &[Approver],
    ) -> Vec<Question> {
        let here = self.step_question(cx, setting, step, influence, approvers);
        let Some((Some(other), resource)) = step.action.source() else { return vec![here] };
        if *other == step.workspace {
            return vec![here];
        }
        let there = Setting { workspace_is_ours: setting.ours.contains(other), ..setting.clone() };
        let base = self.question(cx, &there, Some(other), here.verb.clone(), influence);
        let there = Question {
            role: base.role,
            workspace: base.workspace,
            resource_tenant: base.resource_tenant,
            members: base.members,
            resource_kind: resource.kind().to_owned(),
            resource_name: resource.name().to_owned(),
            ..here.clone()
        };
        vec![here, there]
    }

    fn step_question(
        &self,
        cx: &CallContext,
        setting: &Setting,
        step: &Step,
        influence: &Label,
        approvers: &[Approver],
    ) -> Question {
        let facts = step.action.kind().facts();
        let verb = Verb::Act { action: facts.name.to_owned() };
        let mut question = self.question(cx, setting, Some(&step.workspace), verb, influence);
        let resource = step.resource();
        question.effect = facts.effect;
        question.risk = step.risk();
        question.resource_kind = resource.kind().to_owned();
        question.resource_name = resource.name().to_owned();
        question.sources_may = sources_may(influence, step);
        question.approvers = approvers.to_vec();
        question.blast_percent = step.blast.replicas_percent;
        question.reversible = step.undo.is_some() || facts.undo == opsward_domain::effect::Undo::Unneeded;
        question
    }

    fn question(
        &self,
        cx: &CallContext,
        setting: &Setting,
        workspace: Option<&Workspace>,
        verb: Verb,
        influence: &Label,
    ) -> Question {
        let principal = &cx.principal;
        let role = workspace.map_or(principal.tenant_role, |name| principal.role_in(name));
        let ours = workspace.is_none() || setting.workspace_is_ours;
        let tenant = principal.tenant.clone();
        // A workspace that is not the caller's belongs to nobody the caller may know of.
        let resource_tenant = if ours { tenant.clone() } else { foreign(&tenant) };
        Question {
            subject: principal.subject.clone(),
            kind: principal.kind,
            tenant,
            role,
            origin: cx.origin,
            verb,
            effect: Effect::Observe,
            risk: Risk(0),
            resource_kind: "workspace".to_owned(),
            resource_name: String::new(),
            workspace: workspace.cloned(),
            resource_tenant,
            integrity: influence.integrity,
            sources_may: true,
            approvers: Vec::new(),
            members: u32::try_from(people(setting, workspace).count()).unwrap_or(u32::MAX),
            blast_percent: 0,
            reversible: true,
            switched_off: setting.switched_off,
            attested: self.runner.attestation().passed(),
        }
    }
}

/// A tenant name that is never `tenant`: stands for "not yours", whoever it is.
fn foreign(tenant: &opsward_domain::name::Tenant) -> opsward_domain::name::Tenant {
    ["not-yours", "not-yours-either"]
        .iter()
        .filter_map(|name| opsward_domain::name::Tenant::parse(name).ok())
        .find(|name| name != tenant)
        .unwrap_or_else(|| tenant.clone())
}

/// What may this step do at most, given everything that influenced the run: a workload as a source may
/// influence at most risk 1 inside its own workspace; an alert and a document likewise; people and the
/// model add no right and take none.
fn sources_may(influence: &Label, step: &Step) -> bool {
    influence.sources.iter().all(|source| match source {
        Source::Workload { workspace, .. } | Source::Alert { workspace } => {
            *workspace == step.workspace && step.risk() <= Risk(1)
        }
        Source::Document { .. } => step.risk() <= Risk(1),
        Source::Person { .. } | Source::Model => true,
    })
}

fn people<'a>(setting: &'a Setting, workspace: Option<&'a Workspace>) -> impl Iterator<Item = &'a Principal> {
    setting.members.iter().filter(move |member| {
        member.kind == Kind::Person
            && workspace
                .map_or(member.tenant_role, |name| member.role_in(name))
                .is_some_and(|role| role >= Role::Operator)
    })
}

/// Groups of people whose yes would be asked for, weakest first. They stand for "someone with the owner's
/// role": who may really approve is asked again when they do.
fn hypothetical(question: &Question) -> Vec<(Approvers, Vec<Approver>)> {
    let someone = |name: &str, asker| {
        let subject = if asker {
            question.subject.clone()
        } else {
            Subject::parse(name).unwrap_or_else(|_| question.subject.clone())
        };
        let role = if asker { question.role.unwrap_or(Role::Viewer) } else { Role::Owner };
        Approver { subject, role, asker }
    };
    let person = question.kind == Kind::Person && question.origin != Origin::System;
    let mut groups = Vec::new();
    if person {
        groups.push((Approvers { people: 1, not_asker: false }, vec![someone("", true)]));
    }
    groups.push((Approvers { people: 1, not_asker: true }, vec![someone("approver-one", false)]));
    groups.push((
        Approvers { people: 2, not_asker: true },
        vec![someone("approver-one", false), someone("approver-two", false)],
    ));
    groups
}
