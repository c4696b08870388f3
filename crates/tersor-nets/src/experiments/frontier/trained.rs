//! Files of networks that are trained to be small.

use super::sizes::sized_files;
use crate::examples::{Examples, Mixed};
use crate::experiments::adam;
use crate::experiments::files::{ExperimentTask, FileSpec, Recipe};
use crate::experiments::pruned::{PrunedTraining, Pruning};
use crate::experiments::split::Split;
use crate::graph::Network;
use crate::prune::Score;
use crate::shrink::{Rounding, ShrinkOptions, ShrinkTask, shrink};
use crate::train::{EpochReport, Free, Teacher, TrainOptions, TrainingRun};
use crate::{Error, Parameters, Result, Selection, Subset};
use tersor_codec::Coder;
use tersor_data::Augment;

/// Pruned while they train, then rounded in stages while the rest trains on: [`shrink`].
#[derive(Clone, Debug)]
pub struct Trained {
    /// What is begun with; without it, networks are trained first.
    start: Option<Parameters>,
    /// Seeds, ratios, and bytes.
    files: Vec<(u64, f64, u64)>,
    recipe: PerNetwork,
    split: Split,
}

/// What differs between networks.
#[derive(Clone, Copy, Debug)]
struct PerNetwork {
    sizes: &'static [f64],
    /// Training images that are trained on: settings are chosen on the others.
    examples: &'static str,
    /// How it is pruned before it is shrunk; without it, while it is, by loss per bit, to as many weights as the size suggests.
    pruning: Option<Pruning>,
    /// Passes: first training, while pruning, and in each of the stages.
    epochs: [usize; 3],
    n_stages: usize,
    rounding: Rounding,
    /// Highest rates of learning of the three.
    rates: [f64; 3],
}

const DIGITS: PerNetwork = PerNetwork {
    sizes: &[505.0, 710.0],
    examples: "..55000",
    pruning: None,
    epochs: [20, 70, 8],
    n_stages: 4,
    rounding: Rounding::Weights,
    rates: [2e-3, 1e-3, 3e-4],
};
/// The pruned network is that of Table 1.
const CIFAR: PerNetwork = PerNetwork {
    sizes: &[30.0],
    examples: "0..",
    pruning: Some(Pruning::RESNET),
    epochs: [0, 0, 1],
    n_stages: 1,
    rounding: Rounding::Layers,
    rates: [0.0, 0.0, 1e-3],
};

impl Trained {
    /// The recipe for a network, trained first if there is nothing to begin with, with other ratios if there are any.
    ///
    /// # Errors
    /// [`Error::Input`] for a network without one.
    pub fn new(
        task: &ExperimentTask<'_>,
        start: Option<Parameters>,
        ratios: &[f64],
        seeds: &[u64],
    ) -> Result<Self> {
        let network = task.network;
        let recipe = match (network.name.as_str(), &start) {
            ("lenet5", _) => DIGITS,
            (name, Some(_)) if name.starts_with("resnet") => CIFAR,
            (name, None) => {
                return Err(Error::Input(format!(
                    "{name} is not trained here; give --weights to begin with"
                )));
            }
            (name, Some(_)) => {
                return Err(Error::Input(format!(
                    "there is no recipe to train {name}; leave --trained out"
                )));
            }
        };
        let ratios = if ratios.is_empty() { recipe.sizes } else { ratios };
        let sized = sized_files(network, "", ratios)?;
        let of_seed = |&seed| sized.iter().map(move |file| (seed, file.size, file.bytes));
        let files = seeds.iter().flat_map(of_seed).collect();
        Ok(Self {
            start,
            files,
            recipe,
            split: Split::of(network, task.data),
        })
    }

    /// The same with other numbers of passes: first training, while pruning, and in each stage. What is pruned before it is shrunk trains on
    /// for as many as while pruning.
    #[must_use]
    pub fn with_epochs(mut self, epochs: [usize; 3]) -> Self {
        let [dense, prune, stage] = epochs;
        if let Some(pruning) = &mut self.recipe.pruning {
            pruning.epochs = [dense, prune, prune];
            self.recipe.epochs = [0, 0, stage];
        } else {
            self.recipe.epochs = epochs;
        }
        self
    }

    /// What is done to the images of a network while it trains, and to those that calibration uses again.
    pub fn augment(network: &Network) -> Augment {
        match network.name.as_str() {
            "lenet5" => Augment::elastic(),
            _ => Augment::crop_flip(),
        }
    }

