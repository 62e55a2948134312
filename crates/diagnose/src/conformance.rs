//! Tries the rules of the protocol one by one against a gateway that works (sections 3 to 6).
//!
//! Input is what `doctor` reached; output are further checks in its report, named for the rule. All of
//! it reads, unless a device for writes is named, and then it writes only values that the device
//! already has. This file knows JSON names: requests that break a rule cannot come from `wire`.

mod answers;
mod handshake;
mod writes;

use std::time::Duration;

use hearthgate_client::Stream;
use hearthgate_protocol::model::{Code, DeviceId};
use hearthgate_protocol::wire::RemoteError;
use tokio::time::Instant;

use crate::doctor::{DeviceFacts, Reached};
use crate::line::{Fault, Line};
use crate::options::{Deadlines, Options};
use crate::reach;
use crate::report::{Outcome, Report};
use crate::session::{self, Challenge, NoChallenge, NoSession, Session, first_message};

/// The rules in the order in which they are tried.
const RULES: [&str; 27] = [
    "nonce_fresh",
    "upgrade_required",
    "ping_in_handshake",
    "wrong_key_refused",
    "reflected_nonce_refused",
    "early_request",
    "ids_repeat",
    "order_kept",
    "doubled_device",
    "empty_array",
    "data_ignored",
    "unknown_fields_ignored",
    "unknown_type",
    "unknown_device",
    "invalid_request_no_data",
    "invalid_request_shape",
    "id_not_integer",
    "no_json_object",
    "trailing_comma",
    "event_ignored",
    "pipelined",
    "fragments",
    "text_where_binary",
    "undecryptable_closed",
    "event_ids_count",
    "write_same_value",
    "write_event",
];

/// Those among them that the older dialect does not have.
const HANDSHAKE_RULES: [&str; 7] = [
    "nonce_fresh",
    "ping_in_handshake",
    "wrong_key_refused",
    "reflected_nonce_refused",
    "early_request",
    "text_where_binary",
    "undecryptable_closed",
];

/// The time for all rules, whatever each takes.
const BUDGET: Duration = Duration::from_secs(60);
/// The devices that are asked for together.
const SOME: usize = 5;

/// What came of a rule.
pub(crate) enum Verdict {
    Pass(String),
    Warn(String),
    Fail(String),
    Skip(String),
}

/// Why a rule could not be tried.
pub(crate) enum Trouble {
    Fault(Fault),
    Connect(String),
}

impl From<Fault> for Trouble {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

type Tried = Result<Verdict, Trouble>;

/// Tries all rules and adds them to the report.
pub(crate) async fn examine(
    options: &Options,
    reached: Option<&Reached>,
    devices: &[DeviceFacts],
    report: &mut Report,
) {
    let Some(reached) = reached else {
        for name in RULES {
            report.add(name, Outcome::Skip, "not tried, since a layer failed");
        }
        return;
    };
    let mut bench = Bench {
        options,
        reached,
        devices,
        end: Instant::now() + BUDGET.max(options.timeout * 12),
        session: None,
        written: None,
    };
    for name in RULES {
        let tried = if Instant::now() >= bench.end {
            Ok(Verdict::Skip("there was no time left".to_owned()))
        } else {
            bench.try_rule(name).await
        };
        let (outcome, detail) = match tried {
            Ok(Verdict::Pass(detail)) => (Outcome::Pass, detail),
            Ok(Verdict::Warn(detail)) => (Outcome::Warn, detail),
            Ok(Verdict::Fail(detail)) => (Outcome::Fail, detail),
            Ok(Verdict::Skip(detail)) => (Outcome::Skip, detail),
            Err(trouble) => {
                // What is left of the connection is of no use to the next rule.
                bench.session = None;
                let what = match trouble {
                    Trouble::Fault(fault) => fault.to_string(),
                    Trouble::Connect(problem) => format!("cannot connect again: {problem}"),
                };
                (Outcome::Fail, what)
            }
        };
        report.add(name, outcome, detail);
    }
    if let Some(session) = bench.session.take() {
        session.line.close().await;
    }
}

/// Where rules are tried: a session that they share as long as it lasts, and the way to new ones.
pub(crate) struct Bench<'a> {
    options: &'a Options,
    reached: &'a Reached,
    devices: &'a [DeviceFacts],
    end: Instant,
    session: Option<Session>,
    /// What was written, whose event is still to come.
    written: Option<(DeviceId, Code)>,
}

