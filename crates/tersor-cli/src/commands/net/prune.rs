//! `tersor net prune`.

use super::train::write_moments;
use super::{Task, check_output, open_weights, save, say_epoch, teacher, train_options, trained_on};
use crate::args::Common;
use crate::args::net::PruneArgs;
use crate::progress::Bar;
use crate::{Status, output};
use anyhow::{Context as _, bail};
use tersor_nets::examples::{Mixed, calibration_batches};
use tersor_nets::prune::{PruneOptions, Pruner, Scope, count};
use tersor_nets::sequential;
use tersor_nets::train::TrainingRun;

/// Share of the training in which parameters go.
const UNTIL: f64 = 0.55;
/// Steps between removals.
const EVERY: usize = 25;

/// `2600` or `8.55%` of `n`.
pub(super) fn parse_keep(option: &str, text: &str, n: usize) -> anyhow::Result<usize> {
    let wrong = || format!("{option} {text}: write a number such as 2600 or a share such as 8.55%");
    let keep = match text.strip_suffix('%') {
        Some(share) => {
            let share: f64 = share.trim().parse().with_context(wrong)?;
            if !(share > 0.0 && share <= 100.0) {
                bail!(wrong());
            }
            (share / 100.0 * n as f64).round() as usize
        }
        None => text.parse().with_context(wrong)?,
    };
    if keep == 0 || keep > n {
        bail!("{option} {text}: of {n} parameters, 1 to {n} can remain");
    }
    Ok(keep)
}

pub(crate) fn run(args: &PruneArgs, common: &Common) -> anyhow::Result<Status> {
    check_output(&args.output)?;
    let task = Task::open(&args.task, args.training.steps.augment)?;
    let start = open_weights(&task.network, &args.weights)?;
    let scope = if args.weights_only {
        Scope::Weights
    } else {
        Scope::WeightsAndBiases
    };
    let (alive, all) = count(&start, scope);
    let keep = parse_keep("--keep", &args.keep, all)?;
    let begin = args.begin.as_deref();
    let begin = begin.map(|text| parse_keep("--begin", text, all)).transpose()?;
    if let Some(begin) = begin.filter(|&begin| begin < keep) {
        bail!("--begin leaves {begin} parameters, fewer than the {keep} of --keep");
    }
    anyhow::ensure!(
        args.training.epochs > 0 || begin.unwrap_or(alive).min(alive) <= keep,
        "--epochs 0: parameters go while the network trains; give --epochs, or --begin {}",
        args.keep
    );
    let prune = PruneOptions {
        keep,
        score: args.score.into(),
        scope,
        until: UNTIL,
        every: EVERY,
    };
    let bar = Bar::new(common.quiet);
    let options = train_options(&args.training);
    let examples = args.training.steps.examples.of(task.train()?)?;
    let mixed = args.training.steps.mix.then_some(Mixed { examples: &examples });
    let teacher = teacher(&args.training.steps, &start, &task.device)?;
    let start = match begin {
        Some(begin) => {
            let batches = calibration_batches(
                task.network.input,
                &examples,
                args.samples,
                args.training.steps.seed,
            )?;
            let begin = (begin, scope);
            sequential::prune(&task.network, &start, begin, &batches, &task.device, &bar)?
        }
        None => start,
    };
    let run = TrainingRun {
        network: &task.network,
        examples: trained_on(&examples, mixed.as_ref()),
        device: &task.device,
        options: &options,
        teacher: teacher.as_ref(),
        path: args.training.resume.as_deref(),
    };
    let make = |p: &tersor_nets::Parameters| Pruner::new(p, prune);
    let (parameters, state, pruner) = run.run(start, make, &bar, |report| say_epoch("", report, &bar))?;
    if let Some(failure) = pruner.failure {
        bail!(failure);
    }
    save(&parameters, &args.output)?;
    if let Some(path) = &args.training.sensitivity {
        write_moments(&task.network, &state, path, args.training.optimizer)?;
    }
    if !common.quiet {
        let (alive, all) = count(&parameters, scope);
        output::say(&format!(
            "{} of {} parameters remain ({:.2} %)",
            output::thousands(alive as u64),
            output::thousands(all as u64),
            100.0 * alive as f64 / all as f64
        ));
    }
    Ok(Status::Done)
}

#[cfg(test)]
mod tests {
    use super::parse_keep;

    #[test]
    fn what_remains_is_a_number_or_a_share() {
        assert_eq!(parse_keep("--keep", "2600", 431_080).unwrap(), 2600);
        assert_eq!(parse_keep("--keep", "8.55%", 431_080).unwrap(), 36_857);
        for wrong in ["0", "-1", "101%", "0%", "many", "431081"] {
            assert!(parse_keep("--keep", wrong, 431_080).is_err(), "{wrong}");
        }
    }
}
