//! The suite that every journal passes. Each case gets a fresh journal and fails by panicking, as tests do;
//! never compiled into the product.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a suite speaks by failing")]

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::future::join_all;
use opsward_domain::context::{CallContext, Origin};
use opsward_domain::event::{Body, Durability, Event, NewEvent, StreamKind, StreamName};
use opsward_domain::name::{Id, Subject, Tenant, Workspace};
use opsward_domain::principal::{Kind, Principal};

use super::{Appended, BATCH_BYTES_MAX, BATCH_EVENTS_MAX, BODY_BYTES_MAX, Error, Journal};

/// Longest wait for a wake-up that must come.
const WAKE_MS_MAX: u64 = 10_000;

/// Runs every case, each on a journal of its own from `make`.
pub async fn all(make: impl AsyncFn() -> Arc<dyn Journal>) {
    sequences_have_no_gaps(&*make().await).await;
    a_wrong_expectation_conflicts(&*make().await).await;
    an_append_is_all_or_nothing(&*make().await).await;
    what_is_read_is_what_was_appended(&*make().await).await;
    tenants_do_not_exist_for_each_other(&*make().await).await;
    the_system_sees_all_but_appends_only_its_own(&*make().await).await;
    reads_are_ordered_and_limited(&*make().await).await;
    streams_are_listed_the_newest_first(&*make().await).await;
    the_head_wakes_its_followers(&*make().await).await;
    bodies_are_bounded(&*make().await).await;
    large_reads_end_early_but_never_empty(&*make().await).await;
    blobs_belong_to_a_tenant(&*make().await).await;
    a_sound_journal_verifies(&*make().await).await;
    of_concurrent_appenders_one_wins(make().await).await;
    concurrent_streams_all_land(make().await).await;
    effects_are_held_hard();
}

/// A caller of `tenant`.
pub fn person(tenant: &str) -> CallContext {
    context(tenant, "ada", Kind::Person, Origin::Api)
}

fn system(tenant: &str) -> CallContext {
    context(tenant, "opsward", Kind::System, Origin::System)
}

fn context(tenant: &str, subject: &str, kind: Kind, origin: Origin) -> CallContext {
    let principal = Principal {
        subject: Subject::parse(subject).unwrap(),
        kind,
        tenant: Tenant::parse(tenant).unwrap(),
        tenant_role: None,
        roles: Default::default(),
    };
    CallContext::new(principal, origin)
}

/// A stream's name.
pub fn stream(tenant: &str, kind: StreamKind, id: &str) -> StreamName {
    StreamName { tenant: Tenant::parse(tenant).unwrap(), kind, id: Id::parse(id).unwrap() }
}

fn incident(tenant: &str, id: &str) -> StreamName {
    stream(tenant, StreamKind::Incident, id)
}

/// An event that must survive a loss of power.
pub fn power(text: &str) -> NewEvent {
    let body =
        Body::MessageReceived { workspace: Workspace::parse("shop").unwrap(), origin: Origin::Api, text: text.into() };
    NewEvent { at_ms: 1_700_000_000_000, cause: None, body }
}

/// An event that may be lost with the power.
pub fn process(what: &str) -> NewEvent {
    let body = Body::EvidenceMissing { what: what.into(), why: "because \"of\" ünïcode\n".into() };
    NewEvent { at_ms: 1_700_000_000_001, cause: Some(1), body }
}

async fn append(journal: &dyn Journal, stream: &StreamName, expected: u64, count: usize) -> Appended {
    let cx = person(stream.tenant.as_str());
    let events = (0..count).map(|n| if n % 2 == 0 { power(&n.to_string()) } else { process("x") }).collect();
    journal.append(&cx, stream, expected, events).await.unwrap()
}

fn seqs(events: &[Event]) -> Vec<u64> {
    events.iter().map(|event| event.seq).collect()
}

