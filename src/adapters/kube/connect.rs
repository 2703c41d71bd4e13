//! From a kubeconfig to a connection. Never runs a program that a kubeconfig names unless that is allowed.

use std::path::Path;
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use opsward_domain::fault::Fault;

use crate::json::quoted;
use crate::options::Access;

/// Longest wait for a connection.
const CONNECT_TIMEOUT_MS: u64 = 5_000;

/// Opens a client. Nothing is sent yet.
pub(crate) async fn connect(access: &Access) -> Result<Client, Fault> {
    let mut config = match access {
        Access::InCluster => Config::incluster().map_err(|error| {
            Fault::unavailable("there is no service account to use")
                .detail(quoted(&error.to_string()))
                .hint("run opsward in a pod of the cluster, or name a kubeconfig")
        })?,
        Access::Kubeconfig { path, context, allow_exec } => from_file(path, context.as_deref(), *allow_exec).await?,
    };
    config.connect_timeout = Some(Duration::from_millis(CONNECT_TIMEOUT_MS));
    // Whether to ask again is decided where it is known what was asked.
    config.default_retry = false;
    Client::try_from(config)
        .map_err(|error| Fault::invalid("the kubeconfig cannot be used").detail(quoted(&error.to_string())))
}

async fn from_file(path: &Path, context: Option<&str>, allow_exec: bool) -> Result<Config, Fault> {
    let broken = |error: &dyn std::fmt::Display| {
        Fault::invalid(format!("the kubeconfig {} cannot be used", path.display())).detail(quoted(&error.to_string()))
    };
    let file = Kubeconfig::read_from(path).map_err(|error| broken(&error))?;
    let wanted = context.map(str::to_owned).or_else(|| file.current_context.clone());
    let wanted = wanted.ok_or_else(|| broken(&"it has no current context").hint("name one with `context`"))?;
    let Some(found) = file.contexts.iter().find(|named| named.name == wanted) else {
        let known: Vec<&str> = file.contexts.iter().map(|named| named.name.as_str()).collect();
        return Err(broken(&format!("it has no context {wanted:?}")).hint(format!("it has {}", known.join(", "))));
    };
    let user = found.context.as_ref().and_then(|context| context.user.clone()).unwrap_or_default();
    let account = file.auth_infos.iter().find(|named| named.name == user).and_then(|named| named.auth_info.as_ref());
    if let Some(exec) = account.and_then(|account| account.exec.as_ref()).filter(|_| !allow_exec) {
        let program = exec.command.clone().unwrap_or_default();
        return Err(Fault::denied(format!("the kubeconfig {} runs a program to get its token", path.display()))
            .detail(quoted(&program))
            .hint("use a token or a certificate of its own for opsward, or allow the program with allow_exec = true"));
    }
    let options = KubeConfigOptions { context: Some(wanted), ..KubeConfigOptions::default() };
    Config::from_custom_kubeconfig(file, &options).await.map_err(|error| broken(&error))
}

#[cfg(test)]
mod tests {
    use opsward_domain::fault::Code;

    use super::*;

    const FILE: &str = "apiVersion: v1\nkind: Config\ncurrent-context: a\n\
        clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}]\n\
        contexts: [{name: a, context: {cluster: c, user: u}}, {name: b, context: {cluster: c, user: runs}}]\n\
        users: [{name: u, user: {token: secret-token}}, {name: runs, user: {exec: {apiVersion: \
        client.authentication.k8s.io/v1, command: steal-everything, interactiveMode: Never}}}]\n";

    async fn open(text: &str, context: Option<&str>, allow_exec: bool) -> Result<(), Fault> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config");
        std::fs::write(&path, text).unwrap();
        let access = Access::Kubeconfig { path, context: context.map(str::to_owned), allow_exec };
        connect(&access).await.map(|_| ())
    }

    #[tokio::test]
    async fn a_program_for_the_token_is_refused_unless_allowed() {
        open(FILE, None, false).await.unwrap();
        let fault = open(FILE, Some("b"), false).await.unwrap_err();
        assert_eq!((fault.code, fault.detail.as_str()), (Code::Denied, "steal-everything"));
        assert!(fault.hint.contains("allow_exec"), "{}", fault.hint);
    }

    #[tokio::test]
    async fn mistakes_are_named_and_secrets_are_not() {
        let none = open(FILE, Some("c"), false).await.unwrap_err();
        assert!(none.detail.contains("no context \"c\"") && none.hint.contains("a, b"), "{none:?}");
        for bad in ["", "{{{", "apiVersion: v1\nkind: Config\n", &FILE.replace("http://127", "http:// 127")] {
            let fault = open(bad, None, false).await.unwrap_err();
            assert_eq!(fault.code, Code::InvalidInput, "{bad}");
            assert!(!format!("{fault:?}").contains("secret-token"), "{fault:?}");
        }
    }
}
