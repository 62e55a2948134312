//! History as people see it: lists, a table, a line of bars.

use std::collections::VecDeque;

use anstyle::{AnsiColor, Style};
use hearthgate_history::{Listed, Reader, names as ids_of, time};
use hearthgate_hub::{
    Bucket, Change, DeviceRef, HistoryQuery, Names, Points, Resolution, Series, Subject,
};
use hearthgate_protocol::model::{Timestamp, Value};

use super::{ROWS, local, unanswered};
use crate::exit::Failure;
use crate::output;

/// The columns of the line of bars.
const COLUMNS: usize = 60;
/// The most points that are read for each.
const POINTS_OF_A_COLUMN: usize = 20;
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const LINE: Style = AnsiColor::Cyan.on_default();

/// Lists what there is: devices, or the series of one.
pub(super) fn list(
    reader: &Reader,
    subjects: &[Subject],
    names: &Names,
    is_one: bool,
    json: bool,
) -> Result<(), Failure> {
    let listed = reader.list(None).map_err(unanswered)?;
    let listed: Vec<Listed> = listed
        .into_iter()
        .filter(|it| subjects.contains(&it.subject))
        .collect();
    if json {
        let items: Vec<String> = listed.iter().map(as_json).collect();
        return Ok(output::json_array(items.iter().map(String::as_str))?);
    }
    if is_one {
        let rows = listed.iter().map(|it| {
            let (_, device, code) = ids_of(&it.subject);
            let what = match (it.is_number, it.unit.as_str()) {
                (true, "") => "number".to_owned(),
                (true, unit) => unit.to_owned(),
                (false, _) => "state".to_owned(),
            };
            let count = it.changes.to_string();
            let [first, last] = [it.first, it.last].map(|at| at.map(local).unwrap_or_default());
            [device.to_owned(), code.to_owned(), what, count, first, last]
        });
        let header = ["DEVICE", "CODE", "UNIT", "CHANGES", "SINCE", "LAST"];
        return Ok(output::table(header, rows.collect(), "no history yet")?);
    }
    let mut rows: Vec<[String; 6]> = Vec::new();
    let mut of_one: Vec<&Listed> = Vec::new();
    for it in &listed {
        let (gateway, device, _) = ids_of(&it.subject);
        if of_one.first().is_some_and(|first| {
            let (other, another, _) = ids_of(&first.subject);
            (other, another) != (gateway, device)
        }) {
            rows.extend(summary(&of_one, names));
            of_one.clear();
        }
        of_one.push(it);
    }
    rows.extend(summary(&of_one, names));
    let header = ["GATEWAY", "DEVICE", "NAME", "CHANGES", "SINCE", "LAST"];
    Ok(output::table(header, rows, "no history yet")?)
}

fn summary(of_one: &[&Listed], names: &Names) -> Option<[String; 6]> {
    let (gateway, device, _) = ids_of(&of_one.first()?.subject);
    let name = if device.is_empty() {
        names.gateway(&gateway.into())
    } else {
        names.device(&DeviceRef::new(gateway, device))
    };
    let changes: u64 = of_one.iter().map(|it| it.changes).sum();
    let first = of_one.iter().filter_map(|it| it.first).min();
    let last = of_one.iter().filter_map(|it| it.last).max();
    Some([
        gateway.to_owned(),
        device.to_owned(),
        name.unwrap_or_default(),
        changes.to_string(),
        first.map(local).unwrap_or_default(),
        last.map(local).unwrap_or_default(),
    ])
}

fn as_json(it: &Listed) -> String {
    let (gateway, device, code) = ids_of(&it.subject);
    serde_json::json!({
        "gateway": gateway,
        "device": device,
        "code": code,
        "unit": it.unit,
        "changes": it.changes,
        "first": it.first.map(time),
        "last": it.last.map(time),
    })
    .to_string()
}

