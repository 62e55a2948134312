//! What can go wrong for the user of a client, grouped by whose fault it is.
//!
//! Made from what `transport` and the protocol's connection report; read by people, and by programs
//! through [`ClientError::fault`]. No text here holds a key, a nonce or a proof.

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hearthgate_protocol::crypto::Fingerprint;
use hearthgate_protocol::error::{Ended, FrameFault, HandshakeFailure, Refuser};
use hearthgate_protocol::handshake::HandshakeFault;
use hearthgate_protocol::limits::TOKEN_PORT;
use hearthgate_protocol::token::TokenFault;
use hearthgate_protocol::websocket::{UpgradeError, close};
use hearthgate_protocol::wire::RemoteError;

use crate::tls::TlsFault;

/// Whose fault an error is. One place of a program maps it to exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The gateway understood the request and refused it.
    Refused,
    /// There is no connection, or no answer in time.
    Connection,
    /// One of the two sides refused the other's key.
    Authentication,
    /// What answers there breaks the protocol, or speaks another one.
    Protocol,
}

/// Why something did not work with one gateway. The message says what, with which gateway, the likely
/// cause and what to check next; it is complete by itself, there is no `source` to print.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ClientError {
    /// The gateway's name has no address.
    #[error(
        "cannot find an address for the gateway {gateway}: {cause}; check the name, or give the \
         gateway's IP address"
    )]
    Resolve {
        /// The gateway.
        gateway: Arc<str>,
        /// What the resolver says.
        cause: Arc<io::Error>,
    },
    /// None of the gateway's addresses takes a connection.
    #[error(
        "cannot reach the gateway {gateway}: {}; {}",
        tried(attempts),
        reach_hint(attempts)
    )]
    Unreachable {
        /// The gateway.
        gateway: Arc<str>,
        /// Each address that was tried, and what came of it.
        attempts: Vec<(SocketAddr, Arc<io::Error>)>,
    },
    /// The operating system gives no random bytes, without which there is no safe handshake.
    #[error("cannot connect to {gateway}: the operating system gives no random bytes ({cause})")]
    NoRandomness {
        /// The gateway.
        gateway: Arc<str>,
        /// What the operating system says.
        cause: String,
    },
    /// Something did not come in time.
    #[error(
        "no answer from the gateway {gateway} to {what} within {}; {}",
        seconds(*after),
        timeout_hint(what)
    )]
    Timeout {
        /// The gateway.
        gateway: Arc<str>,
        /// What was waited for.
        what: &'static str,
        /// How long.
        after: Duration,
    },
    /// What answers is no gateway of this protocol: there was no WebSocket.
    #[error(
        "what answers at {gateway} is no gateway: {problem}; {}",
        no_gateway_hint(problem)
    )]
    NoGateway {
        /// The gateway.
        gateway: Arc<str>,
        /// What it did instead.
        problem: NoUpgrade,
    },
    /// The gateway speaks TLS, and was addressed without it.
    #[error("the gateway {gateway} speaks TLS: {}", tls_hint(*seen))]
    SpeaksTls {
        /// The gateway.
        gateway: Arc<str>,
        /// The fingerprint of its certificate, if that showed.
        seen: Option<Fingerprint>,
    },
    /// There is no TLS with the gateway, or its certificate is not trusted.
    #[error("no TLS connection to the gateway {gateway}: {fault}")]
    Tls {
        /// The gateway.
        gateway: Arc<str>,
        /// What is wrong.
        fault: TlsFault,
    },
    /// The token endpoint of the older dialect gave no token (section 8).
    #[error("no access token for the gateway {gateway} from {at}: {trouble}")]
    Token {
        /// The gateway.
        gateway: Arc<str>,
        /// Where it was asked.
        at: String,
        /// What is wrong.
        trouble: TokenTrouble,
    },
    /// An access token that was used before is refused now; a new one is fetched for the next attempt.
    #[error(
        "the gateway {gateway} does not take its access token any more, since it restarted or the token \
         expired; connect again with a new one"
    )]
    TokenExpired {
        /// The gateway.
        gateway: Arc<str>,
    },
    /// One of the two sides refused the other's key, or the first message does not decrypt.
    #[error("authentication with the gateway {gateway} failed: {}", authentication(*by, detail))]
    Authentication {
        /// The gateway.
        gateway: Arc<str>,
        /// Who refused whom.
        by: Refuser,
        /// What was found.
        detail: HandshakeFailure,
    },
    /// The gateway speaks unencrypted from an address that is not loopback (section 3).
    #[error(
        "the gateway {gateway} speaks unencrypted (wire encoding `plain`) and is not on this machine: \
         nothing was sent, since a forged gateway could ask for this; if you trust the network, pin \
         the wire encoding `plain`"
    )]
    PlainRefused {
        /// The gateway.
        gateway: Arc<str>,
    },
    /// The gateway refused a request.
    #[error("the gateway {gateway} refused: {error}{}", refusal_hint(error))]
    Refused {
        /// The gateway.
        gateway: Arc<str>,
        /// Its code and message.
        error: RemoteError,
    },
    /// The gateway answered a request with something of another shape.
    #[error(
        "the gateway {gateway} answered {request} with something else: {problem}; it may run another \
         version of the protocol, look at the raw answer"
    )]
    BadAnswer {
        /// The gateway.
        gateway: Arc<str>,
        /// The type of the request.
        request: &'static str,
        /// What is wrong, and where.
        problem: String,
    },
    /// The connection ended while it was needed.
    #[error("the connection to the gateway {gateway} ended: {ended}; {}", ended_hint(ended, *ready))]
    Ended {
        /// The gateway.
        gateway: Arc<str>,
        /// How.
        ended: Ended,
        /// Whether the handshake was done.
        ready: bool,
    },
    /// A kept client has no connection at the moment: nothing was sent.
    #[error(
        "nothing was sent to the gateway {gateway}: there is no connection at the moment, and it is \
         tried again for ever; the reason: {reason}"
    )]
    Down {
        /// The gateway.
        gateway: Arc<str>,
        /// Why there is none.
        reason: Arc<ClientError>,
    },
    /// A kept client that does not know where its gateway is.
    #[error(
        "nothing has been heard of the gateway {gateway} yet: check that it is on, that LAN control is \
         switched on in the vendor's app and that both are in one network, or give its address"
    )]
    NotFound {
        /// The gateway.
        gateway: Arc<str>,
    },
    /// A kept client made a new connection, since the key or another setting of its gateway changed.
    #[error(
        "the connection to the gateway {gateway} was ended, since its key, address or options were \
         changed here; connecting with the new ones"
    )]
    Superseded {
        /// The gateway.
        gateway: Arc<str>,
    },
    /// The client was closed by its user: nothing can be asked any more.
    #[error(
        "the connection to the gateway {gateway} was closed by this side; connect again to go on"
    )]
    Closed {
        /// The gateway.
        gateway: Arc<str>,
    },
}

