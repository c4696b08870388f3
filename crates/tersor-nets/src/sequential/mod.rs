//! Compression layer by layer, in view of data: the original and the network being quantized run side by side on
//! calibration examples, which need no labels.
//!
//! At each convolution and linear layer the moments of what reaches it in both networks are gathered. Its weights are
//! quantized with error feedback towards targets that make the best of inputs which earlier layers have changed
//! ([`tersor::feedback`]), at the prices of the coder. Batch-norm layers and biases behind it are repaired
//! ([`shared::repair`](crate::shared::repair)) before the next layer sees them. What is left, vectors and embeddings, is
//! quantized as without data.
//!
//! # Source
//! Sequential order: Frantar, Ashkboos, Hoefler, Alistarh, "GPTQ", 2023. Targets: least squares on the inputs of the
//! quantized network, as in Hubara, Nahshan, Hanani, Banner, Soudry, "Accurate post training quantization with small
//! calibration sets", 2021, in closed form.

mod layers;
mod moments;
mod problem;
mod prune;
mod target;

pub use prune::prune;
pub(crate) use target::{CLOSE, Passes};
pub use target::{SequentialTarget, compress};

use crate::examples::Batch;
use crate::graph::{Network, Op, Role};
use crate::lockstep::lockstep;
use crate::shared::{Match, RepairReport};
use crate::{Parameters, Result};
use burn::tensor::Device;
use serde::Serialize;
use tersor::codec::{Coder, ContextPrices};
use tersor::feedback::{FeedbackConfig, LayerSymbols};
use tersor::{Progress, RowScales};

/// Which inputs of a layer its errors are fed back through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Inputs {
    /// Those that the original's layer has.
    Original,
    /// What reaches the layer that is quantized.
    Quantized,
    /// What reaches it, and targets are corrected: with which weights the layer does best what the original does with its own inputs.
    #[default]
    Corrected,
}

/// Settings of all passes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SequentialOptions {
    /// The coder of the file, whose prices are used.
    pub coder: Coder,
    /// Damping and passes.
    pub feedback: FeedbackConfig,
    /// Inputs of layers. Default: [`Inputs::Corrected`].
    pub inputs: Inputs,
    /// Rows of inputs, per input of a layer, that moments are taken of; all if there are fewer.
    pub rows_per_input: usize,
    /// How batch-norm and biases are repaired, if they are.
    pub repair: Option<Match>,
}

impl Default for SequentialOptions {
    fn default() -> Self {
        Self {
            coder: Coder::Context,
            feedback: FeedbackConfig {
                damping: 0.03,
                ..FeedbackConfig::default()
            },
            inputs: Inputs::default(),
            rows_per_input: 1000,
            repair: None,
        }
    }
}

/// What became of one layer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LayerReport {
    /// Its weight.
    pub name: String,
    /// Weights.
    pub n_weights: usize,
    /// Distance of levels.
    pub step: f64,
    /// Levels of its grid.
    pub n_levels: usize,
    /// Predicted loss, against corrected targets.
    pub loss: f64,
}

/// Layers that are quantized, in the order of execution.
#[derive(Clone, Debug)]
pub struct Quantized {
    /// Names and symbols.
    pub symbols: Vec<(String, LayerSymbols)>,
    /// What became of them.
    pub layers: Vec<LayerReport>,
    /// What the coder has learned from them.
    prices: Option<ContextPrices>,
}

impl Quantized {
    /// None yet, in a file of a coder.
    pub fn nothing(coder: Coder) -> Self {
        Self {
            symbols: Vec::new(),
            layers: Vec::new(),
            prices: (coder == Coder::Context).then(ContextPrices::new),
        }
    }
}

/// A network quantized layer by layer.
#[derive(Clone, Debug)]
pub struct Sequential {
    /// The parameters: weights of quantized layers as they were, the others repaired.
    pub parameters: Parameters,
    /// All layers.
    pub quantized: Quantized,
    /// Those of the first [`Pass::stop`].
    pub first: Quantized,
    /// What was repaired.
    pub repair: RepairReport,
}

/// Which parameters are the weights of convolutions or linear layers and of nothing else.
pub(crate) fn layer_weights(network: &Network) -> Vec<bool> {
    let mut uses = vec![0; network.parameters.len()];
    let mut is_layer = vec![false; network.parameters.len()];
    for node in &network.nodes {
        for (at, &parameter) in node.parameters.iter().enumerate() {
            if let (Some(uses), Some(is_layer)) = (uses.get_mut(parameter), is_layer.get_mut(parameter)) {
                *uses += 1;
                *is_layer = at == 0 && matches!(node.op, Op::Conv(_) | Op::Linear(_)) && *uses == 1;
            }
        }
    }
    is_layer
}

/// What a pass is given.
#[derive(Clone, Copy, Debug)]
pub struct Pass<'a> {
    /// Loss per bit.
    pub slope: f64,
    /// The network to be like.
    pub original: &'a Parameters,
    /// The network being quantized before any layer is: the original, or with embeddings as the file will have them.
    pub changed: &'a Parameters,
    /// Of each parameter's elements on average, in loss per squared weight, rows over their scales; 1 for parameters beyond the last.
    pub sensitivities: &'a [f64],
    /// Of each parameter's rows, if they have some.
    pub scales: &'a [Option<&'a RowScales>],
    /// Layers that are on their levels already, in both networks.
    pub begun: &'a Quantized,
    /// How many layers [`Sequential::first`] has.
    pub stop: usize,
}

/// Quantizes a network in one pass over it.
///
/// # Errors
/// [`Error::Input`](crate::Error::Input) with the layer for activations that are not finite; as [`Network::apply`].
pub fn quantize(
    network: &Network,
    pass: Pass<'_>,
    batches: &[Batch],
    device: &Device,
    options: &SequentialOptions,
    progress: &dyn Progress,
) -> Result<Sequential> {
    let mut is_layer = layer_weights(network);
    for (is_layer, spec) in is_layer.iter_mut().zip(&network.parameters) {
        *is_layer &= pass.begun.symbols.iter().all(|(name, _)| *name != spec.name);
    }
    let original = pass.original;
    let mut changed = pass.changed.clone();
    let mut visitor = layers::Quantize {
        network,
        pass,
        options,
        is_layer: &is_layer,
        quantized: pass.begun.clone(),
        first: pass.begun.clone(),
        repair: RepairReport::default(),
        progress,
    };
    lockstep(network, original, &mut changed, batches, device, &mut visitor)?;
    let layers::Quantize {
        quantized,
        first,
        repair,
        ..
    } = visitor;
    let mut parameters = original.clone();
    for (index, spec) in network.parameters.iter().enumerate() {
        let is_vector = !matches!(spec.role, Role::Weight | Role::Embedding);
        if is_vector {
            parameters
                .values_mut(index)
                .copy_from_slice(changed.values(index));
        }
    }
    Ok(Sequential {
        parameters,
        quantized,
        first,
        repair,
    })
}
