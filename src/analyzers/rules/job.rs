//! Jobs that failed and CronJobs that do not start them.

use crate::finding::{Remedy, Severity};
use crate::object::{Object, Ref, items, text};
use crate::symptom::Symptom;
use crate::{cron, when};

use super::pod::{containers, explain};
use super::{Cx, DAY_MS, MINUTE_MS, refused};

/// Failures from which on a Job that still tries is worth a word.
const FAILURES: i64 = 3;
/// A CronJob's controller looks every 10 s; a start this late is missed.
const LATE_MS: i64 = 5 * MINUTE_MS;
/// A deadline shorter than the controller's own pace may never be met.
const PACE_SECONDS: i64 = 10;

pub(super) fn jobs(cx: &Cx<'_>, out: &mut Vec<Symptom>) {
    for job in cx.objects.of_kind("Job").filter(|job| job.deleted_ms().is_none()) {
        if job.condition("Complete").is_some_and(|c| c.is("True")) || outlived(cx, job) {
            continue;
        }
        if let Some(failed) =
            job.condition("Failed").or_else(|| job.condition("FailureTarget")).filter(|c| c.is("True"))
        {
            out.push(ended(cx, job, failed.reason, failed.message, failed.since_ms));
            continue;
        }
        if job["spec"]["suspend"] == true {
            continue;
        }
        let active = job["status"]["active"].as_i64().unwrap_or(0);
        if active == 0 && job["status"]["succeeded"].as_i64().unwrap_or(0) == 0 && job.is_live() {
            out.extend(refused::run(cx, job));
        }
        let failures = job["status"]["failed"].as_i64().unwrap_or(0);
        if failures >= FAILURES {
            let claim = format!("has failed {failures} times and tries on");
            out.push(with_exit(
                cx,
                job,
                Symptom::new("job-failing", Severity::Warning, &job.at, "status.failed", claim),
            ));
        }
    }
}

/// A later Job of the same CronJob succeeded: the failure is history.
fn outlived(cx: &Cx<'_>, job: &Object) -> bool {
    let Some(owner) = job.controller().filter(|owner| owner.kind == "CronJob") else { return false };
    cx.objects.children(&owner).any(|other| {
        other.at.kind == "Job"
            && other.created_ms() > job.created_ms()
            && other.condition("Complete").is_some_and(|c| c.is("True"))
    })
}

fn ended(cx: &Cx<'_>, job: &Object, reason: &str, message: &str, since: Option<i64>) -> Symptom {
    let (rule, why, field, remedy) = match reason {
        "DeadlineExceeded" => {
            let deadline = job["spec"]["activeDeadlineSeconds"].as_i64().unwrap_or(0);
            (
                "job-deadline",
                format!("did not end within its deadline of {}", when::span(deadline * 1000)),
                "spec.activeDeadlineSeconds",
                "find out why it took so long, or allow more",
            )
        }
        "BackoffLimitExceeded" => {
            let limit = job["spec"]["backoffLimit"].as_i64().unwrap_or(6);
            (
                "job-failed",
                format!("failed: its pods failed more often than its limit of {limit}"),
                "spec.backoffLimit",
                "correct what makes its pods fail, then start it anew",
            )
        }
        "PodFailurePolicy" => (
            "job-failed",
            "failed: a pod failed in a way that its failure policy does not forgive".to_owned(),
            "spec.podFailurePolicy",
            "correct what makes its pods fail, then start it anew",
        ),
        "MaxFailedIndexesExceeded" | "FailedIndexes" => (
            "job-failed",
            "failed: too many of its indexes failed".to_owned(),
            "spec.maxFailedIndexes",
            "correct what makes the indexes fail, then start it anew",
        ),
        _ => (
            "job-failed",
            format!("failed: {reason}"),
            "status.conditions[Failed]",
            "correct what the condition names, then start it anew",
        ),
    };
    let symptom = Symptom::new(rule, Severity::Error, &job.at, field, why)
        .since(since)
        .quote(&job.at, "status.conditions[Failed].message", message)
        .remedy(Remedy::step(remedy));
    let fold = job.controller().filter(|owner| owner.kind == "CronJob");
    let mut symptom = with_exit(cx, job, symptom);
    if let Some(cron) = fold {
        // Each run of the same CronJob that fails is the same fault.
        symptom.root = cron;
        symptom.claim = format!("its runs fail: {}", symptom.claim);
        symptom.says = format!("{} {}", job.at, symptom.says);
        symptom.seen_on = job.at.clone();
    }
    symptom
}

/// Adds why the Job's newest pod ended, and lets what keeps its pods from running explain it.
fn with_exit(cx: &Cx<'_>, job: &Object, symptom: Symptom) -> Symptom {
    let pods = cx.objects.pods_under(&job.at);
    let mut symptom = symptom.because(pods.iter().map(|pod| pod.at.clone()));
    let last = pods.iter().rev().find_map(|pod| {
        containers(pod).into_iter().find_map(|container| {
            let ended = container.status["state"]["terminated"].clone();
            let ended = if ended.is_object() { ended } else { container.status["lastState"]["terminated"].clone() };
            let failed = ended["exitCode"].as_i64().is_some_and(|code| code != 0);
            failed.then(|| explain(cx, &container, &ended, &job.at, Severity::Error)).flatten()
        })
    });
    if let Some(exit) = last {
        symptom.claim = format!("{}; {}", symptom.claim, exit.claim);
        symptom.quotes.extend(exit.quotes);
        let first: Vec<Remedy> = exit.remedies.into_iter().filter(|remedy| remedy.action.is_none()).collect();
        symptom.remedies.splice(0..0, first);
    }
    symptom
}

