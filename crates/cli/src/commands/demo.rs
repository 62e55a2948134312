//! `hearthgate demo`: a gateway with a living home and a client that reads it, in one process, over the
//! real protocol.

use std::collections::HashMap;
use std::fs::DirBuilder;
use std::io::{IsTerminal, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anstyle::{AnsiColor, Effects, Style};
use hearthgate_client::{Client, ClientOptions, Endpoint, Feed, FeedItem};
use hearthgate_diagnose::{KeyText, Options};
use hearthgate_gateway::{DemoDriver, Gateway, GatewayOptions};
use hearthgate_history::{History, HistoryOptions};
use hearthgate_hub::{DeviceRef, GatewaySpec, Hub, HubOptions};
use hearthgate_protocol::crypto::DeviceKey;
use hearthgate_protocol::model::{Device, DeviceId, Home};
use hearthgate_protocol::variants::KeyForm;
use hearthgate_protocol::wire::{Event, EventKind};
use hearthgate_web::GatewayAccess;
use tokio_util::sync::CancellationToken;

use super::gateway::Signals;
use super::web::Page;
use super::{ended, table};
use crate::args::DemoArgs;
use crate::exit::Failure;
use crate::names::Names;
use crate::{key, output};

/// The uuid of the gateway.
const UUID: &str = "hearthgate-demo";
const BOLD: Style = Style::new().effects(Effects::BOLD);
const DIM: Style = Style::new().effects(Effects::DIMMED);
const FRESH: Style = AnsiColor::Green.on_default();
const OFFLINE: Style = AnsiColor::Red.on_default();
/// The time between two pictures of the live table.
const REDRAW: Duration = Duration::from_millis(250);
/// How long a change is shown as fresh.
const FRESH_FOR: Duration = Duration::from_secs(2);

/// Runs the command.
pub(super) async fn run(args: DemoArgs) -> Result<(), Failure> {
    if args
        .web
        .web
        .is_some_and(|address| !address.ip().is_loopback())
    {
        return Err(Failure::usage(
            "the page of the demonstration stays on loopback: give --web 127.0.0.1:PORT",
        ));
    }
    let seed = args.seed.unwrap_or(u64::from(std::process::id()));
    let mut signals = Signals::new()?;
    let key_text = throw_away_key()?;
    let device_key = DeviceKey::parse(&key_text, KeyForm::Ascii).map_err(Failure::local)?;
    let driver = DemoDriver::still(seed);
    let begin = driver.begin_token();
    let known = driver.names();
    let names: Names = known.iter().cloned().collect();
    let options = GatewayOptions::new(UUID, device_key.clone());
    let listen = args.listen.to_string();
    let gateway = Gateway::bind(&listen, options, vec![Box::new(driver)]).await;
    let gateway = gateway.map_err(Failure::local)?;
    let address = gateway.local_addr();
    let stop = gateway.stop_token();
    let serving = tokio::spawn(gateway.run());

    let endpoint: Endpoint = format!("ws://{address}").parse().map_err(Failure::local)?;
    let options = ClientOptions::new(endpoint.clone(), device_key.clone());
    let (client, mut feed) = Client::connect(options).await?;
    client.synced().await?;
    let page = match args.web.no_web {
        true => None,
        false => Some(page(&args, endpoint, device_key, &key_text, &known).await?),
    };
    // From here on every moment of the home is seen.
    begin.cancel();
    let url = page.as_ref().map(|served| &*served.page.url);
    let intro = intro(&key_text, &address.to_string(), seed, url);
    let show = async {
        if std::io::stdout().is_terminal() {
            live_table(&client, &mut feed, &names, &intro).await
        } else {
            plain_lines(&client, &mut feed, &names, &intro).await
        }
    };
    let outcome = tokio::select! {
        _ = signals.next() => Ok(()),
        () = sleep(args.duration) => Ok(()),
        outcome = show => outcome,
    };
    if let Some(served) = page {
        served.stop().await;
    }
    client.close().await;
    stop.cancel();
    serving.await.map_err(Failure::local)?;
    outcome
}

/// Serves the page of a hub that has this one gateway.
async fn page(
    args: &DemoArgs,
    endpoint: Endpoint,
    device_key: DeviceKey,
    key_text: &str,
    names: &[(String, String)],
) -> Result<Served, Failure> {
    let hub = Hub::start(HubOptions {
        discovery: None,
        ..HubOptions::default()
    });
    for (device, name) in names {
        let device = DeviceRef::new(UUID, device.as_str());
        hub.rename_device(&device, Some(name))?;
    }
    let access = GatewayAccess::default();
    let key = KeyText::parse(key_text).map_err(Failure::local)?;
    let target = hearthgate_diagnose::Target::Address(endpoint.clone());
    access.give(UUID.into(), Options::new(target, key));
    let mut spec = GatewaySpec::fixed(UUID, endpoint, device_key);
    "Simulated home".clone_into(&mut spec.name);
    hub.set(spec);
    let history = Passing::start(&hub).await;
    let folder = history.as_ref().map(|passing| passing.folder.as_path());
    let mut options = args.web.options(folder)?;
    options.access = access;
    if let Some(passing) = &history {
        options.history = Some(Arc::new(passing.history.clone()));
    }
    let page = Page::start(hub.clone(), options).await?;
    Ok(Served { page, hub, history })
}

/// The page, and what it stands on.
struct Served {
    page: Page,
    hub: Hub,
    history: Option<Passing>,
}

impl Served {
    async fn stop(self) {
        self.page.stop().await;
        if let Some(passing) = self.history {
            passing.history.close().await;
        }
        self.hub.close().await;
    }
}

/// History that is kept for as long as the demonstration lasts.
struct Passing {
    history: History,
    folder: PathBuf,
}

impl Passing {
    /// Keeps history in a folder of its own. Without one the demonstration goes on all the same.
    async fn start(hub: &Hub) -> Option<Self> {
        let name = format!("hearthgate-demo-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let made = DirBuilder::new().mode(0o700).create(&folder);
        let options = HistoryOptions::new(folder.join("history.db"));
        let started = match made {
            Ok(()) => History::start(hub, options, CancellationToken::new()).await,
            Err(error) => {
                tracing::warn!("no history is kept: {}: {error}", folder.display());
                return None;
            }
        };
        match started {
            Ok(history) => Some(Self { history, folder }),
            Err(error) => {
                tracing::warn!("no history is kept: {error}");
                None
            }
        }
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        // It lies among what is temporary; whoever cleans up there takes it.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

async fn sleep(duration: Option<Duration>) {
    match duration {
        Some(duration) => tokio::time::sleep(duration).await,
        None => std::future::pending().await,
    }
}

/// Makes a key for this run alone.
fn throw_away_key() -> Result<String, Failure> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(Failure::local)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Says what is seen here, and how a second terminal can join.
fn intro(key_text: &str, address: &str, seed: u64, page: Option<&str>) -> Vec<String> {
    let program = std::env::current_exe().map_or_else(
        |_| "hearthgate".to_owned(),
        |path| quoted(&path.to_string_lossy()),
    );
    let command = |rest: &str| {
        format!(
            "$ {}={key_text} {program} {rest} --gateway ws://{address}",
            key::VARIABLE
        )
    };
    let mut lines = vec![format!(
        "A gateway serves a simulated home on ws://{address}, a client reads it over the encrypted protocol (seed {seed})."
    )];
    lines.extend(page.map(|url| format!("Open it in a browser: {url}")));
    lines.extend([
        "In a second terminal (the key is this run's own and worth nothing after it):".to_owned(),
        command("devices"),
        command("watch"),
        command("set kitchen-light switch_1=on"),
    ]);
    lines
}

/// Quotes a word for a shell, where it needs that.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@%,:".contains(c);
    if word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// One line per event, for pipes and files.
async fn plain_lines(
    client: &Client,
    feed: &mut Feed,
    names: &Names,
    intro: &[String],
) -> Result<(), Failure> {
    for text in intro {
        output::line(text)?;
    }
    let started = Instant::now();
    while let Some(item) = feed.next().await {
        let FeedItem::Event { event, .. } = item else {
            continue;
        };
        let Some(text) = client.mirror().read(|home| told(home, names, &event)) else {
            continue;
        };
        let seconds = started.elapsed().as_secs();
        output::line(&format!("{:02}:{:02} {text}", seconds / 60, seconds % 60))?;
    }
    Err(ended(client).await.into())
}

fn told(home: &Home, names: &Names, event: &Event) -> Option<String> {
    match &event.kind {
        EventKind::StateChanged { device, readings } => {
            let schema = home
                .device(device.as_str())
                .map(|device| &**device.schema());
            let values: Vec<String> = readings
                .iter()
                .map(|reading| {
                    let code = reading.code.as_str();
                    format!(
                        "{code} = {}",
                        table::shown_with_unit(schema, code, &reading.value)
                    )
                })
                .collect();
            Some(format!(
                "{}: {}",
                names.of(device.as_str()),
                output::printable(&values.join(", "))
            ))
        }
        EventKind::OnlineUpdated { device, online, .. } => Some(format!(
            "{}: {}",
            names.of(device.as_str()),
            table::reach(*online)
        )),
        _ => None,
    }
}

/// A picture of the home that is drawn again and again in place.
async fn live_table(
    client: &Client,
    feed: &mut Feed,
    names: &Names,
    intro: &[String],
) -> Result<(), Failure> {
    let mut changed: HashMap<(DeviceId, String), Instant> = HashMap::new();
    let mut events = 0u64;
    let mut redraw = tokio::time::interval(REDRAW);
    let _screen = Screen::enter()?;
    loop {
        tokio::select! {
            item = feed.next() => match item {
                Some(FeedItem::Event { event, .. }) => {
                    events += 1;
                    if let EventKind::StateChanged { device, readings } = event.kind {
                        for reading in readings {
                            changed.insert((device.clone(), reading.code.to_string()), Instant::now());
                        }
                    }
                }
                Some(_) => {}
                None => return Err(ended(client).await.into()),
            },
            _ = redraw.tick() => {
                let size = terminal_size();
                let mut lines: Vec<String> = intro.to_vec();
                lines.push(String::new());
                lines.extend(client.mirror().read(|home| picture(home, names, &changed)));
                lines.push(format!("{DIM}{events} events; Ctrl-C ends it{DIM:#}"));
                draw(&lines, size)?;
            }
        }
    }
}

/// Returns a line per device: name, category, and its values, those that are fresh in colour.
fn picture(
    home: &Home,
    names: &Names,
    changed: &HashMap<(DeviceId, String), Instant>,
) -> Vec<String> {
    let mut lines = vec![format!(
        "{BOLD}{:<24} {:<6} {}{BOLD:#}",
        "DEVICE", "KIND", "VALUES"
    )];
    for device in home.devices() {
        let name = names.of(device.id().as_str());
        let values = if device.online() {
            values(device, changed)
        } else {
            format!("{OFFLINE}offline{OFFLINE:#}")
        };
        lines.push(format!(
            "{name:<24} {:<6} {values}",
            device.schema().category()
        ));
    }
    lines
}

fn values(device: &Device, changed: &HashMap<(DeviceId, String), Instant>) -> String {
    let mut points: Vec<_> = device
        .points()
        .iter()
        .map(|point| {
            let key = (device.id().clone(), point.code.to_string());
            (changed.get(&key).map(Instant::elapsed), point)
        })
        .collect();
    // What moves is what people want to see; the rest follows in its own order.
    points.sort_by_key(|(age, _)| age.is_none());
    let shown: Vec<String> = points
        .iter()
        .map(|(age, point)| {
            let code = point.code.as_str();
            let value = table::shown_with_unit(Some(device.schema()), code, &point.value);
            let value = output::printable(&value);
            match age {
                Some(age) if *age < FRESH_FOR => format!("{code} {FRESH}{value}{FRESH:#}"),
                _ => format!("{DIM}{code}{DIM:#} {value}"),
            }
        })
        .collect();
    shown.join("  ")
}

/// The terminal's other screen, left again when dropped.
struct Screen;

impl Screen {
    fn enter() -> Result<Self, Failure> {
        let mut out = anstream::stdout().lock();
        // The alternate screen, without a cursor.
        write!(out, "\x1b[?1049h\x1b[?25l")?;
        out.flush()?;
        Ok(Self)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let mut out = anstream::stdout().lock();
        // A terminal that is gone needs no restoring.
        let _ = write!(out, "\x1b[?25h\x1b[?1049l").and_then(|()| out.flush());
    }
}

fn draw(lines: &[String], (columns, rows): (usize, usize)) -> Result<(), Failure> {
    let mut picture = String::from("\x1b[H");
    let mut left = rows.saturating_sub(1);
    for text in lines {
        // Commands are to be copied whole: those wrap, the table is cut.
        let (text, height) = if text.starts_with("$ ") {
            (text.clone(), text.len().div_ceil(columns.max(1)))
        } else {
            (cut(text, columns), 1)
        };
        let Some(rest) = left.checked_sub(height) else {
            break;
        };
        left = rest;
        picture.push_str(&text);
        picture.push_str("\x1b[0m\x1b[K\n");
    }
    picture.push_str("\x1b[J");
    let mut out = anstream::stdout().lock();
    out.write_all(picture.as_bytes())?;
    Ok(out.flush()?)
}

/// Cuts a text with colours to so many characters.
fn cut(text: &str, columns: usize) -> String {
    let mut shown = String::new();
    let mut width = 0;
    let mut in_escape = false;
    for c in text.chars() {
        if in_escape {
            in_escape = c != 'm';
        } else if c == '\x1b' {
            in_escape = true;
        } else {
            width += 1;
            if width > columns {
                continue;
            }
        }
        shown.push(c);
    }
    shown
}

fn terminal_size() -> (usize, usize) {
    match rustix::termios::tcgetwinsize(std::io::stdout()) {
        Ok(size) if size.ws_col > 0 => (usize::from(size.ws_col), usize::from(size.ws_row)),
        _ => (100, 40),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cutting_counts_what_is_seen() {
        assert_eq!(cut("\x1b[1mabcdef\x1b[0m", 3), "\x1b[1mabc\x1b[0m");
        assert_eq!(cut("℃℃", 1), "℃");
    }

    #[test]
    fn paths_with_blanks_are_quoted() {
        assert_eq!(quoted("/a/b-1.0/hearthgate"), "/a/b-1.0/hearthgate");
        assert_eq!(quoted("/a b/it's"), "'/a b/it'\\''s'");
    }
}
