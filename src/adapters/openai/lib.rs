//! The model port on any OpenAI-compatible endpoint, dialect by dialect. Never yields a call from an
//! answer that was cut, never prints a key, never retries more than its budget.
//!
//! Requests are built and written with async-openai's types. Answers are read by our own fold over
//! `reqwest`: async-openai's stream fails on the first chunk that is not exactly as documented, and hardly
//! any endpoint besides the original is.

mod budget;
mod calls;
pub mod dialect;
mod display;
mod fold;
mod options;
mod request;
mod schema;
mod sse;
mod textual;
mod transport;

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use opsward_domain::fault::Fault;
use opsward_ports::model::{Error, Model, Reply, Request, Sink};
use tokio::sync::OnceCell;

pub use options::{Key, Options};

use crate::budget::Budget;
use crate::dialect::{COMPATIBLE, Dialect};
use crate::transport::{Failure, Transport};

/// Most changes of dialect within one call.
const ADAPTATIONS_MAX: u32 = 6;
/// Most retries of one call, whatever the budget holds.
const RETRIES_MAX: u32 = 2;

/// A model behind an endpoint.
pub struct OpenAiModel {
    transport: Transport,
    host: String,
    budget: Budget,
    /// What the endpoint has shown to take; recognised at the first call.
    learned: Mutex<Dialect>,
    recognised: OnceCell<()>,
}

impl std::fmt::Debug for OpenAiModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenAiModel").field("options", &self.transport.options).finish_non_exhaustive()
    }
}

impl OpenAiModel {
    /// A client; nothing is sent before the first call.
    ///
    /// Refuses an address that is not `http` or `https` or holds credentials, and an unknown dialect.
    pub fn new(mut options: Options) -> Result<Self, Fault> {
        let refuse = |message: &str| Fault::invalid(message.to_owned()).hint("such as http://localhost:11434/v1");
        let url = reqwest::Url::parse(&options.base_url)
            .map_err(|error| refuse("the model's address is not a URL").detail(error.to_string()))?;
        let Some(host) = url.host_str().filter(|_| matches!(url.scheme(), "http" | "https")).map(str::to_owned) else {
            return Err(refuse("the model's address is not an http or https URL"));
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Fault::invalid("the model's address holds credentials").hint("give the key by reference"));
        }
        options.base_url = options.base_url.trim_end_matches('/').to_owned();
        let (row, recognised) = match options.dialect.as_str() {
            "auto" => (COMPATIBLE, OnceCell::new()),
            name => {
                let row = dialect::named(name).ok_or_else(|| {
                    let names: Vec<&str> = dialect::DIALECTS.iter().map(|row| row.name).collect();
                    Fault::invalid(format!("there is no dialect {name:?}"))
                        .hint(format!("auto, or one of {}", names.join(", ")))
                })?;
                (row, OnceCell::new_with(Some(())))
            }
        };
        let mut builder = opsward_tls::client()
            .connect_timeout(Duration::from_millis(options.connect_timeout_ms))
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("opsward/", env!("CARGO_PKG_VERSION")));
        if matches!(host.as_str(), "localhost" | "127.0.0.1" | "[::1]") {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|error| Fault::internal("no HTTP client").detail(error.to_string()))?;
        let budget = Budget::new(options.retry_percent_max);
        Ok(Self { transport: Transport { client, options }, host, budget, learned: Mutex::new(row), recognised })
    }

    /// What the endpoint is known to take so far.
    pub fn dialect(&self) -> Dialect {
        *self.learned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn recognise(&self) {
        self.recognised
            .get_or_init(|| async {
                if let Some(row) = self.transport.owner().await.and_then(|owner| dialect::owned_by(&owner)) {
                    *self.learned.lock().unwrap_or_else(PoisonError::into_inner) = row;
                }
            })
            .await;
    }

    /// Learns from a refusal of a request that was made as `used`; true if another attempt is worth it.
    fn learn(&self, used: Dialect, refusal: &str) -> bool {
        let mut learned = self.learned.lock().unwrap_or_else(PoisonError::into_inner);
        // Somebody else learned meanwhile: try what they found first.
        *learned != used || dialect::adapt(&mut learned, refusal)
    }

    async fn call(&self, request: &Request, sink: Option<Sink>) -> Result<Reply, Error> {
        self.recognise().await;
        self.budget.earn();
        let (mut adaptations, mut retries, mut shown) = (0, 0, false);
        loop {
            let used = self.dialect();
            let failure = match self.transport.attempt(&used, request, sink.clone(), &mut shown).await {
                Ok(reply) => return Ok(reply),
                Err(failure) => failure,
            };
            if adaptations < ADAPTATIONS_MAX
                && failure.refusal.as_deref().is_some_and(|refusal| self.learn(used, refusal))
            {
                adaptations += 1;
                continue;
            }
            let Some(wait) = self.wait_for_retry(&failure, retries).filter(|_| !shown) else {
                return Err(failure.error);
            };
            retries += 1;
            tokio::time::sleep(wait).await;
        }
    }

    /// How long to wait before the next attempt, if there may be one.
    fn wait_for_retry(&self, failure: &Failure, retries: u32) -> Option<Duration> {
        let options = &self.transport.options;
        let wait =
            failure.wait.unwrap_or(Duration::from_millis(options.backoff_ms.saturating_mul(1 << retries.min(8))));
        let may = failure.retry && retries < RETRIES_MAX && wait <= Duration::from_millis(options.wait_ms_max);
        (may && self.budget.spend()).then_some(wait)
    }
}

#[async_trait]
impl Model for OpenAiModel {
    fn name(&self) -> String {
        format!("{}@{}", self.transport.options.model, self.host)
    }
    fn context_tokens(&self) -> u32 {
        self.transport.options.context_tokens
    }
    async fn complete(&self, request: &Request, sink: Option<Sink>) -> Result<Reply, Error> {
        let begin = Instant::now();
        let options = &self.transport.options;
        let late = Error::Timeout(options.total_timeout_ms);
        let mut reply = tokio::time::timeout(options.total(), self.call(request, sink)).await.unwrap_or(Err(late))?;
        reply.usage.duration_ms = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(reply)
    }
}
