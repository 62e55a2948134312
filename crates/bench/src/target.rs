//! Whom to load.
//!
//! Filled by the caller; read by `peer` for each connection.

use std::io;
use std::net::{IpAddr, SocketAddr};

use hearthgate_client::{ClientOptions, Endpoint};
use hearthgate_protocol::connection::ClientConfig;
use hearthgate_protocol::crypto::{Credential, DeviceKey};
use tokio::net::lookup_host;

use crate::error::BenchError;

/// A gateway to be loaded: found, checked, and its address resolved once, so that no load measures a
/// resolver.
#[derive(Clone, Debug)]
pub struct Target {
    pub(crate) options: ClientOptions,
    pub(crate) address: SocketAddr,
    pub(crate) key: DeviceKey,
}

impl Target {
    /// Resolves a gateway's address and checks that it may be loaded: one that is not on this machine only
    /// with `allow_remote`.
    ///
    /// # Errors
    /// Where it may not, the address is unknown, or the credential is of the older dialect.
    pub async fn new(options: ClientOptions, allow_remote: bool) -> Result<Self, BenchError> {
        let Credential::Device(key) = options.key.clone() else {
            return Err(BenchError::OlderDialect);
        };
        let unreachable = |cause| BenchError::Connect {
            gateway: options.endpoint.to_string(),
            cause,
        };
        let place = (options.endpoint.host(), options.endpoint.port());
        let found: Vec<SocketAddr> = lookup_host(place).await.map_err(unreachable)?.collect();
        let local = found.iter().find(|address| is_loopback(address.ip()));
        let address = local.or(found.first()).copied();
        let address = address.ok_or_else(|| unreachable(io::ErrorKind::NotFound.into()))?;
        if !is_loopback(address.ip()) && !allow_remote {
            return Err(BenchError::Remote {
                gateway: options.endpoint.to_string(),
            });
        }
        Ok(Self {
            options,
            address,
            key,
        })
    }

    /// Returns where the gateway is.
    pub fn endpoint(&self) -> &Endpoint {
        &self.options.endpoint
    }

    pub(crate) fn name(&self) -> String {
        self.options.endpoint.to_string()
    }

    pub(crate) fn config(&self) -> ClientConfig {
        let options = &self.options;
        ClientConfig {
            path: options.endpoint.path().to_owned(),
            wire: options.wire,
            accept_plain: options.wire.is_some() || is_loopback(self.address.ip()),
            variants: options.variants,
            ..ClientConfig::new(self.key.clone(), options.endpoint.authority())
        }
    }
}

fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}
