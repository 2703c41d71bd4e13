//! Asking the API server: one request at a time, bounded in time and size, asked again only where that is
//! safe. Never decides what a refusal means for a change.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response};
use http_body_util::BodyExt as _;
use kube::Client;
use kube::client::Body;
use opsward_ports::clock::Clock;
use serde_json::Value;

use crate::json::{items, text};
use crate::kinds::{Kind, VERSION};
use crate::refusal::{Refusal, Why, why};

/// Name under which the cluster records what opsward set.
pub(crate) const FIELD_MANAGER: &str = "opsward";
/// Most bytes of one answer.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// Most bytes of a refusal's text.
const STATUS_BYTES_MAX: usize = 64 << 10;
/// Objects of one page.
const PAGE_OBJECTS: usize = 500;
/// Tries of one request.
const TRIES_MAX: u32 = 4;
/// First wait between two tries; doubled each time.
const WAIT_MS: u64 = 200;
/// Longest wait that a server may ask for.
const WAIT_MS_MAX: u64 = 10_000;
/// Lists started again because they became too old.
const RESTARTS_MAX: u32 = 2;

/// What is done, as role-based access control names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    List,
    Create,
    Update,
    Delete,
}

impl Verb {
    /// The word of a rule.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
    fn method(self) -> Method {
        match self {
            Self::Get | Self::List => Method::GET,
            Self::Create => Method::POST,
            Self::Update => Method::PUT,
            Self::Delete => Method::DELETE,
        }
    }
}

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Ask<'a> {
    pub(crate) verb: Verb,
    pub(crate) kind: &'static Kind,
    pub(crate) namespace: Option<&'a str>,
    pub(crate) name: Option<&'a str>,
    pub(crate) subresource: Option<&'static str>,
    pub(crate) query: Vec<(&'static str, String)>,
    pub(crate) body: Option<Value>,
}

impl<'a> Ask<'a> {
    pub(crate) fn new(verb: Verb, kind: &'static Kind, namespace: Option<&'a str>, name: Option<&'a str>) -> Self {
        Self { verb, kind, namespace, name, subresource: None, query: Vec::new(), body: None }
    }
    pub(crate) fn with(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.query.push((key, value.into()));
        self
    }
    pub(crate) fn body(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }
    fn resource(&self) -> String {
        match self.subresource {
            Some(part) => format!("{}/{part}", self.kind.plural),
            None => self.kind.plural.to_owned(),
        }
    }
    /// What it is in words.
    pub(crate) fn words(&self) -> String {
        let place = match self.namespace.filter(|_| self.kind.namespaced) {
            Some(namespace) => format!(" in namespace {namespace}"),
            None if self.kind.namespaced => " in all namespaces".to_owned(),
            None => String::new(),
        };
        format!("{} {}{place}", self.verb.word(), self.resource())
    }
    /// The rule that allows it.
    pub(crate) fn rule(&self) -> String {
        let (group, resource, verb) = (self.kind.group, self.resource(), self.verb.word());
        let scope = match self.namespace.filter(|_| self.kind.namespaced) {
            Some(namespace) => format!(" in a Role of namespace {namespace}"),
            None => " in a ClusterRole".to_owned(),
        };
        format!("{{apiGroups: [{group:?}], resources: [{resource:?}], verbs: [{verb:?}]}}{scope}")
    }
    fn uri(&self) -> String {
        let mut uri = self.kind.path(self.namespace, self.name);
        if let Some(part) = self.subresource {
            uri.push('/');
            uri.push_str(part);
        }
        for (index, (key, value)) in self.query.iter().enumerate() {
            uri.push(if index == 0 { '?' } else { '&' });
            uri.push_str(key);
            uri.push('=');
            value.bytes().for_each(|byte| escape(&mut uri, byte));
        }
        uri
    }
}

fn escape(uri: &mut String, byte: u8) {
    if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
        uri.push(char::from(byte));
    } else {
        uri.push_str(&format!("%{byte:02X}"));
    }
}

/// A list with whether it is whole.
#[derive(Debug, Default)]
pub(crate) struct Listed {
    pub(crate) objects: Vec<Value>,
    pub(crate) cut: bool,
}

/// A cluster as one asker sees it. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Cluster {
    client: Client,
    clock: Arc<dyn Clock>,
    timeout_ms: u64,
    objects_max: usize,
    /// Name that the calls are made in; opsward's own account if absent.
    who: Option<String>,
}

