//! Local people, roles and tokens: a fold of each tenant's people stream. Keeps hashes, never tokens.

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};

use async_trait::async_trait;
use opsward_domain::canonical::digest_bytes;
use opsward_domain::context::CallContext;
use opsward_domain::event::{Body, Event, NewEvent, StreamKind, StreamName};
use opsward_domain::fault::{Code, Fault};
use opsward_domain::name::{Id, Subject, Tenant, Workspace};
use opsward_domain::principal::{Kind, Principal, Role};
use opsward_domain::time::AtMs;
use opsward_ports::clock::{Clock, Entropy};
use opsward_ports::identity::{Credential, Holder, Identity, Session};
use opsward_ports::journal::Journal;

use crate::damage::{Page, Reading};
use crate::parts::{journal_fault, system_context};

/// How long a one-time link may be used.
pub const LINK_OPEN_MS: i64 = 24 * 60 * 60 * 1000;
const TENANTS_MAX: usize = 1_000;
const APPEND_TRIES_MAX: usize = 8;

#[derive(Debug, Clone, Default)]
struct Person {
    remediator: bool,
    tenant_role: Option<Role>,
    roles: BTreeMap<Workspace, Role>,
}

/// What a credential is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A person's own requests.
    Session,
    /// To be traded for a session, once.
    Link,
    /// Software that looks and proposes for a person, and never says yes.
    Assistant,
}

#[derive(Debug, Clone)]
struct Token {
    subject: Subject,
    hash: String,
    expires_at_ms: Option<AtMs>,
    purpose: Purpose,
}

#[derive(Debug, Clone, Default)]
struct Fold {
    stream_seq: u64,
    people: BTreeMap<Subject, Person>,
    tokens: BTreeMap<Id, Token>,
}

impl Fold {
    fn apply(&mut self, event: &Event) {
        self.stream_seq = event.stream_seq;
        match event.body.as_ref() {
            Some(Body::PersonAdded { subject, remediator }) => {
                self.people.entry(subject.clone()).or_default().remediator = *remediator;
            }
            Some(Body::RoleSet { subject, workspace, role }) => {
                let person = self.people.entry(subject.clone()).or_default();
                match (workspace, role) {
                    (None, role) => person.tenant_role = *role,
                    (Some(name), Some(role)) => {
                        person.roles.insert(name.clone(), *role);
                    }
                    (Some(name), None) => {
                        person.roles.remove(name);
                    }
                }
            }
            Some(Body::TokenIssued { token, subject, hash, expires_at_ms, single_use, assistant }) => {
                let purpose = match (single_use, assistant) {
                    (true, _) => Purpose::Link,
                    (false, true) => Purpose::Assistant,
                    (false, false) => Purpose::Session,
                };
                let token_state =
                    Token { subject: subject.clone(), hash: hash.clone(), expires_at_ms: *expires_at_ms, purpose };
                self.tokens.insert(token.clone(), token_state);
            }
            Some(Body::TokenRevoked { token, .. }) => {
                self.tokens.remove(token);
            }
            _ => {}
        }
    }
}

/// A person as listed.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Listed {
    /// Who.
    pub subject: Subject,
    /// True for a remediator.
    pub remediator: bool,
    /// Role in every workspace.
    pub tenant_role: Option<Role>,
    /// Roles by workspace.
    pub roles: BTreeMap<Workspace, Role>,
    /// Live tokens by identity, with their expiry.
    pub tokens: BTreeMap<Id, Option<AtMs>>,
}

/// The people of every tenant. What a damaged entry took away is not known: nobody whom entries before it
/// let in is let in.
pub struct People {
    journal: Arc<dyn Journal>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    folds: RwLock<BTreeMap<Tenant, Fold>>,
}

fn stream(tenant: &Tenant) -> Result<StreamName, Fault> {
    Ok(StreamName { tenant: tenant.clone(), kind: StreamKind::People, id: Id::parse("all")? })
}

fn refused() -> Fault {
    Fault::denied("the credential is not valid").hint("sign in again, or ask an owner for a token")
}

