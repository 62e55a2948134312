//! Listens and serves: the listener, TLS, one task per connection, the end.
//!
//! Input is what a caller wants of the outlet; output is a running server that is joined to the hub.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Extension;
use hearthgate_hub::{HistorySource, Hub, HubFeed};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_rustls::{TlsAcceptor, rustls};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::access::GatewayAccess;
use crate::api;
use crate::app::{App, Parts};
use crate::guard::{Guard, Peer};
use crate::login::{Credentials, Login, LoginMode};
use crate::watch;

/// The most connections at a time; one more waits to be accepted.
const CONNECTIONS_MAX: usize = 1024;
/// The time that the head of a request may take.
const HEAD: Duration = Duration::from_secs(10);
/// The time that the handshake of TLS may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// The time that answers under way have at the end.
const END: Duration = Duration::from_secs(2);
/// The pause after the system refused a connection: it is out of something.
const PAUSE: Duration = Duration::from_millis(100);

/// What is wanted of the outlet. `Debug` shows no secret.
#[derive(Clone, Debug)]
pub struct WebOptions {
    /// The address to listen on; port 0 is a free one.
    pub listen: SocketAddr,
    /// Whether a free port will do where that one is taken.
    pub or_free_port: bool,
    /// The version that the page shows.
    pub version: &'static str,
    /// When a login is asked for.
    pub login: LoginMode,
    /// What opens the door; needed wherever a login is asked for.
    pub credentials: Option<Credentials>,
    /// Encrypts, where it is given.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Names under which the server is reached on loopback besides `localhost`, through a proxy for example.
    pub hosts: Vec<String>,
    /// Whether the metrics hold the values of devices.
    pub value_metrics: bool,
    /// Where the keys of gateways are.
    pub access: GatewayAccess,
    /// Who keeps history, if anybody does.
    pub history: Option<Arc<dyn HistorySource>>,
}

/// Why the outlet cannot start.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    /// The address cannot be listened on.
    #[error("the page cannot be served on {address}: {source}{}", hint(source))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// A login is asked for, and nothing opens the door.
    #[error(
        "the page asks for a login on {0}, and there is neither a token nor a user: this is a mistake of the program"
    )]
    NoCredentials(SocketAddr),
    /// The operating system gives no random bytes.
    #[error("the page cannot be served, since the operating system gives no random bytes: {0}")]
    NoRandomness(getrandom::Error),
}

fn hint(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::AddrInUse => {
            "; another program has it: choose another port, or --no-web for no page"
        }
        io::ErrorKind::AddrNotAvailable => "; this machine does not have that address",
        io::ErrorKind::PermissionDenied => "; ports below 1024 need permission",
        _ => "",
    }
}

impl WebOptions {
    /// Makes options of defaults: no login on loopback, no TLS, no history.
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            or_free_port: false,
            version: env!("CARGO_PKG_VERSION"),
            login: LoginMode::default(),
            credentials: None,
            tls: None,
            hosts: Vec::new(),
            value_metrics: false,
            access: GatewayAccess::default(),
            history: None,
        }
    }

    /// Tells whether a login will be asked for.
    pub fn needs_login(&self) -> bool {
        self.login == LoginMode::Always || !self.listen.ip().is_loopback()
    }
}

/// An outlet that listens already.
pub struct Web {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<Arc<rustls::ServerConfig>>,
    app: Arc<App>,
    /// Since it was bound, so that nothing is missed that happens before it runs. Bounded by the hub.
    feed: HubFeed,
    pub(crate) router: Router,
}

