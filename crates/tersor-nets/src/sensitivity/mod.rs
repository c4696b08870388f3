//! How much the loss grows per squared unit of error in each parameter: diagonals of Hessian and Fisher matrices, and
//! second moments of layers' inputs and output gradients.
//!
//! Every estimate is of the *average* loss over examples (paper, equation 9), in nats per squared weight unit.

mod adam;
mod along;
mod estimator;
mod file;
mod fisher;
mod gram;
mod hutchinson;
mod second_order;

pub use adam::{AdamOptions, adam_moments};
pub use along::{Along, along};
pub use estimator::{Estimate, Estimator};
pub use file::{read_sensitivities, write_sensitivities};
pub use fisher::{FisherOptions, Labels, fisher};
pub use gram::{GramOptions, LayerMoments, MAX_GRAM, moments};
pub(crate) use gram::{add_products, filled, input_rows, select};
pub use hutchinson::{HutchinsonOptions, hessian_product, hutchinson};
pub use second_order::second_order;
pub use tersor::Recorded;

use crate::Parameters;
use tersor_data::Batches;

/// One value for each element of each parameter, in the order of the network's; empty for those that do not train.
pub type Diagonal = Vec<Vec<f32>>;

/// Mini-batches of indices of at most `samples` of `n` examples, in random order.
fn sampled(n: usize, samples: usize, batch: usize, seed: u64) -> impl Iterator<Item = Vec<usize>> {
    let mut left = samples.min(n);
    Batches::shuffled(n, batch, seed, 0).map_while(move |mut indices| {
        indices.truncate(left);
        left -= indices.len();
        (!indices.is_empty()).then_some(indices)
    })
}

/// Mean, 0 of none.
pub(crate) fn mean(values: &[f32]) -> f64 {
    values.iter().map(|&v| f64::from(v)).sum::<f64>() / values.len().max(1) as f64
}

/// Root of the mean square, 0 of none.
pub(crate) fn root_mean_square<'a>(values: impl Iterator<Item = &'a f32>) -> f64 {
    let (sum, n) = values.fold((0.0, 0usize), |(sum, n), &v| {
        (sum + f64::from(v) * f64::from(v), n + 1)
    });
    (sum / n.max(1) as f64).sqrt()
}

/// Values of all trained parameters.
pub(crate) fn trained(parameters: &Parameters) -> impl Iterator<Item = &f32> {
    let trained = parameters.iter().filter(|(s, _)| s.role.is_trainable());
    trained.flat_map(|(_, values)| values)
}

/// Sums in f64, since thousands of batches of very different size add up.
pub(crate) struct Accumulator {
    sums: Vec<Vec<f64>>,
    weight: f64,
}

impl Accumulator {
    pub(crate) fn new() -> Self {
        Self {
            sums: Vec::new(),
            weight: 0.0,
        }
    }

    /// Adds `f` of every element, of a share `weight` of all examples.
    pub(crate) fn add(&mut self, values: &[Vec<f32>], weight: f64, f: impl Fn(f64) -> f64) {
        self.sums.resize_with(values.len(), Vec::new);
        self.weight += weight;
        for (sums, values) in self.sums.iter_mut().zip(values) {
            sums.resize(values.len(), 0.0);
            for (sum, &value) in sums.iter_mut().zip(values) {
                *sum += weight * f(f64::from(value));
            }
        }
    }

    /// The weighted mean.
    pub(crate) fn mean(self) -> Diagonal {
        let weight = if self.weight > 0.0 { self.weight } else { 1.0 };
        let mean = |sums: Vec<f64>| sums.into_iter().map(|s| (s / weight) as f32).collect();
        self.sums.into_iter().map(mean).collect()
    }
}
