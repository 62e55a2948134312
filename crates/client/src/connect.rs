//! From options to a connection that both sides have authenticated, and the task that keeps it.
//!
//! Input are the caller's options; output is the pair of `handle` and `feed`. The stream comes from
//! `dial`, or from the caller, and goes to `link`.

use std::sync::Arc;
use std::time::Duration;

use hearthgate_protocol::connection::{Access, ClientConfig, ClientConnection};
use hearthgate_protocol::crypto::{ClientEntropy, Credential, Token};
use hearthgate_protocol::limits::HANDSHAKE_TIMEOUT;
use hearthgate_protocol::variants::Wire;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;

use crate::context::{COMMANDS, Context, Phase, Status, Synced};
use crate::dial::NetDial;
use crate::error::ClientError;
use crate::feed::{Feed, Feeds};
use crate::handle::Client;
use crate::link;
use crate::options::ClientOptions;
use crate::target::Dial;

impl Client {
    /// Connects and returns once both sides have proven that they know the key. The feed misses
    /// nothing: it begins with the connection.
    ///
    /// # Errors
    /// Whatever keeps it from connecting within [`ClientOptions::connect_timeout`]. Finding out that a
    /// gateway speaks TLS, and under which certificate, may take 4 s more.
    pub async fn connect(options: ClientOptions) -> Result<(Self, Feed), ClientError> {
        let options = options.bounded();
        let gateway = Arc::from(options.endpoint.to_string());
        let started = Instant::now();
        let deadline = started + options.connect_timeout;
        let mut dial = NetDial::default();
        dial.prepare(&options);
        let (stream, is_loopback) = dial.dial(&options.endpoint, &gateway, deadline).await?;
        match Self::open(stream, is_loopback, options, dial.token(), started).await {
            Ok(connected) => Ok(connected),
            Err(error) => Err(dial.explain(error).await),
        }
    }

    /// The same over a byte stream that is already there, as tests and tunnels have one. The
    /// endpoint of the options is for messages and for the upgrade request then.
    /// `peer_is_loopback`: whether an unencrypted gateway is accepted unasked (section 3).
    ///
    /// # Errors
    /// As [`Client::connect`], other than those of resolving and reaching.
    pub async fn over<S>(
        stream: S,
        peer_is_loopback: bool,
        options: ClientOptions,
    ) -> Result<(Self, Feed), ClientError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let started = Instant::now();
        Self::open(stream, peer_is_loopback, options.bounded(), None, started).await
    }

    async fn open<S>(
        stream: S,
        peer_is_loopback: bool,
        options: ClientOptions,
        token: Option<Token>,
        started: Instant,
    ) -> Result<(Self, Feed), ClientError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let gateway: Arc<str> = Arc::from(options.endpoint.to_string());
        let connection = connection(&options, &gateway, (peer_is_loopback, token), started)?;
        let times = (options.connect_timeout, options.request_timeout);
        let (client, feed, context) = ends(gateway, times, options.mirror);
        tokio::spawn(keep(stream, connection, context));

        client.connected().await?;
        Ok((client, feed))
    }
}

/// Makes the protocol's side of a connection.
pub(crate) fn connection(
    options: &ClientOptions,
    gateway: &Arc<str>,
    (peer_is_loopback, token): (bool, Option<Token>),
    started: Instant,
) -> Result<ClientConnection, ClientError> {
    let access = match (&options.key, token) {
        (_, Some(token)) => Access::Token(token),
        (Credential::Device(key), None) => Access::Key(key.clone()),
        // A stream from elsewhere, for which nobody fetched one: the gateway will say that it is wrong.
        (Credential::Api(_), None) => Access::Token(Token::default()),
    };
    let entropy = entropy().map_err(|cause| ClientError::NoRandomness {
        gateway: Arc::clone(gateway),
        cause: cause.to_string(),
    })?;
    // The connection gives the handshake 10 s from its start; we have what time we were given.
    let deadline = (started + options.connect_timeout).into_std();
    let started = deadline
        .checked_sub(HANDSHAKE_TIMEOUT)
        .unwrap_or(started.into_std());
    let config = ClientConfig {
        path: options.endpoint.path().to_owned(),
        wire: options.wire,
        accept_plain: peer_is_loopback,
        variants: options.variants,
        keep_json: options.keep_json,
        ..ClientConfig::new(access, options.endpoint.authority())
    };
    Ok(ClientConnection::new(config, entropy, started))
}

/// Makes what outlives a connection: both ends of all channels between the link and its users.
pub(crate) fn ends(
    gateway: Arc<str>,
    (connect_timeout, request_timeout): (Duration, Duration),
    mirror: bool,
) -> (Client, Feed, Context) {
    let feeds = Feeds::new(mirror);
    let feed = feeds.subscribe();
    let (command_sender, commands) = mpsc::channel(COMMANDS);
    let (status_sender, status) = watch::channel(Status {
        phase: Phase::Connecting,
        wire: Wire::default(),
        uuid: None,
        synced: Synced::NotYet,
        over: false,
    });
    let close = Arc::new(Notify::new());
    let context = Context {
        gateway: Arc::clone(&gateway),
        connect_timeout,
        request_timeout,
        commands,
        close: Arc::clone(&close),
        status: status_sender,
        feeds: Arc::clone(&feeds),
        kept: None,
    };
    let client = Client {
        gateway,
        request_timeout,
        commands: command_sender,
        close,
        status,
        feeds,
        hints: watch::Sender::new(()),
    };
    (client, feed, context)
}

/// Keeps one connection until it ends, and tells everybody why it did.
async fn keep<S>(stream: S, connection: ClientConnection, mut context: Context)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (error, mut remains) = link::run(stream, connection, &mut context).await;
    remains.flush().await;
    if matches!(error, ClientError::Closed { .. }) {
        // Who closes may end the program next, so the other side has to have it before.
        remains.linger().await;
        tracing::info!(gateway = %context.gateway, "closed");
        tell(&context, error);
    } else {
        tracing::warn!("{error}");
        tell(&context, error);
        // In this order: whoever finds the channel closed finds the reason.
        drop(context);
        remains.linger().await;
    }
}

/// Tells handles and subscribers that the connection is over.
pub(crate) fn tell(context: &Context, error: ClientError) {
    context.feeds.down(Arc::new(error.clone()));
    context.status.send_modify(|status| {
        status.phase = Phase::Down(error);
        status.over = true;
    });
    context.feeds.end();
}

fn entropy() -> Result<ClientEntropy, getrandom::Error> {
    let mut entropy = ClientEntropy {
        nonce: [0; 16],
        websocket_key: [0; 16],
        mask_seed: [0; 16],
    };
    getrandom::fill(&mut entropy.nonce)?;
    getrandom::fill(&mut entropy.websocket_key)?;
    getrandom::fill(&mut entropy.mask_seed)?;
    Ok(entropy)
}
