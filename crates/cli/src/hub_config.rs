//! The hub's configuration file: the options of its command line, in TOML.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::args::GatewayChoice;
use crate::commands::WebFile;
use crate::exit::Failure;
use crate::history_args::KeepArgs;
use crate::hub_args::{BrokerText, GivenGateway, HubArgs, MqttArgs};

/// An example with every option and its default; a test keeps it true.
pub(crate) const EXAMPLE: &str = include_str!("hub.example.toml");

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    gateway: Vec<Gateway>,
    listen: Vec<SocketAddr>,
    no_discovery: bool,
    state: Option<PathBuf>,
    overrides: Option<PathBuf>,
    web: WebFile,
    history: KeepArgs,
    mqtt: Mqtt,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Gateway {
    gateway: String,
    key_file: Option<PathBuf>,
}

/// `Debug` would show a password in the address: there is none.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Mqtt {
    url: Option<String>,
    password_file: Option<PathBuf>,
    topic_root: Option<String>,
    discovery_prefix: Option<String>,
    client_id: Option<String>,
    version: Option<String>,
    qos: Option<u8>,
    ca_file: Option<PathBuf>,
    cert_file: Option<PathBuf>,
    cert_key_file: Option<PathBuf>,
}

impl std::fmt::Debug for Mqtt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mqtt").finish_non_exhaustive()
    }
}

/// Lays the command line over the file that it names, if it names one.
pub(crate) fn merged(args: HubArgs) -> Result<HubArgs, Failure> {
    let Some(path) = args.config.clone() else {
        return Ok(args);
    };
    let text = fs::read_to_string(&path).map_err(|error| {
        Failure::usage(format!(
            "cannot read the configuration {}: {error}",
            path.display()
        ))
    })?;
    let folder = path.parent().unwrap_or(Path::new("."));
    merge(args, &text, folder)
        .map_err(|problem| Failure::usage(format!("{}: {problem}", path.display())))
}

fn merge(args: HubArgs, text: &str, folder: &Path) -> Result<HubArgs, String> {
    let file: File = toml::from_str(text).map_err(|error| plain(text, &error))?;
    let beside = |path: PathBuf| folder.join(path);
    let state = file.state.map(|state| {
        if state == Path::new("none") {
            state
        } else {
            beside(state)
        }
    });
    let mut gateways = args.gateways;
    if gateways.0.is_empty() {
        for Gateway { gateway, key_file } in file.gateway {
            let gateway: GatewayChoice = gateway
                .parse()
                .map_err(|error| format!("gateway = \"{gateway}\": {error}"))?;
            let key_file = key_file.map(beside);
            gateways.0.push(GivenGateway { gateway, key_file });
        }
    }
    let discovery_given = !args.listen.is_empty() || args.no_discovery;
    let (given, in_file) = (args.mqtt, file.mqtt);
    let version = in_file
        .version
        .map(|text| {
            text.parse()
                .map_err(|error| format!("version = \"{text}\": {error}"))
        })
        .transpose()?;
    let qos = in_file
        .qos
        .map(|number| {
            number
                .to_string()
                .parse()
                .map_err(|error| format!("qos = {number}: {error}"))
        })
        .transpose()?;
    Ok(HubArgs {
        config: args.config,
        check_config: args.check_config,
        gateways,
        listen: if discovery_given {
            args.listen
        } else {
            file.listen
        },
        no_discovery: if discovery_given {
            args.no_discovery
        } else {
            file.no_discovery
        },
        state: args.state.or(state),
        overrides: args.overrides.or(file.overrides.map(beside)),
        web: args.web.or(file.web, folder),
        history: args.history.over(file.history, folder),
        addressed: args.addressed,
        mqtt: MqttArgs {
            url: given.url.or(in_file.url.as_deref().map(BrokerText::from)),
            password_file: given.password_file.or(in_file.password_file.map(beside)),
            topic_root: given.topic_root.or(in_file.topic_root),
            discovery_prefix: given.discovery_prefix.or(in_file.discovery_prefix),
            client_id: given.client_id.or(in_file.client_id),
            version: given.version.or(version),
            qos: given.qos.or(qos),
            ca_file: given.ca_file.or(in_file.ca_file.map(beside)),
            cert_file: given.cert_file.or(in_file.cert_file.map(beside)),
            cert_key_file: given.cert_key_file.or(in_file.cert_key_file.map(beside)),
        },
    })
}

