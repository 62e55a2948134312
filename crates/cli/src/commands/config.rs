//! `hearthgate config`.

use crate::args::{ConfigArgs, ConfigCommand};
use crate::exit::Failure;
use crate::{config, output};

/// Runs the command.
pub(super) fn run(args: &ConfigArgs) -> Result<(), Failure> {
    match args.command {
        ConfigCommand::Example => Ok(output::line(config::EXAMPLE.trim_end())?),
    }
}
