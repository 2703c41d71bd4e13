//! A backup brought back into another workspace: the asker needs the right to restore in both, nothing is looked
//! at where they have no say, and no tenant reaches another's. And who may take a recovery kit.

use std::sync::Arc;

use opsward_domain::context::{CallContext, Origin};
use opsward_domain::event::{Body, StreamKind};
use opsward_domain::fault::Code;
use opsward_domain::name::{Tenant, Volume, Workspace};
use opsward_domain::principal::Role;
use opsward_domain::resource::{Resource, ResourceState};
use opsward_engine::facade::Engine;
use opsward_engine::state::RunState;
use opsward_ports::journal::Journal as _;
use opsward_ports::provider::observe_resource;
use opsward_surface::view;
use serde_json::{Value, json};

use crate::world::{World, action, cx, furnish, shop, subject, system, tenant};

fn second() -> Workspace {
    Workspace::parse("shop-2").unwrap()
}

fn restore(from: &str) -> Value {
    json!({"kind": "restore_backup", "backup": "first", "volume": "orders", "into": "orders", "from": from})
}

/// Asks in the second workspace as `asking`; everybody whose yes could count says it.
async fn asked(engine: &Arc<Engine>, asking: &CallContext, value: Value) -> RunState {
    let stream = engine.act(asking, &second(), action(value), "").await.unwrap();
    for name in ["owen", "owner", "adam"] {
        let state = engine.settle(&system(), &stream, 5_000, view::settled).await.unwrap();
        if view::status(&state) != "awaiting_approval" {
            break;
        }
        let id = state.plans[0].approval.as_ref().unwrap().request.id.clone();
        let _: Result<_, opsward_domain::fault::Fault> = engine.approve(&cx(engine, name, Origin::Api), &id).await;
    }
    engine.settle(&system(), &stream, 5_000, view::settled).await.unwrap()
}

/// A world with a furnished shop and an empty second one.
async fn two_shops() -> (World, Arc<Engine>) {
    let world = World::new();
    let engine = world.peopled().await;
    furnish(&engine).await;
    let owner = cx(&engine, "owner", Origin::Api);
    let create = json!({"kind": "create_workspace", "memory_bytes_max": 1_073_741_824_u64});
    let state = asked(&engine, &owner, create).await;
    assert_eq!(view::status(&state), "succeeded", "{:?}", state.fault);
    (world, engine)
}

