//! The same incident under other names, at another time, in another order: the same answer.

use opsward_inquiry::Report;

use crate::made::{self, Choice, GUILTY, ONSET};

/// The answer in places of the choice instead of names, and minutes instead of times.
#[derive(Debug, PartialEq)]
struct Answer {
    change: Option<String>,
    component: Option<usize>,
    first: Option<usize>,
    blast: Vec<Option<usize>>,
    onset_min: Option<i64>,
    words: String,
}

fn answer(choice: &Choice) -> Answer {
    let report: Report = crate::ask(made::files(choice)).report;
    let place = |name: &str| choice.names.iter().position(|known| *known == name);
    let first = report.causes.first();
    let mut blast: Vec<Option<usize>> = report.blast_radius.iter().map(|name| place(name)).collect();
    blast.sort_unstable();
    Answer {
        change: first.and_then(|cause| cause.change.clone()),
        component: first.and_then(|cause| place(&cause.component)),
        first: report.first_failing_component.as_deref().and_then(place),
        blast,
        onset_min: report.onset_ms.map(|onset| (onset - choice.start_ms) / 60_000),
        words: format!("{:?} {:?} {}", report.verdict, report.remediation.kind, report.category),
    }
}

#[test]
fn names_dates_and_order_do_not_matter() {
    let plain = made::plain();
    let expected = answer(&plain);
    assert_eq!(expected.change.as_deref(), Some(GUILTY));
    assert_eq!((expected.component, expected.first, expected.blast.as_slice()), (Some(0), Some(0), &[Some(1)][..]));
    assert!(expected.onset_min.is_some_and(|minute| (ONSET - 1..=ONSET + 1).contains(&minute)), "{expected:?}");
    assert_eq!(expected.words, "Incident Rollback code_defect");
    for choice in [
        Choice { names: ["aa-3", "kestrel", "svc_9"], ..plain.clone() },
        Choice { names: ["zeta", "alpha", "mu"], ..plain.clone() },
        Choice { start_ms: plain.start_ms + 97 * 86_400_000 + 5 * 3_600_000 + 60_000, ..plain.clone() },
        Choice { start_ms: 946_684_800_000, ..plain.clone() },
        Choice { shuffled: true, ..plain.clone() },
        Choice { names: ["q", "r", "s"], start_ms: plain.start_ms - 400 * 86_400_000, shuffled: true },
    ] {
        assert_eq!(answer(&choice), expected, "{:?} {}", choice.names, choice.start_ms);
    }
}
