//! Which gateways a hub looks after.
//!
//! Input are the command line, the configuration and the file of known gateways; output goes to the hub,
//! and to the page's doctor what it needs to reach them.

use std::path::{Path, PathBuf};

use hearthgate_client::Endpoint;
use hearthgate_diagnose::{Options, Target};
use hearthgate_hub::{AddressSpec, Directory, GatewayId, GatewaySpec, Hub, Identities};
use hearthgate_protocol::crypto::{Credential, DeviceKey, KeyText};
use hearthgate_protocol::variants::{Dialect, KeyForm};
use hearthgate_web::GatewayAccess;
use tokio::sync::watch;

use crate::args::GatewayChoice;
use crate::exit::Failure;
use crate::hub_args::{AddressedArgs, GivenGateway};
use crate::{key, known};

/// Which gateways, before anything is connected.
pub(super) struct Plan {
    /// Known ones, all or by name, that follow their file.
    follow: Option<(PathBuf, Option<Vec<String>>)>,
    known_count: usize,
    /// Those that are known and have an address or a key of the command line.
    fixed: Vec<GatewaySpec>,
    /// Those of which only the address is known.
    addresses: Vec<AddressSpec>,
    /// What the doctor needs to know of those that are in no file, or have another key there; by id where
    /// that is known.
    examined: Vec<(Option<GatewayId>, Endpoint, Options)>,
}

impl Plan {
    pub(super) fn new(
        given: &[GivenGateway],
        how: &AddressedArgs,
        may_be_empty: bool,
    ) -> Result<Self, Failure> {
        let path = Directory::default_path()?;
        let directory = Directory::load(&path)?;
        if given.is_empty() {
            let known_count = directory.gateways().len();
            if known_count == 0 && !may_be_empty {
                return Err(Failure::usage(
                    "no gateway: none is known (`hearthgate discover`, then `hearthgate gateways add NAME --uuid UUID`), \
                     and there is no --gateway",
                ));
            }
            return Ok(Self {
                follow: Some((path, None)),
                known_count,
                fixed: Vec::new(),
                addresses: Vec::new(),
                examined: Vec::new(),
            });
        }
        let mut plan = Self {
            follow: None,
            known_count: 0,
            fixed: Vec::new(),
            addresses: Vec::new(),
            examined: Vec::new(),
        };
        let mut names = Vec::new();
        for GivenGateway { gateway, key_file } in given {
            match gateway {
                GatewayChoice::Known(name) => {
                    let (known, _) = known::find(name)?;
                    let form = known.key_form.unwrap_or_default();
                    match key_file {
                        Some(file) => plan.fixed.push(GatewaySpec {
                            key: key::read(Some(file), known.dialect(), form)?,
                            problem: None,
                            ..GatewaySpec::of(&known)
                        }),
                        None => names.push(known.uuid),
                    }
                }
                GatewayChoice::Address(endpoint) => {
                    plan.add_address(&directory, endpoint, key_file.as_deref(), how)?;
                }
            }
        }
        plan.known_count = names.len();
        plan.follow = (!names.is_empty()).then_some((path, Some(names)));
        Ok(plan)
    }

