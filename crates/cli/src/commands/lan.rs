//! `hearthgate lan`: finds, imports and tries Tuya Wi-Fi devices, which `hearthgate gateway --tuya-lan`
//! serves.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use hearthgate_driver_tuya_lan::{
    DeviceConfig, Direct, LanConfig, Listener, LocalKey, PointTable, Reach, Sighting, Trial,
    TryError, Version, parse_address, to_toml,
};
use hearthgate_protocol::model::{
    Change, Device, DeviceId, Home, Reading, Source, Stamp, Timestamp,
};
use serde::Serialize;

use super::gateway::Signals;
use super::table;
use crate::exit::Failure;
use crate::{duration, key, output};

/// What to try where no file is named: what `tinytuya wizard` leaves behind.
const USUAL_FILE: &str = "devices.json";

#[derive(Debug, Args)]
pub(crate) struct LanArgs {
    #[command(subcommand)]
    command: LanCommand,
}

#[derive(Debug, Subcommand)]
enum LanCommand {
    /// Lists the Wi-Fi devices that announce themselves in this network
    Scan(ScanArgs),
    /// Reads a list of devices that you already have, and writes one for `gateway --tuya-lan`
    Import(ImportArgs),
    /// Connects to a device and shows its data points live, or says which of address, key and version is wrong
    Try(TryArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hearthgate lan scan
  hearthgate lan scan --timeout 20s --json | jq -r '.[].id'

Devices announce themselves every few seconds on UDP 6666 and 6667. Some do so only when asked, by
a broadcast to UDP 7000, which is done where it listens on all addresses. Announcements do not
cross routers.")]
struct ScanArgs {
    /// Where to listen, UDP; repeatable [default: 0.0.0.0 on 6666, 6667 and 7000].
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Vec<SocketAddr>,
    /// How long to listen; Ctrl-C ends it early with what was heard.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration::parse)]
    timeout: Duration,
    /// Prints an array of `{id, address, version, product}`.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hearthgate lan import devices.json
  hearthgate lan import devices.json --out lan.toml && hearthgate gateway --tuya-lan lan.toml

Where keys come from: `pip install tinytuya && python -m tinytuya wizard` asks the vendor's cloud
once and writes devices.json.")]
struct ImportArgs {
    /// devices.json of `tinytuya wizard`, tuyadevices.json, or a TOML file of ours.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Writes the devices there, keys included, readable by you alone; it must not exist.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(
    disable_version_flag = true,
    after_help = "Examples:
  hearthgate lan try bf0123456789abcdefghij
  hearthgate lan try bf0123456789abcdefghij --tuya-lan lan.toml --once
  hearthgate lan try bf0123456789abcdefghij --key-file device.key --address 192.0.2.10

Exit codes: 3 the address is wrong or the device is off, 4 the key or the version is wrong. A
device takes few connections: end other programs that hold one."
)]
struct TryArgs {
    /// The device's id.
    #[arg(value_name = "ID")]
    device: String,
    /// Lists of devices [default: devices.json, unless --key-file is given].
    #[arg(long, value_name = "FILE")]
    tuya_lan: Vec<PathBuf>,
    /// The file that holds the device's local key, in place of a list's; `-` for standard input.
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// `HOST` or `HOST:PORT`, in place of a list's; `auto` waits for the device's announcement.
    #[arg(long, value_name = "ADDRESS")]
    address: Option<String>,
    /// 3.1, 3.2, 3.3, 3.4, 3.5, or `auto` to try all of them; in place of a list's.
    #[arg(long, value_name = "VERSION")]
    version: Option<String>,
    /// How long to listen for an announcement, and to wait for the state.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration::parse)]
    timeout: Duration,
    /// Ends once the state was shown.
    #[arg(long)]
    once: bool,
    /// Prints one object a line: `{devid, online, value:[{k,v}]}`.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(super) async fn run(args: LanArgs) -> Result<(), Failure> {
    match args.command {
        LanCommand::Scan(args) => scan(args).await,
        LanCommand::Import(args) => import(&args),
        LanCommand::Try(args) => try_device(args).await,
    }
}

#[derive(Serialize)]
struct Seen<'a> {
    id: &'a str,
    address: String,
    version: Option<&'static str>,
    product: Option<&'a str>,
}

async fn scan(args: ScanArgs) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    let listen = match args.listen.as_slice() {
        [] => Listener::default_addresses(),
        given => given.to_vec(),
    };
    let asks = listen.iter().any(|address| address.ip().is_unspecified());
    let listener = Listener::bind(&listen).map_err(Failure::local)?;
    let mut heard: BTreeMap<String, Sighting> = BTreeMap::new();
    tokio::select! {
        ended = listener.run(asks, |sighting| { heard.insert(sighting.id.clone(), sighting); }) => ended?,
        _ = signals.next() => {}
        () = tokio::time::sleep(args.timeout) => {}
    }
    let seen: Vec<Seen<'_>> = heard.values().map(seen).collect();
    if args.json {
        return Ok(output::line(
            &serde_json::to_string(&seen).map_err(Failure::local)?,
        )?);
    }
    let rows = seen.iter().map(|seen| {
        [
            seen.id.to_owned(),
            seen.address.clone(),
            seen.version.unwrap_or("?").to_owned(),
            seen.product.unwrap_or_default().to_owned(),
        ]
    });
    let places: Vec<String> = listen.iter().map(ToString::to_string).collect();
    let nothing = format!(
        "no Wi-Fi device was heard on {} (UDP). Check that this machine is in the devices' network and that its firewall lets \
         these ports in; announcements do not cross routers, VLANs or the networks of containers",
        places.join(", ")
    );
    Ok(output::table(
        ["ID", "ADDRESS", "VERSION", "PRODUCT"],
        rows.collect(),
        &nothing,
    )?)
}

