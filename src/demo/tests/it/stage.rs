//! One performance: boot the shop, find the client's baseline, play the healthy twin, play the
//! incident, repair it as the truth says, and ask the client each time.
//! Must never take a word about health from anybody but the client.

use crate::cast::{Client, External, Injection, Injector, Role};
use crate::interface::{Interface, TOKEN};
use crate::platform::Platform;
use opsward_demo::driver::lines::{ClientLine, Expect, ExternalLine, InjectorLine, Quality, Truth, Verdict};
use opsward_demo::world::{ENTRY, Place, World};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::fmt::Debug;
use std::io::Write;
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

const SAMPLE: usize = 130;
const BASELINE: usize = 200;
const BASELINES: usize = 4;
const LINE_WITHIN: Duration = Duration::from_secs(30);
/// How long an incident may take to show, and a repair to work.
const SHOWS_WITHIN: Duration = Duration::from_secs(60);

struct Stage {
    program: PathBuf,
    platform: Arc<Platform>,
    interface: Interface,
    control: String,
    client: Client,
    shown: bool,
    token: tempfile::NamedTempFile,
    _external: External,
}

/// The first line for which `pick` gives something.
fn find<Line: DeserializeOwned + Debug + Send + 'static, T>(
    role: &Role<Line>,
    patience: Duration,
    shown: bool,
    mut pick: impl FnMut(Line) -> Option<T>,
) -> Result<T, String> {
    let until = Instant::now() + patience;
    while let Some(line) = role.next(until.saturating_duration_since(Instant::now())) {
        let line = line?;
        if shown {
            println!("{line:?}");
        }
        if let Some(found) = pick(line) {
            return Ok(found);
        }
    }
    Err("no such line in time".to_owned())
}

pub(crate) fn perform(name: &str, seed: u64, pace: f64, shown: bool) -> Result<String, String> {
    let mut stage = Stage::boot(seed, shown)?;
    let outcome = stage.acts(name, seed, pace);
    stage.platform.end();
    outcome
}

/// A baseline of a quiet moment; a machine that builds something else may need a few.
fn calibrated(client: &mut Client, shown: bool) -> Result<(), String> {
    let mut last = Quality::default();
    for _ in 0..BASELINES {
        client.say(&format!("calibrate {BASELINE}")).map_err(|e| e.to_string())?;
        last = find(client, LINE_WITHIN, shown, |line| match line {
            ClientLine::Baseline { quality, .. } => Some(quality),
            _ => None,
        })?;
        if last.success_ratio >= 0.99 {
            return Ok(());
        }
    }
    Err(format!("the shop is not healthy by itself: {last:?}"))
}

impl Stage {
    fn boot(seed: u64, shown: bool) -> Result<Self, String> {
        let program = std::env::current_exe().unwrap();
        let external = External::serve(&program, seed).unwrap();
        let (listen, control) = find(&external, LINE_WITHIN, shown, |line| match line {
            ExternalLine::External { listen, control } => Some((listen, control)),
        })?;
        let platform = Platform::start();
        let world = World::new(seed);
        let place = Place { program: program.display().to_string(), external: listen, redis: Place::find_redis() };
        for action in world.actions(&place) {
            platform.act(&action)?;
        }
        let gateway = platform.show(ENTRY).ok_or("no gateway")?;
        let address = gateway["address"].as_str().unwrap();
        let mut client = Client::visit(&program, address, world.traffic(), seed, SAMPLE).unwrap();
        calibrated(&mut client, shown)?;
        let mut token = tempfile::NamedTempFile::new().unwrap();
        token.write_all(TOKEN.as_bytes()).unwrap();
        let interface = Interface::start(&platform);
        Ok(Self { program, platform, interface, control, client, shown, token, _external: external })
    }

