//! Claims, volumes and storage classes.

use crate::finding::{Remedy, Severity};
use crate::object::{Object, Ref, items, text};
use crate::symptom::Symptom;
use crate::{near, when};

use super::{Cx, MINUTE_MS, SETTLE_MS};

/// A provisioner gets this long.
const PROVISION_MS: i64 = 5 * MINUTE_MS;

pub(super) fn run(cx: &Cx<'_>, out: &mut Vec<Symptom>) {
    for claim in cx.objects.of_kind("PersistentVolumeClaim") {
        if claim.deleted_ms().is_some() {
            continue;
        }
        match text(&claim["status"]["phase"]) {
            "Pending" => out.extend(pending(cx, claim)),
            "Lost" => out.push(lost(claim)),
            _ => out.extend(resizing(cx, claim)),
        }
    }
    for volume in cx.objects.of_kind("PersistentVolume") {
        out.extend(volume_state(volume));
    }
    out.extend(two_defaults(cx));
}

fn is_default(class: &Object) -> bool {
    ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"]
        .iter()
        .any(|key| class.annotation(key) == Some("true"))
}

/// A class that somebody asks for and that is known not to exist.
pub(super) fn class_missing(cx: &Cx<'_>, class: &str) -> Symptom {
    let names: Vec<&str> = cx.objects.of_kind("StorageClass").map(Object::name).collect();
    let hint = match near::nearest(class, names.iter().copied()) {
        Some(near) => format!("; there is {near:?}"),
        None if names.is_empty() => String::new(),
        None => format!("; there is {}", names.join(", ")),
    };
    Symptom::new(
        "storage-class-missing",
        Severity::Error,
        &Ref::new("StorageClass", "", class),
        "metadata.name",
        format!("does not exist{hint}"),
    )
    .remedy(Remedy::step(
        "create the class, or make the claim anew with a class that exists: the class of a claim cannot be changed",
    ))
}

fn pending(cx: &Cx<'_>, claim: &Object) -> Option<Symptom> {
    let class = claim["spec"]["storageClassName"].as_str();
    let event = cx.objects.events(&claim.at).rev().find(|event| event.reason != "WaitForFirstConsumer");
    let since = claim.created_ms();
    let quoted = |symptom: Symptom| match event {
        Some(event) => symptom.since(since).quote(event.at, "message", event.message),
        None => symptom.since(since).quote(&claim.at, "spec.storageClassName", class.unwrap_or_default()),
    };
    if let Some(name) = class.filter(|name| !name.is_empty()) {
        let told = event.is_some_and(|event| {
            event.message.contains("storageclass.storage.k8s.io") && event.message.contains("not found")
        });
        let fixed = Ref::new("StorageClass", "", name);
        let static_match =
            cx.objects.of_kind("PersistentVolume").any(|volume| text(&volume["spec"]["storageClassName"]) == name);
        if told || (cx.objects.is_absent(&fixed) && !static_match) {
            return Some(quoted(
                class_missing(cx, name).seen_on(&claim.at, format!("asks for the class {name:?} and stays Pending")),
            ));
        }
    }
    if !cx.older(since, SETTLE_MS) {
        return None;
    }
    if let Some(name) = claim["spec"]["volumeName"].as_str() {
        let volume = Ref::new("PersistentVolume", "", name);
        return named_volume(cx, claim, &volume).map(quoted);
    }
    let Some(name) = class else {
        if cx.objects.knows("StorageClass", "") && !cx.objects.of_kind("StorageClass").any(is_default)
            || event.is_some_and(|event| event.message.contains("no storage class is set"))
        {
            return Some(quoted(
                Symptom::new(
                    "no-default-storage-class",
                    Severity::Error,
                    &claim.at,
                    "spec.storageClassName",
                    "names no class, and no class is the default one",
                )
                .remedy(Remedy::step("make one class the default before the claim is made, or name a class in it")),
            ));
        }
        return provisioning(cx, claim, None, event).map(quoted);
    };
    if name.is_empty() {
        return Some(quoted(
            Symptom::new(
                "claim-unbound",
                Severity::Error,
                &claim.at,
                "spec.storageClassName",
                "wants a volume that was made by hand, and none fits",
            )
            .remedy(Remedy::step(
                "make a PersistentVolume that fits in size, access mode and selector, or name a class",
            )),
        ));
    }
    provisioning(cx, claim, cx.objects.find("StorageClass", "", name), event).map(quoted)
}

