//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use hearthgate_client::{DiscoveryOptions, Endpoint, EndpointError};
use hearthgate_protocol::limits::DEFAULT_PORT;
use hearthgate_protocol::variants::{KeyForm, Padding, Proof, ProofOver, Variants, Wire};

use crate::commands::{
    BenchArgs, CatalogArgs, DoctorArgs, GatewaysArgs, HistoryArgs, LanArgs, RecordArgs, WebArgs,
};
use crate::duration;
use crate::hub_args::HubArgs;
use crate::limits::LimitOptions;
use crate::tls::{ServeOptions, TlsOptions};

/// Both ends of the local protocol between a Tuya-enabled gateway and third-party systems.
///
/// `hearthgate demo` shows all of it in one process, with nothing to install or configure.
#[derive(Debug, Parser)]
#[command(
    name = "hearthgate",
    version,
    propagate_version = true,
    arg_required_else_help = true,
    after_help = "Exit codes: 0 done, 1 the gateway refused, 2 usage, 3 no connection or no answer in time, \
                  4 authentication failed."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) log: LogOptions,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// How to log.
#[derive(Debug, Clone, Args)]
pub(crate) struct LogOptions {
    /// What to log: error, warn, info, debug or trace, or a filter such as `warn,hearthgate_client=debug`.
    #[arg(
        long,
        global = true,
        value_name = "LEVEL",
        env = "HEARTHGATE_LOG",
        help_heading = "Logging"
    )]
    pub(crate) log_level: Option<String>,
    /// How log lines look on standard error.
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        help_heading = "Logging"
    )]
    pub(crate) log_format: LogFormat,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Shows a gateway serve a living, simulated home to a client over the encrypted protocol
    Demo(DemoArgs),
    /// Serves devices to third-party systems
    Gateway(Box<GatewayArgs>),
    /// Looks after gateways and passes their devices on: to Home Assistant and other programs over MQTT
    Hub(Box<HubArgs>),
    /// Lists the gateways that advertise themselves on this network
    Discover(DiscoverArgs),
    /// Names the layer that fails between here and a gateway, and what to do about it
    Doctor(Box<DoctorArgs>),
    /// Writes device profiles and a transcript of a live gateway
    Record(Box<RecordArgs>),
    /// Finds, imports and tries Tuya Wi-Fi devices, which `gateway --tuya-lan` serves
    Lan(Box<LanArgs>),
    /// Keeps the known gateways: names, keys, addresses
    Gateways(Box<GatewaysArgs>),
    /// Lists the devices of a gateway
    Devices(DevicesArgs),
    /// Shows what devices declare about their data points
    Schema(ReadArgs),
    /// Shows the values of devices
    Status(ReadArgs),
    /// Writes values of a device
    Set(SetArgs),
    /// Shows events as they come
    Watch(WatchArgs),
    /// Shows and measures what Home Assistant makes of devices
    Catalog(CatalogArgs),
    /// Shows what was: values of an hour, a day or a year, from the history that a hub keeps
    History(Box<HistoryArgs>),
    /// Puts load on a gateway and measures: sessions, requests, fan-out; the client and the hub with it
    Bench(Box<BenchArgs>),
    /// Helps with the configuration file
    Config(ConfigArgs),
    /// Prints a completion script for a shell
    Completions {
        /// Which shell.
        shell: Shell,
    },
}

