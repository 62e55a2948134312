//! Tries each layer between a third-party system and a gateway in turn and names the one that fails.
//!
//! Input are [`Options`]; output is an [`Examination`]: the report for people and programs, and what
//! was read on the way, for `bundle` and `conformance`. Every layer has a deadline, and after a
//! failure the later ones are skipped.

mod advice;
mod devices;

use std::net::SocketAddr;
use std::time::Duration;

use hearthgate_client::{Endpoint, speaks_tls, tls_hint};
use hearthgate_protocol::crypto::Token;
use hearthgate_protocol::limits::BEACON_INTERVAL;
use hearthgate_protocol::variants::{KeyForm, Padding, Wire};
use hearthgate_protocol::websocket::UpgradeError;
use hearthgate_protocol::wire::Request;
use tokio::net::TcpStream;
use tokio::time::Instant;

pub(crate) use advice::{PLAIN_REFUSED, time};
pub use devices::DeviceFacts;
pub(crate) use devices::{plural, read_devices, sliced};

use crate::conformance;
use crate::key::Key;
use crate::line::{Fault, Line, NoUpgrade};
use crate::options::{Deadlines, Options, Target};
use crate::reach;
use crate::report::{Check, LAYERS, Outcome, Report};
use crate::session::{
    self, Challenge, First, Incoming, NoSession, Session, Terms, event_name, first_message,
};
use crate::transcript::Transcript;
use hearthgate_protocol::crypto::KeyText;

/// A round trip that makes people wonder.
const SLOW: Duration = Duration::from_secs(1);
/// Two advertisements, and a little.
const ADVERTISEMENT: Duration =
    Duration::from_millis(2 * BEACON_INTERVAL.as_millis() as u64 + 1000);

/// What a diagnosis found.
#[derive(Clone, Debug)]
pub struct Examination {
    /// The checks.
    pub report: Report,
    /// What the gateway has, as far as it was read.
    pub devices: Vec<DeviceFacts>,
    /// What went over the connections.
    pub transcript: Transcript,
}

/// Marks that a layer failed; the report says why.
pub(crate) struct Failed;

/// What is known of a gateway whose session worked, to open more.
#[derive(Clone)]
pub(crate) struct Reached {
    pub(crate) address: SocketAddr,
    pub(crate) endpoint: Endpoint,
    pub(crate) terms: Terms,
    /// The access token, in the older dialect.
    pub(crate) token: Option<Token>,
    pub(crate) log: Transcript,
}

/// Examines a gateway, layer by layer.
pub async fn examine(options: &Options) -> Examination {
    let mut doctor = Doctor::new(options);
    let reached = doctor.layers().await.ok();
    doctor.report.skip_rest();
    if options.conformance {
        let (devices, report) = (&doctor.devices, &mut doctor.report);
        conformance::examine(options, reached.as_ref(), devices, report).await;
    }
    Examination {
        report: doctor.report,
        devices: doctor.devices,
        transcript: doctor.log,
    }
}

/// Opens a session; where that fails, tells which layer did, and why.
pub(crate) async fn open(options: &Options) -> Result<(Session, Reached), Box<Check>> {
    let mut doctor = Doctor::new(options);
    match doctor.connect().await {
        Ok(opened) => Ok(opened),
        Err(Failed) => {
            let failed = doctor.report.checks.pop();
            Err(Box::new(failed.unwrap_or_else(|| Check {
                name: "address",
                outcome: Outcome::Fail,
                detail: "not tried".to_owned(),
            })))
        }
    }
}

struct Doctor<'a> {
    options: &'a Options,
    deadlines: Deadlines,
    report: Report,
    devices: Vec<DeviceFacts>,
    log: Transcript,
}

impl<'a> Doctor<'a> {
    fn new(options: &'a Options) -> Self {
        Self {
            options,
            deadlines: Deadlines::start(options.timeout),
            report: Report::default(),
            devices: Vec::new(),
            log: Transcript::new(),
        }
    }

