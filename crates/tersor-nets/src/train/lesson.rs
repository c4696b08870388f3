//! What a network is to answer: the examples' labels, or what a teacher says.

use crate::Parameters;
use crate::Result;
use crate::examples::Batch;
use crate::gradient::logits;
use crate::graph::{Network, Weights};
use crate::loss::Logits;
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

/// How a network did in a lesson.
pub(crate) struct Marks {
    /// Sum over rows, nats: cross-entropy with the labels, or the divergence from the teacher's answers, not softened.
    pub(crate) loss: f64,
    /// Rows with the label on top.
    pub(crate) n_right: usize,
    /// Rows that have a label.
    pub(crate) n_rows: usize,
    /// Of the mean loss over rows, with respect to the logits.
    pub(crate) gradient: Vec<f32>,
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

    /// Marks answers.
    pub(crate) fn mark(&self, answers: &Logits) -> Marks {
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
        Marks {
            loss,
            n_right: scores.correct.iter().filter(|&&c| c).count(),
            n_rows,
            gradient,
        }
    }
}
