//! Who may do what: tokens, impersonation, rules. Denies what no rule allows.

use axum::http::HeaderMap;
use serde_json::{Value, json};

use super::kinds::Kind;
use super::status::No;
use super::{World, lock, text};

/// One rule of a role.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    pub(crate) verbs: Vec<&'static str>,
    pub(crate) resources: Vec<&'static str>,
    /// Where; everywhere if absent.
    pub(crate) namespace: Option<&'static str>,
}

impl Rule {
    pub(crate) fn all() -> Self {
        Self { verbs: vec!["*"], resources: vec!["*"], namespace: None }
    }
    pub(crate) fn of(verbs: &[&'static str], resources: &[&'static str], namespace: &'static str) -> Self {
        Self { verbs: verbs.to_vec(), resources: resources.to_vec(), namespace: Some(namespace) }
    }
    fn allows(&self, verb: &str, resource: &str, namespace: &str) -> bool {
        let has = |list: &[&str], word: &str| list.iter().any(|it| *it == "*" || *it == word);
        has(&self.verbs, verb) && has(&self.resources, resource) && self.namespace.is_none_or(|it| it == namespace)
    }
}

impl World {
    /// The user of a request: by its token, or as whom it may speak.
    pub(crate) fn user(&self, headers: &HeaderMap) -> Result<String, No> {
        let header = |name: &str| headers.get(name).and_then(|it| it.to_str().ok()).unwrap_or_default().to_owned();
        let token = header("authorization");
        let token = token.strip_prefix("Bearer ").unwrap_or_default();
        let user = lock(&self.tokens).get(token).cloned();
        let user = user.ok_or_else(|| No::new(401, "Unauthorized", "Unauthorized"))?;
        let other = header("impersonate-user");
        if other.is_empty() {
            return Ok(user);
        }
        match self.may(&user, "impersonate", "users", "") {
            true => Ok(other),
            false => Err(forbidden(&user, "impersonate", "users", "", "", &other)),
        }
    }

    pub(crate) fn may(&self, user: &str, verb: &str, resource: &str, namespace: &str) -> bool {
        let rules = lock(&self.rules);
        rules.get(user).is_some_and(|rules| rules.iter().any(|rule| rule.allows(verb, resource, namespace)))
    }

    pub(crate) fn require(
        &self,
        user: &str,
        verb: &str,
        kind: &Kind,
        part: &str,
        namespace: &str,
        name: &str,
    ) -> Result<(), No> {
        // Anybody may ask what they may do themselves.
        if kind.plural == "selfsubjectaccessreviews" {
            return Ok(());
        }
        let resource = if part.is_empty() { kind.plural.to_owned() } else { format!("{}/{part}", kind.plural) };
        match self.may(user, verb, &resource, namespace) {
            true => Ok(()),
            false => Err(forbidden(user, verb, &resource, kind.group, namespace, name)),
        }
    }

    /// Answers a SelfSubjectAccessReview.
    pub(crate) fn review(&self, user: &str, mut review: Value) -> Value {
        let at = |field: &str| text(&review, &format!("/spec/resourceAttributes/{field}")).to_owned();
        let part = at("subresource");
        let resource = if part.is_empty() { at("resource") } else { format!("{}/{part}", at("resource")) };
        let allowed = self.may(user, &at("verb"), &resource, &at("namespace"));
        let reason = if allowed { "RBAC: allowed by a rule" } else { "" };
        review["status"] = json!({ "allowed": allowed, "reason": reason });
        review
    }
}

fn forbidden(user: &str, verb: &str, resource: &str, group: &str, namespace: &str, name: &str) -> No {
    let place =
        if namespace.is_empty() { "at the cluster scope".into() } else { format!("in the namespace {namespace:?}") };
    let said = format!(
        "{resource} {name:?} is forbidden: User {user:?} cannot {verb} resource {resource:?} in API group {group:?} {place}"
    );
    No::new(403, "Forbidden", said)
}
