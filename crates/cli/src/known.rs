//! From `--gateway` to a connection: an address, or a known gateway with its key, options and place.
//!
//! Input are the options and `gateways.toml`; output are clients: one that connects once, for commands
//! with an answer, and one that is kept. What is given on the command line wins over what is known.

use std::path::PathBuf;
use std::time::Duration;

use hearthgate_client::{
    Client, ClientError, ClientOptions, Discovery, Endpoint, Feed, Following, KeepOptions,
    Sighting, Target,
};
use hearthgate_hub::{Directory, FileError, KnownGateway};
use hearthgate_protocol::crypto::Credential;
use tokio::sync::watch;
use tokio::time::{Instant, interval, timeout_at};

use crate::args::{self, GatewayChoice, GatewayOptions};
use crate::exit::Failure;
use crate::key;

/// The least time that a connection gets after its gateway was found.
const LEAST: Duration = Duration::from_secs(1);
/// How often the file of the known gateways is looked at.
const LOOK: Duration = Duration::from_secs(2);

/// The gateway that is meant.
pub(crate) struct Meant {
    options: GatewayOptions,
    /// How it is known, and where that stands.
    known: Option<(KnownGateway, PathBuf)>,
    /// A key that was given for this command.
    given: Option<Credential>,
    target: Target,
}

impl Meant {
    /// Finds out which gateway is meant, and with what key.
    pub(crate) fn find(options: &GatewayOptions) -> Result<Self, Failure> {
        let known = match &options.gateway {
            GatewayChoice::Address(_) => None,
            GatewayChoice::Known(name) => Some(find(name)?),
        };
        let form = options
            .key
            .key_form
            .or(known.as_ref().and_then(|(known, _)| known.key_form));
        let form = form.unwrap_or_default();
        let dialect = options.tls.dialect(known.as_ref().map(|(known, _)| known));
        let given = key::read(options.key.key_file.as_deref(), dialect, form)?;
        let target = match &known {
            None => {
                // Says where a key can come from.
                let key = match given.clone() {
                    Some(key) => key,
                    None => key::required(None, dialect, form)?,
                };
                if let GatewayChoice::Address(endpoint) = &options.gateway {
                    options.tls.check(endpoint)?;
                }
                Target {
                    trust: options.tls.trust(None),
                    token_port: options.tls.token_port(None),
                    wire: options.wire,
                    variants: options.variants.variants(),
                    ..Target::fixed(address(options, None)?, key)
                }
            }
            Some((known, _)) => target(options, known, given.clone())?,
        };
        Ok(Self {
            options: options.clone(),
            known,
            given,
            target,
        })
    }

    /// Finds the gateway, and returns how a client would be made for it.
    pub(crate) async fn client_options(self) -> Result<ClientOptions, Failure> {
        let deadline = Instant::now() + self.options.timeout;
        let found = match self.target.fixed.clone() {
            Some(endpoint) => Some(endpoint),
            None => {
                let heard = self.heard(&mut self.listen()?, deadline).await?;
                heard.into_iter().next()
            }
        };
        let endpoint = found.ok_or_else(|| self.unheard())?;
        Ok(self.options_at(endpoint, self.options.timeout, true))
    }

    fn options_at(&self, endpoint: Endpoint, patience: Duration, mirror: bool) -> ClientOptions {
        ClientOptions {
            trust: self.target.trust.clone(),
            token_port: self.target.token_port,
            wire: self.target.wire,
            variants: self.target.variants,
            connect_timeout: patience,
            request_timeout: self.options.timeout,
            keep_json: true,
            mirror,
            ..ClientOptions::new(endpoint, self.target.key.clone())
        }
    }

