//! Builds a history of ten million changes and asks it what people ask: how long writing and each question
//! take. Run by hand: `cargo run --release -p hearthgate-history --example ten_million [ROWS [FILE]]`;
//! a FILE is kept.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program that measures, run by hand"
)]

use std::time::{Duration, Instant};

use hearthgate_history::{HistoryOptions, Reader, testing::Filler};
use hearthgate_hub::{DeviceRef, HistoryQuery, Resolution, Step, Subject};
use hearthgate_protocol::model::Timestamp;

/// Devices with one thermometer each, and how often it changes.
const SERIES: i64 = 1_000;
const EVERY: i64 = 60_000;
/// Changes of one transaction: far more than a hub has in a second, so that the file is soon there.
const TOGETHER: i64 = 200_000;
const START: i64 = 1_700_000_000_000;
const DAY: i64 = 86_400_000;

fn main() {
    let rows: i64 = std::env::args()
        .nth(1)
        .map_or(10_000_000, |it| it.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let path = std::env::args().nth(2).map(Into::into);
    let options = HistoryOptions::new(path.unwrap_or(folder.path().join("history.db")));
    let mut filler = Filler::open(&options.path).unwrap();
    let begin = Instant::now();
    let mut written = 0;
    while written < rows {
        let part = (rows - written).min(TOGETHER);
        filler.commit((written..written + part).map(|n| {
            let at = START + n / SERIES * EVERY + n % SERIES * 50;
            (n % SERIES + 1, at, 200 + n * 7919 % 97)
        }));
        written += part;
    }
    let end = START + rows / SERIES * EVERY;
    let took = begin.elapsed();
    filler.close(end);
    let bytes = std::fs::metadata(&options.path).unwrap().len();
    println!(
        "{rows} changes of {SERIES} series in {took:.1?}: {:.0} a second",
        per_second(rows, took)
    );
    println!(
        "the file: {} MiB, {} bytes a change with all means",
        bytes >> 20,
        bytes / rows.unsigned_abs()
    );

    let ask = |what: &str, subject: i64, from: i64, resolution: Resolution| {
        let query = HistoryQuery {
            subject: Subject::Point(DeviceRef::new("gw", format!("dev{subject}")), "temp".into()),
            from: Timestamp(from),
            to: Timestamp(end),
            resolution,
            limit: 2_000,
            cursor: None,
        };
        let begin = Instant::now();
        let reader = Reader::open(&options.path).unwrap();
        let answer = reader.query(&query, Timestamp(end)).unwrap();
        let (step, points) = (answer.points.step().name(), answer.points.len());
        println!(
            "{what}: {points} points ({step}) in {:.2?}",
            begin.elapsed()
        );
    };
    let auto = Resolution::Auto { max_points: 500 };
    for subject in [17, 444] {
        ask("the last hour", subject, end - DAY / 24, auto);
        ask("the last day", subject, end - DAY, auto);
        ask("the last week", subject, end - 7 * DAY, auto);
        ask("all of it", subject, START, auto);
        ask(
            "every change, a page",
            subject,
            START,
            Resolution::Exactly(Step::Raw),
        );
        ask(
            "minutes, a page",
            subject,
            START,
            Resolution::Exactly(Step::Minute),
        );
    }
    let begin = Instant::now();
    let listed = Reader::open(&options.path).unwrap().list(None).unwrap();
    println!(
        "the list of {} series, counted: {:.2?}",
        listed.len(),
        begin.elapsed()
    );
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn per_second(rows: i64, took: Duration) -> f64 {
    rows as f64 / took.as_secs_f64()
}
