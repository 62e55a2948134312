//! `hearthgate history`: what was, from the file that a hub keeps, beside a running hub or without one.
//!
//! The file is opened read-only; nothing is sent to any gateway.

mod find;
mod show;

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use hearthgate_history::{ExportError, Format, HistoryOptions, Reader, StoreError, export};
use hearthgate_hub::{
    HISTORY_LIMIT_MAX, HistoryError, HistoryQuery, Names, Resolution, Step, Subject,
};
use hearthgate_protocol::model::Timestamp;
use jiff::civil::Date;
use jiff::{Span, ZonedDateTime};

use crate::args::choice;
use crate::exit::Failure;
use find::Found;

/// The most rows of a table for people.
const ROWS: usize = 48;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hearthgate history
  hearthgate history \"Living room\"
  hearthgate history \"Living room\" temp_current --since 7d
  hearthgate history a4c1380b temp_current --since 2026-01-01 --resolution hour --export csv > temp.csv
  hearthgate history --since 30d --export line | curl --data-binary @- http://127.0.0.1:8428/write

A hub keeps history (`hearthgate hub`); this command reads it, also while the hub runs. Without CODE it lists
what there is; with --export or --json it then writes all of it. `$online` is whether a device was in reach,
`$link` whether a gateway was connected. Days are those of UTC.")]
pub(crate) struct HistoryArgs {
    /// A device: its id, an unambiguous beginning of it, its name, or GATEWAY/ID; or a gateway.
    #[arg(value_name = "DEVICE")]
    device: Option<String>,
    /// The data point.
    #[arg(value_name = "CODE")]
    code: Option<String>,
    /// From when: a time ago such as 90m, 24h or 7d, or a date or time such as 2026-01-31 or 2026-01-31T08:00.
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = moment)]
    since: Timestamp,
    /// Until when, in the same forms [default: now].
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Timestamp>,
    /// How fine: single changes, or means; auto takes what fits a screen, and single changes for an export.
    #[arg(long, value_name = "RESOLUTION", default_value = "auto",
          value_parser = clap::builder::PossibleValuesParser::new(["auto", "raw", "minute", "hour", "day"]))]
    resolution: String,
    /// Writes all points in a format for other programs: csv, jsonl (JSON lines), or line (InfluxDB, VictoriaMetrics).
    #[arg(long, value_name = "FORMAT", value_parser = choice::<Format>(Format::ALL, Format::name))]
    export: Option<Format>,
    /// Prints an array of `{time, gateway, device, code, value, raw, unit, source, repeated}`, or of
    /// `{time, gateway, device, code, resolution, mean, min, max, last, count, unit}`; without DEVICE and CODE
    /// of `{gateway, device, code, unit, changes, first, last}`.
    #[arg(long, conflicts_with = "export")]
    json: bool,
    /// The file [default: $XDG_STATE_HOME/hearthgate/history.db].
    #[arg(long, value_name = "FILE")]
    history: Option<PathBuf>,
}

/// Runs the command.
pub(super) fn run(args: &HistoryArgs) -> Result<(), Failure> {
    let path = match &args.history {
        Some(path) => path.clone(),
        None => HistoryOptions::default_path()?,
    };
    if !path.exists() {
        return Err(Failure::usage(format!(
            "there is no history {}: `hearthgate hub` keeps one while it runs, and --history FILE names another",
            path.display()
        )));
    }
    let reader = Reader::open(&path).map_err(unreadable)?;
    let names = Names::open(&Names::default_path()?)?;
    let found = find::find(
        &reader,
        &names,
        args.device.as_deref(),
        args.code.as_deref(),
    )?;
    let now = now();
    let until = args.until.unwrap_or(Timestamp(now.0.saturating_add(1)));
    if args.since > until {
        return Err(Failure::usage("--since is later than --until"));
    }
    let step = Step::ALL.iter().find(|step| step.name() == args.resolution);
    let writes_all = args.export.is_some() || args.json && args.device.is_some();
    let fallback = if writes_all {
        Resolution::Exactly(Step::Raw)
    } else {
        Resolution::Auto { max_points: ROWS }
    };
    let query = |subject: &Subject| HistoryQuery {
        subject: subject.clone(),
        from: args.since,
        to: until,
        resolution: step.map_or(fallback, |step| Resolution::Exactly(*step)),
        limit: HISTORY_LIMIT_MAX,
        cursor: None,
    };
    let mut out = io::BufWriter::new(io::stdout().lock());
    match (found, args.export) {
        (Found::One(subject), Some(format)) => {
            write_all(&reader, &query(&subject), &[subject], format, now, &mut out)
        }
        (Found::Several(subjects), Some(format)) => match subjects.first() {
            Some(first) => write_all(&reader, &query(first), &subjects, format, now, &mut out),
            None => Ok(()),
        },
        (Found::One(subject), None) if args.json => {
            let mut array = JsonArray::new(out);
            write_all(
                &reader,
                &query(&subject),
                &[subject],
                Format::JsonLines,
                now,
                &mut array,
            )?;
            Ok(array.end()?)
        }
        (Found::Several(subjects), None) if writes_all => {
            let mut array = JsonArray::new(out);
            if let Some(first) = subjects.first() {
                let query = query(first);
                write_all(
                    &reader,
                    &query,
                    &subjects,
                    Format::JsonLines,
                    now,
                    &mut array,
                )?;
            }
            Ok(array.end()?)
        }
        (Found::One(subject), None) => {
            drop(out);
            show::series(&reader, &query(&subject), &names, now)
        }
        (Found::Several(subjects), None) => {
            drop(out);
            show::list(&reader, &subjects, &names, args.device.is_some(), args.json)
        }
    }
}

