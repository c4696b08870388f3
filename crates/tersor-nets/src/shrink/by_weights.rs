//! Rounding the most sensitive weights of all layers first, while the others train on.

use super::freeze::Frozen;
use super::layers::Layers;
use super::{Rounded, SHARE, ShrinkOptions, ShrinkTask, training};
use crate::sensitivity::{
    AdamOptions, Diagonal, Recorded, adam_moments, read_sensitivities, write_sensitivities,
};
use crate::train::EpochReport;
use crate::{Parameters, Result, fold_sensitivities};
use std::path::Path;

/// Floor of sensitivities, in units of a tensor's mean over survivors.
const FLOOR: f64 = 0.05;
/// Sensitivities of networks that are not pruned are gathered on so many examples, in batches of so many.
const SAMPLES: usize = 5000;
const BATCH: usize = 50;

/// Rounds a network in stages, an equal share of the weights that are not zero in each. `moments` are mean squared gradients of its
/// pruning; without them they are gathered.
///
/// # Errors
/// [`Error::Size`](crate::Error::Size) if the size cannot be reached; as training.
pub(super) fn by_weights(
    task: &ShrinkTask<'_>,
    start: Parameters,
    options: &ShrinkOptions,
    moments: Option<Diagonal>,
    say: &mut impl FnMut(&str, &EpochReport),
) -> Result<Rounded> {
    let mut parameters = start;
    let path = task.folder.join("sensitivities.safetensors");
    let measure = || match moments {
        Some(h) => Ok(h),
        None => gather(task, &parameters, options),
    };
    let h = sensitivities(task, &parameters, &path, measure)?;
    let aim = (options.bytes as f64 * SHARE) as u64;
    let mut layers = Layers::new(task.network, &parameters, &h, FLOOR, options.coder, &path);
    let mut slope = layers.choose_steps(&parameters, aim)?;
    let mut frozen = Frozen::zeros(task.network, &parameters);
    let mut slopes = vec![slope];
    let mut symbols = Vec::new();
    for stage in 1..=options.n_stages.max(1) {
        (slope, symbols) = layers.fit(&parameters, &frozen, slope, (aim, options.bytes))?;
        slopes.push(slope);
        let share = stage as f64 / options.n_stages.max(1) as f64;
        frozen.extend(&mut parameters, &symbols, layers.sensitivities(), share);
        let name = format!("stage {stage} of {}", options.n_stages.max(1));
        let path = task.folder.join(format!("stage-{stage}.training.safetensors"));
        let run = training(task, &options.stage, &path);
        let make = |_: &Parameters| frozen.clone();
        (parameters, _, frozen) = run.run(parameters, make, task.progress, |r| say(&name, r))?;
    }
    let bytes = layers.file(&parameters, &symbols, slope, options.bytes)?;
    Ok(Rounded {
        parameters,
        bytes,
        slopes,
    })
}

/// Mean squared gradients of a network that is not trained first.
fn gather(task: &ShrinkTask<'_>, parameters: &Parameters, options: &ShrinkOptions) -> Result<Diagonal> {
    let gather = AdamOptions {
        samples: SAMPLES,
        batch: BATCH,
        beta2: 0.999,
        seed: options.prune.seed,
    };
    adam_moments(
        task.network,
        parameters,
        task.examples,
        task.device,
        &gather,
        task.progress,
    )
}

/// The sensitivities in a file, or, measured, written there: of normalisation as it is in files, folded. A run that goes on has
/// the steps that it began with.
fn sensitivities(
    task: &ShrinkTask<'_>,
    parameters: &Parameters,
    path: &Path,
    measure: impl FnOnce() -> Result<Diagonal>,
) -> Result<Diagonal> {
    let specs = &task.network.parameters;
    if !path.is_file() {
        let mut h = measure()?;
        fold_sensitivities(task.network, parameters, &mut h);
        let recorded = Recorded {
            estimator: "adam".into(),
            ..Recorded::default()
        };
        write_sensitivities(path, specs, &h, &[], &recorded, true)?;
    }
    read_sensitivities(path, specs)
}
