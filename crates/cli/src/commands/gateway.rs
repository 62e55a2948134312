//! `hearthgate gateway`: serves devices until it is told to stop.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;

use hearthgate_driver_tuya_lan::{LanConfig, TuyaLan};
use hearthgate_gateway::{
    BindError, Driver, Gateway, GatewayOptions, Replay, ReplayOptions, StartError, StateFolder,
    StoreError, VirtualHome, default_state_root, default_targets,
};
use hearthgate_protocol::crypto::Credential;
use hearthgate_protocol::variants::{Dialect, Variants, Wire};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

use crate::args::{self, GatewayArgs};
use crate::exit::Failure;
use crate::{config, key, output, tls};

/// Runs the command.
pub(super) async fn run(args: GatewayArgs) -> Result<(), Failure> {
    let check_only = args.check_config;
    let args = config::merged(args)?;
    raise_file_limit();
    let listen = args.listen.clone().unwrap_or_else(args::default_listen);
    let wire = args.wire.unwrap_or_default();
    let listen_ip = resolve(&listen).await?;
    if wire == Wire::Plain && !args.allow_plain && !listen_ip.is_loopback() {
        return Err(Failure::usage(format!(
            "the wire encoding plain is unencrypted, and {listen} can be reached from the network: \
             add --allow-plain if that is meant, or listen on 127.0.0.1"
        )));
    }
    if args.devices.is_empty() && args.tuya_lan.is_empty() && args.replay.replay.is_none() {
        return Err(Failure::usage(
            "no devices to serve: give --devices with device profiles, files or folders, --tuya-lan with a \
             list of Wi-Fi devices, or --replay with a recording",
        ));
    }
    let home = match args.devices.as_slice() {
        [] => None,
        paths => Some(VirtualHome::load(paths).map_err(Failure::usage)?),
    };
    let lan = lan_devices(&args)?;
    let replay = replay(&args)?;
    let form = args.key_form.unwrap_or_default();
    let given_key = key::read(args.key_file.as_deref(), args.tls.dialect(), form)?;
    let (identity, device_key) = identity(&args, given_key)?;
    let mut options = GatewayOptions::new(identity.uuid.clone(), device_key);
    options.connection.wire = wire;
    options.connection.path.clone_from(&args.path);
    options.connection.variants = Variants {
        padding: args.padding.unwrap_or_default(),
        proof: args.proof.unwrap_or_default(),
        proof_over: args.proof_over.unwrap_or_default(),
    };
    options.strict_step = args.strict_step;
    args.limits.apply(&mut options);
    args.tls.apply(&mut options, identity.folder.as_ref())?;
    let certificate = tls::shown(options.tls.as_ref());
    let scheme = if options.tls.is_some() { "wss" } else { "ws" };
    let spoken = match args.tls.dialect() {
        Dialect::Current => format!("wire encoding {wire}"),
        Dialect::Older => "dialect 2023".to_owned(),
    };
    if !args.no_advertise {
        options.beacon.targets = match args.advertise.as_slice() {
            [] => default_targets(listen_ip),
            given => given.to_vec(),
        };
    }
    if check_only {
        let devices = count(home.as_ref(), lan.as_ref(), replay.as_ref())?;
        return Ok(output::line(&format!(
            "the configuration is right: {devices} devices{certificate}"
        ))?);
    }
    let mut drivers: Vec<Box<dyn Driver>> = Vec::new();
    if let Some(home) = home {
        drivers.push(Box::new(match &identity.folder {
            Some(folder) => home.with_values(folder.open_values().map_err(refused)?),
            None => home,
        }));
    }
    if let Some(lan) = lan {
        drivers.push(Box::new(TuyaLan::new(lan).map_err(Failure::local)?));
    }
    let mut signals = Signals::new()?;
    let begin = replay.as_ref().map(Replay::begin_token);
    if let Some(replay) = replay {
        let (events, time) = replay.extent();
        info!("playing {events} events in {time:.1?} from the first session on");
        drivers.push(Box::new(replay));
    }
    let gateway = Gateway::bind(&listen, options, drivers).await;
    let gateway = gateway.map_err(|error| match error {
        BindError::Listen { .. } => Failure::local(error),
        BindError::Start(_) | BindError::NoTls => Failure::usage(error),
    })?;
    let address = gateway.local_addr();
    if let Some(address) = gateway.token_addr() {
        info!("giving out tokens on https://{address} too");
    }
    info!(
        "listening on {scheme}://{address} (uuid {}, {} devices, {spoken}{certificate})",
        identity.uuid,
        gateway.registry().device_count(),
    );
    let first_session = gateway.first_session();
    if let Some(begin) = begin {
        tokio::spawn(async move {
            first_session.cancelled().await;
            begin.cancel();
        });
    }
    let stop = gateway.stop_token();
    let serving = tokio::spawn(gateway.run());
    tokio::pin!(serving);
    tokio::select! {
        name = signals.next() => info!("{name}: closing the sessions"),
        ended = &mut serving => return ended.map_err(Failure::local),
    }
    stop.cancel();
    serving.await.map_err(Failure::local)
}

