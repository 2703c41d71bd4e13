//! The shop that the demo runs: workloads, volume and traffic for a seed, as actions of the public
//! interface. Must never depend on which incident will be played.

mod parts;
pub(crate) mod releases;

use crate::release::Release;
use crate::rng::Rng;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::path::PathBuf;

/// Where things are on this machine.
#[derive(Debug, Clone)]
pub struct Place {
    /// The program that knows the role `__demo-service`.
    pub program: String,
    /// `host:port` of the external card network.
    pub external: String,
    /// A real Redis server, when there is one.
    pub redis: Option<PathBuf>,
}

impl Place {
    /// Looks for a Redis server in the usual places of a Debian system.
    #[must_use]
    pub fn find_redis() -> Option<PathBuf> {
        ["/usr/bin/redis-server", "/usr/local/bin/redis-server"].iter().map(PathBuf::from).find(|path| path.is_file())
    }
}

/// Ordinary traffic of the shop's client.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Traffic {
    /// Requests a second.
    pub rate: f64,
    /// Share of purchases.
    pub buy: f64,
    /// Share of searches.
    pub search: f64,
}

/// The numbers that a seed varies.
#[derive(Debug, Clone)]
pub(crate) struct Knobs {
    pub(crate) catalog_workers: u64,
    pub(crate) payments_workers: u64,
    pub(crate) miss_ms: f64,
    pub(crate) search_ms: f64,
    pub(crate) fraud_ms: f64,
    pub(crate) cache_ttl_s: u64,
    pub(crate) record_bytes: usize,
    pub(crate) retention_kb: u64,
    pub(crate) volume_bytes: u64,
    pub(crate) payments_tcp_health: bool,
    objectives_inside: bool,
}

/// One seeded shop.
#[derive(Debug, Clone)]
pub struct World {
    pub(crate) knobs: Knobs,
    pub(crate) releases: Vec<Release>,
    traffic: Traffic,
}

/// The workload that the client talks to.
pub const ENTRY: &str = "gateway";
/// The workload that is not our program where Redis is installed.
pub(crate) const CACHE: &str = "cache";
/// The volume of the ledger.
pub(crate) const VOLUME: &str = "orders";

impl World {
    /// The shop of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed, "world");
        let knobs = Knobs {
            catalog_workers: rng.whole(3, 4),
            payments_workers: rng.whole(2, 3),
            miss_ms: rng.range(120.0, 170.0),
            search_ms: rng.range(45.0, 65.0),
            fraud_ms: rng.range(19.0, 25.0),
            cache_ttl_s: rng.whole(90, 180),
            record_bytes: rng.whole(3, 5) as usize * 1024,
            retention_kb: rng.whole(400, 700),
            volume_bytes: rng.whole(5, 7) * 1024 * 1024,
            payments_tcp_health: rng.chance(0.5),
            objectives_inside: rng.chance(0.5),
        };
        let traffic = Traffic { rate: rng.range(36.0, 46.0), buy: rng.range(0.27, 0.34), search: rng.range(0.12, 0.2) };
        let releases = releases::all(&mut rng, &knobs);
        Self { knobs, releases, traffic }
    }

    /// What the client should be told to do.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// Names of the workloads, dependencies first.
    #[must_use]
    pub fn workloads(&self) -> Vec<String> {
        self.releases.iter().map(|release| release.service.clone()).collect()
    }

    /// `create_volume` and `deploy_workload` actions in the order in which they work.
    #[must_use]
    pub fn actions(&self, place: &Place) -> Vec<Value> {
        let volume = json!({"kind": "create_volume", "volume": VOLUME, "size_bytes": self.knobs.volume_bytes});
        let deploys = self.releases.iter().map(|release| {
            let spec = self.spec(release, place);
            json!({"kind": "deploy_workload", "workload": release.service, "spec": spec})
        });
        std::iter::once(volume).chain(deploys).collect()
    }

    fn spec(&self, release: &Release, place: &Place) -> Value {
        let part = parts::part(&release.service, &self.knobs, &place.external);
        let mut spec = json!({
            "version": release.version,
            "command": [
                place.program, "__demo-service",
                "--listen", "127.0.0.1:${port}", "--release", "${files}/release.bin"
            ],
            "env": part.env,
            "files": {"release.bin": STANDARD.encode(release.pack())},
            "replicas": part.replicas,
            "limits": {"memory_bytes": part.memory_mb * 1024 * 1024, "open_files": part.open_files},
            "port": true,
            "health": part.health,
            "metrics_path": "/metrics",
            "depends_on": part.depends_on,
            "volumes": part.volumes,
            "restart": "always",
        });
        if let Some(objective) = part.objective {
            spec["objective"] = objective;
        }
        if release.service == CACHE {
            if let Some(map) = spec.as_object_mut() {
                map.remove("metrics_path");
            }
            if let Some(redis) = &place.redis {
                spec["command"] = json!([redis.display().to_string(), "${files}/redis.conf", "--port", "${port}"]);
                spec["files"] = json!({"redis.conf": STANDARD.encode(parts::REDIS_CONF)});
                spec["version"] = "7.0".into();
            }
        }
        spec
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Place {
        let external = "127.0.0.1:9".to_owned();
        Place { program: "/bin/opsward".to_owned(), external, redis: None }
    }

    #[test]
    fn a_seed_repeats_and_seeds_differ() {
        let actions = |seed| World::new(seed).actions(&place());
        assert_eq!(actions(4), actions(4));
        assert_ne!(actions(4), actions(5));
    }

    #[test]
    fn every_workload_can_be_deployed_as_described() {
        for seed in 0..20 {
            let world = World::new(seed);
            let actions = world.actions(&place());
            assert_eq!(actions[0]["kind"], "create_volume");
            assert!(world.workloads().len() >= 6);
            let mut known: Vec<String> = Vec::new();
            for action in &actions[1..] {
                let spec = &action["spec"];
                for upstream in spec["depends_on"].as_array().unwrap() {
                    assert!(known.iter().any(|name| upstream == name), "{upstream} comes later");
                }
                known.push(action["workload"].as_str().unwrap().to_owned());
                let file = spec["files"]["release.bin"].as_str().unwrap();
                assert!(file.len() < 256 * 1024);
                let release = Release::unpack(&STANDARD.decode(file).unwrap()).unwrap();
                for key in &release.require {
                    assert!(spec["env"].get(key).is_some(), "{} lacks {key}", release.service);
                }
            }
        }
    }

    #[test]
    fn nothing_that_can_be_read_gives_a_scenario_away() {
        let text = serde_json::to_string(&World::new(9).actions(&place())).unwrap().to_lowercase();
        for word in ["inject", "fault", "chaos", "incident", "twin", "decoy", "victim"] {
            assert!(!text.contains(word), "{word}");
        }
    }
}
