//! Functions and backups through the provider, bad sources, damage and lost keys included.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use opsward_domain::fault::Code;
use opsward_domain::name::Workspace;
use opsward_domain::resource::{Resource, ResourceState};
use opsward_ports::kits::Kits as _;
use opsward_ports::provider::conformance::owner;
use opsward_ports::provider::{observe_resource, resource_of};
use opsward_ports::telemetry::TelemetrySource as _;
use opsward_snapshots::{RecoveryKit, Vault, Watch};
use serde_json::{Value, json};

use super::bench::{Bench, open, with};

pub(crate) const ALL: &[(&str, fn())] = &[
    ("functions_answer_fail_and_log_truly", functions),
    ("bad_sources_change_nothing", bad_sources),
    ("functions_survive_a_restart", restart),
    ("a_backup_brings_the_bytes_back_even_for_a_new_workspace", backups),
    ("a_damaged_backup_is_named_and_a_lost_key_is_told", damage),
];

fn script(name: &str, text: &str) -> Value {
    json!({"function": name, "timeout_ms": 300, "memory_bytes_max": 32 << 20,
        "source": {"runtime": "javascript", "text": text}})
}

async fn state(bench: &Bench, kind: &str, name: &str) -> ResourceState {
    let resource: Resource = resource_of(kind, name).unwrap();
    observe_resource(&bench.provider, &bench.cx, &bench.workspace, &resource).await.unwrap()
}

fn functions() {
    with(async |bench| {
        let text = "export default function (r) {
            console.log('ERROR got ' + r.n);
            if (r.n === 1) { throw new Error('no ones'); }
            if (r.n === 2) { for (;;) {} }
            return r.n * 2;
        }";
        bench.done("deploy_function", script("twice", text)).await;
        for (n, status) in [(4, "ok"), (1, "failed"), (2, "timed_out"), (5, "ok")] {
            let outcome = bench.done("invoke_function", json!({"function": "twice", "input": {"n": n}})).await;
            assert_eq!(outcome.result["status"], status, "{}", outcome.result);
            if status == "ok" {
                assert_eq!(outcome.result["output"], json!(n * 2));
            }
        }
        match state(&bench, "function", "twice").await {
            ResourceState::Function(status) => assert_eq!((status.invocations, status.failures), (4, 2)),
            other => panic!("{other:?}"),
        }
        let mut lines = Vec::new();
        while lines.len() < 3 {
            let batch = bench.provider.next().await.unwrap();
            lines.extend(batch.lines.iter().filter(|l| l.workload.as_str() == "twice").map(|l| l.text.clone()));
            bench.provider.acknowledge(batch.cursor).await.unwrap();
        }
        assert_eq!(lines[..2], ["ERROR got 4", "ERROR got 1"]);
        let mut seen = None;
        while seen.is_none() {
            let batch = bench.provider.next().await.unwrap();
            seen = batch.samples.iter().find(|s| s.metric == "function_failures_total").map(|s| s.value);
            bench.provider.acknowledge(batch.cursor).await.unwrap();
        }
        assert_eq!(seen, Some(2.0));
    });
}

fn bad_sources() {
    with(async |bench| {
        bench.done("deploy_function", script("f", "export default function () { return 1; }")).await;
        let before = state(&bench, "function", "f").await;
        let wasm = |module: &str| {
            json!({"function": "f", "timeout_ms": 300, "memory_bytes_max": 32 << 20,
                "source": {"runtime": "wasm", "module": module}})
        };
        for (bad, why) in [
            (script("f", "export default function ( {"), "syntax error"),
            (script("f", "const a = 1;"), "handle"),
            (wasm("!!!"), "base64"),
            (wasm("aGVsbG8="), "invalid webassembly"),
            (
                json!({"function": "f", "timeout_ms": 300, "memory_bytes_max": 4_u64 << 30,
                "source": {"runtime": "javascript", "text": "x"}}),
                "memory",
            ),
        ] {
            let fault = bench.failed("deploy_function", bad).await;
            assert_eq!(fault.code, Code::InvalidInput, "{fault}");
            assert!(fault.to_string().contains(why), "{fault}");
        }
        assert_eq!(state(&bench, "function", "f").await, before);
        let outcome = bench.done("invoke_function", json!({"function": "f", "input": null})).await;
        assert_eq!(outcome.result["output"], 1);
    });
}

