//! Objects with versions: create, read, replace, remove, as the API conventions have it. One lock holds the
//! world, so that every write is atomic.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::kinds::Kind;
use super::status::No;
use super::{defaults, text};

/// Changes that a watch can still be given.
const LOG_MAX: usize = 5_000;

/// Where an object is: kind, namespace, name.
pub(crate) type Key = (&'static str, String, String);

/// One change, for watches.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) version: u64,
    pub(crate) kind: &'static str,
    pub(crate) what: &'static str,
    pub(crate) object: Value,
}

/// The world.
#[derive(Debug, Default)]
pub(crate) struct Store {
    pub(crate) objects: BTreeMap<Key, Value>,
    pub(crate) log: Vec<Change>,
    /// The oldest version that a watch may begin after.
    pub(crate) oldest: u64,
    pub(crate) version: u64,
    made: u64,
    /// Time of this world: counts up by itself.
    pub(crate) now_s: i64,
}

/// Who writes and how.
#[derive(Debug, Clone, Default)]
pub(crate) struct Writing {
    pub(crate) manager: String,
    pub(crate) dry_run: bool,
    /// The subresource written, if it is one.
    pub(crate) part: Option<&'static str>,
}

/// What happened before this was forgotten.
const FIRST_VERSION: u64 = 1_000;

impl Store {
    /// A world that is not young: its first versions are too old for a watch.
    pub(crate) fn begun() -> Self {
        Self { version: FIRST_VERSION, oldest: FIRST_VERSION, ..Self::default() }
    }

    pub(crate) fn time(&self) -> String {
        jiff::Timestamp::from_second(1_767_225_600 + self.now_s).unwrap().to_string()
    }

    pub(crate) fn key(kind: &'static Kind, namespace: &str, name: &str) -> Key {
        let namespace = if kind.namespaced { namespace } else { "" };
        (kind.plural, namespace.to_owned(), name.to_owned())
    }

    pub(crate) fn get(&self, kind: &'static Kind, namespace: &str, name: &str) -> Result<&Value, No> {
        self.objects.get(&Self::key(kind, namespace, name)).ok_or_else(|| No::missing(kind, name))
    }

    /// Every object of a kind; of one namespace, if it is not empty.
    pub(crate) fn all(&self, plural: &'static str, namespace: &str) -> Vec<Value> {
        let is_it = |key: &Key| key.0 == plural && (namespace.is_empty() || key.1 == namespace);
        self.objects.iter().filter(|(key, _)| is_it(key)).map(|(_, object)| object.clone()).collect()
    }

    fn keep(&mut self, key: Key, what: &'static str, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.log.push(Change { version: self.version, kind: key.0, what, object: object.clone() });
        if self.log.len() > LOG_MAX {
            let excess = self.log.len() - LOG_MAX;
            self.oldest = self.log[excess - 1].version;
            self.log.drain(..excess);
        }
        match what {
            "DELETED" => self.objects.remove(&key),
            _ => self.objects.insert(key, object.clone()),
        };
        object
    }

    pub(crate) fn create(
        &mut self,
        kind: &'static Kind,
        namespace: &str,
        mut object: Value,
        writing: &Writing,
    ) -> Result<Value, No> {
        if !object.is_object() {
            return Err(No::bad("the body is not an object"));
        }
        object["apiVersion"] = json!(kind.api_version());
        object["kind"] = json!(kind.kind);
        if !object["metadata"].is_object() {
            object["metadata"] = json!({});
        }
        self.made += 1;
        if text(&object, "/metadata/name").is_empty() {
            let name = format!("{}{:05x}", text(&object, "/metadata/generateName"), self.made);
            object["metadata"]["name"] = json!(name);
        }
        let name = text(&object, "/metadata/name").to_owned();
        if kind.namespaced {
            let said = text(&object, "/metadata/namespace");
            if !said.is_empty() && said != namespace {
                return Err(No::bad(
                    "the namespace of the provided object does not match the namespace sent on the request",
                ));
            }
            object["metadata"]["namespace"] = json!(namespace);
            let home = self.get(Kind::of("namespaces"), "", namespace)?;
            if text(home, "/status/phase") == "Terminating" {
                return Err(No::new(
                    403,
                    "Forbidden",
                    format!("unable to create new content in namespace {namespace} because it is being terminated"),
                ));
            }
        }
        if !text(&object, "/metadata/resourceVersion").is_empty() {
            return Err(No::bad("resourceVersion should not be set on objects to be created"));
        }
        let key = Self::key(kind, namespace, &name);
        if self.objects.contains_key(&key) {
            return Err(No::exists(kind, &name));
        }
        defaults::fill(kind, &mut object);
        defaults::check(kind, &object, None)?;
        let meta = &mut object["metadata"];
        meta["uid"] = json!(format!("00000000-0000-4000-8000-{:012x}", self.made));
        meta["creationTimestamp"] = json!(self.time());
        meta["generation"] = json!(1);
        managed(&mut object, writing, &self.time());
        if writing.dry_run {
            return Ok(object);
        }
        Ok(self.keep(key, "ADDED", object))
    }

