//! History for other programs: CSV, JSON lines, and the line protocol of InfluxDB and VictoriaMetrics.
//!
//! Input: series, page by page. Output: lines, in whatever is written to: memory is bounded by one page.

use std::fmt::Write as _;
use std::io::{self, Write};

use hearthgate_hub::{
    Bucket, Change, HISTORY_LIMIT_MAX, HistoryError, HistoryQuery, Points, Series, Subject,
};
use hearthgate_protocol::model::{Source, Timestamp, Value};

use crate::reader::Reader;

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Comma-separated values with a header (RFC 4180).
    Csv,
    /// One JSON object a line.
    JsonLines,
    /// The line protocol of InfluxDB, which VictoriaMetrics reads as well; nanoseconds.
    Line,
}

/// Why an export ended early.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The history cannot be read.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// What was written to takes no more.
    #[error(transparent)]
    Write(#[from] io::Error),
}

impl Format {
    /// All of them.
    pub const ALL: &'static [Self] = &[Self::Csv, Self::JsonLines, Self::Line];

    /// Returns the name for options.
    pub fn name(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::JsonLines => "jsonl",
            Self::Line => "line",
        }
    }
}

impl std::str::FromStr for Format {
    type Err = HistoryError;

    fn from_str(text: &str) -> Result<Self, HistoryError> {
        let found = Self::ALL.iter().find(|it| it.name() == text);
        let wrong = || HistoryError::Query(format!("`{text}` is no format of an export"));
        found.copied().ok_or_else(wrong)
    }
}

/// Writes parts of several series, one after the other: the same question for each subject. Returns how
/// many points there were. Stretches and changes have different columns; where both come (numbers by the
/// hour, states) CSV has those of both, empty where they say nothing.
///
/// # Errors
/// Where the history cannot be read, or `out` takes no more.
pub fn export(
    reader: &Reader,
    query: &HistoryQuery,
    subjects: &[Subject],
    format: Format,
    now: Timestamp,
    out: &mut dyn Write,
) -> Result<u64, ExportError> {
    if format == Format::Csv {
        write!(out, "{CSV_HEADER}\r\n")?;
    }
    let mut written = 0;
    let mut line = String::new();
    for subject in subjects {
        let mut query = HistoryQuery {
            subject: subject.clone(),
            limit: HISTORY_LIMIT_MAX,
            ..query.clone()
        };
        loop {
            let series = reader.query(&query, now)?;
            written += u64::try_from(series.points.len()).unwrap_or(0);
            match &series.points {
                Points::Changes(changes) => {
                    let mut order = Order::default();
                    for change in changes {
                        line.clear();
                        format.change(&mut line, subject, &series, change, order.of(change.at));
                        out.write_all(line.as_bytes())?;
                    }
                }
                Points::Buckets { step, buckets } => {
                    for bucket in buckets {
                        line.clear();
                        format.bucket(&mut line, subject, &series, step.name(), bucket);
                        out.write_all(line.as_bytes())?;
                    }
                }
            }
            query.cursor = series.next;
            if query.cursor.is_none() {
                break;
            }
        }
    }
    out.flush()?;
    Ok(written)
}

const CSV_HEADER: &str =
    "time,gateway,device,code,value,raw,unit,source,repeated,resolution,mean,min,max,last,count";

/// Counts changes of the same millisecond.
#[derive(Default)]
struct Order {
    at: Option<Timestamp>,
    count: i64,
}

impl Order {
    fn of(&mut self, at: Timestamp) -> i64 {
        self.count = if self.at == Some(at) {
            self.count + 1
        } else {
            0
        };
        self.at = Some(at);
        self.count
    }
}

impl Format {
    fn change(self, out: &mut String, subject: &Subject, series: &Series, it: &Change, order: i64) {
        let (gateway, device, code) = names(subject);
        match self {
            Self::Csv => {
                let raw = it.value.as_ref().map(Value::json).unwrap_or_default();
                let value = match (&it.value, it.number) {
                    (_, Some(number)) => number.to_string(),
                    (Some(value), None) => match value.as_string() {
                        Some(text) => text.into_owned(),
                        None => value.json().into_owned(),
                    },
                    (None, None) => String::new(),
                };
                let time = time(it.at);
                let source = source(it.source);
                let fields = [
                    &time,
                    gateway,
                    device,
                    code,
                    &value,
                    &raw,
                    &series.unit,
                    source,
                ];
                csv(out, &fields);
                let _ = write!(out, ",{},raw,,,,,\r\n", it.repeated);
            }
            Self::JsonLines => {
                json_head(out, it.at, subject);
                let raw = it.value.as_ref().map_or("null".into(), Value::json);
                match it.number {
                    Some(number) => push_number(out, "value", number),
                    None => {
                        let _ = write!(out, ",\"value\":{}", one_line(&raw));
                    }
                }
                let _ = write!(
                    out,
                    ",\"raw\":{},\"unit\":{},\"source\":\"{}\",\"repeated\":{}}}",
                    one_line(&raw),
                    quoted(&series.unit),
                    source(it.source),
                    it.repeated
                );
                out.push('\n');
            }
            Self::Line => {
                // Nothing known is no point: the line protocol has none for it.
                let Some(value) = &it.value else { return };
                line_head(out, "hearthgate", subject);
                match (it.number, value.as_bool(), value.as_i64()) {
                    (Some(number), ..) => {
                        let _ = write!(out, " value={number}");
                    }
                    // A graph has no other use for a switch.
                    (None, Some(on), _) => {
                        let _ = write!(out, " value={}", u8::from(on));
                    }
                    (None, None, Some(flags)) => {
                        let _ = write!(out, " value={flags}");
                    }
                    (None, None, None) => {
                        let text = value.as_string().unwrap_or_else(|| value.json());
                        let text = text.replace('\\', "\\\\").replace('"', "\\\"");
                        let _ = write!(out, " state=\"{}\"", text.replace(['\n', '\r'], " "));
                    }
                }
                // Two changes of the same millisecond would replace each other.
                let nanoseconds = i128::from(it.at.0) * 1_000_000 + i128::from(order);
                let _ = writeln!(out, " {nanoseconds}");
            }
        }
    }

