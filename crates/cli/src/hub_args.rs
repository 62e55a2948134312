//! The arguments of `hearthgate hub`, and the gateways among them: a key file belongs to the gateway before
//! it, which is why these two are read by their places.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, value_parser};
use hearthgate_hub::key_file_name;
use hearthgate_mqtt::{MqttVersion, Qos};

use hearthgate_protocol::variants::{KeyForm, Wire};

use crate::args::{GatewayChoice, VariantOptions, choice};
use crate::commands::WebArgs;
use crate::history_args::KeepArgs;
use crate::tls::TlsOptions;

const GATEWAY: &str = "gateway";
const KEY_FILE: &str = "key-file";

#[derive(Debug, Default, Args)]
#[command(after_help = "Examples:
  hearthgate hub --mqtt mqtt://127.0.0.1
  hearthgate hub --gateway home --gateway ws://192.0.2.10 --key-file garage.key --mqtt mqtts://hub@broker.example \\
                 --mqtt-password-file mqtt.password
  hearthgate hub --config hub.toml --check-config

Outlets are MQTT (with --mqtt), the page and API, and history; each is optional, and there is at least one. Options
for TLS and variants of the protocol are for gateways given by their addresses; known ones have theirs. Without --gateway the hub looks after all known gateways
(`hearthgate gateways list`) and follows that file.")]
pub(crate) struct HubArgs {
    /// A TOML file with the same options; what is given on the command line wins.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Checks the configuration, keys and certificates, and ends.
    #[arg(long)]
    pub(crate) check_config: bool,
    #[command(flatten)]
    pub(crate) gateways: GivenGateways,
    /// Where to listen for the advertisements of gateways, UDP; repeatable
    /// [default: 0.0.0.0 on 6669, 6666 and 6667].
    #[arg(long, value_name = "ADDR:PORT", conflicts_with = "no_discovery")]
    pub(crate) listen: Vec<SocketAddr>,
    /// Listens for no advertisements: gateways are where their addresses are.
    #[arg(long)]
    pub(crate) no_discovery: bool,
    /// The folder for names and what else is remembered; `none` keeps everything in memory
    /// [default: $XDG_STATE_HOME/hearthgate].
    #[arg(long, value_name = "DIR|none")]
    pub(crate) state: Option<PathBuf>,
    /// What you know better than the catalog: scale, unit, device class, platform, name, by gateway, device
    /// or category.
    #[arg(long, value_name = "FILE")]
    pub(crate) overrides: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) mqtt: MqttArgs,
    #[command(flatten)]
    pub(crate) web: WebArgs,
    #[command(flatten)]
    pub(crate) history: KeepArgs,
    #[command(flatten)]
    pub(crate) addressed: AddressedArgs,
}

/// How to talk to the gateways that are given by their addresses. Known ones have it in gateways.toml.
#[derive(Debug, Default, Args)]
pub(crate) struct AddressedArgs {
    #[command(flatten)]
    pub(crate) tls: TlsOptions,
    /// The wire encoding; detected where it is not given. `plain` is detected on loopback only.
    #[arg(long, value_name = "WIRE", value_parser = choice::<Wire>(Wire::ALL, Wire::name), help_heading = "Variants of the protocol")]
    pub(crate) wire: Option<Wire>,
    /// How the text of the key becomes 16 bytes [default: ascii].
    #[arg(long, value_name = "FORM", value_parser = choice::<KeyForm>(KeyForm::ALL, KeyForm::name), help_heading = "Variants of the protocol")]
    pub(crate) key_form: Option<KeyForm>,
    #[command(flatten)]
    pub(crate) variants: VariantOptions,
}

#[derive(Debug, Default, Args)]
#[command(next_help_heading = "MQTT and Home Assistant")]
pub(crate) struct MqttArgs {
    /// The broker: `mqtt[s]://[user[:password]@]HOST[:PORT]`. Other users of this machine see a password that
    /// stands here: rather give --mqtt-password-file or HEARTHGATE_MQTT_PASSWORD.
    #[arg(
        long = "mqtt",
        value_name = "URL",
        env = "HEARTHGATE_MQTT",
        hide_env_values = true
    )]
    pub(crate) url: Option<BrokerText>,
    /// The file that holds the broker's password.
    #[arg(long = "mqtt-password-file", value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
    /// With what all topics begin, except those of discovery [default: hearthgate].
    #[arg(long, value_name = "TOPIC")]
    pub(crate) topic_root: Option<String>,
    /// Where Home Assistant looks for devices [default: homeassistant].
    #[arg(long, value_name = "TOPIC")]
    pub(crate) discovery_prefix: Option<String>,
    /// The MQTT client id [default: made once and kept].
    #[arg(long, value_name = "ID")]
    pub(crate) client_id: Option<String>,
    /// Which MQTT is spoken [default: 5].
    #[arg(id = "mqtt_version", long = "mqtt-version", value_name = "VERSION", value_parser = choice::<MqttVersion>(MqttVersion::ALL, MqttVersion::name))]
    pub(crate) version: Option<MqttVersion>,
    /// How surely messages reach the broker: 0 unacknowledged, 1 acknowledged, and kept by the broker for
    /// subscribers that are away [default: 1].
    #[arg(id = "mqtt_qos", long = "mqtt-qos", value_name = "QOS", value_parser = choice::<Qos>(Qos::ALL, Qos::name))]
    pub(crate) qos: Option<Qos>,
    /// Whom to trust with mqtts://, instead of the system's authorities: a PEM file.
    #[arg(long = "mqtt-ca-file", value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// The client certificate for mqtts://: a PEM file.
    #[arg(
        long = "mqtt-cert-file",
        value_name = "FILE",
        requires = "cert_key_file"
    )]
    pub(crate) cert_file: Option<PathBuf>,
    /// The client certificate's key: a PEM file.
    #[arg(
        long = "mqtt-cert-key-file",
        value_name = "FILE",
        requires = "cert_file"
    )]
    pub(crate) cert_key_file: Option<PathBuf>,
}

