//! What a network is to answer: the examples' labels, or what a teacher says.

use super::EpochReport;
use super::features::{Compare, Features};
use crate::examples::Batch;
use crate::gradient::to_logits;
use crate::graph::{Mode, Network, Observer, Unobserved, Weights};
use crate::loss::Logits;
use crate::{Parameters, Result};
use burn::tensor::Device;
use serde::{Deserialize, Serialize};

/// A network whose answers are the labels (distillation: Hinton, Vinyals, Dean, 2015).
pub struct Teacher {
    weights: Weights,
    how: Distillation,
}

/// How a teacher's answers are learned.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Distillation {
    /// Logits of both networks are divided by it.
    pub temperature: f32,
    /// Weight of activations, which are learned as well if it is positive: the loss is greater by half their squared errors over the
    /// squares of the teacher's, on average over all activation functions, times the weight (hints: Romero et al., 2015).
    pub features: f32,
}

impl Distillation {
    /// Answers alone.
    pub fn new(temperature: f32) -> Self {
        Self {
            temperature,
            features: 0.0,
        }
    }
}

impl Teacher {
    /// The network with these parameters.
    pub fn new(parameters: &Parameters, how: Distillation, device: &Device) -> Self {
        Self {
            weights: Weights::new(parameters, device, false),
            how,
        }
    }

    /// How it is learned from.
    pub fn how(&self) -> Distillation {
        self.how
    }

    /// Whether activations are learned.
    pub(crate) fn shows_features(&self) -> bool {
        self.how.features > 0.0
    }
}

/// The wanted answers to one batch.
pub(crate) struct Lesson<'a> {
    labels: &'a [u32],
    taught: Option<Taught<'a>>,
}

/// What a teacher says to a batch.
struct Taught<'a> {
    teacher: &'a Teacher,
    answers: Logits,
    features: Option<Features>,
}

impl<'a> Taught<'a> {
    fn new(network: &Network, teacher: &'a Teacher, batch: &Batch) -> Result<Self> {
        let weights = &teacher.weights;
        let mut features = teacher.shows_features().then(Features::default);
        let input = batch.to_device(weights.device());
        let observer: &mut dyn Observer = match &mut features {
            Some(features) => features,
            None => &mut Unobserved,
        };
        let output = network.forward(weights, input, Mode::Evaluate, observer)?;
        Ok(Self {
            teacher,
            answers: to_logits(output)?,
            features,
        })
    }
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
    pub(crate) fn new(network: &Network, teacher: Option<&'a Teacher>, batch: &'a Batch) -> Result<Self> {
        let ask = |teacher| Taught::new(network, teacher, batch);
        Ok(Self {
            labels: &batch.labels,
            taught: teacher.map(ask).transpose()?,
        })
    }

    /// What sees a network run that learns this, besides another observer.
    pub(crate) fn watch<'o>(&'o self, observer: &'o mut dyn Observer) -> Compare<'o> {
        let taught = self.taught.as_ref();
        let wanted = taught.and_then(|t| Some((t.features.as_ref()?, t.teacher.how.features)));
        Compare::new(wanted, observer)
    }

    /// Marks answers. Returns the gradient of their mean loss with respect to the logits.
    pub(crate) fn mark(&self, answers: &Logits, marks: &mut Marks) -> Vec<f32> {
        let scores = answers.losses(self.labels);
        let n_rows = scores.losses.len();
        let weight = 1.0 / n_rows.max(1) as f32;
        let (loss, gradient) = match &self.taught {
            Some(taught) => (
                taught
                    .answers
                    .divergences(answers, self.labels)
                    .into_iter()
                    .map(f64::from)
                    .sum(),
                answers.gradient_towards(
                    &taught.answers,
                    self.labels,
                    weight,
                    taught.teacher.how.temperature,
                ),
            ),
            None => (scores.sum(), answers.gradient(self.labels, weight, 1.0)),
        };
        marks.loss += loss;
        marks.n_right += scores.correct.iter().filter(|&&c| c).count();
        marks.n_rows += n_rows;
        gradient
    }
}
