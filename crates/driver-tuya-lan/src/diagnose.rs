//! Finds out how to talk to a device, or which of address, key and version is wrong; then shows it live.

use std::sync::Arc;
use std::time::Duration;

use hearthgate_gateway::CommandFault;
use hearthgate_protocol::model::{Change, Device, DeviceId};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::config::{DeviceConfig, Direct, LanConfig, Reach};
use crate::dial::Dial;
use crate::host::Host;
use crate::lan::Lan;
use crate::link::{Boxed, Cause, Connector, Dialect, LinkEvent, Target, Version};
use crate::sightings::{ListenError, Listener, Sighting};
use crate::task::{Outlet, Task};
use crate::unit::Action;

/// Changes that may wait to be shown; where they are not taken the device's reports wait.
const CHANGES_WAITING: usize = 64;

/// Which device to try.
#[derive(Clone, Debug)]
pub struct Trial {
    /// The device whose connection it is.
    own: DeviceConfig,
    direct: Direct,
    /// Those behind it.
    subs: Vec<DeviceConfig>,
    listen: Vec<std::net::SocketAddr>,
}

/// How a device can be talked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The version that it understands.
    pub version: Version,
    /// How it is asked for its state.
    pub dialect: Dialect,
}

/// Which of address, key and version is wrong.
#[derive(Debug, thiserror::Error)]
pub enum TryError {
    /// There is no such device in the files.
    #[error(
        "there is no device {0} in these files; `hearthgate lan import FILE` lists what is in one"
    )]
    Unknown(String),
    /// Announcements cannot be heard.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// Its address is not known.
    #[error(
        "address: {device} has none configured and did not announce itself within {seconds}s. Check that it is on and \
         in this network (announcements do not cross routers), or give its address"
    )]
    Unheard {
        /// The device.
        device: String,
        /// How long it was listened for.
        seconds: u64,
    },
    /// Nobody takes connections there.
    #[error(
        "address: {device} cannot be reached at {address}: {reason}. Check that it is on, and its address with \
         `hearthgate lan scan`{}",
        elsewhere.map_or(String::new(), |at| format!("; it announces itself from {at}"))
    )]
    Unreachable {
        /// The device.
        device: String,
        /// Where it was tried.
        address: String,
        /// What the system says.
        reason: String,
        /// Where it announces itself.
        elsewhere: Option<std::net::IpAddr>,
    },
    /// Another version works with this key and at this address.
    #[error(
        "version: {device} at {address} speaks version {works}, and {given} is configured; the key is right"
    )]
    WrongVersion {
        /// The device.
        device: String,
        /// Where it is.
        address: String,
        /// What is configured.
        given: Version,
        /// What works.
        works: Version,
    },
    /// It is understood and does not tell its state.
    #[error(
        "{device} is understood and told no state within {seconds}s: a sub-device may be asleep, or its cid wrong"
    )]
    NoState {
        /// The device.
        device: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// No version works.
    #[error(
        "key: {device} at {address} takes connections and understands none of the versions {} with this key{}. A device \
         that was paired again has a new key: fetch it with `tinytuya wizard`. If it is right, others hold the \
         device's few connections: close the vendor's app and other programs, and try again",
        names(tried),
        announced.map_or(String::new(), |version| format!("; it announces version {version}, so that the version is not the reason"))
    )]
    WrongKey {
        /// The device.
        device: String,
        /// Where it is.
        address: String,
        /// What was tried.
        tried: Vec<Version>,
        /// The version that it announces.
        announced: Option<Version>,
    },
}

fn names(versions: &[Version]) -> String {
    let names: Vec<&str> = versions.iter().map(|version| version.name()).collect();
    names.join(", ")
}

impl Trial {
    /// Chooses a device of a configuration. Of a sub-device the connection is that of its parent.
    ///
    /// # Errors
    /// Where there is no such device.
    pub fn of(config: &LanConfig, id: &str) -> Result<Self, TryError> {
        let unknown = || TryError::Unknown(id.chars().take(64).collect());
        let find = |id: &str| {
            config
                .devices
                .iter()
                .find(|device| device.id.as_str() == id)
        };
        let chosen = find(id).ok_or_else(unknown)?;
        let own = match &chosen.reach {
            Reach::Direct(_) => chosen,
            Reach::Behind { parent, .. } => find(parent.as_str()).ok_or_else(unknown)?,
        };
        let Reach::Direct(direct) = &own.reach else {
            return Err(unknown());
        };
        let behind = |device: &&DeviceConfig| match &device.reach {
            Reach::Behind { parent, .. } => *parent == own.id,
            Reach::Direct(_) => false,
        };
        Ok(Self {
            direct: direct.clone(),
            subs: config.devices.iter().filter(behind).cloned().collect(),
            own: own.clone(),
            listen: match config.listen.as_slice() {
                [] => Listener::default_addresses(),
                given => given.to_vec(),
            },
        })
    }

