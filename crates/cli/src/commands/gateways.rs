//! `hearthgate gateways`: the known gateways, kept in `gateways.toml`.
//!
//! Keys come from a terminal without echo, from standard input, or stay in a file of their own; no
//! command shows one, other than `export --with-keys`.

use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use hearthgate_client::{Endpoint, Trust, speaks_tls};
use hearthgate_hub::{Added, Directory, KeyText, KnownGateway, key_file_name};
use hearthgate_protocol::crypto::Fingerprint;
use hearthgate_protocol::variants::{KeyForm, Padding, Proof, ProofOver, Wire};

use crate::args::{self, choice};
use crate::exit::Failure;
use crate::tls::TlsOptions;
use crate::{duration, output};

/// More than any key and its line end have.
const LONGEST_KEY: u64 = 2048;
/// The time for the question where a gateway is, before its certificate is looked at.
const LOOK: Duration = Duration::from_secs(2);
/// More than a file with thousands of gateways has.
const LONGEST_FILE: u64 = 8 * 1024 * 1024;
/// Where people find the key.
const WHERE: &str = "The vendor's app shows the device key of a gateway once LAN control is switched on: open \
                     the gateway there, then its settings, then LAN control.";

#[derive(Debug, Args)]
#[command(
    after_help = "The file is $XDG_CONFIG_HOME/hearthgate/gateways.toml, or ~/.config/hearthgate/gateways.toml. \
                        It may be edited by hand; comments survive these commands."
)]
pub(crate) struct GatewaysArgs {
    #[command(subcommand)]
    command: GatewaysCommand,
}

