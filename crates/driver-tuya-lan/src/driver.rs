//! The driver: a task per connection, and commands on their way to the right one.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use hearthgate_gateway::{Ack, Command, CommandFault, Driver, DriverPort, Reports};
use hearthgate_protocol::model::{Change, Device, DeviceId};
use hearthgate_protocol::wire::ErrorCode;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tracing::error;

use crate::config::{DeviceConfig, Direct, LanConfig, Reach};
use crate::host::Host;
use crate::lan::Lan;
use crate::link::{Boxed, Connector};
use crate::sightings::{ListenError, Listener, Sighting};
use crate::task::{Order, Outlet, Task};
use crate::unit::fault;

/// Commands that may wait for one connection; more are refused as `busy`.
const ORDERS_WAITING: usize = 256;

/// Serves Tuya Wi-Fi devices, and sub-devices behind them.
#[derive(Debug)]
pub struct TuyaLan {
    hosts: Vec<(DeviceId, Direct, Host<Ack>)>,
    /// By device the place of its connection.
    places: HashMap<DeviceId, usize>,
    listener: Option<Listener>,
    /// Whether devices may be asked by broadcast to announce themselves.
    asks: bool,
}

impl TuyaLan {
    /// What messages call this driver.
    pub const NAME: &str = "tuya lan";

    /// Makes the driver of some devices. Where the address of one is not configured, announcements are
    /// listened for from now on.
    ///
    /// # Errors
    /// Where announcements cannot be heard.
    pub fn new(config: LanConfig) -> Result<Self, ListenError> {
        let listen = listen_addresses(&config);
        let mut subs: HashMap<DeviceId, Vec<DeviceConfig>> = HashMap::new();
        let mut direct = Vec::new();
        for device in config.devices {
            match &device.reach {
                Reach::Direct(reach) => direct.push((reach.clone(), device)),
                Reach::Behind { parent, .. } => {
                    subs.entry(parent.clone()).or_default().push(device);
                }
            }
        }
        let mut hosts = Vec::new();
        let mut places = HashMap::new();
        for (reach, device) in direct {
            let id = device.id.clone();
            let host = Host::new(device, subs.remove(&id).unwrap_or_default());
            for device in host.devices() {
                places.insert(device.id().clone(), hosts.len());
            }
            hosts.push((id, reach, host));
        }
        Ok(Self {
            hosts,
            places,
            listener: match listen.is_empty() {
                true => None,
                false => Some(Listener::bind(&listen)?),
            },
            asks: listen.iter().any(|address| address.ip().is_unspecified()),
        })
    }

    async fn run(self, mut port: DriverPort) {
        let connector: Arc<dyn Connector> = Arc::new(Lan);
        let mut tasks = JoinSet::new();
        let mut orders = Vec::new();
        let mut heard = HashMap::new();
        for (id, direct, host) in self.hosts {
            let (sender, receiver) = mpsc::channel(ORDERS_WAITING);
            let (sighted, sightings) = watch::channel(None);
            orders.push(sender);
            heard.insert(id.as_str().to_owned(), sighted);
            let task = Task {
                id,
                direct,
                host,
                connector: connector.clone(),
                outlet: ToRegistry(port.reports.clone()),
                orders: receiver,
                sighted: sightings,
                stop: port.stop.clone(),
            };
            tasks.spawn(task.run());
        }
        let listening = async {
            if let Some(listener) = self.listener {
                let note = |sighting: Sighting| {
                    if let Some(sighted) = heard.get(&sighting.id) {
                        sighted.send_replace(Some(sighting));
                    }
                };
                if let Err(error) = listener.run(self.asks, note).await {
                    error!("announcements are not heard: {error}");
                }
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = route(&mut port, &self.places, &orders) => {}
            () = listening => {}
            Some(Err(fault)) = ended_by_a_bug(&mut tasks) => error!("a device's task ended by a bug: {fault}"),
        }
        drop(orders);
        while tasks.join_next().await.is_some() {}
    }
}

/// Hands commands to the connections of their devices until there are no more.
async fn route(
    port: &mut DriverPort,
    places: &HashMap<DeviceId, usize>,
    orders: &[mpsc::Sender<Order<Ack>>],
) {
    loop {
        let command = tokio::select! {
            () = port.stop.cancelled() => return,
            command = port.commands.recv() => command,
        };
        let Some(Command {
            device,
            readings,
            ack,
        }) = command
        else {
            return;
        };
        let Some(sender) = places.get(&device).and_then(|place| orders.get(*place)) else {
            let message = format!("no device {device}");
            ack.fail(fault(ErrorCode::UnknownDevice, message));
            continue;
        };
        let order = Order {
            device,
            readings,
            ack,
        };
        match sender.try_send(order) {
            Ok(()) => {}
            Err(TrySendError::Full(Order { device, ack, .. })) => {
                let message = format!("device {device} has too many writes waiting: try again");
                ack.fail(fault(ErrorCode::Busy, message));
            }
            Err(TrySendError::Closed(Order { device, ack, .. })) => {
                let message = format!("the task of device {device} ended");
                ack.fail(fault(ErrorCode::Internal, message));
            }
        }
    }
}

/// Returns a task that ended by a bug; those that end in order are no news.
async fn ended_by_a_bug(tasks: &mut JoinSet<()>) -> Option<Result<(), tokio::task::JoinError>> {
    while let Some(ended) = tasks.join_next().await {
        if ended.is_err() {
            return Some(ended);
        }
    }
    std::future::pending().await
}

/// Returns where announcements are listened for: nowhere, where nobody needs them.
fn listen_addresses(config: &LanConfig) -> Vec<SocketAddr> {
    let unknown = |device: &DeviceConfig| match &device.reach {
        Reach::Direct(direct) => direct.host.is_none(),
        Reach::Behind { .. } => false,
    };
    if !config.listen.is_empty() {
        config.listen.clone()
    } else if config.devices.iter().any(unknown) {
        Listener::default_addresses()
    } else {
        Vec::new()
    }
}

impl Driver for TuyaLan {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn devices(&self) -> Vec<Device> {
        self.hosts
            .iter()
            .flat_map(|(_, _, host)| host.devices())
            .collect()
    }

    fn run(self: Box<Self>, port: DriverPort) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin((*self).run(port))
    }
}

struct ToRegistry(Reports);

impl Outlet for ToRegistry {
    type Ack = Ack;

    fn report(&self, changes: Vec<Change>) -> Boxed<'_, ()> {
        Box::pin(self.0.send(changes))
    }

    fn succeed(&self, changes: Vec<Change>, ack: Ack) -> Boxed<'_, ()> {
        Box::pin(self.0.send_and_succeed(changes, ack))
    }

    fn fail(&self, ack: Ack, fault: CommandFault) {
        ack.fail(fault);
    }
}
