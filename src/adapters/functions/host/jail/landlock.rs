//! Landlock without a rule: nothing can be opened, bound, connected to or signalled, as far as the kernel's ABI goes.
//! It must never report an ABI that was not enforced in full.

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, LandlockStatus, RestrictionStatus, Ruleset, RulesetAttr,
    RulesetError, RulesetStatus, Scope,
};

/// Landlock is there, but does not hold.
#[derive(Debug, thiserror::Error)]
pub(super) enum LandlockFault {
    #[error("landlock refused: {0}")]
    Refused(#[from] RulesetError),
    #[error("landlock is not fully enforced")]
    Partial,
}

/// Enforces all of this kernel's ABI and says which it is; none when the kernel has no Landlock.
pub(super) fn enforce() -> Result<Option<u32>, LandlockFault> {
    let first = restrict(ABI::V1, CompatLevel::BestEffort)?;
    let LandlockStatus::Available { effective_abi, .. } = first.landlock else {
        return Ok(None);
    };
    let last = restrict(effective_abi, CompatLevel::HardRequirement)?;
    if last.ruleset == RulesetStatus::FullyEnforced && last.no_new_privs {
        Ok(Some(effective_abi as u32))
    } else {
        Err(LandlockFault::Partial)
    }
}

fn restrict(abi: ABI, level: CompatLevel) -> Result<RestrictionStatus, LandlockFault> {
    let mut ruleset = Ruleset::default().set_compatibility(level).handle_access(AccessFs::from_all(abi))?;
    let net = AccessNet::from_all(abi);
    if !net.is_empty() {
        ruleset = ruleset.handle_access(net)?;
    }
    let scope = Scope::from_all(abi);
    if !scope.is_empty() {
        ruleset = ruleset.scope(scope)?;
    }
    Ok(ruleset.create()?.restrict_self()?)
}
