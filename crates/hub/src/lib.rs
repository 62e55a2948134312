//! Many gateways as one: which are known, a connection to each, one feed of all, names.
//!
//! ```text
//!  gateways.toml      advertisements             names.toml
//!       |                   |                        |
//!  directory           discovery                   names
//!       |                   |                        |
//!       +------> supervisor <------------------------+
//!                 member: one task per gateway: its kept client, its grace
//!                      |                ^
//!                      | items          | writes (to the client of their gateway)
//!                      v                |
//!                    feed: the board of all devices, one queue per subscriber
//!                      |                |
//!                      v                |
//!                    outlets, each with a feed of (gateway uuid, devid)
//! ```
//!
//! Connections are kept by [`hearthgate_client::Client::keep`]. Nobody here waits for a subscriber: one
//! who reads too slowly is told how much was dropped, and gets the whole snapshot again. [`HistorySource`]
//! is how an outlet that keeps history gives it to one that shows it.
//!
//! # Example
//! Looks after all gateways of the user's file and prints what happens:
//!
//! ```no_run
//! use hearthgate_hub::{Directory, Hub, HubItem, HubOptions};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let hub = Hub::start(HubOptions::default());
//! hub.follow(&Directory::default_path()?, None)?;
//! let mut feed = hub.subscribe();
//! while let Some(item) = feed.next().await {
//!     match item {
//!         HubItem::Gateway(info) => println!("{}: available {}", info.name, info.available),
//!         HubItem::Device { gateway, device } => println!("{gateway}/{}", device.id()),
//!         HubItem::Event { gateway, event, .. } => println!("{gateway}: {event:?}"),
//!         _ => {}
//!     }
//! }
//! # Ok(())
//! # }
//! ```

mod directory;
pub mod file;
mod identity;
mod names;

mod grace;
mod identify;
mod supervisor;

mod feed;

mod history;

pub use directory::{Added, Directory, KnownGateway, key_file_name};
pub use feed::{GatewayInfo, HUB_BACKLOG_BYTES, HUB_BACKLOG_ITEMS, HubFeed, HubItem, Link};
pub use file::FileError;
pub use grace::{DEFAULT_GRACE, Grace, LONGEST_GRACE};
pub use hearthgate_protocol::crypto::KeyText;
pub use history::{
    Bucket, Change, HISTORY_LIMIT_MAX, HistoryError, HistoryFuture, HistoryQuery, HistorySource,
    HistoryStatus, Points, Resolution, Series, Step, Subject,
};
pub use identify::{AddressSpec, Identities};
pub use identity::{DeviceRef, GatewayId};
pub use names::{Named, Names};
pub use supervisor::{GatewaySpec, Hub, HubError, HubOptions};
