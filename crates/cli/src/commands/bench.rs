//! `hearthgate bench`: puts load on a gateway and says what came of it.
//!
//! Input are the options; `hearthgate_bench` does the work. Results go to standard output, for people or
//! as JSON; how far it is goes to standard error, if that is a terminal.

use std::future::Future;
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};
use hearthgate_bench::figures::TimesSummary;
use hearthgate_bench::load::{self, Progress};
use hearthgate_bench::{BenchError, Target};
use hearthgate_protocol::model::DeviceId;
use hearthgate_protocol::wire::Request;
use serde::Serialize;

use crate::args::GatewayOptions;
use crate::exit::Failure;
use crate::known::Meant;
use crate::names::Names;
use crate::{duration, output, select};

/// The most handshakes of one run.
const HANDSHAKES_MAX: u64 = 200_000;
/// The most writes of one run.
const WRITES_MAX: u64 = 10_000_000;
/// How often the progress is shown anew.
const SHOWN: Duration = Duration::from_millis(200);
/// The width of the longest bar of a histogram.
const BAR: u64 = 40;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hearthgate bench gateway --gateway ws://127.0.0.1:8433 --key-file gateway.key
  hearthgate bench gateway --gateway ws://127.0.0.1:8433 --sessions 1000 --write plug1 --histograms
  hearthgate bench client --gateway ws://127.0.0.1:8433 --json | jq .mirror_times.p50_us
  hearthgate bench hub --gateway home --allow-remote --write plug1 --duration 2s

It only reads, and loads a gateway on this machine only, unless told otherwise. The program that measures
takes its share of the machine: figures of one machine are those of both together.")]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Loads a gateway: sessions opened and dropped, requests of many and of one, and with --write events
    /// for many sessions
    Gateway(GatewayLoad),
    /// Lets this program's own client mirror a gateway and ask it, and with --write takes the time until a
    /// write is in the mirror
    Client(ClientLoad),
    /// Lets this program's own hub start on a gateway, and with --write takes the time until a write is in
    /// its feed
    Hub(HubLoad),
}

#[derive(Debug, Args)]
struct Common {
    #[command(flatten)]
    gateway: GatewayOptions,
    /// Loads a gateway that is not on this machine. Make sure that it is yours.
    #[arg(long)]
    allow_remote: bool,
    /// Also makes events, by writing to this device (its id, or an unambiguous beginning) the value that it
    /// has already. Its home sees no change, a real device may click.
    #[arg(long, value_name = "DEVICE")]
    write: Option<String>,
    /// How long each measurement takes [at most 1h].
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = bounded)]
    duration: Duration,
    /// Also shows how the times are spread.
    #[arg(long, conflicts_with = "json")]
    histograms: bool,
    /// Prints one JSON object with all figures, times in microseconds, histograms included.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct GatewayLoad {
    #[command(flatten)]
    common: Common,
    /// Clients that ask at the same time.
    #[arg(long, value_name = "COUNT", default_value_t = 50, value_parser = count)]
    clients: usize,
    /// Sessions that get the events of --write.
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = count)]
    sessions: usize,
    /// Writes of --write whose events have not reached all sessions.
    #[arg(long, value_name = "COUNT", default_value_t = 64, value_parser = count)]
    outstanding: usize,
}

#[derive(Debug, Args)]
struct ClientLoad {
    #[command(flatten)]
    common: Common,
    /// Mirrors that are made, one after the other.
    #[arg(long, value_name = "COUNT", default_value_t = 10, value_parser = count)]
    mirrors: usize,
    /// Requests that are under way on the one connection.
    #[arg(long, value_name = "COUNT", default_value_t = 50, value_parser = count)]
    in_flight: usize,
}

#[derive(Debug, Args)]
struct HubLoad {
    #[command(flatten)]
    common: Common,
    /// Times that a hub is started, one after the other.
    #[arg(long, value_name = "COUNT", default_value_t = 10, value_parser = count)]
    starts: usize,
}

/// Runs the command.
pub(super) async fn run(args: BenchArgs) -> Result<(), Failure> {
    match args.what {
        What::Gateway(args) => gateway(args).await,
        What::Client(args) => client(args).await,
        What::Hub(args) => hub(args).await,
    }
}

/// What a run on a gateway showed.
#[derive(Serialize)]
struct GatewayReport {
    gateway: String,
    devices: usize,
    handshakes: load::HandshakesReport,
    requests: load::RequestsReport,
    one_client: load::RequestsReport,
    #[serde(skip_serializing_if = "Option::is_none")]
    fan_out: Option<load::FanOutReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    one_event: Option<load::FanOutReport>,
}