/// Shows a part of one series.
pub(super) fn series(
    reader: &Reader,
    query: &HistoryQuery,
    names: &Names,
    now: Timestamp,
) -> Result<(), Failure> {
    let (gateway, device, code) = ids_of(&query.subject);
    let name = match &query.subject {
        Subject::Point(device, _) | Subject::Online(device) => names.device(device),
        Subject::Link(gateway) => names.gateway(gateway),
    };
    let whose = match (name, device) {
        (Some(name), "") => format!("{gateway} ({name})"),
        (Some(name), device) => format!("{gateway}/{device} ({name})"),
        (None, "") => gateway.to_owned(),
        (None, device) => format!("{gateway}/{device}"),
    };
    output::line(&output::printable(&format!("{whose}  {code}")))?;

    // The picture is as fine as it can be drawn, whatever the table is.
    let max_points = COLUMNS * POINTS_OF_A_COLUMN;
    let fine = HistoryQuery {
        resolution: Resolution::Auto { max_points },
        ..query.clone()
    };
    let mut columns = Columns::new(query, now);
    let mut extremes = Extremes::default();
    each_page(reader, &fine, now, |page| {
        columns.take(page);
        extremes.take(page);
    })?;
    if let Some(bars) = columns.bars() {
        let until = Timestamp(query.to.0.min(now.0));
        output::line(&format!("{LINE}{bars}{LINE:#}"))?;
        output::line(&format!("{} to {}", local(query.from), local(until)))?;
    }
    if let Some(text) = extremes.text() {
        output::line(&output::printable(&text))?;
    }
    output::line("")?;

    let mut rows = VecDeque::new();
    let mut total = 0;
    let is_single = each_page(reader, query, now, |page| {
        total += page.points.len();
        rows.extend(table(page));
        rows.drain(..rows.len().saturating_sub(ROWS));
    })?;
    let hidden = total.saturating_sub(rows.len());
    let none = "nothing changed in this time; `--since 7d` goes back further";
    if is_single {
        let rows = rows
            .into_iter()
            .map(|[time, value, source, ..]: [String; 5]| [time, value, source]);
        output::table(["TIME", "VALUE", "SOURCE"], rows.collect(), none)?;
    } else {
        let header = ["FROM", "MEAN", "MIN", "MAX", "CHANGES"];
        output::table(header, rows.into_iter().collect(), none)?;
    }
    if hidden > 0 {
        output::line(&format!("({hidden} earlier ones: --export csv writes all)"))?;
    }
    Ok(())
}

/// Looks at an answer page by page; tells whether it is of single changes.
fn each_page(
    reader: &Reader,
    query: &HistoryQuery,
    now: Timestamp,
    mut look: impl FnMut(&Series),
) -> Result<bool, Failure> {
    let mut query = query.clone();
    loop {
        let page = reader.query(&query, now).map_err(unanswered)?;
        look(&page);
        query.cursor = page.next;
        if query.cursor.is_none() {
            return Ok(matches!(page.points, Points::Changes(_)));
        }
    }
}

/// The lowest, highest and last value of a number.
#[derive(Default)]
struct Extremes {
    low: Option<f64>,
    high: Option<f64>,
    last: Option<f64>,
    scale: u32,
    unit: String,
}

impl Extremes {
    fn take(&mut self, page: &Series) {
        if !page.is_number {
            return;
        }
        self.scale = page.scale;
        self.unit.clone_from(&page.unit);
        match &page.points {
            Points::Changes(changes) => {
                for change in page.before.iter().chain(changes) {
                    self.see(change.number, change.number, change.number);
                }
            }
            Points::Buckets { buckets, .. } => {
                for bucket in buckets {
                    self.see(Some(bucket.min), Some(bucket.max), bucket.last);
                }
            }
        }
    }

    fn see(&mut self, low: Option<f64>, high: Option<f64>, last: Option<f64>) {
        self.low = self.low.into_iter().chain(low).reduce(f64::min);
        self.high = self.high.into_iter().chain(high).reduce(f64::max);
        self.last = last;
    }

    fn text(&self) -> Option<String> {
        let number = |number: f64| with_unit(&rounded(number, self.scale), &self.unit);
        let (low, high) = (number(self.low?), number(self.high?));
        let last = self.last.map_or("not known".to_owned(), number);
        Some(format!("min {low}, max {high}, last {last}"))
    }
}

/// Makes rows of a part.
fn table(series: &Series) -> Vec<[String; 5]> {
    let number = |number: f64| with_unit(&rounded(number, series.scale), &series.unit);
    let change = |it: &Change| {
        let value = match (&it.value, it.number) {
            (_, Some(value)) => number(value),
            (Some(value), None) => shown(value),
            (None, None) => "(not known)".to_owned(),
        };
        let source = match it.repeated {
            true => "again".to_owned(),
            false => hearthgate_history::source(it.source).to_owned(),
        };
        [local(it.at), value, source, String::new(), String::new()]
    };
    let bucket = |it: &Bucket| {
        // A mean is worth a place more than what it is made of.
        let mean = rounded(it.mean, series.scale + 1);
        [
            local(it.start),
            with_unit(&mean, &series.unit),
            number(it.min),
            number(it.max),
            it.count.to_string(),
        ]
    };
    match &series.points {
        Points::Changes(changes) => changes.iter().map(change).collect(),
        Points::Buckets { buckets, .. } => buckets.iter().map(bucket).collect(),
    }
}

fn shown(value: &Value) -> String {
    match (value.as_bool(), value.as_string()) {
        (Some(on), _) => if on { "on" } else { "off" }.to_owned(),
        (None, Some(text)) => text.into_owned(),
        (None, None) => value.json().into_owned(),
    }
}

fn rounded(number: f64, places: u32) -> String {
    let places = usize::try_from(places.min(18)).unwrap_or(0);
    format!("{number:.places$}")
}

fn with_unit(number: &str, unit: &str) -> String {
    match unit {
        "" => number.to_owned(),
        unit => format!("{number} {unit}"),
    }
}