    fn bucket(self, out: &mut String, subject: &Subject, series: &Series, step: &str, it: &Bucket) {
        let (gateway, device, code) = names(subject);
        match self {
            Self::Csv => {
                let time = time(it.start);
                csv(
                    out,
                    &[
                        &time,
                        gateway,
                        device,
                        code,
                        "",
                        "",
                        &series.unit,
                        "",
                        "",
                        step,
                    ],
                );
                let last = it.last.map(|last| last.to_string()).unwrap_or_default();
                let _ = write!(
                    out,
                    ",{},{},{},{last},{}\r\n",
                    it.mean, it.min, it.max, it.count
                );
            }
            Self::JsonLines => {
                json_head(out, it.start, subject);
                let _ = write!(out, ",\"resolution\":\"{step}\"");
                push_number(out, "mean", it.mean);
                push_number(out, "min", it.min);
                push_number(out, "max", it.max);
                match it.last {
                    Some(last) => push_number(out, "last", last),
                    None => out.push_str(",\"last\":null"),
                }
                let unit = quoted(&series.unit);
                let _ = writeln!(out, ",\"count\":{},\"unit\":{unit}}}", it.count);
            }
            Self::Line => {
                line_head(out, &format!("hearthgate_{step}"), subject);
                let _ = write!(out, " mean={},min={},max={}", it.mean, it.min, it.max);
                if let Some(last) = it.last {
                    let _ = write!(out, ",last={last}");
                }
                let _ = writeln!(out, ",count={}i {}000000", it.count, it.start.0);
            }
        }
    }
}

/// Returns gateway, device and code, as the views of the store name them.
pub fn names(subject: &Subject) -> (&str, &str, &str) {
    match subject {
        Subject::Point(device, code) => {
            let (gateway, devid) = (device.gateway.as_str(), device.device.as_str());
            (gateway, devid, code.as_str())
        }
        Subject::Online(device) => (device.gateway.as_str(), device.device.as_str(), "$online"),
        Subject::Link(gateway) => (gateway.as_str(), "", "$link"),
    }
}

/// Returns a time as in `2026-01-02T03:04:05.678Z`.
pub fn time(at: Timestamp) -> String {
    match jiff::Timestamp::from_millisecond(at.0) {
        Ok(time) => format!("{time:.3}"),
        Err(_) => at.0.to_string(),
    }
}

/// Returns the name of a source.
pub fn source(source: Source) -> &'static str {
    match source {
        Source::Event => "event",
        Source::Read => "read",
        Source::Cache => "cache",
    }
}

fn csv(out: &mut String, fields: &[&str]) {
    for (index, field) in fields.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        if field.contains(['"', ',', '\n', '\r']) {
            let _ = write!(out, "\"{}\"", field.replace('"', "\"\""));
        } else {
            out.push_str(field);
        }
    }
}

fn json_head(out: &mut String, at: Timestamp, subject: &Subject) {
    let (gateway, device, code) = names(subject);
    let _ = write!(
        out,
        "{{\"time\":\"{}\",\"gateway\":{},\"device\":{},\"code\":{}",
        time(at),
        quoted(gateway),
        quoted(device),
        quoted(code)
    );
}

fn push_number(out: &mut String, name: &str, number: f64) {
    let _ = write!(out, ",\"{name}\":{number}");
}

/// Writes a text as JSON.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Raw JSON may hold line ends between its parts; within strings they are escaped.
fn one_line(json: &str) -> String {
    json.replace(['\n', '\r'], " ")
}

fn line_head(out: &mut String, measurement: &str, subject: &Subject) {
    let (gateway, device, code) = names(subject);
    out.push_str(measurement);
    for (tag, value) in [("gateway", gateway), ("device", device), ("code", code)] {
        if value.is_empty() {
            continue;
        }
        let _ = write!(out, ",{tag}=");
        for c in value.chars() {
            match c {
                ',' | '=' | ' ' => out.extend(['\\', c]),
                c if c.is_control() => out.push_str("\\ "),
                // It would escape the end.
                '\\' => out.push('/'),
                c => out.push(c),
            }
        }
    }
}

#[cfg(test)]
mod tests;