    /// Replaces an object, or a part of it. A version in it must be the current one.
    pub(crate) fn replace(
        &mut self,
        kind: &'static Kind,
        namespace: &str,
        name: &str,
        mut object: Value,
        writing: &Writing,
    ) -> Result<Value, No> {
        let before = self.get(kind, namespace, name)?.clone();
        let at = |object: &Value, pointer: &str| text(object, pointer).to_owned();
        if at(&object, "/metadata/name") != name {
            return Err(No::bad("the name of the object does not match the name on the URL"));
        }
        let version = at(&object, "/metadata/resourceVersion");
        if !version.is_empty() && version != at(&before, "/metadata/resourceVersion") {
            return Err(No::conflict(kind, name));
        }
        let uid = at(&object, "/metadata/uid");
        if !uid.is_empty() && uid != at(&before, "/metadata/uid") {
            return Err(No::conflict(kind, name));
        }
        match writing.part {
            Some("status") => {
                let mut next = before.clone();
                next["status"] = object["status"].take();
                // A status write may carry annotations, but never changes the wish.
                next["metadata"]["annotations"] = object["metadata"]["annotations"].take();
                object = next;
            }
            _ if kind.parts.contains(&"status") => object["status"] = before["status"].clone(),
            _ => {}
        }
        for fixed in ["uid", "creationTimestamp", "generation", "deletionTimestamp", "namespace", "managedFields"] {
            object["metadata"][fixed] = before["metadata"][fixed].clone();
        }
        object["metadata"]["resourceVersion"] = before["metadata"]["resourceVersion"].clone();
        object["apiVersion"] = json!(kind.api_version());
        object["kind"] = json!(kind.kind);
        prune(&mut object);
        defaults::fill(kind, &mut object);
        defaults::check(kind, &object, Some(&before))?;
        if writing.part != Some("status") && wishes(kind, &before) != wishes(kind, &object) {
            object["metadata"]["generation"] = json!(before["metadata"]["generation"].as_u64().unwrap_or(0) + 1);
        }
        if object == before {
            return Ok(before);
        }
        if writing.part.is_none() {
            managed(&mut object, writing, &self.time());
        }
        if writing.dry_run {
            return Ok(object);
        }
        let key = Self::key(kind, namespace, name);
        let is_over = !object["metadata"]["deletionTimestamp"].is_null() && empty(&object["metadata"]["finalizers"]);
        Ok(self.keep(key, if is_over { "DELETED" } else { "MODIFIED" }, object))
    }

    /// Removes an object, or marks it when something holds it back.
    pub(crate) fn remove(
        &mut self,
        kind: &'static Kind,
        namespace: &str,
        name: &str,
        options: &Value,
        dry_run: bool,
    ) -> Result<Value, No> {
        let mut object = self.get(kind, namespace, name)?.clone();
        for (wanted, at) in
            [("/preconditions/uid", "/metadata/uid"), ("/preconditions/resourceVersion", "/metadata/resourceVersion")]
        {
            let wanted = text(options, wanted);
            if !wanted.is_empty() && wanted != text(&object, at) {
                return Err(No::conflict(kind, name));
            }
        }
        if dry_run {
            return Ok(object);
        }
        let time = self.time();
        let meta = &mut object["metadata"];
        if text(options, "/propagationPolicy") == "Foreground" && kind.plural != "namespaces" {
            let mut finalizers = meta["finalizers"].as_array().cloned().unwrap_or_default();
            finalizers.push(json!("foregroundDeletion"));
            meta["finalizers"] = json!(finalizers);
        }
        // A kubelet ends a pod; a controller empties a namespace.
        let waits = !empty(&meta["finalizers"]) || ["pods", "namespaces"].contains(&kind.plural);
        if waits && meta["deletionTimestamp"].is_null() {
            meta["deletionTimestamp"] = json!(time);
        }
        if kind.plural == "namespaces" {
            object["status"]["phase"] = json!("Terminating");
        }
        let key = Self::key(kind, namespace, name);
        Ok(self.keep(key, if waits { "MODIFIED" } else { "DELETED" }, object))
    }

    /// A controller's own write: no version is asked for.
    pub(crate) fn set(&mut self, object: Value) {
        let kind = super::kinds::KINDS.iter().find(|it| it.kind == text(&object, "/kind")).unwrap();
        let key = Self::key(kind, text(&object, "/metadata/namespace"), text(&object, "/metadata/name"));
        if self.objects.get(&key).is_some_and(|before| *before != object) {
            self.keep(key, "MODIFIED", object);
        }
    }

    /// Takes an object away for good.
    pub(crate) fn drop(&mut self, object: &Value) {
        let kind = super::kinds::KINDS.iter().find(|it| it.kind == text(object, "/kind")).unwrap();
        let key = Self::key(kind, text(object, "/metadata/namespace"), text(object, "/metadata/name"));
        if let Some(object) = self.objects.get(&key).cloned() {
            self.keep(key, "DELETED", object);
        }
    }
}

fn empty(list: &Value) -> bool {
    list.as_array().is_none_or(Vec::is_empty)
}

/// Takes away members of the metadata that are not set.
fn prune(object: &mut Value) {
    if let Some(meta) = object["metadata"].as_object_mut() {
        meta.retain(|_, value| !value.is_null());
    }
    if let Some(object) = object.as_object_mut() {
        object.retain(|_, value| !value.is_null());
    }
}

/// What counts as a wish of a kind: its change counts the generation up.
fn wishes(kind: &Kind, object: &Value) -> Value {
    match kind.plural {
        "deployments" => json!([object["spec"], object["metadata"]["annotations"]]),
        _ => object["spec"].clone(),
    }
}

/// Notes who wrote last under which name.
fn managed(object: &mut Value, writing: &Writing, time: &str) {
    let manager = if writing.manager.is_empty() { "unknown" } else { &writing.manager };
    let mut fields = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    fields.retain(|it| text(it, "/manager") != manager);
    fields.push(json!({ "manager": manager, "operation": "Update", "apiVersion": object["apiVersion"],
        "time": time, "fieldsType": "FieldsV1", "fieldsV1": { "f:spec": {} } }));
    object["metadata"]["managedFields"] = json!(fields);
}