    /// Adds the gateway at an address; one that is known to be there is that one.
    fn add_address(
        &mut self,
        directory: &Directory,
        endpoint: &Endpoint,
        key_file: Option<&Path>,
        how: &AddressedArgs,
    ) -> Result<(), Failure> {
        let at = |known: &&hearthgate_hub::KnownGateway| {
            known
                .endpoint()
                .is_some_and(|known| known.authority() == endpoint.authority())
        };
        if let Some(known) = directory.gateways().iter().find(at) {
            let own = GatewaySpec::of(known);
            let form = known.key_form.unwrap_or_default();
            let given = given_key(key_file, known.dialect(), form)?;
            if let Some((text, _)) = &given {
                let options = Options {
                    dialect: known.dialect(),
                    trust: own.trust.clone(),
                    token_port: own.token_port,
                    key_form: form,
                    wire: own.wire,
                    variants: own.variants,
                    ..Options::new(Target::Address(endpoint.clone()), text.clone())
                };
                let id = Some(own.id.clone());
                self.examined.push((id, endpoint.clone(), options));
            }
            let key = given.map(|(_, key)| key).or(own.key.clone());
            let problem = own.problem.clone().filter(|_| key.is_none());
            self.fixed.push(GatewaySpec {
                fixed: Some(endpoint.clone()),
                key,
                problem,
                ..own
            });
            return Ok(());
        }
        how.tls.check(endpoint)?;
        let endpoint = match &how.variants.path {
            Some(path) => endpoint.clone().with_path(path).map_err(Failure::usage)?,
            None => endpoint.clone(),
        };
        let dialect = how.tls.dialect(None);
        let form = how.key_form.unwrap_or_default();
        let (text, key) =
            given_key(key_file, dialect, form)?.ok_or_else(|| no_key(&endpoint, dialect))?;
        let spec = AddressSpec {
            endpoint: endpoint.clone(),
            key,
            trust: how.tls.trust(None),
            token_port: how.tls.token_port(None),
            wire: how.wire,
            variants: how.variants.variants(),
        };
        let options = Options {
            dialect,
            trust: spec.trust.clone(),
            token_port: spec.token_port,
            key_form: form,
            wire: spec.wire,
            variants: spec.variants,
            ..Options::new(Target::Address(endpoint.clone()), text)
        };
        self.addresses.push(spec);
        self.examined.push((None, endpoint, options));
        Ok(())
    }

    pub(super) fn count(&self) -> usize {
        self.known_count + self.fixed.len() + self.addresses.len()
    }

    pub(super) fn carry_out(
        self,
        hub: &Hub,
        identities: &Identities,
        access: &GatewayAccess,
    ) -> Result<(), Failure> {
        for (id, endpoint, options) in self.examined {
            match id.or_else(|| identities.at(&endpoint)) {
                Some(id) => access.give(id, options),
                None => {
                    let (access, identities) = (access.clone(), identities.clone());
                    let unidentified = hub.unidentified();
                    tokio::spawn(async move {
                        give_once_found(&access, &identities, unidentified, &endpoint, options)
                            .await;
                    });
                }
            }
        }
        for spec in self.fixed {
            hub.set(spec);
        }
        for spec in self.addresses {
            hub.set_address(spec, identities);
        }
        if let Some((path, only)) = self.follow {
            hub.follow(&path, only)?;
        }
        Ok(())
    }
}

/// Tells the page's doctor how to reach a gateway, once it is known who it is.
async fn give_once_found(
    access: &GatewayAccess,
    identities: &Identities,
    mut unidentified: watch::Receiver<usize>,
    endpoint: &Endpoint,
    options: Options,
) {
    while unidentified.changed().await.is_ok() {
        if let Some(id) = identities.at(endpoint) {
            return access.give(id, options);
        }
    }
}

/// Reads the key that was given, as text and in its form, if one was.
fn given_key(
    file: Option<&Path>,
    dialect: Dialect,
    form: KeyForm,
) -> Result<Option<(KeyText, Credential)>, Failure> {
    let Some(text) = key::text(file, dialect)? else {
        return Ok(None);
    };
    let key = match dialect {
        Dialect::Current => DeviceKey::parse(text.expose(), form)
            .map_err(Failure::usage)?
            .into(),
        Dialect::Older => text.api_key().map_err(Failure::usage)?.into(),
    };
    Ok(Some((text, key)))
}

fn no_key(endpoint: &Endpoint, dialect: Dialect) -> Failure {
    let what = match dialect {
        Dialect::Current => "device key",
        Dialect::Older => "API key",
    };
    Failure::usage(format!(
        "no {what} for {endpoint}: give --key-file FILE right after it, or {}",
        key::VARIABLE
    ))
}
