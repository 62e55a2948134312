//! Serves devices to third-party systems over the local gateway protocol.
//!
//! ```text
//! driver: Change -> registry: Home::apply, event id, JSON once -> event log: one, shared, bounded
//!                                                                    |  each session has a cursor
//! driver <- Command <- registry: check <- session <- WebSocket       v
//!                                         session: encrypt per session, one write per batch
//! ```
//!
//! A command goes back by its own path and returns only a result; its effect arrives as an event.
//! What a write leaves behind is the driver's affair: the virtual home stores its values, and tells the
//! success of a write when they are in the registry and in its store.
//!
//! # Example
//! A simulated home on a free port:
//!
//! ```
//! use hearthgate_gateway::{DemoDriver, Gateway, GatewayOptions};
//! use hearthgate_protocol::crypto::DeviceKey;
//!
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! let key = DeviceKey::parse("k9Xq2mPz7LwT4vRb", Default::default())?;
//! let options = GatewayOptions::new("hg-example", key);
//! let gateway = Gateway::bind("127.0.0.1:0", options, vec![Box::new(DemoDriver::new(7))]).await?;
//! println!("serving on {}", gateway.local_addr());
//! let stop = gateway.stop_token();
//! let serving = tokio::spawn(gateway.run());
//! stop.cancel();
//! serving.await?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```

mod driver;
mod values;
mod virtual_home;
pub mod demo;
mod demo_driver;
mod replay;

mod registry;
mod event_log;
mod fan_out;
mod backlog;
mod session;
mod limits;
mod throttle;
mod once_a_minute;
mod tokens;
mod tls;
mod listener;

mod beacon;
mod store;
mod gateway;
mod streams;

#[cfg(test)]
mod testing;

pub use beacon::{BeaconOptions, default_targets};
pub use demo_driver::DemoDriver;
pub use driver::{Ack, Command, CommandFault, Driver, DriverPort, Reports};
pub use gateway::{BindError, Gateway, GatewayOptions};
pub use limits::{HANDSHAKES_MAX, SessionLimits};
pub use registry::{Registry, StartError};
pub use replay::{Replay, ReplayError, ReplayOptions};
pub use store::{StateFolder, StoreError, default_state_root};
pub use streams::StreamGateway;
pub use throttle::Throttle;
pub use tls::{TlsError, TlsIdentity};
pub use values::ValueStore;
pub use virtual_home::{ProfilesError, VirtualHome};
