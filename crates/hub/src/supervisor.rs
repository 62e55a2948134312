//! Many gateways: a kept client for each, added and removed as they become known.
//!
//! Input: the known gateways, from `directory` or from the caller, and the advertisements that discovery
//! hears. Output: one task per gateway (`member`), whose findings come together in `feed`; writes go to
//! the client of their gateway.

mod member;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use hearthgate_client::{
    Client, ClientError, Dial, Discovery, DiscoveryOptions, Endpoint, Feed, KeepOptions, Sighting,
    Target, Trust,
};
use hearthgate_protocol::crypto::Credential;
use hearthgate_protocol::limits::TOKEN_PORT;
use hearthgate_protocol::model::{Device, Home, Reading};
use hearthgate_protocol::variants::{Variants, Wire};
use hearthgate_protocol::wire::DeviceWrite;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::directory::{Directory, KnownGateway};
use crate::feed::{Board, GatewayInfo, HubFeed, Link};
use crate::file::FileError;
use crate::grace::DEFAULT_GRACE;
use crate::identify::{self, AddressSpec, Identities, Pending};
use crate::identity::{DeviceRef, GatewayId};
use crate::names::Names;
use member::Member;

/// How often the file of the known gateways is looked at.
const LOOK: Duration = Duration::from_secs(2);

/// How to look after one gateway. `Debug` shows no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewaySpec {
    /// Who it is: its uuid.
    pub id: GatewayId,
    /// What people call it, where [`Names`] has no other name.
    pub name: String,
    /// Where it is; found by its advertisements where there is none.
    pub fixed: Option<Endpoint>,
    /// The device key, or the API key of the older dialect; without one there is no connection.
    pub key: Option<Credential>,
    /// Why there is no key.
    pub problem: Option<String>,
    /// Whether it speaks TLS, where it is found by its advertisements.
    pub secure: bool,
    /// Which certificate is its own, where it speaks TLS.
    pub trust: Trust,
    /// The port of the older dialect's token endpoint.
    pub token_port: u16,
    /// The wire encoding; detected where there is none.
    pub wire: Option<Wire>,
    /// Open choices of the protocol (section 10).
    pub variants: Variants,
    /// The request path, where it is found by its advertisements.
    pub path: Option<String>,
    /// How long it may be away before it counts as unavailable.
    pub grace: Duration,
}

/// How to set up a [`Hub`].
#[derive(Clone, Debug)]
pub struct HubOptions {
    /// Where to listen for advertisements; nowhere where there is none.
    pub discovery: Option<DiscoveryOptions>,
    /// Names of gateways and devices.
    pub names: Names,
}

/// Why something did not work with one of many gateways.
#[derive(Clone, Debug, thiserror::Error)]
pub enum HubError {
    /// The hub has no such gateway.
    #[error("no gateway {0} is known to the hub")]
    UnknownGateway(GatewayId),
    /// The gateway has no key yet.
    #[error("the gateway {0} has no key yet: nothing was sent")]
    NoKey(GatewayId),
    /// The gateway, or the way to it.
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// Many gateways as one; cheap to clone. When the last clone is dropped all connections are closed, in
/// the background; a program that ends calls [`Hub::close`] before.
#[derive(Clone, Debug)]
pub struct Hub {
    inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    board: Arc<Board>,
    names: Names,
    discovery: Option<Arc<Discovery>>,
    connect: Connect,
    /// How many gateways are known by their address alone.
    unidentified: watch::Sender<usize>,
    members: Mutex<HashMap<GatewayId, Entry>>,
}

/// How kept clients are made: over TCP, or over what a test has instead.
#[derive(Clone)]
struct Connect(Arc<dyn Fn(watch::Receiver<Target>, KeepOptions) -> (Client, Feed) + Send + Sync>);

impl std::fmt::Debug for Connect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connect")
    }
}

#[derive(Debug)]
struct Entry {
    /// One place: of several changes only the newest is seen.
    specs: watch::Sender<GatewaySpec>,
    client: Arc<Mutex<Option<Client>>>,
    task: AbortHandle,
    /// Whether it came from the file.
    from_file: bool,
}

