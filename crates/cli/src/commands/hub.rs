//! `hearthgate hub`: looks after gateways and passes what they say on to its outlets, until it is told to
//! stop.

mod plan;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hearthgate_client::DiscoveryOptions;
use hearthgate_history::History;
use hearthgate_homeassistant::Overrides;
use hearthgate_hub::{Directory, HistorySource, Hub, HubOptions, Identities, Names, file};
use hearthgate_mqtt::{
    BrokerAddress, DISCOVERY_PREFIX, MqttError, MqttOptions, Outlet, Secret, TOPIC_ROOT, TlsFiles,
};
use hearthgate_web::GatewayAccess;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use zeroize::Zeroizing;

use super::gateway::Signals;
use super::web::Page;
use crate::exit::Failure;
use crate::history_args::KeepArgs;
use crate::hub_args::{HubArgs, MqttArgs};
use crate::{hub_config, output};
use plan::Plan;

/// The environment variable with the broker's password.
const PASSWORD: &str = "HEARTHGATE_MQTT_PASSWORD";
/// The longest password file, in bytes.
const PASSWORD_MAX: u64 = 4096;
/// How long outlets may take to end, and the connections after them.
const OUTLETS_END: Duration = Duration::from_millis(1700);
const HUB_END: Duration = Duration::from_millis(250);

/// Runs the command.
pub(super) async fn run(args: HubArgs) -> Result<(), Failure> {
    let check_only = args.check_config;
    let args = hub_config::merged(args)?;
    let state = state_folder(&args)?;
    let overrides = Arc::new(overrides(args.overrides.as_deref())?);
    let mut outlets = Vec::new();
    if let Some(options) = mqtt(&args.mqtt, state.clone())? {
        outlets.push(Outlet::new(options, Arc::clone(&overrides)).map_err(failed)?);
    }
    if outlets.is_empty() && args.web.no_web {
        return Err(Failure::usage(
            "the hub has no outlet: leave --no-web out, or give --mqtt with the address of a broker, such as mqtt://127.0.0.1",
        ));
    }
    // Through the page gateways can be added: there it is no mistake to begin without one.
    let plan = Plan::new(&args.gateways.0, &args.addressed, !args.web.no_web)?;
    let page = match args.web.no_web {
        true => None,
        false => Some(args.web.options(state.as_deref())?),
    };
    if check_only {
        let gateways = plan.count();
        return Ok(output::line(&format!(
            "the configuration is right: {gateways} gateways"
        ))?);
    }
    let in_state = |name: &str| state.as_ref().map(|folder| folder.join(name));
    let names = match in_state("names.toml") {
        Some(path) => Names::open(&path)?,
        None => Names::in_memory(),
    };
    let identities = match in_state("addresses.toml") {
        Some(path) => Identities::open(&path)?,
        None => Identities::in_memory(),
    };
    let discovery = (!args.no_discovery).then(|| {
        let mut options = DiscoveryOptions::default();
        if !args.listen.is_empty() {
            options.listen.clone_from(&args.listen);
        }
        options
    });
    let mut access = GatewayAccess::directory(
        &Directory::default_path()?,
        discovery.clone().unwrap_or_default(),
    );
    if !args.gateways.0.is_empty() {
        access = access.without_adding();
    }
    let mut signals = Signals::new()?;
    let hub = Hub::start(HubOptions { discovery, names });
    plan.carry_out(&hub, &identities, &access)?;
    let history = history(&hub, &args.history, state.as_deref()).await?;
    let page = match page {
        Some(mut options) => {
            options.access = access;
            options.history = history
                .clone()
                .map(|history| Arc::new(history) as Arc<dyn HistorySource>);
            let page = Page::start(hub.clone(), options).await?;
            info!("the page is on {}", page.url);
            let link = |outlet: Outlet| outlet.with_page(&page.url);
            outlets = outlets.into_iter().map(link).collect();
            Some(page)
        }
        None => None,
    };
    serve(hub, outlets, page, history, &mut signals).await
}

/// Keeps history, unless it is not wanted. Where it cannot be kept and nobody asked for it in so many words,
/// the hub goes on without.
async fn history(
    hub: &Hub,
    args: &KeepArgs,
    state: Option<&Path>,
) -> Result<Option<History>, Failure> {
    let Some(options) = args.options(state) else {
        return Ok(None);
    };
    match History::start(hub, options, CancellationToken::new()).await {
        Ok(history) => Ok(Some(history)),
        Err(error) if args.is_asked_for() => Err(Failure::local(error)),
        Err(error) => {
            warn!("no history is kept: {error}");
            Ok(None)
        }
    }
}

