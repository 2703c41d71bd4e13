//! The port's own suite over Kubernetes. With `OPSWARD_TEST_KUBECONFIG` it runs against that cluster, which
//! needs the right to make namespaces and an image with `sleep` (`OPSWARD_TEST_IMAGE`, else `busybox`).

use std::sync::Arc;

use opsward_kube::{Access, KubeProvider, Options};
use opsward_ports::clock::SystemClock;
use opsward_ports::provider::conformance::{Kit, suite};

use crate::bench;
use crate::double::{Double, TOKEN};

fn kit(image: String) -> Kit {
    Kit {
        command: vec!["sleep".into(), "3600".into()],
        // What a cluster does not have of opsward's.
        functions: false,
        backups: false,
        image: Some(image),
        restart_rolls: true,
        rollback_renumbers: true,
    }
}

#[tokio::test]
async fn kubernetes_conforms() {
    let dir = tempfile::tempdir().unwrap();
    if let Some(path) = std::env::var_os("OPSWARD_TEST_KUBECONFIG") {
        let access = Access::Kubeconfig { path: path.into(), context: None, allow_exec: true };
        let mut options = Options::new(access, dir.path());
        options.create_namespaces = true;
        let kube = KubeProvider::open(options, Arc::new(SystemClock)).await.unwrap();
        let image = std::env::var("OPSWARD_TEST_IMAGE").unwrap_or_else(|_| "busybox".into());
        return suite(&kube, &kit(image)).await;
    }
    let double = Double::start().await;
    let mut options = bench::options(dir.path(), &double.kubeconfig(TOKEN));
    options.create_namespaces = true;
    let kube = KubeProvider::open(options, Arc::new(SystemClock)).await.unwrap();
    suite(&kube, &kit("busybox".into())).await;
}
