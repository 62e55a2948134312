//! Reaches gateways over the network: the access token of the older dialect, TCP, TLS.
//!
//! Input are an endpoint and the options; the stream goes to `link`, the token into its upgrade.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hearthgate_protocol::crypto::{Credential, Token};
use hearthgate_protocol::error::HandshakeFailure;
use hearthgate_protocol::websocket::UpgradeError;
use tokio::time::{Instant, timeout_at};

use crate::endpoint::Endpoint;
use crate::error::{ClientError, HANDSHAKE, NoUpgrade};
use crate::options::ClientOptions;
use crate::target::Dial;
use crate::tls::{Stream, TlsFault, secure, speaks_tls};
use crate::tokens::{Source, TokenKeeper};
use crate::transport;
use crate::trust::Trust;

/// Reaches gateways over TCP, with TLS where the endpoint says so.
#[derive(Debug, Default)]
pub(crate) struct NetDial {
    /// How the next one is reached.
    how: Option<How>,
    tokens: TokenKeeper,
    /// Where the last attempt went.
    peer: Option<(SocketAddr, String)>,
    /// The token of the last attempt, and whether it was fetched for it.
    token: Option<(Token, bool)>,
}

#[derive(Debug)]
struct How {
    key: Credential,
    trust: Trust,
    token_port: u16,
    patience: Duration,
}

impl Dial for NetDial {
    type Stream = Stream;

    async fn dial(
        &mut self,
        endpoint: &Endpoint,
        gateway: &Arc<str>,
        deadline: Instant,
    ) -> Result<(Stream, bool), ClientError> {
        (self.peer, self.token) = (None, None);
        let fault = |fault| ClientError::Tls {
            gateway: Arc::clone(gateway),
            fault,
        };
        let (trust, patience, source) = match &self.how {
            None => (Trust::Nothing, Duration::ZERO, None),
            Some(how) => {
                let source = Source::of(endpoint, &how.key, &how.trust, how.token_port);
                (how.trust.clone(), how.patience, source)
            }
        };
        if let Some(source) = source {
            if !endpoint.is_secure() {
                return Err(fault(TlsFault::Missing));
            }
            self.token = Some(self.tokens.access(source, gateway, deadline).await?);
        }
        let place = (endpoint.host(), endpoint.port());
        let (stream, peer) = transport::connect(place, gateway, deadline).await?;
        self.peer = Some((peer, endpoint.host().to_owned()));
        let stream = if endpoint.is_secure() {
            timeout_at(deadline, secure(stream, endpoint.host(), &trust))
                .await
                .map_err(|_| ClientError::Timeout {
                    gateway: Arc::clone(gateway),
                    what: HANDSHAKE,
                    after: patience,
                })?
                .map_err(fault)?
        } else {
            Stream::Plain(stream)
        };
        Ok((stream, transport::is_loopback(peer)))
    }

    fn prepare(&mut self, options: &ClientOptions) {
        self.how = Some(How {
            key: options.key.clone(),
            trust: options.trust.clone(),
            token_port: options.token_port,
            patience: options.connect_timeout,
        });
    }

    fn token(&mut self) -> Option<Token> {
        self.token.as_ref().map(|(token, _)| token.clone())
    }

    async fn explain(&mut self, error: ClientError) -> ClientError {
        let may_be_tls = match &error {
            ClientError::Authentication {
                gateway,
                detail: HandshakeFailure::Claim(_),
                ..
            } => {
                // A gateway that restarted has forgotten its tokens; the key may be right all the same.
                let fresh = self.token.as_ref().is_none_or(|(_, fresh)| *fresh);
                self.tokens.forget();
                return match fresh {
                    true => error,
                    false => ClientError::TokenExpired {
                        gateway: Arc::clone(gateway),
                    },
                };
            }
            ClientError::SpeaksTls {
                gateway,
                seen: None,
            } => Some(gateway),
            ClientError::NoGateway {
                gateway,
                problem: NoUpgrade::Unanswered | NoUpgrade::Upgrade(UpgradeError::NotHttp),
            } => Some(gateway),
            _ => None,
        };
        let (Some(gateway), Some((peer, host))) = (may_be_tls, &self.peer) else {
            return error;
        };
        match speaks_tls(*peer, host).await {
            Some(seen) => ClientError::SpeaksTls {
                gateway: Arc::clone(gateway),
                seen,
            },
            None => error,
        }
    }
}
