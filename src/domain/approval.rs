//! A request for a person's yes, bound to exact bytes. Single use, short-lived, never carried by a client.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::decision::Approvers;
use crate::name::{Id, Subject, Tenant};
use crate::plan::Plan;
use crate::time::AtMs;

/// How long a request stays open.
pub const APPROVAL_OPEN_MS: i64 = 15 * 60 * 1000;

/// A request for approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalRequest {
    /// Opaque identity; all that a button or a command carries.
    pub id: Id,
    /// Which plan.
    pub plan: Id,
    /// Everything the yes is bound to, see [`binding`].
    pub binding: String,
    /// Who asked for the plan.
    pub asker: Subject,
    /// Who must agree.
    pub approvers: Approvers,
    /// Random, so that no two requests bind alike.
    pub nonce: String,
    /// When it lapses.
    pub expires_at_ms: AtMs,
}

/// What exactly was agreed to: tenant, run, plan with arguments, versions and diff, policy set, nonce, expiry.
pub fn binding(tenant: &Tenant, run: &str, plan: &Plan, policy_set: &str, nonce: &str, expires_at_ms: AtMs) -> String {
    crate::canonical::digest("opsward-approval-1", &(tenant, run, plan.digest(), policy_set, nonce, expires_at_ms))
}

/// Where a request stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum ApprovalStatus {
    /// Waits; these people said yes so far.
    Open {
        /// Who said yes.
        given_by: BTreeSet<Subject>,
    },
    /// Enough people said yes.
    Granted {
        /// Who said yes.
        given_by: BTreeSet<Subject>,
    },
    /// Someone said no.
    Refused {
        /// Who.
        by: Subject,
        /// Why.
        note: String,
    },
    /// Nobody answered in time, or what it was bound to has changed.
    Void {
        /// Why.
        reason: String,
    },
}