/// What came instead of a WebSocket.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoUpgrade {
    /// The connection was closed without a byte.
    #[error("it closed the connection without an answer to the WebSocket upgrade")]
    Unanswered,
    /// The answer was no upgrade.
    #[error("{0}")]
    Upgrade(UpgradeError),
}

/// Why a token endpoint gave no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenTrouble {
    /// It cannot be reached.
    #[error(
        "{0}; the token endpoint of dialect 2023 is on port {TOKEN_PORT} unless another one is given with \
         --token-port"
    )]
    Unreachable(String),
    /// It said something else, or nothing.
    #[error("{0}; check the API key (OPENAPI_KEY), and the port with --token-port")]
    Answer(TokenFault),
}

impl ClientError {
    /// Tells whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Refused { .. } => Fault::Refused,
            Self::Authentication { .. } => Fault::Authentication,
            Self::NoGateway { .. }
            | Self::SpeaksTls { .. }
            | Self::PlainRefused { .. }
            | Self::BadAnswer { .. } => Fault::Protocol,
            Self::Tls { fault, .. } => match fault {
                TlsFault::Untrusted { .. }
                | TlsFault::WrongFingerprint { .. }
                | TlsFault::NotByCa { .. } => Fault::Authentication,
                TlsFault::HungUp => Fault::Connection,
                _ => Fault::Protocol,
            },
            Self::Token { trouble, .. } => match trouble {
                TokenTrouble::Answer(TokenFault::Refused(_)) => Fault::Authentication,
                TokenTrouble::Unreachable(_)
                | TokenTrouble::Answer(TokenFault::Status(_) | TokenFault::CutOff) => {
                    Fault::Connection
                }
                TokenTrouble::Answer(_) => Fault::Protocol,
            },
            Self::Ended { ended, .. } => match ended {
                Ended::Frame(_) | Ended::Framing(_) | Ended::Message(_) => Fault::Protocol,
                _ => Fault::Connection,
            },
            Self::Down { reason, .. } => reason.fault(),
            Self::TokenExpired { .. }
            | Self::Resolve { .. }
            | Self::Unreachable { .. }
            | Self::NoRandomness { .. }
            | Self::Timeout { .. }
            | Self::NotFound { .. }
            | Self::Superseded { .. }
            | Self::Closed { .. } => Fault::Connection,
        }
    }

    /// Tells whether the same can succeed later without anybody changing anything: what is lost,
    /// late or busy is retryable; a wrong key, another protocol or a wrong request is not.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Resolve { .. }
            | Self::Unreachable { .. }
            | Self::NoRandomness { .. }
            | Self::Timeout { .. }
            | Self::NotFound { .. }
            | Self::Superseded { .. }
            | Self::TokenExpired { .. }
            | Self::Ended { .. } => true,
            Self::Tls { .. } | Self::Token { .. } => self.fault() == Fault::Connection,
            Self::Down { reason, .. } => reason.is_retryable(),
            Self::NoGateway { problem, .. } => *problem == NoUpgrade::Unanswered,
            Self::Refused { error, .. } => matches!(
                error.code.as_str(),
                "timeout" | "busy" | "device_offline" | "internal"
            ),
            Self::SpeaksTls { .. }
            | Self::Authentication { .. }
            | Self::PlainRefused { .. }
            | Self::BadAnswer { .. }
            | Self::Closed { .. } => false,
        }
    }

    /// Makes the error of a request that finds no connection, for this reason.
    pub(crate) fn down(gateway: &Arc<str>, reason: &Self) -> Self {
        Self::Down {
            gateway: Arc::clone(gateway),
            reason: Arc::new(reason.clone()),
        }
    }

    /// Makes an error of how a connection ended. `answered`: whether any byte came; `ready`: whether
    /// the handshake was done; `patience`: the time it was given.
    pub(crate) fn from_ended(
        gateway: &Arc<str>,
        ended: Ended,
        answered: bool,
        ready: bool,
        patience: Duration,
    ) -> Self {
        let gateway = Arc::clone(gateway);
        match ended {
            Ended::Local(_) => Self::Closed { gateway },
            Ended::HandshakeTimeout => Self::Timeout {
                gateway,
                what: HANDSHAKE,
                after: patience,
            },
            Ended::Upgrade(UpgradeError::Tls) => Self::SpeaksTls {
                gateway,
                seen: None,
            },
            Ended::Upgrade(error) => Self::NoGateway {
                gateway,
                problem: NoUpgrade::Upgrade(error),
            },
            Ended::Lost if !answered => Self::NoGateway {
                gateway,
                problem: NoUpgrade::Unanswered,
            },
            Ended::Authentication { by, detail } => Self::Authentication {
                gateway,
                by,
                detail,
            },
            Ended::PlainRefused => Self::PlainRefused { gateway },
            ended => Self::Ended {
                gateway,
                ended,
                ready,
            },
        }
    }
}

