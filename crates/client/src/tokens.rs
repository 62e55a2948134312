//! The access token of the older dialect (section 8): fetched over TLS, renewed before it expires.
//!
//! Input are the API key and where the token endpoint is; the token goes to `dial`, and from there into
//! the upgrade. The texts that travel are made and read by the protocol crate. Nothing here logs a path:
//! a refresh token stands in it.

use std::sync::Arc;
use std::time::Duration;

use hearthgate_protocol::crypto::{ApiKey, Credential, Token};
use hearthgate_protocol::token::{TokenExchange, TokenFault, TokenQuestion, Tokens};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Mutex;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use crate::endpoint::Endpoint;
use crate::error::{ClientError, TokenTrouble, tried};
use crate::options::ClientOptions;
use crate::tls::{TlsFault, secure};
use crate::transport;
use crate::trust::Trust;

/// The most that is read at a time.
const READ_BUFFER: usize = 4 * 1024;
/// How long before its end a token is renewed at most; a tenth of its lifetime where that is less.
const AHEAD: Duration = Duration::from_secs(60);
/// The time of a renewal in the background, and the pause after one that failed.
const RENEWAL: Duration = Duration::from_secs(10);

/// Whom to ask for tokens, by what right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    host: String,
    port: u16,
    /// The Host header.
    authority: String,
    key: ApiKey,
    trust: Trust,
}

impl Source {
    /// Returns the token endpoint of a gateway, where the older dialect is spoken.
    pub(crate) fn of(
        endpoint: &Endpoint,
        key: &Credential,
        trust: &Trust,
        port: u16,
    ) -> Option<Self> {
        let Credential::Api(key) = key else {
            return None;
        };
        Some(Self {
            host: endpoint.host().to_owned(),
            port,
            authority: endpoint.authority_at(port),
            key: key.clone(),
            trust: trust.clone(),
        })
    }

    async fn ask(
        &self,
        refresh: Option<&Token>,
        gateway: &Arc<str>,
        deadline: Instant,
    ) -> Result<Tokens, ClientError> {
        let failed = |trouble: TokenTrouble| ClientError::Token {
            gateway: Arc::clone(gateway),
            at: format!("https://{}", self.authority),
            trouble,
        };
        let late = || failed(TokenTrouble::Unreachable("no answer in time".to_owned()));
        let (stream, _) = transport::connect((&self.host, self.port), gateway, deadline)
            .await
            .map_err(|error| match &error {
                ClientError::Unreachable { attempts, .. } => {
                    failed(TokenTrouble::Unreachable(tried(attempts)))
                }
                _ => error,
            })?;
        let exchange = async {
            let secured = secure(stream, &self.host, &self.trust).await;
            let mut stream = secured.map_err(|fault| match fault {
                TlsFault::NotTls | TlsFault::HungUp => failed(TokenTrouble::Unreachable(format!(
                    "no TLS is spoken at port {}",
                    self.port
                ))),
                fault => ClientError::Tls {
                    gateway: Arc::clone(gateway),
                    fault,
                },
            })?;
            let question = match refresh {
                Some(refresh) => TokenQuestion::Renew(&self.key, refresh),
                None => TokenQuestion::New(&self.key),
            };
            let mut request = Vec::new();
            question.write(&self.authority, &mut request);
            let answer = |fault| failed(TokenTrouble::Answer(fault));
            let cut = |_| answer(TokenFault::CutOff);
            stream.write_all(&request).await.map_err(cut)?;
            stream.flush().await.map_err(cut)?;
            let mut exchange = TokenExchange::default();
            let mut buffer = vec![0; READ_BUFFER];
            loop {
                // A server that hangs up without the farewell of TLS has said all the same.
                let count = stream.read(&mut buffer).await.unwrap_or(0);
                if count == 0 {
                    return exchange.handle_eof().map_err(answer);
                }
                let bytes = buffer.get(..count).unwrap_or_default();
                if let Some(tokens) = exchange.handle(bytes).map_err(answer)? {
                    return Ok(tokens);
                }
            }
        };
        timeout_at(deadline, exchange)
            .await
            .unwrap_or_else(|_| Err(late()))
    }

