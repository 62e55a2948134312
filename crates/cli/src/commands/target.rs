//! Which gateway the commands that diagnose look at, and how: by address, by advertisement, or as it is
//! known; with the text of the key, since how it becomes 16 bytes may be the question.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use clap::Args;
use hearthgate_client::Endpoint;
use hearthgate_diagnose::{KeyText, Options, Target};
use hearthgate_hub::{Directory, KnownGateway};
use hearthgate_protocol::variants::{Dialect, KeyForm, Wire};

use crate::args::{self, GatewayChoice, KeyOptions, VariantOptions};
use crate::exit::Failure;
use crate::tls::TlsOptions;
use crate::{duration, key};

/// The environment variable that names the gateway where no option does.
const GATEWAY_VARIABLE: &str = "HEARTHGATE_GATEWAY";

/// Which gateway, and how to talk to it.
#[derive(Debug, Args)]
pub(crate) struct TargetOptions {
    /// The gateway: the name or uuid of a known one (`hearthgate gateways`), or `ws://HOST[:PORT][/PATH]`
    /// (`wss://` over TLS), port 8433 and path / where there is none [env: HEARTHGATE_GATEWAY].
    #[arg(
        long,
        value_name = "NAME|UUID|URL",
        conflicts_with = "uuid",
        help_heading = "Gateway"
    )]
    gateway: Option<GatewayChoice>,
    /// The gateway, found by its advertisements.
    #[arg(long, value_name = "ID", value_parser = args::uuid, help_heading = "Gateway")]
    uuid: Option<String>,
    /// Where to listen for advertisements, UDP; repeatable [default: 0.0.0.0 on 6669, 6666 and 6667].
    #[arg(long, value_name = "ADDR:PORT", help_heading = "Gateway")]
    listen: Vec<SocketAddr>,
    /// The network interface to listen on alone, such as eth0 (Linux); repeatable [default: all].
    #[arg(long, value_name = "NAME", help_heading = "Gateway")]
    interface: Vec<String>,
    #[command(flatten)]
    key: KeyOptions,
    #[command(flatten)]
    tls: TlsOptions,
    /// How long to wait in each layer, and for each answer.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration::parse, help_heading = "Gateway")]
    timeout: Duration,
    /// The wire encoding; detected where it is not given. `plain` is detected on loopback only.
    #[arg(long, value_name = "WIRE", value_parser = args::choice::<Wire>(Wire::ALL, Wire::name), help_heading = "Variants of the protocol")]
    wire: Option<Wire>,
    #[command(flatten)]
    variants: VariantOptions,
}

impl TargetOptions {
    /// Finds out which gateway is meant, reads its key, and makes options of defaults for everything
    /// else. `any_form`: whether the form of the key is to be found out.
    pub(super) fn options(&self, any_form: bool) -> Result<Options, Failure> {
        let (choice, known) = self.meant()?;
        let dialect = self.tls.dialect(known.as_ref());
        let text = match key_text(self.key.key_file.as_deref(), dialect)? {
            Some(text) => text,
            None => known_key(known.as_ref(), dialect)?,
        };
        let known_form = known.as_ref().and_then(|known| known.key_form);
        let form = self.key.key_form.or(known_form).unwrap_or_default();
        if !any_form && dialect == Dialect::Current {
            text.check(form).map_err(Failure::usage)?;
        }
        let variants = known.as_ref().map(KnownGateway::variants);
        let wire = known.as_ref().and_then(|known| known.wire);
        let mut options = Options::new(self.target(choice, known.as_ref())?, text);
        options.key_form = form;
        options.dialect = dialect;
        options.trust = self.tls.trust(known.as_ref());
        options.token_port = self.tls.token_port(known.as_ref());
        options.wire = self.wire.or(wire);
        options.variants = self.variants.over(variants.unwrap_or_default());
        options.timeout = self.timeout;
        Ok(options)
    }

    /// Returns the gateway that is named, and what is known of it.
    fn meant(&self) -> Result<(Choice, Option<KnownGateway>), Failure> {
        let directory = || Directory::load(&Directory::default_path()?);
        if let Some(uuid) = &self.uuid {
            // It need not be known; then its key is given.
            let known = directory().ok();
            let known = known.and_then(|known| known.find(uuid).ok().cloned());
            let known = known.filter(|known| known.uuid == *uuid);
            return Ok((Choice::Uuid(uuid.clone()), known));
        }
        let gateway = match (&self.gateway, std::env::var(GATEWAY_VARIABLE)) {
            (Some(gateway), _) => gateway.clone(),
            (None, Ok(text)) => text
                .parse()
                .map_err(|error| Failure::usage(format!("{GATEWAY_VARIABLE}: {error}")))?,
            (None, Err(_)) => {
                return Err(Failure::usage(
                    "which gateway? Give --gateway ws://ADDRESS, the name of a known one, or --uuid ID \
                     to find it by its advertisements; `hearthgate discover` lists them",
                ));
            }
        };
        match gateway {
            GatewayChoice::Address(endpoint) => Ok((Choice::Address(endpoint), None)),
            GatewayChoice::Known(name) => {
                let known = directory()?.find(&name)?.clone();
                let choice = match known.endpoint() {
                    Some(endpoint) => Choice::Address(endpoint),
                    None => Choice::Uuid(known.uuid.clone()),
                };
                Ok((choice, Some(known)))
            }
        }
    }

    fn target(&self, choice: Choice, known: Option<&KnownGateway>) -> Result<Target, Failure> {
        let known_path = known.and_then(|known| known.path.clone());
        let secure = self.tls.is_secure(known);
        match choice {
            Choice::Address(endpoint) => {
                let endpoint = match known {
                    Some(_) => endpoint.with_tls(secure),
                    None => endpoint,
                };
                self.tls.check(&endpoint)?;
                Ok(Target::Address(match &self.variants.path {
                    Some(path) => endpoint.with_path(path).map_err(Failure::usage)?,
                    None => endpoint,
                }))
            }
            Choice::Uuid(uuid) => {
                let listen = args::discovery(&self.listen, &self.interface);
                let path = self.variants.path.clone().or(known_path);
                Ok(Target::Uuid {
                    uuid,
                    listen,
                    path,
                    secure,
                })
            }
        }
    }
}

/// By what a gateway is found.
enum Choice {
    Address(Endpoint),
    Uuid(String),
}

/// Returns the text of a known gateway's key; an error says where a key can come from.
fn known_key(known: Option<&KnownGateway>, dialect: Dialect) -> Result<KeyText, Failure> {
    let Some(known) = known.filter(|known| known.has_key()) else {
        // Fails as all commands do.
        key::required(None, dialect, KeyForm::default())?;
        return Err(Failure::usage("no key"));
    };
    let text = known.key_text()?.unwrap_or_default();
    parsed(text.as_bytes(), dialect)
        .map_err(|error| Failure::usage(format!("the gateway {}: its key: {error}", known.name)))
}

/// Reads the text of the key, if one was given.
fn key_text(file: Option<&Path>, dialect: Dialect) -> Result<Option<KeyText>, Failure> {
    let Some(key::Given { content, origin }) = key::given(file)? else {
        return Ok(None);
    };
    parsed(&content, dialect)
        .map(Some)
        .map_err(|error| Failure::usage(format!("{origin}: {error}")))
}

fn parsed(content: &[u8], dialect: Dialect) -> Result<KeyText, String> {
    match dialect {
        Dialect::Current => KeyText::parse_file(content).map_err(|error| error.to_string()),
        Dialect::Older => KeyText::parse_api_file(content).map_err(|error| error.to_string()),
    }
}