/// Which gateway, and how to talk to it.
#[derive(Debug, Clone, Args)]
pub(crate) struct GatewayOptions {
    /// The gateway: the name or uuid of a known one (`hearthgate gateways`), or `ws://HOST[:PORT][/PATH]`
    /// (`wss://` over TLS), port 8433 and path / where there is none.
    #[arg(
        long,
        value_name = "NAME|UUID|URL",
        env = "HEARTHGATE_GATEWAY",
        help_heading = "Gateway"
    )]
    pub(crate) gateway: GatewayChoice,
    #[command(flatten)]
    pub(crate) key: KeyOptions,
    #[command(flatten)]
    pub(crate) tls: TlsOptions,
    /// Where to listen for the advertisements of a known gateway without an address, UDP; repeatable
    /// [default: 0.0.0.0 on 6669, 6666 and 6667].
    #[arg(long, value_name = "ADDR:PORT", help_heading = "Gateway")]
    pub(crate) listen: Vec<SocketAddr>,
    /// The network interface to listen on alone, such as eth0 (Linux); repeatable [default: all].
    #[arg(long, value_name = "NAME", help_heading = "Gateway")]
    pub(crate) interface: Vec<String>,
    /// How long to wait for the connection, finding the gateway included, and for each answer.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration::parse, help_heading = "Gateway")]
    pub(crate) timeout: Duration,
    /// The wire encoding; detected where it is not given. `plain` is detected on loopback only.
    #[arg(long, value_name = "WIRE", value_parser = choice::<Wire>(Wire::ALL, Wire::name), help_heading = "Variants of the protocol")]
    pub(crate) wire: Option<Wire>,
    #[command(flatten)]
    pub(crate) variants: VariantOptions,
}

/// Which gateway is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GatewayChoice {
    /// The one at this address.
    Address(Endpoint),
    /// The known one with this name or uuid.
    Known(String),
}

impl FromStr for GatewayChoice {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        if text.contains("://") {
            text.parse().map(Self::Address)
        } else {
            Ok(Self::Known(text.to_owned()))
        }
    }
}

/// Where the device key comes from.
#[derive(Debug, Clone, Args)]
pub(crate) struct KeyOptions {
    /// The file that holds the device key; `-` for standard input. Without it the key is HEARTHGATE_KEY,
    /// or that of a known gateway.
    #[arg(long, value_name = "FILE", help_heading = "Gateway")]
    pub(crate) key_file: Option<PathBuf>,
    /// How the text of the key becomes 16 bytes [default: ascii].
    #[arg(long, value_name = "FORM", value_parser = choice::<KeyForm>(KeyForm::ALL, KeyForm::name), help_heading = "Variants of the protocol")]
    pub(crate) key_form: Option<KeyForm>,
}

/// Where real gateways may have chosen differently.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct VariantOptions {
    /// What fills the last block of a message [default: pkcs7].
    #[arg(long, value_name = "PADDING", value_parser = choice::<Padding>(Padding::ALL, Padding::name), help_heading = "Variants of the protocol")]
    pub(crate) padding: Option<Padding>,
    /// How a side proves that it knows the key [default: hmac].
    #[arg(long, value_name = "PROOF", value_parser = choice::<Proof>(Proof::ALL, Proof::name), help_heading = "Variants of the protocol")]
    pub(crate) proof: Option<Proof>,
    /// What the proof is computed over [default: raw].
    #[arg(long, value_name = "OVER", value_parser = choice::<ProofOver>(ProofOver::ALL, ProofOver::name), help_heading = "Variants of the protocol")]
    pub(crate) proof_over: Option<ProofOver>,
    /// The request path of the WebSocket: what a client asks for, and the only one that a gateway takes.
    #[arg(long, value_name = "PATH", value_parser = path, help_heading = "Variants of the protocol")]
    pub(crate) path: Option<String>,
}

impl VariantOptions {
    /// Returns the choices that the protocol crate takes.
    pub(crate) fn variants(&self) -> Variants {
        self.over(Variants::default())
    }