    fn options(&self, part: usize, seed: u64) -> TrainOptions {
        let epochs = self.recipe.epochs.get(part).copied().unwrap_or_default();
        let peak = self.recipe.rates.get(part).copied().unwrap_or_default();
        adam(epochs, peak, seed)
    }

    /// The network that pruning begins with.
    fn dense(
        &self,
        task: &ExperimentTask<'_>,
        examples: &Subset<'_>,
        seed: u64,
        say: &mut dyn FnMut(&str),
    ) -> Result<Parameters> {
        if let Some(start) = &self.start {
            return Ok(start.clone());
        }
        let path = task.folder.join(format!("dense-{seed}.training.safetensors"));
        let run = TrainingRun {
            network: task.network,
            examples,
            device: task.device,
            options: &self.options(0, seed),
            teacher: None,
            path: Some(&path),
        };
        let start = Parameters::random(task.network, seed);
        let report = |r: &EpochReport| say(&epoch("dense", r));
        Ok(run.run(start, |_| Free, task.progress, report)?.0)
    }

    /// The pruned network, and the one that it learns from; of examples as they are and changed.
    fn pruned(
        &self,
        task: &ExperimentTask<'_>,
        how: Pruning,
        [plain, augmented]: [&dyn Examples; 2],
        seed: u64,
        say: &mut dyn FnMut(&str),
    ) -> Result<(Parameters, Option<Teacher>)> {
        // Of other passes the state is another.
        let [_, prune, settle] = how.epochs;
        let folder = task.folder.join(format!("pruned-{prune}-{settle}"));
        std::fs::create_dir_all(&folder).map_err(Error::io(&folder))?;
        let training = PrunedTraining {
            network: task.network,
            plain,
            augmented,
            device: task.device,
            folder: &folder,
            progress: task.progress,
            how,
        };
        let (dense, pruned) = training.networks(seed, self.start.as_ref(), say)?;
        Ok((pruned, training.teacher(&dense)))
    }
}

fn epoch(part: &str, report: &EpochReport) -> String {
    let (at, loss, accuracy) = (report.epoch, report.loss, 100.0 * report.accuracy);
    format!("{part}: epoch {at:3}  loss {loss:.4}  accuracy {accuracy:.2} %")
}

impl Recipe for Trained {
    fn report(&self) -> &[&'static str] {
        self.split.report
    }

    fn original(&self) -> Option<&Parameters> {
        self.start.as_ref()
    }

    fn files(&self) -> Vec<FileSpec> {
        let ([dense, prune, stage], n_stages) = (self.recipe.epochs, self.recipe.n_stages);
        let before = match self.recipe.pruning.map(|pruning| pruning.epochs) {
            Some([dense, prune, settle]) => format!("{dense}, {prune} + {settle}"),
            None => format!("{dense}, {prune}"),
        };
        let file = |&(seed, ratio, bytes): &(u64, f64, u64)| FileSpec {
            name: format!("trained-{ratio}-{seed}"),
            how: "trained".into(),
            settings: format!("{bytes} bytes, epochs {before}, {n_stages} x {stage}"),
            seed: Some(seed),
        };
        self.files.iter().map(file).collect()
    }

    fn make(&self, task: &ExperimentTask<'_>, index: usize, say: &mut dyn FnMut(&str)) -> Result<Vec<u8>> {
        let Some(&(seed, ratio, bytes)) = self.files.get(index) else {
            return Err(Error::Internal(format!("there is no file {index}")));
        };
        let examples = self
            .recipe
            .examples
            .parse::<Selection>()?
            .of(task.data.train.as_ref())?;
        let mixed = Mixed { examples: &examples };
        let (start, teacher) = match self.recipe.pruning {
            None => (self.dense(task, &examples, seed, say)?, None),
            Some(how) => self.pruned(task, how, [&examples, &mixed], seed, say)?,
        };
        let folder = task.folder.join(format!("shrink-{ratio}-{seed}"));
        let work = ShrinkTask {
            network: task.network,
            examples: match teacher {
                Some(_) => &mixed,
                None => &examples,
            },
            device: task.device,
            teacher: teacher.as_ref(),
            folder: &folder,
            progress: task.progress,
        };
        let options = ShrinkOptions {
            bytes,
            keep: None,
            score: Score::LossPerBit,
            prune: self.options(1, seed),
            stage: self.options(2, seed),
            n_stages: self.recipe.n_stages,
            rounding: self.recipe.rounding,
            coder: Coder::Context,
        };
        let shrunk = shrink(&work, start, &options, |part, report| say(&epoch(part, report)))?;
        Ok(shrunk.bytes)
    }
}