fn write_all(
    reader: &Reader,
    query: &HistoryQuery,
    subjects: &[Subject],
    format: Format,
    now: Timestamp,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    match export(reader, query, subjects, format, now, out) {
        Ok(_) => Ok(()),
        Err(ExportError::Write(error)) => Err(error.into()),
        Err(ExportError::History(error)) => Err(unanswered(error)),
    }
}

/// Makes one array of JSON lines, each of which comes as one piece.
struct JsonArray<W: Write> {
    out: W,
    is_empty: bool,
}

impl<W: Write> JsonArray<W> {
    fn new(out: W) -> Self {
        Self {
            out,
            is_empty: true,
        }
    }

    fn end(mut self) -> io::Result<()> {
        let end: &[u8] = if self.is_empty { b"[]\n" } else { b"]\n" };
        self.out.write_all(end)?;
        self.out.flush()
    }
}

impl<W: Write> Write for JsonArray<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let before: &[u8] = if self.is_empty { b"[" } else { b",\n" };
        self.is_empty = false;
        self.out.write_all(before)?;
        self.out.write_all(line.trim_ascii_end())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Parses a time ago, a date, or a time; without a zone it is local.
fn moment(text: &str) -> Result<Timestamp, String> {
    let wrong = || {
        format!("`{text}` is no time: write 90m, 24h, 7d, 2026-01-31, or 2026-01-31T08:00[:00][Z]")
    };
    let now = ZonedDateTime::now();
    let milliseconds = |time: &ZonedDateTime| Timestamp(time.timestamp().as_millisecond());
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Ok(Timestamp(time.as_millisecond()));
    }
    if let Ok(time) = text.parse::<jiff::civil::DateTime>() {
        let time = time
            .to_zoned_datetime(now.time_zone().clone())
            .map_err(|_| wrong())?;
        return Ok(milliseconds(&time));
    }
    if let Ok(date) = text.parse::<Date>() {
        let time = date
            .to_zoned_datetime(now.time_zone().clone())
            .map_err(|_| wrong())?;
        return Ok(milliseconds(&time));
    }
    let span: Span = text.parse().map_err(|_| wrong())?;
    if span.is_negative() {
        return Err(wrong());
    }
    let time = now.checked_sub(span).map_err(|_| wrong())?;
    Ok(milliseconds(&time))
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    Timestamp(since.map_or(0, |it| i64::try_from(it.as_millis()).unwrap_or(i64::MAX)))
}

/// Returns a time of day as the user's clock has it.
fn local(at: Timestamp) -> String {
    match jiff::Timestamp::from_millisecond(at.0) {
        Ok(time) => {
            let zoned = time.to_zoned_datetime(jiff::tz::TimeZone::system());
            zoned.strftime("%Y-%m-%d %H:%M:%S").to_string()
        }
        Err(_) => "?".to_owned(),
    }
}

fn unreadable(error: StoreError) -> Failure {
    match error {
        StoreError::Newer { .. } => Failure::usage(error),
        StoreError::Access { path, cause, .. } => Failure::local(format!(
            "cannot read the history {}: {cause}",
            path.display()
        )),
        error => Failure::local(error),
    }
}

fn unanswered(error: HistoryError) -> Failure {
    match error {
        HistoryError::Query(_) => Failure::usage(error),
        error => Failure::local(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_ago_dates_and_times() {
        let ago = |text: &str| now().0 - moment(text).unwrap().0;
        for (text, minutes) in [("90m", 90), ("24h", 24 * 60), ("1h 30m", 90)] {
            assert!((ago(text) - minutes * 60_000).abs() < 60_000, "{text}");
        }
        // A day may have 23 or 25 hours where clocks are changed.
        assert!((ago("7d") - 7 * 86_400_000).abs() <= 2 * 3_600_000);
        assert_eq!(
            moment("2026-01-31T08:00:00Z").unwrap(),
            Timestamp(1_769_846_400_000)
        );
        assert!(moment("2026-01-31").unwrap() < moment("2026-01-31T08:00").unwrap());
        for text in ["", "yesterday", "-5m", "24", "2026-13-01"] {
            assert!(moment(text).is_err(), "{text}");
        }
    }

    #[test]
    fn lines_become_one_array() {
        let mut out = Vec::new();
        let mut array = JsonArray::new(&mut out);
        array.write_all(b"{\"a\":1}\n").unwrap();
        array.write_all(b"{\"a\":2}\n").unwrap();
        array.end().unwrap();
        assert_eq!(out, b"[{\"a\":1},\n{\"a\":2}]\n");
        let mut out = Vec::new();
        JsonArray::new(&mut out).end().unwrap();
        assert_eq!(out, b"[]\n");
    }
}
