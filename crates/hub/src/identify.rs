//! Who is at an address: finds the uuid of a gateway of which only the address and the key are known.
//!
//! Input: what is remembered, what the gateway says of itself in the upgrade (section 3), what is heard of
//! it (section 7). Output: a gateway of the `supervisor`, once its key is proven; until then it is tried
//! without an end, and holds nobody up. What was found is remembered, so that it stays what it is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use hearthgate_client::{Client, Discovery, Endpoint, FeedItem, KeepOptions, Target, Trust};
use hearthgate_protocol::beacon::is_valid_uuid;
use hearthgate_protocol::crypto::Credential;
use hearthgate_protocol::variants::{Variants, Wire};
use parking_lot::RwLock;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use toml_edit::{Document, DocumentMut, Item, Table};

use crate::file::{self, FileError, Problem};
use crate::identity::GatewayId;
use crate::supervisor::{GatewaySpec, Inner};

/// How long a gateway that says nothing about itself may take to advertise: one interval and a second.
const HEARD_WITHIN: Duration = Duration::from_secs(6);
const SECTION: &str = "addresses";

/// A gateway of which nothing but the address and the key is known. `Debug` shows no secret.
#[derive(Clone, Debug)]
pub struct AddressSpec {
    /// Where it is.
    pub endpoint: Endpoint,
    /// The device key, or the API key of the older dialect.
    pub key: Credential,
    /// Which certificate is its own, where it speaks TLS.
    pub trust: Trust,
    /// The port of the older dialect's token endpoint.
    pub token_port: u16,
    /// The wire encoding; detected where there is none.
    pub wire: Option<Wire>,
    /// Open choices of the protocol (section 10).
    pub variants: Variants,
}

/// Which gateway was found at which address: a file in the state folder. Cheap to clone.
///
/// ```toml
/// [addresses]
/// "ws://192.0.2.10:8433/" = "bf0123456789abcdef"
/// ```
#[derive(Clone, Debug)]
pub struct Identities {
    /// None: in memory alone.
    path: Option<PathBuf>,
    known: Arc<RwLock<BTreeMap<String, GatewayId>>>,
}

impl Identities {
    /// Returns where the file is: `$XDG_STATE_HOME/hearthgate/addresses.toml`, or the same below
    /// `~/.local/state`.
    ///
    /// # Errors
    /// Where neither folder is known.
    pub fn default_path() -> Result<PathBuf, FileError> {
        let folder = file::user_folder("XDG_STATE_HOME", ".local/state", "the found gateways")?;
        Ok(folder.join("addresses.toml"))
    }

    /// Opens a file; no file is nothing known.
    ///
    /// # Errors
    /// Where it cannot be read or something in it is wrong, with the line. It is left as it is then.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let text = file::read(path)?.unwrap_or_default();
        let known = read(&text).map_err(|problem| problem.in_file(path))?;
        Ok(Self {
            path: Some(path.to_owned()),
            known: Arc::new(RwLock::new(known)),
        })
    }

    /// Makes identities that are kept nowhere.
    pub fn in_memory() -> Self {
        Self {
            path: None,
            known: Arc::default(),
        }
    }

    /// Returns the gateway that was found at an address.
    pub fn at(&self, endpoint: &Endpoint) -> Option<GatewayId> {
        self.known.read().get(&endpoint.to_string()).cloned()
    }

    /// Remembers which gateway is at an address. Writes a small file.
    ///
    /// # Errors
    /// Where the file is wrong or cannot be written.
    pub fn remember(&self, endpoint: &Endpoint, gateway: &GatewayId) -> Result<(), FileError> {
        let address = endpoint.to_string();
        self.known.write().insert(address.clone(), gateway.clone());
        let Some(path) = &self.path else {
            return Ok(());
        };
        file::edit(path, |text| {
            read(text).map_err(|problem| problem.in_file(path))?;
            let mut document: DocumentMut = text
                .parse()
                .map_err(|error| Problem::syntax(text, &error).in_file(path))?;
            let section = document
                .entry(SECTION)
                .or_insert_with(|| Item::Table(Table::new()));
            if let Some(section) = section.as_table_like_mut() {
                section.insert(&address, toml_edit::value(gateway.as_str()));
            }
            Ok((document.to_string(), ()))
        })
    }
}

fn read(text: &str) -> Result<BTreeMap<String, GatewayId>, Problem> {
    let document = Document::parse(text).map_err(|error| Problem::syntax(text, &error))?;
    let mut known = BTreeMap::new();
    for (section, item) in document.as_table() {
        let at = |item: &Item| item.span().map(|span| span.start);
        let Some(table) = item.as_table_like().filter(|_| section == SECTION) else {
            let problem = format!("`{section}` is not known; there is one section, [{SECTION}]");
            return Err(Problem::at(text, at(item), problem));
        };
        for (address, item) in table.iter() {
            match item.as_str() {
                Some(uuid) if is_valid_uuid(uuid) => {
                    known.insert(address.to_owned(), uuid.into());
                }
                _ => {
                    let problem = format!("what is at {address} is the uuid of a gateway");
                    return Err(Problem::at(text, at(item), problem));
                }
            }
        }
    }
    Ok(known)
}

