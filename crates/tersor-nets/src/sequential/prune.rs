//! Pruning layer by layer, in view of data and without training.

use super::problem::{layer_at, with_problem};
use super::{SequentialOptions, layer_weights};
use crate::examples::Batch;
use crate::graph::Network;
use crate::lockstep::{Sides, Visit, lockstep};
use crate::prune::{Scope, count};
use crate::slope::SizeSearch;
use crate::{Error, Parameters, Result};
use burn::tensor::Device;
use tersor::Progress;

/// How the price is searched for.
const SEARCH: SizeSearch = SizeSearch {
    max_files: 8,
    close: 0.99,
    gain: 2.2,
    reach: (12.0, 12.0),
    limit: 1.0,
};

/// Most times that each layer chooses anew which of its weights remain.
const PASSES: usize = 10;

/// Prunes each convolution and linear layer at one price.
struct Prune<'a> {
    network: &'a Network,
    original: &'a Parameters,
    price: f64,
    options: &'a SequentialOptions,
    is_layer: &'a [bool],
    progress: &'a dyn Progress,
}

impl Visit for Prune<'_> {
    fn before(&mut self, index: usize, inputs: &[Sides<'_>], changed: &mut Parameters) -> Result<()> {
        let Some((node, parameter, inputs)) = layer_at(self.network, self.is_layer, index, inputs) else {
            return Ok(());
        };
        let weights = self.original.values(parameter);
        let pruned = with_problem(node, (weights, 1.0), inputs, self.options, |problem| {
            problem
                .prune(self.price)
                .map_err(|e| Error::Input(format!("layer {:?}: {e}", node.name)))
        })?;
        changed.values_mut(parameter).copy_from_slice(&pruned);
        Ok(())
    }

    fn after(&mut self, _: usize, _: &Sides<'_>, _: &mut Parameters) -> Result<bool> {
        self.progress.advance(1);
        Ok(false)
    }
}

/// Half the square of the smallest weight that would remain by magnitude.
fn first_price(network: &Network, original: &Parameters, is_layer: &[bool], keep: usize) -> f64 {
    let layers = (0..network.parameters.len()).filter(|&i| is_layer.get(i) == Some(&true));
    let mut magnitudes: Vec<f32> = layers.flat_map(|i| original.values(i)).map(|w| w.abs()).collect();
    let at = keep.min(magnitudes.len().saturating_sub(1));
    if magnitudes.is_empty() {
        return 1.0;
    }
    let (_, &mut least, _) = magnitudes.select_nth_unstable_by(at, |a, b| b.total_cmp(a));
    (0.5 * f64::from(least) * f64::from(least)).max(1e-12)
}

/// Prunes a network to at most `keep` parameters in scope, and 99 % of that if few passes find them: weights of convolutions
/// and linear layers go at one price, layer after layer in view of `batches`, and those that stay make good what is lost
/// ([`tersor::feedback::Problem::prune`]). Biases remain. A network that has no more is given back as it is.
///
/// # Errors
/// [`Error::Input`] with the layer for activations that are not finite, and if no price is found; as [`Network::apply`].
pub fn prune(
    network: &Network,
    original: &Parameters,
    (keep, scope): (usize, Scope),
    batches: &[Batch],
    device: &Device,
    progress: &dyn Progress,
) -> Result<Parameters> {
    let alive = |parameters: &Parameters| count(parameters, scope).0;
    if alive(original) <= keep {
        return Ok(original.clone());
    }
    let is_layer = layer_weights(network);
    let mut options = SequentialOptions::default();
    options.feedback.passes = PASSES;
    let start = first_price(network, original, &is_layer, keep);
    let found = SEARCH.run(start, |price| {
        progress.start("prune", network.nodes.len() as u64 - 1);
        let mut changed = original.clone();
        let mut visitor = Prune {
            network,
            original,
            price,
            options: &options,
            is_layer: &is_layer,
            progress,
        };
        lockstep(network, original, &mut changed, batches, device, &mut visitor)?;
        progress.finish();
        let n = alive(&changed);
        progress.note(&format!("{n} of {keep} remain at a price of {price:.2e}"));
        Ok((n as f64 / keep as f64, changed))
    })?;
    found.map(|(_, pruned)| pruned).ok_or_else(|| {
        Error::Input(format!(
            "pruning layer by layer did not come to {keep} parameters; ask for more of them, or let them go in training"
        ))
    })
}