/// A claim that names its volume itself.
fn named_volume(cx: &Cx<'_>, claim: &Object, volume: &Ref) -> Option<Symptom> {
    let why = match cx.objects.get(volume) {
        None if cx.objects.is_absent(volume) => "which does not exist".to_owned(),
        None => return None,
        Some(found) => {
            let user = &found["spec"]["claimRef"];
            let other = user.is_object()
                && (text(&user["name"]), text(&user["namespace"])) != (claim.name(), claim.namespace());
            if other {
                format!("which belongs to {}/{}", text(&user["namespace"]), text(&user["name"]))
            } else {
                "which does not fit in size, class or access mode".to_owned()
            }
        }
    };
    Some(
        Symptom::new(
            "claim-volume-unfit",
            Severity::Error,
            &claim.at,
            "spec.volumeName",
            format!("names the volume {:?}, {why}", volume.name),
        )
        .remedy(Remedy::step("name a volume that is free and fits, or leave volumeName out")),
    )
}

fn provisioning(
    cx: &Cx<'_>,
    claim: &Object,
    class: Option<&Object>,
    event: Option<crate::objects::Happening<'_>>,
) -> Option<Symptom> {
    let waits = class.is_some_and(|class| text(&class["volumeBindingMode"]) == "WaitForFirstConsumer");
    let chosen = claim.annotation("volume.kubernetes.io/selected-node").is_some();
    let failed = event.filter(|event| event.reason == "ProvisioningFailed");
    if let Some(event) = failed {
        let full = ["quota", "no space", "insufficient", "not enough", "exceed"]
            .iter()
            .any(|word| event.message.to_lowercase().contains(word));
        let (claim_text, remedy) = if full {
            (
                "cannot be provisioned: the storage has no room or its quota is used up",
                "free or add storage, or ask for less",
            )
        } else {
            ("cannot be provisioned: its provisioner fails", "read the provisioner's words and log")
        };
        return Some(
            Symptom::new("provisioning-failed", Severity::Error, &claim.at, "status.phase", claim_text)
                .because(drivers(cx, class))
                .remedy(Remedy::step(remedy).kubectl("describe", &claim.at, "")),
        );
    }
    if (waits && !chosen) || !cx.older(claim.created_ms(), PROVISION_MS) {
        return None;
    }
    if waits && event.is_none() && class.is_none() {
        return None;
    }
    let provisioner = class.map_or("its provisioner", |class| text(&class["provisioner"]));
    if provisioner == "kubernetes.io/no-provisioner" {
        return Some(
            Symptom::new(
                "claim-unbound",
                Severity::Error,
                &claim.at,
                "spec.storageClassName",
                "wants a volume of a class that is filled by hand, and none fits",
            )
            .remedy(Remedy::step("make a PersistentVolume of that class that fits")),
        );
    }
    Some(
        Symptom::new(
            "provisioner-silent",
            Severity::Error,
            &claim.at,
            "status.phase",
            format!("waits for {provisioner}, which does not answer"),
        )
        .because(drivers(cx, class))
        .remedy(Remedy::step("see whether the pods of that storage driver run").kubectl("describe", &claim.at, "")),
    )
}

/// Pods that carry the provisioner's name in an argument.
fn drivers(cx: &Cx<'_>, class: Option<&Object>) -> Vec<Ref> {
    let Some(name) = class.map(|class| text(&class["provisioner"])).filter(|name| name.len() > 3) else {
        return Vec::new();
    };
    let names = |pod: &Object| {
        items(&pod["spec"]["containers"]).iter().any(|container| {
            let args = ["args", "command"]
                .into_iter()
                .flat_map(|part| items(&container[part]))
                .any(|arg| text(arg).contains(name));
            args || items(&container["env"]).iter().any(|variable| text(&variable["value"]) == name)
        })
    };
    cx.objects.of_kind("Pod").filter(|pod| names(pod)).map(|pod| pod.at.clone()).collect()
}

