//! `tersor sweep`: many methods at the same sizes.

use crate::Status;
use crate::args::{Common, SweepArgs};
use crate::files::{self, Output};
use crate::output;
use crate::progress::Bar;
use anyhow::bail;
use tersor::codec::Coder;
use tersor::options::CompressOptions;
use tersor::sweep::{self, SweepOptions};

fn sweep_options(args: &SweepArgs) -> anyhow::Result<SweepOptions> {
    let mut options = SweepOptions::default();
    if !args.methods.is_empty() {
        options.methods.clone_from(&args.methods);
    }
    if !args.scopes.is_empty() {
        options.scopes = args.scopes.iter().map(|&scope| scope.into()).collect();
    }
    if !args.coders.is_empty() {
        let coders: Option<Vec<Coder>> = args.coders.iter().map(|&coder| coder.into()).collect();
        match coders {
            Some(coders) => options.coders = coders,
            None => bail!("a sweep compares coders; name them instead of auto"),
        }
    }
    if !args.bpw.is_empty() {
        options.bpw.clone_from(&args.bpw);
    }
    Ok(options)
}

/// Compresses with every combination and prints what each costs.
pub(crate) fn run(args: &SweepArgs, common: &Common) -> anyhow::Result<Status> {
    let options = sweep_options(args)?;
    let picture = args
        .svg
        .as_ref()
        .map(|path| Output::prepare(path, &args.input, args.force, false))
        .transpose()?;
    let checkpoint = files::open_checkpoint(&args.input)?;
    let mut base = CompressOptions::default();
    args.sensitivity.apply(&mut base);
    let bar = Bar::new(common.quiet);
    let points = sweep::sweep(&checkpoint, &base, &options, &bar)?;
    drop(bar);
    if let Some(picture) = picture {
        picture.write(sweep::svg(&points, &files::title(&args.input))?.as_bytes())?;
    }
    if args.json {
        output::json(&points)?;
    } else if args.csv {
        output::out(&sweep::csv(&points))?;
    } else {
        output::out(&sweep::table(&points))?;
    }
    if !common.quiet {
        output::warn(checkpoint.notes());
    }
    Ok(Status::Done)
}
