//! The Fisher diagonal from mini-batches.

use super::{Accumulator, Diagonal, sampled};
use crate::examples::Examples;
use crate::gradient::backward;
use crate::graph::{Mode, Network, Unobserved, Weights};
use crate::{Parameters, Result};
use burn::tensor::Device;
use tersor::Progress;
use tersor_data::{Key, Random};

/// Where labels come from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Labels {
    /// Drawn from the network's softmax: the Fisher matrix, which for softmax and cross-entropy is the generalised
    /// Gauss-Newton matrix.
    Sampled,
    /// The data's: the empirical Fisher matrix.
    Data,
}

/// How to estimate a Fisher diagonal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FisherOptions {
    /// Examples used, in random order; all if there are fewer.
    pub samples: usize,
    /// Examples per backward pass.
    pub batch: usize,
    /// Divides logits before the softmax, which keeps a network that is sure of itself from having no gradient.
    pub temperature: f32,
    /// Where labels come from.
    pub labels: Labels,
    /// Whether examples are augmented.
    pub augment: bool,
    /// Of order, labels and augmentation.
    pub seed: u64,
}

impl Default for FisherOptions {
    fn default() -> Self {
        Self {
            samples: 1000,
            batch: 5,
            temperature: 1.0,
            labels: Labels::Sampled,
            augment: false,
            seed: 0,
        }
    }
}

/// The Fisher diagonal: batch size x squared mean gradient of a mini-batch, averaged.
///
/// With labels drawn from the network, gradients of different rows are independent with mean zero, so the cross terms of
/// the square vanish in expectation and the estimate is unbiased for any batch size. With the data's labels it is not:
/// what it estimates then is the empirical Fisher plus (batch - 1) x squared mean gradient.
///
/// # Errors
/// As [`Network::forward`].
pub fn fisher(
    network: &Network,
    parameters: &Parameters,
    examples: &dyn Examples,
    device: &Device,
    options: &FisherOptions,
    progress: &dyn Progress,
) -> Result<Diagonal> {
    let weights = Weights::new(parameters, device, true);
    let mut random = Random::keyed(&[options.seed, 0x6669_7368_6572]);
    let mut sums = Accumulator::new();
    let n = options.samples.min(examples.len());
    progress.start("Fisher diagonal", n as u64);
    for indices in sampled(examples.len(), n, options.batch, options.seed) {
        let key = options.augment.then_some(Key {
            seed: options.seed,
            epoch: 0,
        });
        let batch = examples.batch(&indices, key)?;
        let mut rows = 0;
        let gradients = backward(
            network,
            &weights,
            &batch,
            Mode::Evaluate,
            &mut Unobserved,
            |logits| {
                let labels = match options.labels {
                    Labels::Sampled => logits.sample(&batch.labels, options.temperature, &mut random),
                    Labels::Data => batch.labels.clone(),
                };
                rows = labels
                    .iter()
                    .filter(|&&l| l != crate::examples::UNLABELLED)
                    .count();
                Ok(logits.gradient(&labels, 1.0 / rows.max(1) as f32, options.temperature))
            },
        )?;
        // Rows are what the loss averages over: images, or tokens.
        sums.add(&gradients, rows as f64, |g| rows as f64 * g * g);
        progress.advance(indices.len() as u64);
    }
    progress.finish();
    Ok(sums.mean())
}
