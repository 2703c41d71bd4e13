//! The client's view: seconds, a healthy baseline of its own, and verdicts against it.
//! Must never judge on fewer requests than the least sample, nor on requests from before the question.

use super::traffic::{Class, Request};
use crate::clock;
use crate::driver::lines::{ClientLine, Quality, Second, Verdict};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What a kind of use needs before it is judged by itself.
const CLASS_LEAST: usize = 40;
/// A verdict is never asked for more than this.
const SAMPLE_MAX: usize = 20_000;
/// Slower than this is bad while there is no baseline.
const SLOW_MS: f64 = 1000.0;

/// One request as the client saw it.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    pub(crate) class: Class,
    pub(crate) ok: bool,
    pub(crate) took: Duration,
    pub(crate) due: Instant,
}

impl Sample {
    pub(crate) fn failed(request: &Request, took: Duration) -> Self {
        Self { class: request.class, ok: false, took, due: request.due }
    }

    fn ms(&self) -> f64 {
        self.took.as_secs_f64() * 1000.0
    }
}

#[derive(Debug)]
enum Purpose {
    Calibrate,
    Judge,
}

#[derive(Debug)]
struct Question {
    purpose: Purpose,
    count: usize,
    asked: Instant,
    samples: Vec<Sample>,
}

/// Everything the client has seen that still matters.
#[derive(Debug)]
pub(crate) struct View {
    least: usize,
    current: Vec<Sample>,
    baseline: Option<BTreeMap<Option<Class>, Quality>>,
    question: Option<Question>,
}

fn percentile(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * share).round() as usize).copied().unwrap_or(0.0)
}

fn quality<'a>(samples: impl Iterator<Item = &'a Sample> + Clone, slow_ms: f64) -> Quality {
    let (all, ok) = (samples.clone().count(), samples.clone().filter(|s| s.ok).count());
    let bad = samples.clone().filter(|s| !s.ok || s.ms() > slow_ms).count();
    let mut took: Vec<f64> = samples.map(Sample::ms).collect();
    took.sort_by(f64::total_cmp);
    let share = |part: usize| {
        if all == 0 { 0.0 } else { part as f64 / all as f64 }
    };
    Quality {
        requests: all as u64,
        success_ratio: share(ok),
        bad_ratio: share(bad),
        p50_ms: percentile(&took, 0.5),
        p95_ms: percentile(&took, 0.95),
    }
}

/// Slowest p95 that still counts as healthy, from the healthy one.
fn p95_limit(healthy: &Quality) -> f64 {
    healthy.p95_ms * 2.0 + 150.0
}

impl View {
    pub(crate) fn new(least: usize) -> Self {
        Self { least, current: Vec::new(), baseline: None, question: None }
    }

    fn slow_ms(&self) -> f64 {
        let all = self.baseline.as_ref().and_then(|baseline| baseline.get(&None));
        all.map_or(SLOW_MS, p95_limit)
    }

    /// The next `count` requests are the healthy baseline.
    pub(crate) fn calibrate(&mut self, count: usize) -> Result<(), String> {
        self.ask(Purpose::Calibrate, count)
    }

    /// The next `count` requests are judged against the baseline.
    pub(crate) fn judge(&mut self, count: usize) -> Result<(), String> {
        if self.baseline.is_none() {
            return Err("no baseline yet".to_owned());
        }
        self.ask(Purpose::Judge, count)
    }

    fn ask(&mut self, purpose: Purpose, count: usize) -> Result<(), String> {
        if self.question.is_some() {
            return Err("still counting for an earlier question".to_owned());
        }
        if count < self.least || count > SAMPLE_MAX {
            return Err(format!("a sample has {} to {SAMPLE_MAX} requests", self.least));
        }
        self.question = Some(Question { purpose, count, asked: Instant::now(), samples: Vec::new() });
        Ok(())
    }

