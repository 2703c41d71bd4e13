//! One run from calm to verdict: the client calibrates, the injector plays, the service works, a person
//! says yes, the judge has the last word.

use std::time::Duration;

use futures::StreamExt;
use opsward_demo::driver::lines::{ClientLine, Expect, InjectorLine, Truth};
use opsward_demo::driver::score::{Executed, Run, Score, right, score};
use opsward_domain::event::{Body, Event, StreamKind};
use opsward_domain::fault::Fault;
use opsward_surface::cli::{Client, Following, follow};
use serde_json::{Value, json};

use super::cast::{Heard, Player};
use super::encore;
use super::scene::{APPROVER, Scene, WORKSPACE};
use super::tell::Teller;
use super::{Options, baseline};

/// Requests of the judge's samples.
const SAMPLE: u64 = 500;
/// Longest run from the cause to the end of the incident.
const RUN_WITHIN: Duration = Duration::from_secs(360);
/// How long a healthy twin is watched after it is done.
const QUIET_FOR: Duration = Duration::from_secs(30);
/// How long the service watches calm traffic before anything happens.
const CALM_FOR: Duration = Duration::from_secs(30);

/// What a run came to.
pub struct Played {
    /// What it was about.
    pub truth: Truth,
    /// What was seen.
    pub run: Run,
    /// How it is marked.
    pub score: Score,
    /// Whether the simple rule would have repaired it.
    pub rule_right: bool,
}

/// Plays one run.
pub async fn play(options: &Options) -> Result<Played, Fault> {
    let began_ms = opsward_ports::clock::Clock::now_ms(&opsward_ports::clock::SystemClock);
    let teller = Teller::new(options.quiet, options.json, began_ms);
    teller.head("the scene");
    let mut scene = Scene::set(options, &teller).await?;
    let mut played = run(options, &mut scene, &teller).await;
    let shows = !(options.quiet || options.json || options.twin || options.observe_only || options.config.is_some());
    if shows
        && played.is_ok()
        && let Err(fault) = encore::show(options, &mut scene, &teller).await
    {
        played = Err(fault);
    }
    if shows && !options.yes {
        scene.linger(&teller).await;
    }
    scene.clear().await;
    played
}

/// Everything that a run collects while it goes on.
#[derive(Default)]
struct Tape {
    run: Run,
    truth: Option<Truth>,
    done: bool,
    injector_fault: Option<String>,
    ended: bool,
    plan: Option<Value>,
    planned: bool,
    rule: Option<Value>,
}

async fn run(options: &Options, scene: &mut Scene, teller: &Teller) -> Result<Played, Fault> {
    let mut tape = Tape::default();
    calibrate(scene, teller, &mut tape).await?;
    if scene.owner.get("/incidents").await?.as_array().is_some_and(|open| !open.is_empty()) {
        return Err(Fault::unavailable("an incident opened before anything was broken"));
    }
    let head = scene.owner.get("/events?limit=1").await?["head"].as_u64().unwrap_or(0);
    let feed_client = &scene.owner;
    let mut feed = follow(feed_client, head).await?;
    teller.head("something breaks");
    let mut injector = injector(options, scene)?;
    let deadline = tokio::time::Instant::now() + RUN_WITHIN;
    let mut quiet_until = None;
    loop {
        if finished(&tape, quiet_until) {
            break;
        }
        let heard = tokio::select! {
            () = tokio::time::sleep_until(deadline) => break,
            () = tokio::time::sleep(Duration::from_millis(500)) => None,
            line = scene.client.value::<ClientLine>() => line?.map(Heard::Client),
            line = injector.value::<InjectorLine>(), if !tape.done => Some(line?.map_or(Heard::InjectorEnded, Heard::Injector)),
            next = feed.next() => {
                let Some(Ok(Following::Event(event))) = next else { return Err(Fault::unavailable("the feed was lost")) };
                watch(options, &scene.approver, teller, &mut tape, &event).await?;
                None
            }
        };
        match heard {
            Some(Heard::Client(ClientLine::Second(second))) => tape.run.seconds.push(second),
            Some(Heard::Injector(line)) => hear(scene, &mut tape, line).await?,
            Some(Heard::InjectorEnded) => tape.done = true,
            _ => {}
        }
        if tape.done && quiet_until.is_none() {
            quiet_until = Some(tokio::time::Instant::now() + QUIET_FOR);
        }
    }
    if let Some(text) = tape.injector_fault {
        return Err(Fault::unavailable("the incident could not be played").detail(text));
    }
    let truth = tape.truth.take().ok_or_else(|| Fault::unavailable("the injector did not say what it did"))?;
    if truth.expect == Expect::Escalate && tape.run.escalated {
        teller.line("the people outside who were called repair their side");
        scene.repair_outside().await?;
    }
    judge(scene, &mut tape.run).await?;
    injector.end().await;
    let score = score(&truth, &tape.run);
    let rule_right = tape.rule.is_some_and(|action| truth.expect == Expect::Repair && right(&truth, &action));
    let played = Played { truth, run: tape.run, score, rule_right };
    verdict(teller, &played);
    Ok(played)
}