pub(super) fn cron_jobs(cx: &Cx<'_>, out: &mut Vec<Symptom>) {
    for job in cx.objects.of_kind("CronJob").filter(|job| job.deleted_ms().is_none()) {
        let written = text(&job["spec"]["schedule"]);
        match cron::parse(written) {
            Err(why) => out.push(bad_schedule(job, written, &why)),
            Ok(schedule) if !schedule.ever_fires() => out.push(bad_schedule(job, written, "no such day ever comes")),
            Ok(schedule) => started(cx, job, schedule, out),
        }
    }
}

fn bad_schedule(job: &Object, written: &str, why: &str) -> Symptom {
    Symptom::new(
        "cron-schedule-bad",
        Severity::Error,
        &job.at,
        "spec.schedule",
        format!("never runs: its schedule {written:?} cannot be kept: {why}"),
    )
    .quote(&job.at, "spec.schedule", written)
    .remedy(Remedy::step("correct the schedule: minute, hour, day of month, month, day of week"))
}

fn started(cx: &Cx<'_>, job: &Object, schedule: cron::Schedule, out: &mut Vec<Symptom>) {
    let deadline = job["spec"]["startingDeadlineSeconds"].as_i64();
    if let Some(event) = cx
        .objects
        .events(&job.at)
        .rev()
        .find(|event| matches!(event.reason, "UnknownTimeZone" | "UnparseableSchedule" | "InvalidSchedule"))
    {
        let symptom = Symptom::new(
            "cron-schedule-bad",
            Severity::Error,
            &job.at,
            "spec.timeZone",
            "never runs: the controller cannot read its schedule or time zone",
        );
        out.push(
            symptom.quote(event.at, "message", event.message).remedy(Remedy::step("correct schedule and timeZone")),
        );
        return;
    }
    if deadline.is_some_and(|seconds| seconds < PACE_SECONDS) {
        let claim = format!(
            "may miss its starts: startingDeadlineSeconds is {}, and the controller looks only every {PACE_SECONDS} s",
            deadline.unwrap_or(0)
        );
        let symptom =
            Symptom::new("cron-deadline-short", Severity::Warning, &job.at, "spec.startingDeadlineSeconds", claim);
        out.push(symptom.remedy(Remedy::step("set startingDeadlineSeconds to 60 or more, or leave it out")));
    }
    let last = when::parse(&job["status"]["lastScheduleTime"]);
    let (Some(now), Some(from)) = (cx.now_ms, last.or_else(|| job.created_ms())) else { return };
    // Without the zone's rules a schedule may be off by up to 14 hours.
    let zone = text(&job["spec"]["timeZone"]);
    let slack = if zone.is_empty() || matches!(zone, "Etc/UTC" | "UTC" | "GMT") { LATE_MS } else { DAY_MS };
    let missed = schedule.count(from.max(now - 30 * DAY_MS), now - slack, 100);
    if job["spec"]["suspend"] == true {
        if last.is_some() && missed >= 3 {
            out.push(suspended(job, last, missed));
        }
        return;
    }
    if missed > 0 {
        out.push(late(cx, job, last.or(Some(from)), missed));
    }
}

fn suspended(job: &Object, last: Option<i64>, missed: usize) -> Symptom {
    let more = if missed >= 100 { "100 or more".to_owned() } else { missed.to_string() };
    Symptom::new(
        "cron-suspended",
        Severity::Warning,
        &job.at,
        "spec.suspend",
        format!("is suspended and has left out {more} runs since it last ran"),
    )
    .since(last)
    .quote(&job.at, "status.lastScheduleTime", text(&job["status"]["lastScheduleTime"]))
    .remedy(Remedy::step("if nobody meant it to stay so, set suspend to false").kubectl(
        "patch",
        &job.at,
        " -p '{\"spec\":{\"suspend\":false}}'",
    ))
}

fn late(cx: &Cx<'_>, job: &Object, last: Option<i64>, missed: usize) -> Symptom {
    let active: Vec<Ref> =
        items(&job["status"]["active"]).iter().map(|at| Ref::new("Job", job.namespace(), text(&at["name"]))).collect();
    let event = cx.objects.events(&job.at).rev().find(|event| {
        matches!(
            event.reason,
            "FailedNeedsStart" | "TooManyMissedTimes" | "FailedCreate" | "MissSchedule" | "JobAlreadyActive"
        )
    });
    let blocked = text(&job["spec"]["concurrencyPolicy"]) == "Forbid" && !active.is_empty();
    let mut symptom = if blocked {
        let claim =
            format!("leaves out runs ({missed} so far): {} still runs, and concurrencyPolicy is Forbid", active[0]);
        Symptom::new("cron-blocked", Severity::Warning, &job.at, "spec.concurrencyPolicy", claim)
            .because(active)
            .remedy(Remedy::step("see why that run does not end; give the Job an activeDeadlineSeconds"))
    } else if event.is_some_and(|event| event.message.contains("too many missed start")) {
        Symptom::new(
            "cron-too-many-missed",
            Severity::Error,
            &job.at,
            "spec.startingDeadlineSeconds",
            "is not started any more: it missed more than 100 starts",
        )
        .remedy(Remedy::step("set startingDeadlineSeconds, so that the controller forgets what is long past"))
    } else {
        let claim = format!("has missed {missed} starts");
        Symptom::new("cron-missed", Severity::Error, &job.at, "status.lastScheduleTime", claim).remedy(
            Remedy::step("look at its events and at the controller manager; check startingDeadlineSeconds")
                .kubectl("describe", &job.at, ""),
        )
    };
    if let Some(event) = event {
        symptom = symptom.quote(event.at, "message", event.message);
    }
    symptom.since(last).quote(&job.at, "status.lastScheduleTime", text(&job["status"]["lastScheduleTime"]))
}
