//! The keys of gateways, for those who change them and for the doctor. They never leave from here.
//!
//! Input is the file of the known gateways and what the caller says of others; output are changes of that file
//! and the options of a diagnosis.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hearthgate_client::DiscoveryOptions;
use hearthgate_diagnose::{KeyText, Options, Target};
use hearthgate_hub::{Directory, FileError, GatewayId, KnownGateway};
use hearthgate_protocol::limits::TOKEN_PORT;
use hearthgate_protocol::variants::Dialect;
use parking_lot::Mutex;

/// Where the keys of gateways are. `Debug` shows no secret.
#[derive(Clone, Debug, Default)]
pub struct GatewayAccess {
    directory: Option<PathBuf>,
    adds: bool,
    listen: DiscoveryOptions,
    given: Arc<Mutex<HashMap<GatewayId, Options>>>,
}

impl GatewayAccess {
    /// Makes one of a file of known gateways, in which people add gateways and change keys through the page.
    /// `listen`: where advertisements are heard, for the doctor.
    pub fn directory(path: &Path, listen: DiscoveryOptions) -> Self {
        Self {
            directory: Some(path.to_owned()),
            adds: true,
            listen,
            given: Arc::default(),
        }
    }

    /// Makes it one to which no gateway can be added: the hub looks after some of the file alone.
    pub fn without_adding(mut self) -> Self {
        self.adds = false;
        self
    }

    /// Adds a gateway that is in no file: what the doctor needs to know of it.
    pub fn give(&self, gateway: GatewayId, options: Options) {
        self.given.lock().insert(gateway, options);
    }

    /// Returns the file, if gateways are kept in one.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.directory.as_deref()
    }

    /// Tells whether gateways can be added.
    pub(crate) fn adds(&self) -> bool {
        self.adds
    }

    /// Returns how to diagnose a gateway; none where it is not known here. Reads files.
    ///
    /// # Errors
    /// Where the file or the key is wrong, or there is no key.
    pub(crate) fn options(&self, gateway: &GatewayId) -> Result<Option<Options>, FileError> {
        if let Some(options) = self.given.lock().get(gateway) {
            return Ok(Some(options.clone()));
        }
        let Some(path) = &self.directory else {
            return Ok(None);
        };
        let directory = Directory::load(path)?;
        let known = directory.gateways();
        let Some(known) = known.iter().find(|known| known.uuid == gateway.as_str()) else {
            return Ok(None);
        };
        self.options_of(known).map(Some)
    }

    fn options_of(&self, known: &KnownGateway) -> Result<Options, FileError> {
        let refused =
            |problem: String| FileError::Refused(format!("the gateway {}: {problem}", known.name));
        let text = known.key_text()?.ok_or_else(|| {
            refused("it has no key; enter the one that the vendor's app shows".to_owned())
        })?;
        let key = match known.dialect() {
            Dialect::Current => KeyText::parse(&text).map_err(|error| error.to_string()),
            Dialect::Older => {
                KeyText::parse_api_file(text.as_bytes()).map_err(|error| error.to_string())
            }
        };
        let key = key.map_err(refused)?;
        let target = match known.endpoint() {
            Some(endpoint) => Target::Address(endpoint),
            None => Target::Uuid {
                uuid: known.uuid.clone(),
                listen: self.listen.clone(),
                path: known.path.clone(),
                secure: known.is_secure(),
            },
        };
        Ok(Options {
            dialect: known.dialect(),
            trust: known.trust(),
            token_port: known.token_port.unwrap_or(TOKEN_PORT),
            key_form: known.key_form.unwrap_or_default(),
            wire: known.wire,
            variants: known.variants(),
            ..Options::new(target, key)
        })
    }
}
