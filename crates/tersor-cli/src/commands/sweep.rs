//! `tersor sweep`: many methods at the same sizes.

use crate::Status;
use crate::args::{Common, SweepArgs, check_weighted};
use crate::destination::Output;
use crate::files;
use crate::output;
use crate::progress::Bar;
use anyhow::bail;
use tersor::codec::Coder;
use tersor::options::{CompressOptions, Feedback};
use tersor::sweep::{self, SweepOptions};

/// Refuses a value that is listed twice: its files would only be made again.
fn check_repeats<T: PartialEq + std::fmt::Debug>(option: &str, values: &[T]) -> anyhow::Result<()> {
    for (index, value) in values.iter().enumerate() {
        if values.iter().take(index).any(|earlier| earlier == value) {
            let value = format!("{value:?}").to_lowercase();
            bail!("{option} lists {value} twice; leave one out");
        }
    }
    Ok(())
}

fn sweep_options(args: &SweepArgs) -> anyhow::Result<SweepOptions> {
    check_repeats("--methods", &args.methods)?;
    check_repeats("--scopes", &args.scopes)?;
    check_repeats("--coders", &args.coders)?;
    check_repeats("--bpw", &args.bpw)?;
    let mut options = SweepOptions {
        bound: args.bound,
        ..SweepOptions::default()
    };
    if !args.methods.is_empty() {
        options.methods.clone_from(&args.methods);
    }
    if !args.sensitivity.are_given() {
        check_weighted(&args.methods)?;
        options
            .methods
            .retain(|method| method.without_sensitivities().is_none());
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
    let mut base = CompressOptions::default();
    args.sensitivity.apply(&mut base);
    if args.bound {
        base.feedback = Feedback::Off;
    }
    base.check()?;
    if let Some(path) = args.svg.as_ref().filter(|path| files::extension(path) != "svg") {
        bail!(
            "{} is going to be an SVG picture; name a .svg file",
            path.display()
        );
    }
    files::check_input(&args.input)?;
    let picture = args
        .svg
        .as_ref()
        .map(|path| Output::prepare(path, &args.input, args.force, false))
        .transpose()?;
    let checkpoint = files::open_checkpoint(&args.input)?;
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
        if let Some(point) = points.first() {
            let size = &point.size;
            output::say(&format!(
                "{}: {} bytes; {}",
                files::label(&args.input),
                output::thousands(size.bytes),
                output::weights(size)
            ));
        }
        output::warn(checkpoint.notes());
    }
    Ok(Status::Done)
}
