//! The guard without noise: how many instructions each small part takes, counted by callgrind and compared
//! with the numbers of `instructions.toml`. `make instructions` runs it, `make instructions UPDATE=1` writes
//! the numbers anew.
//!
//! Each part runs twice in a process of its own, the second time twice as often: the difference is what the
//! part takes, and whatever was made before is in neither. The numbers hold for one compiler and one set of
//! dependencies; a machine may differ where a library chooses by what the processor can do. Valgrind has the
//! instructions for AES, so that it is the hardware's cipher that is counted; the table says so if not.
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a program that measures, run by hand"
)]

#[expect(dead_code, reason = "some of it is for other benchmarks")]
mod parts;

use std::collections::BTreeMap;
use std::hint::black_box;
use std::process::{Command, ExitCode};

use hearthgate_protocol::model::Home;
use hearthgate_protocol::wire::{EventKind, FromGateway};
use hearthgate_protocol::wire::{decode_from_client, decode_from_gateway, write_event};
use serde::{Deserialize, Serialize};

use self::parts::answers::Answers;
use self::parts::house;
use self::parts::link::{MirrorLink, ParseAlone, Subscriber};
use self::parts::messages::{EVENT, GET_STATUS, SET_VALUE};
use self::parts::sessions::Crowd;

/// The part of a number by which it may differ.
const TOLERANCE: f64 = 0.02;
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/instructions.toml");

/// A part: its name, how often it runs, and the work.
type Part = (&'static str, usize, fn(usize));

const PARTS: [Part; 10] = [
    ("decode an event", 2_000, decode_event),
    ("decode a get_status", 2_000, decode_get_status),
    ("decode a set_value", 2_000, decode_set_value),
    ("encode an event", 2_000, encode_event),
    ("apply a state, 10000 devices", 10_000, apply),
    ("deliver 64 events to 100 sessions", 5, deliver),
    ("answer get_status of 1000 devices", 5, answer_status),
    ("answer get_schema of 1000 devices", 5, answer_schema),
    ("decrypt and parse an event", 10_000, parse),
    (
        "an event into a mirror of 1000, with a subscriber",
        10_000,
        mirror,
    ),
];

/// The numbers of `instructions.toml`.
#[derive(Debug, Serialize, Deserialize)]
struct Numbers {
    /// The compiler by which they were made.
    rustc: String,
    /// Whether AES was the processor's, as it is on any of the last fifteen years.
    aes: bool,
    /// Instructions of each part, each time that it runs.
    instructions: BTreeMap<String, u64>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["--run", name, count] => {
            let part = PARTS.iter().find(|(known, ..)| known == name);
            let (_, _, run) = part.expect("a name of a part");
            run(count.parse().expect("a number"));
            ExitCode::SUCCESS
        }
        words if words.contains(&"--update") => update(),
        _ => compare(),
    }
}

fn update() -> ExitCode {
    let now = count_all();
    let head = "# Instructions of the small parts: see benches/instructions.rs. Written by `make instructions UPDATE=1`.\n";
    let text = toml::to_string(&now).expect("plain numbers");
    std::fs::write(FILE, format!("{head}{text}")).expect("the file can be written");
    println!("written to {FILE}");
    ExitCode::SUCCESS
}

fn compare() -> ExitCode {
    let text = std::fs::read_to_string(FILE).expect("the file can be read");
    let known: Numbers = toml::from_str(&text).expect("the file is as `--update` writes it");
    let now = count_all();
    let mut differing = Vec::new();
    println!(
        "{:<50} {:>12} {:>12} {:>9}",
        "instructions of", "committed", "now", "change"
    );
    for (name, count) in &now.instructions {
        let Some(before) = known.instructions.get(name) else {
            println!("{name:<50} {:>12} {count:>12} {:>9}", "-", "new");
            differing.push(name.as_str());
            continue;
        };
        let change = *count as f64 / *before as f64 - 1.0;
        let percent = format!("{:+.1} %", 100.0 * change);
        println!("{name:<50} {before:>12} {count:>12} {percent:>9}");
        if change.abs() > TOLERANCE {
            differing.push(name);
        }
    }
    if known.aes != now.aes {
        println!(
            "\nAES was the processor's: {} then, {} now. The numbers do not compare.",
            known.aes, now.aes
        );
    }
    if known.rustc != now.rustc {
        println!(
            "\nThe numbers are of {}, this is {}: a difference may be the compiler's.",
            known.rustc, now.rustc
        );
    }
    if differing.is_empty() {
        println!("\nall within {:.0} %", 100.0 * TOLERANCE);
        return ExitCode::SUCCESS;
    }
    println!(
        "\ndiffers by more than {:.0} %: {}\n\
         If it is more and nobody meant it, find the change that did it; if it is less, or worth it, commit what\n\
         `make instructions UPDATE=1` writes. To see where a part spends them:\n\
         \x20 valgrind --tool=callgrind {} --run '{}' 1000",
        100.0 * TOLERANCE,
        differing.join(", "),
        this().display(),
        differing.first().unwrap_or(&"")
    );
    ExitCode::FAILURE
}

