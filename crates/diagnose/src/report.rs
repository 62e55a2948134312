//! What was found out: checks in order, each with an outcome and a sentence for people.
//!
//! Written by `doctor` and `conformance`; shown by the command line, kept by `bundle`.

use std::fmt;

use hearthgate_protocol::variants::Wire;
use serde::{Serialize, Serializer};

/// The layers in the order in which they are tried.
pub const LAYERS: [&str; 13] = [
    "advertisement",
    "address",
    "port",
    "upgrade",
    "wire",
    "decrypt",
    "proof",
    "devices",
    "schemas",
    "statuses",
    "round_trip",
    "ping",
    "event",
];

/// The most lines of one detail, and the most characters of each.
const LINES_MAX: usize = 2_100;
const LINE_MAX: usize = 500;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// As it should be.
    Pass,
    /// It works, and something about it is odd.
    Warn,
    /// It does not work.
    Fail,
    /// It was not asked for, could not be seen, or something before it failed.
    Skip,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Fail => "fail",
            Self::Skip => "skip",
        })
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Its name: one of [`LAYERS`], or a rule of the protocol.
    pub name: &'static str,
    /// How it ended.
    pub outcome: Outcome,
    /// For people: what was seen, the likely cause, the next step. One finding a line.
    pub detail: String,
}

/// All checks in order. As JSON `{"wire":..,"checks":[{"name","outcome","detail"}]}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The wire encoding that the gateway speaks; `null` where it never came to that.
    #[serde(serialize_with = "wire_name")]
    pub wire: Option<Wire>,
    /// The checks.
    pub checks: Vec<Check>,
}

impl Report {
    /// Tells whether any check failed.
    pub fn failed(&self) -> bool {
        self.checks
            .iter()
            .any(|check| check.outcome == Outcome::Fail)
    }

    /// Returns a check by its name.
    pub fn check(&self, name: &str) -> Option<&Check> {
        self.checks.iter().find(|check| check.name == name)
    }

    /// Returns the report as one line of JSON.
    pub fn to_json(&self) -> String {
        // Numbers and texts always have a JSON form.
        serde_json::to_string(self).unwrap_or_default()
    }

    pub(crate) fn add(&mut self, name: &'static str, outcome: Outcome, detail: impl Into<String>) {
        self.checks.push(Check {
            name,
            outcome,
            detail: bounded(&detail.into()),
        });
    }

    /// Adds the layers that were not reached.
    pub(crate) fn skip_rest(&mut self) {
        let reason = match self.checks.iter().find(|c| c.outcome == Outcome::Fail) {
            Some(failed) => format!("not tried, since {} failed", failed.name),
            None => "not tried".to_owned(),
        };
        for name in LAYERS.into_iter().skip(self.checks.len()) {
            self.add(name, Outcome::Skip, reason.clone());
        }
    }
}

/// Cuts a text that holds what another side said: so many lines, each so long.
pub(crate) fn bounded(text: &str) -> String {
    let lines = text.lines().take(LINES_MAX).map(|line| {
        let end = line.char_indices().nth(LINE_MAX).map(|(end, _)| end);
        match end.and_then(|end| line.get(..end)) {
            Some(cut) => format!("{cut}…"),
            None => line.to_owned(),
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn wire_name<S: Serializer>(wire: &Option<Wire>, serializer: S) -> Result<S::Ok, S::Error> {
    wire.map(Wire::name).serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_side_says_cannot_fill_the_memory() {
        let text = format!("{}\n", "ü".repeat(1000)).repeat(5000);
        let cut = bounded(&text);
        assert_eq!(cut.lines().count(), LINES_MAX);
        assert!(cut.lines().all(|line| line.chars().count() == LINE_MAX + 1));
        assert_eq!(bounded("a\nb"), "a\nb");
    }

    #[test]
    fn the_json_has_the_promised_shape_also_where_it_failed() {
        let mut report = Report::default();
        report.add("advertisement", Outcome::Skip, "an address was given");
        report.add("address", Outcome::Fail, "no such name");
        report.skip_rest();
        assert!(report.failed());
        assert!(report.to_json().starts_with(
            r#"{"wire":null,"checks":[{"name":"advertisement","outcome":"skip","detail":"an address was given"},{"name":"address","outcome":"fail","#
        ));
        let names: Vec<&str> = report.checks.iter().map(|check| check.name).collect();
        assert_eq!(names, LAYERS);
        assert_eq!(report.checks[12].detail, "not tried, since address failed");
    }
}
