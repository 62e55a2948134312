//! First contact with real hardware: which of the open choices (section 10) does this gateway take?
//!
//! Input are [`Options`], whose variants are only where it begins; output is an [`Exploration`]. No
//! connection is spent on what can be found out by thinking: the first message tells the wire encoding,
//! and by what makes sense of it the key form and the padding. Proofs are tried, one per connection,
//! with a pause in between; paths only where the upgrade is refused.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use hearthgate_client::{Endpoint, Stream, Trust, speaks_tls, tls_hint};
use hearthgate_protocol::crypto::{Fingerprint, Nonce, ProofBytes, prove};
use hearthgate_protocol::limits::BEACON_INTERVAL;
use hearthgate_protocol::variants::{Dialect, KeyForm, Padding, Proof, ProofOver, Variants, Wire};
use hearthgate_protocol::websocket::UpgradeError;
use serde::{Serialize, Serializer};
use tokio::time::{Instant, sleep};

use crate::doctor::{PLAIN_REFUSED, plural, read_devices, readings_of};
use crate::key::Key;
use crate::line::{Line, NoUpgrade};
use crate::options::{Options, Target};
use crate::reach;
use crate::report::bounded;
use crate::session::{self, First, NoSession, Session, Terms, first_message, handshake_field};
use crate::transcript::Transcript;

/// The most connections that are made.
const CONNECTIONS_MAX: usize = 40;
/// The time for all of it.
const TIME_MAX: Duration = Duration::from_secs(55);
/// The longest that one connection is waited for, whatever the options say.
const ATTEMPT_MAX: Duration = Duration::from_secs(10);
/// The times that a gateway which has too much to do is tried again.
const RETRIES: usize = 2;

/// Paths where servers have their WebSocket, for gateways that refuse `/`.
const PATHS: [&str; 22] = [
    "/",
    "/ws",
    "/websocket",
    "/socket",
    "/wss",
    "/api",
    "/api/ws",
    "/api/websocket",
    "/api/v1",
    "/api/v1/ws",
    "/api/v1/websocket",
    "/api/v1.0/ws",
    "/v1",
    "/v1/ws",
    "/v1.0/ws",
    "/gateway",
    "/gateway/ws",
    "/local",
    "/lan",
    "/tuya",
    "/control",
    "/open",
];

/// How to explore, beside [`Options`].
#[derive(Clone, Debug)]
pub struct ExploreOptions {
    /// The pause between two connections, 300 ms by default, so that no gateway feels attacked.
    pub pause: Duration,
}

impl Default for ExploreOptions {
    fn default() -> Self {
        Self {
            pause: Duration::from_millis(300),
        }
    }
}

/// The options that a gateway accepts, by the names that flags and `gateways.toml` have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Accepted {
    /// How the text of the key becomes 16 bytes.
    #[serde(serialize_with = "name")]
    pub key_form: KeyForm,
    /// What fills the last block.
    #[serde(serialize_with = "name")]
    pub padding: Padding,
    /// How a side proves that it knows the key.
    #[serde(serialize_with = "name")]
    pub proof: Proof,
    /// What the proof is computed over.
    #[serde(serialize_with = "name")]
    pub proof_over: ProofOver,
    /// The wire encoding.
    #[serde(serialize_with = "name")]
    pub wire: Wire,
    /// The request path.
    pub path: String,
    /// The dialect, where it is not the default; the other options have no effect in the older one.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "some_name")]
    pub dialect: Option<Dialect>,
    /// The certificate's fingerprint, where it is pinned.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "some_name")]
    pub fingerprint: Option<Fingerprint>,
}