async fn volume(world: &World, tenant_cx: &CallContext, workspace: &Workspace) -> ResourceState {
    let resource = Resource::Volume(Volume::parse("orders").unwrap());
    observe_resource(world.provider.as_ref(), tenant_cx, workspace, &resource).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_comes_back_in_another_workspace() {
    let (world, engine) = two_shops().await;
    let owner = cx(&engine, "owner", Origin::Api);
    assert_eq!(volume(&world, &owner, &second()).await, ResourceState::Absent);
    let state = asked(&engine, &owner, restore("shop")).await;
    assert_eq!(view::status(&state), "succeeded", "{:?} {:?}", state.fault, state.plans[0].failure);
    assert_ne!(volume(&world, &owner, &second()).await, ResourceState::Absent);
    // A wrong name is told before anybody is asked for a yes.
    for (value, says) in [
        (
            json!({"kind": "restore_backup", "backup": "nope", "volume": "orders", "into": "x", "from": "shop"}),
            "no backup nope",
        ),
        (
            json!({"kind": "restore_backup", "backup": "first", "volume": "nope", "into": "x", "from": "shop"}),
            "does not hold volume nope",
        ),
        (json!({"kind": "restore_backup", "backup": "first", "volume": "orders", "into": "x"}), "no backup first"),
        (restore("shop"), "exists already"),
    ] {
        let state = asked(&engine, &owner, value.clone()).await;
        let fault = state.fault.as_ref().unwrap_or_else(|| panic!("{value}: {}", view::status(&state)));
        assert!(fault.message.contains(says), "{value}: {fault}");
        assert!(state.plans.is_empty(), "{value}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_are_needed_where_it_is_read_and_where_it_is_made() {
    let (world, engine) = two_shops().await;
    let owner = cx(&engine, "owner", Origin::Api);
    let people = &engine.setup.people;
    for (name, here, there) in [
        ("both", Some(Role::Operator), Some(Role::Operator)),
        ("only-here", Some(Role::Operator), None),
        ("reader", Some(Role::Operator), Some(Role::Viewer)),
        ("only-there", Some(Role::Viewer), Some(Role::Operator)),
    ] {
        people.add(&owner, &subject(name)).await.unwrap();
        people.set_role(&owner, &subject(name), Some(&second()), here).await.unwrap();
        people.set_role(&owner, &subject(name), Some(&shop()), there).await.unwrap();
    }
    for name in ["only-here", "reader", "only-there"] {
        let state = asked(&engine, &cx(&engine, name, Origin::Api), restore("shop")).await;
        assert_eq!(view::status(&state), "denied", "{name}");
        assert_eq!(volume(&world, &owner, &second()).await, ResourceState::Absent, "{name}");
    }
    // Who has no say in the other workspace does not learn what is there.
    let stranger = cx(&engine, "only-here", Origin::Api);
    let guess = json!({"kind": "restore_backup", "backup": "guessed", "volume": "v", "into": "x", "from": "shop"});
    let (known, guessed) = (asked(&engine, &stranger, restore("shop")).await, asked(&engine, &stranger, guess).await);
    let reason = |state: &RunState| state.plans[0].decision.as_ref().unwrap().reason.clone();
    assert_eq!(reason(&known), reason(&guessed));
    let state = asked(&engine, &cx(&engine, "both", Origin::Api), restore("shop")).await;
    assert_eq!(view::status(&state), "succeeded", "the control: {:?}", state.fault);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_backup_crosses_the_wall_between_tenants() {
    let (world, engine) = two_shops().await;
    let globex = Tenant::parse("globex").unwrap();
    engine.setup.people.found(&globex, &subject("owner")).await.unwrap();
    let principal = engine.setup.people.principal(&globex, &subject("owner")).unwrap();
    let mallory = CallContext::new(principal, Origin::Api);
    let create = json!({"kind": "create_workspace", "memory_bytes_max": 1_073_741_824_u64});
    let stream = engine.act(&mallory, &second(), action(create), "").await.unwrap();
    let state = engine.settle(&mallory, &stream, 5_000, view::settled).await.unwrap();
    let id = state.plans[0].approval.as_ref().unwrap().request.id.clone();
    engine.approve(&mallory, &id).await.unwrap();
    let settled = |state: &RunState| view::settled(state) && view::status(state) != "awaiting_approval";
    let state = engine.settle(&mallory, &stream, 5_000, settled).await.unwrap();
    assert_eq!(view::status(&state), "succeeded", "the control: {:?}", state.fault);
    // Both tenants have a second shop; only one of them has a shop with a backup.
    let stream = engine.act(&mallory, &second(), action(restore("shop")), "").await.unwrap();
    let state = engine.settle(&mallory, &stream, 5_000, view::settled).await.unwrap();
    assert_eq!(view::status(&state), "denied");
    let decision = state.plans[0].decision.as_ref().unwrap();
    assert!(decision.policies.contains(&"tenancy.wall".to_owned()), "{decision:?}");
    assert_eq!(volume(&world, &mallory, &second()).await, ResourceState::Absent);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_an_owner_takes_a_recovery_kit_and_it_is_on_record_without_the_key() {
    let (world, engine) = two_shops().await;
    for name in ["adam", "olga", "dan", "vera"] {
        let refused = engine.recovery_kit(&cx(&engine, name, Origin::Api), &shop()).await.unwrap_err();
        assert_eq!(refused.code, Code::Denied, "{name}: {refused}");
    }
    let agent = engine.recovery_kit(&cx(&engine, "owner", Origin::Agent), &shop()).await.unwrap_err();
    assert_eq!(agent.code, Code::Denied, "no model hands keys out: {agent}");
    let nowhere = engine.recovery_kit(&cx(&engine, "owner", Origin::Api), &Workspace::parse("none").unwrap()).await;
    assert_eq!(nowhere.unwrap_err().code, Code::NotFound);
    let recorded = async || {
        let streams = world.journal.streams(&system(), StreamKind::Control, 10).await.unwrap();
        let Some((name, _)) = streams.into_iter().find(|(name, _)| name.id.as_str() == "kits") else {
            return Vec::new();
        };
        world.journal.read(&system(), &name, 0, 10).await.unwrap()
    };
    assert!(recorded().await.is_empty(), "nothing was handed out");
    let page = engine.recovery_kit(&cx(&engine, "owner", Origin::Cli), &shop()).await.unwrap();
    assert_eq!(page, format!("a kit of shop of {}", tenant()));
    let events = recorded().await;
    assert_eq!((events.len(), events[0].by.as_str()), (1, "owner"));
    assert_eq!(events[0].body, Some(Body::RecoveryKitTaken { workspace: shop() }));
    assert!(!format!("{events:?}").contains("a kit of"), "the key is in the record");
}
