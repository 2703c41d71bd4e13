//! `opsward up`: opens, listens, starts, and ends in order on a signal. Prints the address and a one-time
//! owner link, nothing else.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use opsward_domain::fault::Fault;
use opsward_surface::http::{Shared, router};
use tokio::net::TcpListener;

use crate::app::App;
use crate::config::Config;

/// A server that listens and works.
pub struct Server {
    /// What runs.
    pub app: App,
    /// Where it listens.
    pub address: SocketAddr,
    listener: TcpListener,
    shared: Shared,
    config: Config,
}

impl Server {
    /// Binds first (a taken port is told before anything is opened), then opens everything.
    pub async fn open(config: &Config, exe: PathBuf) -> Result<Self, Fault> {
        let listener = TcpListener::bind(&config.server.listen).await.map_err(|error| {
            Fault::unavailable(format!("cannot listen on {}", config.server.listen))
                .detail(error.to_string())
                .hint("another program has the port: choose one with --listen ADDR:PORT")
        })?;
        let address = listener.local_addr().map_err(|error| Fault::internal(error.to_string()))?;
        let app = App::open(config, exe).await?;
        let mut hosts = vec![address.to_string(), format!("localhost:{}", address.port())];
        hosts.extend(config.server.hosts.iter().cloned());
        let shared = Shared::new(app.engine.clone(), hosts);
        Ok(Self { app, address, listener, shared, config: config.clone() })
    }

    /// Serves until `end` resolves. Unfinished runs continue first.
    pub async fn serve(self, end: impl Future<Output = ()> + Send + 'static) -> Result<App, Fault> {
        self.app.engine.start().await?;
        self.app.verify_behind();
        self.app.back_up_behind(&self.config);
        self.shared.ready.store(true, Ordering::SeqCst);
        axum::serve(self.listener, router(self.shared))
            .with_graceful_shutdown(end)
            .await
            .map_err(|error| Fault::unavailable("serving ended").detail(error.to_string()))?;
        Ok(self.app)
    }
}

/// Resolves on SIGINT or SIGTERM.
pub async fn signal() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
        }
        Err(_) => {
            let _ = tokio::signal::ctrl_c().await;
        }
    }
}
