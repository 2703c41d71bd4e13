//! Removal: what lost its owner goes, what waits for its dependants goes after them, a namespace goes with
//! everything in it.

use serde_json::{Value, json};

use super::controllers::leaving;
use super::kinds::KINDS;
use super::store::Store;
use super::{items, owner_of, text};

pub(crate) fn round(store: &mut Store) {
    let all: Vec<Value> = store.objects.values().cloned().collect();
    let alive: Vec<&str> = all.iter().map(|it| text(it, "/metadata/uid")).collect();
    let waits = |it: &Value| items(it, "/metadata/finalizers").contains(&json!("foregroundDeletion"));
    let dying: Vec<&str> =
        all.iter().filter(|it| leaving(it) && waits(it)).map(|it| text(it, "/metadata/uid")).collect();
    for object in &all {
        let (owner, uid) = (owner_of(object), text(object, "/metadata/uid"));
        if dying.contains(&uid) && !all.iter().any(|it| owner_of(it) == uid) {
            store.drop(object);
        } else if !owner.is_empty() && (!alive.contains(&owner) || dying.contains(&owner)) {
            remove(store, object, dying.contains(&owner));
        }
    }
    for namespace in store.all("namespaces", "").into_iter().filter(leaving) {
        let inside = |it: &&Value| text(it, "/metadata/namespace") == text(&namespace, "/metadata/name");
        let content: Vec<&Value> = all.iter().filter(inside).collect();
        if content.is_empty() {
            store.drop(&namespace);
        }
        content.into_iter().for_each(|it| remove(store, it, false));
    }
}

fn remove(store: &mut Store, object: &Value, foreground: bool) {
    if leaving(object) {
        return;
    }
    let kind = KINDS.iter().find(|it| it.kind == text(object, "/kind")).unwrap();
    let policy = if foreground && !["pods", "services"].contains(&kind.plural) { "Foreground" } else { "Background" };
    let (namespace, name) = (text(object, "/metadata/namespace"), text(object, "/metadata/name"));
    let _ = store.remove(kind, namespace, name, &json!({ "propagationPolicy": policy }), false);
}
