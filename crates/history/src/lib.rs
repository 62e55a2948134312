//! What was: every change of a hub's devices, with means, retention and export. An outlet.
//!
//! ```text
//!  the hub's feed
//!        |
//!     keeper: hands items on, waits for nobody
//!        |
//!     writer: a thread: track -> rows -> store (with rollup)
//!        |                              |
//!        |                       history.db, SQLite in WAL mode
//!        |                              |
//!        +-- retention                reader -> series, export
//! ```
//!
//! The page and the API ask by [`hearthgate_hub::HistorySource`], which [`History`] is. The command line
//! reads the same file beside a running hub, by [`Reader`].
//!
//! # Example
//! ```no_run
//! use hearthgate_history::{History, HistoryOptions};
//! use hearthgate_hub::{Directory, Hub, HubOptions};
//! use tokio_util::sync::CancellationToken;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let hub = Hub::start(HubOptions::default());
//! hub.follow(&Directory::default_path()?, None)?;
//! let options = HistoryOptions::new("history.db".into());
//! let history = History::start(&hub, options, CancellationToken::new()).await?;
//! tokio::signal::ctrl_c().await?;
//! history.close().await;
//! # Ok(())
//! # }
//! ```

mod options;

mod keeper;

mod row;
mod track;
mod writer;

mod rollup;
mod store;

mod export;
mod reader;

#[doc(hidden)]
pub mod testing;

pub use export::{ExportError, Format, export, names, source, time};
pub use keeper::{History, run};
pub use options::{HistoryOptions, LEAST_BYTES};
pub use reader::{Listed, Reader};
pub use store::StoreError;
