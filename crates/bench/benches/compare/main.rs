//! Whole processes beside others that do the same, in turn, within one run: `make bench`.
//!
//! Without names everything is compared and `docs/benchmarks.md` is written, with its plots. Names of
//! comparisons choose some of them, which are then only printed. `--rounds N` is how often each is
//! repeated, `--seconds S` how long one takes. The program starts itself again for what it compares with,
//! and takes the programs in other languages from the folder that HEARTHGATE_RIVALS names (`make
//! bench-rivals` fills it) and the product from HEARTHGATE_BIN.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a program that measures, run by hand"
)]

#[path = "../parts/mod.rs"]
#[expect(
    dead_code,
    reason = "shared with the benchmarks of small parts, which use the rest"
)]
mod parts;

mod child;
mod course;
mod fanout;
mod handshakes;
mod hub;
mod memory;
mod mqtt;
mod plot;
mod raw;
mod report;
mod requests;
mod scale;
mod serve;
mod start;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use hearthgate_bench::figures::Spread;
use parts::answers::{self, Answers};
use parts::link::{self, MirrorLink, ParseAlone};
use parts::ratio::timed;
use report::{Comparison, Goal};
use requests::Server;
use scale::Point;

/// What goes wrong here ends the run; a text is enough.
type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> ExitCode {
    // Cargo adds `--bench`.
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| arg != "--bench")
        .collect();
    let rest = args.get(1..).unwrap_or_default();
    let outcome = match args.first().map(String::as_str) {
        Some("serve") => serve::run(rest),
        Some("one") => fanout::one(rest),
        _ => Run::of(&args).and_then(|run| run.all()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("error: {fault}");
            ExitCode::FAILURE
        }
    }
}

/// What messages are shown to, as JSON.
type Look<'a> = &'a mut dyn FnMut(&[u8]);

/// Measures one thing or several, and writes about each.
type Part = fn(&Run) -> Outcome<Vec<String>>;

/// A name for the file, a title, what stands at the axes, and the points.
type Plot = (
    &'static str,
    &'static str,
    (&'static str, &'static str),
    Vec<Point>,
);

struct Run {
    chosen: Vec<String>,
    rounds: usize,
    duration: Duration,
    program: PathBuf,
    rivals: PathBuf,
    docs: PathBuf,
}