    /// Returns the device whose connection is tried.
    pub fn device(&self) -> &DeviceConfig {
        &self.own
    }

    /// Finds out how to talk to the device, and tells of each version before it is tried. Listens for the
    /// device's announcement for `patience`.
    ///
    /// # Errors
    /// Says which of address, key and version is wrong.
    pub async fn find(
        &mut self,
        patience: Duration,
        mut trying: impl FnMut(Version),
    ) -> Result<Found, TryError> {
        let device = self.own.title();
        // Where the address is known an announcement only helps: it may be that nobody can listen.
        let mut ear = match Ear::open(self, patience) {
            Ok(ear) => Some(ear),
            Err(error) if self.direct.host.is_none() => return Err(error.into()),
            Err(_) => None,
        };
        if self.direct.host.is_none() {
            let heard = match &mut ear {
                Some(ear) => ear.wait().await,
                None => None,
            };
            let Some(sighting) = heard else {
                let seconds = patience.as_secs();
                return Err(TryError::Unheard { device, seconds });
            };
            self.direct.host = Some(sighting.address.to_string());
        }
        let host = self.direct.host.clone().unwrap_or_default();
        let address = format!("{host} port {}", self.direct.port);
        let given = self.direct.version;
        let mut tried: Vec<Version> = Vec::new();
        loop {
            let announced = ear.as_ref().and_then(Ear::version);
            // A device that says what it speaks need not be asked for the rest.
            let others = match announced {
                Some(announced) => vec![announced],
                None => Version::LIKELY.to_vec(),
            };
            let candidates = given.into_iter().chain(others);
            let Some(version) = candidates
                .into_iter()
                .find(|version| !tried.contains(version))
            else {
                break;
            };
            trying(version);
            match self.attempt(version, &host).await {
                Ok(dialect) => {
                    if let Some(given) = given.filter(|given| *given != version) {
                        return Err(TryError::WrongVersion {
                            device,
                            address,
                            given,
                            works: version,
                        });
                    }
                    self.direct.version = Some(version);
                    self.direct.dialect = Some(dialect);
                    return Ok(Found { version, dialect });
                }
                Err(Cause::Unreachable(reason)) => {
                    let heard = match &mut ear {
                        Some(ear) => ear.wait().await,
                        None => None,
                    };
                    let elsewhere = heard.map(|sighting| sighting.address);
                    return Err(TryError::Unreachable {
                        device,
                        address,
                        reason,
                        elsewhere: elsewhere.filter(|at| at.to_string() != host),
                    });
                }
                Err(_) => tried.push(version),
            }
        }
        Err(TryError::WrongKey {
            device,
            address,
            tried,
            announced: ear.as_ref().and_then(Ear::version),
        })
    }

    /// Makes one connection and waits for a sensible answer.
    async fn attempt(&self, version: Version, host: &str) -> Result<Dialect, Cause> {
        let mut dial = Dial::new(&Direct {
            version: Some(version),
            ..self.direct.clone()
        });
        loop {
            let (version, dialect, may_switch) = dial.speech();
            match self.converse(host, version, dialect, may_switch).await {
                Cause::Device22 => dial.ended(&Cause::Device22),
                // That is how a conversation ends that was understood.
                Cause::Lost => return Ok(dialect),
                cause => return Err(cause),
            };
        }
    }

