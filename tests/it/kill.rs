//! The real binary, lost by SIGKILL at named points while it does real work, started again, and judged by a
//! checker that reads the journal's export and the provider's ledger and nothing else. The points of
//! `QUICK` run always, all with `OPSWARD_FULL` set; `OPSWARD_POINT` keeps those whose name contains it.

mod checker;
mod house;
mod leftovers;
mod points;
mod scenes;
mod speaker;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use house::{House, RECOVERY_MAX, stretched};
use points::{FULL, Point, QUICK, Scene, is_action, what};
use speaker::Speaker;

/// What a run itself waits for on its way to the end, besides what a restart costs.
fn own_time(scene: Scene) -> Duration {
    Duration::from_secs(match scene {
        // A release that never becomes ready is watched for a time of its own.
        Scene::BadRelease | Scene::Meddled => 20,
        // An incident without a cause is looked at several times, a goal is measured for a while.
        Scene::Alert | Scene::Escalation | Scene::Full => 40,
        _ => 0,
    })
}

/// Loses a service at its first start.
async fn lose_first(point: &str) -> BTreeSet<String> {
    let mut house = House::new(None);
    assert!(!house.start(Some(point)).await, "{point}: it became ready");
    house.lost(point).await;
    assert!(house.start(None).await, "{point}");
    scenes::furnish(&house).await;
    house.kill();
    checker::check(house.data.path()).await.kinds
}

/// Loses a furnished service at each point; afterwards it is at rest within the bound, and the checker agrees.
async fn lose_at(points: &[Point], config: Option<&str>) -> BTreeSet<String> {
    let mut kinds = BTreeSet::new();
    let mut house = House::new(config);
    assert!(house.start(None).await);
    scenes::furnish(&house).await;
    for (nth, (scene, point)) in points.iter().enumerate() {
        house.kill();
        assert!(house.start(Some(point)).await, "{point}: lost before it was ready");
        scenes::play(&mut house, *scene, nth, point).await;
        house.lost(point).await;
        let began = Instant::now();
        assert!(house.start(None).await, "{point}");
        let took = house.rest().await;
        let bound = stretched(RECOVERY_MAX + own_time(*scene));
        assert!(began.elapsed() < bound, "{scene:?} {point}: {took:?} of {bound:?}");
        scenes::tidy_up(&house, *scene, nth).await;
        house.kill();
        kinds.extend(checker::check(house.data.path()).await.kinds);
        assert!(house.start(None).await, "{point}");
        scenes::counted(&house, point).await;
    }
    house.kill();
    let found = checker::check(house.data.path()).await;
    assert!(found.effects > 0 && found.effects <= found.intents, "{found:?}");
    kinds
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_lost_anywhere_finishes_what_it_began_once() {
    let mut points = QUICK.to_vec();
    if std::env::var_os("OPSWARD_FULL").is_some() {
        points.extend(FULL);
    }
    if let Ok(only) = std::env::var("OPSWARD_POINT") {
        points.retain(|(_, point)| point.contains(&only));
    }
    // Time goes on for good in the last scene.
    points.sort_by_key(|(scene, _)| *scene == Scene::Lapse);
    let (first, later): (Vec<Point>, Vec<Point>) = points.iter().partition(|(scene, _)| *scene == Scene::First);
    let (talking, plain): (Vec<Point>, Vec<Point>) = later.into_iter().partition(|(scene, _)| scene.talks());
    let mut kinds = BTreeSet::new();
    for (_, point) in first {
        kinds.extend(lose_first(point).await);
    }
    if !plain.is_empty() {
        kinds.extend(lose_at(&plain, None).await);
    }
    if !talking.is_empty() {
        let speaker = Speaker::start().await;
        kinds.extend(lose_at(&talking, Some(&speaker.config())).await);
    }
    let wanted: BTreeSet<String> =
        points.iter().map(|(_, point)| what(point).to_owned()).filter(|what| !is_action(what)).collect();
    let never: Vec<_> = wanted.difference(&kinds).collect();
    assert!(never.is_empty(), "points of events that never happened: {never:?}");
}