fn count_all() -> Numbers {
    let rustc = Command::new("rustc").arg("--version").output();
    let rustc = rustc.map(|it| String::from_utf8_lossy(&it.stdout).trim().to_owned());
    let counted = |(name, count, _): &Part| {
        let (once, twice) = (count_one(name, *count), count_one(name, 2 * count));
        let each = (twice.saturating_sub(once)) / u64::try_from(*count).unwrap_or(u64::MAX);
        ((*name).to_owned(), each)
    };
    Numbers {
        rustc: rustc.unwrap_or_else(|_| "an unknown compiler".to_owned()),
        aes: has_aes(),
        instructions: PARTS.iter().map(counted).collect(),
    }
}

/// Returns the instructions of a process that runs a part so often.
fn count_one(name: &str, count: usize) -> u64 {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(this())
        .args(["--run", name, &count.to_string()])
        .output()
        .expect("valgrind is installed: `make instructions` does that");
    let said = String::from_utf8_lossy(&output.stderr);
    let collected = said
        .lines()
        .find_map(|line| line.split_once("Collected : "));
    let number = collected.and_then(|(_, number)| number.trim().parse().ok());
    match number {
        Some(number) if output.status.success() => number,
        _ => panic!("{name} failed under valgrind:\n{said}"),
    }
}

fn this() -> std::path::PathBuf {
    std::env::current_exe().expect("a program has a path")
}

/// Tells whether the processor has instructions for AES; valgrind has them where the processor does.
fn has_aes() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("aes");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    return false;
}

fn decode_event(count: usize) {
    for _ in 0..count {
        let _ = black_box(decode_from_gateway(black_box(EVENT.as_bytes())));
    }
}

fn decode_get_status(count: usize) {
    for _ in 0..count {
        black_box(decode_from_client(black_box(GET_STATUS.as_bytes())));
    }
}

fn decode_set_value(count: usize) {
    for _ in 0..count {
        black_box(decode_from_client(black_box(SET_VALUE.as_bytes())));
    }
}

fn encode_event(count: usize) {
    let kind: EventKind = match decode_from_gateway(EVENT.as_bytes()) {
        Ok((FromGateway::Event(event), _)) => event.kind,
        other => unreachable!("{other:?}"),
    };
    let mut out = Vec::with_capacity(1024);
    for _ in 0..count {
        out.clear();
        write_event(&mut out, 1_234_567, black_box(&kind));
        black_box(&out);
    }
}

fn apply(count: usize) {
    let mut home: Home = house::devices(10_000).into_iter().collect();
    // As many whatever is asked for, so that their making is in neither count.
    let reports = house::reports(&home, 20_001);
    for report in reports.iter().cycle().take(count) {
        black_box(home.apply(report, house::STAMP));
    }
}

fn deliver(count: usize) {
    let mut crowd = Crowd::new(100);
    let batch = vec![EVENT.as_bytes().to_vec(); 64];
    for _ in 0..count {
        black_box(crowd.deliver(&batch));
    }
}

fn answer_status(count: usize) {
    let mut gateway = Answers::new(1_000);
    for _ in 0..count {
        black_box(gateway.status());
    }
}

fn answer_schema(count: usize) {
    let mut gateway = Answers::new(1_000);
    for _ in 0..count {
        black_box(gateway.schema());
    }
}

/// Events that are applied or parsed at a time.
const TOGETHER: usize = 500;
/// The events that are encrypted, whatever number of them is asked for.
const PREPARED: usize = 20_000;

fn parse(count: usize) {
    let mut alone = ParseAlone::new(1_000);
    let batches: Vec<_> = (0..PREPARED / TOGETHER)
        .map(|_| alone.prepare(TOGETHER))
        .collect();
    for batch in batches.iter().take(count / TOGETHER) {
        black_box(alone.parse(batch));
    }
}

fn mirror(count: usize) {
    let mut link = MirrorLink::new(1_000, Subscriber::One);
    let batches: Vec<_> = (0..PREPARED / TOGETHER)
        .map(|_| link.prepare(TOGETHER))
        .collect();
    for batch in batches.into_iter().take(count / TOGETHER) {
        link.apply(batch);
    }
}