fn seen(sighting: &Sighting) -> Seen<'_> {
    Seen {
        id: &sighting.id,
        address: sighting.address.to_string(),
        version: sighting.version.map(Version::name),
        product: sighting.product.as_deref(),
    }
}

fn import(args: &ImportArgs) -> Result<(), Failure> {
    let config = LanConfig::load(std::slice::from_ref(&args.file)).map_err(Failure::usage)?;
    for warning in &config.warnings {
        note(warning);
    }
    let rows = config.devices.iter().map(|device| {
        let (version, address) = match &device.reach {
            Reach::Direct(direct) => (
                direct.version.map_or("auto", Version::name).to_owned(),
                direct.host.clone().unwrap_or_else(|| "auto".to_owned()),
            ),
            Reach::Behind { parent, .. } => (String::new(), format!("behind {parent}")),
        };
        [
            device.id.to_string(),
            device.name.clone().unwrap_or_default(),
            device.category.clone(),
            version,
            address,
            device.points.len().to_string(),
        ]
    });
    output::table(
        [
            "ID",
            "NAME",
            "CATEGORY",
            "VERSION",
            "ADDRESS",
            "MAPPED POINTS",
        ],
        rows.collect(),
        "there is no device in this file that can be served",
    )?;
    match &args.out {
        Some(path) => write(path, &config),
        None => {
            note(
                "nothing was written; --out FILE writes these devices for `hearthgate gateway --tuya-lan FILE`",
            );
            Ok(())
        }
    }
}

/// Writes keys where their owner alone can read them.
fn write(path: &Path, config: &LanConfig) -> Result<(), Failure> {
    let failed = |error: io::Error| {
        let path = path.display();
        match error.kind() {
            io::ErrorKind::AlreadyExists => Failure::usage(format!(
                "{path} exists and was left as it is: name another file, or remove it first"
            )),
            _ => Failure::local(format!("cannot write {path}: {error}")),
        }
    };
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(failed)?;
    file.write_all(to_toml(config).as_bytes()).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    note(&format!(
        "wrote {} devices to {}",
        config.devices.len(),
        path.display()
    ));
    Ok(())
}

async fn try_device(args: TryArgs) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    let config = chosen(&args)?;
    let mut trial = Trial::of(&config, &args.device)?;
    let title = trial.device().title();
    note(&format!("trying {title} ..."));
    let found = tokio::select! {
        _ = signals.next() => return Ok(()),
        found = trial.find(args.timeout, |version| note(&format!("  as version {version}"))) => found?,
    };
    note(&format!(
        "address, key and version are right: {title} speaks version {}",
        found.version
    ));
    let wanted = DeviceId::from(args.device.as_str());
    let is_own = trial.device().id == wanted;
    let (devices, mut changes) = trial.watch();
    let mut shown = Shown {
        home: devices.into_iter().collect(),
        wanted: (!is_own).then(|| wanted.clone()),
        json: args.json,
    };
    let first = async {
        while let Some(changes) = changes.recv().await {
            shown.show(&changes)?;
            if shown
                .home
                .device(wanted.as_str())
                .is_some_and(Device::online)
            {
                return Ok(true);
            }
        }
        Ok::<bool, Failure>(false)
    };
    let is_known = tokio::select! {
        _ = signals.next() => return Ok(()),
        first = tokio::time::timeout(args.timeout, first) => first.unwrap_or(Ok(false))?,
    };
    if !is_known {
        let (device, seconds) = (args.device, args.timeout.as_secs());
        return Err(TryError::NoState { device, seconds }.into());
    }
    if args.once {
        return Ok(());
    }
    note("showing what it reports; Ctrl-C ends");
    loop {
        tokio::select! {
            _ = signals.next() => return Ok(()),
            next = changes.recv() => match next {
                Some(changes) => shown.show(&changes)?,
                None => return Ok(()),
            },
        }
    }
}

