//! What people read: what was seen, the likely cause, the next step. Pure.
//!
//! Input are the faults of each layer; output are the details of the report. No text here holds a key,
//! a nonce or a proof.

use std::io;
use std::time::Duration;

use hearthgate_client::DiscoveryOptions;
use hearthgate_protocol::crypto::CipherError;
use hearthgate_protocol::error::FrameFault;
use hearthgate_protocol::handshake::HandshakeFault;
use hearthgate_protocol::variants::{KeyForm, Padding, Variants, Wire};
use hearthgate_protocol::websocket::{UpgradeError, close};

use crate::line::{Fault, NoUpgrade};
use crate::reach::{Attempt, Unheard};
use crate::session::{First, NoChallenge, NoSession};

/// The most names that a list shows.
const LISTED: usize = 8;

pub(crate) const PLAIN_REFUSED: &str = "the gateway speaks unencrypted (wire encoding plain) and is not on this machine; nothing was \
     sent, since a forged gateway could ask for this. If you trust the network, pin it with --wire plain";

pub(super) const NO_PONG: &str = "no pong came: a half-open connection is then noticed by a request instead, which works as well";

const KEY: &str = "compare the device key with the vendor's app (LAN control shows it)";
const EXPLORE: &str = "`hearthgate doctor --explore` tries the other options";

/// Writes a time as people do.
pub(crate) fn time(time: Duration) -> String {
    match time.as_micros() {
        0..100 => "under 0.1 ms".to_owned(),
        micros @ 100..10_000 => {
            let (ms, tenth) = (micros / 1000, micros / 100 % 10);
            format!("{ms}.{tenth} ms")
        }
        micros @ 10_000..1_000_000 => format!("{} ms", micros / 1000),
        micros => {
            let (s, tenth) = (micros / 1_000_000, micros / 100_000 % 10);
            match tenth {
                0 => format!("{s} s"),
                _ => format!("{s}.{tenth} s"),
            }
        }
    }
}

pub(super) fn unheard(uuid: &str, listen: &DiscoveryOptions, unheard: &Unheard) -> String {
    match unheard {
        Unheard::CannotListen(problem) => format!(
            "cannot listen for advertisements: {problem}; give the address instead: --gateway ws://ADDRESS"
        ),
        Unheard::Silent { others } => {
            let ports: Vec<String> = listen.listen.iter().map(|a| a.port().to_string()).collect();
            let heard = match others.as_slice() {
                [] => "nor any other gateway's".to_owned(),
                others => format!("only those of {}", list(others)),
            };
            format!(
                "no advertisement of {uuid} on the UDP ports {}, {heard}. Check that the gateway is on and in \
                 the same network (advertisements do not cross routers and most VLANs), that LAN control \
                 is on in the vendor's app, and the firewall of this machine; or give the address: \
                 --gateway ws://ADDRESS",
                ports.join(", ")
            )
        }
    }
}

pub(super) fn unresolved(host: &str, error: &io::Error) -> String {
    format!(
        "no address for {host}: {error}. Check the name, or give the gateway's IP address, which the \
         router or the vendor's app shows"
    )
}

pub(super) fn no_way(attempts: &[Attempt]) -> String {
    format!(
        "{}; there is no way there: check the address and this machine's network; is the gateway in \
         another network or VLAN?",
        tried(attempts)
    )
}

pub(super) fn port(attempts: &[Attempt]) -> String {
    let hint = match attempts.last().map(|(_, error)| error.kind()) {
        Some(io::ErrorKind::ConnectionRefused) => {
            "the machine is there and nothing listens on this port: check the port, and that LAN \
             control is switched on in the vendor's app"
        }
        Some(io::ErrorKind::TimedOut) => {
            "not even a refusal came: a firewall filters the port, or nobody has this address; check \
             both, and that the gateway is on"
        }
        _ => "check the address, the port and the network",
    };
    format!("{}; {hint}", tried(attempts))
}

