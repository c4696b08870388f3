//! The `tersor` command: it parses arguments, calls the library and prints what it says.
//!
//! Exit codes are a contract: 0 done, 1 a negative answer (`verify`), 2 failure or wrong usage, 130 interrupted. Data goes to
//! standard output, everything else to standard error. A closed pipe is not an error.

mod args;
mod commands;
mod destination;
mod files;
mod output;
mod progress;
mod table;

use anyhow::Context as _;
use args::{Cli, Command};
use clap::Parser as _;
use std::io::{self, Write as _};
use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    /// It did what was asked.
    Done = 0,
    /// The answer is no.
    Negative = 1,
    /// It failed, or was asked for something that makes no sense.
    Failed = 2,
}

fn run(cli: Cli) -> anyhow::Result<Status> {
    if cli.common.threads > 0 {
        rayon::ThreadPoolBuilder::new()
            .num_threads(cli.common.threads.min(MAX_THREADS))
            .build_global()
            .with_context(|| format!("cannot start {} threads", cli.common.threads))?;
    }
    let common = &cli.common;
    match cli.command {
        Command::Compress(args) => commands::compress::run(&args, common),
        Command::Decompress(args) => commands::decompress::run(&args, common),
        Command::Inspect(args) => commands::inspect::run(&args, common),
        Command::Verify(args) => commands::verify::run(&args, common),
        Command::Sweep(args) => commands::sweep::run(&args, common),
        Command::Sensitivity(args) => commands::sensitivity::run(&args, common),
        #[cfg(feature = "nets")]
        Command::Demo(args) => commands::demo::run(&args, common),
        #[cfg(feature = "nets")]
        Command::Net(command) => commands::net::run(&command, common),
        Command::Completions(args) => commands::completions::run(&args),
        Command::Man(args) => commands::completions::man(&args),
    }
}

/// More threads than this only get in each other's way.
const MAX_THREADS: usize = 256;

/// Status of a program that a signal ended, as shells tell it of an interrupt.
const INTERRUPTED: i32 = 130;

/// Lets an interrupted program remove its temporary files.
fn remove_temporaries_when_interrupted() {
    // Without a handler they stay until the next run with the same output.
    let _ = ctrlc::set_handler(|| {
        tersor::remove_temporaries();
        std::process::exit(INTERRUPTED);
    });
}

fn main() -> ExitCode {
    remove_temporaries_when_interrupted();
    let status = run(Cli::parse()).unwrap_or_else(|error| {
        let is_closed = |e: &io::Error| e.kind() == io::ErrorKind::BrokenPipe;
        if error
            .chain()
            .any(|cause| cause.downcast_ref().is_some_and(is_closed))
        {
            return Status::Done;
        }
        let _ = writeln!(io::stderr(), "error: {}", output::chain(&error));
        Status::Failed
    });
    ExitCode::from(status as u8)
}