    /// Returns the choices that are given, and otherwise those that are known.
    pub(crate) fn over(&self, known: Variants) -> Variants {
        Variants {
            padding: self.padding.unwrap_or(known.padding),
            proof: self.proof.unwrap_or(known.proof),
            proof_over: self.proof_over.unwrap_or(known.proof_over),
        }
    }
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hearthgate demo
  hearthgate demo --seed 7 --duration 1m")]
pub(crate) struct DemoArgs {
    /// Makes the home's life repeatable.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) seed: Option<u64>,
    /// Ends the demonstration after this time; without it Ctrl-C does.
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub(crate) duration: Option<Duration>,
    /// The loopback address to serve on; port 0 is a free one.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:0", value_parser = loopback)]
    pub(crate) listen: SocketAddr,
    #[command(flatten)]
    pub(crate) web: WebArgs,
}

#[derive(Debug, Default, Args)]
#[command(after_help = "Examples:
  hearthgate gateway --devices profiles/
  hearthgate gateway --devices profiles/ --listen 0.0.0.0:8433 --key-file gateway.key
  hearthgate gateway --tuya-lan devices.json
  hearthgate gateway --devices profiles/ --tls
  hearthgate gateway --devices profiles/ --dialect 2023 --key-file openapi.key
  hearthgate gateway --config gateway.toml --check-config
  hearthgate gateway --replay recording/ --speed 10

The key: without --key-file and HEARTHGATE_KEY one is made and kept in the state folder.")]
pub(crate) struct GatewayArgs {
    /// A TOML file with the same options; what is given on the command line wins.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Checks the configuration, the key and the devices, and ends.
    #[arg(long)]
    pub(crate) check_config: bool,
    /// The address to listen on; port 0 is a free one [default: 127.0.0.1:8433].
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) listen: Option<String>,
    /// Device profiles: files, or folders whose *.json files are watched.
    #[arg(long, value_name = "DIR|FILE", num_args = 1..)]
    pub(crate) devices: Vec<PathBuf>,
    /// Tuya Wi-Fi devices: a file of `hearthgate lan import`, or devices.json of `tinytuya wizard`; repeatable.
    #[arg(long, value_name = "FILE")]
    pub(crate) tuya_lan: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) replay: ReplayArgs,
    /// The file that holds the device key; `-` for standard input.
    #[arg(long, value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
    /// The gateway's uuid, 1 to 64 printable ASCII characters [default: made once and kept].
    #[arg(long, value_name = "ID", value_parser = uuid)]
    pub(crate) uuid: Option<String>,
    /// The folder for the key and what else is kept; `none` keeps everything in memory
    /// [default: $XDG_STATE_HOME/hearthgate].
    #[arg(long, value_name = "DIR|none")]
    pub(crate) state: Option<PathBuf>,
    /// Where to advertise; repeatable [default: broadcast, or 127.0.0.1:6669 where it listens on loopback].
    #[arg(long, value_name = "ADDR:PORT", conflicts_with = "no_advertise")]
    pub(crate) advertise: Vec<SocketAddr>,
    /// Advertises nowhere.
    #[arg(long)]
    pub(crate) no_advertise: bool,
    #[command(flatten)]
    pub(crate) limits: LimitOptions,
    /// Refuses Integers that are off their step; real devices break their own.
    #[arg(long)]
    pub(crate) strict_step: bool,
    /// Speaks unencrypted on addresses that are not loopback, together with --wire plain.
    #[arg(long)]
    pub(crate) allow_plain: bool,
    #[command(flatten)]
    pub(crate) tls: ServeOptions,
    /// The wire encoding [default: binary].
    #[arg(long, value_name = "WIRE", value_parser = choice::<Wire>(Wire::ALL, Wire::name), help_heading = "Variants of the protocol")]
    pub(crate) wire: Option<Wire>,
    /// What fills the last block of a message [default: pkcs7].
    #[arg(long, value_name = "PADDING", value_parser = choice::<Padding>(Padding::ALL, Padding::name), help_heading = "Variants of the protocol")]
    pub(crate) padding: Option<Padding>,
    /// How the text of the key becomes 16 bytes [default: ascii].
    #[arg(long, value_name = "FORM", value_parser = choice::<KeyForm>(KeyForm::ALL, KeyForm::name), help_heading = "Variants of the protocol")]
    pub(crate) key_form: Option<KeyForm>,
    /// How a side proves that it knows the key [default: hmac].
    #[arg(long, value_name = "PROOF", value_parser = choice::<Proof>(Proof::ALL, Proof::name), help_heading = "Variants of the protocol")]
    pub(crate) proof: Option<Proof>,
    /// What the proof is computed over [default: raw].
    #[arg(long, value_name = "OVER", value_parser = choice::<ProofOver>(ProofOver::ALL, ProofOver::name), help_heading = "Variants of the protocol")]
    pub(crate) proof_over: Option<ProofOver>,
    /// The only request path that is taken [default: any].
    #[arg(long, value_name = "PATH", value_parser = path, help_heading = "Variants of the protocol")]
    pub(crate) path: Option<String>,
}

