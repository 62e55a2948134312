//! The gateway's configuration file: the options of the command line, in TOML.

use std::fs;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::args::{self, GatewayArgs, ReplayArgs};
use crate::duration;
use crate::exit::Failure;
use crate::limits::{self, LimitOptions};
use crate::tls::ServeOptions;

/// An example with every option and its default; a test keeps it true.
pub(crate) const EXAMPLE: &str = include_str!("config.example.toml");

/// The names of all options.
const KEYS: [&str; 31] = [
    "listen",
    "devices",
    "tuya_lan",
    "replay",
    "speed",
    "repeat",
    "key_file",
    "uuid",
    "state",
    "advertise",
    "no_advertise",
    "max_sessions",
    "max_sessions_per_address",
    "max_handshakes",
    "max_message_size",
    "max_requests_in_flight",
    "max_requests_per_second",
    "strict_step",
    "allow_plain",
    "tls",
    "tls_cert",
    "tls_key",
    "dialect",
    "token_listen",
    "token_lifetime",
    "wire",
    "padding",
    "key_form",
    "proof",
    "proof_over",
    "path",
];

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct File {
    listen: Option<String>,
    devices: Vec<PathBuf>,
    tuya_lan: Vec<PathBuf>,
    replay: Option<PathBuf>,
    speed: Option<f64>,
    repeat: bool,
    key_file: Option<PathBuf>,
    uuid: Option<String>,
    state: Option<PathBuf>,
    advertise: Vec<std::net::SocketAddr>,
    no_advertise: bool,
    max_sessions: Option<NonZeroUsize>,
    max_sessions_per_address: Option<NonZeroUsize>,
    max_handshakes: Option<NonZeroUsize>,
    max_message_size: Option<usize>,
    max_requests_in_flight: Option<NonZeroUsize>,
    max_requests_per_second: Option<NonZeroU32>,
    strict_step: bool,
    allow_plain: bool,
    tls: bool,
    tls_cert: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    dialect: Option<String>,
    token_listen: Option<String>,
    token_lifetime: Option<String>,
    wire: Option<String>,
    padding: Option<String>,
    key_form: Option<String>,
    proof: Option<String>,
    proof_over: Option<String>,
    path: Option<String>,
}

