//! `hearthgate config`.

use crate::args::{ConfigArgs, ConfigCommand};
use crate::exit::Failure;
use crate::{config, hub_config, output};

/// Runs the command.
pub(super) fn run(args: &ConfigArgs) -> Result<(), Failure> {
    match args.command {
        ConfigCommand::Example { hub } => {
            let example = if hub {
                hub_config::EXAMPLE
            } else {
                config::EXAMPLE
            };
            Ok(output::line(example.trim_end())?)
        }
    }
}