/// Reads the recording that is to be played, if there is one.
fn replay(args: &GatewayArgs) -> Result<Option<Replay>, Failure> {
    let Some(path) = &args.replay.replay else {
        if args.replay.speed.is_some() || args.replay.repeat {
            return Err(Failure::usage(
                "speed and repeat are those of a recording: name it with --replay",
            ));
        }
        return Ok(None);
    };
    let options = ReplayOptions {
        speed: args.replay.speed.unwrap_or(1.0),
        repeat: args.replay.repeat,
    };
    let replay = Replay::load(path, options).map_err(Failure::usage)?;
    Ok(Some(replay))
}

/// Loads the Wi-Fi devices, if there are any.
fn lan_devices(args: &GatewayArgs) -> Result<Option<LanConfig>, Failure> {
    if args.tuya_lan.is_empty() {
        return Ok(None);
    }
    let config = LanConfig::load(&args.tuya_lan).map_err(Failure::usage)?;
    for warning in &config.warnings {
        warn!("{warning}");
    }
    Ok(Some(config))
}

/// Counts the devices, none of which may be served twice.
fn count(
    home: Option<&VirtualHome>,
    lan: Option<&LanConfig>,
    replay: Option<&Replay>,
) -> Result<usize, Failure> {
    let served = |driver: &dyn Driver| -> Vec<_> {
        let ids = driver.devices().into_iter().map(|it| it.id().clone());
        ids.map(|id| (id, driver.name().to_owned())).collect()
    };
    let mut all = home.map(|home| served(home)).unwrap_or_default();
    all.extend(replay.map(|replay| served(replay)).unwrap_or_default());
    let wifi = lan.map_or(&[][..], |lan| lan.devices.as_slice());
    all.extend(
        wifi.iter()
            .map(|it| (it.id.clone(), TuyaLan::NAME.to_owned())),
    );
    let mut seen = HashMap::with_capacity(all.len());
    for (device, driver) in &all {
        if let Some(first) = seen.insert(device, driver) {
            return Err(Failure::usage(StartError::DoubleDevice {
                device: device.clone(),
                first: first.clone(),
                second: driver.clone(),
            }));
        }
    }
    Ok(all.len())
}

/// Who the gateway is, and the lock that keeps others from being it.
struct Identity {
    uuid: String,
    /// Where key and values are kept; nowhere with `--state none`.
    folder: Option<StateFolder>,
}

fn identity(
    args: &GatewayArgs,
    given_key: Option<Credential>,
) -> Result<(Identity, Credential), Failure> {
    if args.state.as_deref() == Some(Path::new("none")) {
        let device_key = given_key.ok_or_else(|| {
            Failure::usage(format!(
                "no key: with --state none there is no place to keep one; give --key-file FILE or {}",
                key::VARIABLE
            ))
        })?;
        let uuid = match &args.uuid {
            Some(uuid) => uuid.clone(),
            None => random_uuid()?,
        };
        return Ok((Identity { uuid, folder: None }, device_key));
    }
    let root = match &args.state {
        Some(root) => root.clone(),
        None => default_state_root().map_err(refused)?,
    };
    let folder = StateFolder::open(&root, args.uuid.as_deref()).map_err(refused)?;
    let device_key = match given_key {
        Some(device_key) => device_key,
        None => {
            let (device_key, path, made) = match args.tls.dialect() {
                Dialect::Current => {
                    let (key, made) = folder
                        .key(args.key_form.unwrap_or_default())
                        .map_err(refused)?;
                    (Credential::from(key), folder.key_path(), made)
                }
                Dialect::Older => {
                    let (key, made) = folder.api_key().map_err(refused)?;
                    (Credential::from(key), folder.api_key_path(), made)
                }
            };
            if made {
                warn!("made a new key and stored it in {}", path.display());
            } else {
                info!("the key is in {}", path.display());
            }
            device_key
        }
    };
    Ok((
        Identity {
            uuid: folder.uuid().to_owned(),
            folder: Some(folder),
        },
        device_key,
    ))
}

pub(crate) fn refused(error: StoreError) -> Failure {
    match error {
        StoreError::Random(_) | StoreError::Access { .. } | StoreError::InUse { .. } => {
            Failure::local(error)
        }
        StoreError::Content { .. } | StoreError::NoHome => Failure::usage(error),
    }
}

fn random_uuid() -> Result<String, Failure> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(Failure::local)?;
    Ok(bytes
        .iter()
        .fold("hg".to_owned(), |uuid, byte| format!("{uuid}{byte:02x}")))
}

async fn resolve(listen: &str) -> Result<IpAddr, Failure> {
    let wrong = |problem: &str| {
        Failure::usage(format!(
            "cannot listen on {listen}: {problem}; write ADDR:PORT, such as 127.0.0.1:8433"
        ))
    };
    match tokio::net::lookup_host(listen).await {
        Ok(mut addresses) => addresses
            .next()
            .map(|address| address.ip())
            .ok_or_else(|| wrong("no such address")),
        Err(error) => Err(wrong(&error.to_string())),
    }
}

/// Waits for SIGINT or SIGTERM.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub(super) fn new() -> Result<Self, Failure> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Returns the name of the signal that came.
    pub(super) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}

/// Takes as many file descriptors as the system allows: each session is one.
fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            warn!("cannot raise the limit of open files: {error}; sessions may be refused");
        }
    }
}