    /// Renews a pair, or gets a first one where that is refused.
    async fn renew(
        &self,
        held: Option<&Held>,
        gateway: &Arc<str>,
        deadline: Instant,
    ) -> Result<Held, ClientError> {
        if let Some(held) = held.filter(|held| !held.refresh.is_empty()) {
            match self.ask(Some(&held.refresh), gateway, deadline).await {
                Ok(tokens) => return Ok(Held::new(tokens)),
                Err(error) => tracing::debug!("a token is not renewed, getting a new one: {error}"),
            }
        }
        self.ask(None, gateway, deadline).await.map(Held::new)
    }
}

/// Fetches a first access token of the older dialect; none where another one is spoken.
///
/// # Errors
/// Why there is none.
pub async fn fetch_token(
    options: &ClientOptions,
    deadline: Instant,
) -> Result<Option<Token>, ClientError> {
    let source = Source::of(
        &options.endpoint,
        &options.key,
        &options.trust,
        options.token_port,
    );
    let gateway = Arc::from(options.endpoint.to_string());
    match source {
        Some(source) => {
            let tokens = source.ask(None, &gateway, deadline).await?;
            Ok(Some(tokens.access))
        }
        None => Ok(None),
    }
}

struct Held {
    access: Token,
    refresh: Token,
    /// When it is to be renewed.
    renew_at: Instant,
}

impl Held {
    fn new(tokens: Tokens) -> Self {
        let Tokens {
            access,
            refresh,
            lifetime,
        } = tokens;
        let ahead = (lifetime / 10).min(AHEAD);
        Self {
            access,
            refresh,
            renew_at: Instant::now() + lifetime.saturating_sub(ahead),
        }
    }
}

/// Keeps a token of one gateway as long as it is there.
#[derive(Default)]
pub(crate) struct TokenKeeper {
    source: Option<Source>,
    /// Whoever renews holds it meanwhile: a refresh token is good for one renewal.
    held: Arc<Mutex<Option<Held>>>,
    renewal: Option<AbortHandle>,
}

impl TokenKeeper {
    /// Returns an access token that holds, and whether it is new.
    pub(crate) async fn access(
        &mut self,
        source: Source,
        gateway: &Arc<str>,
        deadline: Instant,
    ) -> Result<(Token, bool), ClientError> {
        if self.source.as_ref() != Some(&source) {
            self.forget();
            self.source = Some(source.clone());
        }
        let mut held = self.held.lock().await;
        let now = Instant::now();
        if let Some(held) = held.as_ref().filter(|held| held.renew_at > now) {
            return Ok((held.access.clone(), false));
        }
        let newest = source.renew(held.as_ref(), gateway, deadline).await?;
        let access = newest.access.clone();
        *held = Some(newest);
        drop(held);
        if self.renewal.is_none() {
            let renewing = renew_for_ever(source, Arc::clone(&self.held), Arc::clone(gateway));
            self.renewal = Some(tokio::spawn(renewing).abort_handle());
        }
        Ok((access, true))
    }

    /// Forgets a token that is not taken any more.
    pub(crate) fn forget(&mut self) {
        if let Some(renewal) = self.renewal.take() {
            renewal.abort();
        }
        self.held = Arc::default();
        self.source = None;
    }
}

impl Drop for TokenKeeper {
    fn drop(&mut self) {
        self.forget();
    }
}

/// Renews a token whenever it is about to expire, also while a connection stands: gateways may end one
/// whose token has, and the next one is then made at once.
async fn renew_for_ever(source: Source, held: Arc<Mutex<Option<Held>>>, gateway: Arc<str>) {
    loop {
        let due = held.lock().await.as_ref().map(|held| held.renew_at);
        let Some(due) = due else { return };
        sleep_until(due).await;
        let mut held = held.lock().await;
        // Somebody who connected may have been faster.
        if held
            .as_ref()
            .is_none_or(|held| held.renew_at > Instant::now())
        {
            continue;
        }
        let deadline = Instant::now() + RENEWAL;
        match source.renew(held.as_ref(), &gateway, deadline).await {
            Ok(newest) => {
                tracing::debug!(%gateway, "renewed the access token");
                // A lifetime of nothing must not make a busy loop.
                let least = Instant::now() + Duration::from_millis(100);
                let renew_at = newest.renew_at.max(least);
                *held = Some(Held { renew_at, ..newest });
            }
            Err(error) => {
                tracing::debug!("the access token is not renewed, trying again: {error}");
                drop(held);
                sleep(RENEWAL).await;
            }
        }
    }
}

impl std::fmt::Debug for TokenKeeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenKeeper(***)")
    }
}
