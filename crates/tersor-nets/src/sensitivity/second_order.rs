//! The Hessian diagonal by second-order back-propagation (Becker and Le Cun, 1988; Le Cun, 1987): the paper's estimate.
//!
//! One pass carries d2 = d^2 L / dy^2, the second derivative of an example's loss with respect to each element of each
//! node's output, from the logits back to the parameters, and neglects every mixed derivative on its way. Through
//! y = a x + b the chain rule gives d2x = a^2 d2y, so each linear layer sends d2 back through its squared weights and
//! meets squared inputs at its parameters. At the logits d2 = p (1 - p).
//!
//! A rectifier's own curvature is zero wherever it exists, so all terms are products of squares: no value is negative and
//! none has to be clipped. On the last layer's bias and weight, whose neglected terms lie off the diagonal, the result is
//! exact; elsewhere it leaves out how elements of a node act together.

mod rules;

use super::{Accumulator, Diagonal, sampled};
use crate::examples::{Batch, Examples, UNLABELLED};
use crate::gradient::to_logits;
use crate::graph::{Mode, Network, Node, Observer, Value, Weights};
use crate::loss::{Logits, softmax};
use crate::{Error, Parameters, Result};
use burn::tensor::{Device, Tensor, TensorData};
use tersor::Progress;

/// Keeps the output of every node.
struct Recorder(Vec<Option<Value>>);

impl Observer for Recorder {
    fn node(&mut self, index: usize, _: &Node, inputs: &[&Value], output: Value) -> Result<Value> {
        if let (1, [input], Some(first)) = (index, inputs, self.0.first_mut()) {
            *first = Some((*input).clone());
        }
        if let Some(slot) = self.0.get_mut(index) {
            *slot = Some(output.clone());
        }
        Ok(output)
    }
}

/// p (1 - p) for every logit of every labelled row, times `weight`.
fn at_logits(logits: &Logits, labels: &[u32], weight: f32) -> Vec<f32> {
    let mut p = Vec::new();
    let mut out = Vec::with_capacity(logits.values.len());
    for (row, &label) in logits.rows().zip(labels) {
        let own = if label == UNLABELLED { 0.0 } else { weight };
        softmax(row, 1.0, &mut p);
        out.extend(p.iter().map(|p| own * p * (1.0 - p)));
    }
    out
}

/// The diagonal of one batch's mean loss.
fn of_batch(network: &Network, weights: &Weights, batch: &Batch) -> Result<Vec<Vec<f32>>> {
    let mut recorder = Recorder(vec![None; network.nodes.len()]);
    let input = batch.to_device(weights.device());
    let output = network.forward(weights, input, Mode::Evaluate, &mut recorder)?;
    let values = recorder.0;
    let logits = to_logits(output)?;
    let rows = batch.n_labelled();
    let start = at_logits(&logits, &batch.labels, 1.0 / rows.max(1) as f32);
    let shape = [logits.values.len() / logits.classes.max(1), logits.classes];
    let start = Tensor::<2>::from_data(TensorData::new(start, shape), weights.device());

    let mut curvatures: Vec<Option<Value>> = vec![None; network.nodes.len()];
    if let Some(last) = curvatures.last_mut() {
        *last = Some(Value::Vectors(start));
    }
    let mut diagonal: Vec<Vec<f32>> = vec![Vec::new(); network.parameters.len()];
    for (index, node) in network.nodes.iter().enumerate().skip(1).rev() {
        let Some(curvature) = curvatures.get_mut(index).and_then(Option::take) else {
            continue;
        };
        let inputs: Vec<&Value> = node
            .inputs
            .iter()
            .filter_map(|&i| values.get(i).and_then(Option::as_ref))
            .collect();
        let rule = rules::Rule {
            network,
            node,
            weights,
            inputs: &inputs,
            // The first layer's inputs need no curvature.
            wants_input: node.inputs.iter().any(|&i| i != 0),
        };
        let back = rule.apply(curvature)?;
        for (&parameter, values) in node.parameters.iter().zip(back.parameters) {
            if let Some(slot) = diagonal.get_mut(parameter) {
                if slot.is_empty() {
                    *slot = values;
                } else {
                    slot.iter_mut().zip(values).for_each(|(a, b)| *a += b);
                }
            }
        }
        for (&input, value) in node.inputs.iter().zip(back.inputs) {
            if let Some(slot) = curvatures.get_mut(input) {
                *slot = Some(match slot.take() {
                    None => value,
                    Some(other) => rules::sum(other, value)?,
                });
            }
        }
    }
    Ok(diagonal)
}

/// The Hessian diagonal of `samples` examples' mean loss, `batch` at a time.
///
/// # Errors
/// [`Error::Unsupported`] by name for layers without a rule: attention, whose softmax mixes what a diagonal keeps apart,
/// and the other layers of language models.
pub fn second_order(
    network: &Network,
    parameters: &Parameters,
    examples: &dyn Examples,
    device: &Device,
    (samples, batch_size, seed): (usize, usize, u64),
    progress: &dyn Progress,
) -> Result<Diagonal> {
    if let Some(node) = network.nodes.iter().find(|n| !rules::has_rule(&n.op)) {
        return Err(Error::Unsupported {
            method: "second-order back-propagation",
            kind: node.op.kind(),
            layer: node.name.clone(),
            remedy: "the Fisher diagonal",
        });
    }
    let weights = Weights::new(parameters, device, false);
    let mut sums = Accumulator::new();
    let n = samples.min(examples.len());
    progress.start("Hessian diagonal", n as u64);
    for indices in sampled(examples.len(), n, batch_size, seed) {
        let batch = examples.batch(&indices, None)?;
        sums.add(&of_batch(network, &weights, &batch)?, indices.len() as f64, |h| h);
        progress.advance(indices.len() as u64);
    }
    progress.finish();
    Ok(sums.mean())
}
