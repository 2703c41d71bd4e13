//! Optional: what gives a pod or a person more power than it should have. Off unless asked for.

use serde_json::Value;

use crate::finding::{Remedy, Severity};
use crate::object::{Object, items, text};
use crate::symptom::Symptom;

use super::Cx;

pub(super) fn run(cx: &Cx<'_>, out: &mut Vec<Symptom>) {
    for object in cx.objects.all() {
        let Some(template) = object.template() else { continue };
        if object.controller().is_none() && !object.namespace().starts_with("kube-") {
            template_powers(object, &template["spec"], out);
        }
    }
    for kind in ["ClusterRoleBinding", "RoleBinding"] {
        out.extend(cx.objects.of_kind(kind).filter_map(binding));
    }
}

fn say(object: &Object, rule: &'static str, severity: Severity, field: &str, claim: String, remedy: &str) -> Symptom {
    Symptom::new(rule, severity, &object.at, field, claim).remedy(Remedy::step(remedy))
}

#[allow(clippy::too_many_lines, reason = "a list of powers, read as a table")]
fn template_powers(object: &Object, spec: &Value, out: &mut Vec<Symptom>) {
    for list in ["initContainers", "containers"] {
        for container in items(&spec[list]) {
            let name = text(&container["name"]);
            let field = format!("{list}[{name}].securityContext");
            if container["securityContext"]["privileged"] == true {
                out.push(
                    say(
                        object,
                        "privileged",
                        Severity::Warning,
                        &field,
                        format!("container {name} is privileged: it owns its node"),
                        "name the few capabilities it needs instead",
                    )
                    .detail(name),
                );
            }
            let added = items(&container["securityContext"]["capabilities"]["add"]);
            if let Some(power) =
                added.iter().map(text).find(|power| matches!(*power, "SYS_ADMIN" | "ALL" | "SYS_PTRACE" | "SYS_MODULE"))
            {
                out.push(
                    say(
                        object,
                        "capability",
                        Severity::Warning,
                        &field,
                        format!("container {name} has the capability {power}"),
                        "drop it",
                    )
                    .detail(name),
                );
            }
        }
    }
    for (key, what) in [
        ("hostPID", "sees every process of its node"),
        ("hostIPC", "shares memory with its node"),
        ("hostNetwork", "uses its node's network"),
    ] {
        if spec[key] == true {
            out.push(
                say(
                    object,
                    "host-namespace",
                    Severity::Info,
                    key,
                    what.to_owned(),
                    "leave it out unless it is part of the platform",
                )
                .detail(key),
            );
        }
    }
    for volume in items(&spec["volumes"]) {
        let path = text(&volume["hostPath"]["path"]);
        if ["/", "/etc", "/var/run/docker.sock", "/run/containerd/containerd.sock", "/var/lib/kubelet", "/root"]
            .contains(&path.trim_end_matches('/'))
            || path == "/"
        {
            out.push(
                say(
                    object,
                    "host-path",
                    Severity::Warning,
                    "volumes",
                    format!("mounts {path} of its node"),
                    "mount only what it needs, read-only",
                )
                .detail(path),
            );
        }
    }
}

fn binding(binding: &Object) -> Option<Symptom> {
    let role = text(&binding["roleRef"]["name"]);
    let subject = items(&binding["subjects"]).iter().map(|subject| text(&subject["name"])).find(|name| {
        matches!(
            *name,
            "system:anonymous" | "system:unauthenticated" | "system:authenticated" | "system:serviceaccounts"
        )
    })?;
    let builtin = binding.label("kubernetes.io/bootstrapping").is_some();
    let strong = matches!(role, "cluster-admin" | "admin" | "edit");
    (strong && !builtin).then(|| {
        say(
            binding,
            "open-binding",
            Severity::Critical,
            "subjects",
            format!("gives {role} to {subject}: to everybody"),
            "bind the role to the people and accounts that need it",
        )
    })
}