impl GatewaySpec {
    /// Makes one of defaults, at a known address.
    pub fn fixed(id: impl Into<GatewayId>, endpoint: Endpoint, key: impl Into<Credential>) -> Self {
        let id = id.into();
        Self {
            name: id.to_string(),
            id,
            secure: endpoint.is_secure(),
            fixed: Some(endpoint),
            key: Some(key.into()),
            problem: None,
            trust: Trust::default(),
            token_port: TOKEN_PORT,
            wire: None,
            variants: Variants::default(),
            path: None,
            grace: DEFAULT_GRACE,
        }
    }

    /// Makes one of a known gateway; reads its key file if it has one. Where that fails, there is no
    /// key and a problem.
    pub fn of(known: &KnownGateway) -> Self {
        let (key, problem) = match known.credential(None, None) {
            Ok(Some(key)) => (Some(key), None),
            Ok(None) => (
                None,
                Some(format!(
                    "it has no key: `hearthgate gateways add \"{}\" --uuid {}` asks for it",
                    known.name, known.uuid
                )),
            ),
            Err(error) => (None, Some(error.to_string())),
        };
        Self {
            id: GatewayId::from(known.uuid.as_str()),
            name: known.name.clone(),
            fixed: known.endpoint(),
            key,
            problem,
            secure: known.is_secure(),
            trust: known.trust(),
            token_port: known.token_port.unwrap_or(TOKEN_PORT),
            wire: known.wire,
            variants: known.variants(),
            path: known.path.clone(),
            grace: known.grace(),
        }
    }
}

impl Default for HubOptions {
    /// Listens on the usual ports; names are kept in memory.
    fn default() -> Self {
        Self {
            discovery: Some(DiscoveryOptions::default()),
            names: Names::in_memory(),
        }
    }
}

impl Hub {
    /// Starts without a gateway; has to be called within a runtime. Where nothing can be heard, the log
    /// says so, and gateways with a fixed address work nevertheless.
    pub fn start(options: HubOptions) -> Self {
        Self::start_over(options, Connect(Arc::new(Client::keep)))
    }

    /// The same over streams that come from elsewhere, as tests and tunnels have them.
    pub fn start_with<D: Dial + Clone + Sync>(options: HubOptions, dial: D) -> Self {
        let keep = move |targets, options| Client::keep_with(dial.clone(), targets, options);
        Self::start_over(options, Connect(Arc::new(keep)))
    }

    fn start_over(options: HubOptions, connect: Connect) -> Self {
        let discovery = options.discovery.and_then(|options| {
            Discovery::start(&options)
                .inspect_err(|error| tracing::warn!("gateways cannot be found: {error}"))
                .ok()
                .map(Arc::new)
        });
        Self {
            inner: Arc::new(Inner {
                board: Arc::default(),
                names: options.names,
                discovery,
                connect,
                unidentified: watch::Sender::new(0),
                members: Mutex::default(),
            }),
        }
    }

    /// Looks after a gateway, or takes over what differs for one that it looks after: a changed key or
    /// address takes effect at once.
    pub fn set(&self, spec: GatewaySpec) {
        self.inner.set(spec, false);
    }

    /// Looks after the gateway at an address, whoever it is: at once where that is remembered, otherwise
    /// once it has proven that it knows the key and said who it is, is heard, or is known by its address
    /// for want of anything else. It is tried without an end and holds no other one up.
    pub fn set_address(&self, spec: AddressSpec, identities: &Identities) {
        if let Some(id) = identities.at(&spec.endpoint) {
            return self.set(identify::named(spec, id));
        }
        tokio::spawn(identify::run(
            Arc::downgrade(&self.inner),
            spec,
            identities.clone(),
            self.inner.discovery.clone(),
            Pending::new(&self.inner.unidentified),
        ));
    }

    /// Returns how many gateways are known by their address alone, and changes of it: while there are
    /// any, nobody can tell that a gateway is known no more.
    pub fn unidentified(&self) -> watch::Receiver<usize> {
        self.inner.unidentified.subscribe()
    }

    /// Closes the connection to a gateway and forgets its devices. Tells whether it was there.
    pub fn remove(&self, gateway: &GatewayId) -> bool {
        self.inner.remove(gateway)
    }