    fn acts(&mut self, name: &str, seed: u64, pace: f64) -> Result<String, String> {
        let began = Instant::now();
        let (twin, player) = self.play(name, seed, pace, true)?;
        drop(player);
        if twin.expect != Expect::Quiet {
            return Err(format!("a twin expects quiet: {twin:?}"));
        }
        self.until(true, Duration::from_secs(20)).map_err(|e| format!("healthy twin ({}): {e}", twin.variant))?;
        let (truth, player) = self.play(name, seed, pace, false)?;
        let what = format!("{}/{}", truth.victim, truth.variant);
        let broken = Instant::now();
        self.until(false, SHOWS_WITHIN).map_err(|e| format!("{what} does not show: {e}"))?;
        let shown_after = broken.elapsed();
        if name == "misleading-alert" && self.interface.alerts.lock().unwrap().len() < 2 {
            return Err("no alert arrived".to_owned());
        }
        self.repair(&truth)?;
        let repaired = Instant::now();
        self.until(true, SHOWS_WITHIN).map_err(|e| format!("{what}: repair does not help: {e}"))?;
        drop(player);
        Ok(format!(
            "{what} shown after {:.1} s, well {:.1} s after repair, {:.1} s in all",
            shown_after.as_secs_f64(),
            repaired.elapsed().as_secs_f64(),
            began.elapsed().as_secs_f64()
        ))
    }

    /// Plays until the injector has done everything; passes lines on to the client.
    fn play(&mut self, name: &str, seed: u64, pace: f64, twin: bool) -> Result<(Truth, Injector), String> {
        let injection = Injection {
            api: &self.interface.url,
            token_file: self.token.path(),
            workspace: "shop",
            incident: name,
            twin,
            seed,
            pace,
            external_control: &self.control,
        };
        let player = Injector::inject(&self.program, &injection).unwrap();
        let (client, mut truth) = (&mut self.client, None);
        find(&player, Duration::from_secs(90), self.shown, |line| match line {
            InjectorLine::Client { command } => client.say(&command).err().map(|e| Err(e.to_string())),
            InjectorLine::Truth(told) => {
                truth = Some(told);
                None
            }
            InjectorLine::Error { text } => Some(Err(text)),
            InjectorLine::Done { .. } => Some(Ok(())),
            InjectorLine::Move { .. } => None,
        })??;
        Ok((truth.ok_or("no truth was told")?, player))
    }

    /// Asks the client until it says what is expected, and says it twice where that is health.
    fn until(&mut self, healthy: bool, patience: Duration) -> Result<(), String> {
        let until = Instant::now() + patience;
        loop {
            let verdict = self.judge()?;
            if verdict.healthy == healthy {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(format!("client says {verdict:?}"));
            }
        }
    }

    fn judge(&mut self) -> Result<Verdict, String> {
        self.client.say(&format!("judge {SAMPLE}")).map_err(|e| e.to_string())?;
        find(&self.client, LINE_WITHIN, self.shown, |line| match line {
            ClientLine::Verdict(verdict) => Some(Ok(verdict)),
            ClientLine::Error { text } => Some(Err(text)),
            _ => None,
        })?
    }

    /// Does the first of the right actions, made concrete as a person would.
    fn repair(&self, truth: &Truth) -> Result<(), String> {
        if truth.expect == Expect::Escalate {
            let mut control = TcpStream::connect(&self.control).unwrap();
            control.write_all(b"ok\n").unwrap();
            return Ok(());
        }
        let pattern = truth.right_actions.first().ok_or("nothing would be right")?;
        let action = self.concrete(pattern, &truth.victim);
        if !opsward_demo::driver::score::right(truth, &action) {
            return Err(format!("the repair does not fit its own pattern: {action}"));
        }
        self.platform.act(&action)
    }

    fn concrete(&self, pattern: &Value, victim: &str) -> Value {
        let kind = pattern["kind"].as_str().unwrap();
        let now = self.platform.show(victim).unwrap();
        let before = now["revision"].as_u64().unwrap().saturating_sub(1);
        match kind {
            "rollback_workload" => json!({"kind": kind, "workload": victim, "revision": before}),
            "set_environment" => {
                let key = pattern["set"].as_object().unwrap().keys().next().unwrap();
                let old = self.platform.revision(victim, before as usize)["env"][key].clone();
                json!({"kind": kind, "workload": victim, "set": {key: old}})
            }
            "scale_workload" => {
                let least = pattern["replicas"]["$min"].as_u64().unwrap();
                json!({"kind": kind, "workload": victim, "replicas": least + 1})
            }
            "resize_volume" => {
                json!({"kind": kind, "volume": pattern["volume"], "size_bytes": 64 << 20})
            }
            _ => json!({"kind": kind, "workload": victim}),
        }
    }
}
