//! A Kubernetes API server in this process, over plain HTTP: it follows the published API conventions
//! (versions, conflicts, dry runs, subresources, removal in the foreground, access reviews, impersonation),
//! has small controllers behind it, and can be made to fail. Knows nothing of the provider under test.

#[path = "double/access.rs"]
mod access;
#[path = "double/controllers.rs"]
mod controllers;
#[path = "double/defaults.rs"]
mod defaults;
#[path = "double/garbage.rs"]
mod garbage;
#[path = "double/http.rs"]
mod http;
#[path = "double/kinds.rs"]
mod kinds;
#[path = "double/kubelet.rs"]
mod kubelet;
#[path = "double/lists.rs"]
mod lists;
#[path = "double/patch.rs"]
mod patch;
#[path = "double/status.rs"]
mod status;
#[path = "double/store.rs"]
mod store;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Notify;

pub(crate) use access::Rule;
use kinds::Kind;
use store::{Store, Writing};

/// Time between two rounds of the controllers.
const ROUND_MS: u64 = 5;
/// What the double's own user presents.
pub(crate) const TOKEN: &str = "the-token-of-the-double";

/// Something that goes wrong with the next request that fits.
#[derive(Debug, Clone)]
pub(crate) enum Trouble {
    /// This status, with nothing done.
    Status { code: u16, reason: &'static str, retry_after_s: Option<u64> },
    /// It is done, and the connection ends without an answer.
    ReplyLost,
    /// It takes this long.
    Slow { ms: u64 },
    /// Before it is taken, somebody else writes the object's labels, or counts its wish up.
    Raced { wish: bool },
}

/// Which requests meet it.
#[derive(Debug, Clone)]
pub(crate) struct Injected {
    pub(crate) method: &'static str,
    pub(crate) plural: &'static str,
    pub(crate) times: u32,
    pub(crate) trouble: Trouble,
}

/// The world with its doors.
pub(crate) struct World {
    pub(crate) store: Mutex<Store>,
    pub(crate) rules: Mutex<BTreeMap<String, Vec<Rule>>>,
    pub(crate) troubles: Mutex<Vec<Injected>>,
    pub(crate) tokens: Mutex<BTreeMap<String, String>>,
    pub(crate) logs: Mutex<BTreeMap<String, String>>,
    /// Requests served: method, path and user.
    pub(crate) served: Mutex<Vec<(String, String, String)>>,
    pub(crate) changed: Notify,
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A running double. It ends with this value.
pub(crate) struct Double {
    pub(crate) world: Arc<World>,
    pub(crate) address: SocketAddr,
    tasks: Vec<tokio::task::AbortHandle>,
}

impl Drop for Double {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::AbortHandle::abort);
    }
}

impl Double {
    pub(crate) async fn start() -> Self {
        let admin = "system:serviceaccount:ops:opsward".to_owned();
        let world = Arc::new(World {
            store: Mutex::new(Store::begun()),
            rules: Mutex::new([(admin.clone(), vec![Rule::all()])].into()),
            troubles: Mutex::default(),
            tokens: Mutex::new([(TOKEN.to_owned(), admin)].into()),
            logs: Mutex::default(),
            served: Mutex::default(),
            changed: Notify::new(),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serve = tokio::spawn(http::serve(listener, world.clone()));
        let behind = world.clone();
        let rounds = tokio::spawn(async move {
            loop {
                controllers::round(&mut lock(&behind.store));
                behind.changed.notify_waiters();
                tokio::time::sleep(Duration::from_millis(ROUND_MS)).await;
            }
        });
        let double = Self { world, address, tasks: vec![serve.abort_handle(), rounds.abort_handle()] };
        double.put("namespaces", "", json!({ "metadata": { "name": "default" } }));
        for node in ["node-a", "node-b"] {
            double.put("nodes", "", json!({ "metadata": { "name": node }, "spec": {} }));
        }
        double
    }

    /// A kubeconfig for `token`.
    pub(crate) fn kubeconfig(&self, token: &str) -> String {
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "double",
            "clusters": [{ "name": "double", "cluster": { "server": format!("http://{}", self.address) } }],
            "users": [{ "name": "u", "user": { "token": token } }],
            "contexts": [{ "name": "double", "context": { "cluster": "double", "user": "u" } }],
        })
        .to_string()
    }

    /// Makes an object as somebody with a tool of their own would.
    pub(crate) fn put(&self, plural: &str, namespace: &str, object: Value) -> Value {
        let writing = Writing { manager: "kubectl".into(), ..Writing::default() };
        lock(&self.world.store).create(Kind::of(plural), namespace, object, &writing).unwrap()
    }

    /// Changes an object as somebody else would.
    pub(crate) fn edit(&self, plural: &str, namespace: &str, name: &str, edit: impl FnOnce(&mut Value)) {
        let mut store = lock(&self.world.store);
        let mut object = store.get(Kind::of(plural), namespace, name).unwrap().clone();
        edit(&mut object);
        let writing = Writing { manager: "kubectl".into(), ..Writing::default() };
        store.replace(Kind::of(plural), namespace, name, object, &writing).unwrap();
    }

    pub(crate) fn get(&self, plural: &str, namespace: &str, name: &str) -> Option<Value> {
        lock(&self.world.store).get(Kind::of(plural), namespace, name).ok().cloned()
    }

    /// The next `times` requests of this method and kind meet `trouble`.
    pub(crate) fn inject(&self, method: &'static str, plural: &'static str, times: u32, trouble: Trouble) {
        lock(&self.world.troubles).push(Injected { method, plural, times, trouble });
    }

    /// Gives a user these rights and no others.
    pub(crate) fn allow(&self, user: &str, rules: Vec<Rule>) {
        lock(&self.world.rules).insert(user.to_owned(), rules);
    }

    /// Requests of a method on a kind so far, with who made them.
    pub(crate) fn served(&self, method: &str, part: &str) -> Vec<(String, String)> {
        let served = lock(&self.world.served);
        let is_it = |it: &&(String, String, String)| it.0 == method && it.1.contains(part);
        served.iter().filter(is_it).map(|(_, path, user)| (path.clone(), user.clone())).collect()
    }
}

pub(crate) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

pub(crate) fn number(object: &Value, pointer: &str) -> u64 {
    object.pointer(pointer).and_then(Value::as_u64).unwrap_or(0)
}

pub(crate) fn items<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

pub(crate) fn owner_of(object: &Value) -> &str {
    let owners = items(object, "/metadata/ownerReferences");
    owners.iter().find(|it| it["controller"] == json!(true)).map(|it| text(it, "/uid")).unwrap_or_default()
}

/// A short digest of a template, as controllers name what they make.
pub(crate) fn digest(value: &Value) -> String {
    opsward_domain::canonical::digest_bytes(value.to_string().as_bytes())[..10].to_owned()
}

/// Bytes of a quantity, or whole numbers.
pub(crate) fn quantity(text: &str) -> Option<u64> {
    let units = [("Ki", 1 << 10), ("Mi", 1 << 20), ("Gi", 1 << 30), ("Ti", 1 << 40), ("k", 1_000), ("M", 1_000_000)];
    let found = units.iter().find_map(|(unit, by)| Some((text.strip_suffix(unit)?, *by)));
    let (digits, by) = found.unwrap_or((text, 1));
    digits.parse::<u64>().ok()?.checked_mul(by)
}