#[derive(Debug, Subcommand)]
enum GatewaysCommand {
    /// Adds a gateway, or changes what is given of one that is known by its uuid
    Add(AddArgs),
    /// Lists the known gateways, without their keys
    List {
        /// Prints an array of `{name, uuid, address, key, key_file, grace, options}`.
        #[arg(long)]
        json: bool,
    },
    /// Forgets a gateway
    Remove {
        /// Its name or uuid.
        name: String,
    },
    /// Gives a gateway another name
    Rename {
        /// Its name or uuid.
        name: String,
        /// The new name.
        new: String,
    },
    /// Prints all known gateways as a file for `import`
    Export {
        /// With their keys: whoever has the output has the gateways.
        #[arg(long)]
        with_keys: bool,
    },
    /// Takes over the gateways of a file, all or none; one without a key keeps the known one
    Import {
        /// The file; `-` for standard input.
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
#[command(after_help = format!("{WHERE}\n
Examples:
  hearthgate gateways add home --uuid bf0123456789abcdef
  hearthgate gateways add home --uuid bf0123456789abcdef --address 192.0.2.10 < home.key
  hearthgate gateways add home --uuid bf0123456789abcdef --key-file home.key
  hearthgate gateways add home --uuid bf0123456789abcdef --tls-fingerprint AB:CD:..
  hearthgate gateways add old --uuid bf0123456789abcdef --address 192.0.2.11 --dialect 2023"))]
struct AddArgs {
    /// What to call it.
    name: String,
    /// Its uuid; `hearthgate discover` lists what is heard.
    #[arg(long, value_name = "ID", value_parser = args::uuid)]
    uuid: String,
    /// Where it is; without it, it is found by its advertisements.
    #[arg(long, value_name = "HOST[:PORT]")]
    address: Option<String>,
    /// The file that holds the device key and will go on doing so; `-` for standard input. Without it
    /// the key is asked for at the terminal, or read from standard input, and kept with the gateway.
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// It speaks TLS (wss://); a fingerprint, a CA or the dialect 2023 says so too.
    #[arg(long)]
    tls: bool,
    #[command(flatten)]
    trust: TlsOptions,
    /// How long it may be away before it counts as unavailable [default: 30s].
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    grace: Option<Duration>,
    /// The wire encoding; detected where it is not given.
    #[arg(long, value_name = "WIRE", value_parser = choice::<Wire>(Wire::ALL, Wire::name), help_heading = "Variants of the protocol")]
    wire: Option<Wire>,
    /// How the text of the key becomes 16 bytes [default: ascii].
    #[arg(long, value_name = "FORM", value_parser = choice::<KeyForm>(KeyForm::ALL, KeyForm::name), help_heading = "Variants of the protocol")]
    key_form: Option<KeyForm>,
    /// What fills the last block of a message [default: pkcs7].
    #[arg(long, value_name = "PADDING", value_parser = choice::<Padding>(Padding::ALL, Padding::name), help_heading = "Variants of the protocol")]
    padding: Option<Padding>,
    /// How a side proves that it knows the key [default: hmac].
    #[arg(long, value_name = "PROOF", value_parser = choice::<Proof>(Proof::ALL, Proof::name), help_heading = "Variants of the protocol")]
    proof: Option<Proof>,
    /// What the proof is computed over [default: raw].
    #[arg(long, value_name = "OVER", value_parser = choice::<ProofOver>(ProofOver::ALL, ProofOver::name), help_heading = "Variants of the protocol")]
    proof_over: Option<ProofOver>,
    /// The request path of the WebSocket [default: /].
    #[arg(long, value_name = "PATH", value_parser = args::path, help_heading = "Variants of the protocol")]
    path: Option<String>,
}

/// Runs the command.
pub(super) fn run(args: GatewaysArgs) -> Result<(), Failure> {
    let path = Directory::default_path()?;
    match args.command {
        GatewaysCommand::Add(args) => add(&path, args),
        GatewaysCommand::List { json } => list(&path, json),
        GatewaysCommand::Remove { name } => {
            let gone = Directory::remove(&path, &name)?;
            say(&format!("forgot the gateway {} ({})", gone.name, gone.uuid))
        }
        GatewaysCommand::Rename { name, new } => {
            let before = Directory::rename(&path, &name, &new)?;
            say(&format!("renamed the gateway {} to {new}", before.name))
        }
        GatewaysCommand::Export { with_keys } => export(&path, with_keys),
        GatewaysCommand::Import { file } => import(&path, &file),
    }
}

fn add(path: &Path, args: AddArgs) -> Result<(), Failure> {
    let directory = Directory::load(path)?;
    let known = directory.gateways().iter().find(|it| it.uuid == args.uuid);
    let has_key = known.is_some_and(KnownGateway::has_key);
    let mut gateway = KnownGateway {
        key: None,
        key_file: None,
        address: args.address,
        tls: args.tls.then_some(true),
        fingerprint: args.trust.tls_fingerprint,
        ca: args.trust.tls_ca.map(std::path::absolute).transpose()?,
        dialect: args.trust.dialect,
        token_port: args.trust.token_port,
        grace: args.grace,
        wire: args.wire,
        padding: args.padding,
        key_form: args.key_form,
        proof: args.proof,
        proof_over: args.proof_over,
        path: args.path,
        ..KnownGateway::new(args.uuid, args.name)
    };
    // What is wrong is better said before somebody types a key.
    gateway.check().map_err(Failure::usage)?;
    match args.key_file {
        Some(file) if file != Path::new("-") => {
            let file = std::path::absolute(&file)?;
            gateway.key_file = Some(file);
            let form = args.key_form.or(known.and_then(|known| known.key_form));
            let dialect = gateway.dialect.or(known.map(KnownGateway::dialect));
            gateway.credential(dialect, form)?;
        }
        _ => gateway.key = ask(&gateway.name, has_key)?,
    }
    if !gateway.has_key() && !has_key {
        return Err(Failure::usage(format!("no key was given. {WHERE}")));
    }
    let done = match Directory::add(path, &gateway)? {
        Added::New => "added",
        Added::Changed => "changed",
        Added::Same => "nothing to change for",
    };
    say(&format!(
        "{done} the gateway {} ({})",
        gateway.name, gateway.uuid
    ))?;
    let directory = Directory::load(path)?;
    say_certificate(directory.find(&gateway.uuid)?)
}

/// Says what is missing where a gateway speaks TLS and nothing says which certificate is its own. What is
/// seen there is never taken over by itself.
fn say_certificate(known: &KnownGateway) -> Result<(), Failure> {
    if !known.is_secure() || known.trust() != Trust::Nothing {
        return Ok(());
    }
    let KnownGateway { name, uuid, .. } = known;
    let accept = format!("hearthgate gateways add \"{name}\" --uuid {uuid} --tls-fingerprint");
    let seen = known.endpoint().and_then(|endpoint| look(&endpoint));
    say(&match seen {
        Some(seen) => format!(
            "its certificate is not trusted yet. The one that is seen there has the fingerprint\n  {seen}\n\
             Compare it with what the gateway prints at its start; if they are equal:\n  {accept} {seen}"
        ),
        None => format!(
            "its certificate is not trusted yet: connections are refused, and name the fingerprint that they \
             see, until it is given:\n  {accept} SHA256"
        ),
    })
}

/// Looks which certificate is shown at an address.
fn look(endpoint: &Endpoint) -> Option<Fingerprint> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .ok()?;
    runtime.block_on(async {
        let place = (endpoint.host(), endpoint.port());
        let found = tokio::time::timeout(LOOK, tokio::net::lookup_host(place)).await;
        let address = found.ok()?.ok()?.next()?;
        speaks_tls(address, endpoint.host()).await.flatten()
    })
}

/// Asks for the key at the terminal, without echo, or takes it from standard input; none where the
/// answer is empty.
fn ask(name: &str, has_key: bool) -> Result<Option<KeyText>, Failure> {
    let failed = |error: io::Error| Failure::usage(format!("cannot read the key: {error}"));
    let mut text = if io::stdin().is_terminal() {
        let hint = if has_key {
            " (empty: stays as it is)"
        } else {
            ""
        };
        rpassword::prompt_password(format!("{WHERE}\nDevice key of {name}{hint}: "))
            .map_err(failed)?
    } else {
        let mut text = String::new();
        let mut stdin = io::stdin().take(LONGEST_KEY);
        stdin.read_to_string(&mut text).map_err(failed)?;
        text
    };
    // One line end and nothing else: blanks are part of a key.
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok((!text.is_empty()).then(|| KeyText::new(text)))
}

fn list(path: &Path, json: bool) -> Result<(), Failure> {
    let directory = Directory::load(path)?;
    let gateways = directory.gateways();
    if json {
        let objects: Vec<String> = gateways.iter().map(object).collect();
        return Ok(output::json_array(objects.iter().map(String::as_str))?);
    }
    let rows = gateways
        .iter()
        .map(|known| {
            let options = chosen(known)
                .into_iter()
                .map(|(name, value)| format!("{name}={value}"));
            [
                known.name.clone(),
                known.uuid.clone(),
                known.address.clone().unwrap_or("(found)".to_owned()),
                match (&known.key, &known.key_file) {
                    (Some(_), _) => "known".to_owned(),
                    (None, Some(file)) => format!("in {}", key_file_name(file)),
                    (None, None) => "none".to_owned(),
                },
                options.collect::<Vec<_>>().join(" "),
            ]
        })
        .collect();
    Ok(output::table(
        ["NAME", "UUID", "ADDRESS", "KEY", "OPTIONS"],
        rows,
        "no gateway is known yet: `hearthgate gateways add NAME --uuid UUID` adds one",
    )?)
}

fn object(known: &KnownGateway) -> String {
    let key = match (&known.key, &known.key_file) {
        (Some(_), _) => Some("inline"),
        (None, Some(_)) => Some("file"),
        (None, None) => None,
    };
    let options: serde_json::Map<String, serde_json::Value> = chosen(known)
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    serde_json::json!({
        "name": known.name,
        "uuid": known.uuid,
        "address": known.address,
        "key": key,
        "key_file": known.key_file,
        "grace": known.grace().as_secs_f64(),
        "options": options,
    })
    .to_string()
}

/// Returns the options that are not left to their defaults.
fn chosen(known: &KnownGateway) -> Vec<(&'static str, String)> {
    [
        ("tls", known.tls.map(|tls| tls.to_string())),
        ("dialect", known.dialect.map(|choice| choice.to_string())),
        ("token_port", known.token_port.map(|port| port.to_string())),
        ("wire", known.wire.map(|choice| choice.to_string())),
        ("padding", known.padding.map(|choice| choice.to_string())),
        ("key_form", known.key_form.map(|choice| choice.to_string())),
        ("proof", known.proof.map(|choice| choice.to_string())),
        (
            "proof_over",
            known.proof_over.map(|choice| choice.to_string()),
        ),
        ("path", known.path.clone()),
        (
            "ca",
            known.ca.as_ref().map(|path| path.display().to_string()),
        ),
        // The longest: what a narrow terminal cuts off is not the others.
        ("fingerprint", known.fingerprint.map(|it| it.to_string())),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
    .collect()
}

fn export(path: &Path, with_keys: bool) -> Result<(), Failure> {
    let directory = Directory::load(path)?;
    let gateways = directory
        .gateways()
        .iter()
        .cloned()
        .map(|known| {
            if with_keys {
                known.with_key_inline()
            } else {
                Ok(known.without_key())
            }
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(output::line(Directory::text(&gateways).trim_end())?)
}

fn import(path: &Path, file: &Path) -> Result<(), Failure> {
    let failed =
        |error: io::Error| Failure::usage(format!("cannot read {}: {error}", file.display()));
    let mut text = String::new();
    if file == Path::new("-") {
        let mut stdin = io::stdin().take(LONGEST_FILE);
        stdin.read_to_string(&mut text).map_err(failed)?;
    } else {
        let opened = std::fs::File::open(file).map_err(failed)?;
        opened
            .take(LONGEST_FILE)
            .read_to_string(&mut text)
            .map_err(failed)?;
    }
    let gateways = Directory::parse(&text, &std::path::absolute(file)?)?;
    let added = Directory::import(path, gateways.gateways())?;
    let count = |what: Added| added.iter().filter(|added| **added == what).count();
    say(&format!(
        "{} new, {} changed, {} as they were",
        count(Added::New),
        count(Added::Changed),
        count(Added::Same)
    ))?;
    let directory = Directory::load(path)?;
    let bare: Vec<&str> = directory
        .gateways()
        .iter()
        .filter(|known| !known.has_key())
        .map(|known| known.name.as_str())
        .collect();
    if !bare.is_empty() {
        say(&format!(
            "without a key yet: {}; `hearthgate gateways add NAME --uuid UUID` asks for it",
            bare.join(", ")
        ))?;
    }
    Ok(())
}

fn say(text: &str) -> Result<(), Failure> {
    Ok(output::line(text)?)
}