/// Counts itself among the gateways that are not identified yet.
pub(crate) struct Pending {
    count: watch::Sender<usize>,
}

impl Pending {
    pub(crate) fn new(count: &watch::Sender<usize>) -> Self {
        count.send_modify(|count| *count += 1);
        Self {
            count: count.clone(),
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.count
            .send_modify(|count| *count = count.saturating_sub(1));
    }
}

/// Finds out who is at an address and hands the gateway to the hub.
pub(crate) async fn run(
    hub: Weak<Inner>,
    spec: AddressSpec,
    identities: Identities,
    discovery: Option<Arc<Discovery>>,
    pending: Pending,
) {
    let address = spec.endpoint.to_string();
    let target = Target {
        trust: spec.trust.clone(),
        token_port: spec.token_port,
        wire: spec.wire,
        variants: spec.variants,
        ..Target::fixed(spec.endpoint.clone(), spec.key.clone())
    };
    let (_targets, receiver) = watch::channel(target);
    let options = KeepOptions {
        mirror: false,
        ..KeepOptions::new(address.clone())
    };
    let (client, mut feed) = Client::keep(receiver, options);
    let gone = watch_gone(&hub);
    tokio::pin!(gone);
    loop {
        tokio::select! {
            item = feed.next() => match item {
                Some(FeedItem::Up) => break,
                Some(_) => {}
                None => return,
            },
            () = &mut gone => return,
        }
    }
    let said = client.gateway_uuid();
    let (id, how) = match said {
        Some(uuid) => (GatewayId::from(&*uuid), "as it says itself"),
        None => match heard(discovery.as_deref(), &spec.endpoint).await {
            Some(uuid) => (GatewayId::from(&*uuid), "as it advertises itself"),
            None => (
                derived(&spec.endpoint),
                "after its address, since it says nothing",
            ),
        },
    };
    client.close().await;
    tracing::info!("the gateway at {address} is {id}, {how}");
    if let Err(error) = identities.remember(&spec.endpoint, &id) {
        tracing::warn!("the identity of the gateway at {address} is not remembered: {error}");
    }
    if let Some(hub) = hub.upgrade() {
        hub.set(named(spec, id), false);
    }
    drop(pending);
}

/// Makes a gateway of an address, once it is known who is there.
pub(crate) fn named(spec: AddressSpec, id: GatewayId) -> GatewaySpec {
    GatewaySpec {
        trust: spec.trust,
        token_port: spec.token_port,
        wire: spec.wire,
        variants: spec.variants,
        ..GatewaySpec::fixed(id, spec.endpoint, spec.key)
    }
}

/// Waits until the hub is gone.
async fn watch_gone(hub: &Weak<Inner>) {
    while hub.strong_count() > 0 {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Returns the uuid that is advertised from an address and port, within a few seconds.
async fn heard(discovery: Option<&Discovery>, endpoint: &Endpoint) -> Option<Arc<str>> {
    let discovery = discovery?;
    let deadline = Instant::now() + HEARD_WITHIN;
    let place = (endpoint.host(), endpoint.port());
    let addresses: Vec<_> = timeout_at(deadline, tokio::net::lookup_host(place))
        .await
        .ok()?
        .ok()?
        .collect();
    let mut changes = discovery.changes();
    loop {
        changes.mark_unchanged();
        let from_there = |at: &std::net::SocketAddr| addresses.contains(at);
        let mut sightings = discovery.sightings().into_iter();
        if let Some(found) = sightings.find(|heard| heard.addresses.iter().any(from_there)) {
            return Some(found.uuid);
        }
        timeout_at(deadline, changes.changed()).await.ok()?.ok()?;
    }
}

/// Makes an id of an address.
fn derived(endpoint: &Endpoint) -> GatewayId {
    let host = endpoint.host();
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || c == '.' {
            c
        } else {
            '-'
        }
    };
    let host: String = host.chars().take(56).map(plain).collect();
    GatewayId::from(format!("{host}-{}", endpoint.port()).as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(text: &str) -> Endpoint {
        text.parse().unwrap()
    }

    #[test]
    fn what_was_found_is_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("addresses.toml");
        let at = endpoint("ws://192.0.2.10:8433");
        let identities = Identities::open(&path).unwrap();
        assert_eq!(identities.at(&at), None);
        identities.remember(&at, &"bf01".into()).unwrap();
        let again = Identities::open(&path).unwrap();
        assert_eq!(again.at(&at), Some("bf01".into()));
        assert_eq!(again.at(&endpoint("ws://192.0.2.10:8434")), None);
    }

    #[test]
    fn a_file_that_is_wrong_is_named_and_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("addresses.toml");
        std::fs::write(&path, "[addresses]\n\"ws://a/\" = 7\n").unwrap();
        let error = Identities::open(&path).unwrap_err().to_string();
        assert!(
            error.contains("line 2") && error.contains("uuid"),
            "{error}"
        );
    }

    #[test]
    fn an_address_makes_a_sound_id() {
        assert_eq!(
            derived(&endpoint("ws://192.0.2.10")).as_str(),
            "192.0.2.10-8433"
        );
        let odd = derived(&endpoint("ws://[::1]:7"));
        assert!(
            is_valid_uuid(odd.as_str()) && !odd.as_str().contains([':', '/']),
            "{odd}"
        );
    }
}
