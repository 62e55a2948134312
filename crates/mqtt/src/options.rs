//! How to reach the broker, and what to call things there.
//!
//! Filled by the caller, read by `broker` and `bridge`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use zeroize::Zeroizing;

/// The port of `mqtt://`.
pub const PORT: u16 = 1883;
/// The port of `mqtts://`.
pub const PORT_TLS: u16 = 8883;
/// The topic root where none is given.
pub const TOPIC_ROOT: &str = "hearthgate";
/// The discovery prefix where none is given: Home Assistant's own default.
pub const DISCOVERY_PREFIX: &str = "homeassistant";

/// A password. Prints as `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// Returns the text, for the broker alone.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

/// Where a broker is: `mqtt[s]://[user[:password]@]HOST[:PORT]`. Shows no password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerAddress {
    /// A name, an IPv4 address, or an IPv6 address in brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Whether TLS is spoken.
    pub tls: bool,
    /// The user name.
    pub user: Option<String>,
    /// The password.
    pub password: Option<Secret>,
}

impl FromStr for BrokerAddress {
    type Err = String;

    /// Never repeats the text, which may hold a password.
    fn from_str(text: &str) -> Result<Self, String> {
        let form = "write mqtt://HOST or mqtts://HOST, with [user[:password]@] before and [:PORT] after it";
        let wrong = |problem: &str| format!("the broker's address: {problem}; {form}");
        let (scheme, rest) = text.split_once("://").ok_or_else(|| wrong("no scheme"))?;
        let tls = match scheme {
            "mqtt" | "tcp" => false,
            "mqtts" | "ssl" => true,
            _ => return Err(wrong("the scheme is neither mqtt nor mqtts")),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        // Passwords hold @ now and then; hosts never do.
        let (login, place) = match rest.rsplit_once('@') {
            Some((login, place)) => (Some(login), place),
            None => (None, rest),
        };
        let (host, port) = match place.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                let port: u16 = port
                    .parse()
                    .map_err(|_| wrong("the port is no number up to 65535"))?;
                (host, port)
            }
            _ => (place, if tls { PORT_TLS } else { PORT }),
        };
        let bracketed = host.starts_with('[') && host.ends_with(']');
        let sound = !host.is_empty()
            && port > 0
            && (bracketed || !host.contains(':'))
            && !host.contains(['/', '?', '#', ' ']);
        if !sound {
            return Err(wrong("the host or port is none"));
        }
        let (user, password) = match login.map(|login| login.split_once(':').unwrap_or((login, "")))
        {
            None | Some(("", "")) => (None, None),
            Some((user, password)) => {
                let decoded = |text: &str| {
                    decode(text)
                        .ok_or_else(|| wrong("a % is not followed by two hexadecimal digits"))
                };
                let password = Some(decoded(password)?).filter(|password| !password.is_empty());
                (Some(decoded(user)?), password.map(Secret::new))
            }
        };
        Ok(Self {
            host: host.to_owned(),
            port,
            tls,
            user,
            password,
        })
    }
}

impl fmt::Display for BrokerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "mqtts" } else { "mqtt" };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

/// Which MQTT is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MqttVersion {
    /// MQTT 5.
    #[default]
    V5,
    /// MQTT 3.1.1.
    V311,
}

impl MqttVersion {
    /// Both.
    pub const ALL: &'static [Self] = &[Self::V5, Self::V311];

    /// Returns the name as options have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::V5 => "5",
            Self::V311 => "3.1.1",
        }
    }
}

impl fmt::Display for MqttVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// It is neither 5 nor 3.1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected one of 5, 3.1.1")]
pub struct UnknownVersion;

impl FromStr for MqttVersion {
    type Err = UnknownVersion;

    fn from_str(text: &str) -> Result<Self, UnknownVersion> {
        let mut all = Self::ALL.iter().copied();
        all.find(|version| version.name() == text)
            .ok_or(UnknownVersion)
    }
}

/// How surely messages reach the broker, and through it whoever asks for as much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Qos {
    /// Without an acknowledgement: less work for both sides. A subscriber that is away finds the newest
    /// states when it returns and nothing of what was in between, whatever it asked for.
    AtMostOnce,
    /// Acknowledged. A broker keeps what happens for subscribers that are away and want that.
    #[default]
    AtLeastOnce,
}