    /// Tries the layers up to the proof.
    async fn connect(&mut self) -> Result<(Session, Reached), Failed> {
        let endpoint = self.advertisement().await?;
        let (stream, address) = self.address_and_port(&endpoint).await?;
        let (mut line, token) = self.upgrade(stream, &endpoint, address).await?;
        let (session, terms) = if token.is_some() {
            self.older_layers();
            let terms = Terms {
                key: Key::unused(),
                wire: Wire::Plain,
                variants: self.options.variants,
            };
            (session::without_handshake(line), terms)
        } else {
            let first = self.wire(&mut line, address).await?;
            let (challenge, key) = self.decrypt(&first)?;
            let terms = Terms {
                key,
                wire: first.wire(),
                variants: self.options.variants,
            };
            (self.proof(line, &challenge, &terms).await?, terms)
        };
        let log = self.log.clone();
        let reached = Reached {
            address,
            endpoint,
            terms,
            token,
            log,
        };
        Ok((session, reached))
    }

    /// Tells of the layers that the older dialect does not have.
    fn older_layers(&mut self) {
        self.report.wire = Some(Wire::Plain);
        self.pass("JSON in text messages, as the dialect 2023 has it");
        self.skip("nothing is encrypted below TLS in the dialect 2023");
        self.pass("the gateway took our access token, and we know its certificate");
    }

    /// Tries all layers.
    async fn layers(&mut self) -> Result<Reached, Failed> {
        let (mut session, reached) = self.connect().await?;
        let ids = self.device_list(&mut session).await?;
        self.schemas_and_statuses(&mut session, ids).await?;
        self.round_trip(&mut session).await?;
        self.ping(&mut session).await?;
        self.event(&mut session).await?;
        session.line.close().await;
        Ok(reached)
    }

    async fn advertisement(&mut self) -> Result<Endpoint, Failed> {
        let (uuid, listen, path, secure) = match &self.options.target {
            Target::Address(endpoint) => {
                self.skip("not asked for: the address was given");
                return Ok(endpoint.clone());
            }
            Target::Uuid {
                uuid,
                listen,
                path,
                secure,
            } => (uuid, listen, path, *secure),
        };
        let started = Instant::now();
        let deadline = self
            .deadlines
            .at_most(ADVERTISEMENT.max(self.options.timeout));
        let sighting = match reach::advertised(uuid, listen, deadline).await {
            Ok(sighting) => sighting,
            Err(unheard) => return self.fail(advice::unheard(uuid, listen, &unheard)),
        };
        let address = sighting.address;
        let endpoint = Endpoint::new(&address.ip().to_string(), address.port());
        let endpoint = endpoint.map(|endpoint| endpoint.with_tls(secure));
        let endpoint = endpoint.and_then(|endpoint| match path {
            Some(path) => endpoint.with_path(path),
            None => Ok(endpoint),
        });
        match endpoint {
            Ok(endpoint) => {
                let after = advice::time(started.elapsed());
                let frame = sighting.frame.name();
                self.pass(format!(
                    "heard from {address} after {after} (frame {frame})"
                ));
                Ok(endpoint)
            }
            Err(error) => self.fail(format!("heard from {address}, which is of no use: {error}")),
        }
    }

    async fn address_and_port(
        &mut self,
        endpoint: &Endpoint,
    ) -> Result<(TcpStream, SocketAddr), Failed> {
        let addresses = match reach::resolve(endpoint, self.deadlines.layer()).await {
            Ok(addresses) => addresses,
            Err(error) => return self.fail(advice::unresolved(endpoint.host(), &error)),
        };
        let connected = reach::connect(&addresses, self.deadlines.layer()).await;
        if let Err(attempts) = &connected
            && attempts.iter().all(|(_, error)| reach::no_way(error))
        {
            return self.fail(advice::no_way(attempts));
        }
        let listed: Vec<String> = addresses.iter().map(|a| a.ip().to_string()).collect();
        self.pass(listed.join(", "));
        match connected {
            Ok((stream, address, took)) => {
                self.log.note(&format!("connected to {address}"));
                self.pass(format!(
                    "{} is open ({})",
                    address.port(),
                    advice::time(took)
                ));
                Ok((stream, address))
            }
            Err(attempts) => self.fail(advice::port(&attempts)),
        }
    }