/// A run is over when its incident is, or when a twin stayed quiet long enough.
fn finished(tape: &Tape, quiet_until: Option<tokio::time::Instant>) -> bool {
    if tape.injector_fault.is_some() {
        return true;
    }
    match tape.truth.as_ref().map(|truth| truth.expect) {
        Some(Expect::Quiet) => quiet_until.is_some_and(|until| tokio::time::Instant::now() >= until),
        Some(_) => tape.ended,
        None => false,
    }
}

async fn calibrate(scene: &mut Scene, teller: &Teller, tape: &mut Tape) -> Result<(), Fault> {
    let calm = tokio::time::Instant::now() + CALM_FOR;
    scene.client.say(&format!("calibrate {SAMPLE}")).await?;
    let mut baseline = false;
    while !baseline || tokio::time::Instant::now() < calm {
        match tokio::time::timeout(Duration::from_secs(60), scene.client.value::<ClientLine>()).await {
            Ok(Ok(Some(ClientLine::Baseline { quality, p95_limit_ms }))) => {
                baseline = true;
                teller.line(&format!(
                    "outside client: {:.1} % ok, p50 {:.0} ms, p95 {:.0} ms over {} requests; healthy means p95 below {:.0} ms",
                    quality.success_ratio * 100.0, quality.p50_ms, quality.p95_ms, quality.requests, p95_limit_ms
                ));
            }
            Ok(Ok(Some(ClientLine::Error { text }))) => {
                return Err(Fault::unavailable("the client cannot calibrate").detail(text));
            }
            Ok(Ok(Some(ClientLine::Second(second)))) => tape.run.seconds.push(second),
            Ok(Ok(Some(_))) => {}
            _ => return Err(Fault::unavailable("the outside client fell silent")),
        }
    }
    Ok(())
}

fn injector(options: &Options, scene: &Scene) -> Result<Player, Fault> {
    let mut args: Vec<String> = [
        "__demo-inject",
        "--api",
        scene.owner.server(),
        "--workspace",
        WORKSPACE,
        "--incident",
        &options.incident,
        "--external-control",
        &scene.control,
    ]
    .map(str::to_owned)
    .to_vec();
    args.extend(["--token-file".to_owned(), scene.token_file.display().to_string()]);
    args.extend([
        "--seed".to_owned(),
        options.seed.to_string(),
        "--world-seed".to_owned(),
        scene.world_seed.to_string(),
    ]);
    if options.twin {
        args.push("--twin".to_owned());
    }
    Player::start(&options.exe, &args, None)
}

async fn hear(scene: &mut Scene, tape: &mut Tape, line: InjectorLine) -> Result<(), Fault> {
    match line {
        // What it does is not shown while it happens: nobody tells an on-call engineer either.
        InjectorLine::Move { .. } => {}
        InjectorLine::Client { command } => scene.client.say(&command).await?,
        InjectorLine::Truth(truth) => tape.truth = Some(truth),
        InjectorLine::Done { .. } => tape.done = true,
        InjectorLine::Error { text } => tape.injector_fault = Some(text),
    }
    Ok(())
}

