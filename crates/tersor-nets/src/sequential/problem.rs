//! A layer made ready: moments of what reaches it in both networks, and its weights.

use super::SequentialOptions;
use super::moments::PairMoments;
use crate::graph::{Network, Node};
use crate::lockstep::Sides;
use crate::{Error, Result};
use tersor::feedback::{Gram, Layer, Problem};

/// The node at an index, its weight and what reaches it, if it is a layer whose weight is worked on.
pub(super) fn layer_at<'a>(
    network: &'a Network,
    is_layer: &[bool],
    index: usize,
    inputs: &'a [Sides<'a>],
) -> Option<(&'a Node, usize, &'a Sides<'a>)> {
    let node = network.nodes.get(index)?;
    let &parameter = node.parameters.first()?;
    let is_worked_on = is_layer.get(parameter) == Some(&true);
    Some((node, parameter, inputs.first()?)).filter(|_| is_worked_on)
}

/// Gathers the moments of a layer's inputs and hands on its problem: weights row by row, of a mean sensitivity in loss per
/// squared weight.
pub(super) fn with_problem<T>(
    node: &Node,
    (weights, sensitivity): (&[f32], f64),
    inputs: &Sides<'_>,
    options: &SequentialOptions,
    then: impl FnOnce(Problem<'_>) -> Result<T>,
) -> Result<T> {
    let moments = PairMoments::new(&node.op, inputs, (options.inputs, options.rows_per_input))?;
    let wrap = |error: &dyn std::fmt::Display| Error::Input(format!("layer {:?}: {error}", node.name));
    let gram = Gram::new(&moments.gram, moments.n_in, moments.block).map_err(|e| wrap(&e))?;
    let layer = Layer {
        cross: moments.cross.as_deref(),
        sensitivity,
        ..Layer::new(weights, gram)
    };
    then(Problem::new(&layer, &options.feedback).map_err(|e| wrap(&e))?)
}
