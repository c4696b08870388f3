//! Networks pruned by magnitude while they train, and trained on with what is left.

use super::adam;
use crate::examples::Examples;
use crate::graph::Network;
use crate::prune::{Masks, PruneOptions, Pruner, Scope, Score, apply, masks_of_zeros};
use crate::train::{
    Constraint, Distillation, EpochReport, Free, OptimizerState, Teacher, TrainOptions, TrainingRun,
};
use crate::{Parameters, Result};
use burn::tensor::Device;
use std::path::Path;
use tersor::Progress;

/// How a network is trained and pruned.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pruning {
    /// Share of the parameters that survive.
    pub(super) keep: f64,
    /// Passes: dense, while pruning, and on the pruned network.
    pub(super) epochs: [usize; 3],
    /// Highest rates of learning of the three.
    pub(super) rates: [f64; 3],
    /// Whether images are changed already while pruning.
    pub(super) prunes_augmented: bool,
    /// How the pruned network learns from the one that is pruned, in place of labels: for one that knows its training set by heart.
    pub(super) distillation: Option<Distillation>,
}

impl Pruning {
    /// For a ResNet on CIFAR-10, which knows its training images by heart: towards its answers and its activations.
    pub(super) const RESNET: Self = Self {
        keep: 0.2,
        epochs: [0, 10, 10],
        rates: [0.0, 4e-3, 2e-3],
        prunes_augmented: true,
        distillation: Some(Distillation {
            temperature: 4.0,
            features: 1000.0,
        }),
    };
}

/// Keeps zeros zero.
struct Fixed(Masks);

impl Constraint for Fixed {
    fn parameters(&mut self, parameters: &mut Parameters, _: &OptimizerState, _: f64) {
        apply(&self.0, parameters);
    }
}

/// What the training and the pruning of a network need.
pub(super) struct PrunedTraining<'a> {
    pub(super) network: &'a Network,
    pub(super) plain: &'a dyn Examples,
    /// The plain ones, changed in every pass, or mixtures of them.
    pub(super) augmented: &'a dyn Examples,
    pub(super) device: &'a Device,
    /// Where the state of each part is kept.
    pub(super) folder: &'a Path,
    pub(super) progress: &'a dyn Progress,
    pub(super) how: Pruning,
}

impl PrunedTraining<'_> {
    /// The dense network, if answers in place of labels are its.
    pub(super) fn teacher(&self, dense: &Parameters) -> Option<Teacher> {
        let new = |how| Teacher::new(dense, how, self.device);
        self.how.distillation.map(new)
    }

    /// The dense and the pruned network of one seed, from their files if they are there; the dense one is `start` if there is one.
    ///
    /// # Errors
    /// As training.
    pub(super) fn networks(
        &self,
        seed: u64,
        start: Option<&Parameters>,
        say: &mut dyn FnMut(&str),
    ) -> Result<(Parameters, Parameters)> {
        let ([dense, prune, settle], rates) = (self.how.epochs, self.how.rates);
        let dense = if let Some(start) = start {
            start.clone()
        } else {
            let start = Parameters::random(self.network, seed);
            let options = adam(dense, rates[0], seed);
            let part = Part {
                name: "dense",
                seed,
                is_augmented: false,
                options: &options,
                teacher: None,
            };
            self.run(&part, start, |_| Free, say)?
        };
        let teacher = self.teacher(&dense);
        let prune = Part {
            name: "pruned",
            seed,
            is_augmented: self.how.prunes_augmented,
            options: &adam(prune, rates[1], seed + 100),
            teacher: teacher.as_ref(),
        };
        let options = PruneOptions {
            keep: (self.how.keep * self.network.n_trainable() as f64).round() as usize,
            score: Score::Magnitude,
            scope: Scope::WeightsAndBiases,
            until: 0.58,
            every: 25,
        };
        let pruned = self.run(&prune, dense.clone(), |p| Pruner::new(p, options), say)?;
        let settle = Part {
            name: "augmented",
            is_augmented: true,
            options: &adam(settle, rates[2], seed + 200),
            ..prune
        };
        let fixed = |p: &Parameters| Fixed(masks_of_zeros(p, Scope::WeightsAndBiases));
        let pruned = self.run(&settle, pruned, fixed, say)?;
        Ok((dense, pruned))
    }

    fn run<C: Constraint>(
        &self,
        part: &Part<'_>,
        start: Parameters,
        constraint: impl FnOnce(&Parameters) -> C,
        say: &mut dyn FnMut(&str),
    ) -> Result<Parameters> {
        let (name, seed) = (part.name, part.seed);
        let path = self.folder.join(format!("{name}-{seed}.training.safetensors"));
        let run = TrainingRun {
            network: self.network,
            examples: if part.is_augmented {
                self.augmented
            } else {
                self.plain
            },
            device: self.device,
            options: part.options,
            teacher: part.teacher,
            path: Some(&path),
        };
        let report = |r: &EpochReport| {
            let (at, of, loss) = (r.epoch, part.options.epochs, r.loss);
            say(&format!(
                "seed {seed}, {name}: epoch {at} of {of}, loss {loss:.4}"
            ));
        };
        Ok(run.run(start, constraint, self.progress, report)?.0)
    }
}

/// A part of the training.
struct Part<'a> {
    name: &'a str,
    seed: u64,
    is_augmented: bool,
    options: &'a TrainOptions,
    teacher: Option<&'a Teacher>,
}
