//! The hub's outlet for people and programs: a page, a REST API with live events, metrics.
//!
//! ```text
//!  hub ── feed ──> watch ──> ring: the newest events, encoded once ──> events: one cursor per stream
//!   |                  \──> facts, metrics
//!   |                                        guard: host, login, other sites, headers
//!   |<── reads, writes ── api  <─────────────┤
//!   |                     assets (page/)  <──┘ <── server: listener, TLS, connections
//!   |
//!  access: keys, for the doctor and for those who change them
//! ```
//!
//! Whatever is shown comes from the hub; nothing here keeps state of devices. History is read through the hub's
//! [`HistorySource`](hearthgate_hub::HistorySource). Keys go in and never come out.
//!
//! # Example
//! Serves the page of a hub on a free port:
//!
//! ```
//! use hearthgate_hub::{Hub, HubOptions};
//! use hearthgate_web::{Web, WebOptions};
//! use tokio_util::sync::CancellationToken;
//!
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! let hub = Hub::start(HubOptions { discovery: None, ..HubOptions::default() });
//! let web = Web::bind(hub, WebOptions::new(([127, 0, 0, 1], 0).into())).await?;
//! println!("open {}", web.url());
//! let stop = CancellationToken::new();
//! let serving = tokio::spawn(web.run(stop.clone()));
//! stop.cancel();
//! serving.await?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```

mod app;
mod facts;
mod metrics;
mod ring;
mod watch;

mod kind;
mod view;

mod access;
mod login;

mod extract;
mod listing;
mod problem;

mod api;
mod assets;
mod events;

mod guard;
mod server;

#[cfg(test)]
mod tests;

pub use access::GatewayAccess;
pub use login::{Credentials, LoginMode, Token, TokenError, User};
pub use server::{Web, WebError, WebOptions};
