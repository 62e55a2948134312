//! The page of a hub, for the commands that serve one.

use std::net::{Ipv4Addr, SocketAddr};

use hearthgate_hub::Hub;
use hearthgate_web::{Web, WebOptions};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::exit::Failure;

/// Where the page is where nothing else is said.
const DEFAULT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8480);

/// A page that is served.
pub(super) struct Page {
    /// What to open in a browser.
    pub(super) url: String,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

impl Page {
    /// Serves the page of a hub.
    pub(super) async fn start(hub: Hub, options: WebOptions) -> Result<Self, Failure> {
        let web = Web::bind(hub, options).await.map_err(Failure::local)?;
        let url = web.url();
        let stop = CancellationToken::new();
        let serving = tokio::spawn(web.run(stop.clone()));
        Ok(Self { url, stop, serving })
    }

    /// Ends it.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        if let Err(fault) = self.serving.await {
            tracing::error!("the page ended by a bug: {fault}");
        }
    }
}

/// Makes options: at the address that was given, or at the usual one or a free one.
pub(super) fn options(address: Option<SocketAddr>) -> WebOptions {
    WebOptions {
        or_free_port: address.is_none(),
        version: env!("CARGO_PKG_VERSION"),
        ..WebOptions::new(address.unwrap_or(DEFAULT))
    }
}
