//! Sensitivities that experiments measure once and keep beside their files.

use super::files::ExperimentTask;
use super::split::Split;
use crate::examples::Examples;
use crate::graph::{Input, Network};
use crate::sensitivity::{
    Estimate, Estimator, GramOptions, moments, read_sensitivities, write_sensitivities,
};
use crate::{Parameters, Result};
use std::path::PathBuf;

/// Examples that suffice for a diagonal (paper, Figure 2).
pub(super) const SAMPLES: usize = 1000;
/// Every example that there is.
pub(super) const ALL: usize = usize::MAX;
/// Examples that moments of inputs are gathered on.
const MOMENT_SAMPLES: usize = 500;

/// An estimate in a word for names of files.
pub(super) fn estimate_name(estimate: Estimate) -> String {
    let Estimate {
        estimator,
        samples,
        seed,
        ..
    } = estimate;
    let with = match estimator {
        Estimator::Fisher { temperature } if temperature != 1.0 => format!("-t{temperature}"),
        Estimator::Hutchinson { probes } => format!("-{probes}"),
        _ => String::new(),
    };
    let seed = if seed == 0 {
        String::new()
    } else {
        format!("-seed{seed}")
    };
    let samples = match samples {
        ALL => "all".to_owned(),
        _ => samples.to_string(),
    };
    format!("{}{with}-{samples}{seed}", estimator.name())
}

/// The estimate that experiments take where it is not their question: the paper's, or the Fisher diagonal of a language model, for whose
/// layers second-order back-propagation has no rule.
pub(super) fn usual(network: &Network) -> Estimate {
    let estimator = if matches!(network.input, Input::Tokens { .. }) {
        Estimator::Fisher { temperature: 1.0 }
    } else {
        Estimator::Hessian
    };
    Estimate::new(estimator, SAMPLES)
}

/// The file of sensitivities of a network, with moments of inputs if they are wanted: measured once.
pub(super) fn sensitivities(
    task: &ExperimentTask<'_>,
    parameters: &Parameters,
    estimate: Estimate,
    has_moments: bool,
) -> Result<PathBuf> {
    let with = if has_moments { "-moments" } else { "" };
    let name = format!("{}{with}.safetensors", estimate_name(estimate));
    let path = task.folder.join(name);
    if path.is_file() {
        return Ok(path);
    }
    let examples = Split::of(task.network, task.data).calibration(task)?;
    let capped = Estimate {
        samples: estimate.samples.min(examples.len()),
        ..estimate
    };
    let (network, device, progress) = (task.network, task.device, task.progress);
    let recorded = capped.recorded(examples.len());
    let mut layers = Vec::new();
    let diagonal = if has_moments {
        let options = GramOptions {
            samples: MOMENT_SAMPLES,
            batch: 50,
            seed: 0,
            output_gradients: false,
        };
        layers = moments(network, parameters, &examples, device, &options, progress)?;
        let alone = sensitivities(task, parameters, estimate, false)?;
        read_sensitivities(&alone, &network.parameters)?
    } else {
        capped.measure(network, parameters, &examples, device, progress)?
    };
    write_sensitivities(&path, &network.parameters, &diagonal, &layers, &recorded, true)?;
    Ok(path)
}