/// The line of bars: for each column the value in it, which is the mean or the last one.
struct Columns {
    from: i64,
    until: i64,
    /// What was seen in each column: a value, that nothing is known, or no change.
    seen: Vec<Option<Option<f64>>>,
    before: Option<f64>,
}

impl Columns {
    fn new(query: &HistoryQuery, now: Timestamp) -> Self {
        Self {
            from: query.from.0,
            until: query.to.0.min(now.0).max(query.from.0.saturating_add(1)),
            seen: vec![None; COLUMNS],
            before: None,
        }
    }

    fn take(&mut self, series: &Series) {
        if let Some(before) = &series.before {
            self.before = height(before);
        }
        match &series.points {
            Points::Changes(changes) => {
                for change in changes {
                    self.set(change.at.0, 1, height(change));
                }
            }
            Points::Buckets { step, buckets } => {
                for bucket in buckets {
                    self.set(bucket.start.0, step.milliseconds(), Some(bucket.mean));
                }
            }
        }
    }

    /// Takes note of a value in the columns of a stretch.
    fn set(&mut self, at: i64, length: i64, value: Option<f64>) {
        let span = self.until.saturating_sub(self.from).max(1);
        let column = |at: i64| {
            let offset = i128::from(at.saturating_sub(self.from).max(0));
            let column = offset * i128::try_from(COLUMNS).unwrap_or(1) / i128::from(span);
            usize::try_from(column).unwrap_or(usize::MAX)
        };
        let (first, last) = (column(at), column(at.saturating_add(length - 1)));
        for slot in self
            .seen
            .iter_mut()
            .take(last.saturating_add(1))
            .skip(first)
        {
            *slot = Some(value);
        }
    }

    /// Returns the bars; none where there is nothing to draw.
    fn bars(&self) -> Option<String> {
        let mut held = self.before;
        let heights: Vec<Option<f64>> = self
            .seen
            .iter()
            .map(|seen| {
                held = seen.unwrap_or(held);
                held
            })
            .collect();
        let known = || heights.iter().flatten().copied();
        let (low, high) = (known().reduce(f64::min)?, known().reduce(f64::max)?);
        let bar = |height: &Option<f64>| {
            let Some(height) = height else { return ' ' };
            let part = if high > low {
                (height - low) / (high - low)
            } else {
                0.5
            };
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a part of 1 times 7"
            )]
            let index = (part * 7.0).round() as usize;
            BARS.get(index).copied().unwrap_or(' ')
        };
        Some(heights.iter().map(bar).collect())
    }
}

/// Returns what is drawn of a change: numbers and switches.
fn height(change: &Change) -> Option<f64> {
    let on = change.value.as_ref().and_then(Value::as_bool);
    change.number.or(on.map(|on| f64::from(u8::from(on))))
}

#[cfg(test)]
mod tests {
    use hearthgate_hub::Step;
    use hearthgate_protocol::model::Source;

    use super::*;

    fn bars(changes: &[(i64, Option<f64>)], before: Option<f64>) -> Option<String> {
        let change = |(at, number): (i64, Option<f64>)| Change {
            at: Timestamp(at),
            value: number.map(|_| Value::from(1)),
            number,
            source: Source::Event,
            repeated: false,
        };
        let query = HistoryQuery {
            subject: Subject::Link("gw".into()),
            from: Timestamp(0),
            to: Timestamp(600),
            resolution: Resolution::Exactly(Step::Raw),
            limit: 1,
            cursor: None,
        };
        let mut columns = Columns::new(&query, Timestamp(10_000));
        columns.take(&Series {
            unit: String::new(),
            scale: 0,
            is_number: true,
            before: before.map(|number| change((-5, Some(number)))),
            points: Points::Changes(changes.iter().copied().map(change).collect()),
            next: None,
        });
        columns.bars()
    }

    #[test]
    fn a_line_of_bars() {
        let line = bars(
            &[
                (0, Some(0.0)),
                (300, Some(7.0)),
                (450, None),
                (590, Some(3.5)),
            ],
            None,
        );
        let expected = [
            "▁".repeat(30),
            "█".repeat(15),
            " ".repeat(14),
            "▅".to_owned(),
        ];
        assert_eq!(line.unwrap(), expected.concat());
        assert_eq!(bars(&[], Some(5.0)).unwrap(), "▅".repeat(60));
        assert_eq!(bars(&[], None), None);
        assert_eq!(bars(&[(10, None)], None), None);
        // Beyond the end there is no column.
        assert_eq!(bars(&[(900, Some(1.0))], None), None);
    }

    #[test]
    fn numbers_have_the_places_of_their_scale() {
        assert_eq!(with_unit(&rounded(21.5, 1), "°C"), "21.5 °C");
        assert_eq!(rounded(22.0, 0), "22");
        assert_eq!(rounded(21.456, 2), "21.46");
    }
}
