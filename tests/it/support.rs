//! What the integration tests share: the real binary, golden files, a running service.

use std::path::{Path, PathBuf};

/// The real binary, for re-execution as worker and shim.
pub(crate) fn binary() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_opsward"))
}

/// Compares with a kept text; `OPSWARD_BLESS=1` writes it anew.
pub(crate) fn golden(path: &Path, text: &str) {
    if std::env::var_os("OPSWARD_BLESS").is_some() {
        std::fs::write(path, format!("{text}\n")).unwrap();
        return;
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        kept.trim_end() == text.trim_end(),
        "{} has drifted: run the test with OPSWARD_BLESS=1 and look at the difference",
        path.display()
    );
}