    /// Connects once.
    pub(crate) async fn connect(self, mirror: bool) -> Result<(Client, Feed), Failure> {
        let deadline = Instant::now() + self.options.timeout;
        let found = match self.target.fixed.clone() {
            Some(endpoint) => vec![endpoint],
            None => self.heard(&mut self.listen()?, deadline).await?,
        };
        let mut left = u32::try_from(found.len()).unwrap_or(1);
        let mut outcome = Err(self.unheard());
        for endpoint in found {
            let rest = deadline.saturating_duration_since(Instant::now());
            let share = if self.target.fixed.is_some() {
                self.options.timeout
            } else {
                (rest / left.max(1)).max(LEAST)
            };
            left = left.saturating_sub(1);
            outcome = Client::connect(self.options_at(endpoint, share, mirror)).await;
            if outcome.is_ok() {
                break;
            }
        }
        Ok(outcome?)
    }

    /// Connects and keeps the connection: where the gateway moves or its key changes in the file, it is
    /// followed. Fails where the first attempt does.
    pub(crate) async fn keep(mut self) -> Result<(Client, Feed), Failure> {
        let deadline = Instant::now() + self.options.timeout;
        let mut listening = match self.known {
            // Also where the address is fixed, advertisements tell that the gateway is back.
            Some(_) => self.listen().map(Some),
            None => Ok(None),
        };
        if self.target.fixed.is_none() {
            match &mut listening {
                Ok(Some(listening)) => {
                    self.target.found = self.heard(listening, deadline).await?;
                }
                _ => return Err(listening.err().unwrap_or_else(|| self.unheard().into())),
            }
        }
        let rest = deadline.saturating_duration_since(Instant::now());
        let keep = KeepOptions {
            connect_timeout: rest.max(LEAST.min(self.options.timeout)),
            request_timeout: self.options.timeout,
            keep_json: true,
            ..KeepOptions::new(self.name())
        };
        let (targets, receiver) = watch::channel(self.target.clone());
        let (client, feed) = Client::keep(receiver, keep);
        if let Err(error) = client.connected().await {
            client.close().await;
            return Err(error.into());
        }
        if self.known.is_some() {
            tokio::spawn(self.follow(listening.ok().flatten(), targets, client.clone()));
        }
        Ok((client, feed))
    }

    /// Keeps the target as the file and the advertisements say, until the client is closed.
    async fn follow(
        self,
        listening: Option<Listening>,
        targets: watch::Sender<Target>,
        client: Client,
    ) {
        let mut listening = listening;
        let mut look = interval(LOOK);
        loop {
            tokio::select! {
                _ = client.closed() => return,
                sighting = next(&mut listening) => {
                    let found = self.endpoints(&sighting);
                    let moved = targets.send_if_modified(|target| {
                        let moved = target.found != found;
                        target.found = found;
                        moved
                    });
                    if !moved {
                        client.advertised();
                    }
                }
                _ = look.tick() => match self.look() {
                    Ok(Some(newest)) => {
                        targets.send_if_modified(|target| {
                            let newest = Target { found: target.found.clone(), ..newest };
                            let differs = *target != newest;
                            *target = newest;
                            differs
                        });
                    }
                    Ok(None) => {}
                    // A file that is being edited is wrong now and then; the old key still holds.
                    Err(failure) => tracing::debug!("{failure:?}"),
                },
            }
        }
    }

    /// Returns what the file says now.
    fn look(&self) -> Result<Option<Target>, Failure> {
        let Some((known, path)) = &self.known else {
            return Ok(None);
        };
        let directory = Directory::load(path)?;
        let known = directory.find(&known.uuid)?;
        target(&self.options, known, self.given.clone()).map(Some)
    }

    fn name(&self) -> String {
        match (&self.known, &self.target.fixed) {
            (Some((known, _)), _) => known.name.clone(),
            (None, Some(endpoint)) => endpoint.to_string(),
            (None, None) => String::new(),
        }
    }

    fn unheard(&self) -> ClientError {
        ClientError::NotFound {
            gateway: self.name().into(),
        }
    }

    fn listen(&self) -> Result<Listening, Failure> {
        let options = args::discovery(&self.options.listen, &self.options.interface);
        let discovery = Discovery::start(&options).map_err(Failure::local)?;
        let uuid = self.known.as_ref().map_or("", |(known, _)| &known.uuid);
        let following = discovery.follow(uuid);
        Ok(Listening {
            _discovery: discovery,
            following,
        })
    }

