//! Namespaces that cannot be removed, and quotas that are nearly used up.

use crate::finding::{Remedy, Severity};
use crate::object::{Object, Ref, pairs, text};
use crate::quantity;
use crate::symptom::Symptom;

use super::{Cx, MINUTE_MS};

/// Removing a namespace takes at most this long.
const REMOVAL_MS: i64 = 10 * MINUTE_MS;

pub(super) fn run(cx: &Cx<'_>, out: &mut Vec<Symptom>) {
    for space in cx.objects.of_kind("Namespace") {
        out.extend(terminating(cx, space));
    }
    for quota in cx.objects.of_kind("ResourceQuota") {
        out.extend(full(quota));
    }
}

fn terminating(cx: &Cx<'_>, space: &Object) -> Option<Symptom> {
    let deleted = space.deleted_ms()?;
    if !cx.older(Some(deleted), REMOVAL_MS) {
        return None;
    }
    let reasons = [
        "NamespaceDeletionDiscoveryFailure",
        "NamespaceDeletionContentFailure",
        "NamespaceFinalizersRemaining",
        "NamespaceContentRemaining",
    ];
    let said = reasons.into_iter().find_map(|kind| space.condition(kind).filter(|c| c.is("True")).map(|c| (kind, c)));
    let claim = match said.map(|(kind, _)| kind) {
        Some("NamespaceDeletionDiscoveryFailure") => "cannot be removed: an aggregated API does not answer",
        Some("NamespaceFinalizersRemaining" | "NamespaceContentRemaining") => {
            "cannot be removed: something in it has a finalizer that nobody clears"
        }
        _ => "cannot be removed",
    };
    let apis = cx.objects.of_kind("APIService").filter(|api| api.condition("Available").is_some_and(|c| c.is("False")));
    let causes: Vec<Ref> = apis.map(|api| api.at.clone()).collect();
    let mut symptom = Symptom::new("namespace-stuck", Severity::Error, &space.at, "spec.finalizers", claim)
        .since(Some(deleted))
        .remedy(Remedy::step(
            "clear what the message names; forcing the namespace's own finalizer leaves orphans behind",
        ));
    if let Some((kind, said)) = said {
        symptom = symptom.quote(&space.at, format!("status.conditions[{kind}].message"), said.message);
        if kind == "NamespaceDeletionDiscoveryFailure" {
            symptom = symptom.because(causes);
        }
    }
    Some(symptom)
}

fn full(quota: &Object) -> Option<Symptom> {
    let hard = &quota["status"]["hard"];
    let (what, limit) = pairs(hard).find(|(what, limit)| {
        let used = quota["status"]["used"][*what].as_str().and_then(quantity::parse);
        quantity::parse(limit).zip(used).is_some_and(|(limit, used)| limit > 0.0 && used >= limit)
    })?;
    Some(
        Symptom::new(
            "quota-full",
            Severity::Info,
            &quota.at,
            &format!("spec.hard.{what}"),
            format!("is used up: {what} {} of {limit}", text(&quota["status"]["used"][what])),
        )
        .remedy(Remedy::step("raise it before the next pod is needed")),
    )
}