impl Accepted {
    /// Returns the lines for the gateway's entry in `gateways.toml`.
    pub fn to_toml(&self) -> String {
        let path = self.path.replace('\\', "\\\\").replace('"', "\\\"");
        let mut more = String::new();
        if let Some(dialect) = self.dialect {
            more.push_str(&format!("\ndialect = \"{dialect}\""));
        }
        if let Some(fingerprint) = self.fingerprint {
            more.push_str(&format!("\nfingerprint = \"{fingerprint}\""));
        }
        format!(
            "key_form = \"{}\"\npadding = \"{}\"\nproof = \"{}\"\nproof_over = \"{}\"\nwire = \"{}\"\n\
             path = \"{path}\"{more}",
            self.key_form, self.padding, self.proof, self.proof_over, self.wire
        )
    }
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Exploration {
    /// The options with which a whole session succeeded, devices read, if any did.
    pub found: Option<Accepted>,
    /// How many connections were made.
    pub tried: usize,
    /// What was seen and tried, for people, a line each.
    pub story: Vec<String>,
    /// What went over the connections.
    pub transcript: Transcript,
}

impl Exploration {
    /// Returns `{"found":..,"options":{..},"tried":..}`; no options where none was found.
    pub fn to_json(&self) -> String {
        let options = match &self.found {
            Some(accepted) => serde_json::to_string(accepted).unwrap_or_default(),
            None => "{}".to_owned(),
        };
        format!(
            r#"{{"found":{},"options":{options},"tried":{}}}"#,
            self.found.is_some(),
            self.tried
        )
    }
}

/// Finds out which options a gateway takes, in at most 40 connections and under 60 s.
pub async fn explore(options: &Options, how: &ExploreOptions) -> Exploration {
    let mut explorer = Explorer {
        options,
        pause: how.pause,
        end: Instant::now() + TIME_MAX,
        tried: 0,
        story: Vec::new(),
        log: Transcript::new(),
    };
    let found = explorer.run().await;
    Exploration {
        found,
        tried: explorer.tried,
        story: explorer.story,
        transcript: explorer.log,
    }
}

/// Returns the proofs by which a gateway's `auth_ok` is right.
pub(crate) fn proven_with(key: &Key, auth_ok: &[u8], nonce: [u8; 16]) -> Vec<Variants> {
    let proof = handshake_field(auth_ok, "hmac").and_then(|text| ProofBytes::from_base64(&text));
    let Some(proof) = proof else {
        return Vec::new();
    };
    let right =
        |variants: &Variants| proof.matches(&prove(&key.device, &Nonce::new(nonce), *variants));
    all_proofs(Padding::default()).filter(right).collect()
}

fn all_proofs(padding: Padding) -> impl Iterator<Item = Variants> {
    Proof::ALL.iter().flat_map(move |proof| {
        ProofOver::ALL.iter().map(move |proof_over| Variants {
            padding,
            proof: *proof,
            proof_over: *proof_over,
        })
    })
}

/// A way to answer the challenge that may be the gateway's.
#[derive(Clone)]
struct Candidate {
    form: KeyForm,
    key: Key,
    variants: Variants,
}

/// What came of a candidate.
enum Verdict {
    Accepted,
    Refused(String),
    /// The gateway took our proof and proves itself in another way.
    ProvesBy(Vec<Variants>),
    /// Nothing was found out: it has too much to do.
    Busy(String),
    /// More of the same is of no use.
    Hopeless(String),
}

struct Explorer<'a> {
    options: &'a Options,
    pause: Duration,
    end: Instant,
    tried: usize,
    story: Vec<String>,
    log: Transcript,
}

