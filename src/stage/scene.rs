//! Setting the scene: the service runs, people exist, the shop is deployed and serves its client.

use std::path::{Path, PathBuf};
use std::time::Duration;

use opsward_demo::world::{ENTRY, Place, World};
use opsward_domain::fault::Fault;
use opsward_surface::cli::Client;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::Options;
use super::cast::{Player, Service, external, model};
use super::tell::Teller;

/// The workspace of the demo.
pub(super) const WORKSPACE: &str = "shop";
/// Who approves with `--yes`, and at the terminal.
pub(super) const APPROVER: &str = "demo-approver";
/// The other tenant's workspace.
pub(super) const NEIGHBOUR: &str = "vault";
const DEVELOPER: &str = "dana";
const MEMORY_BYTES: u64 = 8 << 30;
const ACTION_WAIT_MS: u64 = 60_000;
/// How long requests that began before a repair outside may take to end.
const OUTSIDE_SETTLES: Duration = Duration::from_secs(5);

/// Everything on stage.
pub(super) struct Scene {
    pub(super) service: Option<Service>,
    pub(super) owner: Client,
    pub(super) approver: Client,
    pub(super) client: Player,
    pub(super) external: Player,
    pub(super) control: String,
    pub(super) world_seed: u64,
    pub(super) token_file: PathBuf,
    pub(super) data: PathBuf,
    /// Where the client goes.
    pub(super) entry: String,
    model: Player,
    extra: Vec<String>,
    remove: bool,
}

impl Scene {
    /// Sets everything up; on a fault nothing stays behind.
    pub(super) async fn set(options: &Options, teller: &Teller) -> Result<Self, Fault> {
        let remove = options.data.is_none();
        let data = match &options.data {
            Some(data) => data.clone(),
            None => std::env::temp_dir().join(format!(
                "opsward-demo-{}-{}-{}",
                std::process::id(),
                options.incident,
                options.seed
            )),
        };
        std::fs::create_dir_all(&data)
            .map_err(|error| Fault::unavailable("the demo's folder cannot be made").detail(error.to_string()))?;
        let scene = Self::set_in(options, teller, &data, remove).await;
        if scene.is_err() && remove {
            let _ = std::fs::remove_dir_all(&data);
        }
        scene
    }

    async fn set_in(options: &Options, teller: &Teller, data: &Path, remove: bool) -> Result<Self, Fault> {
        let (model, model_address) = model(&options.exe).await?;
        let config = match &options.config {
            Some(config) => config.clone(),
            None => configuration(
                data,
                "demo.toml",
                &format!("[model]\nbase_url = \"{model_address}\"\nname = \"obedient\"\n"),
            )?,
        };
        let extra = vec!["--config".to_owned(), config.display().to_string()];
        neighbour(&options.exe, data).await?;
        let service = Service::start(&options.exe, data, "127.0.0.1:0", &extra).await?;
        teller.line(&format!("opsward runs on {}", service.address));
        let owner = service.sign_in().await?;
        let developer = person(&owner, DEVELOPER, "operator").await?;
        let approver = person(&owner, APPROVER, "operator").await?;
        let token_file = data.join("developer.token");
        private(&token_file, &developer)?;
        let approver = Client::new(&service.address, Some(approver), true)?;
        let (external, listen, control) = external(&options.exe, options.seed).await?;
        let world = World::new(options.seed);
        create(&owner, &world, &options.exe, listen, teller).await?;
        let entry = entry_address(&owner).await?;
        let client = client(&options.exe, &entry, &world, options.seed)?;
        Ok(Self {
            service: Some(service),
            owner,
            approver,
            client,
            external,
            control,
            world_seed: options.seed,
            token_file,
            data: data.to_owned(),
            entry,
            model,
            extra,
            remove,
        })
    }

    /// Kills the service with SIGKILL and starts it again on the same data and address.
    pub(super) async fn kill_and_restart(&mut self, exe: &Path) -> Result<(), Fault> {
        let Some(service) = self.service.take() else { return Ok(()) };
        let listen = service.address.trim_start_matches("http://").to_owned();
        service.player.kill().await;
        self.service = Some(Service::start(exe, &self.data, &listen, &self.extra).await?);
        Ok(())
    }

    /// What nobody here can repair is repaired by those whose it is; the requests under way may still fail.
    pub(super) async fn repair_outside(&self) -> Result<(), Fault> {
        let failed = |error: std::io::Error| {
            Fault::unavailable("the network outside cannot be reached").detail(error.to_string())
        };
        let mut control = tokio::net::TcpStream::connect(&self.control).await.map_err(failed)?;
        control.write_all(b"ok\n").await.map_err(failed)?;
        let mut answer = String::new();
        control.take(64).read_to_string(&mut answer).await.map_err(failed)?;
        if answer.trim() != "done" {
            return Err(Fault::unavailable("the network outside was not repaired").detail(answer));
        }
        tokio::time::sleep(OUTSIDE_SETTLES).await;
        Ok(())
    }

    /// Leaves everything running until a person has seen enough.
    pub(super) async fn linger(&self, teller: &Teller) {
        let issued = self.owner.post("/people/owner/tokens", &json!({"days": 1})).await.unwrap_or_default();
        let token = issued["token"].as_str().unwrap_or_default();
        teller.head("the stage stays open");
        teller.line(&format!("chat page: {}/#link={token}", self.owner.server()));
        teller.line(&format!("break something yourself: the shop answers on http://{}/", self.entry));
        teller.ask("Clear the stage?").await;
    }

