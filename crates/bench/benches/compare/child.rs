//! Processes that are compared: started, asked where they listen, looked at, ended.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::Outcome;

/// A process that ends with this value.
pub(crate) struct Running {
    child: Child,
    /// What it said about where it listens, in order.
    pub(crate) addresses: Vec<SocketAddr>,
}

impl Running {
    /// Starts a process that says `listening ADDRESS..` on its standard output.
    pub(crate) fn start(mut command: Command) -> Outcome<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|fault| format!("cannot start {command:?}: {fault}"))?;
        let stdout = child.stdout.take().ok_or("no standard output")?;
        let mut reader = BufReader::new(stdout);
        let mut line = String::new();
        loop {
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                return Err(format!("{command:?} ended before it listened").into());
            }
            if let Some(said) = line.trim().strip_prefix("listening ") {
                let addresses = said.split(' ').map(str::parse).collect::<Result<_, _>>()?;
                return Ok(Self { child, addresses });
            }
        }
    }

    /// Starts this program again, as one of its own servers.
    pub(crate) fn own(args: &[&str]) -> Outcome<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("serve").args(args);
        Self::start(command)
    }

    /// Wraps a process that says nothing.
    pub(crate) fn silent(child: Child, address: SocketAddr) -> Self {
        Self {
            child,
            addresses: vec![address],
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// Returns the anonymous memory that is resident, in bytes.
    pub(crate) fn resident(&self) -> Outcome<u64> {
        self.status("RssAnon:")
    }

    /// Returns all memory that is resident, the program's own text included, in bytes.
    pub(crate) fn resident_in_all(&self) -> Outcome<u64> {
        self.status("VmRSS:")
    }

    fn status(&self, field: &str) -> Outcome<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kilobytes = line
            .and_then(|line| line.trim().strip_suffix(" kB"))
            .ok_or("no memory figures")?;
        Ok(kilobytes.trim().parse::<u64>()? * 1024)
    }

    /// Returns the time that its threads have run, of both cores together.
    pub(crate) fn cpu(&self) -> Outcome<Duration> {
        let mut nanos = 0;
        for task in std::fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let text = std::fs::read_to_string(task?.path().join("schedstat"))?;
            let ran = text.split(' ').next().unwrap_or_default();
            nanos += ran.parse::<u64>()?;
        }
        Ok(Duration::from_nanos(nanos))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