/// Returns the devices of the files, with what the command line says about the one that is tried.
fn chosen(args: &TryArgs) -> Result<LanConfig, Failure> {
    let mut config = if !args.tuya_lan.is_empty() {
        LanConfig::load(&args.tuya_lan).map_err(Failure::usage)?
    } else if args.key_file.is_some() {
        LanConfig::default()
    } else if Path::new(USUAL_FILE).exists() {
        LanConfig::load(&[PathBuf::from(USUAL_FILE)]).map_err(Failure::usage)?
    } else {
        return Err(Failure::usage(format!(
            "no list of devices: give --tuya-lan FILE, or --key-file FILE; there is no {USUAL_FILE} here"
        )));
    };
    for warning in &config.warnings {
        note(warning);
    }
    let given_key = match &args.key_file {
        Some(_) => given_key(args.key_file.as_deref())?,
        None => None,
    };
    let known = config
        .devices
        .iter_mut()
        .find(|device| device.id.as_str() == args.device);
    let device = match (known, &given_key) {
        (Some(device), _) => device,
        (None, Some(key)) => {
            config.devices.push(bare(&args.device, key.clone()));
            let Some(device) = config.devices.last_mut() else {
                return Ok(config);
            };
            device
        }
        (None, None) => return Ok(config),
    };
    let Reach::Direct(direct) = &mut device.reach else {
        return Ok(config);
    };
    if let Some(key) = given_key {
        direct.key = key;
    }
    if let Some(address) = &args.address {
        let (host, port) = parse_address(address)
            .map_err(|problem| Failure::usage(format!("--address: {problem}")))?;
        direct.host = host;
        direct.port = port.unwrap_or(direct.port);
    }
    match args.version.as_deref() {
        None => {}
        Some("auto") => direct.version = None,
        Some(version) => {
            let version = version.parse();
            direct.version =
                Some(version.map_err(|problem| Failure::usage(format!("--version: {problem}")))?);
        }
    }
    Ok(config)
}

fn given_key(file: Option<&Path>) -> Result<Option<LocalKey>, Failure> {
    let Some(given) = key::given(file)? else {
        return Ok(None);
    };
    let text = std::str::from_utf8(&given.content).unwrap_or_default();
    let key = LocalKey::parse(text.trim_end_matches(['\r', '\n']));
    key.map(Some)
        .map_err(|problem| Failure::usage(format!("{}: {problem}", given.origin)))
}

/// Returns a device of which nothing is known but its key.
fn bare(id: &str, key: LocalKey) -> DeviceConfig {
    DeviceConfig {
        id: DeviceId::from(id),
        name: None,
        category: String::new(),
        product: None,
        reach: Reach::Direct(Direct {
            key,
            version: None,
            host: None,
            port: hearthgate_driver_tuya_lan::DEFAULT_PORT,
            dialect: None,
        }),
        points: PointTable::default(),
        poll: Some(hearthgate_driver_tuya_lan::DEFAULT_POLL),
        grace: Duration::ZERO,
        refresh: Vec::new(),
    }
}

/// What is shown, and how.
struct Shown {
    home: Home,
    /// The one device to show; all of the connection where there is none.
    wanted: Option<DeviceId>,
    json: bool,
}

#[derive(Serialize)]
struct Line<'a> {
    devid: &'a str,
    online: bool,
    value: Vec<Value<'a>>,
}

#[derive(Serialize)]
struct Value<'a> {
    k: &'a str,
    v: Box<serde_json::value::RawValue>,
}

impl Shown {
    fn show(&mut self, changes: &[Change]) -> Result<(), Failure> {
        for change in changes {
            let stamp = Stamp {
                at: Timestamp::default(),
                source: Source::Event,
            };
            self.home.apply(change, stamp);
            let readings = match change {
                Change::Online { readings, .. } | Change::State { readings, .. } => readings,
                Change::Upsert(_) | Change::Remove(_) => continue,
            };
            let id = change.device();
            let is_wanted = self.wanted.as_ref().is_none_or(|wanted| wanted == id);
            if let Some(device) = self.home.device(id.as_str()).filter(|_| is_wanted) {
                self.line(device, readings, matches!(change, Change::Online { .. }))?;
            }
        }
        Ok(())
    }

    fn line(&self, device: &Device, readings: &[Reading], turned: bool) -> Result<(), Failure> {
        let id = device.id().as_str();
        if self.json {
            let value = readings.iter().map(|Reading { code, value }| {
                let v = serde_json::value::RawValue::from_string(value.json().into_owned())?;
                Ok(Value {
                    k: code.as_str(),
                    v,
                })
            });
            let line = Line {
                devid: id,
                online: device.online(),
                value: value
                    .collect::<Result<_, serde_json::Error>>()
                    .map_err(Failure::local)?,
            };
            return Ok(output::line(
                &serde_json::to_string(&line).map_err(Failure::local)?,
            )?);
        }
        if turned {
            output::line(&format!("{id} is {}", table::reach(device.online())))?;
        }
        for Reading { code, value } in readings {
            let value = table::shown_with_unit(Some(device.schema()), code.as_str(), value);
            output::line(&output::printable(&format!("{id} {code} = {value}")))?;
        }
        Ok(())
    }
}

/// Writes a line for people.
fn note(text: &str) {
    // There is nobody left to tell that standard error is gone.
    let _ = writeln!(anstream::stderr().lock(), "{text}");
}
