//! A gateway on a free loopback port, with a hand on its devices.

use std::net::SocketAddr;

use hearthgate_client::{Client, ClientError, ClientOptions, Endpoint, Feed};
use hearthgate_gateway::{BindError, Gateway, GatewayOptions};
use hearthgate_protocol::crypto::{Credential, DeviceKey};
use hearthgate_protocol::model::{Device, Home};
use hearthgate_protocol::wire::write_result_statuses;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::hand::{Hand, HandDriver};

/// A running gateway.
#[derive(Debug)]
pub struct TestHome {
    /// Moves the devices.
    pub hand: Hand,
    key: Credential,
    secure: bool,
    address: SocketAddr,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

impl TestHome {
    /// Serves some devices.
    ///
    /// # Errors
    /// Where there is no free port, or a device is there twice.
    pub async fn start(devices: Vec<Device>) -> Result<Self, BindError> {
        Self::start_at("127.0.0.1:0", devices, |_| {}).await
    }

    /// Serves some devices on a given address, that of a home which was stopped for example; `adjust`
    /// changes the gateway's options.
    ///
    /// # Errors
    /// Where the address is taken, or a device is there twice.
    pub async fn start_at(
        listen: &str,
        devices: Vec<Device>,
        adjust: impl FnOnce(&mut GatewayOptions),
    ) -> Result<Self, BindError> {
        let (driver, hand) = HandDriver::new(devices);
        let mut options = GatewayOptions::new("test-home", test_key());
        adjust(&mut options);
        let (key, secure) = (options.connection.key.clone(), options.tls.is_some());
        let gateway = Gateway::bind(listen, options, vec![Box::new(driver)]).await?;
        let (address, stop) = (gateway.local_addr(), gateway.stop_token());
        let serving = tokio::spawn(gateway.run());
        Ok(Self {
            hand,
            key,
            secure,
            address,
            stop,
            serving,
        })
    }

    /// Returns where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns where it listens, for clients.
    pub fn endpoint(&self) -> Endpoint {
        let host = self.address.ip().to_string();
        match Endpoint::new(&host, self.address.port()) {
            Ok(endpoint) => endpoint.with_tls(self.secure),
            Err(error) => unreachable!("a bound address is an endpoint: {error}"),
        }
    }

    /// Connects a client; `adjust` changes its options.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub async fn connect(
        &self,
        adjust: impl FnOnce(&mut ClientOptions),
    ) -> Result<(Client, Feed), ClientError> {
        let mut options = ClientOptions::new(self.endpoint(), self.key.clone());
        options.token_port = self.address.port();
        adjust(&mut options);
        Client::connect(options).await
    }

    /// Ends the gateway.
    pub async fn stop(self) {
        self.stop.cancel();
        // A gateway that panicked has failed its test already.
        let _ = self.serving.await;
    }
}

/// Returns the device key of every [`TestHome`] that was not given another one.
pub fn test_key() -> DeviceKey {
    DeviceKey::from_bytes(*b"k9Xq2mPz7LwT4vRb")
}

/// Returns a home's devices, whether they are in reach, and their values, as text to compare.
pub fn snapshot(home: &Home) -> String {
    let mut out = Vec::new();
    let mut devices: Vec<&Device> = home.devices().collect();
    devices.sort_by_key(|device| device.id().clone());
    write_result_statuses(&mut out, 0, devices);
    String::from_utf8_lossy(&out).into_owned()
}
