//! Adam's second moment of a network that came trained: what its optimizer would hold had it trained on without moving.

use super::Diagonal;
use crate::examples::Examples;
use crate::gradient::mean_loss_gradients;
use crate::graph::{Network, Weights};
use crate::{Parameters, Result};
use burn::tensor::Device;
use tersor::Progress;
use tersor_data::{Batches, Key};

/// How to gather second moments.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamOptions {
    /// Examples used, augmented as the set says; passes are repeated if there are fewer.
    pub samples: usize,
    /// Examples per step.
    pub batch: usize,
    /// Decay of the mean squared gradient.
    pub beta2: f32,
    /// Of order and augmentation.
    pub seed: u64,
}

/// v of Adam at learning rate 0, its bias removed: the decaying mean of squared mean gradients of batches. The paper's
/// alternative to a Hessian is its root.
///
/// Running statistics stand still, as in use.
///
/// # Errors
/// As [`Network::forward`].
pub fn adam_moments(
    network: &Network,
    parameters: &Parameters,
    examples: &dyn Examples,
    device: &Device,
    options: &AdamOptions,
    progress: &dyn Progress,
) -> Result<Diagonal> {
    let weights = Weights::new(parameters, device, true);
    let (batch, n) = (options.batch.max(1), options.samples);
    let mut v: Diagonal = Vec::new();
    let (mut done, mut steps, mut epoch) = (0, 0, 0);
    progress.start("Adam's second moments", n as u64);
    while done < n && !examples.is_empty() {
        let key = Key {
            seed: options.seed,
            epoch,
        };
        for indices in Batches::shuffled(examples.len(), batch, options.seed, epoch) {
            let batch = examples.batch(&indices, Some(key))?;
            let gradients = mean_loss_gradients(network, &weights, &batch)?;
            v.resize_with(gradients.len(), Vec::new);
            for (v, g) in v.iter_mut().zip(&gradients) {
                v.resize(g.len(), 0.0);
                for (v, g) in v.iter_mut().zip(g) {
                    *v = options.beta2 * *v + (1.0 - options.beta2) * g * g;
                }
            }
            steps += 1;
            done += indices.len();
            progress.advance(indices.len() as u64);
            if done >= n {
                break;
            }
        }
        epoch += 1;
    }
    progress.finish();
    let correction = (1.0 - f64::from(options.beta2).powi(steps)) as f32;
    v.iter_mut()
        .flatten()
        .for_each(|v| *v /= correction.max(f32::MIN_POSITIVE));
    Ok(v)
}