fn lost(claim: &Object) -> Symptom {
    let volume = text(&claim["spec"]["volumeName"]);
    Symptom::new(
        "claim-lost",
        Severity::Critical,
        &claim.at,
        "status.phase",
        format!("has lost its volume {volume:?}: the PersistentVolume is gone"),
    )
    .quote(&claim.at, "status.phase", "Lost")
    .remedy(Remedy::step(
        "find the disk behind the volume and make a PersistentVolume for it, or restore the newest backup",
    ))
}

fn resizing(cx: &Cx<'_>, claim: &Object) -> Option<Symptom> {
    let event = cx
        .objects
        .events(&claim.at)
        .rev()
        .find(|event| matches!(event.reason, "VolumeResizeFailed" | "FileSystemResizeFailed"));
    let controller = claim.condition("ControllerResizeError").filter(|c| c.is("True"));
    let pending =
        claim.condition("FileSystemResizePending").filter(|c| c.is("True") && cx.older(c.since_ms, 60 * MINUTE_MS));
    let wanted = crate::quantity::of(&claim["spec"]["resources"]["requests"]["storage"])?;
    let have = crate::quantity::of(&claim["status"]["capacity"]["storage"])?;
    if wanted <= have {
        return None;
    }
    let class = cx.objects.find("StorageClass", "", text(&claim["spec"]["storageClassName"]));
    let shown = format!(
        "from {} to {}",
        text(&claim["status"]["capacity"]["storage"]),
        text(&claim["spec"]["resources"]["requests"]["storage"])
    );
    let (claim_text, remedy) = if class.is_some_and(|class| class["allowVolumeExpansion"] != true) {
        ("cannot grow: its class does not allow that", "set allowVolumeExpansion on the class if its driver can do it")
    } else if event.is_some() || controller.is_some() {
        ("cannot grow: its driver fails", "read the driver's words")
    } else if pending.is_some() {
        ("has grown, but its file system waits for a restart of the pod", "restart the pod that uses it")
    } else {
        return None;
    };
    let symptom = Symptom::new(
        "volume-resize",
        Severity::Warning,
        &claim.at,
        "spec.resources.requests.storage",
        format!("{claim_text} ({shown})"),
    )
    .since(pending.or(controller).and_then(|c| c.since_ms))
    .remedy(Remedy::step(remedy));
    Some(match event {
        Some(event) => symptom.quote(event.at, "message", event.message),
        None => symptom.quote(&claim.at, "status.capacity.storage", text(&claim["status"]["capacity"]["storage"])),
    })
}

fn volume_state(volume: &Object) -> Option<Symptom> {
    let phase = text(&volume["status"]["phase"]);
    let user =
        format!("{}/{}", text(&volume["spec"]["claimRef"]["namespace"]), text(&volume["spec"]["claimRef"]["name"]));
    let (severity, claim, remedy) = match phase {
        "Failed" => (
            Severity::Error,
            format!("could not be reclaimed after {user} was deleted"),
            "see the message; delete the disk by hand if nobody needs it",
        ),
        "Released" => (
            Severity::Info,
            format!("is kept since {user} was deleted; nobody can use it until its claimRef is removed"),
            "remove claimRef to use it again, or delete it with its disk",
        ),
        _ => return None,
    };
    Some(
        Symptom::new("volume-state", severity, &volume.at, "status.phase", claim)
            .since(when::parse(&volume["status"]["lastPhaseTransitionTime"]))
            .quote(&volume.at, "status.message", text(&volume["status"]["message"]))
            .remedy(Remedy::step(remedy)),
    )
}

fn two_defaults(cx: &Cx<'_>) -> Option<Symptom> {
    let defaults: Vec<&Object> = cx.objects.of_kind("StorageClass").filter(|class| is_default(class)).collect();
    let [first, second, ..] = defaults[..] else { return None };
    Some(
        Symptom::new(
            "two-default-classes",
            Severity::Info,
            &first.at,
            "metadata.annotations",
            format!(
                "is the default class, and so is {}: which one a claim gets depends on which was made last",
                second.at
            ),
        )
        .remedy(Remedy::step("leave one of them the default")),
    )
}
