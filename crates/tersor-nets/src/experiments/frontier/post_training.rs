//! Files made from a trained network and unlabelled examples.

use super::sizes::{SizedFile, sized_files};
use crate::examples::calibration_batches;
use crate::experiments::estimates::sensitivities;
use crate::experiments::files::{ExperimentTask, FileSpec, Recipe};
use crate::experiments::split::Split;
use crate::graph::Network;
use crate::sensitivity::{Estimate, Estimator};
use crate::sequential::{SequentialOptions, SequentialTarget, compress};
use crate::shared::Match;
use crate::{Error, Parameters, Result, fold};
use tersor::options::CompressOptions;

/// Compression layer by layer.
#[derive(Clone, Debug)]
pub struct PostTraining {
    original: Parameters,
    files: Vec<SizedFile>,
    recipe: PerNetwork,
    split: Split,
}

/// What differs between networks. Chosen on examples that are not reported on.
#[derive(Clone, Copy, Debug)]
struct PerNetwork {
    /// Ratios of the paper, or bits per weight.
    sizes: &'static [f64],
    /// The one at which ingredients are told apart.
    middle: f64,
    /// How many examples statistics are gathered on.
    samples: usize,
    repair: Option<Match>,
    weighing: Option<Weighing>,
}

/// What layers weigh by; without it they are all alike.
#[derive(Clone, Copy, Debug)]
struct Weighing {
    estimator: Estimator,
    samples: usize,
    /// Exponent of the sensitivities.
    power: f64,
    /// Share of a tensor's mean sensitivity that is added to each: for tokens that the examples do not have.
    floor: f64,
    row_scales: bool,
    /// For sizes up to this: sensitivities tell of small errors.
    largest: f64,
}

const IMAGES: PerNetwork = PerNetwork {
    sizes: &[15.0, 18.0, 21.0, 25.0],
    middle: 21.0,
    samples: 750,
    repair: None,
    weighing: Some(Weighing {
        estimator: Estimator::SqrtAdam,
        samples: 5000,
        power: 1.0,
        floor: 0.05,
        row_scales: false,
        largest: 15.0,
    }),
};
/// More images than there are: they come again, shifted and mirrored.
const IMAGENET: PerNetwork = PerNetwork {
    sizes: &[9.0, 12.0],
    middle: 12.0,
    samples: 450,
    repair: Some(Match::Mean),
    weighing: None,
};
const TEXT: PerNetwork = PerNetwork {
    sizes: &[3.0, 4.0, 5.0],
    middle: 4.0,
    samples: 150,
    repair: None,
    weighing: Some(Weighing {
        estimator: Estimator::Fisher { temperature: 1.0 },
        samples: 300,
        power: 0.75,
        floor: 0.01,
        row_scales: true,
        largest: f64::INFINITY,
    }),
};

impl PerNetwork {
    fn of(network: &Network) -> Self {
        match network.name.as_str() {
            "squeezenet1_1" | "alexnet" => IMAGENET,
            name if name.starts_with("llama") => TEXT,
            _ => IMAGES,
        }
    }
}

impl PostTraining {
    /// The recipe for a network, with other sizes if there are any: ratios, or bits per weight of a language model.
    ///
    /// # Errors
    /// [`Error::Input`] for a size that makes no file.
    pub fn new(task: &ExperimentTask<'_>, original: Parameters, sizes: &[f64]) -> Result<Self> {
        let recipe = PerNetwork::of(task.network);
        let sizes = if sizes.is_empty() { recipe.sizes } else { sizes };
        Ok(Self {
            original,
            files: sized_files(task.network, "", sizes)?,
            recipe,
            split: Split::of(task.network, task.data),
        })
    }

    /// The same for the one size at which ingredients are told apart, unless others are given.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub(super) fn in_the_middle(
        task: &ExperimentTask<'_>,
        original: Parameters,
        sizes: &[f64],
    ) -> Result<Self> {
        let middle = [PerNetwork::of(task.network).middle];
        Self::new(task, original, if sizes.is_empty() { &middle } else { sizes })
    }

    /// How layers are quantized.
    pub(super) fn options(&self) -> SequentialOptions {
        SequentialOptions {
            repair: self.recipe.repair,
            ..SequentialOptions::default()
        }
    }

    fn file(&self, index: usize) -> Result<&SizedFile> {
        let file = self.files.get(index);
        file.ok_or_else(|| Error::Internal(format!("there is no file {index}")))
    }

    fn folded(&self, network: &Network) -> Result<Parameters> {
        let mut original = self.original.clone();
        fold(network, &mut original)?;
        Ok(original)
    }

    /// What layers of a file weigh by. Sensitivities are estimated unless they are in the folder.
    fn weighed(
        &self,
        task: &ExperimentTask<'_>,
        file: &SizedFile,
        original: &Parameters,
    ) -> Result<CompressOptions> {
        let mut options = CompressOptions::default();
        if let Some(weighing) = self.recipe.weighing.filter(|w| file.size <= w.largest) {
            let estimate = Estimate::new(weighing.estimator, weighing.samples);
            options = options.with_sensitivity(sensitivities(task, original, estimate, false)?);
            options.power = weighing.power;
            options.floor = weighing.floor;
            options.row_scales = weighing.row_scales;
        }
        Ok(options)
    }

    /// Makes one of its files, with settings that are changed.
    ///
    /// # Errors
    /// [`Error::Internal`] if there is no such file; as [`compress`].
    pub(super) fn compress(
        &self,
        task: &ExperimentTask<'_>,
        index: usize,
        change: impl Fn(&mut SequentialOptions, &mut CompressOptions),
    ) -> Result<Vec<u8>> {
        let file = self.file(index)?;
        let examples = self.split.calibration(task)?;
        let original = self.folded(task.network)?;
        let mut rest = self.weighed(task, file, &original)?;
        let mut options = self.options();
        change(&mut options, &mut rest);
        let (_, compressed) = compress(
            task.network,
            &original,
            &calibration_batches(task.network.input, &examples, self.recipe.samples, 0)?,
            task.device,
            (SequentialTarget::SizeBytes(file.bytes), &options),
            &rest,
            task.progress,
        )?;
        Ok(compressed.bytes)
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
        let file = |file: &SizedFile| FileSpec {
            name: file.name.clone(),
            how: "post-training".into(),
            settings: format!(
                "{} bytes, {} samples of {}",
                file.bytes, recipe.samples, self.split.calibration
            ),
            seed: None,
        };
        self.files.iter().map(file).collect()
    }

    fn prepare(&self, task: &ExperimentTask<'_>, index: usize) -> Result<()> {
        let original = self.folded(task.network)?;
        self.weighed(task, self.file(index)?, &original).map(drop)
    }

    fn make(&self, task: &ExperimentTask<'_>, index: usize, _: &mut dyn FnMut(&str)) -> Result<Vec<u8>> {
        self.compress(task, index, |_, _| ())
    }
}
