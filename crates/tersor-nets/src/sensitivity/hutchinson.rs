//! Products of the Hessian with vectors by differences of gradients, and its diagonal from them.

use super::{Accumulator, Diagonal, root_mean_square, sampled, trained};
use crate::examples::{Batch, Examples};
use crate::gradient::{Gradients, mean_loss_gradients};
use crate::graph::{Network, Weights};
use crate::{Parameters, Result};
use burn::tensor::Device;
use tersor::Progress;
use tersor_data::Random;

/// How to estimate a Hessian diagonal from products with random vectors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HutchinsonOptions {
    /// Examples used, in random order; all if there are fewer.
    pub samples: usize,
    /// Examples per pass.
    pub batch: usize,
    /// Random vectors per batch.
    pub probes: usize,
    /// Length of the step along a vector of signs, relative to the root mean square of all trained parameters.
    ///
    /// The difference of gradients has a relative error of the order of step^2 from the fourth derivative and of
    /// 2^-24 / step from rounding: 1e-3 keeps both near 1e-4. Where a rectifier switches within the step, the product
    /// also holds a share of its kink.
    pub step: f32,
    /// Of order and vectors.
    pub seed: u64,
}

impl Default for HutchinsonOptions {
    fn default() -> Self {
        Self {
            samples: 1000,
            batch: 100,
            probes: 4,
            step: 1e-3,
            seed: 0,
        }
    }
}

/// The Hessian of a batch's mean loss times a vector, by the central difference of gradients
/// (g(w + t v) - g(w - t v)) / 2 t with t = `step`, an absolute length.
///
/// # Errors
/// As [`Network::forward`].
pub fn hessian_product(
    network: &Network,
    parameters: &Parameters,
    batch: &Batch,
    device: &Device,
    vector: &[Vec<f32>],
    step: f32,
) -> Result<Vec<Vec<f32>>> {
    let beside = |by: f32| gradients_beside(network, parameters, batch, device, vector, by);
    let (above, below) = (beside(step)?, beside(-step)?);
    let difference =
        |(a, b): (Vec<f32>, Vec<f32>)| a.iter().zip(&b).map(|(a, b)| (a - b) / (2.0 * step)).collect();
    Ok(above.into_iter().zip(below).map(difference).collect())
}

/// Gradients of a batch's mean loss at parameters moved by so many times a vector.
pub(super) fn gradients_beside(
    network: &Network,
    parameters: &Parameters,
    batch: &Batch,
    device: &Device,
    vector: &[Vec<f32>],
    by: f32,
) -> Result<Gradients> {
    let mut moved = parameters.clone();
    for ((_, values), vector) in moved.iter_mut().zip(vector) {
        for (w, v) in values.iter_mut().zip(vector) {
            *w += by * v;
        }
    }
    mean_loss_gradients(network, &Weights::new(&moved, device, true), batch)
}

/// The Hessian diagonal as the mean of v * (H v) over vectors v of random signs (Hutchinson, 1990; Bekas, Kokiopoulou,
/// Saad, 2007). Unbiased; elements may come out negative. The variance of element i is the sum of 2 `H_ij`^2 over j != i,
/// divided by the number of vectors.
///
/// # Errors
/// As [`Network::forward`].
pub fn hutchinson(
    network: &Network,
    parameters: &Parameters,
    examples: &dyn Examples,
    device: &Device,
    options: &HutchinsonOptions,
    progress: &dyn Progress,
) -> Result<Diagonal> {
    let step = options.step * (root_mean_square(trained(parameters)) as f32).max(f32::MIN_POSITIVE);
    let mut random = Random::keyed(&[options.seed, 0x6875_7463_6869]);
    let mut sums = Accumulator::new();
    let n = options.samples.min(examples.len());
    progress.start("Hutchinson diagonal", (n * options.probes) as u64);
    for indices in sampled(examples.len(), n, options.batch, options.seed) {
        let batch = examples.batch(&indices, None)?;
        for _ in 0..options.probes {
            let signs: Vec<Vec<f32>> = parameters
                .iter()
                .map(|(spec, values)| {
                    if !spec.role.is_trainable() {
                        return Vec::new();
                    }
                    let sign = |_| if random.chance(0.5) { 1.0 } else { -1.0 };
                    values.iter().map(sign).collect()
                })
                .collect();
            let mut product = hessian_product(network, parameters, &batch, device, &signs, step)?;
            for (product, signs) in product.iter_mut().zip(&signs) {
                product.iter_mut().zip(signs).for_each(|(p, s)| *p *= s);
            }
            sums.add(&product, indices.len() as f64, |h| h);
            progress.advance(indices.len() as u64);
        }
    }
    progress.finish();
    Ok(sums.mean())
}
