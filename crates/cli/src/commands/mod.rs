//! One file per command.

mod bench;
mod catalog;
mod config;
mod demo;
mod discover;
mod doctor;
mod gateway;
mod gateways;
mod history;
mod hub;
mod lan;
mod read;
mod record;
mod set;
mod table;
mod target;
mod watch;
mod web;

use std::future::Future;

use clap::CommandFactory;
use hearthgate_client::{Client, ClientError, Feed};

pub(crate) use bench::BenchArgs;
pub(crate) use catalog::CatalogArgs;
pub(crate) use doctor::DoctorArgs;
pub(crate) use gateway::refused;
pub(crate) use gateways::GatewaysArgs;
pub(crate) use history::HistoryArgs;
pub(crate) use lan::LanArgs;
pub(crate) use record::RecordArgs;
pub(crate) use web::{WebArgs, WebFile};

use crate::args::{Cli, Command, GatewayOptions};
use crate::exit::Failure;
use crate::known::Meant;
use crate::logging;

/// Runs the command.
pub(crate) fn run(cli: Cli) -> Result<(), Failure> {
    // A gateway's log is its user interface; a command's is its answer.
    let level = if matches!(cli.command, Command::Gateway(_) | Command::Hub(_)) {
        "info"
    } else {
        "warn"
    };
    logging::start(&cli.log, level);
    match cli.command {
        Command::Demo(args) => in_runtime(demo::run(args)),
        Command::Gateway(args) => in_runtime(gateway::run(*args)),
        Command::Hub(args) => in_runtime(hub::run(*args)),
        Command::Discover(args) => in_runtime(discover::run(args)),
        Command::Doctor(args) => in_runtime(doctor::run(*args)),
        Command::Record(args) => in_runtime(record::run(*args)),
        Command::Lan(args) => in_runtime(lan::run(*args)),
        Command::Gateways(args) => gateways::run(*args),
        Command::Devices(args) => in_runtime(read::devices(args)),
        Command::Schema(args) => in_runtime(read::schema(args)),
        Command::Status(args) => in_runtime(read::status(args)),
        Command::Set(args) => in_runtime(set::run(args)),
        Command::Watch(args) => in_runtime(watch::run(args)),
        Command::Catalog(args) => catalog::run(&args),
        Command::History(args) => history::run(&args),
        Command::Bench(args) => in_runtime(bench::run(*args)),
        Command::Config(args) => config::run(&args),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "hearthgate", &mut script);
            Ok(std::io::Write::write_all(&mut std::io::stdout(), &script)?)
        }
    }
}

fn in_runtime(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(command);
    // What still waits for a terminal or a socket must not hold the end up.
    runtime.shutdown_background();
    outcome
}

/// Connects as the options say. A command that only reads what it shows needs no mirror.
async fn connect(options: &GatewayOptions, mirror: bool) -> Result<(Client, Feed), Failure> {
    Meant::find(options)?.connect(mirror).await
}

/// Says goodbye whatever the outcome was.
async fn closing<T>(client: &Client, outcome: Result<T, Failure>) -> Result<T, Failure> {
    client.close().await;
    outcome
}

/// Returns what ended a feed.
async fn ended(client: &Client) -> ClientError {
    client.closed().await
}