/// Lays the command line over the file that it names, if it names one.
pub(crate) fn merged(args: GatewayArgs) -> Result<GatewayArgs, Failure> {
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

fn merge(args: GatewayArgs, text: &str, folder: &Path) -> Result<GatewayArgs, String> {
    check_keys(text)?;
    let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
    let beside = |path: PathBuf| {
        if path == Path::new("-") {
            path
        } else {
            folder.join(path)
        }
    };
    let state = file.state.map(|state| {
        if state == Path::new("none") {
            state
        } else {
            beside(state)
        }
    });
    let checked = |value: Option<String>, check: fn(&str) -> Result<String, String>, key: &str| {
        value
            .map(|value| check(&value).map_err(|problem| format!("{key}: {problem}")))
            .transpose()
    };
    if file.tls && file.tls_cert.is_some() {
        return Err(
            "tls and tls_cert: a self-made certificate or your own, leave one out".to_owned(),
        );
    }
    let lifetime = |text: String| {
        duration::parse(&text).map_err(|problem| format!("token_lifetime: {problem}"))
    };
    let tls = ServeOptions {
        tls: file.tls,
        tls_cert: file.tls_cert.map(beside),
        tls_key: file.tls_key.map(beside),
        dialect: choice(file.dialect, "dialect")?,
        token_listen: file.token_listen,
        token_lifetime: file.token_lifetime.map(lifetime).transpose()?,
    };
    let limits = LimitOptions {
        max_sessions: file.max_sessions,
        max_sessions_per_address: file.max_sessions_per_address,
        max_handshakes: file.max_handshakes,
        max_message_size: file
            .max_message_size
            .map(limits::check_message_size)
            .transpose()
            .map_err(|problem| format!("max_message_size: {problem}"))?,
        max_requests_in_flight: file.max_requests_in_flight,
        max_requests_per_second: file.max_requests_per_second,
    };
    let advertise_given = !args.advertise.is_empty() || args.no_advertise;
    Ok(GatewayArgs {
        listen: args.listen.or(file.listen),
        devices: if args.devices.is_empty() {
            file.devices.into_iter().map(beside).collect()
        } else {
            args.devices
        },
        tuya_lan: if args.tuya_lan.is_empty() {
            file.tuya_lan.into_iter().map(beside).collect()
        } else {
            args.tuya_lan
        },
        replay: ReplayArgs {
            speed: match (args.replay.speed, file.speed) {
                (Some(speed), _) => Some(speed),
                (None, speed) => speed
                    .map(args::check_speed)
                    .transpose()
                    .map_err(|problem| format!("speed: {problem}"))?,
            },
            repeat: args.replay.repeat || file.repeat,
            replay: args.replay.replay.or(file.replay.map(beside)),
        },
        key_file: args.key_file.or(file.key_file.map(beside)),
        uuid: args.uuid.or(checked(file.uuid, args::uuid, "uuid")?),
        state: args.state.or(state),
        advertise: if advertise_given {
            args.advertise
        } else {
            file.advertise
        },
        no_advertise: if advertise_given {
            args.no_advertise
        } else {
            file.no_advertise
        },
        limits: args.limits.or(limits),
        strict_step: args.strict_step || file.strict_step,
        allow_plain: args.allow_plain || file.allow_plain,
        tls: args.tls.or(tls),
        wire: args.wire.or(choice(file.wire, "wire")?),
        padding: args.padding.or(choice(file.padding, "padding")?),
        key_form: args.key_form.or(choice(file.key_form, "key_form")?),
        proof: args.proof.or(choice(file.proof, "proof")?),
        proof_over: args.proof_over.or(choice(file.proof_over, "proof_over")?),
        path: args.path.or(checked(file.path, args::path, "path")?),
        config: args.config,
        check_config: args.check_config,
    })
}

fn choice<T: std::str::FromStr>(value: Option<String>, key: &str) -> Result<Option<T>, String>
where
    T::Err: std::fmt::Display,
{
    value
        .map(|text| {
            text.parse()
                .map_err(|error| format!("{key} = \"{text}\": {error}"))
        })
        .transpose()
}

/// Refuses unknown keys and names the nearest known one.
fn check_keys(text: &str) -> Result<(), String> {
    let table: toml::Table = text
        .parse()
        .map_err(|error: toml::de::Error| error.to_string())?;
    let Some(unknown) = table.keys().find(|key| !KEYS.contains(&key.as_str())) else {
        return Ok(());
    };
    let line = text
        .lines()
        .position(|line| {
            line.trim_start()
                .trim_start_matches(['[', '"'])
                .starts_with(unknown)
        })
        .map_or(String::new(), |index| format!("line {}: ", index + 1));
    let nearest = KEYS
        .iter()
        .map(|known| {
            (
                strsim::jaro_winkler(known, &unknown.replace('-', "_")),
                known,
            )
        })
        .max_by(|a, b| a.0.total_cmp(&b.0));
    let hint = match nearest {
        Some((likeness, known)) if likeness > 0.7 => format!("did you mean `{known}`?"),
        _ => "`hearthgate config example` shows all keys".to_owned(),
    };
    Err(format!("{line}unknown key `{unknown}`; {hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(text: &str) -> Result<GatewayArgs, String> {
        merge(GatewayArgs::default(), text, Path::new("/etc/home"))
    }

    #[test]
    fn the_example_names_every_key_and_is_right() {
        assert_eq!(
            toml::from_str::<toml::Table>(EXAMPLE).unwrap().len(),
            0,
            "all is commented out"
        );
        let uncommented: String = EXAMPLE
            .lines()
            .map(|line| {
                line.strip_prefix("# ")
                    .filter(|rest| rest.contains(" = "))
                    .unwrap_or("")
            })
            .filter(|line| !line.is_empty())
            .map(|line| format!("{line}\n"))
            .collect();
        let table: toml::Table = uncommented.parse().unwrap();
        for key in KEYS {
            assert!(table.contains_key(key), "{key} is missing in the example");
        }
        // Of the two kinds of certificates a file has one.
        merged(&uncommented.replace("tls = false\n", "")).unwrap();
    }

    #[test]
    fn an_unknown_key_names_the_nearest_known_one() {
        let problem = merged("uuid = \"a\"\nlisten_on = \"x\"\n").unwrap_err();
        assert_eq!(
            problem,
            "line 2: unknown key `listen_on`; did you mean `listen`?"
        );
        assert!(
            merged("key-file = \"k\"")
                .unwrap_err()
                .contains("did you mean `key_file`?")
        );
        assert!(merged("[zzz]\n").unwrap_err().contains("config example"));
    }

    #[test]
    fn the_command_line_wins_and_paths_are_beside_the_file() {
        let text = "listen = \"a:1\"\nuuid = \"file\"\ndevices = [\"d\"]\nadvertise = [\"127.0.0.1:9\"]\nwire = \"base64\"";
        let args = GatewayArgs {
            uuid: Some("line".to_owned()),
            no_advertise: true,
            ..GatewayArgs::default()
        };
        let merged = merge(args, text, Path::new("/etc/home")).unwrap();
        assert_eq!(merged.listen.as_deref(), Some("a:1"));
        assert_eq!(merged.uuid.as_deref(), Some("line"));
        assert_eq!(merged.devices, [PathBuf::from("/etc/home/d")]);
        assert!(merged.no_advertise && merged.advertise.is_empty());
        assert_eq!(
            merged.wire,
            Some(hearthgate_protocol::variants::Wire::Base64)
        );
    }

    #[test]
    fn wrong_values_are_named() {
        assert!(
            merged("wire = \"morse\"")
                .unwrap_err()
                .contains("expected one of binary, base64, plain")
        );
        assert!(merged("uuid = \"\"").unwrap_err().starts_with("uuid: "));
        assert!(merged("listen = 7").unwrap_err().contains("line 1"));
        assert!(merged("advertise = [\"nowhere\"]").is_err());
        assert!(
            merged("dialect = \"2022\"")
                .unwrap_err()
                .contains("2024, 2023")
        );
        assert!(merged("tls = \"self\"").unwrap_err().contains("line 1"));
        let lifetime = merged("token_lifetime = \"soon\"").unwrap_err();
        assert!(lifetime.starts_with("token_lifetime: "), "{lifetime}");
        assert!(
            merged("tls = true\ntls_cert = \"a\"")
                .unwrap_err()
                .contains("leave one out")
        );
        for limit in [
            "max_sessions",
            "max_sessions_per_address",
            "max_handshakes",
            "max_message_size",
            "max_requests_in_flight",
            "max_requests_per_second",
        ] {
            for value in ["0", "-1", "\"many\""] {
                let problem = merged(&format!("{limit} = {value}")).unwrap_err();
                assert!(problem.contains(limit), "{problem}");
            }
        }
        assert_eq!(
            merged("max_message_size = 100").unwrap_err(),
            "max_message_size: expected 4096 to 67108864 bytes"
        );
    }

    #[test]
    fn certificates_are_beside_the_file() {
        let text = "tls_cert = \"a.crt\"\ntls_key = \"/b.key\"\ndialect = \"2023\"\ntoken_lifetime = \"1m\"";
        let tls = merged(text).unwrap().tls;
        assert_eq!(tls.tls_cert, Some(PathBuf::from("/etc/home/a.crt")));
        assert_eq!(tls.tls_key, Some(PathBuf::from("/b.key")));
        assert_eq!(tls.token_lifetime, Some(std::time::Duration::from_secs(60)));
    }

    #[test]
    fn limits_of_the_file_are_taken_where_the_command_line_has_none() {
        let args = GatewayArgs {
            limits: LimitOptions {
                max_sessions: NonZeroUsize::new(7),
                ..LimitOptions::default()
            },
            ..GatewayArgs::default()
        };
        let text = "max_sessions = 9\nmax_handshakes = 8\nmax_requests_per_second = 50\n\
                    max_message_size = 65536\nmax_requests_in_flight = 3";
        let merged = merge(args, text, Path::new("")).unwrap();
        let key = hearthgate_protocol::crypto::DeviceKey::from_bytes([1; 16]);
        let mut options = hearthgate_gateway::GatewayOptions::new("a", key);
        merged.limits.apply(&mut options);
        assert_eq!(options.connection.message_max, 65_536);
        let expected = hearthgate_gateway::SessionLimits {
            total: 7,
            handshakes: 8,
            requests_in_flight: 3,
            requests_per_second: NonZeroU32::new(50),
            ..hearthgate_gateway::SessionLimits::default()
        };
        assert_eq!(options.limits, expected);
    }
}