impl People {
    /// Folds what the journal knows of `tenants`.
    pub async fn load(
        journal: Arc<dyn Journal>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, Fault> {
        let people = Self { journal, clock, entropy, folds: RwLock::default() };
        let system = system_context(&Tenant::parse("system")?)?;
        let streams = people.journal.streams(&system, StreamKind::People, TENANTS_MAX).await.map_err(journal_fault)?;
        for (name, _) in streams {
            people.refresh(&name.tenant).await?;
        }
        Ok(people)
    }

    /// Reads what others appended since.
    async fn refresh(&self, tenant: &Tenant) -> Result<u64, Fault> {
        let (cx, name) = (system_context(tenant)?, stream(tenant)?);
        let mut reading = Reading::new(self.journal.as_ref(), &cx, &name);
        loop {
            let after = self.read(tenant, |fold| fold.stream_seq).unwrap_or(0);
            let page = reading.page(after).await?;
            let mut folds = self.folds.write().unwrap_or_else(std::sync::PoisonError::into_inner);
            let fold = folds.entry(tenant.clone()).or_default();
            let Page::Events(events) = page else {
                if fold.stream_seq == after {
                    // It may have taken any role and any token away.
                    *fold = Fold { stream_seq: after + 1, ..Fold::default() };
                }
                continue;
            };
            let more = !events.is_empty();
            let seen = fold.stream_seq;
            events.iter().filter(|event| event.stream_seq > seen).for_each(|event| fold.apply(event));
            if !more {
                return Ok(fold.stream_seq);
            }
        }
    }

    fn read<T>(&self, tenant: &Tenant, look: impl FnOnce(&Fold) -> T) -> Option<T> {
        let folds = self.folds.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        folds.get(tenant).map(look)
    }

    async fn append(&self, cx: &CallContext, bodies: Vec<Body>) -> Result<(), Fault> {
        let (tenant, name) = (cx.tenant().clone(), stream(cx.tenant())?);
        for _ in 0..APPEND_TRIES_MAX {
            let expected = self.refresh(&tenant).await?;
            let at_ms = self.clock.now_ms();
            let events = bodies.iter().map(|body| NewEvent { at_ms, cause: None, body: body.clone() }).collect();
            match self.journal.append(cx, &name, expected, events).await {
                Ok(_) => {
                    self.refresh(&tenant).await?;
                    return Ok(());
                }
                Err(opsward_ports::journal::Error::Conflict { .. }) => {}
                Err(error) => return Err(journal_fault(error)),
            }
        }
        Err(Fault::conflict("people are being changed by somebody else").hint("try again"))
    }

    /// Tenants that have people.
    pub fn tenants(&self) -> Vec<Tenant> {
        self.folds.read().unwrap_or_else(std::sync::PoisonError::into_inner).keys().cloned().collect()
    }

    /// Makes the tenant's first owner and its remediator, unless it has people already. True if it did.
    /// The remediator may propose what an operator may; policy still asks a person for each effect.
    pub async fn found(&self, tenant: &Tenant, owner: &Subject) -> Result<bool, Fault> {
        self.refresh(tenant).await?;
        if self.read(tenant, |fold| !fold.people.is_empty()).unwrap_or(false) {
            return Ok(false);
        }
        let remediator = Subject::parse("remediator")?;
        let bodies = vec![
            Body::PersonAdded { subject: owner.clone(), remediator: false },
            Body::RoleSet { subject: owner.clone(), workspace: None, role: Some(Role::Owner) },
            Body::PersonAdded { subject: remediator.clone(), remediator: true },
            Body::RoleSet { subject: remediator, workspace: None, role: Some(Role::Operator) },
        ];
        self.append(&system_context(tenant)?, bodies).await?;
        Ok(true)
    }

    /// Adds a person. A known name is a conflict.
    pub async fn add(&self, cx: &CallContext, subject: &Subject) -> Result<(), Fault> {
        if self.principal(cx.tenant(), subject).is_some() {
            return Err(Fault::conflict(format!("{subject} exists already")));
        }
        self.append(cx, vec![Body::PersonAdded { subject: subject.clone(), remediator: false }]).await
    }

    /// Gives or takes a role; no workspace means the whole tenant. The last owner stays.
    pub async fn set_role(
        &self,
        cx: &CallContext,
        subject: &Subject,
        workspace: Option<&Workspace>,
        role: Option<Role>,
    ) -> Result<(), Fault> {
        if self.principal(cx.tenant(), subject).is_none() {
            return Err(Fault::not_found(format!("there is nobody called {subject}"))
                .hint("`opsward person add` makes a person"));
        }
        let owners = self.members(cx.tenant()).into_iter().filter(|p| p.tenant_role == Some(Role::Owner));
        if workspace.is_none() && role != Some(Role::Owner) && owners.map(|p| p.subject).eq([subject.clone()]) {
            return Err(Fault::conflict("the last owner stays owner").hint("make somebody else an owner first"));
        }
        self.append(cx, vec![Body::RoleSet { subject: subject.clone(), workspace: workspace.cloned(), role }]).await
    }

    /// Makes a token for `subject` and returns it; it is not kept and cannot be shown again.
    pub async fn issue(
        &self,
        cx: &CallContext,
        subject: &Subject,
        expires_at_ms: Option<AtMs>,
        purpose: Purpose,
    ) -> Result<String, Fault> {
        if self.principal(cx.tenant(), subject).is_none() {
            return Err(Fault::not_found(format!("there is nobody called {subject}")));
        }
        let token = self.entropy.id("t");
        let secret = self.entropy.secret_hex(32);
        let body = Body::TokenIssued {
            token: token.clone(),
            subject: subject.clone(),
            hash: digest_bytes(secret.as_bytes()),
            expires_at_ms,
            single_use: purpose == Purpose::Link,
            assistant: purpose == Purpose::Assistant,
        };
        self.append(cx, vec![body]).await?;
        Ok(format!("ow_{token}_{secret}"))
    }

    /// Ends a token.
    pub async fn revoke(&self, cx: &CallContext, token: &Id, reason: &str) -> Result<(), Fault> {
        if !self.read(cx.tenant(), |fold| fold.tokens.contains_key(token)).unwrap_or(false) {
            return Err(Fault::not_found("there is no such token"));
        }
        self.append(cx, vec![Body::TokenRevoked { token: token.clone(), reason: reason.to_owned() }]).await
    }

    /// Trades a single-use link for a session token. The link ends before the session begins.
    pub async fn redeem(&self, link: &Credential, session_ms: i64) -> Result<(Principal, String), Fault> {
        let (principal, token, purpose) = self.find(link)?;
        if purpose != Purpose::Link {
            return Err(refused());
        }
        let cx = CallContext::new(principal.clone(), opsward_domain::context::Origin::Api);
        self.revoke(&cx, &token, "used").await.map_err(|_| refused())?;
        let expires = self.clock.now_ms().saturating_add(session_ms);
        let session = self.issue(&cx, &principal.subject, Some(expires), Purpose::Session).await?;
        Ok((principal, session))
    }

    fn find(&self, credential: &Credential) -> Result<(Principal, Id, Purpose), Fault> {
        let secret_text = credential.secret();
        let mut parts = secret_text.splitn(3, '_');
        let (Some("ow"), Some(id), Some(secret)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(refused());
        };
        let given = digest_bytes(secret.as_bytes());
        let id = Id::parse(id).map_err(|_| refused())?;
        let now_ms = self.clock.now_ms();
        let folds = self.folds.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        for (tenant, fold) in folds.iter() {
            let Some(token) = fold.tokens.get(&id) else { continue };
            let live = token.expires_at_ms.is_none_or(|expiry| now_ms < expiry);
            if same(&given, &token.hash) && live {
                let principal = principal_of(tenant, fold, &token.subject).ok_or_else(refused)?;
                return Ok((principal, id, token.purpose));
            }
        }
        Err(refused())
    }

    /// Someone of the tenant as they stand now; a run acts with these rights, never with remembered ones.
    pub fn principal(&self, tenant: &Tenant, subject: &Subject) -> Option<Principal> {
        self.read(tenant, |fold| principal_of(tenant, fold, subject)).flatten()
    }

    /// Everyone of the tenant.
    pub fn members(&self, tenant: &Tenant) -> Vec<Principal> {
        let all = |fold: &Fold| fold.people.keys().filter_map(|s| principal_of(tenant, fold, s)).collect();
        self.read(tenant, all).unwrap_or_default()
    }

    /// Everyone of the tenant with token identities, for lists.
    pub fn list(&self, tenant: &Tenant) -> Vec<Listed> {
        let listed = |fold: &Fold| {
            let of = |(subject, person): (&Subject, &Person)| Listed {
                subject: subject.clone(),
                remediator: person.remediator,
                tenant_role: person.tenant_role,
                roles: person.roles.clone(),
                tokens: fold
                    .tokens
                    .iter()
                    .filter(|(_, token)| token.subject == *subject)
                    .map(|(id, token)| (id.clone(), token.expires_at_ms))
                    .collect(),
            };
            fold.people.iter().map(of).collect()
        };
        self.read(tenant, listed).unwrap_or_default()
    }

    /// The principal that alert-born runs of a tenant act as, if an owner made one.
    pub fn remediator(&self, tenant: &Tenant) -> Option<Principal> {
        self.members(tenant).into_iter().find(|member| member.kind == Kind::Remediator)
    }
}

fn principal_of(tenant: &Tenant, fold: &Fold, subject: &Subject) -> Option<Principal> {
    let person = fold.people.get(subject)?;
    Some(Principal {
        subject: subject.clone(),
        kind: if person.remediator { Kind::Remediator } else { Kind::Person },
        tenant: tenant.clone(),
        tenant_role: person.tenant_role,
        roles: person.roles.clone(),
    })
}

/// Equality that takes the same time wherever the difference is.
fn same(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0u8, |acc, (x, y)| acc | (x ^ y)) == 0
}

#[async_trait]
impl Identity for People {
    async fn authenticate(&self, credential: &Credential) -> Result<Session, Fault> {
        match self.find(credential)? {
            (principal, _, Purpose::Session) => Ok(Session { principal, holder: Holder::Person }),
            (principal, _, Purpose::Assistant) => Ok(Session { principal, holder: Holder::Assistant }),
            (_, _, Purpose::Link) => Err(Fault::new(Code::Denied, "this is a one-time link, not a token")
                .hint("open it in a browser, or run `opsward login LINK`")),
        }
    }
}
