//! The command `hearthgate`: both ends of the local protocol between a Tuya-enabled gateway and
//! third-party systems.

mod args;
mod commands;
mod config;
mod duration;
mod exit;
mod history_args;
mod hub_args;
mod hub_config;
mod key;
mod known;
mod limits;
mod logging;
mod names;
mod output;
mod select;
mod tls;

use std::process::ExitCode;

use clap::Parser;

use crate::args::Cli;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match commands::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
