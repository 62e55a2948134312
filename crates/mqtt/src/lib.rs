//! The hub's outlet for MQTT brokers and Home Assistant: every device there, and still there after any
//! restart of anything.
//!
//! ```text
//!   hub: one feed of all gateways          hub: writes, names
//!        |                                      ^
//!      bridge  what is known, what waits, who else is there
//!        |  known       a mapping per device (crate homeassistant)
//!        |  render      discovery, states, availability -> texts
//!        |  commands    .../set -> writes -> .../result
//!        |  requests    bridge/request/.. -> bridge/response/..
//!        |  early       both, where they come before they may be carried out
//!        |  leftovers   retained messages of what is no more
//!        v
//!      outbox  names of what is to be said, each once; texts are made when their turn comes
//!        |
//!      broker  one connection, MQTT 5 or 3.1.1, TLS
//! ```
//!
//! Nothing is kept twice: values are read from the hub when they are sent. A broker that is slow or away
//! costs nothing but time, since of each topic only the newest value waits; on every connection
//! everything is said again.
//!
//! # Example
//! ```no_run
//! use std::sync::Arc;
//!
//! use hearthgate_homeassistant::Overrides;
//! use hearthgate_hub::{Directory, Hub, HubOptions};
//! use hearthgate_mqtt::{MqttOptions, Outlet};
//! use tokio_util::sync::CancellationToken;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let hub = Hub::start(HubOptions::default());
//! hub.follow(&Directory::default_path()?, None)?;
//! let options = MqttOptions::new("mqtt://127.0.0.1".parse()?);
//! let outlet = Outlet::new(options, Arc::new(Overrides::default()))?;
//! outlet.run(hub, CancellationToken::new()).await?;
//! # Ok(())
//! # }
//! ```

mod options;
mod topics;

mod bridge;
mod memory;
mod outbox;

mod broker;
mod tls;

pub use bridge::{MqttError, Outlet};
pub use memory::MemoryError;
pub use options::{
    BrokerAddress, DISCOVERY_PREFIX, MqttOptions, MqttVersion, PORT, PORT_TLS, Qos, Secret,
    TOPIC_ROOT, TlsFiles, UnknownVersion,
};
pub use tls::TlsError;
pub use topics::{ID_PREFIX, Kind, Meaning, Topics};
