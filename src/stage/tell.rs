//! The story as lines on a terminal: what was looked at, found, ruled out, decided and done, with times.
//! Every line comes from a journal event or from the judge.
#![allow(clippy::print_stdout, reason = "this is the terminal")]

use std::io::Write as _;

use opsward_domain::cause::{Claim, Diagnosis};
use opsward_domain::event::{Body, Event};
use opsward_domain::label::visible;

/// Prints lines, or nothing, or events as JSON.
pub(super) struct Teller {
    quiet: bool,
    json: bool,
    began_ms: i64,
    looked: std::cell::RefCell<Vec<(String, String)>>,
}

/// Innocent changes named in the story; the report has them all.
const RULED_OUT_SHOWN: usize = 3;

/// Titles and ids of what was looked at, those of one sort on one line: `metrics of cart [e5], web [e7]`.
fn looked_at(seen: &[(String, String)]) -> Vec<String> {
    let sort = |title: &str| {
        let sort = title.split_once(" of ").map_or(title, |(sort, _)| sort);
        sort.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ').to_owned()
    };
    let mut sorts: Vec<(String, Vec<&(String, String)>)> = Vec::new();
    for one in seen {
        match sorts.iter_mut().find(|(known, _)| *known == sort(&one.0)) {
            Some((_, list)) => list.push(one),
            None => sorts.push((sort(&one.0), vec![one])),
        }
    }
    let (alone, several): (Vec<_>, Vec<_>) = sorts.into_iter().partition(|(_, list)| list.len() == 1);
    let alone = alone.iter().flat_map(|(_, list)| list).map(|(title, id)| format!("{title} [{id}]"));
    let mut lines = vec![alone.collect::<Vec<_>>().join(", ")];
    for (sort, list) in several {
        let name =
            |title: &str| title.split_once(" of ").and_then(|(_, of)| of.split(' ').next()).unwrap_or("").to_owned();
        let named: Vec<String> = list.iter().map(|(title, id)| format!("{} [{id}]", name(title))).collect();
        lines.push(format!("{sort} of {}", named.join(", ")));
    }
    lines.retain(|line| !line.is_empty());
    lines
}

impl Teller {
    pub(super) fn new(quiet: bool, json: bool, began_ms: i64) -> Self {
        Self { quiet, json, began_ms, looked: std::cell::RefCell::default() }
    }

    /// A heading.
    pub(super) fn head(&self, text: &str) {
        self.line(&format!("\n== {text}"));
    }

    /// A line of the story.
    pub(super) fn line(&self, text: &str) {
        if !self.quiet && !self.json {
            let _ = writeln!(std::io::stdout(), "{}", visible(text));
        }
    }

    /// One journal event, as a line of the story or as JSON.
    pub(super) fn event(&self, event: &Event) {
        if self.json {
            if let Ok(line) = serde_json::to_string(event) {
                let _ = writeln!(std::io::stdout(), "{line}");
            }
            return;
        }
        let Some(body) = &event.body else { return };
        if matches!(
            body,
            Body::AnswerGiven { .. }
                | Body::TurnEnded { .. }
                | Body::TurnStarted { .. }
                | Body::ApprovalRequested { .. }
        ) {
            return;
        }
        let seconds = (event.at_ms - self.began_ms) as f64 / 1000.0;
        if let Body::EvidenceGathered { evidence, .. } = body {
            self.looked.borrow_mut().push((evidence.title.clone(), evidence.id.to_string()));
            return;
        }
        if let Body::Diagnosed { diagnosis, took_ms } = body {
            let looked = std::mem::take(&mut *self.looked.borrow_mut());
            self.line(&format!("{seconds:7.1} s  looked for {took_ms} ms at:"));
            looked_at(&looked).iter().for_each(|line| self.line(&format!("             {line}")));
            self.line(&format!("{seconds:7.1} s  {}", opsward_engine::projection::audit::words(body)));
            self.finding(diagnosis);
            return;
        }
        self.line(&format!("{seconds:7.1} s  {}", opsward_engine::projection::audit::words(body)));
    }

    fn finding(&self, diagnosis: &Diagnosis) {
        let claim = |prefix: &str, claim: &Claim| {
            let ids: Vec<&str> = claim.evidence.iter().map(opsward_domain::name::Id::as_str).collect();
            self.line(&format!("             {prefix}{} [{}]", claim.text, ids.join(", ")));
        };
        if let Some(best) = diagnosis.hypotheses.first() {
            best.because.iter().for_each(|text| claim("+ ", text));
            best.despite.iter().for_each(|text| claim("- ", text));
        }
        for other in diagnosis.hypotheses.iter().skip(1).take(2) {
            let place = other.workload.as_ref().map_or("something outside", |workload| workload.as_str());
            let kind = opsward_engine::answers::kind_words(other.kind);
            self.line(&format!("             ? less likely: {kind} in {place} ({:.0} %)", other.confidence * 100.0));
        }
        diagnosis.ruled_out.iter().take(RULED_OUT_SHOWN).for_each(|text| claim("x ruled out: ", text));
    }

    /// Asks at the terminal; anything but y or yes is no.
    pub(super) async fn ask(&self, question: &str) -> bool {
        let question = question.to_owned();
        let asked = tokio::task::spawn_blocking(move || {
            let mut out = std::io::stdout();
            let _ = write!(out, "{question} [y/N] ").and_then(|()| out.flush());
            let mut line = String::new();
            let read = std::io::stdin().read_line(&mut line);
            read.is_ok() && matches!(line.trim().to_lowercase().as_str(), "y" | "yes")
        });
        asked.await.unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use super::looked_at;

    #[test]
    fn what_was_looked_at_is_told_by_sort() {
        let titles = ["state of 2 workloads", "metrics of web", "3 log templates of web at warning", "metrics of cart"];
        let more = ["1 log templates of cart at warning"];
        let seen: Vec<(String, String)> =
            titles.iter().chain(&more).zip(1..).map(|(title, n)| ((*title).to_owned(), format!("e{n}"))).collect();
        assert_eq!(
            looked_at(&seen),
            ["state of 2 workloads [e1]", "metrics of web [e2], cart [e4]", "log templates of web [e3], cart [e5]"]
        );
        assert!(looked_at(&[]).is_empty());
    }
}
