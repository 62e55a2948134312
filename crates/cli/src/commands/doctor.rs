//! `hearthgate doctor`: names the layer that fails between here and a gateway.
//!
//! Input are the options; `hearthgate_diagnose` does the work. The report goes to standard output, for
//! people or as JSON; a support bundle goes to a file.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use clap::Args;
use hearthgate_diagnose::{Check, ExploreOptions, Options, Outcome, bundle, examine, explore};
use hearthgate_protocol::model::DeviceId;

use super::target::TargetOptions;
use crate::exit::Failure;
use crate::{duration, output};

/// The width to which details are broken.
const WIDTH: usize = 78;
/// The column in which details begin.
const INDENT: usize = 31;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hearthgate doctor --gateway ws://192.0.2.10 --key-file gateway.key
  hearthgate doctor --uuid hg-0123456789 --key-file gateway.key --event-timeout 1m
  hearthgate doctor --gateway ws://192.0.2.10 --key-file gateway.key --explore
  hearthgate doctor --gateway ws://192.0.2.10 --key-file gateway.key --conformance --bundle help.json

Exit codes: 0 no layer failed (with --explore: a whole session succeeded), 1 otherwise, 2 usage.")]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    target: TargetOptions,
    /// How long to wait for an event.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration::parse)]
    event_timeout: Duration,
    /// Tries the rules of the protocol one by one as well; reads only.
    #[arg(long)]
    conformance: bool,
    /// Also writes, to this device (its whole id), and only values that it already has.
    #[arg(long, value_name = "DEVICE", requires = "conformance")]
    write: Option<String>,
    /// For first contact: finds out which variants of the protocol the gateway takes, in at most 40
    /// connections and under 60 s. Of the variants only --path is looked at, and `--wire plain`.
    #[arg(long, conflicts_with_all = ["conformance", "write"])]
    explore: bool,
    /// Writes a support bundle: all that was found, no key. It does hold addresses, device ids and values.
    #[arg(long, value_name = "FILE")]
    bundle: Option<PathBuf>,
    /// Prints `{"wire":..,"checks":[{"name","outcome","detail"}]}`, with --explore
    /// `{"found":..,"options":{..},"tried":..}`.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(super) async fn run(args: DoctorArgs) -> Result<(), Failure> {
    let options = options(&args)?;
    if args.explore {
        return run_explore(&args, &options).await;
    }
    let examination = examine(&options).await;
    if let Some(file) = &args.bundle {
        write_bundle(file, &bundle(&options, Some(&examination), None))?;
    }
    let report = &examination.report;
    if args.json {
        output::line(&report.to_json())?;
    } else {
        for check in &report.checks {
            show(check)?;
        }
    }
    let failed: Vec<&str> = report
        .checks
        .iter()
        .filter(|check| check.outcome == Outcome::Fail)
        .map(|check| check.name)
        .collect();
    if failed.is_empty() {
        return Ok(());
    }
    Err(Failure::local(format!("failed: {}", failed.join(", "))))
}

async fn run_explore(args: &DoctorArgs, options: &Options) -> Result<(), Failure> {
    let exploration = explore(options, &ExploreOptions::default()).await;
    if let Some(file) = &args.bundle {
        write_bundle(file, &bundle(options, None, Some(&exploration)))?;
    }
    if args.json {
        output::line(&exploration.to_json())?;
    } else {
        for text in &exploration.story {
            output::line(&broken(text, 0))?;
        }
    }
    let Some(accepted) = exploration.found else {
        return Err(Failure::local(
            "found no options with which a whole session succeeds",
        ));
    };
    if args.json {
        return Ok(());
    }
    output::line("\nThe gateway takes these options; for its entry in gateways.toml:\n")?;
    Ok(output::line(&accepted.to_toml())?)
}

fn options(args: &DoctorArgs) -> Result<Options, Failure> {
    let mut options = args.target.options(args.explore)?;
    options.event_timeout = args.event_timeout;
    options.conformance = args.conformance;
    options.write = args.write.as_deref().map(DeviceId::from);
    Ok(options)
}

/// Shows one check: its name, its outcome, its detail in lines of their own.
fn show(check: &Check) -> io::Result<()> {
    let style = match check.outcome {
        Outcome::Pass => AnsiColor::Green.on_default(),
        Outcome::Warn => AnsiColor::Yellow.on_default(),
        Outcome::Fail => AnsiColor::Red.on_default().bold(),
        Outcome::Skip => Style::new().dimmed(),
    };
    let Check {
        name,
        outcome,
        detail,
    } = check;
    let detail: Vec<String> = detail.lines().map(|text| broken(text, INDENT)).collect();
    let detail = detail.join(&format!("\n{:INDENT$}", ""));
    output::line(&format!(
        "{style}{outcome:<4}{style:#}  {name:<24} {detail}"
    ))
}

/// Breaks a text into lines; those after the first are indented. What a device said cannot steer the
/// terminal.
fn broken(text: &str, indent: usize) -> String {
    let mut out = String::new();
    let mut column = 0;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let length = word.chars().count();
        if column > 0 && column + 1 + length > WIDTH {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent));
            column = 0;
        } else if column > 0 {
            out.push(' ');
            column += 1;
        }
        out.extend(
            word.chars()
                .map(|c| if c.is_control() { '\u{fffd}' } else { c }),
        );
        column += length;
    }
    out
}

/// Writes the bundle for its owner alone.
fn write_bundle(file: &Path, text: &str) -> Result<(), Failure> {
    let opened = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(file);
    opened
        .and_then(|mut opened| {
            opened.write_all(text.as_bytes())?;
            opened.write_all(b"\n")
        })
        .map_err(|error| {
            Failure::local(format!(
                "cannot write the bundle {}: {error}",
                file.display()
            ))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_are_broken_and_cannot_steer_the_terminal() {
        let text = format!("{} b\u{1b}[2J", "x".repeat(WIDTH - 1));
        assert_eq!(
            broken(&text, 2),
            format!("{}\n  b\u{fffd}[2J", "x".repeat(WIDTH - 1))
        );
        assert_eq!(broken("a  b", 2), "a b");
    }
}
