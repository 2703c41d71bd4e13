//! Lists and watches: selectors, pages, bookmarks, and the 410 that ends what is too old.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::Response;
use serde_json::{Value, json};

use super::http::Request;
use super::status::No;
use super::store::Change;
use super::{World, lock, text};

/// Quiet time after which a watch is given a bookmark.
const BOOKMARK_MS: u64 = 50;

/// True if an object fits the request's selectors.
fn fits(request: &Request, object: &Value) -> Result<bool, No> {
    for part in request.query("labelSelector").split(',').filter(|it| !it.is_empty()) {
        let (key, value) =
            part.split_once('=').ok_or_else(|| No::bad(format!("unable to parse requirement: {part}")))?;
        let value = value.trim_start_matches('=');
        if object["metadata"]["labels"][key].as_str() != Some(value) {
            return Ok(false);
        }
    }
    for part in request.query("fieldSelector").split(',').filter(|it| !it.is_empty()) {
        let (path, value) = part.split_once('=').ok_or_else(|| No::bad("invalid field selector"))?;
        if text(object, &format!("/{}", path.replace('.', "/"))) != value {
            return Ok(false);
        }
    }
    Ok(true)
}

/// One page of a list.
pub(crate) fn list(world: &World, request: &Request) -> Result<Value, No> {
    let store = lock(&world.store);
    let (after, version) = match request.query("continue") {
        "" => (String::new(), store.version),
        token => {
            let (version, after) = token.split_once('.').ok_or_else(|| No::bad("continue key is not valid"))?;
            let version = version.parse().map_err(|_| No::bad("continue key is not valid"))?;
            if version < store.oldest {
                return Err(No::gone("The provided continue parameter is too old"));
            }
            (after.to_owned(), version)
        }
    };
    let limit: usize = request.query("limit").parse().ok().filter(|it| *it > 0).unwrap_or(usize::MAX);
    let key = |object: &Value| format!("{}/{}", text(object, "/metadata/namespace"), text(object, "/metadata/name"));
    let (mut page, mut left) = (Vec::new(), 0_usize);
    for object in store.all(request.kind.plural, &request.namespace) {
        if key(&object) <= after || !fits(request, &object)? {
            continue;
        }
        if page.len() < limit { page.push(object) } else { left += 1 }
    }
    let next = if left > 0 { page.last().map(|it| format!("{version}.{}", key(it))) } else { None };
    for object in &mut page {
        // Elements of a list come without their kind.
        let object = object.as_object_mut().unwrap();
        object.remove("kind");
        object.remove("apiVersion");
    }
    let mut metadata = json!({ "resourceVersion": version.to_string() });
    if let Some(next) = next {
        metadata["continue"] = json!(next);
        metadata["remainingItemCount"] = json!(left);
    }
    Ok(json!({ "kind": format!("{}List", request.kind.kind), "apiVersion": request.kind.api_version(),
        "metadata": metadata, "items": page }))
}

struct Watch {
    world: Arc<World>,
    request: Request,
    after: u64,
    ready: VecDeque<Value>,
    over: bool,
    /// When something was told last.
    last: tokio::time::Instant,
}

impl Watch {
    fn event(what: &str, object: &Value) -> Value {
        json!({ "type": what, "object": object })
    }

    /// Takes what happened since.
    fn take(&mut self) {
        let store = lock(&self.world.store);
        if self.after < store.oldest {
            let no = No::gone(format!("too old resource version: {} ({})", self.after, store.oldest));
            self.ready.push_back(Self::event("ERROR", &no.object()));
            self.over = true;
            return;
        }
        let new = store.log.iter().filter(|it| it.version > self.after && it.kind == self.request.kind.plural);
        let here = |it: &&Change| {
            self.request.namespace.is_empty() || text(&it.object, "/metadata/namespace") == self.request.namespace
        };
        for change in new.filter(here) {
            if fits(&self.request, &change.object).unwrap_or(false) {
                self.ready.push_back(Self::event(change.what, &change.object));
            }
        }
        self.after = store.version;
    }

    async fn next(mut self) -> Option<(Result<String, std::io::Error>, Self)> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                self.last = tokio::time::Instant::now();
                return Some((Ok(format!("{event}\n")), self));
            }
            if self.over {
                return None;
            }
            let world = self.world.clone();
            let changed = world.changed.notified();
            self.take();
            if self.ready.is_empty() {
                let wait = Duration::from_millis(BOOKMARK_MS);
                let _ = tokio::time::timeout(wait, changed).await;
                let quiet = self.last.elapsed() >= wait;
                if quiet && self.request.query("allowWatchBookmarks") == "true" {
                    let kind = self.request.kind;
                    let mark = json!({ "kind": kind.kind, "apiVersion": kind.api_version(),
                        "metadata": { "resourceVersion": self.after.to_string() } });
                    self.ready.push_back(Self::event("BOOKMARK", &mark));
                }
            }
        }
    }
}

/// A watch that goes on until its reader goes away or it is too old.
pub(crate) fn watch(world: Arc<World>, request: Request) -> Result<Response<Body>, No> {
    let after = match request.query("resourceVersion") {
        "" | "0" => lock(&world.store).version,
        text => text.parse().map_err(|_| No::bad("invalid resource version"))?,
    };
    let watch = Watch { world, request, after, ready: VecDeque::new(), over: false, last: tokio::time::Instant::now() };
    let mut response = Response::new(Body::from_stream(futures::stream::unfold(watch, Watch::next)));
    response.headers_mut().insert("content-type", "application/json".parse().unwrap());
    Ok(response)
}