fn on_runtime<F: Future<Output = ()>>(test: impl FnOnce(PathBuf) -> F) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let dir = tempfile::tempdir().unwrap();
        test(dir.path().to_owned()).await;
    });
}

async fn bench_on(root: &Path) -> Bench {
    Bench::on(open(root).await.unwrap(), root.to_owned(), None)
}

fn restart() {
    on_runtime(async |root| {
        let bench = bench_on(&root).await;
        bench.done("create_workspace", json!({"memory_bytes_max": 1 << 30})).await;
        bench.done("deploy_function", script("f", "export default function () { return 'one'; }")).await;
        bench.done("deploy_function", script("f", "export default function () { return 'two'; }")).await;
        bench.done("invoke_function", json!({"function": "f", "input": null})).await;
        bench.provider.shutdown(false).await.unwrap();
        let bench = bench_on(&root).await;
        let outcome = bench.done("invoke_function", json!({"function": "f", "input": null})).await;
        assert_eq!(outcome.result["output"], "two");
        bench.done("activate_function", json!({"function": "f", "version": 1})).await;
        let outcome = bench.done("invoke_function", json!({"function": "f", "input": null})).await;
        assert_eq!((&outcome.result["output"], &outcome.result["version"]), (&json!("one"), &json!(1)));
        match state(&bench, "function", "f").await {
            ResourceState::Function(status) => assert_eq!(status.invocations, 3, "counted over the restart"),
            other => panic!("{other:?}"),
        }
        bench.provider.shutdown(false).await.unwrap();
    });
}

fn backups() {
    with(async |bench| {
        let volume = bench.folder().join("volumes/data");
        bench.done("create_volume", json!({"volume": "data", "size_bytes": 4 << 20})).await;
        std::fs::write(volume.join("orders.db"), vec![7; 100_000]).unwrap();
        let outcome = bench.done("create_backup", json!({"backup": "nightly", "volumes": ["data"]})).await;
        assert_eq!(outcome.result["bytes"], 100_000, "{}", outcome.result);
        std::fs::write(volume.join("orders.db"), "lost").unwrap();
        let restore = |into: &str| json!({"backup": "nightly", "volume": "data", "into": into});
        bench.done("restore_backup", restore("data-2")).await;
        let restored = bench.folder().join("volumes/data-2/orders.db");
        assert_eq!(std::fs::read(restored).unwrap(), vec![7; 100_000]);
        match state(&bench, "volume", "data-2").await {
            ResourceState::Volume(status) => assert_eq!((status.size_bytes, status.used_bytes), (4 << 20, 100_000)),
            other => panic!("{other:?}"),
        }
        other_workspace(&bench, &restore("copied")).await;
        bench.done("delete_workspace", json!({})).await;
        bench.done("create_workspace", json!({"memory_bytes_max": 1 << 30})).await;
        bench.done("verify_backup", json!({"backup": "nightly"})).await;
        bench.done("restore_backup", restore("data")).await;
        assert_eq!(std::fs::read(volume.join("orders.db")).unwrap(), vec![7; 100_000]);
        bench.done("delete_backup", json!({"backup": "nightly"})).await;
        let fault = bench.failed("restore_backup", restore("data-3")).await;
        assert_eq!(fault.code, Code::NotFound, "{fault}");
    });
}

