//! What a cluster answers instead of what was asked, and how people meet it. Every refusal says what was
//! asked, of whom, and what would help. Never carries a credential.

use opsward_domain::fault::{Code, Fault};
use serde_json::Value;

use crate::json::{number, quoted, text};

/// Why there is no answer, by what the caller can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Why {
    /// No such object, or no such kind.
    Missing,
    /// An object of that name is there already.
    Exists,
    /// The object's version is another, or somebody else owns the field.
    Conflict,
    /// A list or a watch is too old to go on with.
    Gone,
    /// The object would not be valid.
    Invalid,
    /// The asker may not.
    Forbidden,
    /// The credentials are not accepted.
    Unauthorized,
    /// Too many requests; try again after this many milliseconds.
    Throttled(u64),
    /// The server failed.
    Failed,
    /// No answer in time. A write may have happened.
    Late,
    /// No connection. A write may have happened.
    Unreachable,
    /// An answer that is too large or not JSON.
    Malformed,
}

/// A refusal with its circumstances.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// Why.
    pub(crate) why: Why,
    /// What was asked, such as `update deployments in namespace shop`.
    pub(crate) asked: String,
    /// The right it takes, as a rule of a Role.
    pub(crate) rule: String,
    /// In whose name, if not in opsward's own.
    pub(crate) who: Option<String>,
    /// What the server said, untrusted.
    pub(crate) said: String,
}

impl Refusal {
    /// True if a write may have happened although nobody said so.
    pub(crate) fn is_unsure(&self) -> bool {
        matches!(self.why, Why::Late | Why::Unreachable | Why::Failed | Why::Malformed)
    }
    /// True if asking again later can help.
    pub(crate) fn passes(&self) -> bool {
        matches!(self.why, Why::Late | Why::Unreachable | Why::Failed | Why::Throttled(_))
    }
}

/// What a `Status` object with this HTTP code means.
pub(crate) fn why(code: u16, status: &Value, retry_after_s: Option<u64>) -> Why {
    match (code, text(status, "/reason")) {
        (401, _) => Why::Unauthorized,
        (403, _) => Why::Forbidden,
        (404, _) => Why::Missing,
        (409, "AlreadyExists") => Why::Exists,
        (409, _) => Why::Conflict,
        (410, _) => Why::Gone,
        (400 | 405 | 406 | 413 | 415 | 422, _) => Why::Invalid,
        (429, _) => {
            let seconds = retry_after_s.or_else(|| number(status, "/details/retryAfterSeconds")).unwrap_or(1);
            Why::Throttled(seconds.saturating_mul(1_000))
        }
        (504, _) => Why::Late,
        _ => Why::Failed,
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        let Refusal { why, asked, rule, who, said } = refusal;
        let subject = who.map_or("opsward's own account".to_owned(), |user| format!("user {user:?}"));
        let fault = |code, message: String| Fault::new(code, message).detail(quoted(&said));
        match why {
            Why::Missing => fault(Code::NotFound, format!("the cluster has nothing to {asked}")),
            Why::Exists => fault(Code::Conflict, "the cluster has an object of that name already".into()),
            Why::Conflict => fault(Code::Conflict, "the object was changed by somebody else meanwhile".into())
                .hint("make a new plan"),
            Why::Gone => fault(Code::Conflict, format!("the cluster changed too fast to {asked}")).hint("ask again"),
            Why::Invalid => fault(Code::InvalidInput, format!("the cluster refuses to {asked}")),
            // An authoriser says what the subject cannot do; everything else is a rule about the object.
            Why::Forbidden if !said.contains("cannot ") => {
                fault(Code::Denied, format!("a rule of the cluster refuses to {asked}"))
            }
            Why::Forbidden => fault(Code::Denied, format!("{subject} may not {asked}"))
                .hint(format!("an administrator of the cluster can grant it with this rule: {rule}")),
            Why::Unauthorized => fault(Code::Unavailable, "the cluster does not accept opsward's credentials".into())
                .hint("the token or certificate of the kubeconfig is expired or wrong: renew it; nothing was changed"),
            Why::Throttled(wait_ms) => fault(Code::TooMany, format!("the cluster is too busy to {asked}"))
                .hint(format!("it asks to wait {} s", wait_ms.div_ceil(1_000))),
            Why::Failed => fault(Code::Unavailable, format!("the cluster failed to {asked}")),
            Why::Late => fault(Code::Timeout, format!("the cluster took too long to {asked}")),
            Why::Unreachable => fault(Code::Unavailable, "the cluster does not answer".into())
                .hint("`opsward doctor` tries the connection and quotes its error"),
            Why::Malformed => fault(Code::Unavailable, format!("the cluster gave no usable answer to {asked}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_status_means_one_thing() {
        let none = json!({});
        assert_eq!(why(409, &json!({"reason": "AlreadyExists"}), None), Why::Exists);
        assert_eq!(why(409, &json!({"reason": "Conflict"}), None), Why::Conflict);
        assert_eq!(why(410, &none, None), Why::Gone);
        assert_eq!(why(429, &none, Some(3)), Why::Throttled(3_000));
        assert_eq!(why(429, &json!({"details": {"retryAfterSeconds": 2}}), None), Why::Throttled(2_000));
        assert_eq!(why(429, &none, None), Why::Throttled(1_000));
        assert_eq!((why(500, &none, None), why(503, &none, None)), (Why::Failed, Why::Failed));
        assert_eq!(why(422, &none, None), Why::Invalid);
    }

    #[test]
    fn forbidden_says_who_what_and_which_rule() {
        let fault: Fault = Refusal {
            why: Why::Forbidden,
            asked: "update deployments in namespace shop".into(),
            rule: "{apiGroups: [\"apps\"], resources: [\"deployments\"], verbs: [\"update\"]}".into(),
            who: Some("jane".into()),
            said: "User \"jane\" cannot update\nall\u{1b} rules".into(),
        }
        .into();
        assert_eq!(fault.code, Code::Denied);
        assert_eq!(fault.message, "user \"jane\" may not update deployments in namespace shop");
        assert_eq!(fault.detail, "User \"jane\" cannot update all  rules");
        assert!(fault.hint.contains("verbs: [\"update\"]"), "{}", fault.hint);
    }
}
