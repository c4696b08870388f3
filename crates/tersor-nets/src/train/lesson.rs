//! What a network is to answer: the examples' labels, or what a teacher says.

use super::EpochReport;
use crate::examples::Batch;
use crate::gradient::logits;
use crate::graph::{Network, Weights};
use crate::loss::Logits;
use crate::{Parameters, Result};
use burn::tensor::Device;

/// A network whose answers are the labels (distillation: Hinton, Vinyals, Dean, 2015).
pub struct Teacher {
    weights: Weights,
    temperature: f32,
}

impl Teacher {
    /// The network with these parameters; logits, also those of what is trained, are divided by the temperature.
    pub fn new(parameters: &Parameters, temperature: f32, device: &Device) -> Self {
        Self {
            weights: Weights::new(parameters, device, false),
            temperature,
        }
    }

    /// What logits are divided by.
    pub fn temperature(&self) -> f32 {
        self.temperature
    }
}

/// The wanted answers to one batch.
pub(crate) struct Lesson<'a> {
    labels: &'a [u32],
    taught: Option<(Logits, f32)>,
}

/// How a network did in all lessons of an epoch.
#[derive(Default)]
pub(crate) struct Marks {
    /// Sum over rows, nats: cross-entropy with the labels, or the divergence from the teacher's answers, not softened.
    pub(crate) loss: f64,
    /// Rows with the label on top.
    n_right: usize,
    /// Rows that have a label.
    n_rows: usize,
}

impl Marks {
    /// Their means, with the number of the epoch, from 1, and the last learning rate.
    pub(crate) fn report(&self, epoch: usize, learning_rate: f64) -> EpochReport {
        let n_rows = self.n_rows.max(1) as f64;
        EpochReport {
            epoch,
            loss: self.loss / n_rows,
            accuracy: self.n_right as f64 / n_rows,
            learning_rate,
        }
    }
}

impl<'a> Lesson<'a> {
    /// Asks the teacher, if there is one.
    ///
    /// # Errors
    /// As [`Network::forward`].
    pub(crate) fn new(network: &Network, teacher: Option<&Teacher>, batch: &'a Batch) -> Result<Self> {
        let ask = |t: &Teacher| logits(network, &t.weights, batch).map(|taught| (taught, t.temperature));
        Ok(Self {
            labels: &batch.labels,
            taught: teacher.map(ask).transpose()?,
        })
    }

    /// Marks answers. Returns the gradient of their mean loss with respect to the logits.
    pub(crate) fn mark(&self, answers: &Logits, marks: &mut Marks) -> Vec<f32> {
        let scores = answers.losses(self.labels);
        let n_rows = scores.losses.len();
        let weight = 1.0 / n_rows.max(1) as f32;
        let (loss, gradient) = match &self.taught {
            Some((taught, temperature)) => (
                taught
                    .divergences(answers, self.labels)
                    .into_iter()
                    .map(f64::from)
                    .sum(),
                answers.gradient_towards(taught, self.labels, weight, *temperature),
            ),
            None => (scores.sum(), answers.gradient(self.labels, weight, 1.0)),
        };
        marks.loss += loss;
        marks.n_right += scores.correct.iter().filter(|&&c| c).count();
        marks.n_rows += n_rows;
        gradient
    }
}