impl Qos {
    /// Both.
    pub const ALL: &'static [Self] = &[Self::AtMostOnce, Self::AtLeastOnce];

    /// Returns the name as options have it, which is MQTT's number.
    pub fn name(self) -> &'static str {
        match self {
            Self::AtMostOnce => "0",
            Self::AtLeastOnce => "1",
        }
    }
}

impl fmt::Display for Qos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// It is neither 0 nor 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected one of 0, 1")]
pub struct UnknownQos;

impl FromStr for Qos {
    type Err = UnknownQos;

    fn from_str(text: &str) -> Result<Self, UnknownQos> {
        let mut all = Self::ALL.iter().copied();
        all.find(|qos| qos.name() == text).ok_or(UnknownQos)
    }
}

/// Certificates for `mqtts://`, all in PEM files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Whom to trust instead of the system's authorities.
    pub ca: Option<PathBuf>,
    /// The client's certificate and what else leads to its authority.
    pub certificate: Option<PathBuf>,
    /// The client certificate's key.
    pub key: Option<PathBuf>,
}

/// How the outlet works. `Debug` shows no secret.
#[derive(Clone, Debug)]
pub struct MqttOptions {
    /// Where the broker is, and who we are there.
    pub broker: BrokerAddress,
    /// Certificates.
    pub tls: TlsFiles,
    /// Which MQTT is spoken.
    pub version: MqttVersion,
    /// How surely messages reach the broker.
    pub qos: Qos,
    /// The client id; made once and kept where there is none.
    pub client_id: Option<String>,
    /// With what all topics but those of discovery begin.
    pub topic_root: String,
    /// Where Home Assistant looks for discovery messages.
    pub discovery_prefix: String,
    /// The folder for what is remembered from one run to the next; nothing is where there is none, and
    /// leftovers of a changed topic root stay.
    pub state: Option<PathBuf>,
    /// The version of the program, for people.
    pub program_version: String,
    /// Where people find the hub's page, if there is one: the link of each device in Home Assistant.
    pub page: Option<String>,
}

impl MqttOptions {
    /// Makes options of defaults.
    pub fn new(broker: BrokerAddress) -> Self {
        Self {
            broker,
            tls: TlsFiles::default(),
            version: MqttVersion::default(),
            qos: Qos::default(),
            client_id: None,
            topic_root: TOPIC_ROOT.to_owned(),
            discovery_prefix: DISCOVERY_PREFIX.to_owned(),
            state: None,
            page: None,
            program_version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// Decodes %XX.
fn decode(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first == b'%' {
            let (digits, after) = rest.split_at_checked(2)?;
            decoded.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
            rest = after;
        } else {
            decoded.push(*first);
        }
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_with_their_defaults() {
        let read = |text: &str| text.parse::<BrokerAddress>().unwrap();
        assert_eq!(read("mqtt://broker").to_string(), "mqtt://broker:1883");
        assert_eq!(read("mqtts://broker/").to_string(), "mqtts://broker:8883");
        assert_eq!(read("mqtt://[::1]:9").to_string(), "mqtt://[::1]:9");
        assert_eq!(read("mqtt://[::1]").port, 1883);
        let full = read("mqtt://ho%40me:p@ss:w%2Ford@192.0.2.1:1884");
        assert_eq!(full.user.as_deref(), Some("ho@me"));
        assert_eq!(full.password.as_ref().unwrap().expose(), "p@ss:w/ord");
        assert_eq!((full.host.as_str(), full.port), ("192.0.2.1", 1884));
        assert_eq!(read("mqtt://user@h").password, None);
    }

    #[test]
    fn a_password_is_shown_nowhere() {
        let address: BrokerAddress = "mqtt://u:geheim@h".parse().unwrap();
        let options = MqttOptions::new(address.clone());
        assert!(!format!("{options:?}{address}{address:?}").contains("geheim"));
        for wrong in [
            "mqtt://u:geheim@h:x",
            "http://u:geheim@h",
            "mqtt://u:geheim@",
            "u:geheim@h",
            "mqtt://u:geheim%@h:1",
        ] {
            let error = wrong.parse::<BrokerAddress>().unwrap_err();
            assert!(
                !error.contains("geheim") && error.contains("mqtt://HOST"),
                "{error}"
            );
        }
    }
}