    /// Looks after the gateways of a file (all, or those named), and follows it: what is added, changed
    /// or removed there, or in a key file, takes effect within a few seconds. While the file is wrong
    /// all stays as it was, and the log says why.
    ///
    /// # Errors
    /// Where the file is wrong now, or a named gateway is not in it.
    pub fn follow(&self, path: &Path, only: Option<Vec<String>>) -> Result<(), FileError> {
        let specs = read(path, only.as_deref())?;
        self.inner.take_over(&specs);
        let watcher = Watcher {
            inner: Arc::downgrade(&self.inner),
            path: path.to_owned(),
            only,
            specs,
            problem: None,
        };
        tokio::spawn(watcher.run());
        Ok(())
    }

    /// Returns all gateways, in the order in which they became known.
    pub fn gateways(&self) -> Vec<GatewayInfo> {
        self.inner.board.gateways()
    }

    /// Returns what was heard of all gateways that advertise themselves, known or not.
    pub fn heard(&self) -> Vec<Sighting> {
        let discovery = self.inner.discovery.as_ref();
        discovery.map_or_else(Vec::new, |discovery| discovery.sightings())
    }

    /// Tells whether a gateway comes from the file that is followed.
    pub fn is_from_file(&self, gateway: &GatewayId) -> bool {
        let members = self.inner.members.lock();
        members.get(gateway).is_some_and(|entry| entry.from_file)
    }

    /// Returns a device as the feed has it.
    pub fn device(&self, device: &DeviceRef) -> Option<Device> {
        let look = |home: &Home| home.device(device.device.as_str()).cloned();
        self.inner.board.read(device.gateway.as_str(), look)?
    }

    /// Looks at all devices of a gateway at one moment; keep it short, since the feed waits meanwhile.
    pub fn read<R>(&self, gateway: &GatewayId, look: impl FnOnce(&Home) -> R) -> Option<R> {
        self.inner.board.read(gateway.as_str(), look)
    }

    /// Returns a feed of everything: the snapshot first, then all that happens.
    pub fn subscribe(&self) -> HubFeed {
        self.inner.board.subscribe()
    }

    /// Returns the client of a gateway, for whatever the hub does not do itself.
    ///
    /// # Errors
    /// Where there is no such gateway, or it has no key.
    pub fn client(&self, gateway: &GatewayId) -> Result<Client, HubError> {
        let members = self.inner.members.lock();
        let entry = members
            .get(gateway)
            .ok_or_else(|| HubError::UnknownGateway(gateway.clone()))?;
        let client = entry.client.lock().clone();
        client.ok_or_else(|| HubError::NoKey(gateway.clone()))
    }

    /// Writes data points of a device; its gateway checks all of it before it does any. The new state
    /// comes as an event. Never repeated: only the user knows whether a write may be.
    ///
    /// # Errors
    /// Where there is no connection at the moment, or the gateway refuses.
    pub async fn write(
        &self,
        device: &DeviceRef,
        readings: Vec<Reading>,
    ) -> Result<String, HubError> {
        let client = self.client(&device.gateway)?;
        let write = DeviceWrite {
            device: device.device.clone(),
            readings,
        };
        Ok(client.set(vec![write]).await?)
    }

    /// Returns the names of gateways and devices.
    pub fn names(&self) -> &Names {
        &self.inner.names
    }

    /// Gives a device a name, or takes it away, and tells all subscribers. Writes a small file.
    ///
    /// # Errors
    /// As [`Names::rename_device`].
    pub fn rename_device(&self, device: &DeviceRef, name: Option<&str>) -> Result<(), FileError> {
        let before = self.inner.names.rename_device(device, name)?;
        if before.as_deref() != name {
            self.inner.board.renamed(device.clone(), before);
        }
        Ok(())
    }

    /// Gives a gateway a name, or takes it away, and tells all subscribers. Writes a small file.
    ///
    /// # Errors
    /// As [`Names::rename_gateway`].
    pub fn rename_gateway(&self, gateway: &GatewayId, name: Option<&str>) -> Result<(), FileError> {
        self.inner.names.rename_gateway(gateway, name)?;
        if let Some(entry) = self.inner.members.lock().get(gateway) {
            // Looked at again, though nothing in it differs.
            entry.specs.send_modify(|_| {});
        }
        Ok(())
    }

