//! What people did: commits, deploys, flags, configuration, scaling.

use std::borrow::Cow;

use opsward_causes::case::{Change, ChangeKind};
use serde_json::Value;

use super::{Place, whose};
use crate::gather::Gather;
use crate::kind::Kind;
use crate::record::Record;
use crate::role::Role;

/// Longest difference that is kept.
const DIFF_BYTES_MAX: usize = 256 << 10;
/// Files of one commit that are kept.
const FILES_MAX: usize = 1000;
/// Longest line for people.
const SUMMARY_BYTES_MAX: usize = 1024;

/// Takes a change of this kind.
pub(super) fn take(gather: &mut Gather, record: &Record<'_>, kind: Kind, place: Place<'_>) -> bool {
    let Some(at_ms) = record.time_of(&[Role::Time, Role::Start, Role::End, Role::Last], gather.assume) else {
        return false;
    };
    let text = |role| record.text(role);
    let component = match kind {
        Kind::Commit => record.text(Role::Service).and_then(|service| gather.component(&service)),
        _ => whose(gather, record, place).or_else(|| {
            record.text(Role::Name).filter(|_| kind == Kind::Deploy).and_then(|name| gather.component(&name))
        }),
    };
    let (id, word) = match kind {
        Kind::Commit => (text(Role::Sha), "commits"),
        Kind::Flag => (text(Role::Flag), "flag changes"),
        Kind::Config => (text(Role::Key), "configuration changes"),
        Kind::Scaling => (text(Role::Id).or_else(|| text(Role::Name)), "scalings"),
        _ => (text(Role::Id).or_else(|| text(Role::Version)).or_else(|| text(Role::Sha)), "deploys"),
    };
    let named = component.map(|id| gather.case.components[id.0 as usize].name.clone());
    let Some(id) = id.map(Cow::into_owned).or(named) else { return false };
    let (files, patches) = files(record);
    let mut diff = text(Role::Diff).map(Cow::into_owned).unwrap_or(patches);
    crate::clean::cut(&mut diff, DIFF_BYTES_MAX);
    let mut summary = summary(record, kind);
    crate::clean::cut(&mut summary, SUMMARY_BYTES_MAX);
    let source = place.source(gather.path());
    gather.change(
        Change {
            id,
            kind: change_kind(kind),
            at_ms,
            component,
            commit: text(Role::Sha).filter(|_| kind != Kind::Commit).map(Cow::into_owned),
            summary,
            files,
            diff,
            author: text(Role::Author).unwrap_or_default().into_owned(),
            source,
        },
        word,
    );
    true
}

fn change_kind(kind: Kind) -> ChangeKind {
    match kind {
        Kind::Commit => ChangeKind::Commit,
        Kind::Flag => ChangeKind::Flag,
        Kind::Config => ChangeKind::Config,
        Kind::Scaling => ChangeKind::Scaling,
        _ => ChangeKind::Deploy,
    }
}

fn summary(record: &Record<'_>, kind: Kind) -> String {
    let text = |role| record.text(role).map(Cow::into_owned);
    let moved = || match (text(Role::From), text(Role::To)) {
        (Some(from), Some(to)) => Some(format!("{from} -> {to}")),
        (None, Some(to)) => Some(format!("-> {to}")),
        (Some(from), None) => Some(format!("{from} ->")),
        (None, None) => None,
    };
    let said = || text(Role::Message).or_else(|| text(Role::Summary)).or_else(|| text(Role::Description));
    match kind {
        Kind::Commit => said().unwrap_or_default(),
        Kind::Deploy => text(Role::Version).or_else(moved).or_else(said).unwrap_or_default(),
        _ => text(Role::Change)
            .or_else(moved)
            .or_else(|| text(Role::State))
            .or_else(|| text(Role::Value))
            .or_else(said)
            .unwrap_or_default(),
    }
}

/// Names of files, and their differences where they carry them.
fn files(record: &Record<'_>) -> (Vec<String>, String) {
    let mut names = Vec::new();
    let mut patches = String::new();
    match record.json(Role::Files) {
        Some(Value::Array(list)) => {
            for file in list.iter().take(FILES_MAX) {
                let name = file.as_str().or_else(|| file["filename"].as_str()).or_else(|| file["path"].as_str());
                names.extend(name.map(str::to_owned));
                if let Some(patch) = file["patch"].as_str().or_else(|| file["diff"].as_str()) {
                    patches.push_str(patch);
                    patches.push('\n');
                }
            }
        }
        _ => {
            let text = record.text(Role::Files).unwrap_or_default();
            names.extend(
                text.split([';', ' ', '\n']).filter(|name| !name.is_empty()).take(FILES_MAX).map(str::to_owned),
            );
        }
    }
    (names, patches)
}
