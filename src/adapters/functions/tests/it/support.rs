//! Hosts of this very binary, and short ways to call functions in them.

use std::sync::Arc;

use opsward_functions::{Error, FunctionHost, Invocation, InvocationOutcome, Options, Result, Source, SourceError};

pub(crate) const KEY: &str = "orders/greet";
pub(crate) const VERSION: &str = "1";

pub(crate) async fn host_with(options: Options) -> FunctionHost {
    let exe = std::env::current_exe().expect("own path");
    FunctionHost::spawn(exe, &["__functions".to_owned()], options).await.expect("host")
}

pub(crate) async fn host() -> FunctionHost {
    host_with(Options { concurrency: 4, ..Options::default() }).await
}

pub(crate) fn wasm(text: &str) -> Source {
    Source::Wasm(wat::parse_str(text).expect("test module").into())
}

pub(crate) fn script(text: &str) -> Source {
    Source::JavaScript(Arc::from(text))
}

/// Loads one function into a fresh host.
pub(crate) async fn with(source: Source) -> FunctionHost {
    let host = host().await;
    host.load(KEY, VERSION, source).await.expect("loads");
    host
}

pub(crate) fn call(input: &str) -> Invocation {
    Invocation::new(input)
}

pub(crate) fn within(timeout_ms: u64) -> Invocation {
    Invocation { timeout_ms, ..Invocation::new("{}") }
}

pub(crate) async fn invoke(host: &FunctionHost, invocation: Invocation) -> InvocationOutcome {
    host.invoke(KEY, VERSION, invocation).await.expect("outcome")
}

/// Loads and calls once.
pub(crate) async fn once(source: Source, invocation: Invocation) -> InvocationOutcome {
    invoke(&with(source).await, invocation).await
}

/// The reason why a source is refused.
pub(crate) async fn refusal(source: Source) -> SourceError {
    match refused(&host().await, source).await {
        Err(Error::Source(error)) => error,
        other => panic!("not refused: {other:?}"),
    }
}

async fn refused(host: &FunctionHost, source: Source) -> Result<()> {
    host.load(KEY, VERSION, source).await.map(drop)
}

pub(crate) fn text(outcome: &InvocationOutcome) -> &str {
    std::str::from_utf8(&outcome.output).expect("text")
}

pub(crate) fn detail(outcome: &InvocationOutcome) -> &str {
    outcome.detail.as_deref().unwrap_or_default()
}
