//! PodDisruptionBudgets that stop every drain.

use crate::finding::{Remedy, Severity};
use crate::object::{Object, text};
use crate::selector;
use crate::symptom::Symptom;

use super::{Cx, SETTLE_MS};

pub(super) fn run(cx: &Cx<'_>, out: &mut Vec<Symptom>) {
    for budget in cx.objects.of_kind("PodDisruptionBudget").filter(|budget| budget.deleted_ms().is_none()) {
        out.extend(selects_nothing(cx, budget).or_else(|| blocks(cx, budget)));
        out.extend(unreadable(cx, budget));
    }
    out.extend(doubled(cx));
}

fn selects_nothing(cx: &Cx<'_>, budget: &Object) -> Option<Symptom> {
    let wanted = &budget["spec"]["selector"];
    if !cx.selects_nothing(budget.namespace(), wanted) {
        return None;
    }
    let shown = selector::shown_full(wanted);
    Some(
        Symptom::new(
            "budget-selects-nothing",
            Severity::Warning,
            &budget.at,
            "spec.selector",
            format!("selects {shown:?}, and no pod has these labels: it protects nothing"),
        )
        .quote(&budget.at, "spec.selector", &shown)
        .remedy(Remedy::step("correct the selector, or remove the budget")),
    )
}

fn blocks(cx: &Cx<'_>, budget: &Object) -> Option<Symptom> {
    let status = |key: &str| budget["status"][key].as_i64();
    let (expected, allowed) = (status("expectedPods")?, status("disruptionsAllowed")?);
    let (healthy, desired) = (status("currentHealthy").unwrap_or(0), status("desiredHealthy").unwrap_or(0));
    if expected == 0 || allowed > 0 || !cx.older(budget.created_ms(), SETTLE_MS) {
        return None;
    }
    let pods = cx.objects.pods_selected(budget.namespace(), &budget["spec"]["selector"]);
    let causes = pods.iter().flat_map(|pod| std::iter::once(pod.at.clone()).chain(cx.objects.owners(pod)));
    if desired < expected {
        // Enough pods would leave room; too few are healthy now, and that has a reason of its own.
        return Some(
            Symptom::new(
                "budget-exhausted",
                Severity::Warning,
                &budget.at,
                "status.disruptionsAllowed",
                format!("allows no eviction now: {healthy} of {desired} needed pods are healthy"),
            )
            .because(causes)
            .only_if_explained(),
        );
    }
    let rule = if budget["spec"]["maxUnavailable"].is_null() {
        format!("minAvailable {}", shown(&budget["spec"]["minAvailable"]))
    } else {
        format!("maxUnavailable {}", shown(&budget["spec"]["maxUnavailable"]))
    };
    let field = if budget["spec"]["maxUnavailable"].is_null() { "spec.minAvailable" } else { "spec.maxUnavailable" };
    let claim = format!("never lets any of its {expected} pods be evicted ({rule}): draining their nodes will hang");
    Some(
        Symptom::new("budget-blocks-drains", Severity::Warning, &budget.at, field, claim)
            .quote(
                &budget.at,
                "status",
                &format!("expectedPods {expected}, desiredHealthy {desired}, disruptionsAllowed {allowed}"),
            )
            .remedy(Remedy::step("run one replica more, or let one be unavailable (maxUnavailable 1)")),
    )
}

fn shown(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn unreadable(cx: &Cx<'_>, budget: &Object) -> Option<Symptom> {
    let said = budget
        .condition("DisruptionAllowed")
        .filter(|c| c.is("False") && c.reason == "SyncFailed" && cx.older(c.since_ms, SETTLE_MS))?;
    Some(
        Symptom::new(
            "budget-unreadable",
            Severity::Warning,
            &budget.at,
            "status.conditions[DisruptionAllowed]",
            "cannot be computed, so nothing it selects can be evicted",
        )
        .since(said.since_ms)
        .quote(&budget.at, "status.conditions[DisruptionAllowed].message", said.message)
        .remedy(Remedy::step("select only pods of controllers that can be scaled, or use a number with minAvailable")),
    )
}

/// A pod in two budgets cannot be evicted at all.
fn doubled(cx: &Cx<'_>) -> Vec<Symptom> {
    let budgets: Vec<&Object> = cx.objects.of_kind("PodDisruptionBudget").collect();
    let mut found = Vec::new();
    for (place, first) in budgets.iter().enumerate() {
        for second in budgets.iter().skip(place + 1).take_while(|other| other.namespace() == first.namespace()) {
            let pods = cx.objects.pods_selected(first.namespace(), &first["spec"]["selector"]);
            let both =
                pods.iter().find(|pod| selector::matches(&second["spec"]["selector"], &pod["metadata"]["labels"]));
            if let Some(pod) = both.filter(|pod| text(&pod["status"]["phase"]) == "Running") {
                found.push(
                    Symptom::new(
                        "budgets-overlap",
                        Severity::Warning,
                        &first.at,
                        "spec.selector",
                        format!("covers pods that {} covers too: the eviction API refuses to evict them", second.at),
                    )
                    .detail(second.name())
                    .seen_on(&pod.at, "is in two budgets")
                    .remedy(Remedy::step("make the selectors disjoint")),
                );
            }
        }
    }
    found
}