    async fn upgrade(
        &mut self,
        stream: TcpStream,
        endpoint: &Endpoint,
        address: SocketAddr,
    ) -> Result<(Line, Option<Token>), Failed> {
        let deadline = self.deadlines.layer();
        let token = match reach::token(endpoint, self.options, deadline).await {
            Ok(token) => token,
            Err(problem) => return self.fail(problem),
        };
        let trust = &self.options.trust;
        let stream = match reach::secure(stream, endpoint, trust, deadline).await {
            Ok(stream) => stream,
            Err(problem) => return self.fail(problem),
        };
        let fault = match Line::upgrade(stream, endpoint, token.as_ref(), deadline, &self.log).await
        {
            Ok(line) => {
                let path = endpoint.path();
                let over = if endpoint.is_secure() {
                    ", over TLS"
                } else {
                    ""
                };
                self.pass(format!("a WebSocket at the path {path}{over}"));
                return Ok((line, token));
            }
            Err(fault) => fault,
        };
        let may_be_tls = !endpoint.is_secure()
            && matches!(
                fault,
                NoUpgrade::HungUp | NoUpgrade::Answer(UpgradeError::NotHttp | UpgradeError::Tls)
            );
        let tls = match may_be_tls {
            true => speaks_tls(address, endpoint.host()).await,
            false => None,
        };
        let detail = match (tls, &fault) {
            (Some(seen), _) => format!("it speaks TLS: {}", tls_hint(seen)),
            (None, NoUpgrade::Answer(UpgradeError::Tls)) => {
                format!("it speaks TLS: {}", tls_hint(None))
            }
            (None, NoUpgrade::Answer(UpgradeError::Refused { status: 401 })) if token.is_some() => {
                "it does not take the access token that its token endpoint has just given: is that another \
                 gateway's? Check --token-port"
                    .to_owned()
            }
            _ => advice::upgrade(&fault, endpoint.path()),
        };
        self.fail(detail)
    }

    async fn wire(&mut self, line: &mut Line, address: SocketAddr) -> Result<First, Failed> {
        let first = match first_message(line, self.deadlines.layer()).await {
            Ok(first) => first,
            Err(fault) => return self.fail(advice::no_first_message(&fault)),
        };
        let spoken = first.wire();
        self.report.wire = Some(spoken);
        match self.options.wire {
            Some(pinned) if pinned != spoken => self.fail(advice::other_wire(pinned, &first)),
            Some(_) => {
                self.pass(format!("{spoken}, as pinned"));
                Ok(first)
            }
            None if spoken == Wire::Plain && !address.ip().to_canonical().is_loopback() => {
                self.fail(advice::PLAIN_REFUSED)
            }
            None => {
                self.pass(format!(
                    "{spoken}, detected from the gateway's first message"
                ));
                Ok(first)
            }
        }
    }

    fn decrypt(&mut self, first: &First) -> Result<(Challenge, Key), Failed> {
        let form = self.options.key_form;
        let padding = self.options.variants.padding;
        let key = match Key::of(&self.options.key, form) {
            Ok(key) => key,
            Err(error) => return self.fail(error.to_string()),
        };
        match first.challenge(&key, padding) {
            Ok(challenge) => {
                self.pass(match first.wire() {
                    Wire::Plain => "nothing to decrypt: the wire encoding is plain".to_owned(),
                    _ => format!("auth_required, with key_form {form} and padding {padding}"),
                });
                Ok((challenge, key))
            }
            Err(fault) => {
                let other = self.other_key(first);
                self.fail(advice::decrypt(first, &fault, other))
            }
        }
    }

    /// Looks for a key form and padding under which the message makes sense.
    fn other_key(&self, first: &First) -> Option<(KeyForm, Padding)> {
        readings_of(first, &self.options.key)
            .next()
            .map(|(form, padding, ..)| (form, padding))
    }