    /// Talks until it is understood ([`Cause::Lost`]) or it is sure that it will not be.
    async fn converse(
        &self,
        host: &str,
        version: Version,
        dialect: Dialect,
        may_switch: bool,
    ) -> Cause {
        let mut machine: Host<()> = Host::new(self.own.clone(), self.subs.clone());
        let mut link = Lan.open(Target {
            id: self.own.id.as_str().to_owned(),
            key: self.direct.key.clone(),
            host: host.to_owned(),
            port: self.direct.port,
            version,
            dialect,
        });
        let ended = loop {
            let due = machine.deadline();
            let time = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            let event = tokio::select! {
                event = link.next() => Some(event),
                () = time => None,
            };
            let now = tokio::time::Instant::now();
            let actions = match event {
                Some(LinkEvent::Up) => machine.up(now, version, dialect, may_switch),
                Some(LinkEvent::Frame(frame)) => machine.frame(now, &frame),
                Some(LinkEvent::Garbled) => machine.garbled(),
                Some(LinkEvent::Missed) => machine.missed(),
                Some(LinkEvent::Down(Cause::Lost)) => break Cause::NotUnderstood,
                Some(LinkEvent::Down(cause)) => break cause,
                None => machine.tick(now),
            };
            let mut given_up = None;
            for action in actions {
                match action {
                    Action::Send(request) => link.send(request).await,
                    Action::GiveUp(cause) => given_up = Some(cause),
                    _ => {}
                }
            }
            if let Some(cause) = given_up {
                break cause;
            }
            if machine.is_understood() {
                break Cause::Lost;
            }
        };
        link.close().await;
        ended
    }

    /// Connects for good and gives the devices as they are known without it, and what happens to them.
    /// It ends when the receiver is dropped.
    pub fn watch(self) -> (Vec<Device>, mpsc::Receiver<Vec<Change>>) {
        let (sender, changes) = mpsc::channel(CHANGES_WAITING);
        let (orders_sender, orders) = mpsc::channel(1);
        let (sighted_sender, sighted) = watch::channel(None);
        let host = Host::new(self.own.clone(), self.subs);
        let devices = host.devices();
        let connector: Arc<dyn Connector> = Arc::new(Lan);
        let stop = CancellationToken::new();
        let task = Task {
            id: DeviceId::from(self.own.id.as_str()),
            direct: self.direct,
            host,
            connector,
            outlet: ToChannel(sender.clone()),
            orders,
            sighted,
            stop: stop.clone(),
        };
        tokio::spawn(async move {
            // Nobody orders or announces anything here.
            let _held = (orders_sender, sighted_sender);
            tokio::select! {
                () = task.run() => {}
                () = sender.closed() => stop.cancel(),
            }
        });
        (devices, changes)
    }
}

/// Listens for the announcement of one device.
struct Ear {
    heard: watch::Receiver<Option<Sighting>>,
    until: tokio::time::Instant,
    listening: tokio::task::JoinHandle<()>,
}

impl Ear {
    fn open(trial: &Trial, patience: Duration) -> Result<Self, ListenError> {
        let asks = trial.listen.iter().any(|at| at.ip().is_unspecified());
        let listener = Listener::bind(&trial.listen)?;
        let (sender, heard) = watch::channel(None);
        let wanted = trial.own.id.clone();
        let listening = tokio::spawn(async move {
            let note = |sighting: Sighting| {
                if sighting.id == wanted.as_str() {
                    sender.send_replace(Some(sighting));
                }
            };
            if let Err(error) = listener.run(asks, note).await {
                tracing::warn!("announcements are not heard: {error}");
            }
        });
        Ok(Self {
            heard,
            until: tokio::time::Instant::now() + patience,
            listening,
        })
    }

    /// Returns what was heard, and waits for it until the patience ends.
    async fn wait(&mut self) -> Option<Sighting> {
        let heard = self.heard.wait_for(Option::is_some);
        let heard = tokio::time::timeout_at(self.until, heard).await;
        heard.ok()?.ok()?.clone()
    }

    /// Returns the version that the device announces, if it was heard.
    fn version(&self) -> Option<Version> {
        self.heard.borrow().as_ref()?.version
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

struct ToChannel(mpsc::Sender<Vec<Change>>);

impl Outlet for ToChannel {
    type Ack = ();

    fn report(&self, changes: Vec<Change>) -> Boxed<'_, ()> {
        Box::pin(async {
            // Whoever looks no more misses nothing.
            let _ = self.0.send(changes).await;
        })
    }

    fn succeed(&self, changes: Vec<Change>, (): ()) -> Boxed<'_, ()> {
        self.report(changes)
    }

    fn fail(&self, (): (), _: CommandFault) {}
}