    /// Waits until the gateway is heard, and returns where.
    async fn heard(
        &self,
        listening: &mut Listening,
        deadline: Instant,
    ) -> Result<Vec<Endpoint>, Failure> {
        match timeout_at(deadline, listening.following.heard()).await {
            Ok(Some(sighting)) => Ok(self.endpoints(&sighting)),
            _ => Err(self.unheard().into()),
        }
    }

    fn endpoints(&self, sighting: &Sighting) -> Vec<Endpoint> {
        let known = self.known.as_ref().map(|(known, _)| known);
        let secure = self.options.tls.is_secure(known);
        let known = known.and_then(|known| known.path.as_ref());
        let path = self.options.variants.path.as_ref().or(known);
        let endpoint = |address: &std::net::SocketAddr| {
            let endpoint = Endpoint::new(&address.ip().to_string(), address.port()).ok()?;
            let endpoint = endpoint.with_tls(secure);
            match path {
                Some(path) => endpoint.with_path(path).ok(),
                None => Some(endpoint),
            }
        };
        sighting.addresses.iter().filter_map(endpoint).collect()
    }
}

/// Hears advertisements as long as it is there.
struct Listening {
    _discovery: Discovery,
    following: Following,
}

async fn next(listening: &mut Option<Listening>) -> Sighting {
    if let Some(inner) = listening {
        if let Some(sighting) = inner.following.heard().await {
            return sighting;
        }
        *listening = None;
    }
    std::future::pending().await
}

/// Lays what is given over what is known.
fn target(
    options: &GatewayOptions,
    known: &KnownGateway,
    given: Option<Credential>,
) -> Result<Target, Failure> {
    let key = match given {
        Some(key) => key,
        None => known
            .credential(options.tls.dialect, options.key.key_form)?
            .ok_or_else(|| no_key(known))?,
    };
    Ok(Target {
        fixed: match known.address {
            Some(_) => Some(address(options, Some(known))?),
            None => None,
        },
        found: Vec::new(),
        key,
        trust: options.tls.trust(Some(known)),
        token_port: options.tls.token_port(Some(known)),
        wire: options.wire.or(known.wire),
        variants: options.variants.over(known.variants()),
    })
}

/// Returns the address that was given, or is known.
fn address(options: &GatewayOptions, known: Option<&KnownGateway>) -> Result<Endpoint, Failure> {
    let endpoint = match (&options.gateway, known) {
        (_, Some(known)) => {
            let secure = options.tls.is_secure(Some(known));
            known.endpoint().map(|endpoint| endpoint.with_tls(secure))
        }
        (GatewayChoice::Address(endpoint), None) => Some(endpoint.clone()),
        (GatewayChoice::Known(_), None) => None,
    };
    let endpoint = endpoint.ok_or_else(|| Failure::usage("the gateway has no address"))?;
    match &options.variants.path {
        Some(path) => endpoint.with_path(path).map_err(Failure::usage),
        None => Ok(endpoint),
    }
}

/// Finds a known gateway, and tells where it is known from.
pub(crate) fn find(name: &str) -> Result<(KnownGateway, PathBuf), Failure> {
    let path = Directory::default_path()?;
    let directory = Directory::load(&path)?;
    let known = directory
        .find(name)
        .map_err(|error| not_known(name, &error))?;
    Ok((known.clone(), path))
}

/// Says that a known gateway has no key, and what to do about it.
pub(crate) fn no_key(known: &KnownGateway) -> Failure {
    let KnownGateway { name, uuid, .. } = known;
    Failure::usage(format!(
        "the gateway {name} has no key: `hearthgate gateways add \"{name}\" --uuid {uuid}` asks for it"
    ))
}

fn not_known(name: &str, error: &FileError) -> Failure {
    let looks_like_an_address =
        name.contains([':', '/']) || name.parse::<std::net::IpAddr>().is_ok();
    let hint = if looks_like_an_address {
        format!("; an address begins with ws://, as in ws://{name}")
    } else {
        String::new()
    };
    Failure::usage(format!("{error}{hint}"))
}