async fn sequences_have_no_gaps(journal: &dyn Journal) {
    let (one, two) = (incident("acme", "one"), incident("acme", "two"));
    assert_eq!(append(journal, &one, 0, 3).await, Appended { seq: 3, stream_seq: 3 });
    assert_eq!(append(journal, &two, 0, 1).await, Appended { seq: 4, stream_seq: 1 });
    assert_eq!(append(journal, &one, 3, 2).await, Appended { seq: 6, stream_seq: 5 });
    let cx = person("acme");
    let read = journal.read(&cx, &one, 0, 100).await.unwrap();
    assert_eq!(seqs(&read), [1, 2, 3, 5, 6]);
    assert_eq!(read.iter().map(|event| event.stream_seq).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert_eq!(seqs(&journal.feed(&cx, 0, 100).await.unwrap()), [1, 2, 3, 4, 5, 6]);
}

async fn a_wrong_expectation_conflicts(journal: &dyn Journal) {
    let (cx, one) = (person("acme"), incident("acme", "one"));
    let conflict = |error: Error| match error {
        Error::Conflict { stream, expected, actual } => (stream, expected, actual),
        other => panic!("expected a conflict, got {other}"),
    };
    let error = journal.append(&cx, &one, 1, vec![power("x")]).await.unwrap_err();
    assert_eq!(conflict(error), ("acme/incident/one".into(), 1, 0));
    append(journal, &one, 0, 2).await;
    for wrong in [0, 1, 3, u64::MAX] {
        let error = journal.append(&cx, &one, wrong, vec![power("x")]).await.unwrap_err();
        assert_eq!(conflict(error), ("acme/incident/one".into(), wrong, 2));
    }
    assert_eq!(journal.append(&cx, &one, 2, Vec::new()).await.unwrap(), Appended { seq: 2, stream_seq: 2 });
    assert!(journal.append(&cx, &one, 1, Vec::new()).await.is_err());
    assert_eq!(journal.read(&cx, &one, 0, 100).await.unwrap().len(), 2);
}

async fn an_append_is_all_or_nothing(journal: &dyn Journal) {
    let (cx, one) = (person("acme"), incident("acme", "one"));
    let huge = power(&"x".repeat(BODY_BYTES_MAX));
    assert!(matches!(journal.append(&cx, &one, 0, vec![power("a"), huge]).await, Err(Error::TooLarge(_))));
    let many = vec![process("x"); BATCH_EVENTS_MAX + 1];
    assert!(matches!(journal.append(&cx, &one, 0, many).await, Err(Error::TooLarge(_))));
    assert_eq!(journal.read(&cx, &one, 0, 100).await.unwrap(), []);
    assert_eq!(*journal.head().borrow(), 0);
    assert_eq!(append(journal, &one, 0, BATCH_EVENTS_MAX).await.seq, BATCH_EVENTS_MAX as u64);
}

async fn what_is_read_is_what_was_appended(journal: &dyn Journal) {
    let (cx, one) = (person("acme"), incident("acme", "one"));
    let given = [power("first"), process("second"), power("\u{0}\u{202e}'; drop table entry; --")];
    journal.append(&cx, &one, 0, given.to_vec()).await.unwrap();
    let read = journal.read(&cx, &one, 0, 100).await.unwrap();
    assert_eq!(read.len(), given.len());
    for (event, given) in read.iter().zip(&given) {
        assert_eq!((event.at_ms, event.cause, event.body.as_ref()), (given.at_ms, given.cause, Some(&given.body)));
        assert_eq!((&event.stream, &event.by, event.origin), (&one, &cx.principal.subject, Origin::Api));
        assert_eq!(event.version, opsward_domain::event::BODY_VERSION);
    }
}

async fn tenants_do_not_exist_for_each_other(journal: &dyn Journal) {
    // Why these names: the first is a prefix of the second.
    let (ours, theirs) = (incident("acme", "one"), incident("acme-two", "one"));
    append(journal, &ours, 0, 2).await;
    append(journal, &theirs, 0, 3).await;
    let cx = person("acme");
    let refused = journal.append(&cx, &theirs, 3, vec![power("x")]).await;
    assert!(matches!(refused, Err(Error::NotFound)), "{refused:?}");
    let unknown = journal.append(&cx, &incident("acme-two", "none"), 0, vec![power("x")]).await;
    assert!(matches!(unknown, Err(Error::NotFound)), "{unknown:?}");
    assert_eq!(journal.read(&cx, &theirs, 0, 100).await.unwrap(), []);
    assert_eq!(seqs(&journal.feed(&cx, 0, 100).await.unwrap()), [1, 2]);
    assert_eq!(seqs(&journal.feed(&person("acme-two"), 0, 2).await.unwrap()), [3, 4]);
    assert_eq!(journal.streams(&cx, StreamKind::Incident, 100).await.unwrap(), [(ours, 2)]);
    assert_eq!(journal.feed(&person("nobody"), 0, 100).await.unwrap(), []);
}

async fn the_system_sees_all_but_appends_only_its_own(journal: &dyn Journal) {
    let (one, two) = (incident("acme", "one"), incident("zeta", "two"));
    append(journal, &one, 0, 2).await;
    append(journal, &two, 0, 1).await;
    let cx = system("acme");
    assert_eq!(seqs(&journal.feed(&cx, 0, 100).await.unwrap()), [1, 2, 3]);
    assert_eq!(journal.read(&cx, &two, 0, 100).await.unwrap().len(), 1);
    assert_eq!(journal.streams(&cx, StreamKind::Incident, 100).await.unwrap(), [(two.clone(), 1), (one.clone(), 2)]);
    assert!(matches!(journal.append(&cx, &two, 1, vec![power("x")]).await, Err(Error::NotFound)));
    assert_eq!(journal.append(&cx, &one, 2, vec![power("x")]).await.unwrap().stream_seq, 3);
}

async fn reads_are_ordered_and_limited(journal: &dyn Journal) {
    let (cx, one) = (person("acme"), incident("acme", "one"));
    append(journal, &one, 0, BATCH_EVENTS_MAX).await;
    append(journal, &one, BATCH_EVENTS_MAX as u64, 5).await;
    assert_eq!(seqs(&journal.read(&cx, &one, 2, 3).await.unwrap()), [3, 4, 5]);
    assert_eq!(seqs(&journal.feed(&cx, 1002, 2).await.unwrap()), [1003, 1004]);
    assert_eq!(journal.read(&cx, &one, 0, usize::MAX).await.unwrap().len(), BATCH_EVENTS_MAX);
    assert_eq!(journal.feed(&cx, 0, usize::MAX).await.unwrap().len(), BATCH_EVENTS_MAX);
    for after in [1005, 1006, u64::MAX] {
        assert_eq!(journal.read(&cx, &one, after, 10).await.unwrap(), []);
        assert_eq!(journal.feed(&cx, after, 10).await.unwrap(), []);
    }
    assert_eq!(journal.read(&cx, &one, 0, 0).await.unwrap(), []);
    assert_eq!(journal.feed(&cx, 0, 0).await.unwrap(), []);
    assert_eq!(journal.read(&cx, &incident("acme", "none"), 0, 10).await.unwrap(), []);
}

async fn streams_are_listed_the_newest_first(journal: &dyn Journal) {
    let names = ["one", "two", "three"].map(|id| incident("acme", id));
    for name in &names {
        append(journal, name, 0, 2).await;
    }
    append(journal, &stream("acme", StreamKind::Conversation, "talk"), 0, 1).await;
    append(journal, &names[0], 2, 1).await;
    let cx = person("acme");
    let [one, two, three] = names;
    let listed = journal.streams(&cx, StreamKind::Incident, 100).await.unwrap();
    assert_eq!(listed, [(one.clone(), 3), (three.clone(), 2), (two, 2)]);
    assert_eq!(journal.streams(&cx, StreamKind::Incident, 2).await.unwrap(), [(one, 3), (three, 2)]);
    assert_eq!(journal.streams(&cx, StreamKind::Conversation, 10).await.unwrap().len(), 1);
    assert_eq!(journal.streams(&cx, StreamKind::People, 10).await.unwrap(), []);
    assert_eq!(journal.streams(&cx, StreamKind::Incident, 0).await.unwrap(), []);
}

async fn the_head_wakes_its_followers(journal: &dyn Journal) {
    let one = incident("acme", "one");
    let mut head = journal.head();
    assert_eq!(*head.borrow_and_update(), 0);
    let woken = async {
        let wait = std::time::Duration::from_millis(WAKE_MS_MAX);
        let seen = tokio::time::timeout(wait, head.wait_for(|seq| *seq == 2)).await.expect("no wake-up came");
        *seen.unwrap()
    };
    let (seq, _) = tokio::join!(woken, append(journal, &one, 0, 2));
    assert_eq!(seq, 2);
    // Why: whoever is woken must find what woke it.
    assert_eq!(journal.feed(&person("acme"), seq - 1, 10).await.unwrap().len(), 1);
    assert_eq!(*journal.head().borrow(), 2);
}

async fn bodies_are_bounded(journal: &dyn Journal) {
    let (cx, one) = (person("acme"), incident("acme", "one"));
    let frame = serde_json::to_vec(&power("").body).unwrap().len();
    let fits = "x".repeat(BODY_BYTES_MAX - frame);
    let over = format!("{fits}x");
    assert!(matches!(journal.append(&cx, &one, 0, vec![power(&over)]).await, Err(Error::TooLarge(_))));
    journal.append(&cx, &one, 0, vec![power(&fits)]).await.unwrap();
    let three = vec![power(&fits), power(&fits), power("one byte too many")];
    assert_eq!(2 * BODY_BYTES_MAX, BATCH_BYTES_MAX);
    assert!(matches!(journal.append(&cx, &one, 1, three).await, Err(Error::TooLarge(_))));
    let blob = vec![7; BODY_BYTES_MAX + 1];
    assert!(matches!(journal.put_blob(&cx, &blob).await, Err(Error::TooLarge(_))));
}

async fn large_reads_end_early_but_never_empty(journal: &dyn Journal) {
    let (cx, one) = (person("acme"), incident("acme", "one"));
    let large = "x".repeat(BATCH_BYTES_MAX / 2 - 1024);
    for seq in 0..3 {
        journal.append(&cx, &one, seq, vec![power(&large)]).await.unwrap();
    }
    assert_eq!(seqs(&journal.read(&cx, &one, 0, 100).await.unwrap()), [1, 2]);
    assert_eq!(seqs(&journal.feed(&cx, 0, 100).await.unwrap()), [1, 2]);
    assert_eq!(seqs(&journal.read(&cx, &one, 2, 100).await.unwrap()), [3]);
}

async fn blobs_belong_to_a_tenant(journal: &dyn Journal) {
    let (ours, theirs) = (person("acme"), person("zeta"));
    let digest = journal.put_blob(&ours, b"hello\0\xff").await.unwrap();
    assert_eq!(digest, opsward_domain::canonical::digest_bytes(b"hello\0\xff"));
    assert_eq!(journal.put_blob(&ours, b"hello\0\xff").await.unwrap(), digest);
    assert_eq!(journal.get_blob(&ours, &digest).await.unwrap().as_deref(), Some(&b"hello\0\xff"[..]));
    assert_eq!(journal.get_blob(&theirs, &digest).await.unwrap(), None);
    for unknown in ["", "zz", &"0".repeat(64), "' or 1=1 --"] {
        assert_eq!(journal.get_blob(&ours, unknown).await.unwrap(), None);
    }
    let empty = journal.put_blob(&ours, b"").await.unwrap();
    assert_eq!(journal.get_blob(&ours, &empty).await.unwrap().as_deref(), Some(&b""[..]));
}

async fn a_sound_journal_verifies(journal: &dyn Journal) {
    let empty = journal.verify(0).await.unwrap();
    assert_eq!((empty.entries, empty.head.as_str()), (0, opsward_domain::chain::GENESIS));
    append(journal, &incident("acme", "one"), 0, 600).await;
    append(journal, &incident("zeta", "one"), 0, 3).await;
    journal.put_blob(&person("acme"), b"blob").await.unwrap();
    let all = journal.verify(1).await.unwrap();
    assert_eq!((all.entries, all.erased, all.damage), (603, 0, Vec::new()));
    let rest = journal.verify(600).await.unwrap();
    assert_eq!((rest.entries, rest.damage), (4, Vec::new()));
    assert_eq!(rest.head, all.head);
    let none = journal.verify(10_000).await.unwrap();
    assert_eq!((none.entries, none.damage), (0, Vec::new()));
}

async fn of_concurrent_appenders_one_wins(journal: Arc<dyn Journal>) {
    let (cx, one) = (person("acme"), incident("acme", "one"));
    for expected in 0..5 {
        let race = (0..8).map(|n| {
            let (journal, cx, one) = (Arc::clone(&journal), cx.clone(), one.clone());
            tokio::spawn(async move { journal.append(&cx, &one, expected, vec![power(&n.to_string())]).await })
        });
        let ends: Vec<_> = join_all(race).await.into_iter().map(Result::unwrap).collect();
        assert_eq!(ends.iter().filter(|end| end.is_ok()).count(), 1, "{ends:?}");
        assert_eq!(ends.iter().filter(|end| matches!(end, Err(Error::Conflict { .. }))).count(), 7, "{ends:?}");
    }
    assert_eq!(seqs(&journal.read(&cx, &one, 0, 100).await.unwrap()), [1, 2, 3, 4, 5]);
}

async fn concurrent_streams_all_land(journal: Arc<dyn Journal>) {
    let appends = (0..16).map(|n| {
        let journal = Arc::clone(&journal);
        tokio::spawn(async move {
            let name = incident("acme", &format!("i{n}"));
            let mut landed = Vec::new();
            for expected in 0..8 {
                landed.push(append(&*journal, &name, expected, 1).await.seq);
            }
            assert!(landed.is_sorted(), "{landed:?}");
            landed
        })
    });
    let landed: BTreeSet<u64> = join_all(appends).await.into_iter().flat_map(Result::unwrap).collect();
    assert_eq!(landed, (1..=128).collect());
    assert_eq!(seqs(&journal.feed(&person("acme"), 0, 1000).await.unwrap()), (1..=128).collect::<Vec<_>>());
    let verified = journal.verify(1).await.unwrap();
    assert_eq!((verified.entries, verified.damage), (128, Vec::new()));
}

fn effects_are_held_hard() {
    let id = || Id::parse("x").unwrap();
    let by = || Subject::parse("ada").unwrap();
    let hard = [
        power("x").body,
        Body::StepStarted { plan: id(), step: 0, key: "k".into() },
        Body::UndoStarted { plan: id(), step: 0, key: "k".into() },
        Body::ApprovalGiven { approval: id(), by: by(), binding: "b".into() },
        Body::ApprovalUsed { approval: id() },
        Body::TokenRevoked { token: id(), reason: "r".into() },
        Body::SwitchSet { workspace: None, on: true, reason: "r".into() },
    ];
    assert!(hard.iter().all(|body| body.durability() == Durability::Power));
    let soft = [process("x").body, Body::TurnStarted { turn: id() }];
    assert!(soft.iter().all(|body| body.durability() == Durability::Process));
}