async fn gateway(args: GatewayLoad) -> Result<(), Failure> {
    let (target, devices, write) = target(&args.common).await?;
    let progress = Arc::new(Progress::default());
    let load = measure(&target, &args, devices.as_slice(), write, &progress);
    let report = shown(&progress, load).await?;
    if args.common.json {
        return json(&report);
    }
    output::line(&format!("{}, {} devices\n", report.gateway, report.devices))?;
    let mut lines = vec![
        Line::new(
            "handshakes",
            report.handshakes.per_second,
            &report.handshakes.times,
        ),
        Line::new(
            &match report.requests.clients {
                1 => "requests, one client".to_owned(),
                clients => format!("requests, {clients} clients"),
            },
            report.requests.per_second,
            &report.requests.times,
        ),
        Line::new(
            "requests, 1 client",
            report.one_client.per_second,
            &report.one_client.times,
        ),
    ];
    for fan_out in report.fan_out.iter().chain(&report.one_event) {
        lines.push(Line::new(
            &format!(
                "deliveries, {} sessions, {} outstanding",
                fan_out.sessions, fan_out.outstanding
            ),
            fan_out.deliveries_per_second,
            &fan_out.times,
        ));
    }
    show(&lines, args.common.histograms)?;
    let gaps: u64 = report
        .fan_out
        .iter()
        .chain(&report.one_event)
        .map(|it| it.gaps)
        .sum();
    if gaps > 0 {
        return Err(Failure::local(format!(
            "{gaps} gaps in the ids of events: sessions did not get every event"
        )));
    }
    Ok(())
}

async fn measure(
    target: &Target,
    args: &GatewayLoad,
    devices: &[DeviceId],
    write: Option<DeviceId>,
    progress: &Arc<Progress>,
) -> Result<GatewayReport, BenchError> {
    let duration = args.common.duration;
    let handshakes = load::Handshakes {
        // A gateway on another machine may well be a small one.
        at_a_time: if args.common.allow_remote { 8 } else { 64 },
        duration,
        most: HANDSHAKES_MAX,
    };
    let handshakes = load::handshakes(target, handshakes, progress).await?;
    let ask = |clients| load::Requests {
        clients,
        duration,
        request: Request::GetStatus(devices.iter().take(1).cloned().collect()),
    };
    let requests = load::requests(target, ask(args.clients), progress).await?;
    let one_client = load::requests(target, ask(1), progress).await?;
    let (mut fan_out, mut one_event) = (None, None);
    if let Some(device) = write {
        let events = |outstanding| load::FanOut {
            sessions: args.sessions,
            device: device.clone(),
            outstanding,
            duration,
            most: WRITES_MAX,
        };
        fan_out = Some(load::fan_out(target, events(args.outstanding), progress).await?);
        one_event = Some(load::fan_out(target, events(1), progress).await?);
    }
    Ok(GatewayReport {
        gateway: target.endpoint().to_string(),
        devices: devices.len(),
        handshakes,
        requests,
        one_client,
        fan_out,
        one_event,
    })
}

async fn client(args: ClientLoad) -> Result<(), Failure> {
    let (target, _, write) = target(&args.common).await?;
    let progress = Arc::new(Progress::default());
    let load = load::ClientLoad {
        mirrors: u32::try_from(args.mirrors).unwrap_or(u32::MAX),
        in_flight: args.in_flight,
        duration: args.common.duration,
        write,
    };
    let report = shown(&progress, load::client(&target, load, &progress)).await?;
    if args.common.json {
        return json(&report);
    }
    output::line(&format!(
        "{}, {} devices\n",
        target.endpoint(),
        report.devices
    ))?;
    let mut lines = vec![
        Line::times("mirror of all devices", &report.mirror_times),
        Line::new(
            &format!("requests, {} in flight", report.in_flight),
            report.requests_per_second,
            &report.request_times,
        ),
    ];
    let writes = report.write_to_feed.as_ref();
    lines.extend(writes.map(|times| Line::times("write to event in the feed", times)));
    show(&lines, args.common.histograms)
}

async fn hub(args: HubLoad) -> Result<(), Failure> {
    let (target, _, write) = target(&args.common).await?;
    let progress = Arc::new(Progress::default());
    let load = load::HubLoad {
        starts: u32::try_from(args.starts).unwrap_or(u32::MAX),
        duration: args.common.duration,
        write,
    };
    let report = shown(&progress, load::hub(&target, load, &progress)).await?;
    if args.common.json {
        return json(&report);
    }
    output::line(&format!(
        "{}, {} devices\n",
        target.endpoint(),
        report.devices
    ))?;
    let mut lines = vec![Line::times(
        "start until all devices are there",
        &report.start_times,
    )];
    let writes = report.write_to_feed.as_ref();
    lines.extend(writes.map(|times| Line::times("write to event in the feed", times)));
    show(&lines, args.common.histograms)
}

