//! How a cluster is reached and which part of it is whose. Never holds a credential: those stay in the
//! kubeconfig.

use std::collections::BTreeMap;
use std::path::PathBuf;

use opsward_domain::name::{Tenant, Workspace};

/// Where the cluster and its credentials are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// A kubeconfig file.
    Kubeconfig {
        /// Its path.
        path: PathBuf,
        /// The context to use; its current one if absent.
        context: Option<String>,
        /// True if the program that the file names may be run for a token.
        allow_exec: bool,
    },
    /// The service account of the pod that opsward runs in.
    InCluster,
}

/// Everything a provider is opened with.
#[derive(Debug, Clone)]
pub struct Options {
    /// How to get there.
    pub access: Access,
    /// Folder for the record of what was done under which key.
    pub dir: PathBuf,
    /// Namespaces that are workspaces.
    pub namespaces: BTreeMap<(Tenant, Workspace), String>,
    /// True if workspaces may be made, as namespaces of their own.
    pub create_namespaces: bool,
    /// Name under which the cluster knows a person, with `{subject}` and `{tenant}` filled in. Absent: every
    /// call is made with opsward's own account.
    pub impersonate: Option<String>,
    /// Longest wait for one answer.
    pub request_timeout_ms: u64,
    /// Longest time without any progress that a change may take to come about.
    pub settle_timeout_ms: u64,
    /// Time between two looks while waiting.
    pub look_ms: u64,
    /// Most objects of one list.
    pub objects_max: usize,
    /// Storage class of new volumes; the cluster's own default if absent.
    pub storage_class: Option<String>,
}

impl Options {
    /// Defaults for a cluster reached by `access`, with records in `dir`.
    pub fn new(access: Access, dir: impl Into<PathBuf>) -> Self {
        Self {
            access,
            dir: dir.into(),
            namespaces: BTreeMap::new(),
            create_namespaces: false,
            impersonate: None,
            request_timeout_ms: 30_000,
            settle_timeout_ms: 120_000,
            look_ms: 500,
            objects_max: 10_000,
            storage_class: None,
        }
    }
}