/// Says what is wrong and in which line, without the line itself, which may hold a password.
fn plain(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start));
    let line = before.map_or(String::new(), |before| {
        format!("line {}: ", before.matches('\n').count() + 1)
    });
    format!("{line}{}", error.message().replace('\n', ", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(text: &str) -> Result<HubArgs, String> {
        merge(HubArgs::default(), text, Path::new("/etc/home"))
    }

    #[test]
    fn the_example_is_right_and_names_every_key() {
        let off: HubArgs = merged(EXAMPLE).unwrap();
        assert!(
            off.gateways.0.is_empty() && off.mqtt.url.is_none(),
            "all is commented out"
        );
        let mut seen = String::new();
        for line in EXAMPLE.lines() {
            let rest = line.strip_prefix("# ").unwrap_or(line);
            if rest.contains(" = ") || rest.starts_with('[') {
                seen.push_str(rest);
                seen.push('\n');
            }
        }
        let args = merged(&seen).unwrap_or_else(|problem| panic!("{problem}\n{seen}"));
        assert_eq!(args.gateways.0.len(), 2);
        let mqtt = &args.mqtt;
        let files = [
            &mqtt.password_file,
            &mqtt.ca_file,
            &mqtt.cert_file,
            &mqtt.cert_key_file,
        ];
        assert!(
            files
                .iter()
                .all(|file| file.as_ref().unwrap().starts_with("/etc/home"))
        );
        assert!(mqtt.url.is_some() && mqtt.topic_root.is_some() && mqtt.discovery_prefix.is_some());
        assert!(mqtt.client_id.is_some() && mqtt.version.is_some() && mqtt.qos.is_some());
        assert!(args.state.is_some() && args.overrides.is_some() && !args.listen.is_empty());
        assert!(seen.contains("no_discovery = "));
        let history = args.history.options(None).unwrap();
        assert!(history.path.starts_with("/etc/home"));
        let web = &args.web;
        assert!(web.web.is_some() && web.web_login.is_some() && web.web_user.is_some());
        let files = [&web.web_password_file, &web.web_tls_cert, &web.web_tls_key];
        assert!(
            files
                .iter()
                .all(|file| file.as_ref().unwrap().starts_with("/etc/home"))
        );
        assert!(
            !web.web_host.is_empty()
                && seen.contains("metrics_values = ")
                && seen.contains("off = ")
        );
    }

    #[test]
    fn what_is_wrong_is_named_by_its_line_without_the_line() {
        let problem = merged("[mqtt]\nurl = \"mqtt://u:geheim@h\" x\n").unwrap_err();
        assert!(
            problem.contains("line 2") && !problem.contains("geheim"),
            "{problem}"
        );
        let problem = merged("[mqtt]\ntopicroot = \"a\"\n").unwrap_err();
        assert!(
            problem.contains("line 2") && problem.contains("topic_root"),
            "{problem}"
        );
        assert!(
            merged("[mqtt]\nversion = \"4\"\n")
                .unwrap_err()
                .contains("3.1.1")
        );
        let problem = merged("[mqtt]\nqos = 2\n").unwrap_err();
        assert!(
            problem.contains("qos = 2: expected one of 0, 1"),
            "{problem}"
        );
        let problem = merged("[[gateway]]\ngateway = \"ws://a b\"\n").unwrap_err();
        assert!(problem.contains("ws://a b"), "{problem}");
    }

    #[test]
    fn the_command_line_wins() {
        let mut args = HubArgs::default();
        args.mqtt.topic_root = Some("line".to_owned());
        args.gateways.0.push(GivenGateway {
            gateway: GatewayChoice::Known("line".to_owned()),
            key_file: None,
        });
        let text = "[[gateway]]\ngateway = \"file\"\n[mqtt]\ntopic_root = \"file\"\nclient_id = \"file\"\n";
        let merged = merge(args, text, Path::new("/etc/home")).unwrap();
        assert_eq!(merged.mqtt.topic_root.as_deref(), Some("line"));
        assert_eq!(merged.mqtt.client_id.as_deref(), Some("file"));
        assert_eq!(merged.gateways.0.len(), 1);
    }
}
