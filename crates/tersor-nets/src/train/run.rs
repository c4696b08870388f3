//! Trainings that leave a checkpoint behind, so that a killed one goes on where it was.

use super::{
    Constraint, EpochReport, OptimizerState, Teacher, TrainOptions, Trainer, load_training, save_training,
};
use crate::examples::Examples;
use crate::graph::Network;
use crate::{Parameters, Result};
use burn::tensor::Device;
use std::path::Path;
use tersor::Progress;

/// A training that is saved after every epoch and, if it was begun before, continued.
pub struct TrainingRun<'a> {
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
    /// Where it is saved; `None` keeps it in memory.
    pub path: Option<&'a Path>,
}

impl TrainingRun<'_> {
    /// Trains from `start`, or from where the file is; `report` is told of each epoch. The constraint is made of the
    /// parameters that the training begins with, before the file is read.
    ///
    /// # Errors
    /// As [`Trainer::epoch`] and [`load_training`].
    pub fn run<C: Constraint>(
        &self,
        start: Parameters,
        constraint: impl FnOnce(&Parameters) -> C,
        progress: &dyn Progress,
        mut report: impl FnMut(&EpochReport),
    ) -> Result<(Parameters, OptimizerState, C)> {
        let mut parameters = start;
        let mut constraint = constraint(&parameters);
        let mut trainer = Trainer::new(
            self.network,
            &parameters,
            self.examples,
            self.device,
            self.options,
        );
        trainer.teacher = self.teacher;
        if let Some(path) = self.path.filter(|p| p.is_file()) {
            let (saved, state, epoch) = load_training(path, self.network)?;
            parameters = saved;
            trainer.state = state;
            trainer.epoch = epoch;
        }
        let left = self.options.epochs.saturating_sub(trainer.epoch);
        progress.start("train", (left * trainer.n_steps()) as u64);
        while trainer.epoch < self.options.epochs {
            let done = trainer.epoch(&mut parameters, &mut constraint, progress)?;
            progress.note(&format!("epoch {} loss {:.4}", done.epoch, done.loss));
            report(&done);
            if let Some(path) = self.path {
                save_training(path, &parameters, &trainer.state, trainer.epoch)?;
            }
        }
        progress.finish();
        Ok((parameters, trainer.state, constraint))
    }
}