/// Finds the gateway, its devices, and the one that is to be written.
async fn target(common: &Common) -> Result<(Target, Vec<DeviceId>, Option<DeviceId>), Failure> {
    let options = Meant::find(&common.gateway)?.client_options().await?;
    let target = Target::new(options, common.allow_remote).await?;
    let devices = load::devices(&target).await?;
    let names = Names::default();
    let write = common.write.as_deref();
    let write = write
        .map(|meant| select::device(&devices, &names, meant))
        .transpose()?;
    Ok((target, devices, write))
}

/// Shows how far a load is while it runs, on a terminal.
async fn shown<T>(
    progress: &Progress,
    load: impl Future<Output = Result<T, BenchError>>,
) -> Result<T, Failure> {
    if !io::stderr().is_terminal() {
        return Ok(load.await?);
    }
    let mut load = std::pin::pin!(load);
    let mut tick = tokio::time::interval(SHOWN);
    let outcome = loop {
        tokio::select! {
            outcome = &mut load => break outcome,
            _ = tick.tick() => {
                let (phase, done) = progress.now();
                if !phase.is_empty() {
                    // Where nobody sees it nothing is lost.
                    let _ = write!(io::stderr(), "\r\x1b[K{phase} {done}");
                    let _ = io::stderr().flush();
                }
            }
        }
    };
    let _ = write!(io::stderr(), "\r\x1b[K");
    Ok(outcome?)
}

fn json(report: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(report).map_err(Failure::local)?;
    Ok(output::line(&text)?)
}

/// One line of results.
struct Line {
    what: String,
    per_second: Option<f64>,
    times: TimesSummary,
}

impl Line {
    fn new(what: &str, per_second: f64, times: &TimesSummary) -> Self {
        Self {
            per_second: Some(per_second),
            ..Self::times(what, times)
        }
    }

    fn times(what: &str, times: &TimesSummary) -> Self {
        Self {
            what: what.to_owned(),
            per_second: None,
            times: times.clone(),
        }
    }
}

fn show(lines: &[Line], histograms: bool) -> Result<(), Failure> {
    let rows = lines
        .iter()
        .map(|line| {
            let times = &line.times;
            let per_second = line
                .per_second
                .map_or(String::new(), |rate| format!("{rate:.0}"));
            [
                line.what.clone(),
                times.count.to_string(),
                per_second,
                time(times.p50_us),
                time(times.p90_us),
                time(times.p99_us),
                time(times.p999_us),
                time(times.max_us),
            ]
        })
        .collect();
    let header = [
        "",
        "COUNT",
        "PER SECOND",
        "P50",
        "P90",
        "P99",
        "P99.9",
        "MAX",
    ];
    output::table(header, rows, "")?;
    if histograms {
        for line in lines {
            output::line(&format!("\n{}", line.what))?;
            histogram(&line.times)?;
        }
    }
    Ok(())
}

fn histogram(times: &TimesSummary) -> io::Result<()> {
    let most = times
        .histogram
        .iter()
        .map(|step| step.count)
        .max()
        .unwrap_or(1)
        .max(1);
    for step in &times.histogram {
        // A count below the first mark still is one.
        let width = (step.count * BAR).div_ceil(most);
        let bar = "#".repeat(usize::try_from(width).unwrap_or_default());
        output::line(&format!(
            "  up to {:>8}  {:>9}  {bar}",
            time(step.up_to_us),
            step.count
        ))?;
    }
    Ok(())
}

/// Writes a time in the unit that suits it.
fn time(micros: f64) -> String {
    match micros {
        below if below < 1e3 => format!("{below:.0} µs"),
        below if below < 1e5 => format!("{:.2} ms", below / 1e3),
        below if below < 1e6 => format!("{:.0} ms", below / 1e3),
        above => format!("{:.2} s", above / 1e6),
    }
}

fn bounded(text: &str) -> Result<Duration, String> {
    let duration = duration::parse(text)?;
    match duration {
        none if none.is_zero() => Err("at least 1ms is needed to measure anything".to_owned()),
        long if long > Duration::from_secs(3600) => Err("at most 1h".to_owned()),
        right => Ok(right),
    }
}

fn count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count @ 1..=20_000) => Ok(count),
        _ => Err("expected a number from 1 to 20000".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_the_unit_that_suits_them() {
        let texts = [0.4, 71.2, 1_400.0, 150_000.0, 2_500_000.0].map(time);
        assert_eq!(texts, ["0 µs", "71 µs", "1.40 ms", "150 ms", "2.50 s"]);
    }

    #[test]
    fn nothing_is_unbounded() {
        assert!(bounded("2h").is_err() && bounded("0s").is_err() && bounded("5s").is_ok());
        assert!(count("0").is_err() && count("20001").is_err() && count("50").is_ok());
    }
}