impl Cluster {
    pub(crate) fn new(client: Client, clock: Arc<dyn Clock>, timeout_ms: u64, objects_max: usize) -> Self {
        Self { client, clock, timeout_ms, objects_max, who: None }
    }
    /// The same cluster, asked in the name of `who`.
    pub(crate) fn seen_by(&self, who: Option<String>) -> Self {
        Self { who, ..self.clone() }
    }
    pub(crate) fn who(&self) -> Option<&str> {
        self.who.as_deref()
    }

    fn refusal(&self, ask: &Ask<'_>, why: Why, said: impl Into<String>) -> Refusal {
        Refusal { why, asked: ask.words(), rule: ask.rule(), who: self.who.clone(), said: said.into() }
    }

    /// Asks, and asks again within bounds: a read whenever that can help, a write only while it was certainly
    /// not taken.
    pub(crate) async fn ask(&self, ask: &Ask<'_>) -> Result<Value, Refusal> {
        let bytes = self.bytes(ask, ANSWER_BYTES_MAX).await?.0;
        serde_json::from_slice(&bytes).map_err(|error| self.refusal(ask, Why::Malformed, error.to_string()))
    }

    /// As [`Self::ask`] for what is not JSON: at most `bytes_max` bytes, and whether there was more.
    pub(crate) async fn bytes(&self, ask: &Ask<'_>, bytes_max: usize) -> Result<(Vec<u8>, bool), Refusal> {
        let reads = matches!(ask.verb, Verb::Get | Verb::List);
        let mut wait_ms = WAIT_MS;
        for left in (0..TRIES_MAX).rev() {
            let refusal = match self.once(ask, bytes_max).await {
                Ok((_, true)) if ask.subresource != Some("log") => {
                    return Err(self.refusal(ask, Why::Malformed, format!("more than {bytes_max} bytes")));
                }
                Ok(answer) => return Ok(answer),
                Err(refusal) => refusal,
            };
            let wait = match refusal.why {
                Why::Throttled(asked_ms) => asked_ms.clamp(WAIT_MS, WAIT_MS_MAX),
                _ if reads && refusal.passes() => wait_ms,
                _ => return Err(refusal),
            };
            if left == 0 {
                return Err(refusal);
            }
            self.clock.sleep_ms(wait).await;
            wait_ms = wait_ms.saturating_mul(2).min(WAIT_MS_MAX);
        }
        Err(self.refusal(ask, Why::Failed, ""))
    }

    async fn once(&self, ask: &Ask<'_>, bytes_max: usize) -> Result<(Vec<u8>, bool), Refusal> {
        let request = self.request(ask)?;
        let limit = Duration::from_millis(self.timeout_ms);
        match tokio::time::timeout(limit, self.exchange(ask, request, bytes_max)).await {
            Ok(answer) => answer,
            Err(_) => Err(self.refusal(ask, Why::Late, format!("no answer in {} ms", self.timeout_ms))),
        }
    }

    fn request(&self, ask: &Ask<'_>) -> Result<Request<Body>, Refusal> {
        let mut request =
            Request::builder().method(ask.verb.method()).uri(ask.uri()).header("accept", "application/json");
        if let Some(who) = &self.who {
            request = request.header("impersonate-user", who);
        }
        let body = match &ask.body {
            Some(body) => {
                request = request.header("content-type", "application/json");
                Body::from(
                    serde_json::to_vec(body).map_err(|error| self.refusal(ask, Why::Invalid, error.to_string()))?,
                )
            }
            None => Body::empty(),
        };
        request.body(body).map_err(|error| self.refusal(ask, Why::Invalid, error.to_string()))
    }

    async fn exchange(
        &self,
        ask: &Ask<'_>,
        request: Request<Body>,
        bytes_max: usize,
    ) -> Result<(Vec<u8>, bool), Refusal> {
        let unreachable = |error: kube::Error| self.refusal(ask, Why::Unreachable, root_cause(&error));
        let response: Response<Body> = self.client.send(request).await.map_err(unreachable)?;
        let code = response.status().as_u16();
        let header = response.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
        let good = response.status().is_success();
        let most = if good { bytes_max } else { STATUS_BYTES_MAX };
        let (bytes, cut) = read(response.into_body(), most).await.map_err(unreachable)?;
        if good {
            return Ok((bytes, cut));
        }
        let status: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let said = match text(&status, "/message") {
            "" => format!("HTTP {code} {}", String::from_utf8_lossy(&bytes)),
            message => message.to_owned(),
        };
        Err(self.refusal(ask, why(code, &status, header), said))
    }

