//! Training by mini-batches.

mod checkpoint;
mod features;
mod lesson;
mod optimizer;
mod run;
mod schedule;

pub use checkpoint::{load_training, save_training};
pub use lesson::{Distillation, Teacher};
pub(crate) use lesson::{Lessons, Marks};
pub use optimizer::{Optimizer, OptimizerState};
pub use run::TrainingRun;
pub use schedule::Schedule;

use crate::canon::Narrow;
use crate::examples::Examples;
use crate::gradient::{Gradients, backward, to_vec};
use crate::graph::{BatchStatistics, Mode, Network, Observer, Op, Weights};
use crate::{Error, Parameters, Result};
use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use tersor::Progress;
use tersor_data::{Batches, Key};

/// Weight of a new batch in running statistics, as in PyTorch.
const STATISTICS_MOMENTUM: f32 = 0.1;

/// How to train.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainOptions {
    /// Passes over the examples.
    pub epochs: usize,
    /// Examples per step.
    pub batch: usize,
    /// Of the order of examples and of their augmentation.
    pub seed: u64,
    /// The rule of steps.
    pub optimizer: Optimizer,
    /// The learning rate over time.
    pub schedule: Schedule,
    /// Share of the training in which normalisation is by the statistics of batches; after it, by the running ones as in use,
    /// which stay as they are. 1 for all of it, 0 for none.
    pub batch_statistics: f64,
}

impl TrainOptions {
    /// How normalisation works when a share `done` of the training lies behind.
    fn mode(&self, done: f64) -> Mode {
        if done < self.batch_statistics {
            Mode::Train
        } else {
            Mode::Evaluate
        }
    }
}

/// The mean loss and accuracy of an epoch's batches while they were trained on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochReport {
    /// Number of the epoch, from 1.
    pub epoch: usize,
    /// Nats per row: of labels, or the divergence from a teacher's answers, not softened.
    pub loss: f64,
    /// Share of rows that were right.
    pub accuracy: f64,
    /// Learning rate of the last step.
    pub learning_rate: f64,
}

/// Has its say after each step: pruning masks, levels that stay shared.
pub trait Constraint {
    /// Before the gradients of a step are used; `done` is the share of the training that lies behind.
    fn gradients(&mut self, gradients: &mut Gradients, parameters: &Parameters, done: f64) {
        let _ = (gradients, parameters, done);
    }

    /// After a step; may change the parameters. The state holds the optimizer's moments.
    fn parameters(&mut self, parameters: &mut Parameters, state: &OptimizerState, done: f64) {
        let _ = (parameters, state, done);
    }

    /// Whether weights that are zero stay zero: what only such weights read need not be computed.
    fn keeps_zeros(&self) -> bool {
        false
    }
}

/// No constraint.
#[derive(Clone, Copy, Debug, Default)]
pub struct Free;

impl Constraint for Free {}

/// Collects what batch-norm layers see.
#[derive(Default)]
struct Statistics(Vec<(usize, BatchStatistics)>);

impl Observer for Statistics {
    fn statistics(&mut self, index: usize, statistics: BatchStatistics) {
        self.0.push((index, statistics));
    }
}

impl Statistics {
    /// Moves running means and variances towards the batch's.
    fn apply(self, network: &Network, parameters: &mut Parameters) -> Result<()> {
        for (index, statistics) in self.0 {
            let Some(node) = network.nodes.get(index) else {
                continue;
            };
            let (Op::BatchNorm(_), [_, _, mean, variance]) = (&node.op, node.parameters.as_slice()) else {
                continue;
            };
            for (&parameter, tensor) in [mean, variance]
                .into_iter()
                .zip([statistics.mean, statistics.variance])
            {
                let seen = to_vec(tensor)?;
                for (running, seen) in parameters.values_mut(parameter).iter_mut().zip(seen) {
                    *running += STATISTICS_MOMENTUM * (seen - *running);
                }
            }
        }
        Ok(())
    }
}