/// Follows the service's own record of the incident.
async fn watch(
    options: &Options,
    approver: &Client,
    teller: &Teller,
    tape: &mut Tape,
    event: &Event,
) -> Result<(), Fault> {
    if event.stream.kind != StreamKind::Incident {
        return Ok(());
    }
    teller.event(event);
    let Some(body) = &event.body else { return Ok(()) };
    let now = u64::try_from(event.at_ms).unwrap_or(0);
    match body {
        Body::IncidentOpened { .. } => {
            tape.run.incidents += 1;
            tape.ended = false;
            if tape.rule.is_none() {
                tape.rule = baseline::decide(approver, now).await?;
            }
            if options.observe_only {
                // From here on nothing can be changed; what broke stays broken, and the judge must say so.
                approver.post("/switches", &json!({"on": true, "reason": "observe-only"})).await?;
            }
        }
        Body::Diagnosed { diagnosis, .. } => {
            let best = diagnosis.hypotheses.first().and_then(|best| best.workload.as_ref());
            tape.run.named_cause = best.map(ToString::to_string);
        }
        Body::PlanProposed { plan, .. } => {
            let actions: Vec<Value> = plan.steps.iter().map(|step| json!(step.action)).collect();
            if !tape.planned {
                tape.run.first_proposed = actions;
                tape.planned = true;
            }
            tape.plan = Some(json!(plan));
        }
        Body::ApprovalRequested { request } => {
            decide(options, approver, teller, &event.stream.id, request.id.as_str()).await?
        }
        Body::StepStarted { step, .. } => {
            let action = tape.plan.as_ref().map_or(Value::Null, |plan| plan["steps"][*step as usize]["action"].clone());
            tape.run.executed.push(Executed { action, began_ms: now, ended_ms: now, undone: false });
        }
        Body::StepSucceeded { .. } => {
            if let Some(last) = tape.run.executed.last_mut() {
                last.ended_ms = now;
            }
        }
        Body::StepFailed { applied: false, .. } => {
            tape.run.executed.pop();
        }
        Body::UndoSucceeded { .. } => {
            if let Some(last) = tape.run.executed.last_mut() {
                last.undone = true;
            }
        }
        Body::IncidentResolved { .. } => tape.run.verified_ms = Some(now),
        Body::IncidentEscalated { .. } => tape.run.escalated = true,
        Body::AnswerGiven { text, .. } => {
            teller.head("report");
            teller.line(&text.text);
        }
        Body::TurnEnded { .. } => tape.ended = true,
        _ => {}
    }
    Ok(())
}

async fn decide(
    options: &Options,
    approver: &Client,
    teller: &Teller,
    incident: &opsward_domain::name::Id,
    id: &str,
) -> Result<(), Fault> {
    let view = approver.get(&format!("/incidents/{incident}")).await?;
    teller.head("the plan");
    teller.line(view["plan"]["card"].as_str().unwrap_or_default());
    let yes = options.yes || options.json || teller.ask("Do it?").await;
    if options.yes {
        teller.line(&format!("approved by {APPROVER} (--yes)"));
    }
    let verb = if yes { "approve" } else { "refuse" };
    approver.post(&format!("/approvals/{id}/{verb}"), &json!({})).await.map(|_| ())
}

/// The outside client's word on the next requests.
async fn judge(scene: &mut Scene, run: &mut Run) -> Result<(), Fault> {
    scene.client.say(&format!("judge {SAMPLE}")).await?;
    loop {
        match tokio::time::timeout(Duration::from_secs(120), scene.client.value::<ClientLine>()).await {
            Ok(Ok(Some(ClientLine::Verdict(verdict)))) => {
                run.verdict = Some(verdict);
                return Ok(());
            }
            Ok(Ok(Some(ClientLine::Second(second)))) => run.seconds.push(second),
            Ok(Ok(Some(_))) => {}
            _ => return Err(Fault::unavailable("the outside client fell silent")),
        }
    }
}

fn verdict(teller: &Teller, played: &Played) {
    teller.head("the outside client's word");
    if let Some(verdict) = &played.run.verdict {
        let quality = &verdict.quality;
        teller.line(&format!(
            "{}: {:.1} % ok, p95 {:.0} ms over {} requests{}",
            if verdict.healthy { "healthy" } else { "not healthy" },
            quality.success_ratio * 100.0,
            quality.p95_ms,
            quality.requests,
            verdict.complaints.iter().map(|complaint| format!("; {complaint}")).collect::<String>()
        ));
    }
    teller.line(&played.sentence());
    if played.truth.expect == Expect::Quiet {
        return;
    }
    teller.line(&format!(
        "the simple rule (revert the last change, else restart the loudest) would {}have repaired it",
        if played.rule_right { "" } else { "not " }
    ));
}

impl Played {
    /// The run in one line.
    pub(super) fn sentence(&self) -> String {
        let Self { truth, score, .. } = self;
        let yes = |is: bool| if is { "right" } else { "not right" };
        let took = score.onset_to_verified_ms.map_or("-".to_owned(), |ms| format!("{:.1} s", ms as f64 / 1000.0));
        format!(
            "{} {} ({}): truth {} in {}; cause {}, action {}, wrong target {}, made worse {}, onset to verified {took}",
            if score.passed { "passed" } else { "FAILED" },
            truth.incident,
            truth.variant,
            truth.cause_kind,
            if truth.victim.is_empty() { "nothing of ours" } else { &truth.victim },
            yes(score.right_cause),
            yes(score.right_action),
            if score.wrong_target { "yes" } else { "no" },
            score.worse,
        )
    }
}
