//! The arguments of `hearthgate hub` about history, and what they mean together with the state folder.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use hearthgate_history::{HistoryOptions, LEAST_BYTES};
use serde::Deserialize;

use crate::duration;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// More than anybody keeps, and little enough for every clock.
const LONGEST_DAYS: u64 = 100 * 366;

/// Where history is kept, and for how long. In the configuration file the same without `history-`.
#[derive(Clone, Debug, Default, Args, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[command(next_help_heading = "History")]
pub(crate) struct KeepArgs {
    /// The file for the history, which `hearthgate history` shows; `none` keeps none
    /// [default: history.db in the state folder].
    #[arg(long = "history", value_name = "FILE|none")]
    pub(crate) file: Option<PathBuf>,
    /// Keeps no history.
    #[arg(long = "no-history", conflicts_with = "file")]
    #[serde(skip)]
    pub(crate) off: bool,
    /// How long every single change is kept [default: 31d].
    #[arg(long = "history-keep-changes", value_name = "DURATION", value_parser = age)]
    #[serde(deserialize_with = "age_in_file")]
    pub(crate) keep_changes: Option<Duration>,
    /// How long means by the minute are kept [default: 92d].
    #[arg(long = "history-keep-minutes", value_name = "DURATION", value_parser = age)]
    #[serde(deserialize_with = "age_in_file")]
    pub(crate) keep_minutes: Option<Duration>,
    /// How long means by the hour are kept [default: 1830d]; those by the day are kept while there is room.
    #[arg(long = "history-keep-hours", value_name = "DURATION", value_parser = age)]
    #[serde(deserialize_with = "age_in_file")]
    pub(crate) keep_hours: Option<Duration>,
    /// The most that the file holds, in MiB, at least 8; then the oldest goes first [default: 512].
    #[arg(long = "history-max-mib", value_name = "MIB", value_parser = clap::value_parser!(u64).range(LEAST_BYTES >> 20..1 << 24))]
    pub(crate) max_mib: Option<u64>,
}

impl KeepArgs {
    /// Lays the command line over a file in `folder`.
    pub(crate) fn over(self, file: Self, folder: &Path) -> Self {
        let beside = |path: PathBuf| match path == Path::new("none") {
            true => path,
            false => folder.join(path),
        };
        Self {
            file: self.file.or(file.file.map(beside)),
            off: self.off,
            keep_changes: self.keep_changes.or(file.keep_changes),
            keep_minutes: self.keep_minutes.or(file.keep_minutes),
            keep_hours: self.keep_hours.or(file.keep_hours),
            max_mib: self.max_mib.or(file.max_mib),
        }
    }

    /// Tells whether the file was asked for: one that is there by default is no reason to end.
    pub(crate) fn is_asked_for(&self) -> bool {
        self.file.is_some()
    }

    /// Returns how to keep history; none where none is to be kept.
    pub(crate) fn options(&self, state: Option<&Path>) -> Option<HistoryOptions> {
        if self.off || self.file.as_deref() == Some(Path::new("none")) {
            return None;
        }
        let in_state = || state.map(|folder| folder.join("history.db"));
        let mut options = HistoryOptions::new(self.file.clone().or_else(in_state)?);
        options.keep_changes = self.keep_changes.unwrap_or(options.keep_changes);
        options.keep_minutes = self.keep_minutes.unwrap_or(options.keep_minutes);
        options.keep_hours = self.keep_hours.unwrap_or(options.keep_hours);
        if let Some(mib) = self.max_mib {
            options.max_bytes = mib << 20;
        }
        Some(options)
    }
}

/// Parses an age: `31d`, or any duration.
fn age(text: &str) -> Result<Duration, String> {
    let Some(days) = text.strip_suffix('d') else {
        return duration::parse(text).map_err(|_| wrong(text));
    };
    let days: u32 = days.parse().map_err(|_| wrong(text))?;
    if u64::from(days) > LONGEST_DAYS {
        return Err(format!("`{text}` is more than {LONGEST_DAYS} days"));
    }
    Ok(DAY * days)
}

fn wrong(text: &str) -> String {
    format!("`{text}` is no age: write 31d or 12h")
}

fn age_in_file<'de, D: serde::Deserializer<'de>>(input: D) -> Result<Option<Duration>, D::Error> {
    let text = Option::<String>::deserialize(input)?;
    text.map(|text| age(&text).map_err(serde::de::Error::custom))
        .transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn history_is_kept_beside_the_rest_unless_it_is_not_wanted() {
        let state = Path::new("/state");
        let file = |args: &KeepArgs, state| args.options(state).map(|options| options.path);
        let default = KeepArgs::default();
        assert_eq!(
            file(&default, Some(state)),
            Some("/state/history.db".into())
        );
        assert_eq!(file(&default, None), None, "--state none");
        let named = KeepArgs {
            file: Some("elsewhere.db".into()),
            ..KeepArgs::default()
        };
        assert_eq!(file(&named, None), Some("elsewhere.db".into()));
        for off in ["off", "none"] {
            let args = KeepArgs {
                off: off == "off",
                file: (off == "none").then(|| "none".into()),
                ..KeepArgs::default()
            };
            assert_eq!(file(&args, Some(state)), None);
        }
    }

    #[test]
    fn ages() {
        assert_eq!(age("31d"), Ok(31 * DAY));
        assert_eq!(age("12h"), Ok(DAY / 2));
        for text in ["", "d", "-1d", "1.5d", "99999999d", "31"] {
            assert!(age(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_file_has_the_same_and_the_command_line_wins() {
        let file: KeepArgs =
            toml::from_str("file = \"a.db\"\nkeep_changes = \"7d\"\nmax_mib = 64").unwrap();
        let line = KeepArgs {
            max_mib: Some(32),
            ..KeepArgs::default()
        };
        let options = line.over(file, Path::new("/etc")).options(None).unwrap();
        assert_eq!(options.path, PathBuf::from("/etc/a.db"));
        assert_eq!(options.keep_changes, 7 * DAY);
        assert_eq!(options.max_bytes, 32 << 20);
        assert!(toml::from_str::<KeepArgs>("keep_changes = \"long\"").is_err());
        assert!(toml::from_str::<KeepArgs>("keep = \"7d\"").is_err());
    }
}