/// A recording to play.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ReplayArgs {
    /// A recording to play back: the folder that `hearthgate record` wrote, or the transcript in it. It
    /// begins when the first session is open.
    #[arg(long, value_name = "DIR|FILE")]
    pub(crate) replay: Option<PathBuf>,
    /// How many times as fast as it was recorded [default: 1].
    #[arg(long, value_name = "FACTOR", value_parser = speed)]
    pub(crate) speed: Option<f64>,
    /// Plays the recording again and again; otherwise the devices stay as its last event left them.
    #[arg(long)]
    pub(crate) repeat: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hearthgate discover
  hearthgate discover --interface eth0
  hearthgate discover --listen 127.0.0.1:6669 --timeout 6s --json | jq -r '.[].address'

An advertisement is a hint and no proof: whoever answers there must still know the device key.")]
pub(crate) struct DiscoverArgs {
    /// Where to listen, UDP; repeatable. Broadcasts are heard on 0.0.0.0, not on the address of one interface.
    #[arg(long, value_name = "ADDR:PORT", help = format!("Where to listen, UDP; repeatable. Broadcasts are heard on 0.0.0.0, not on the address of one interface [default: {}]", default_discovery()))]
    pub(crate) listen: Vec<SocketAddr>,
    /// The network interface to listen on alone, such as eth0 (Linux); repeatable [default: all].
    #[arg(long, value_name = "NAME")]
    pub(crate) interface: Vec<String>,
    /// How long to listen; Ctrl-C ends it early with what was heard.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration::parse)]
    pub(crate) timeout: Duration,
    /// Prints an array of `{uuid, address, port, first_seen, last_seen, frame, packets}`.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Names of devices.
#[derive(Debug, Clone, Args)]
pub(crate) struct NameOptions {
    /// Device profiles to take names from: files or folders. Names never travel.
    #[arg(
        long,
        value_name = "DIR|FILE",
        env = "HEARTHGATE_NAMES",
        value_delimiter = ':'
    )]
    pub(crate) names: Vec<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hearthgate devices --gateway ws://192.0.2.10 --key-file gateway.key
  hearthgate devices --gateway wss://192.0.2.10 --tls-fingerprint AB:CD:.. --key-file gateway.key
  HEARTHGATE_KEY=.. hearthgate devices --gateway ws://192.0.2.10:8433 --json")]