pub(super) fn upgrade(fault: &NoUpgrade, path: &str) -> String {
    match fault {
        NoUpgrade::Silent => {
            "the port is open and answers nothing to the WebSocket upgrade: another \
             service has it, or the gateway hangs; check the port, restart the gateway"
                .to_owned()
        }
        NoUpgrade::HungUp => {
            "it hung up without an answer to the WebSocket upgrade: another service \
             has this port, or the gateway takes no more connections; check the port"
                .to_owned()
        }
        NoUpgrade::Answer(UpgradeError::NotHttp) => {
            "what listens there does not speak HTTP: another service has this port; check the port"
                .to_owned()
        }
        NoUpgrade::Answer(UpgradeError::Refused { status }) => {
            let hint = match status {
                404 | 403 => format!(
                    "it may want another path than {path}: give it with --path, or let {EXPLORE}"
                ),
                401 => "it wants an access token: a gateway of before 2024 takes --dialect 2023 and its \
                        OPENAPI_KEY as the key; or check the port"
                    .to_owned(),
                407 => "a proxy in between wants a login: check host and port".to_owned(),
                429 | 503 => "it has too much to do or too many connections: close others, try again \
                     in a minute"
                    .to_owned(),
                _ => "most likely a web server and no gateway: check host and port, then --path"
                    .to_owned(),
            };
            format!("it answered the WebSocket upgrade with HTTP {status}: {hint}")
        }
        NoUpgrade::Answer(error) => {
            format!("{error}: a proxy in between, or no gateway; check host, port and path")
        }
    }
}

pub(super) fn no_first_message(fault: &Fault) -> String {
    let hint = match fault {
        Fault::Timeout => {
            "a gateway speaks first (auth_required), this one is silent: another WebSocket service, \
             or another path; check port and --path"
        }
        Fault::Closed { code, .. } => close_hint(*code),
        Fault::Framing(_) => "no gateway, or a proxy in between; check the port",
        _ => "it hung up before its first message: too many connections, or no gateway; try again",
    };
    format!("{fault}: {hint}")
}

pub(super) fn other_wire(pinned: Wire, first: &First) -> String {
    format!(
        "{pinned} is pinned and the gateway speaks {}: leave --wire out to detect it, or correct it",
        first.wire()
    )
}

pub(super) fn decrypt(
    first: &First,
    fault: &NoChallenge,
    other: Option<(KeyForm, Padding)>,
) -> String {
    if let Some((form, padding)) = other {
        return format!(
            "{fault}; but it makes sense with --key-form {form} --padding {padding}: the key is right, \
             give these options"
        );
    }
    let size = first.payload.len();
    let hint = match fault {
        NoChallenge::Frame(FrameFault::Base64) => {
            "neither JSON nor base64 comes there: another WebSocket service; check port and --path"
                .to_owned()
        }
        NoChallenge::Frame(FrameFault::Cipher(CipherError::Length(_))) => {
            "that is no ciphertext of this protocol: another WebSocket service, or a proxy in between; \
             check port and --path"
                .to_owned()
        }
        NoChallenge::Frame(_) if first.wire() != Wire::Plain => format!(
            "most likely this is another gateway's key, or it was made anew when the gateway was reset: {KEY}. \
             No key form and no padding makes sense of the message"
        ),
        NoChallenge::Message(HandshakeFault::Unexpected { .. }) => {
            "it speaks, but not this protocol or another version of it; please report it with --bundle"
                .to_owned()
        }
        _ => format!("{KEY}; if it is right, please report it with --bundle"),
    };
    format!("the gateway's first message ({size} bytes): {fault}; {hint}")
}