/// Runs all outlets until a signal comes, or one of them cannot go on.
async fn serve(
    hub: Hub,
    outlets: Vec<Outlet>,
    page: Option<Page>,
    history: Option<History>,
    signals: &mut Signals,
) -> Result<(), Failure> {
    let stop = CancellationToken::new();
    let mut running = JoinSet::new();
    for outlet in outlets {
        running.spawn(outlet.run(hub.clone(), stop.clone()));
    }
    let outcome = tokio::select! {
        name = signals.next() => {
            info!("{name}: saying goodbye");
            Ok(())
        }
        Some(ended) = running.join_next() => match ended {
            Ok(outcome) => outcome.map_err(failed),
            Err(bug) => Err(Failure::local(bug)),
        },
    };
    stop.cancel();
    let rest = async {
        let page = async {
            if let Some(page) = page {
                page.stop().await;
            }
        };
        let others = async { while running.join_next().await.is_some() {} };
        let history = async {
            if let Some(history) = history {
                history.close().await;
            }
        };
        tokio::join!(page, others, history);
    };
    if tokio::time::timeout(OUTLETS_END, rest).await.is_err() {
        warn!("an outlet did not end in time");
    }
    // The gateways see the sockets go where they take no farewell in time.
    let _ = tokio::time::timeout(HUB_END, hub.close()).await;
    outcome
}

/// Returns the folder for what is remembered; none with `--state none`.
fn state_folder(args: &HubArgs) -> Result<Option<PathBuf>, Failure> {
    match &args.state {
        Some(state) if state == Path::new("none") => Ok(None),
        Some(state) => Ok(Some(state.clone())),
        None => {
            let what = "what the hub remembers";
            let folder = file::user_folder("XDG_STATE_HOME", ".local/state", what)?;
            Ok(Some(folder))
        }
    }
}

fn overrides(path: Option<&Path>) -> Result<Overrides, Failure> {
    let Some(path) = path else {
        return Ok(Overrides::default());
    };
    let shown = path.display().to_string();
    let text = fs::read_to_string(path)
        .map_err(|error| Failure::usage(format!("cannot read the overrides {shown}: {error}")))?;
    Overrides::parse(&text, &shown).map_err(Failure::usage)
}

/// Returns the options of the outlet for MQTT, if there is one.
fn mqtt(args: &MqttArgs, state: Option<PathBuf>) -> Result<Option<MqttOptions>, Failure> {
    let Some(url) = &args.url else {
        return Ok(None);
    };
    let mut broker: BrokerAddress = url.0.parse().map_err(Failure::usage)?;
    if let Some(password) = password(args.password_file.as_deref())? {
        broker.password = Some(password);
    }
    if broker.password.is_some() && broker.user.is_none() {
        return Err(Failure::usage(
            "there is a password for the broker and no user name: write mqtt://USER@HOST",
        ));
    }
    if broker.password.is_some() && !broker.tls && !is_loopback(&broker.host) {
        warn!("the password travels unencrypted to {broker}: mqtts:// would encrypt it");
    }
    let tls = TlsFiles {
        ca: args.ca_file.clone(),
        certificate: args.cert_file.clone(),
        key: args.cert_key_file.clone(),
    };
    if !broker.tls && tls != TlsFiles::default() {
        return Err(Failure::usage(
            "certificates are for mqtts://, and the broker's address begins with mqtt://",
        ));
    }
    let given =
        |text: &Option<String>, default: &str| text.clone().unwrap_or_else(|| default.to_owned());
    Ok(Some(MqttOptions {
        tls,
        version: args.version.unwrap_or_default(),
        qos: args.qos.unwrap_or_default(),
        client_id: args.client_id.clone(),
        topic_root: given(&args.topic_root, TOPIC_ROOT),
        discovery_prefix: given(&args.discovery_prefix, DISCOVERY_PREFIX),
        state,
        program_version: env!("CARGO_PKG_VERSION").to_owned(),
        ..MqttOptions::new(broker)
    }))
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback())
}

/// Reads the broker's password, from the file or the environment.
fn password(file: Option<&Path>) -> Result<Option<Secret>, Failure> {
    let Some(path) = file else {
        let given = std::env::var(PASSWORD).ok();
        return Ok(given.filter(|text| !text.is_empty()).map(Secret::new));
    };
    let shown = path.display();
    let failed = |error: &dyn std::fmt::Display| {
        Failure::usage(format!(
            "cannot read the broker's password from {shown}: {error}"
        ))
    };
    let size = fs::metadata(path).map_err(|error| failed(&error))?.len();
    if size > PASSWORD_MAX {
        return Err(failed(&format!("it is longer than {PASSWORD_MAX} bytes")));
    }
    let text = Zeroizing::new(fs::read_to_string(path).map_err(|error| failed(&error))?);
    // One line end and nothing else: blanks are part of a password.
    let line = text
        .strip_suffix("\r\n")
        .or(text.strip_suffix('\n'))
        .unwrap_or(&text);
    if line.is_empty() {
        return Err(failed(&"it is empty"));
    }
    Ok(Some(Secret::new(line)))
}

fn failed(error: MqttError) -> Failure {
    match error {
        MqttError::Usage(_) | MqttError::Tls(_) => Failure::usage(error),
        MqttError::Memory(_) | MqttError::Rival { .. } => Failure::local(error),
    }
}