/// What a connection waits for at first.
pub(crate) const HANDSHAKE: &str = "the handshake";
/// What a resolver is asked for.
pub(crate) const RESOLVING: &str = "the question for its address";

/// Says how to speak TLS with a gateway, for [`ClientError::SpeaksTls`] and for a diagnosis.
pub fn tls_hint(seen: Option<Fingerprint>) -> String {
    let pin = match seen {
        Some(seen) => format!(
            "--tls-fingerprint {seen}, once you have compared that with what the gateway prints at its \
             start"
        ),
        None => "--tls-fingerprint, which the first attempt names".to_owned(),
    };
    format!(
        "write wss:// instead of ws:// (`tls = true` in gateways.toml), with {pin}. A gateway of before \
         2024 also wants --dialect 2023 and its OPENAPI_KEY as the key; and check that the port is not \
         another service's"
    )
}

pub(crate) fn tried(attempts: &[(SocketAddr, Arc<io::Error>)]) -> String {
    let mut text = String::new();
    for (index, (address, error)) in attempts.iter().enumerate() {
        // Writing to a `String` cannot fail.
        let _ = write!(
            text,
            "{}{address}: {error}",
            if index > 0 { ", " } else { "" }
        );
    }
    text
}

fn no_gateway_hint(problem: &NoUpgrade) -> &'static str {
    match problem {
        NoUpgrade::Upgrade(UpgradeError::Refused { status: 401 }) => {
            "it wants an access token: a gateway of before 2024 takes --dialect 2023 and its OPENAPI_KEY \
             as the key"
        }
        _ => "check host, port and path",
    }
}

