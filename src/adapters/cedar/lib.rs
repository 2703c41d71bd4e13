//! The policy port on Cedar. Never decides what Cedar did not: an error of any kind is reported, and
//! the answer beside it is no.

mod examples;
mod request;
mod schema;
mod set;

use async_trait::async_trait;
use cedar_policy::{Authorizer, Decision};
use opsward_domain::fault::Fault;
use opsward_ports::policy::{Answer, Policy, Question};

pub use schema::schema_text;

use crate::request::Names;
use crate::set::Loaded;

macro_rules! policy_files {
    ($($name:literal),* $(,)?) => {
        /// The built-in policy texts by file name.
        pub const DEFAULT_FILES: &[(&str, &str)] =
            &[$((concat!("policies/", $name), include_str!(concat!("../../../policies/", $name)))),*];
    };
}
policy_files!(
    "tenancy.cedar",
    "switches.cedar",
    "taint.cedar",
    "approvals.cedar",
    "observe.cedar",
    "workload.cedar",
    "function.cedar",
    "backup.cedar",
    "storage.cedar",
    "workspace.cedar",
    "remediator.cedar",
    "govern.cedar",
);

/// The built-in examples: questions with the answer and the policy that must decide each.
pub const DEFAULT_EXAMPLES: (&str, &str) = ("policies/examples.toml", include_str!("../../../policies/examples.toml"));

/// A loaded, validated and immutable policy set.
pub struct CedarPolicy {
    names: Names,
    loaded: Loaded,
    digest: String,
    authorizer: Authorizer,
}

impl std::fmt::Debug for CedarPolicy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CedarPolicy").field("digest", &self.digest).finish_non_exhaustive()
    }
}

impl CedarPolicy {
    /// Loads `files`, pairs of file name and Cedar text, at most 512 policies together.
    ///
    /// Every policy needs `@id` (unique) and `@advice` (one line), and passes strict validation against
    /// [`schema_text`] without a warning. Errors name file and line.
    pub fn load(files: &[(&str, &str)]) -> Result<Self, Fault> {
        let names = Names::new().map_err(Fault::internal)?;
        let schema = schema_text();
        let loaded = set::load(files, &schema, &names)?;
        let mut sorted = files.to_vec();
        sorted.sort_unstable();
        let digest = opsward_domain::canonical::digest("opsward-policies-1", &(schema, sorted));
        Ok(Self { names, loaded, digest, authorizer: Authorizer::new() })
    }

    /// Loads the built-in set and checks it against its examples.
    pub fn defaults() -> Result<Self, Fault> {
        let policy = Self::load(DEFAULT_FILES)?;
        policy.check(DEFAULT_EXAMPLES.0, DEFAULT_EXAMPLES.1)?;
        Ok(policy)
    }

    /// Checks the set against the examples in `text`; `file` names it in errors. The first example that
    /// is answered otherwise, or by another policy, is a fault.
    pub fn check(&self, file: &str, text: &str) -> Result<(), Fault> {
        examples::check(self, file, text)
    }

    /// Answers one question.
    pub fn decide(&self, question: &Question) -> Answer {
        let no = |error: String| Answer { allowed: false, policies: Vec::new(), errors: vec![error] };
        if let Some(error) = question.misstated() {
            return no(error);
        }
        let Some(slice) = self.loaded.slices.get(&question.verb.id()) else {
            return no("there is no such verb".to_owned());
        };
        let (request, entities) = match request::build(&self.names, &slice.action, question) {
            Ok(built) => built,
            Err(error) => return no(error),
        };
        let response = self.authorizer.is_authorized(&request, &slice.policies, &entities);
        let errors: Vec<String> = response.diagnostics().errors().map(ToString::to_string).collect();
        let mut policies: Vec<String> = response.diagnostics().reason().map(ToString::to_string).collect();
        policies.sort_unstable();
        Answer { allowed: response.decision() == Decision::Allow && errors.is_empty(), policies, errors }
    }

    /// Ids of all policies, in order.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.loaded.advice.keys().map(String::as_str)
    }
}

#[async_trait]
impl Policy for CedarPolicy {
    async fn ask(&self, question: &Question) -> Result<Answer, Fault> {
        Ok(self.decide(question))
    }
    fn set_digest(&self) -> String {
        self.digest.clone()
    }
    fn advice(&self, policy: &str) -> Option<String> {
        self.loaded.advice.get(policy).cloned()
    }
}
