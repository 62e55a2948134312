//! Whole processes beside others that do the same, in turn, within one run: `make bench`.
//!
//! Without arguments everything is compared and `docs/benchmarks.md` is written, with its plots. Names of
//! comparisons choose some of them, which are then only printed; `--rounds N` is how often each is
//! repeated. The program starts itself again for what it compares with.

mod child;
mod course;
mod fanout;
mod mqtt;
mod raw;
mod serve;

use std::process::ExitCode;

fn main() -> ExitCode {
    // Cargo adds `--bench`.
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let outcome = match args.first().map(String::as_str) {
        Some("serve") => serve::run(args.get(1..).unwrap_or_default()),
        _ => compare(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("error: {fault}");
            ExitCode::FAILURE
        }
    }
}

/// What goes wrong here ends the run; a text is enough.
type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn compare(_args: &[String]) -> Outcome<()> {
    fanout::compare(5)
}