fn reach_hint(attempts: &[(SocketAddr, Arc<io::Error>)]) -> &'static str {
    match attempts.last().map(|(_, error)| error.kind()) {
        Some(io::ErrorKind::ConnectionRefused) => {
            "nothing listens there: check that the gateway is on, that LAN control is switched on in \
             the vendor's app, and the port"
        }
        Some(io::ErrorKind::TimedOut) => {
            "nothing answers there: check the address, that both are in one network, and firewalls"
        }
        Some(io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable) => {
            "there is no way there: check the address and this machine's network"
        }
        _ => "check the address, the port and the network",
    }
}

fn timeout_hint(what: &str) -> &'static str {
    match what {
        HANDSHAKE => "check that the port is the gateway's and that it is not overloaded",
        RESOLVING => "check the name server, or give the gateway's IP address",
        _ => "the gateway or the device may be busy: try again, or allow more time",
    }
}

fn authentication(by: Refuser, detail: &HandshakeFailure) -> String {
    const KEY: &str =
        "check the device key (the vendor's app shows it where LAN control is switched on)";
    match (by, detail) {
        (_, HandshakeFailure::Claim(what)) => format!(
            "the gateway refused our {what}; check the API key (OPENAPI_KEY), and that it speaks the \
             dialect 2023"
        ),
        (_, HandshakeFailure::Closed) | (Refuser::Peer, _) => format!(
            "the gateway refused our proof; {KEY}, then the options key_form, proof and proof_over"
        ),
        (_, HandshakeFailure::Frame(FrameFault::WrongKind { .. } | FrameFault::Base64)) => format!(
            "we refused the gateway: {detail}; check the wire encoding (leave it out to detect it), \
             then the device key"
        ),
        (_, HandshakeFailure::Frame(FrameFault::Cipher(_))) => format!(
            "we refused the gateway: {detail}; the key is most likely another one: {KEY}, then the \
             options key_form and padding"
        ),
        (_, HandshakeFailure::Fault(HandshakeFault::WrongProof)) => format!(
            "we refused the gateway: {detail}; {KEY}, then the options key_form, proof and proof_over"
        ),
        (_, HandshakeFailure::Frame(FrameFault::TooLarge { .. })) => {
            format!("we refused the gateway: {detail}; check that the port is the gateway's")
        }
        (_, HandshakeFailure::Fault(_)) => {
            format!(
                "we refused the gateway: {detail}; {KEY}, then the options key_form and padding"
            )
        }
    }
}

fn refusal_hint(error: &RemoteError) -> &'static str {
    match error.code.as_str() {
        "unknown_device" => " (list the devices to see their ids)",
        "device_offline" => " (check the device's power and its way to the gateway)",
        "unsupported_code" | "invalid_value" => " (the device's schema says what it takes)",
        "timeout" | "busy" => " (try again in a moment)",
        "internal" => " (a fault of the gateway: see its log)",
        _ => "",
    }
}