    /// Closes all connections, each within 4 s, and ends all feeds.
    pub async fn close(&self) {
        let entries: Vec<Entry> = self.inner.members.lock().drain().map(|it| it.1).collect();
        let mut closing = tokio::task::JoinSet::new();
        for entry in entries {
            if let Some(client) = entry.client.lock().take() {
                closing.spawn(async move { client.close().await });
            }
        }
        while closing.join_next().await.is_some() {}
        self.inner.board.end();
    }
}

impl Inner {
    pub(crate) fn set(&self, spec: GatewaySpec, from_file: bool) {
        let mut members = self.members.lock();
        if let Some(entry) = members.get(&spec.id) {
            if from_file && !entry.from_file {
                return;
            }
            entry.specs.send_if_modified(|known| {
                let differs = *known != spec;
                *known = spec;
                differs
            });
            return;
        }
        let (id, name) = (spec.id.clone(), spec.name.clone());
        let (specs, receiver) = watch::channel(spec);
        let client = Arc::default();
        self.board.add(GatewayInfo {
            id: id.clone(),
            name: self.names.gateway(&id).unwrap_or(name),
            link: Link::Connecting,
            synced: false,
            available: false,
        });
        let member = Member {
            id: id.clone(),
            specs: receiver,
            board: Arc::clone(&self.board),
            names: self.names.clone(),
            connect: self.connect.clone(),
            following: self
                .discovery
                .as_ref()
                .map(|discovery| discovery.follow(id.as_str())),
            client: Arc::clone(&client),
        };
        let task = tokio::spawn(member.run()).abort_handle();
        let entry = Entry {
            specs,
            client,
            task,
            from_file,
        };
        members.insert(id, entry);
    }

    fn remove(&self, gateway: &GatewayId) -> bool {
        let mut members = self.members.lock();
        let known = members.remove(gateway).is_some();
        self.board.remove(gateway);
        known
    }

    /// Makes the gateways from the file these.
    fn take_over(&self, specs: &[GatewaySpec]) {
        let gone: Vec<GatewayId> = {
            let members = self.members.lock();
            let listed = |id: &GatewayId| specs.iter().any(|spec| spec.id == *id);
            let gone = members
                .iter()
                .filter(|(id, entry)| entry.from_file && !listed(id));
            gone.map(|(id, _)| id.clone()).collect()
        };
        for id in gone {
            tracing::info!("the gateway {id} is known no more");
            self.remove(&id);
        }
        for spec in specs {
            self.set(spec.clone(), true);
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.board.end();
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        // Whoever holds the client only to write does not keep the connection.
        self.task.abort();
        self.client.lock().take();
    }
}

/// Follows the file of the known gateways.
struct Watcher {
    inner: Weak<Inner>,
    path: PathBuf,
    only: Option<Vec<String>>,
    specs: Vec<GatewaySpec>,
    /// What is wrong with the file, as it was logged.
    problem: Option<String>,
}

impl Watcher {
    async fn run(mut self) {
        loop {
            tokio::time::sleep(LOOK).await;
            if self.inner.strong_count() == 0 {
                return;
            }
            // Files may be on a disk that is slow.
            let (path, only) = (self.path.clone(), self.only.clone());
            let looked = tokio::task::spawn_blocking(move || read(&path, only.as_deref())).await;
            let (Ok(outcome), Some(inner)) = (looked, self.inner.upgrade()) else {
                return;
            };
            match outcome {
                Ok(specs) => {
                    if self.problem.take().is_some() {
                        tracing::info!("{} is right again", self.path.display());
                    }
                    if specs != self.specs {
                        inner.take_over(&specs);
                        self.specs = specs;
                    }
                }
                Err(error) => {
                    let problem = Some(error.to_string());
                    if problem != self.problem {
                        tracing::warn!("{error}; the known gateways stay as they were");
                        self.problem = problem;
                    }
                }
            }
        }
    }
}

fn read(path: &Path, only: Option<&[String]>) -> Result<Vec<GatewaySpec>, FileError> {
    let directory = Directory::load(path)?;
    let mut specs = Vec::new();
    match only {
        None => specs.extend(directory.gateways().iter().map(GatewaySpec::of)),
        Some(only) => {
            for name in only {
                specs.push(GatewaySpec::of(directory.find(name)?));
            }
        }
    }
    Ok(specs)
}
