//! Too much work for too few replicas, something that runs out, or plain slowness.

use opsward_domain::cause::CauseKind;
use opsward_domain::resource::WorkloadStatus;

use super::Trace;
use crate::diagnosis::case::Case;
use crate::diagnosis::changes::Sort;
use crate::diagnosis::graph::{self, Place};
use crate::diagnosis::picture::Topic;
use crate::diagnosis::remedies;
use crate::diagnosis::shift::Shift;
use crate::diagnosis::signals::{mean, per_second};
use crate::diagnosis::words::{claim, millis, percent};

/// Least growth of requests for each replica.
const LOAD_TIMES: f64 = 1.25;
/// Least growth of what waits, and least level of it.
const QUEUE_TIMES: f64 = 2.0;
const QUEUE_MIN: f64 = 1.0;
/// Share of a workload's requests that its known callers must explain.
const KNOWN_CALLERS: f64 = 0.7;
/// Share of a pool or of the open files that counts as used up.
const USED_UP: f64 = 0.9;

/// Replicas before the last change of their number, if that was a reduction that fits the onset.
fn replicas_before(case: &Case<'_>, status: &WorkloadStatus, onset_ms: i64) -> u32 {
    let reduced = case.changes.iter().filter(|c| c.change.workload.as_ref() == Some(&status.name));
    let from = reduced.filter(|c| c.precedes(onset_ms) && c.fit(onset_ms) > 0.3).filter_map(|c| match c.sort {
        Sort::Scaled { from, to } if from > to => Some(from),
        _ => None,
    });
    from.max().unwrap_or(status.spec.replicas).max(1)
}

fn waiting(case: &Case<'_>, levels: &[f64], onset: usize) -> Option<(f64, f64)> {
    let grid = &case.signals.grid;
    let before = mean(levels, 0, onset.saturating_sub(2)).unwrap_or(0.0);
    let now = mean(levels, onset.max(grid.len.saturating_sub(grid.bins(15_000))), grid.len)?;
    (now >= QUEUE_MIN && now >= QUEUE_TIMES * before).then_some((before, now))
}

/// Requests a second before bin `early` and since bin `late`. Callers that try again after a failure ask
/// more without wanting more: what they want is their own requests times the calls that each took before.
fn demand(case: &Case<'_>, status: &WorkloadStatus, early: usize, late: usize) -> Option<(f64, f64)> {
    let grid = &case.signals.grid;
    let vital = case.vital(&status.name)?;
    let own = (vital.rate(grid, 0, early), vital.rate(grid, late, grid.len));
    let callers = case.blame.callers.get(&Place::Ours(status.name.clone())).into_iter().flatten();
    let mut wanted = (0.0, 0.0);
    for (caller, peer) in callers {
        let Some((caller, calls)) = case.vital(caller).and_then(|found| Some((found, &found.peers.get(peer)?.calls)))
        else {
            continue;
        };
        let before = per_second(grid, calls, caller.since, early);
        let after = per_second(grid, calls, late, grid.len);
        let grown = caller.rate(grid, late, grid.len) / caller.rate(grid, 0, early).max(1e-9);
        wanted.0 += before;
        wanted.1 += if caller.counted { after.min(before * grown) } else { after };
    }
    // Callers that nobody measures are seen in the workload's own count only.
    Some(if wanted.0 >= KNOWN_CALLERS * own.0 { wanted } else { own })
}

/// More requests for each replica than before, and they wait.
pub(super) fn overload(case: &Case<'_>, status: &WorkloadStatus) -> Option<Trace> {
    let name = &status.name;
    let found = case.symptoms.get(name)?;
    let vital = case.vital(name).filter(|vital| vital.counted)?;
    let onset_ms = found.onset_ms()?;
    let grid = &case.signals.grid;
    let since = found.traffic.map_or(onset_ms, |shift| shift.onset_ms.min(onset_ms));
    let start = grid.index(since);
    let (before, now) = demand(case, status, start.saturating_sub(2), grid.index(onset_ms))?;
    let (present, earlier) = (status.spec.replicas.max(1), replicas_before(case, status, onset_ms));
    if before <= 0.0 {
        return None;
    }
    let load = now / before * f64::from(earlier) / f64::from(present);
    let queue = waiting(case, &vital.queue, start).or_else(|| waiting(case, &vital.inflight, start));
    let (queue_before, queue_now) = queue.filter(|_| load >= LOAD_TIMES)?;
    let own = graph::shares(&case.signals, found, name).own;
    let recent = grid.len.saturating_sub(grid.bins(15_000)).max(grid.index(onset_ms));
    let served = vital.rate(grid, recent, grid.len) - per_second(grid, &vital.errors, recent, grid.len);
    let replicas = remedies::replicas_for(present, now, served.max(now / 20.0)).max(earlier);
    let text = format!(
        "each replica of {name} gets {load:.1} times the requests ({before:.0} a second over {earlier} before, {now:.0} \
         over {present} now), and {queue_now:.0} wait where {queue_before:.0} did"
    );
    Some(Trace {
        kind: CauseKind::Overload,
        strength: own * (0.6 + (load - LOAD_TIMES)).clamp(0.0, 1.0),
        since_ms: Some(since),
        claims: vec![claim(&case.picture.citations, text, &[Topic::Metrics(name.clone()), Topic::State])],
        remedies: vec![remedies::scale(status, replicas)],
        takes_change: earlier > present,
    })
}