    async fn proof(
        &mut self,
        line: Line,
        challenge: &Challenge,
        terms: &Terms,
    ) -> Result<Session, Failed> {
        let deadline = self.deadlines.layer();
        match session::prove(line, challenge, terms, deadline).await {
            Ok(session) => {
                self.pass("both sides have proven that they know the key");
                Ok(session)
            }
            Err(fault) => {
                let other = match &fault {
                    NoSession::WrongProof { json, nonce, .. } => {
                        crate::explore::proven_with(&terms.key, json, *nonce)
                    }
                    _ => Vec::new(),
                };
                self.fail(advice::proof(&fault, terms.wire, &other))
            }
        }
    }

    async fn round_trip(&mut self, session: &mut Session) -> Result<(), Failed> {
        let started = Instant::now();
        match session
            .ask(&Request::GetDevices, self.deadlines.layer())
            .await
        {
            Ok(_) => {
                let took = started.elapsed();
                let text = format!("{} for one request", advice::time(took));
                match took > SLOW {
                    true => self.warn(format!(
                        "{text}: slow; look at the Wi-Fi between here and the gateway"
                    )),
                    false => self.pass(text),
                }
                Ok(())
            }
            Err(fault) => self.fail(advice::unanswered("a second get_devices", &fault)),
        }
    }

    async fn ping(&mut self, session: &mut Session) -> Result<(), Failed> {
        match session.ping(self.deadlines.layer()).await {
            Ok(took) => {
                self.pass(format!("{} from ping to pong", advice::time(took)));
                Ok(())
            }
            Err(Fault::Timeout) => {
                self.warn(advice::NO_PONG);
                Ok(())
            }
            Err(fault) => self.fail(format!(
                "{fault} after a ping, which RFC 6455 says to answer"
            )),
        }
    }

    async fn event(&mut self, session: &mut Session) -> Result<(), Failed> {
        let patience = self.options.event_timeout;
        // On top of the others' time: who waits for an event means it.
        let deadline = Instant::now() + patience.min(Duration::from_secs(24 * 60 * 60));
        while session.events.is_empty() {
            match session.next(deadline).await {
                Ok(incoming @ Incoming::Event { .. }) => session.keep(incoming),
                Ok(_) => {}
                Err(Fault::Timeout) => {
                    self.skip(advice::no_event(patience));
                    return Ok(());
                }
                Err(fault) => return self.fail(advice::unanswered("waiting for an event", &fault)),
            }
        }
        if let Some((event, _)) = session.events.first() {
            let (name, id) = (event_name(&event.kind), event.id);
            self.pass(format!("{name} with id {id}"));
        }
        Ok(())
    }

    fn pass(&mut self, detail: impl Into<String>) {
        self.add(Outcome::Pass, detail);
    }

    fn warn(&mut self, detail: impl Into<String>) {
        self.add(Outcome::Warn, detail);
    }

    fn skip(&mut self, detail: impl Into<String>) {
        self.add(Outcome::Skip, detail);
    }

    fn fail<T>(&mut self, detail: impl Into<String>) -> Result<T, Failed> {
        self.add(Outcome::Fail, detail);
        Err(Failed)
    }

    /// Adds the outcome of the layer whose turn it is.
    fn add(&mut self, outcome: Outcome, detail: impl Into<String>) {
        if let Some(name) = LAYERS.get(self.report.checks.len()) {
            self.report.add(name, outcome, detail);
        }
    }
}

/// Returns the ways in which a first message makes sense, the likeliest first.
pub(crate) fn readings_of(
    first: &First,
    text: &KeyText,
) -> impl Iterator<Item = (KeyForm, Padding, Key, Challenge)> {
    let forms = text.forms().into_iter();
    forms
        .filter_map(|form| Some((form, Key::of(text, form).ok()?)))
        .flat_map(move |(form, key)| {
            // PKCS#7 first: what it takes is not what zero padding leaves.
            Padding::ALL.iter().filter_map(move |padding| {
                let challenge = first.challenge(&key, *padding).ok()?;
                Some((form, *padding, key.clone(), challenge))
            })
        })
}