/// A training under way.
pub struct Trainer<'a> {
    /// The network.
    pub network: &'a Network,
    /// What is trained on.
    pub examples: &'a dyn Examples,
    /// Where.
    pub device: &'a Device,
    /// How.
    pub options: &'a TrainOptions,
    /// Whose answers are the labels, in place of the examples' own.
    pub teacher: Option<&'a Teacher>,
    /// The optimizer's moments.
    pub state: OptimizerState,
    /// Epochs done.
    pub epoch: usize,
}

impl<'a> Trainer<'a> {
    /// A training that has not begun.
    pub fn new(
        network: &'a Network,
        parameters: &Parameters,
        examples: &'a dyn Examples,
        device: &'a Device,
        options: &'a TrainOptions,
    ) -> Self {
        Self {
            network,
            examples,
            device,
            options,
            teacher: None,
            state: OptimizerState::new(parameters),
            epoch: 0,
        }
    }

    /// Number of steps of an epoch.
    pub fn n_steps(&self) -> usize {
        self.batches(0).len()
    }

    /// Steps of one epoch; a last batch that is short is left out unless it is the only one.
    fn batches(&self, epoch: usize) -> Vec<Vec<usize>> {
        let (n, size) = (self.examples.len(), self.options.batch.max(1));
        let mut batches: Vec<Vec<usize>> =
            Batches::shuffled(n, size, self.options.seed, epoch as u64).collect();
        if batches.len() > 1 {
            batches.retain(|b| b.len() == size);
        }
        batches
    }

    /// Trains for one more epoch.
    ///
    /// # Errors
    /// [`Error::Diverged`] if the loss is no longer finite, and as [`Network::forward`].
    pub fn epoch(
        &mut self,
        parameters: &mut Parameters,
        constraint: &mut dyn Constraint,
        progress: &dyn Progress,
    ) -> Result<EpochReport> {
        let batches = self.batches(self.epoch);
        let steps = batches.len().max(1);
        let total = (steps * self.options.epochs.max(1)) as f64;
        let shows_features = self.teacher.is_some_and(Teacher::shows_features);
        let narrow = if constraint.keeps_zeros() && !shows_features {
            Narrow::new(self.network, parameters)
        } else {
            None
        };
        let network = narrow.as_ref().map_or(self.network, |n| &n.network);
        let (mut marks, mut rate, mut at) = (Marks::default(), 0.0, 0);
        let lessons = Lessons {
            network: self.network,
            examples: self.examples,
            teacher: self.teacher,
            key: Key {
                seed: self.options.seed,
                epoch: self.epoch as u64,
            },
        };
        lessons.each(batches.into_iter(), |lesson| {
            let done = (self.epoch * steps + at) as f64 / total;
            at += 1;
            rate = self.options.schedule.rate(done);
            let mut taken = narrow.as_ref().map(|n| n.take(parameters));
            let weights = Weights::new(taken.as_ref().unwrap_or(parameters), self.device, true);
            let mut statistics = Statistics::default();
            let mut gradients = backward(
                network,
                &weights,
                &lesson.batch,
                self.options.mode(done),
                &mut lesson.watch(&mut statistics),
                |logits| Ok(lesson.mark(logits, &mut marks)),
            )?;
            if !marks.loss.is_finite() {
                return Err(Error::Diverged(format!(
                    "the loss is {} in epoch {}, step {at}; lower the learning rate, now {rate:e}",
                    marks.loss,
                    self.epoch + 1,
                )));
            }
            statistics.apply(network, taken.as_mut().unwrap_or(parameters))?;
            if let (Some(narrow), Some(taken)) = (&narrow, &taken) {
                narrow.put_observed(taken, parameters);
                gradients = narrow.gradients(gradients, parameters);
            }
            constraint.gradients(&mut gradients, parameters, done);
            self.state
                .step(&self.options.optimizer, parameters, &gradients, rate as f32);
            constraint.parameters(parameters, &self.state, (done + 1.0 / total).min(1.0));
            progress.advance(1);
            Ok(())
        })?;
        self.epoch += 1;
        Ok(marks.report(self.epoch, rate))
    }
}
