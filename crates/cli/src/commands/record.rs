//! `hearthgate record`: device profiles and a transcript of a live gateway.
//!
//! Input are the options; `hearthgate_diagnose` does the work. The files go into a folder, a summary
//! goes to standard output.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use hearthgate_diagnose::{RecordError, record};

use super::gateway::Signals;
use super::target::TargetOptions;
use crate::exit::Failure;
use crate::{duration, output};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hearthgate record --gateway ws://192.0.2.10 --key-file gateway.key --out home/ --duration 1h
  hearthgate gateway --devices home/

DIR holds a profile DEVID.json for each device, and transcript.jsonl: every message after the handshake
with its time. No key gets in; ids and values of devices do.")]
pub(crate) struct RecordArgs {
    #[command(flatten)]
    target: TargetOptions,
    /// The folder to write to; new or empty.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// How long to record events; Ctrl-C ends it early.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration::parse)]
    duration: Duration,
}

/// Runs the command.
pub(super) async fn run(args: RecordArgs) -> Result<(), Failure> {
    let options = args.target.options(false)?;
    let mut signals = Signals::new()?;
    let stop = async {
        signals.next().await;
    };
    let recorded = record(&options, &args.out, args.duration, stop).await;
    let recorded = recorded.map_err(|error| match error {
        RecordError::NotEmpty(_) => Failure::usage(error),
        _ => Failure::local(error),
    })?;
    output::line(&format!(
        "{} profiles and {} events in {}",
        recorded.profiles.len(),
        recorded.events,
        args.out.display()
    ))?;
    match recorded.ended {
        None => Ok(()),
        Some(why) => Err(Failure::local(format!("ended early: {why}"))),
    }
}
