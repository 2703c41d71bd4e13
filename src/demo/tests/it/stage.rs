//! One performance: boot the shop, find the client's baseline, play the healthy twin, play the
//! incident, repair it as the truth says, and ask the client each time.
//! Must never take a word about health from anybody but the client.

use crate::interface::{Interface, TOKEN};
use crate::platform::Platform;
use crate::role::Role;
use opsward_demo::driver::lines::{ClientLine, Expect, ExternalLine, InjectorLine, Quality, Truth, Verdict};
use opsward_demo::world::{ENTRY, Place, World};
use serde_json::{Value, json};
use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

const SAMPLE: usize = 130;
const BASELINE: usize = 200;
const BASELINES: usize = 4;
const LINE_WITHIN: Duration = Duration::from_secs(30);
/// How long an incident may take to show, and a repair to work.
const SHOWS_WITHIN: Duration = Duration::from_secs(60);

struct Stage {
    platform: Arc<Platform>,
    interface: Interface,
    control: String,
    client: Role<ClientLine>,
    shown: bool,
    _external: Role<ExternalLine>,
    _token: tempfile::NamedTempFile,
    token_path: String,
}

pub(crate) fn perform(name: &str, seed: u64, pace: f64, shown: bool) -> Result<String, String> {
    let mut stage = Stage::boot(seed, shown)?;
    let outcome = stage.acts(name, seed, pace);
    stage.platform.end();
    outcome
}

/// A baseline of a quiet moment; a machine that builds something else may need a few.
fn calibrated(client: &mut Role<ClientLine>) -> Result<(), String> {
    let mut last = Quality::default();
    for _ in 0..BASELINES {
        client.say(&format!("calibrate {BASELINE}"));
        last = client.find(LINE_WITHIN, |line| match line {
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
        let external = Role::start(&["__demo-external", "--seed", &seed.to_string()], shown);
        let (listen, control) = external.find(LINE_WITHIN, |line| match line {
            ExternalLine::External { listen, control } => Some((listen, control)),
        })?;
        let platform = Platform::start();
        let world = World::new(seed);
        let program = std::env::current_exe().unwrap().display().to_string();
        let place = Place { program, external: listen, redis: Place::find_redis() };
        for action in world.actions(&place) {
            platform.act(&action)?;
        }
        let gateway = platform.show(ENTRY).ok_or("no gateway")?;
        let traffic = world.traffic();
        let text = |number: f64| number.to_string();
        let client_args = [
            "__demo-client",
            "--target",
            gateway["address"].as_str().unwrap(),
            "--seed",
            &text(seed as f64),
            "--rate",
            &text(traffic.rate),
            "--buy",
            &text(traffic.buy),
            "--search",
            &text(traffic.search),
            "--min-sample",
            &SAMPLE.to_string(),
        ];
        let mut client = Role::start(&client_args, shown);
        calibrated(&mut client)?;
        let mut token = tempfile::NamedTempFile::new().unwrap();
        token.write_all(TOKEN.as_bytes()).unwrap();
        let token_path = token.path().display().to_string();
        let interface = Interface::start(&platform);
        Ok(Self { platform, interface, control, client, shown, _external: external, _token: token, token_path })
    }

    fn acts(&mut self, name: &str, seed: u64, pace: f64) -> Result<String, String> {
        let began = Instant::now();
        let (twin, player) = self.play(name, seed, pace, true)?;
        player.finish();
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
        player.finish();
        Ok(format!(
            "{what} shown after {:.1} s, well {:.1} s after repair, {:.1} s in all",
            shown_after.as_secs_f64(),
            repaired.elapsed().as_secs_f64(),
            began.elapsed().as_secs_f64()
        ))
    }

    /// Plays until the injector has done everything; passes lines on to the client.
    fn play(&mut self, name: &str, seed: u64, pace: f64, twin: bool) -> Result<(Truth, Role<InjectorLine>), String> {
        let (seed, pace) = (seed.to_string(), pace.to_string());
        let mut args = vec![
            "__demo-inject",
            "--api",
            &self.interface.url,
            "--token-file",
            &self.token_path,
            "--workspace",
            "shop",
            "--incident",
            name,
            "--seed",
            &seed,
            "--external-control",
            &self.control,
            "--pace",
            &pace,
        ];
        if twin {
            args.push("--twin");
        }
        let player: Role<InjectorLine> = Role::start(&args, self.shown);
        let (client, mut truth) = (&mut self.client, None);
        player.find(Duration::from_secs(90), |line| match line {
            InjectorLine::Client { command } => {
                client.say(&command);
                None
            }
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
        self.client.say(&format!("judge {SAMPLE}"));
        self.client.find(LINE_WITHIN, |line| match line {
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
