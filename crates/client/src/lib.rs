//! A third-party system's end of the local gateway protocol: connect, ask, mirror, follow.
//!
//! ```text
//!  ══ UDP ══>  discovery: who is advertised where       backoff: when to try again (pure)
//!
//!  target: where and with what key, at the moment ──>  keeper: connect, run, wait, again, for ever
//!                                                        | one connection after the other
//!  endpoint, options                            the caller's tasks
//!        |                          requests |          ^ mirror      ^ feed: Init, changes, events
//!        v                                   v          | (read)      | (one ordered stream)
//!    dial  TCP, TLS, access token       +--------+  +---------+   +--------+
//!        |                              | handle |  | mirror  |<--|  feed  |
//!        v                              +--------+  +---------+   +--------+
//!  ══ bytes ══>  link, the one task:     |    ^   (one writer)         ^
//!  <═ bytes ══   upgrade, handshake,  <--+    +-- answers              |
//!                cipher, JSON                                          |
//!                     |  events, applied as they come -----------------+
//!                     +--> sync: list -> schema -> status, swapped in -+
//! ```
//!
//! The protocol itself is in [`hearthgate_protocol`]; here are the socket, the clock and the channels.
//! Every channel is bounded: requests wait for their turn within their own time, and a subscriber who
//! reads too slowly gets the snapshot again. A write has no effect on the mirror by itself; its effect
//! comes back as an event, like everybody else's.
//!
//! [`Client::connect`] makes one connection, for a command that asks something. [`Client::keep`] makes
//! the next one whenever one is lost, under the same handle, mirror and feed.
//!
//! # Example
//! Connects, lists what the mirror holds, and follows the events:
//!
//! ```no_run
//! use hearthgate_client::{Client, ClientOptions, FeedItem};
//! use hearthgate_protocol::crypto::DeviceKey;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let key = DeviceKey::parse("k9Xq2mPz7LwT4vRb", Default::default())?;
//! let options = ClientOptions::new("ws://192.168.1.20:8433".parse()?, key);
//! let (client, mut feed) = Client::connect(options).await?;
//! client.synced().await?;
//! for device in client.mirror().devices() {
//!     println!("{} {}", device.id(), device.schema().category());
//! }
//! while let Some(item) = feed.next().await {
//!     match item {
//!         FeedItem::Event { event, .. } => println!("{event:?}"),
//!         FeedItem::Down(reason) => println!("{reason}"),
//!         _ => {}
//!     }
//! }
//! # Ok(())
//! # }
//! ```

mod backoff;
pub mod discovery;

mod endpoint;
mod options;
mod target;
mod trust;
mod transport;
mod tls;
mod tokens;
mod dial;

mod connect;
mod context;
mod keeper;
mod link;
mod sync;

mod feed;
mod handle;
mod mirror;

mod error;

pub use backoff::{
    Advertised, Backoff, BackoffPhase, Ending, FIRST_WAIT, LONGEST_WAIT, STABLE, WAKE_INTERVAL,
};
pub use discovery::{Discovery, DiscoveryError, DiscoveryOptions, Following, Sighting};
pub use endpoint::{Endpoint, EndpointError};
pub use error::{ClientError, Fault, NoUpgrade, TokenTrouble, tls_hint};
pub use feed::{BACKLOG_BYTES, BACKLOG_ITEMS, Feed, FeedItem};
pub use handle::{Client, LinkState};
pub use mirror::Mirror;
pub use options::ClientOptions;
pub use target::{Dial, KeepOptions, Target};
pub use tls::{Stream, TlsFault, secure, speaks_tls};
pub use tokens::fetch_token;
pub use trust::Trust;

#[cfg(test)]
mod tests;
