//! `tersor completions` and `tersor man`: texts made from the definition of the command line.

use crate::Status;
use crate::args::{Cli, CompletionsArgs, ManArgs};
use crate::output;
use clap::CommandFactory as _;
use clap_mangen::Man;

/// Prints a completion script.
pub(crate) fn run(args: &CompletionsArgs) -> anyhow::Result<Status> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "tersor", &mut script);
    output::out(&String::from_utf8_lossy(&script))?;
    Ok(Status::Done)
}

fn page(command: clap::Command) -> anyhow::Result<Vec<u8>> {
    let mut page = Vec::new();
    Man::new(command)
        .source(concat!("tersor ", env!("CARGO_PKG_VERSION")))
        .render(&mut page)?;
    Ok(page)
}

/// Prints the manual page, or writes one per command.
pub(crate) fn man(args: &ManArgs) -> anyhow::Result<Status> {
    let Some(dir) = &args.dir else {
        output::out(&String::from_utf8_lossy(&page(Cli::command())?))?;
        return Ok(Status::Done);
    };
    let mut root = Cli::command();
    root.build();
    let verbs = root.get_subcommands().filter(|verb| verb.get_name() != "help");
    let pages: Vec<clap::Command> = verbs.cloned().collect();
    tersor::write_file(&dir.join("tersor.1"), &page(root)?, args.force)?;
    for command in pages {
        let name = format!("tersor-{}.1", command.get_name());
        tersor::write_file(&dir.join(name), &page(command)?, args.force)?;
    }
    Ok(Status::Done)
}