impl Run {
    fn of(args: &[String]) -> Outcome<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let path = |variable: &str, otherwise: &str| {
            std::env::var_os(variable).map_or_else(|| root.join(otherwise), PathBuf::from)
        };
        let mut run = Self {
            chosen: Vec::new(),
            rounds: 5,
            duration: Duration::from_secs(2),
            program: path("HEARTHGATE_BIN", "target/release/hearthgate"),
            rivals: path("HEARTHGATE_RIVALS", "target/rivals"),
            docs: root.join("docs"),
        };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or(format!("{arg} takes a number"));
            match arg.as_str() {
                "--rounds" => run.rounds = value()?.parse()?,
                "--seconds" => run.duration = Duration::from_secs_f64(value()?.parse()?),
                name => run.chosen.push(name.to_owned()),
            }
        }
        Ok(run)
    }

    fn all(&self) -> Outcome<()> {
        let parts: [(&str, &str, Part); 9] = [
            ("fan-out", "Fan-out", Self::fan_out),
            ("latency", "Fan-out, one event in flight", Self::latency),
            ("requests", "Requests", Self::requests),
            ("handshakes", "Connections", Self::handshakes),
            ("memory", "Memory", Self::memory),
            ("start", "Start", Self::start),
            ("answers", "Large answers, and the mirror", Self::answers),
            ("hub", "Hub", Self::hub),
            ("scale", "Cost as the work grows", Self::scale),
        ];
        for name in &self.chosen {
            if !parts.iter().any(|(known, ..)| known == name) {
                let known: Vec<&str> = parts.iter().map(|(known, ..)| *known).collect();
                return Err(format!("no comparison {name}; there are {}", known.join(", ")).into());
            }
        }
        let mut sections = vec![format!(
            "{}\n\n{} rounds of {:?} each.\n",
            report::machine(&self.rivals),
            self.rounds,
            self.duration
        )];
        for (name, title, part) in parts {
            if !self.chosen.is_empty() && !self.chosen.iter().any(|chosen| chosen == name) {
                continue;
            }
            eprintln!("{name} ..");
            let section = format!("## {title}\n\n{}", part(self)?.join("\n"));
            println!("{section}");
            sections.push(section);
        }
        if self.chosen.is_empty() {
            report::write(&self.docs.join("benchmarks.md"), &sections)?;
        }
        Ok(())
    }

    /// Runs some in turn, round after round, so that a slow minute meets all of them.
    fn rounds<const N: usize>(
        &self,
        mut run: impl FnMut(usize) -> Outcome<Vec<f64>>,
    ) -> Outcome<Vec<[Vec<f64>; N]>> {
        let mut figures: Vec<[Vec<f64>; N]> = Vec::new();
        for _ in 0..self.rounds {
            for who in 0..N {
                for (index, figure) in run(who)?.into_iter().enumerate() {
                    if figures.len() <= index {
                        figures.push(std::array::from_fn(|_| Vec::new()));
                    }
                    figures[index][who].push(figure);
                }
            }
        }
        Ok(figures)
    }

    fn fan_out(&self) -> Outcome<Vec<String>> {
        let mut texts = Vec::new();
        for (sessions, goal) in [(100, 20.0), (1000, 25.0)] {
            let figures = self.rounds::<3>(|who| {
                let run = match who {
                    0 => fanout::gateway(sessions, 64, self.duration)?,
                    1 => fanout::mosquitto(sessions, 64, self.duration)?,
                    _ => fanout::raw(sessions, 64, self.duration)?,
                };
                Ok(vec![run.per_second])
            })?;
            for [gateway, mosquitto, raw] in figures {
                texts.push(
                    Comparison {
                        title: format!("{sessions} sessions, 64 events outstanding"),
                        unit: "deliveries/s",
                        rows: vec![
                            ("gateway", gateway),
                            ("Mosquitto", mosquitto),
                            ("bare loop", raw),
                        ],
                        goals: vec![
                            ("Mosquitto", Goal::AtLeast(goal)),
                            ("bare loop", Goal::AtLeast(0.75)),
                        ],
                    }
                    .markdown(),
                );
            }
        }
        Ok(texts)
    }

    fn latency(&self) -> Outcome<Vec<String>> {
        let mut texts = Vec::new();
        for sessions in [100, 1000] {
            let figures = self.rounds::<3>(|who| {
                let run = match who {
                    0 => fanout::gateway(sessions, 1, self.duration)?,
                    1 => fanout::mosquitto(sessions, 1, self.duration)?,
                    _ => fanout::raw(sessions, 1, self.duration)?,
                };
                let times = run.times.summary();
                Ok(vec![times.p50_us, times.p99_us])
            })?;
            let kinds = [("p50", 0.7), ("p99", 0.8)];
            for ((kind, goal), [gateway, mosquitto, raw]) in kinds.into_iter().zip(figures) {
                texts.push(
                    Comparison {
                        title: format!(
                            "{sessions} sessions, from the report to the last of them, {kind}"
                        ),
                        unit: "µs",
                        rows: vec![
                            ("gateway", gateway),
                            ("Mosquitto", mosquitto),
                            ("bare loop", raw),
                        ],
                        goals: vec![("Mosquitto", Goal::AtMost(goal))],
                    }
                    .markdown(),
                );
            }
        }
        Ok(texts)
    }

    fn requests(&self) -> Outcome<Vec<String>> {
        let servers = [Server::Gateway, Server::Echo, Server::Node, Server::Python];
        let mut texts = Vec::new();
        for clients in [50, 1] {
            let figures = self.rounds::<4>(|who| {
                let run = requests::run(servers[who], &self.rivals, clients, self.duration)?;
                Ok(vec![run.per_second, run.times.summary().p50_us])
            })?;
            let wanted = usize::from(clients == 1);
            for [gateway, echo, node, python] in figures.into_iter().skip(wanted).take(1) {
                let rows = vec![
                    ("gateway", gateway),
                    ("echo", echo),
                    ("Node.js", node),
                    ("Python", python),
                ];
                let comparison = if clients == 1 {
                    Comparison {
                        title: "`get_status` of one device, one client, one request at a time, p50"
                            .to_owned(),
                        unit: "µs",
                        rows,
                        goals: vec![("echo", Goal::AtMost(1.1))],
                    }
                } else {
                    Comparison {
                        title: "`get_status` of one device, 50 clients, one request at a time each"
                            .to_owned(),
                        unit: "requests/s",
                        rows,
                        goals: vec![
                            ("echo", Goal::AtLeast(0.85)),
                            ("Node.js", Goal::AtLeast(3.0)),
                            ("Python", Goal::AtLeast(9.0)),
                        ],
                    }
                };
                texts.push(comparison.markdown());
            }
        }
        Ok(texts)
    }

    fn handshakes(&self) -> Outcome<Vec<String>> {
        let figures = self.rounds::<2>(|who| {
            Ok(vec![match who {
                0 => handshakes::gateway(self.duration)?,
                _ => handshakes::accept(self.duration)?,
            }])
        })?;
        Ok(figures
            .into_iter()
            .map(|[gateway, accept]| {
                Comparison {
                    title: "Connections with upgrade and full handshake, 64 at a time".to_owned(),
                    unit: "connections/s",
                    rows: vec![("gateway", gateway), ("bare accept", accept)],
                    goals: vec![("bare accept", Goal::AtLeast(0.55))],
                }
                .markdown()
            })
            .collect())
    }

    fn memory(&self) -> Outcome<Vec<String>> {
        let figures = self.rounds::<1>(|_| Ok(vec![memory::per_session(2000)?]))?;
        Ok(figures
            .into_iter()
            .map(|[gateway]| {
                Comparison {
                    title: "Resident memory per idle session without TLS, 2,000 sessions"
                        .to_owned(),
                    unit: "bytes",
                    rows: vec![("gateway", gateway)],
                    goals: vec![("", Goal::AtMost(2500.0))],
                }
                .markdown()
            })
            .collect())
    }

    fn start(&self) -> Outcome<Vec<String>> {
        let folder = tempfile::tempdir()?;
        start::write_profiles(folder.path(), 1000)?;
        let figures = self.rounds::<1>(|_| {
            let (took, resident) = start::run(&self.program, folder.path())?;
            Ok(vec![took.as_secs_f64() * 1e3, resident as f64 / 1e6])
        })?;
        let kinds = [
            (
                "From the start of the process with 1,000 profiles to the first answer",
                "ms",
                100.0,
            ),
            ("Resident memory then, the program included", "MB", 25.0),
        ];
        Ok(kinds
            .into_iter()
            .zip(figures)
            .map(|((title, unit, goal), [gateway])| {
                Comparison {
                    title: title.to_owned(),
                    unit,
                    rows: vec![("gateway", gateway)],
                    goals: vec![("", Goal::AtMost(goal))],
                }
                .markdown()
            })
            .collect())
    }

    /// These two are made in this process: what the gateway does to make the answer, what the client does
    /// to apply events, beside the least that can be done.
    fn answers(&self) -> Outcome<Vec<String>> {
        let mut gateway = Answers::new(1000);
        let devices = gateway.devices();
        let (status, schema) = (
            answers::status_peer(&devices),
            answers::schema_peer(&devices),
        );
        let mut out = Vec::new();
        let figures = self.rounds::<2>(|who| {
            Ok(match who {
                0 => vec![
                    median_of(|| timed(|| gateway.status().len())),
                    median_of(|| timed(|| gateway.schema().len())),
                ],
                _ => vec![
                    median_of(|| timed(|| status.write(&mut out))),
                    median_of(|| timed(|| schema.write(&mut out))),
                ],
            })
        })?;
        let mut texts = Vec::new();
        for (name, [ours, theirs]) in ["get_status", "get_schema"].into_iter().zip(figures) {
            texts.push(
                Comparison {
                    title: format!("Making the answer to `{name}` of 1,000 devices"),
                    unit: "µs",
                    rows: vec![("gateway", ours), ("serde_json", theirs)],
                    goals: vec![("serde_json", Goal::AtMost(1.3))],
                }
                .markdown(),
            );
        }
        for (subscriber, readers, goal) in [
            (
                link::Subscriber::None,
                "nobody reads the feed",
                Some(Goal::AtLeast(0.7)),
            ),
            (
                link::Subscriber::One,
                "one subscriber on the same thread",
                None,
            ),
        ] {
            texts.push(self.mirror(subscriber, readers, goal)?);
        }
        Ok(texts)
    }

    fn mirror(
        &self,
        subscriber: link::Subscriber,
        readers: &str,
        goal: Option<Goal>,
    ) -> Outcome<String> {
        let (mut link, mut alone) = (MirrorLink::new(10_000, subscriber), ParseAlone::new(10_000));
        let events = 20_000;
        let figures = self.rounds::<2>(|who| {
            let took = median_of(|| match who {
                0 => {
                    let batch = link.prepare(events);
                    timed(|| link.apply(batch))
                }
                _ => {
                    let batch = alone.prepare(events);
                    timed(|| alone.parse(&batch))
                }
            });
            Ok(vec![events as f64 / took * 1e6])
        })?;
        let [ours, theirs] = figures.into_iter().next().ok_or("nothing was measured")?;
        let comparison = Comparison {
            title: format!("Events into the client's mirror of 10,000 devices, {readers}"),
            unit: "events/s",
            rows: vec![("client", ours), ("decrypt and parse", theirs)],
            goals: goal
                .map(|goal| ("decrypt and parse", goal))
                .into_iter()
                .collect(),
        };
        Ok(comparison.markdown())
    }

    fn hub(&self) -> Outcome<Vec<String>> {
        let figures = self.rounds::<2>(|who| {
            let times = match who {
                0 => hub::through_hub(&self.program, self.duration)?,
                _ => hub::broker_alone(self.duration)?,
            };
            Ok(vec![times.summary().p50_us, times.summary().p99_us])
        })?;
        let kinds = [
            ("p50", vec![("broker alone", Goal::AtMost(1.5))]),
            ("p99", Vec::new()),
        ];
        Ok(kinds
            .into_iter()
            .zip(figures)
            .map(|((kind, goals), [hub, broker])| {
                Comparison {
                    title: format!(
                        "From the device's report at the gateway to an MQTT subscriber, {kind}"
                    ),
                    unit: "µs",
                    rows: vec![("gateway, hub and broker", hub), ("broker alone", broker)],
                    goals,
                }
                .markdown()
            })
            .collect())
    }

    fn scale(&self) -> Outcome<Vec<String>> {
        let sessions = scale::sessions(self.duration)?;
        let devices = scale::devices(self.rounds)?;
        let (cpu, way) = scale::events(self.duration)?;
        let plots: [Plot; 4] = [
            (
                "sessions",
                "Fan-out of one event, 64 outstanding",
                ("sessions", "µs per event"),
                sessions,
            ),
            (
                "devices",
                "Mirror of a whole home",
                ("devices", "ms until it stands"),
                devices,
            ),
            (
                "events-cpu",
                "Computing time at 10 sessions",
                ("events/s", "ms of one core per second"),
                cpu,
            ),
            (
                "events-way",
                "From report to the last of 10 sessions, p99",
                ("events/s", "µs"),
                way,
            ),
        ];
        let mut texts = Vec::new();
        for (name, title, axes, points) in plots {
            let mut text = format!("### {title}\n\n");
            if self.chosen.is_empty() {
                let folder = self.docs.join("benchmarks");
                std::fs::create_dir_all(&folder)?;
                let path = folder.join(format!("{name}.svg"));
                plot::draw(&path, title, axes, &points, name != "events-way")?;
                text.push_str(&format!("![{title}](benchmarks/{name}.svg)\n\n"));
            }
            text.push_str(&format!("| {} | {} |\n| ---: | ---: |\n", axes.0, axes.1));
            for (x, y) in &points {
                text.push_str(&format!("| {x:.0} | {y:.1} |\n"));
            }
            texts.push(text);
        }
        texts.push("The thin line is a cost that grows exactly as the work does; the time of the way has none, since it need not grow.\n".to_owned());
        Ok(texts)
    }
}

/// Returns the median of some repetitions, in microseconds, after one that does not count.
fn median_of(mut run: impl FnMut() -> Duration) -> f64 {
    run();
    let times = (0..9).map(|_| run().as_secs_f64() * 1e6).collect();
    Spread::of(times).median
}
