//! How a command ends: the one place that maps errors to exit codes.
//!
//! 0 done · 1 the gateway refused, or something failed here · 2 usage · 3 no connection or no answer in
//! time · 4 authentication failed.

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use hearthgate_bench::BenchError;
use hearthgate_client::{ClientError, Fault};
use hearthgate_driver_tuya_lan::TryError;
use hearthgate_hub::{FileError, HubError};
use hearthgate_protocol::error::Ended;

const ERROR: Style = AnsiColor::Red.on_default().bold();

/// Why a command did not do what it was asked for.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    error: anyhow::Error,
}

impl Failure {
    /// The gateway refused.
    pub(crate) const REFUSED: u8 = 1;
    /// The command line, a file it names, or a value is wrong; nothing was sent.
    pub(crate) const USAGE: u8 = 2;
    /// No connection, or no answer in time.
    pub(crate) const CONNECTION: u8 = 3;
    /// One of the two sides has another key.
    pub(crate) const AUTHENTICATION: u8 = 4;

    /// Makes a failure of usage.
    pub(crate) fn usage(error: impl fmt::Display) -> Self {
        Self {
            code: Self::USAGE,
            error: anyhow::anyhow!("{error}"),
        }
    }

    /// Makes a failure of something on this machine.
    pub(crate) fn local(error: impl fmt::Display) -> Self {
        Self {
            code: Self::REFUSED,
            error: anyhow::anyhow!("{error}"),
        }
    }

    /// Prints the error and gives the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        let is_closed_pipe = self
            .error
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe);
        if is_closed_pipe {
            // Whoever read our output has seen enough.
            return ExitCode::SUCCESS;
        }
        let mut stderr = anstream::stderr().lock();
        // There is nobody left to tell that standard error is gone.
        let _ = writeln!(stderr, "{ERROR}error:{ERROR:#} {:#}", self.error);
        ExitCode::from(self.code)
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let code = match error.fault() {
            Fault::Refused => Self::REFUSED,
            Fault::Connection => Self::CONNECTION,
            Fault::Authentication => Self::AUTHENTICATION,
            Fault::Protocol => Self::CONNECTION,
        };
        Self {
            code,
            error: error.into(),
        }
    }
}

impl From<BenchError> for Failure {
    fn from(error: BenchError) -> Self {
        let code = match &error {
            BenchError::Client(error) | BenchError::Hub(HubError::Client(error)) => {
                return error.clone().into();
            }
            BenchError::Remote { .. }
            | BenchError::OlderDialect
            | BenchError::NothingToWrite { .. } => Self::USAGE,
            BenchError::Ended {
                reason: Ended::Authentication { .. },
                ..
            } => Self::AUTHENTICATION,
            BenchError::Connect { .. }
            | BenchError::Tls { .. }
            | BenchError::Ended { .. }
            | BenchError::Silent { .. } => Self::CONNECTION,
            BenchError::Refused { .. }
            | BenchError::Odd { .. }
            | BenchError::NoDevices { .. }
            | BenchError::Hub(_)
            | BenchError::Random(_) => Self::REFUSED,
        };
        Self {
            code,
            error: error.into(),
        }
    }
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        match error {
            FileError::Access { .. } | FileError::InUse { .. } => Self::local(error),
            FileError::Content { .. } | FileError::NoHome { .. } | FileError::Refused(_) => {
                Self::usage(error)
            }
        }
    }
}

impl From<TryError> for Failure {
    fn from(error: TryError) -> Self {
        let code = match error {
            TryError::Unknown(_) => Self::USAGE,
            TryError::Listen(_) => Self::REFUSED,
            TryError::Unheard { .. } | TryError::Unreachable { .. } | TryError::NoState { .. } => {
                Self::CONNECTION
            }
            TryError::WrongVersion { .. } | TryError::WrongKey { .. } => Self::AUTHENTICATION,
        };
        Self {
            code,
            error: error.into(),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self {
            code: Self::REFUSED,
            error: error.into(),
        }
    }
}