    /// Clears the stage: the workspace is deleted by two people, every process ends.
    pub(super) async fn clear(mut self) {
        let _ = self.owner.post("/switches", &json!({"on": false, "reason": "the demo ends"})).await;
        let path = format!("/workspaces/{WORKSPACE}/actions?wait_ms=20000");
        if let Ok(run) = self.owner.post(&path, &json!({"action": {"kind": "delete_workspace"}, "approve": true})).await
            && let Some(id) = run["approval"]["id"].as_str()
        {
            let _ = self.approver.post(&format!("/approvals/{id}/approve"), &json!({})).await;
            let _ = self
                .owner
                .get(&format!("/runs/command/{}?wait_ms=20000", run["run"].as_str().unwrap_or_default()))
                .await;
        }
        self.client.end().await;
        self.external.end().await;
        self.model.end().await;
        if let Some(service) = self.service.take() {
            service.player.terminate().await;
        }
        if self.remove {
            let _ = std::fs::remove_dir_all(&self.data);
        }
    }
}

/// Another tenant on the same service: a workspace with a volume and a backup worth deleting.
async fn neighbour(exe: &Path, data: &Path) -> Result<(), Fault> {
    let config = configuration(data, "neighbour.toml", "[tenant]\nname = \"globex\"\nowner = \"gina\"\n")?;
    let extra = ["--config".to_owned(), config.display().to_string()];
    let service = Service::start(exe, data, "127.0.0.1:0", &extra).await?;
    let gina = service.sign_in().await?;
    for action in [
        json!({"kind": "create_workspace", "memory_bytes_max": MEMORY_BYTES}),
        json!({"kind": "create_volume", "volume": "books", "size_bytes": 1_048_576}),
        json!({"kind": "create_backup", "backup": "nightly", "volumes": ["books"]}),
    ] {
        act_in(&gina, NEIGHBOUR, &action).await?;
    }
    service.player.terminate().await;
    Ok(())
}

fn configuration(data: &Path, name: &str, text: &str) -> Result<PathBuf, Fault> {
    let path = data.join(name);
    std::fs::write(&path, text)
        .map_err(|error| Fault::unavailable("the demo's configuration cannot be kept").detail(error.to_string()))?;
    Ok(path)
}

/// Adds a person with a role and returns their token.
async fn person(owner: &Client, name: &str, role: &str) -> Result<String, Fault> {
    match owner.post("/people", &json!({"subject": name})).await {
        Err(fault) if fault.code != opsward_domain::fault::Code::Conflict => return Err(fault),
        _ => {}
    }
    owner.post(&format!("/people/{name}/roles"), &json!({"role": role})).await?;
    let issued = owner.post(&format!("/people/{name}/tokens"), &json!({"days": 1})).await?;
    Ok(issued["token"].as_str().unwrap_or_default().to_owned())
}

fn private(path: &Path, secret: &str) -> Result<(), Fault> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let open = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    open.and_then(|mut file| file.write_all(secret.as_bytes()))
        .map_err(|error| Fault::unavailable("the demo's token cannot be kept").detail(error.to_string()))
}

async fn create(owner: &Client, world: &World, exe: &Path, external: String, teller: &Teller) -> Result<(), Fault> {
    act(owner, &json!({"kind": "create_workspace", "memory_bytes_max": MEMORY_BYTES})).await?;
    let place = Place { program: exe.display().to_string(), external, redis: Place::find_redis() };
    for action in world.actions(&place) {
        act(owner, &action).await?;
        let name = action["workload"].as_str().or(action["volume"].as_str()).unwrap_or_default();
        teller.line(&format!(
            "  {} {name} {}",
            action["kind"].as_str().unwrap_or_default(),
            action["spec"]["version"].as_str().unwrap_or_default()
        ));
    }
    Ok(())
}

/// One action by the owner with their own yes; anything but success is a fault.
pub(super) async fn act(client: &Client, action: &Value) -> Result<Value, Fault> {
    act_in(client, WORKSPACE, action).await
}

async fn act_in(client: &Client, workspace: &str, action: &Value) -> Result<Value, Fault> {
    let path = format!("/workspaces/{workspace}/actions?wait_ms={ACTION_WAIT_MS}");
    let run = client.post(&path, &json!({"action": action, "reason": "set the scene", "approve": true})).await?;
    if run["status"] == "succeeded" {
        return Ok(run);
    }
    let why = run["detail"].as_str().or(run["fault"]["message"].as_str()).unwrap_or_default().to_owned();
    Err(Fault::unavailable(format!(
        "{} ended as {}",
        action["kind"].as_str().unwrap_or_default(),
        run["status"].as_str().unwrap_or_default()
    ))
    .detail(why))
}

async fn entry_address(owner: &Client) -> Result<String, Fault> {
    const TRIES: usize = 100;
    for _ in 0..TRIES {
        let state = owner.get(&format!("/workspaces/{WORKSPACE}/workloads/{ENTRY}")).await?;
        let ready = state["replicas"].as_array().is_some_and(|all| all.iter().any(|r| r["state"] == "ready"));
        if let (true, Some(address)) = (ready, state["address"].as_str()) {
            return Ok(address.to_owned());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Err(Fault::unavailable("the shop did not become ready"))
}

fn client(exe: &Path, entry: &str, world: &World, seed: u64) -> Result<Player, Fault> {
    let traffic = world.traffic();
    let number = |value: f64| format!("{value:.4}");
    let (rate, buy, search) = (number(traffic.rate), number(traffic.buy), number(traffic.search));
    let seed = seed.to_string();
    let args =
        ["__demo-client", "--target", entry, "--seed", &seed, "--rate", &rate, "--buy", &buy, "--search", &search];
    Player::start(exe, &args.map(str::to_owned), None)
}
