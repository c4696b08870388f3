//! All estimates of a diagonal behind one interface.

use super::{
    AdamOptions, Diagonal, FisherOptions, HutchinsonOptions, Labels, Recorded, adam_moments, fisher,
    hutchinson, second_order,
};
use crate::examples::Examples;
use crate::graph::Network;
use crate::{Parameters, Result};
use burn::tensor::Device;
use tersor::Progress;

/// Decay of Adam's second moments.
const BETA2: f32 = 0.999;

/// How a diagonal is estimated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Estimator {
    /// [`fisher`] with labels drawn from the softmax of the logits over a temperature.
    Fisher {
        /// 1: the network as it is.
        temperature: f32,
    },
    /// [`fisher`] with the data's labels.
    EmpiricalFisher,
    /// [`second_order`]: second-order back-propagation.
    Hessian,
    /// [`hutchinson`] with so many random vectors per batch.
    Hutchinson {
        /// At least 1.
        probes: usize,
    },
    /// [`adam_moments`]: v of Adam.
    Adam,
    /// Its root.
    SqrtAdam,
}

impl Estimator {
    /// The name that is recorded in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fisher { .. } => "fisher",
            Self::EmpiricalFisher => "empirical-fisher",
            Self::Hessian => "hessian",
            Self::Hutchinson { .. } => "hutchinson",
            Self::Adam => "adam",
            Self::SqrtAdam => "sqrt-adam",
        }
    }

    /// Examples per pass, unless stated: few where the batch's mean gradient is squared.
    pub const fn batch(self) -> usize {
        match self {
            Self::Hessian | Self::Hutchinson { .. } => 50,
            _ => 5,
        }
    }
}

/// What an estimate is made with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// How.
    pub estimator: Estimator,
    /// Examples used, in random order; all if there are fewer.
    pub samples: usize,
    /// Examples per pass.
    pub batch: usize,
    /// Whether examples are augmented, where an estimator can.
    pub augment: bool,
    /// Of order, labels, vectors and augmentation.
    pub seed: u64,
}

impl Estimate {
    /// An estimate on so many examples, as they are, with seed 0.
    pub const fn new(estimator: Estimator, samples: usize) -> Self {
        Self {
            estimator,
            samples,
            batch: estimator.batch(),
            augment: false,
            seed: 0,
        }
    }

    /// What to record with it, of a set of so many examples.
    pub fn recorded(&self, n_examples: usize) -> Recorded {
        let mut settings = vec![
            ("batch".to_owned(), self.batch.to_string()),
            ("seed".to_owned(), self.seed.to_string()),
        ];
        match self.estimator {
            Estimator::Fisher { temperature } => {
                settings.push(("temperature".into(), temperature.to_string()));
            }
            Estimator::Hutchinson { probes } => settings.push(("probes".into(), probes.to_string())),
            Estimator::Adam | Estimator::SqrtAdam => settings.push(("beta2".into(), BETA2.to_string())),
            Estimator::EmpiricalFisher | Estimator::Hessian => {}
        }
        Recorded {
            estimator: self.estimator.name().into(),
            samples: self.samples.min(n_examples),
            settings,
            ..Recorded::default()
        }
    }

    /// Measures the diagonal, in nats per squared weight unit ([`Estimator::SqrtAdam`]: its root).
    ///
    /// # Errors
    /// As the estimators.
    pub fn measure(
        &self,
        network: &Network,
        parameters: &Parameters,
        examples: &dyn Examples,
        device: &Device,
        progress: &dyn Progress,
    ) -> Result<Diagonal> {
        let Self {
            estimator,
            samples,
            batch,
            augment,
            seed,
        } = *self;
        let of_fisher = |temperature, labels| {
            let options = FisherOptions {
                samples,
                batch,
                temperature,
                labels,
                augment,
                seed,
            };
            fisher(network, parameters, examples, device, &options, progress)
        };
        match estimator {
            Estimator::Fisher { temperature } => of_fisher(temperature, Labels::Sampled),
            Estimator::EmpiricalFisher => of_fisher(1.0, Labels::Data),
            Estimator::Hessian => {
                let samples = (samples, batch, seed);
                second_order(network, parameters, examples, device, samples, progress)
            }
            Estimator::Hutchinson { probes } => {
                let options = HutchinsonOptions {
                    samples,
                    batch,
                    probes,
                    seed,
                    ..HutchinsonOptions::default()
                };
                hutchinson(network, parameters, examples, device, &options, progress)
            }
            Estimator::Adam | Estimator::SqrtAdam => {
                let options = AdamOptions {
                    samples,
                    batch,
                    beta2: BETA2,
                    seed,
                };
                let mut v = adam_moments(network, parameters, examples, device, &options, progress)?;
                if estimator == Estimator::SqrtAdam {
                    v.iter_mut().flatten().for_each(|v| *v = v.sqrt());
                }
                Ok(v)
            }
        }
    }
}