pub(super) fn proof(fault: &NoSession, wire: Wire, other: &[Variants]) -> String {
    match fault {
        NoSession::Refused(fault @ Fault::Closed { code, .. })
            if !matches!(code, None | Some(close::POLICY | close::DONE)) =>
        {
            format!("{fault} after our proof: {}", close_hint(*code))
        }
        NoSession::Refused(fault) => {
            let cause = match wire {
                // Nothing was decrypted before, so that the key was never tried.
                Wire::Plain => "most likely the key is another one",
                _ => "the key decrypts, so most likely it computes its proof differently",
            };
            format!("the gateway refuses our proof ({fault}): {cause}; {KEY}, then {EXPLORE}")
        }
        NoSession::WrongProof { fault, .. } => match other {
            [variants, ..] => format!(
                "{fault}, by the options given; but it is right with --proof {} --proof-over {}",
                variants.proof, variants.proof_over
            ),
            [] => format!(
                "{fault}. Either what answers there does not know the key, which a forged gateway would \
                 not, or it computes its proof differently; {KEY}, then {EXPLORE}"
            ),
        },
        NoSession::Fault(Fault::Timeout) => {
            "the gateway does not answer our proof: it delays answers after many failed handshakes, \
             or hangs; wait a minute, then restart it"
                .to_owned()
        }
        NoSession::Fault(fault) => {
            format!("{fault} after our proof; check the option padding, {EXPLORE}")
        }
    }
}

/// What to say where a request has no answer.
pub(crate) fn unanswered(what: &str, fault: &Fault) -> String {
    let hint = match fault {
        Fault::Timeout => {
            "the gateway is authenticated and silent: it is busy or hangs; try a longer --timeout, then restart it"
        }
        Fault::Closed { code, .. } => close_hint(*code),
        Fault::Lost => "the gateway was switched off, restarted, or the network failed: try again",
        Fault::Frame(_) => {
            "after the handshake another key or padding is in use there; please report it with --bundle"
        }
        Fault::Framing(_) | Fault::Message(_) => "please report it with --bundle",
        Fault::NoRandomness => "something is wrong with this machine",
    };
    format!("{what}: {fault}; {hint}")
}

pub(super) fn no_event(patience: Duration) -> String {
    format!(
        "none within {}, which is no fault: operate a device, or wait longer with --event-timeout 60s",
        time(patience)
    )
}

/// Lists some names and counts the others.
pub(crate) fn list<T: AsRef<str>>(names: &[T]) -> String {
    let shown: Vec<&str> = names.iter().take(LISTED).map(AsRef::as_ref).collect();
    match names.len().saturating_sub(LISTED) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

fn close_hint(code: Option<u16>) -> &'static str {
    match code {
        Some(close::TRY_AGAIN) => {
            "it has too many sessions: close other programs that use it, try again in a minute"
        }
        Some(close::GOING_AWAY) => "it is shutting down or restarting: try again in a minute",
        Some(close::TOO_LARGE) => "a message was too large for it",
        Some(close::INTERNAL) => "a fault of the gateway: see its log",
        _ => "see the gateway's log, if it has one; try again",
    }
}

fn tried(attempts: &[Attempt]) -> String {
    let tried: Vec<String> = attempts
        .iter()
        .map(|(address, error)| format!("{address}: {error}"))
        .collect();
    tried.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filtered_port_is_told_from_a_closed_one_and_from_no_way() {
        let attempts = |kind: io::ErrorKind| vec![(([192, 0, 2, 1], 8433).into(), kind.into())];
        for (kind, words) in [
            (io::ErrorKind::TimedOut, "a firewall filters the port"),
            (
                io::ErrorKind::ConnectionRefused,
                "nothing listens on this port",
            ),
        ] {
            let text = port(&attempts(kind));
            assert!(text.contains(words), "{text}");
        }
        let text = no_way(&attempts(io::ErrorKind::HostUnreachable));
        assert!(text.contains("no way there"), "{text}");
    }

    #[test]
    fn times_and_lists_are_short() {
        for (micros, expected) in [
            (99, "under 0.1 ms"),
            (120, "0.1 ms"),
            (3_210, "3.2 ms"),
            (12_900, "12 ms"),
            (1_000_000, "1 s"),
            (5_500_000, "5.5 s"),
        ] {
            assert_eq!(time(Duration::from_micros(micros)), expected);
        }
        assert_eq!(list(&["a", "b"]), "a, b");
        assert_eq!(list(&["x"; 10]), "x, x, x, x, x, x, x, x and 2 more");
    }
}