pub(crate) struct DevicesArgs {
    #[command(flatten)]
    pub(crate) gateway: GatewayOptions,
    #[command(flatten)]
    pub(crate) names: NameOptions,
    /// Prints an array of `{devid, category, online}`.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hearthgate status --gateway ws://192.0.2.10 --key-file gateway.key
  hearthgate status a4c1380b --gateway ws://192.0.2.10 --key-file gateway.key --json")]
pub(crate) struct ReadArgs {
    /// Ids, unambiguous beginnings of ids, or names; all devices where there is none.
    #[arg(value_name = "DEVICE")]
    pub(crate) devices: Vec<String>,
    #[command(flatten)]
    pub(crate) gateway: GatewayOptions,
    #[command(flatten)]
    pub(crate) names: NameOptions,
    /// Prints the array of the protocol, to the byte as it came.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hearthgate set a4c1380b switch_1=on --gateway ws://192.0.2.10 --key-file gateway.key
  hearthgate set a4c1380b temp_set=21.5 mode=manual --gateway ws://192.0.2.10 --key-file gateway.key
  hearthgate set a4c1380b 'colour_data:={\"h\":0,\"s\":1000,\"v\":500}' --gateway ws://192.0.2.10 --key-file gateway.key")]
pub(crate) struct SetArgs {
    /// An id, an unambiguous beginning of one, or a name.
    #[arg(value_name = "DEVICE")]
    pub(crate) device: String,
    /// CODE=VALUE in the user's units, or CODE:=JSON for the raw value of the wire.
    #[arg(value_name = "CODE=VALUE", required = true)]
    pub(crate) assignments: Vec<String>,
    #[command(flatten)]
    pub(crate) gateway: GatewayOptions,
    #[command(flatten)]
    pub(crate) names: NameOptions,
    /// Prints the result as it came.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hearthgate watch --gateway ws://192.0.2.10 --key-file gateway.key
  hearthgate watch a4c1380b --gateway ws://192.0.2.10 --key-file gateway.key --json | jq .data")]
pub(crate) struct WatchArgs {
    /// Ids, unambiguous beginnings of ids, or names; all devices where there is none.
    #[arg(value_name = "DEVICE")]
    pub(crate) devices: Vec<String>,
    #[command(flatten)]
    pub(crate) gateway: GatewayOptions,
    #[command(flatten)]
    pub(crate) names: NameOptions,
    /// Prints every event as it came, one compact object a line; between them, where the connection is
    /// lost and made again, `{"type":"link","state":"down","reason":..}` and `{"type":"link","state":"up"}`.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    pub(crate) command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Prints an example of a configuration file, with every option and its default
    Example {
        /// The hub's instead of the gateway's.
        #[arg(long)]
        hub: bool,
    },
}

/// Makes a parser that lists the choices in help and errors.
pub(crate) fn choice<T>(
    all: &'static [T],
    name: fn(T) -> &'static str,
) -> impl TypedValueParser<Value = T>
where
    T: Copy + FromStr + Send + Sync + 'static,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    PossibleValuesParser::new(all.iter().map(|choice| name(*choice)))
        .try_map(|text| text.parse::<T>())
}

pub(crate) fn uuid(text: &str) -> Result<String, String> {
    if hearthgate_protocol::beacon::is_valid_uuid(text) {
        Ok(text.to_owned())
    } else {
        Err("a uuid is 1 to 64 printable ASCII characters".to_owned())
    }
}

fn speed(text: &str) -> Result<f64, String> {
    let speed = text.parse().map_err(|_| "expected a number".to_owned())?;
    check_speed(speed)
}

/// Checks how fast a recording is played.
pub(crate) fn check_speed(speed: f64) -> Result<f64, String> {
    if (0.001..=1_000_000.0).contains(&speed) {
        Ok(speed)
    } else {
        Err("expected 0.001 to 1000000".to_owned())
    }
}

pub(crate) fn path(text: &str) -> Result<String, String> {
    if text.starts_with('/') && text.bytes().all(|byte| (0x21..=0x7e).contains(&byte)) {
        Ok(text.to_owned())
    } else {
        Err("a path begins with / and has no blanks".to_owned())
    }
}

fn loopback(text: &str) -> Result<SocketAddr, String> {
    match text.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_loopback() => Ok(address),
        Ok(_) => Err(
            "the demonstration stays on loopback; use `hearthgate gateway` to serve others"
                .to_owned(),
        ),
        Err(error) => Err(error.to_string()),
    }
}

/// Returns where a gateway listens by default.
pub(crate) fn default_listen() -> String {
    format!("127.0.0.1:{DEFAULT_PORT}")
}

/// Returns where to listen for advertisements: where it was said, or by default.
pub(crate) fn discovery(listen: &[SocketAddr], interfaces: &[String]) -> DiscoveryOptions {
    let mut options = DiscoveryOptions::default();
    if !listen.is_empty() {
        options.listen = listen.to_vec();
    }
    options.interfaces = interfaces.to_vec();
    options
}

/// Returns where advertisements are listened for by default.
fn default_discovery() -> String {
    let listen = DiscoveryOptions::default().listen;
    let texts: Vec<String> = listen.iter().map(ToString::to_string).collect();
    texts.join(", ")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Cli;

    #[test]
    fn no_command_contradicts_itself() {
        Cli::command().debug_assert();
    }
}
