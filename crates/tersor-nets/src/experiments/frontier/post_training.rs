//! Files made from a trained network and unlabelled examples.

use crate::examples::calibration_batches;
use crate::experiments::estimates::sensitivities;
use crate::experiments::files::{ExperimentTask, FileSpec, Recipe, most_bytes};
use crate::experiments::split::Split;
use crate::sensitivity::{Estimate, Estimator};
use crate::sequential::{SequentialOptions, SequentialTarget, compress};
use crate::shared::Match;
use crate::{Error, Parameters, Result, fold};
use tersor::options::CompressOptions;

/// Exponent of the sensitivities of layers.
const POWER: f64 = 0.75;
/// Share of a tensor's mean sensitivity that is added to each: for tokens that the examples do not have.
const FLOOR: f64 = 0.01;
/// Examples that sensitivities are measured on.
const FISHER_SAMPLES: usize = 300;

/// Compression layer by layer.
#[derive(Clone, Debug)]
pub struct PostTraining {
    original: Parameters,
    /// Names of files, and their bytes.
    files: Vec<(String, u64)>,
    recipe: PerNetwork,
    split: Split,
}

/// What differs between networks. Chosen on examples that are not reported on.
#[derive(Clone, Copy, Debug)]
struct PerNetwork {
    /// Ratios of the paper, or bits per weight.
    sizes: &'static [f64],
    is_ratio: bool,
    /// How many examples statistics are gathered on.
    samples: usize,
    repair: Option<Match>,
    /// Whether layers weigh by the Fisher diagonal, as those of a language model with a tied embedding have to.
    uses_fisher: bool,
}

const IMAGES: PerNetwork = PerNetwork {
    sizes: &[15.0, 18.0, 21.0, 25.0],
    is_ratio: true,
    samples: 750,
    repair: None,
    uses_fisher: false,
};
/// More images than there are: they come again, shifted and mirrored.
const IMAGENET: PerNetwork = PerNetwork {
    sizes: &[9.0, 12.0],
    is_ratio: true,
    samples: 450,
    repair: Some(Match::Mean),
    uses_fisher: false,
};
const TEXT: PerNetwork = PerNetwork {
    sizes: &[3.0, 4.0, 5.0],
    is_ratio: false,
    samples: 150,
    repair: None,
    uses_fisher: true,
};

impl PostTraining {
    /// The recipe for a network, with other sizes if there are any: ratios, or bits per weight of a language model.
    ///
    /// # Errors
    /// [`Error::Input`] for a size that makes no file.
    pub fn new(task: &ExperimentTask<'_>, original: Parameters, sizes: &[f64]) -> Result<Self> {
        let recipe = match task.network.name.as_str() {
            "squeezenet1_1" | "alexnet" => IMAGENET,
            name if name.starts_with("llama") => TEXT,
            _ => IMAGES,
        };
        let sizes = if sizes.is_empty() { recipe.sizes } else { sizes };
        let n_elements: f64 = task.network.parameters.iter().map(|p| p.len() as f64).sum();
        let file = |&size: &f64| {
            Ok(if recipe.is_ratio {
                (
                    format!("ratio-{size}"),
                    most_bytes(size, task.network.float_bytes() / size)?,
                )
            } else {
                (format!("bpw-{size}"), most_bytes(size, size * n_elements / 8.0)?)
            })
        };
        Ok(Self {
            original,
            files: sizes.iter().map(file).collect::<Result<_>>()?,
            recipe,
            split: Split::of(task.network, task.data),
        })
    }
}

impl Recipe for PostTraining {
    fn report(&self) -> &[&'static str] {
        self.split.report
    }

    fn original(&self) -> Option<&Parameters> {
        Some(&self.original)
    }

    fn files(&self) -> Vec<FileSpec> {
        let recipe = &self.recipe;
        let file = |(name, bytes): &(String, u64)| FileSpec {
            name: name.clone(),
            how: "post-training".into(),
            settings: format!(
                "{bytes} bytes, {} samples of {}",
                recipe.samples, self.split.calibration
            ),
            seed: None,
        };
        self.files.iter().map(file).collect()
    }

    fn make(&self, task: &ExperimentTask<'_>, index: usize, _: &mut dyn FnMut(&str)) -> Result<Vec<u8>> {
        let Some((_, bytes)) = self.files.get(index) else {
            return Err(Error::Internal(format!("there is no file {index}")));
        };
        let examples = self.split.calibration(task)?;
        let mut rest = CompressOptions::default();
        if self.recipe.uses_fisher {
            let estimate = Estimate::new(Estimator::Fisher { temperature: 1.0 }, FISHER_SAMPLES);
            rest = rest.with_sensitivity(sensitivities(task, &self.original, estimate, false)?);
            rest.power = POWER;
            rest.floor = FLOOR;
            rest.row_scales = true;
        }
        let mut original = self.original.clone();
        fold(task.network, &mut original)?;
        let options = SequentialOptions {
            repair: self.recipe.repair,
            ..SequentialOptions::default()
        };
        let (_, compressed) = compress(
            task.network,
            &original,
            &calibration_batches(&examples, self.recipe.samples, 0)?,
            task.device,
            (SequentialTarget::SizeBytes(*bytes), &options),
            &rest,
            task.progress,
        )?;
        Ok(compressed.bytes)
    }
}
