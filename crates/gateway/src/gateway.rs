//! Joins drivers, registry, listener and advertisement.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use hearthgate_protocol::connection::GatewayConfig;
use hearthgate_protocol::crypto::Credential;
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::beacon::{self, BeaconOptions};
use crate::driver::Driver;
use crate::limits::SessionLimits;
use crate::listener::{self, Admission};
use crate::registry::{Registry, Running, StartError};
use crate::tls::TlsIdentity;
use crate::tokens::{self, TokenBook};

/// Connections that may wait to be accepted.
const ACCEPT_BACKLOG: u32 = 4096;
/// The time that drivers may take to end after the sessions have.
const DRIVERS_END: Duration = Duration::from_millis(500);

/// How a gateway serves.
#[derive(Clone, Debug)]
pub struct GatewayOptions {
    /// Its uuid, as it is advertised.
    pub uuid: String,
    /// Key, wire encoding, variants and path.
    pub connection: GatewayConfig,
    /// What it takes of its sessions; how large a message may be is in `connection`.
    pub limits: SessionLimits,
    /// Where it advertises.
    pub beacon: BeaconOptions,
    /// Whether writes off a data point's step are refused (section 5).
    pub strict_step: bool,
    /// The certificate, where TLS is spoken. The older dialect is spoken over TLS only.
    pub tls: Option<TlsIdentity>,
    /// How long access tokens of the older dialect hold (section 8).
    pub token_lifetime: Duration,
    /// A further address for the token endpoint, which is served on the main one in any case.
    pub token_listen: Option<String>,
}

impl GatewayOptions {
    /// Makes options of defaults, which advertise nowhere.
    pub fn new(uuid: impl Into<String>, key: impl Into<Credential>) -> Self {
        Self {
            uuid: uuid.into(),
            connection: GatewayConfig::new(key),
            limits: SessionLimits::default(),
            beacon: BeaconOptions::default(),
            strict_step: false,
            tls: None,
            token_lifetime: tokens::LIFETIME,
            token_listen: None,
        }
    }
}

/// Why a gateway cannot start.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}{}", hint(source))]
    Listen {
        /// The address.
        address: String,
        /// What the system says.
        source: io::Error,
    },
    /// The older dialect without TLS.
    #[error("the dialect 2023 is spoken over TLS only: a certificate is missing")]
    NoTls,
    /// Two drivers serve the same device.
    #[error(transparent)]
    Start(#[from] StartError),
}

fn hint(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::AddrInUse => "; another program has it, choose another port with --listen",
        io::ErrorKind::AddrNotAvailable => "; this machine does not have that address",
        io::ErrorKind::PermissionDenied => "; ports below 1024 need permission",
        _ => "",
    }
}

/// A gateway that listens already.
pub struct Gateway {
    listener: TcpListener,
    address: SocketAddr,
    /// For tokens alone, by the address that is given out for them.
    token_listener: Option<(TcpListener, SocketAddr)>,
    options: GatewayOptions,
    registry: Registry,
    running: Vec<Running>,
    /// Ends the sessions first.
    stop: CancellationToken,
    /// Tells of the first session.
    first_session: CancellationToken,
    /// Ends the drivers after them.
    stop_drivers: CancellationToken,
}

impl Gateway {
    /// Listens and prepares the drivers. Nothing is served before [`Gateway::run`].
    ///
    /// # Errors
    /// Where the address cannot be had or two drivers serve the same device.
    pub async fn bind(
        address: &str,
        options: GatewayOptions,
        drivers: Vec<Box<dyn Driver>>,
    ) -> Result<Self, BindError> {
        if options.tls.is_none() && matches!(options.connection.key, Credential::Api(_)) {
            return Err(BindError::NoTls);
        }
        let (listener, bound) = listen(address)?;
        let token_listener = options.token_listen.as_deref().map(listen).transpose()?;
        let stop_drivers = CancellationToken::new();
        let (registry, running) = Registry::start(drivers, options.strict_step, &stop_drivers)?;
        Ok(Self {
            listener,
            address: bound,
            token_listener,
            options,
            registry,
            running,
            stop: CancellationToken::new(),
            first_session: CancellationToken::new(),
            stop_drivers,
        })
    }

    /// Returns the address that it listens on, with the port that the system chose for port 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Returns the further address of the token endpoint, if there is one.
    pub fn token_addr(&self) -> Option<SocketAddr> {
        self.token_listener.as_ref().map(|(_, address)| *address)
    }

    /// Returns the devices.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Returns what is cancelled when the first session is open.
    pub fn first_session(&self) -> CancellationToken {
        self.first_session.clone()
    }

    /// Returns what ends [`Gateway::run`]: sessions are closed with 1001.
    pub fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Serves until stopped.
    pub async fn run(self) {
        let mut drivers = JoinSet::new();
        for future in self.running {
            drivers.spawn(future);
        }
        let book = TokenBook::of(&self.options);
        let mut connection = self.options.connection;
        connection.uuid = Some(Arc::from(self.options.uuid.as_str()));
        let beacon = tokio::spawn(beacon::run(
            self.options.uuid,
            self.address,
            self.options.beacon,
            self.stop.clone(),
        ));
        let admission = Admission::new(
            self.options.limits,
            self.stop.clone(),
            self.first_session,
            book,
        );
        let config = Arc::new(connection);
        let tls = self.options.tls.map(|tls| tls.acceptor().clone());
        let listeners = [Some(self.listener), self.token_listener.map(|(it, _)| it)];
        // Tasks of their own: whoever blocks a thread on this future is no worker of the runtime, and would
        // hand each connection over to one.
        let mut serving = JoinSet::new();
        for listener in listeners.into_iter().flatten() {
            serving.spawn(listener::run(
                listener,
                Arc::clone(&config),
                self.registry.clone(),
                Arc::clone(&admission),
                tls.clone(),
            ));
        }
        while let Some(ended) = serving.join_next().await {
            if let Err(fault) = ended {
                error!("a listener ended by a bug: {fault}");
            }
        }
        self.stop_drivers.cancel();
        let ended = tokio::time::timeout(DRIVERS_END, async {
            while let Some(ended) = drivers.join_next().await {
                if let Err(fault) = ended {
                    error!("a driver ended by a bug: {fault}");
                }
            }
        });
        if ended.await.is_err() {
            error!("a driver did not end in time");
        }
        beacon.abort();
    }
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

fn listen(address: &str) -> Result<(TcpListener, SocketAddr), BindError> {
    let bound = bind(address).and_then(|listener| Ok((listener.local_addr()?, listener)));
    let (local, listener) = bound.map_err(|source| BindError::Listen {
        address: address.to_owned(),
        source,
    })?;
    Ok((listener, local))
}

fn bind(address: &str) -> io::Result<TcpListener> {
    let address = address
        .to_socket_addrs()?
        .next()
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such address"))?;
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(ACCEPT_BACKLOG)
}
