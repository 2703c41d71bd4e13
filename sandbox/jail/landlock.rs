//! Landlock with no rules: nothing may be opened, bound, connected to or signalled, as far as the kernel's ABI goes.

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, LandlockStatus, RestrictionStatus, Ruleset, RulesetAttr,
    RulesetError, RulesetStatus, Scope,
};

/// Why Landlock does not hold.
#[derive(Debug, thiserror::Error)]
pub(super) enum LandlockFault {
    /// The kernel has none, or refuses.
    #[error("landlock refused: {0}")]
    Refused(#[from] RulesetError),
    /// It took the ruleset but not all of it.
    #[error("landlock is not fully enforced")]
    Partial,
}

/// Enforces everything this kernel's ABI has (or `at_most`), and says which ABI that is.
///
/// # Errors
/// [`LandlockFault`] when the kernel has no Landlock or enforces less than asked.
pub(super) fn enforce(at_most: Option<u32>) -> Result<u32, LandlockFault> {
    // The first ruleset is what every Landlock kernel has, and tells the ABI of this one.
    let first = restrict(ABI::V1)?;
    let kernel = match first.landlock {
        LandlockStatus::Available { effective_abi, .. } => effective_abi,
        _ => return Err(LandlockFault::Partial),
    };
    let asked = at_most.map_or(kernel, |most| ABI::from(i32::try_from(most).unwrap_or(0)));
    if asked < ABI::V1 || asked > kernel {
        return Err(LandlockFault::Partial);
    }
    if asked > ABI::V1 {
        restrict(asked)?;
    }
    Ok(asked as u32)
}

fn restrict(abi: ABI) -> Result<RestrictionStatus, LandlockFault> {
    let mut ruleset =
        Ruleset::default().set_compatibility(CompatLevel::HardRequirement).handle_access(AccessFs::from_all(abi))?;
    let net = AccessNet::from_all(abi);
    if !net.is_empty() {
        ruleset = ruleset.handle_access(net)?;
    }
    let scope = Scope::from_all(abi);
    if !scope.is_empty() {
        ruleset = ruleset.scope(scope)?;
    }
    let status = ruleset.create()?.restrict_self()?;
    if status.ruleset == RulesetStatus::FullyEnforced && status.no_new_privs {
        Ok(status)
    } else {
        Err(LandlockFault::Partial)
    }
}