    /// Takes note of a request; gives the answer when it was the last that a question needed.
    pub(crate) fn add(&mut self, sample: Sample) -> Option<ClientLine> {
        if let Some(question) = self.question.as_mut()
            && sample.due >= question.asked
        {
            question.samples.push(sample.clone());
        }
        self.current.push(sample);
        let question = self.question.take_if(|question| question.samples.len() >= question.count)?;
        let by = |class: Option<Class>| {
            quality(question.samples.iter().filter(|s| class.is_none_or(|c| s.class == c)), self.slow_ms())
        };
        let seen: BTreeMap<_, _> = [None, Some(Class::Browse), Some(Class::Buy)].map(|class| (class, by(class))).into();
        match question.purpose {
            Purpose::Calibrate => {
                let all = seen.get(&None).cloned().unwrap_or_default();
                self.baseline = Some(seen);
                Some(ClientLine::Baseline { p95_limit_ms: p95_limit(&all), quality: all })
            }
            Purpose::Judge => Some(ClientLine::Verdict(self.verdict(&seen))),
        }
    }

    fn verdict(&self, seen: &BTreeMap<Option<Class>, Quality>) -> Verdict {
        let mut complaints = Vec::new();
        for (class, now) in seen {
            let healthy = self.baseline.as_ref().and_then(|baseline| baseline.get(class));
            let Some(healthy) = healthy else { continue };
            let name = class.map_or("all", |class| match class {
                Class::Browse => "browse",
                Class::Buy => "buy",
            });
            if class.is_some() && (now.requests as usize) < CLASS_LEAST {
                continue;
            }
            let slack = if class.is_none() { 0.02 } else { 0.04 };
            let least = (healthy.success_ratio - slack).max(0.9);
            if now.success_ratio < least {
                complaints.push(format!("{name}: success {:.3} below {least:.3}", now.success_ratio));
            }
            let most = p95_limit(healthy);
            if now.p95_ms > most {
                complaints.push(format!("{name}: p95 {:.0}ms above {most:.0}ms", now.p95_ms));
            }
        }
        Verdict {
            at_ms: clock::now_ms(),
            quality: seen.get(&None).cloned().unwrap_or_default(),
            healthy: complaints.is_empty(),
            complaints,
        }
    }

    /// Closes the current second.
    pub(crate) fn second(&mut self) -> ClientLine {
        let samples = std::mem::take(&mut self.current);
        let quality = quality(samples.iter(), self.slow_ms());
        ClientLine::Second(Second { at_ms: clock::now_ms(), quality })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(view: &mut View, count: usize, ok: impl Fn(usize) -> bool, ms: u64) -> Option<ClientLine> {
        let mut last = None;
        for at in 0..count {
            let class = if at % 3 == 0 { Class::Buy } else { Class::Browse };
            let (took, due) = (Duration::from_millis(ms), Instant::now());
            last = view.add(Sample { class, ok: ok(at), took, due });
        }
        last
    }

    fn verdict(view: &mut View, ok: impl Fn(usize) -> bool, ms: u64) -> Verdict {
        view.judge(500).unwrap();
        match feed(view, 500, ok, ms) {
            Some(ClientLine::Verdict(verdict)) => verdict,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn it_judges_against_its_own_baseline() {
        let mut view = View::new(500);
        assert!(view.judge(500).is_err(), "no baseline yet");
        assert!(view.calibrate(499).is_err(), "sample too small");
        view.calibrate(500).unwrap();
        assert!(view.judge(500).is_err(), "still counting");
        assert!(matches!(feed(&mut view, 500, |_| true, 60), Some(ClientLine::Baseline { .. })));
        assert!(verdict(&mut view, |_| true, 90).healthy);
        assert!(verdict(&mut view, |at| at % 100 != 0, 60).healthy, "one percent is noise");
        let slow = verdict(&mut view, |_| true, 400);
        assert!(!slow.healthy && slow.complaints[0].contains("p95"), "{slow:?}");
        let failing = verdict(&mut view, |at| at % 12 != 0, 60);
        assert!(!failing.healthy, "{failing:?}");
        assert!(failing.complaints.iter().any(|text| text.contains("buy")));
    }

    #[test]
    fn requests_from_before_the_question_do_not_count() {
        let mut view = View::new(1);
        let due = Instant::now() - Duration::from_secs(1);
        view.calibrate(1).unwrap();
        let early = Sample { class: Class::Buy, ok: true, took: Duration::ZERO, due };
        assert!(view.add(early).is_none());
        match view.second() {
            ClientLine::Second(second) => assert_eq!(second.quality.requests, 1),
            other => panic!("{other:?}"),
        }
    }
}