/// The text of `--mqtt`, which may hold a password: it is checked where errors do not repeat it. Prints as
/// `***`.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct BrokerText(pub(crate) zeroize::Zeroizing<String>);

impl From<&str> for BrokerText {
    fn from(text: &str) -> Self {
        Self(zeroize::Zeroizing::new(text.to_owned()))
    }
}

impl std::fmt::Debug for BrokerText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BrokerText(***)")
    }
}

/// The gateways of the command line, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct GivenGateways(pub(crate) Vec<GivenGateway>);

/// A gateway and its key file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GivenGateway {
    pub(crate) gateway: GatewayChoice,
    pub(crate) key_file: Option<PathBuf>,
}

impl Args for GivenGateways {
    fn augment_args(command: Command) -> Command {
        command
            .arg(
                Arg::new(GATEWAY)
                    .long(GATEWAY)
                    .value_name("NAME|UUID|URL")
                    .value_parser(value_parser!(GatewayChoice))
                    .action(ArgAction::Append)
                    .help(
                        "A gateway: the name or uuid of a known one (`hearthgate gateways`), or \
                         `ws://HOST[:PORT][/PATH]`; repeatable [default: all known ones]",
                    ),
            )
            .arg(
                Arg::new(KEY_FILE)
                    .long(KEY_FILE)
                    .value_name("FILE")
                    .value_parser(value_parser!(PathBuf))
                    .action(ArgAction::Append)
                    .requires(GATEWAY)
                    .help(
                        "The file that holds the device key of the gateway before it; `-` for standard \
                         input. Without it the key is HEARTHGATE_KEY, or that of a known gateway",
                    ),
            )
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for GivenGateways {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let gateways = placed::<GatewayChoice>(matches, GATEWAY);
        let mut given: Vec<(usize, GivenGateway)> = gateways
            .into_iter()
            .map(|(place, gateway)| {
                let key_file = None;
                (place, GivenGateway { gateway, key_file })
            })
            .collect();
        for (place, path) in placed::<PathBuf>(matches, KEY_FILE) {
            let before = given.iter_mut().rev().find(|(at, _)| *at < place);
            let Some((_, gateway)) = before else {
                let path = key_file_name(&path);
                return Err(misplaced(&format!(
                    "--key-file {path} stands before any --gateway"
                )));
            };
            if gateway.key_file.replace(path).is_some() {
                return Err(misplaced(
                    "two --key-file for one --gateway: each belongs to the gateway before it",
                ));
            }
        }
        Ok(Self(
            given.into_iter().map(|(_, gateway)| gateway).collect(),
        ))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn misplaced(problem: &str) -> clap::Error {
    clap::Error::raw(ErrorKind::ArgumentConflict, format!("{problem}\n"))
}

/// Returns the values of an argument with their places on the command line.
fn placed<T: Clone + Send + Sync + 'static>(matches: &ArgMatches, id: &str) -> Vec<(usize, T)> {
    let places = matches.indices_of(id).into_iter().flatten();
    let values = matches.get_many::<T>(id).into_iter().flatten().cloned();
    places.zip(values).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        hub: HubArgs,
    }

    fn gateways(line: &str) -> Result<Vec<(String, Option<String>)>, String> {
        let line = Line::try_parse_from(line.split(' ')).map_err(|error| error.to_string())?;
        let shown = |given: GivenGateway| {
            let gateway = match given.gateway {
                GatewayChoice::Address(endpoint) => endpoint.to_string(),
                GatewayChoice::Known(name) => name,
            };
            (
                gateway,
                given.key_file.map(|path| path.display().to_string()),
            )
        };
        Ok(line.hub.gateways.0.into_iter().map(shown).collect())
    }

    #[test]
    fn a_key_file_belongs_to_the_gateway_before_it() {
        let line = "hub --gateway home --gateway ws://192.0.2.1 --key-file a --mqtt mqtt://h \
                    --gateway ws://192.0.2.2:7 --gateway=ws://192.0.2.3 --key-file=b";
        let pair = |gateway: &str, key: Option<&str>| (gateway.to_owned(), key.map(str::to_owned));
        assert_eq!(
            gateways(line).unwrap(),
            [
                pair("home", None),
                pair("ws://192.0.2.1:8433", Some("a")),
                pair("ws://192.0.2.2:7", None),
                pair("ws://192.0.2.3:8433", Some("b")),
            ]
        );
    }

    #[test]
    fn a_key_file_without_its_gateway_is_refused() {
        let before = gateways("hub --key-file a --gateway ws://192.0.2.1").unwrap_err();
        assert!(before.contains("before any --gateway"), "{before}");
        let twice = gateways("hub --gateway home --key-file a --key-file b").unwrap_err();
        assert!(twice.contains("two --key-file"), "{twice}");
        assert!(gateways("hub --key-file a").is_err());
    }

    #[test]
    fn a_password_in_the_address_is_shown_nowhere() {
        let line = Line::try_parse_from(["hub", "--mqtt", "mqtt://u:geheim@h"]).unwrap();
        assert!(!format!("{line:?}").contains("geheim"));
    }
}
