//! Asking the cluster whether the asker may, before anything is offered. The answer is the cluster's own
//! authoriser's, in the name of the person where impersonation is on.

use opsward_domain::fault::Fault;
use opsward_domain::name::Workspace;
use opsward_ports::provider::Layer;
use serde_json::{Value, json};

use crate::cluster::{Ask, Cluster, Verb};
use crate::json::{flag, text};
use crate::kinds::{ACCESS_REVIEW, DEPLOYMENT, POD};
use crate::refusal::{Refusal, Why};

/// Refuses what the asker may not do.
pub(crate) async fn require(cluster: &Cluster, wanted: &Ask<'_>) -> Result<(), Refusal> {
    let attributes = json!({
        "verb": wanted.verb.word(),
        "group": wanted.kind.group,
        "resource": wanted.kind.plural,
        "namespace": wanted.namespace.filter(|_| wanted.kind.namespaced).unwrap_or_default(),
        "name": wanted.name.unwrap_or_default(),
    });
    let review = review(cluster, attributes).await?;
    if flag(&review, "/status/allowed") {
        return Ok(());
    }
    Err(Refusal {
        why: Why::Forbidden,
        asked: wanted.words(),
        rule: wanted.rule(),
        who: cluster.who().map(str::to_owned),
        // The word by which an answer of the authoriser is told from one of an admission rule.
        said: format!("cannot {} resource: {}", wanted.verb.word(), text(&review, "/status/reason")),
    })
}

async fn review(cluster: &Cluster, attributes: Value) -> Result<Value, Refusal> {
    let body = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": ACCESS_REVIEW.kind,
        "spec": { "resourceAttributes": attributes },
    });
    cluster.ask(&Ask::new(Verb::Create, &ACCESS_REVIEW, None, None).body(body)).await
}

/// Whether calls are made in people's own names, for `doctor` and the platform's page.
pub(crate) async fn impersonation(cluster: &Cluster) -> Layer {
    let attributes = json!({ "verb": "impersonate", "group": "", "resource": "users" });
    let (holds, detail) = match (cluster.who(), review(cluster, attributes).await) {
        (Some(who), _) => (true, format!("calls are made as the person who asked (now {who:?})")),
        (None, Ok(review)) if flag(&review, "/status/allowed") => {
            (true, "opsward may make calls as the person who asked; set impersonate to use it everywhere".to_owned())
        }
        (None, Ok(_)) => (
            false,
            "every call is made with opsward's own account: grant it impersonate on users and set impersonate"
                .to_owned(),
        ),
        (None, Err(refusal)) => (false, format!("the cluster could not be asked: {}", Fault::from(refusal))),
    };
    Layer { name: "own_rights".into(), holds, detail }
}

/// What opsward, or the person, may do in a namespace.
pub(crate) async fn namespace(cluster: &Cluster, workspace: &Workspace, namespace: &str) -> Layer {
    let sees = Ask::new(Verb::List, &POD, Some(namespace), None);
    let changes = Ask::new(Verb::Update, &DEPLOYMENT, Some(namespace), None);
    let told = |refusal: Refusal| {
        let fault = Fault::from(refusal);
        format!("{fault}. {}", fault.hint)
    };
    let (holds, detail) = match (require(cluster, &sees).await, require(cluster, &changes).await) {
        (Ok(()), Ok(())) => (true, format!("namespace {namespace} may be looked at and changed")),
        (Ok(()), Err(refusal)) => (true, format!("namespace {namespace} may be looked at only: {}", told(refusal))),
        (Err(refusal), _) => (false, told(refusal)),
    };
    Layer { name: format!("workspace {workspace}"), holds, detail }
}
