//! Where the device key comes from: `--key-file FILE`, `--key-file -` (standard input), or
//! `HEARTHGATE_KEY`. It is never an argument, which other users of the machine could see.

use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::path::Path;

use hearthgate_hub::key_file_name;
use hearthgate_protocol::crypto::{ApiKey, Credential, DeviceKey};
use hearthgate_protocol::variants::{Dialect, KeyForm};
use zeroize::Zeroizing;

use crate::exit::Failure;

/// The environment variable.
pub(crate) const VARIABLE: &str = "HEARTHGATE_KEY";
/// More than any key and its line end have.
const LONGEST: u64 = 2048;

/// Reads the key that was given, if one was.
pub(crate) fn read(
    file: Option<&Path>,
    dialect: Dialect,
    form: KeyForm,
) -> Result<Option<Credential>, Failure> {
    let Some(Given { content, origin }) = given(file)? else {
        return Ok(None);
    };
    let wrong = |error: &dyn fmt::Display| Failure::usage(format!("{origin}: {error}"));
    Ok(Some(match dialect {
        Dialect::Current => DeviceKey::parse_file(&content, form)
            .map_err(|error| wrong(&error))?
            .into(),
        Dialect::Older => ApiKey::parse_file(&content)
            .map_err(|error| wrong(&error))?
            .into(),
    }))
}

/// What was given as the key, and where it comes from, for errors.
pub(crate) struct Given {
    pub(crate) content: Zeroizing<Vec<u8>>,
    pub(crate) origin: String,
}

/// Reads what was given as the key, if anything was.
pub(crate) fn given(file: Option<&Path>) -> Result<Option<Given>, Failure> {
    let (content, origin) = match file {
        Some(path) if path == Path::new("-") => {
            let mut content = Vec::new();
            let read = io::stdin().take(LONGEST).read_to_end(&mut content);
            read.map_err(|error| {
                Failure::usage(format!("cannot read the key from standard input: {error}"))
            })?;
            (content, "standard input".to_owned())
        }
        Some(path) => {
            let name = key_file_name(path);
            let content = fs::read(path).map_err(|error| {
                Failure::usage(format!("cannot read the key file {name}: {error}"))
            })?;
            (content, name)
        }
        None => match std::env::var_os(VARIABLE) {
            Some(value) => (value.into_encoded_bytes(), VARIABLE.to_owned()),
            None => return Ok(None),
        },
    };
    let content = Zeroizing::new(content);
    Ok(Some(Given { content, origin }))
}

/// Reads the key that a command cannot do without.
pub(crate) fn required(
    file: Option<&Path>,
    dialect: Dialect,
    form: KeyForm,
) -> Result<Credential, Failure> {
    read(file, dialect, form)?.ok_or_else(|| {
        let (name, origin) = match dialect {
            Dialect::Current => (
                "device key",
                "The vendor's app shows the key of a gateway once LAN control is switched on",
            ),
            Dialect::Older => (
                "API key",
                "It is the OPENAPI_KEY that came with the gateway's developer access",
            ),
        };
        Failure::usage(format!(
            "no {name}: give --key-file FILE, --key-file - for standard input, or {VARIABLE}. {origin}"
        ))
    })
}