impl Bench<'_> {
    async fn try_rule(&mut self, name: &str) -> Tried {
        if self.reached.token.is_some() && HANDSHAKE_RULES.contains(&name) {
            let why = "the dialect 2023 has no such handshake or encryption";
            return Ok(Verdict::Skip(why.to_owned()));
        }
        match name {
            "nonce_fresh" => self.nonce_fresh().await,
            "upgrade_required" => self.upgrade_required().await,
            "ping_in_handshake" => self.ping_in_handshake().await,
            "wrong_key_refused" => self.wrong_key_refused().await,
            "reflected_nonce_refused" => self.reflected_nonce_refused().await,
            "early_request" => self.early_request().await,
            "ids_repeat" => self.ids_repeat().await,
            "order_kept" => self.order_kept().await,
            "doubled_device" => self.doubled_device().await,
            "empty_array" => self.empty_array().await,
            "data_ignored" => self.data_ignored().await,
            "unknown_fields_ignored" => self.unknown_fields_ignored().await,
            "unknown_type" => self.unknown_type().await,
            "unknown_device" => self.unknown_device().await,
            "invalid_request_no_data" => self.invalid_request_no_data().await,
            "invalid_request_shape" => self.invalid_request_shape().await,
            "id_not_integer" => self.id_not_integer().await,
            "no_json_object" => self.no_json_object().await,
            "trailing_comma" => self.trailing_comma().await,
            "event_ignored" => self.event_ignored().await,
            "pipelined" => self.pipelined().await,
            "fragments" => self.fragments().await,
            "text_where_binary" => self.text_where_binary().await,
            "undecryptable_closed" => self.undecryptable_closed().await,
            "event_ids_count" => self.event_ids_count().await,
            "write_same_value" => self.write_same_value().await,
            "write_event" => self.write_event().await,
            _ => Ok(Verdict::Skip("there is no such rule".to_owned())),
        }
    }

    /// Returns until when something that begins now may take.
    fn deadline(&self) -> Instant {
        Deadlines::start(self.options.timeout).layer().min(self.end)
    }

    /// Returns the shared session, a new one where there is none.
    async fn session(&mut self) -> Result<&mut Session, Trouble> {
        let session = match self.session.take() {
            Some(session) => session,
            None => self.new_session().await?,
        };
        Ok(self.session.insert(session))
    }

    async fn new_session(&self) -> Result<Session, Trouble> {
        if self.reached.token.is_some() {
            return Ok(session::without_handshake(self.upgraded().await?));
        }
        let (line, challenge) = self.challenged().await?;
        session::prove(line, &challenge, &self.reached.terms, self.deadline())
            .await
            .map_err(|fault| match fault {
                NoSession::Refused(fault) | NoSession::Fault(fault) => Trouble::Fault(fault),
                NoSession::WrongProof { fault, .. } => Trouble::Connect(fault.to_string()),
            })
    }

    /// Connects up to the gateway's first message.
    async fn challenged(&self) -> Result<(Line, Challenge), Trouble> {
        let mut line = self.upgraded().await?;
        let first = first_message(&mut line, self.deadline()).await?;
        let terms = &self.reached.terms;
        match first.challenge(&terms.key, terms.variants.padding) {
            Ok(challenge) => Ok((line, challenge)),
            Err(NoChallenge::Fault(fault)) => Err(fault.into()),
            Err(fault) => Err(Trouble::Connect(fault.to_string())),
        }
    }

    async fn upgraded(&self) -> Result<Line, Trouble> {
        let stream = self.dialled().await?;
        let (endpoint, token) = (&self.reached.endpoint, self.reached.token.as_ref());
        Line::upgrade(stream, endpoint, token, self.deadline(), &self.reached.log)
            .await
            .map_err(|_| Trouble::Connect("no WebSocket".to_owned()))
    }

    async fn dialled(&self) -> Result<Stream, Trouble> {
        let deadline = self.deadline();
        let (stream, ..) = reach::connect(&[self.reached.address], deadline)
            .await
            .map_err(|attempts| {
                let error = attempts.first().map(|(_, error)| error.to_string());
                Trouble::Connect(error.unwrap_or_default())
            })?;
        let (endpoint, trust) = (&self.reached.endpoint, &self.options.trust);
        let secured = reach::secure(stream, endpoint, trust, deadline).await;
        secured.map_err(Trouble::Connect)
    }

    /// Returns the first few devices.
    fn some(&self) -> Vec<DeviceId> {
        let devices = self.devices.iter().take(SOME);
        devices.map(|facts| facts.device.clone()).collect()
    }
}

/// Says in short how a request ended.
pub(crate) fn shown(outcome: &Result<String, RemoteError>) -> String {
    match outcome {
        Ok(_) => "success".to_owned(),
        Err(error) => format!("{} ({})", error.code, error.message),
    }
}