/// The same backup, brought back into a new workspace of the tenant.
async fn other_workspace(bench: &Bench, restore: &Value) {
    let mut other = Bench::on(bench.provider.clone(), bench.root.clone(), None);
    other.workspace = Workspace::parse("shop-2").unwrap();
    other.done("create_workspace", json!({"memory_bytes_max": 1 << 30})).await;
    let mut from = restore.clone();
    from["from"] = json!("shop");
    let outcome = other.done("restore_backup", from.clone()).await;
    assert_eq!(std::fs::read(other.folder().join("volumes/copied/orders.db")).unwrap(), vec![7; 100_000]);
    match state(&other, "volume", "copied").await {
        // What it was left as is what an inverse may take back.
        ResourceState::Volume(status) => assert_eq!(Some(status.resource_version), outcome.version),
        other => panic!("{other:?}"),
    }
    assert_eq!(state(bench, "volume", "copied").await, ResourceState::Absent, "nothing in the backup's own workspace");
    from["into"] = json!("more");
    from["from"] = json!("nowhere");
    assert_eq!(other.failed("restore_backup", from).await.code, Code::NotFound);
    other.done("delete_volume", json!({"volume": "copied"})).await;
}

fn damage() {
    on_runtime(async |root| {
        let bench = bench_on(&root).await;
        bench.done("create_workspace", json!({"memory_bytes_max": 1 << 30})).await;
        bench.done("create_volume", json!({"volume": "data", "size_bytes": 4 << 20})).await;
        std::fs::write(bench.folder().join("volumes/data/a"), vec![3; 50_000]).unwrap();
        bench.done("create_backup", json!({"backup": "b", "volumes": ["data"]})).await;
        let key = root.join("keys/backups");
        assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        let page = bench.provider.recovery_kit(&bench.cx, &bench.workspace).await.unwrap();
        assert!(!format!("{page:?}").contains("Key"), "a page says nothing in a log");
        let page = page.reveal();
        let stranger = bench.provider.recovery_kit(&owner("globex"), &bench.workspace).await.unwrap_err();
        assert_eq!(stranger.code, Code::NotFound, "{stranger}");
        assert!(page.contains("workspace shop of tenant acme"));
        let vault_dir = root.join("vaults/acme/shop");
        let kit = RecoveryKit::parse(&page).unwrap();
        let vault = Vault::open_with_kit(&vault_dir, &kit).unwrap();
        let snapshots = vault.list().unwrap().snapshots;
        assert!(vault.verify(&snapshots[0].id, &Watch::default()).unwrap().is_whole());
        drop(vault);

        for pack in packs(&vault_dir.join("data")) {
            let mut bytes = std::fs::read(&pack).unwrap();
            let middle = bytes.len() / 3;
            bytes[middle] ^= 0xff;
            std::fs::set_permissions(&pack, std::fs::Permissions::from_mode(0o600)).unwrap();
            std::fs::write(&pack, bytes).unwrap();
        }
        let fault = bench.failed("verify_backup", json!({"backup": "b"})).await;
        assert_eq!(fault.code, Code::Corrupt, "{fault}");
        let fault = bench.failed("restore_backup", json!({"backup": "b", "volume": "data", "into": "x"})).await;
        assert_eq!(fault.code, Code::Corrupt, "{fault}");
        assert_eq!(state(&bench, "volume", "x").await, ResourceState::Absent, "nothing half restored stays");
        bench.provider.shutdown(false).await.unwrap();

        std::fs::write(&key, "another passphrase").unwrap();
        let bench = bench_on(&root).await;
        let fault = bench.failed("verify_backup", json!({"backup": "b"})).await;
        assert!(fault.message.contains("wrong passphrase"), "{fault}");
        bench.done("delete_workspace", json!({})).await;
        let made = bench.done("create_workspace", json!({"memory_bytes_max": 1 << 30})).await;
        assert_eq!(made.result["backups_unavailable"]["code"], "corrupt", "{}", made.result);
        bench.provider.shutdown(false).await.unwrap();
    });
}

fn packs(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        if entry.path().is_dir() { found.extend(packs(&entry.path())) } else { found.push(entry.path()) }
    }
    found
}
