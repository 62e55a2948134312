//! The gateway's configuration file: the options of the command line, in TOML.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::args::{self, GatewayArgs};
use crate::exit::Failure;

/// An example with every option and its default; a test keeps it true.
pub(crate) const EXAMPLE: &str = include_str!("config.example.toml");

/// The names of all options.
const KEYS: [&str; 18] = [
    "listen",
    "devices",
    "tuya_lan",
    "key_file",
    "uuid",
    "state",
    "advertise",
    "no_advertise",
    "max_sessions",
    "max_sessions_per_address",
    "strict_step",
    "allow_plain",
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
    key_file: Option<PathBuf>,
    uuid: Option<String>,
    state: Option<PathBuf>,
    advertise: Vec<std::net::SocketAddr>,
    no_advertise: bool,
    max_sessions: Option<usize>,
    max_sessions_per_address: Option<usize>,
    strict_step: bool,
    allow_plain: bool,
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
        max_sessions: args.max_sessions.or(file.max_sessions),
        max_sessions_per_address: args
            .max_sessions_per_address
            .or(file.max_sessions_per_address),
        strict_step: args.strict_step || file.strict_step,
        allow_plain: args.allow_plain || file.allow_plain,
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
        merged(&uncommented).unwrap();
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
    }
}