    /// The cluster's own version, such as `v1.34.1`.
    pub(crate) async fn version(&self) -> Result<String, Refusal> {
        let answer = self.ask(&Ask::new(Verb::Get, &VERSION, None, None)).await?;
        Ok(crate::json::quoted(text(&answer, "/gitVersion")))
    }

    /// One object, or `None` if there is none.
    pub(crate) async fn get(
        &self,
        kind: &'static Kind,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Option<Value>, Refusal> {
        match self.ask(&Ask::new(Verb::Get, kind, namespace, Some(name))).await {
            Ok(object) => Ok(Some(object)),
            Err(refusal) if refusal.why == Why::Missing => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    /// Every object of a kind, page by page, up to the bound. `select` is a label selector.
    pub(crate) async fn list(
        &self,
        kind: &'static Kind,
        namespace: Option<&str>,
        select: Option<&str>,
    ) -> Result<Listed, Refusal> {
        let mut listed = Listed::default();
        let (mut next, mut restarts) = (String::new(), 0);
        loop {
            let page = PAGE_OBJECTS.min(self.objects_max - listed.objects.len());
            let mut ask = Ask::new(Verb::List, kind, namespace, None).with("limit", page.to_string());
            if let Some(select) = select {
                ask = ask.with("labelSelector", select);
            }
            if !next.is_empty() {
                ask = ask.with("continue", next.as_str());
            }
            let answer = match self.ask(&ask).await {
                Err(refusal) if refusal.why == Why::Gone && restarts < RESTARTS_MAX => {
                    restarts += 1;
                    listed.objects.clear();
                    next.clear();
                    continue;
                }
                answer => answer?,
            };
            next = text(&answer, "/metadata/continue").to_owned();
            listed.objects.extend(items(&answer, "/items").iter().cloned());
            if next.is_empty() || listed.objects.len() >= self.objects_max {
                listed.cut = !next.is_empty();
                return Ok(listed);
            }
        }
    }

    /// As [`Self::list`]; what may not be listed, or is not served, is empty and told in the second part.
    pub(crate) async fn list_if_may(
        &self,
        kind: &'static Kind,
        namespace: Option<&str>,
        select: Option<&str>,
    ) -> Result<(Vec<Value>, Option<Refusal>), Refusal> {
        match self.list(kind, namespace, select).await {
            Ok(listed) => Ok((listed.objects, None)),
            Err(refusal) if matches!(refusal.why, Why::Forbidden | Why::Missing) => Ok((Vec::new(), Some(refusal))),
            Err(refusal) => Err(refusal),
        }
    }
}

/// Reads up to `bytes_max` bytes; true if there was more, which is not read.
async fn read(mut body: Body, bytes_max: usize) -> Result<(Vec<u8>, bool), kube::Error> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        let room = bytes_max - bytes.len();
        bytes.extend_from_slice(&data[..data.len().min(room)]);
        if data.len() > room {
            return Ok((bytes, true));
        }
    }
    Ok((bytes, false))
}

/// The innermost cause: the outer ones say only that something failed.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::{DEPLOYMENT, NAMESPACE, POD};

    #[test]
    fn a_request_names_its_right_and_escapes_what_it_carries() {
        let ask = Ask::new(Verb::Update, &DEPLOYMENT, Some("shop"), Some("web")).with("labelSelector", "a/b=c,d=e f");
        assert_eq!(ask.words(), "update deployments in namespace shop");
        assert!(ask.rule().contains("apiGroups: [\"apps\"]") && ask.rule().contains("Role of namespace shop"));
        assert!(ask.uri().ends_with("/deployments/web?labelSelector=a%2Fb%3Dc%2Cd%3De%20f"), "{}", ask.uri());
        let ask = Ask { subresource: Some("log"), ..Ask::new(Verb::Get, &POD, Some("shop"), Some("web-1")) };
        assert_eq!(ask.words(), "get pods/log in namespace shop");
        assert_eq!(Ask::new(Verb::List, &NAMESPACE, None, None).words(), "list namespaces");
    }
}
