//! The local protocol between a Tuya-enabled gateway and a third-party system, both roles, sans-IO.
//!
//! ```text
//!             bytes from the socket                      bytes to the socket
//!                      |                                          ^
//!   websocket   upgrade, frames, masks                upgrade, frames, masks
//!   crypto      wire encoding, AES, padding           padding, AES, wire encoding
//!   handshake   ExpectAuth / ExpectAuthRequired, ExpectAuthOk: the two nonces become the session key
//!   token       the older dialect (section 8): an access token instead of the two lines above
//!   wire        JSON -> Request | Reply | Event       Request | Reply | Event -> JSON
//!                      v                                          |
//!   model       Home::apply(change) on either side     checks of writes, scaling
//! ```
//!
//! [`connection::GatewayConnection`] and [`connection::ClientConnection`] join these layers. They
//! never touch a socket, a clock or a random generator: bytes, `now` and entropy are arguments.
//!
//! # Example
//! A whole conversation in memory, without a network:
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Instant;
//! use hearthgate_protocol::connection::{
//!     ClientConfig, ClientConnection, ClientEvent, GatewayConfig, GatewayConnection, GatewayEvent,
//! };
//! use hearthgate_protocol::crypto::{ClientEntropy, DeviceKey, Nonce};
//! use hearthgate_protocol::wire::Request;
//!
//! let key = DeviceKey::parse("k9Xq2mPz7LwT4vRb", Default::default())?;
//! # #[allow(clippy::disallowed_methods)]
//! let now = Instant::now();
//! let mut gateway =
//!     GatewayConnection::new(Arc::new(GatewayConfig::new(key.clone())), Nonce::new([1; 16]), now);
//! let mut client = ClientConnection::new(
//!     ClientConfig::new(key, "gateway.local:8433"),
//!     ClientEntropy { nonce: [2; 16], websocket_key: [3; 16], mask_seed: [4; 16] },
//!     now,
//! );
//! let mut seen = Vec::new();
//! loop {
//!     let to_gateway = client.take_output();
//!     let to_client = { gateway.handle_input(now, &to_gateway); gateway.take_output() };
//!     client.handle_input(now, &to_client);
//!     while let Some(event) = gateway.poll_event(now) {
//!         if let GatewayEvent::Request { id, request: Request::GetDevices } = event {
//!             gateway.send(br#"{"id":1,"type":"result","success":true,"result":[]}"#);
//!             assert_eq!(id, 1);
//!         }
//!     }
//!     while let Some(event) = client.poll_event(now) {
//!         if matches!(event, ClientEvent::Authenticated) {
//!             client.send_request(1, &Request::GetDevices);
//!         }
//!         seen.push(event);
//!     }
//!     if seen.len() == 2 { break; }
//! }
//! assert!(matches!(seen[1], ClientEvent::Reply { id: 1, .. }));
//! # Ok::<(), hearthgate_protocol::crypto::KeyError>(())
//! ```

pub mod websocket;
pub mod crypto;
pub mod handshake;
pub mod token;
pub mod wire;
pub mod model;
pub mod connection;
pub mod beacon;

pub mod variants;
pub mod limits;
pub mod error;
pub mod pair;