impl Web {
    /// Listens, and follows the hub from here on. Nothing is answered before [`Web::run`].
    ///
    /// # Errors
    /// Where the address cannot be had, or a login is asked for and nothing would open the door.
    pub async fn bind(hub: Hub, options: WebOptions) -> Result<Self, WebError> {
        let wanted = options.listen;
        let failed = |source| WebError::Listen {
            address: wanted,
            source,
        };
        let listener = match TcpListener::bind(wanted).await {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && options.or_free_port => {
                let free = TcpListener::bind(SocketAddr::new(wanted.ip(), 0)).await;
                let free = free.map_err(failed)?;
                let address = free.local_addr().map_err(failed)?;
                tracing::warn!(
                    "port {} is taken by another program: the page is on {address} instead",
                    wanted.port()
                );
                free
            }
            bound => bound.map_err(failed)?,
        };
        let address = listener.local_addr().map_err(failed)?;
        let login = match (options.needs_login(), options.credentials) {
            (false, _) => Login::none(),
            (true, Some(credentials)) => Login::with(credentials),
            (true, None) => return Err(WebError::NoCredentials(address)),
        };
        if !address.ip().is_loopback() && options.tls.is_none() {
            tracing::warn!(
                "the page is served unencrypted on {address}: whoever is on that network can read the login along; --web-tls encrypts it"
            );
        }
        let mut epoch = [0; 4];
        getrandom::fill(&mut epoch).map_err(WebError::NoRandomness)?;
        let feed = hub.subscribe();
        let app = App::new(Parts {
            hub,
            version: options.version,
            value_metrics: options.value_metrics,
            history: options.history,
            access: options.access,
            guard: Guard {
                address,
                hosts: options.hosts,
                tls: options.tls.is_some(),
            },
            login,
            epoch: format!("{:08x}", u32::from_be_bytes(epoch)),
        });
        Ok(Self {
            listener,
            address,
            tls: options.tls,
            router: api::router(&app),
            app,
            feed,
        })
    }

    /// Returns the address that it listens on, with the port that was chosen.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Returns what to open in a browser.
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        match self.address.ip() {
            ip if ip.is_unspecified() => format!("{scheme}://localhost:{}/", self.address.port()),
            _ => format!("{scheme}://{}/", self.address),
        }
    }

    /// Serves until `stop`; answers that are under way have 2 s to end.
    pub async fn run(self, stop: CancellationToken) {
        let following = tokio::spawn(watch::follow(Arc::clone(&self.app), self.feed));
        let measuring = tokio::spawn(watch::measure(Arc::clone(&self.app)));
        let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let acceptor = self.tls.map(|config| {
            let mut config = rustls::ServerConfig::clone(&config);
            // Browsers open few connections to one host, unless they speak HTTP/2.
            config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
            TlsAcceptor::from(Arc::new(config))
        });
        let tasks = TaskTracker::new();
        loop {
            // Bounded: whoever is one too many waits in the system's queue.
            let permit = tokio::select! {
                permit = Arc::clone(&connections).acquire_owned() => permit,
                () = stop.cancelled() => break,
            };
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = stop.cancelled() => break,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::debug!("the page cannot take a connection: {error}");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            // Events are small and should not wait for more.
            let _ = stream.set_nodelay(true);
            let (router, stop) = (self.router.clone(), stop.clone());
            let acceptor = acceptor.clone();
            tasks.spawn(async move {
                let _permit = permit;
                match acceptor {
                    None => connection(stream, peer.ip(), router, stop).await,
                    Some(acceptor) => {
                        let handshake = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream));
                        match handshake.await {
                            Ok(Ok(stream)) => connection(stream, peer.ip(), router, stop).await,
                            Ok(Err(error)) => tracing::debug!("no TLS with {peer}: {error}"),
                            Err(_) => tracing::debug!("no TLS with {peer} in time"),
                        }
                    }
                }
            });
        }
        // Streams end by themselves.
        self.app.stop.cancel();
        tasks.close();
        if tokio::time::timeout(END, tasks.wait()).await.is_err() {
            tracing::debug!("some answers were cut short");
        }
        following.abort();
        measuring.abort();
    }
}

impl std::fmt::Debug for Web {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Web")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// Serves one connection to its end.
async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: IpAddr,
    router: Router,
    stop: CancellationToken,
) {
    let service = TowerToHyperService::new(router.layer(Extension(Peer(peer.to_canonical()))));
    let mut server = auto::Builder::new(TokioExecutor::new());
    server
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(32 * 1024);
    server
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Some(Duration::from_secs(30)))
        .max_concurrent_streams(64);
    let serving = server.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(serving);
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = stop.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!("a connection from {peer} ended: {error}");
    }
}