impl Explorer<'_> {
    async fn run(&mut self) -> Option<Accepted> {
        let endpoint = self.endpoint().await?;
        let addresses = match reach::resolve(&endpoint, self.deadline()).await {
            Ok(addresses) => addresses,
            Err(error) => return self.tell(format!("no address for {}: {error}", endpoint.host())),
        };
        if self.options.dialect == Dialect::Older {
            return self.older(endpoint, &addresses).await;
        }
        let (endpoint, line, first, peer) = self.find_path(endpoint, &addresses).await?;
        let wire = first.wire();
        let size = first.payload.len();
        self.say(&format!(
            "wire = {wire}, by its first message ({size} bytes)"
        ));
        let pinned = self.options.wire == Some(Wire::Plain);
        if wire == Wire::Plain && !pinned && !peer.ip().to_canonical().is_loopback() {
            return self.tell(PLAIN_REFUSED);
        }
        let mut candidates = self.candidates(&first)?;
        let mut fresh = Some((line, first));
        let mut retries = RETRIES;
        while let Some(candidate) = candidates.pop_front() {
            let (line, first) = match fresh.take() {
                Some(fresh) => fresh,
                None => self.connect_again(&endpoint, &addresses).await?,
            };
            let named = described(&candidate, wire);
            match self.attempt(line, &first, &candidate).await {
                Verdict::Accepted => {
                    self.say(&format!("{named}: accepted"));
                    let Candidate { form, variants, .. } = candidate;
                    return Some(self.accepted(form, variants, wire, &endpoint));
                }
                Verdict::Refused(why) => self.say(&format!("{named}: {why}")),
                Verdict::ProvesBy(proofs) => {
                    self.say(&format!("{named}: taken, but it proves itself differently"));
                    prefer(&mut candidates, &proofs);
                }
                Verdict::Busy(why) if retries > 0 => {
                    self.say(&format!("{named}: {why}, trying again"));
                    retries -= 1;
                    candidates.push_front(candidate);
                }
                Verdict::Busy(why) | Verdict::Hopeless(why) => {
                    return self.tell(format!("{named}: {why}"));
                }
            }
        }
        self.tell(
            "the key fits the first message, and no proof that is known here is accepted: please report \
             this with --bundle",
        )
    }

    /// The older dialect leaves nothing open but the path: one whole session, or none.
    async fn older(&mut self, endpoint: Endpoint, addresses: &[SocketAddr]) -> Option<Accepted> {
        let deadline = self.deadline();
        let token = match reach::token(&endpoint, self.options, deadline).await {
            Ok(token) => token,
            Err(problem) => return self.tell(problem),
        };
        self.say("dialect = 2023: it gave an access token");
        let (stream, _) = self.dial(&endpoint, addresses).await?;
        match Line::upgrade(stream, &endpoint, token.as_ref(), deadline, &self.log).await {
            Ok(line) => match self.whole_session(session::without_handshake(line)).await {
                Verdict::Accepted => {
                    self.say("a whole session succeeded");
                    let (form, variants) = (self.options.key_form, self.options.variants);
                    Some(self.accepted(form, variants, Wire::Plain, &endpoint))
                }
                Verdict::Hopeless(why) => self.tell(why),
                _ => None,
            },
            Err(NoUpgrade::Answer(error)) => self.tell(format!("no WebSocket: {error}")),
            Err(_) => self.tell("it does not answer the WebSocket upgrade"),
        }
    }

    fn accepted(
        &self,
        form: KeyForm,
        variants: Variants,
        wire: Wire,
        endpoint: &Endpoint,
    ) -> Accepted {
        let dialect = self.options.dialect;
        Accepted {
            key_form: form,
            padding: variants.padding,
            proof: variants.proof,
            proof_over: variants.proof_over,
            wire,
            path: endpoint.path().to_owned(),
            dialect: (dialect != Dialect::default()).then_some(dialect),
            fingerprint: match self.options.trust {
                Trust::Pinned(fingerprint) if endpoint.is_secure() => Some(fingerprint),
                _ => None,
            },
        }
    }

    async fn endpoint(&mut self) -> Option<Endpoint> {
        let (uuid, listen, path, secure) = match &self.options.target {
            Target::Address(endpoint) => return Some(endpoint.clone()),
            Target::Uuid {
                uuid,
                listen,
                path,
                secure,
            } => (uuid, listen, path, *secure),
        };
        let deadline =
            (Instant::now() + 2 * BEACON_INTERVAL + Duration::from_secs(1)).min(self.end);
        let address = match reach::advertised(uuid, listen, deadline).await {
            Ok(sighting) => sighting.address,
            Err(_) => {
                return self.tell(format!(
                    "no advertisement of {uuid}: give its address with --gateway"
                ));
            }
        };
        self.say(&format!("advertised at {address}"));
        let endpoint = Endpoint::new(&address.ip().to_string(), address.port()).ok()?;
        let endpoint = endpoint.with_tls(secure);
        match path {
            Some(path) => endpoint.with_path(path).ok(),
            None => Some(endpoint),
        }
    }

    /// Finds a path at which the gateway speaks.
    async fn find_path(
        &mut self,
        endpoint: Endpoint,
        addresses: &[SocketAddr],
    ) -> Option<(Endpoint, Line, First, SocketAddr)> {
        let given = endpoint.path().to_owned();
        let others = PATHS.into_iter().filter(|path| *path != given);
        for path in [&*given].into_iter().chain(others) {
            let at_path = endpoint.clone().with_path(path).ok()?;
            let (stream, peer) = self.dial(&at_path, addresses).await?;
            let deadline = self.deadline();
            let mut line = match Line::upgrade(stream, &at_path, None, deadline, &self.log).await {
                Ok(line) => line,
                Err(NoUpgrade::Answer(UpgradeError::Refused { status }))
                    if (400..500).contains(&status) =>
                {
                    self.say(&format!("path = {path}: refused with HTTP {status}"));
                    continue;
                }
                Err(fault) => {
                    return self.tell(match fault {
                        NoUpgrade::Silent => "the port is open and silent".to_owned(),
                        NoUpgrade::HungUp => {
                            "it hung up on the upgrade; another service?".to_owned()
                        }
                        NoUpgrade::Answer(UpgradeError::Tls) => {
                            let seen = speaks_tls(peer, at_path.host()).await.flatten();
                            format!("it speaks TLS: {}", tls_hint(seen))
                        }
                        NoUpgrade::Answer(error) => format!("no WebSocket: {error}"),
                    });
                }
            };
            match first_message(&mut line, deadline).await {
                Ok(first) => {
                    self.say(&format!("path = {path}: it speaks"));
                    return Some((at_path, line, first, peer));
                }
                Err(fault) => self.say(&format!("path = {path}: a WebSocket, but {fault}")),
            }
        }
        self.tell("no path that is known here: if you know the gateway's, give it with --path")
    }

    /// Lists the ways to answer that are left once the first message is understood.
    fn candidates(&mut self, first: &First) -> Option<VecDeque<Candidate>> {
        let mut candidates = VecDeque::new();
        let wire = first.wire();
        let mut understood = Vec::new();
        for (form, padding, key, _) in readings_of(first, &self.options.key) {
            // Unencrypted, the padding has no effect, and any key makes sense of it.
            if wire == Wire::Plain && padding != Padding::default() {
                continue;
            }
            understood.push(format!("key_form = {form}, padding = {padding}"));
            for variants in all_proofs(padding) {
                let keyless = variants.proof == Proof::Sha256 && wire == Wire::Plain;
                if !keyless || form != KeyForm::Md5 {
                    let key = key.clone();
                    candidates.push_back(Candidate {
                        form,
                        key,
                        variants,
                    });
                }
            }
        }
        match understood.as_slice() {
            [] => self.tell(
                "no key form and no padding makes sense of the first message: most likely this is \
                 another gateway's key; compare it with the vendor's app",
            ),
            _ if wire == Wire::Plain => Some(candidates),
            understood => {
                self.say(&format!("{}, by what decrypts", understood.join("; or ")));
                Some(candidates)
            }
        }
    }

    async fn connect_again(
        &mut self,
        endpoint: &Endpoint,
        addresses: &[SocketAddr],
    ) -> Option<(Line, First)> {
        let (stream, _) = self.dial(endpoint, addresses).await?;
        let deadline = self.deadline();
        let line = Line::upgrade(stream, endpoint, None, deadline, &self.log).await;
        let Ok(mut line) = line else {
            return self.tell("it takes no more connections: wait some minutes, then try again");
        };
        match first_message(&mut line, deadline).await {
            Ok(first) => Some((line, first)),
            Err(fault) => self.tell(format!("it spoke before and does not now: {fault}")),
        }
    }

    async fn attempt(&self, line: Line, first: &First, candidate: &Candidate) -> Verdict {
        let deadline = self.deadline();
        let challenge = match first.challenge(&candidate.key, candidate.variants.padding) {
            Ok(challenge) => challenge,
            Err(fault) => return Verdict::Refused(fault.to_string()),
        };
        let terms = Terms {
            key: candidate.key.clone(),
            wire: first.wire(),
            variants: candidate.variants,
        };
        match session::prove(line, &challenge, &terms, deadline).await {
            Ok(session) => self.whole_session(session).await,
            Err(NoSession::WrongProof { json, nonce, fault }) => {
                match proven_with(&candidate.key, &json, nonce) {
                    proofs if proofs.is_empty() => Verdict::Refused(fault.to_string()),
                    proofs => Verdict::ProvesBy(proofs),
                }
            }
            Err(NoSession::Refused(fault)) => match fault.close_code() {
                Some(1001 | 1011 | 1013) => Verdict::Busy(fault.to_string()),
                _ => Verdict::Refused(format!("refused ({fault})")),
            },
            Err(NoSession::Fault(fault)) => Verdict::Refused(fault.to_string()),
        }
    }

    async fn whole_session(&self, mut session: Session) -> Verdict {
        let devices = read_devices(&mut session, self.deadline()).await;
        session.line.close().await;
        match devices {
            Ok(devices) => {
                self.log.note(&plural(devices.len(), "device"));
                Verdict::Accepted
            }
            Err(unread) => Verdict::Hopeless(format!(
                "the handshake succeeds, the devices cannot be read: {}",
                unread.text("get_devices")
            )),
        }
    }

    /// Connects, within the bounds; pauses before all but the first time.
    async fn dial(
        &mut self,
        endpoint: &Endpoint,
        addresses: &[SocketAddr],
    ) -> Option<(Stream, SocketAddr)> {
        if self.tried > 0 {
            sleep(self.pause).await;
        }
        if self.tried >= CONNECTIONS_MAX || Instant::now() >= self.end {
            return self.tell(format!("gave up after {} connections", self.tried));
        }
        self.tried += 1;
        match reach::connect(addresses, self.deadline()).await {
            Ok((stream, peer, _)) => {
                let (trust, deadline) = (&self.options.trust, self.deadline());
                match reach::secure(stream, endpoint, trust, deadline).await {
                    Ok(stream) => Some((stream, peer)),
                    Err(problem) => self.tell(problem),
                }
            }
            Err(attempts) => {
                let last = attempts
                    .last()
                    .map(|(address, error)| format!("{address}: {error}"));
                self.tell(format!(
                    "cannot connect ({}): `hearthgate doctor` without --explore says more",
                    last.unwrap_or_default()
                ))
            }
        }
    }

    fn deadline(&self) -> Instant {
        (Instant::now() + self.options.timeout.min(ATTEMPT_MAX)).min(self.end)
    }

    fn say(&mut self, text: &str) {
        let text = bounded(text);
        self.log.note(&text);
        self.story.push(text);
    }

    /// Says why it ends here.
    fn tell<T>(&mut self, text: impl Into<String>) -> Option<T> {
        self.say(&text.into());
        None
    }
}

/// Moves the candidates with these proofs to the front.
fn prefer(candidates: &mut VecDeque<Candidate>, proofs: &[Variants]) {
    let is_preferred = |candidate: &Candidate| {
        proofs.iter().any(|variants| {
            variants.proof == candidate.variants.proof
                && variants.proof_over == candidate.variants.proof_over
        })
    };
    candidates
        .make_contiguous()
        .sort_by_key(|candidate| !is_preferred(candidate));
}

fn described(candidate: &Candidate, wire: Wire) -> String {
    let Variants {
        proof, proof_over, ..
    } = candidate.variants;
    match wire {
        Wire::Plain => format!(
            "key_form = {}, proof = {proof}, proof_over = {proof_over}",
            candidate.form
        ),
        _ => format!("proof = {proof}, proof_over = {proof_over}"),
    }
}

fn name<T: std::fmt::Display, S: Serializer>(choice: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(choice)
}

fn some_name<T: std::fmt::Display, S: Serializer>(
    choice: &Option<T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match choice {
        Some(choice) => serializer.collect_str(choice),
        None => serializer.serialize_none(),
    }
}