fn ended_hint(ended: &Ended, ready: bool) -> &'static str {
    match ended {
        Ended::Peer { code, .. } => match *code {
            Some(close::GOING_AWAY) => "it shuts down or restarts: connect again in a moment",
            Some(close::TRY_AGAIN) => {
                "it has too many sessions, or this one read too slowly: connect again in a moment"
            }
            Some(close::TOO_LARGE) => "a message was too large for it: ask for less at once",
            Some(close::INTERNAL) => "a fault of the gateway: see its log",
            _ => "connect again; if it goes on, see the gateway's log",
        },
        Ended::Lost if !ready => {
            "it hung up in the midst of the handshake: check the device key, and that no other \
             service has this port"
        }
        Ended::Lost => "the gateway was switched off, or the network failed: connect again",
        Ended::Silent => {
            "the gateway was switched off or the network between fails: check both, connect again"
        }
        Ended::Frame(_) | Ended::Framing(_) | Ended::Message(_) => {
            "it breaks the protocol, or both ends differ in an option (wire, padding): check them"
        }
        _ => "connect again",
    }
}

/// Writes a time as people do: `10 s`, `1.5 s`, `200 ms`.
fn seconds(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        format!("{} ms", time.as_millis())
    } else {
        format!("{} s", (time.as_secs_f64() * 10.0).round() / 10.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(ended: Ended, answered: bool) -> ClientError {
        let gateway = Arc::from("ws://gateway:8433");
        ClientError::from_ended(&gateway, ended, answered, false, Duration::from_secs(10))
    }

    #[test]
    fn every_end_has_a_fault_and_names_the_gateway() {
        let wrong_key = Ended::Authentication {
            by: Refuser::Us,
            detail: HandshakeFailure::Fault(HandshakeFault::WrongProof),
        };
        for (ended, fault, retryable) in [
            (Ended::Local("done".into()), Fault::Connection, false),
            (Ended::Lost, Fault::Connection, true),
            (Ended::Silent, Fault::Connection, true),
            (Ended::HandshakeTimeout, Fault::Connection, true),
            (
                Ended::Upgrade(UpgradeError::Refused { status: 404 }),
                Fault::Protocol,
                false,
            ),
            (Ended::Upgrade(UpgradeError::Tls), Fault::Protocol, false),
            (wrong_key, Fault::Authentication, false),
            (Ended::PlainRefused, Fault::Protocol, false),
            (Ended::Message("x".into()), Fault::Protocol, true),
        ] {
            let error = from(ended, true);
            assert_eq!(error.fault(), fault, "{error}");
            assert_eq!(error.is_retryable(), retryable, "{error}");
            assert!(error.to_string().contains("ws://gateway:8433"), "{error}");
        }
    }

    #[test]
    fn a_hang_up_before_any_byte_is_no_gateway() {
        assert!(matches!(
            from(Ended::Lost, false),
            ClientError::NoGateway {
                problem: NoUpgrade::Unanswered,
                ..
            }
        ));
        assert!(matches!(from(Ended::Lost, true), ClientError::Ended { .. }));
    }

    #[test]
    fn a_failed_authentication_says_who_refused_whom_and_what_to_check() {
        let text = |by, detail| from(Ended::Authentication { by, detail }, true).to_string();
        let peer = text(Refuser::Peer, HandshakeFailure::Closed);
        assert!(peer.contains("the gateway refused our proof") && peer.contains("key_form"));
        let us = text(
            Refuser::Us,
            HandshakeFailure::Fault(HandshakeFault::WrongProof),
        );
        assert!(us.contains("we refused the gateway") && us.contains("vendor's app"));
        let wire = text(
            Refuser::Us,
            HandshakeFailure::Frame(FrameFault::WrongKind {
                got: "text",
                wire: hearthgate_protocol::variants::Wire::Binary,
            }),
        );
        assert!(wire.contains("check the wire encoding"), "{wire}");
    }

    #[test]
    fn times_read_like_times() {
        assert_eq!(seconds(Duration::from_secs(10)), "10 s");
        assert_eq!(seconds(Duration::from_millis(1500)), "1.5 s");
        assert_eq!(seconds(Duration::from_millis(200)), "200 ms");
    }
}