/// The largest share of failed or slow calls that ended in the workload's own pool, with the peer.
fn local_failures<'a>(case: &'a Case<'_>, status: &WorkloadStatus, start: usize) -> Option<(&'a str, f64)> {
    let grid = &case.signals.grid;
    let vital = case.vital(&status.name)?;
    let all = per_second(grid, &vital.errors, start, grid.len).max(1e-9);
    let share = |local: &[f64]| per_second(grid, local, start, grid.len) / all;
    let peers = vital.peers.iter().filter(|(peer, _)| {
        // A pool is also empty when the callee is slow: then the callee is the story.
        match graph::resolve(case.picture, status, peer) {
            Place::Ours(callee) => case.symptoms.get(&callee).is_none_or(|found| !found.any()),
            Place::Outside(_) => true,
        }
    });
    let worst = peers.map(|(peer, found)| (peer.as_str(), share(&found.local)));
    worst.max_by(|a, b| a.1.total_cmp(&b.1)).filter(|(_, share)| *share > 0.2)
}

fn words_of_exhaustion(case: &Case<'_>, status: &WorkloadStatus) -> bool {
    const WORDS: [&str; 4] = ["too many open files", "emfile", "pool exhausted", "no free connections"];
    let fresh = case.fresh_of(&status.name);
    fresh.iter().any(|one| {
        let text = one.template.text.to_ascii_lowercase();
        WORDS.iter().any(|word| text.contains(word))
    })
}

/// Open files or a pool that ran out.
pub(super) fn exhaustion(case: &Case<'_>, status: &WorkloadStatus) -> Option<Trace> {
    let name = &status.name;
    let found = case.symptoms.get(name)?;
    let onset_ms = found.onset_ms()?;
    let vital = case.vital(name)?;
    let start = case.signals.grid.index(onset_ms);
    let metrics = [Topic::Metrics(name.clone())];
    let cite = |text: String| claim(&case.picture.citations, text, &metrics);
    let limit = status.spec.limits.open_files as f64;
    let grown = |(_, first, last): &&(Option<u32>, f64, f64)| *last >= USED_UP * limit && last > first;
    let mut remedies = vec![remedies::restart(status)];
    let (mut strength, text) = if let Some((_, first, last)) = vital.open_files.iter().find(grown) {
        remedies.push(remedies::more_files(status));
        (
            1.0,
            format!(
                "a replica of {name} has {last:.0} of {limit:.0} files open, {first:.0} at the start of the window"
            ),
        )
    } else if let Some((peer, share)) = local_failures(case, status, start) {
        let text =
            format!("{name} fails {} of its failed requests in its own pool for {peer}", percent(share.min(1.0)));
        (0.9, text)
    } else {
        let full = mean(&vital.pool, start, vital.pool.len()).filter(|used| *used >= USED_UP)?;
        let before = mean(&vital.pool, 0, start.saturating_sub(2)).unwrap_or(0.0);
        if before >= USED_UP || !found.peer_latency.is_empty() && !words_of_exhaustion(case, status) {
            return None;
        }
        (0.6, format!("a connection pool of {name} is {} in use, {} before", percent(full), percent(before)))
    };
    if words_of_exhaustion(case, status) {
        strength = 1.0;
    }
    Some(Trace {
        kind: CauseKind::ResourceExhaustion,
        strength,
        since_ms: Some(onset_ms),
        claims: vec![cite(text)],
        remedies,
        takes_change: true,
    })
}

fn slow_claim(who: &str, shift: Shift) -> String {
    format!("{who} takes {} on average, {} before", millis(shift.now), millis(shift.before))
}

/// Slow by itself, with nothing more to say.
pub(super) fn slow(case: &Case<'_>, status: &WorkloadStatus) -> Option<Trace> {
    let name = &status.name;
    let found = case.symptoms.get(name)?;
    let place = Place::Ours(name.clone());
    let counted = case.vital(name).is_some_and(|vital| vital.counted);
    let seen = case.seen_by_callers(&place).find_map(|(caller, _, _, latency)| Some((caller.clone(), latency?)));
    let (text, since, topic) = match (found.latency, seen) {
        (Some(shift), _) => (slow_claim(name.as_str(), shift), shift.onset_ms, Topic::Metrics(name.clone())),
        (None, Some((caller, shift))) if !counted => {
            let text = slow_claim(&format!("a call from {caller} to {name}"), shift);
            (text, shift.onset_ms, Topic::Metrics(caller))
        }
        _ => return None,
    };
    Some(Trace {
        kind: CauseKind::DependencySlow,
        strength: 0.4,
        since_ms: Some(since),
        claims: vec![claim(&case.picture.citations, text, &[topic])],
        remedies: vec![remedies::restart(status), remedies::scale(status, status.spec.replicas.saturating_add(1))],
        takes_change: false,
    })
}
