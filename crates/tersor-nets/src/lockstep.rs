//! Two networks of one shape run side by side, node by node over all batches: where one is the original and the other is
//! being changed, each layer can be changed after seeing what reaches it.

use crate::examples::Batch;
use crate::graph::{Mode, Network, Value, Weights};
use crate::{Error, Parameters, Result};
use burn::tensor::Device;

/// Outputs of one node for every batch, of the original and of the changed network.
pub struct Sides<'a> {
    /// The batches, in the order of the values.
    pub batches: &'a [Batch],
    /// The original's.
    pub original: &'a [Value],
    /// The changed network's, from inputs that its changed layers made.
    pub changed: &'a [Value],
}

/// What a pass does at each node.
pub trait Visit {
    /// Before a node runs: may change its parameters in view of both sides' inputs, one [`Sides`] per input.
    fn before(&mut self, node: usize, inputs: &[Sides<'_>], changed: &mut Parameters) -> Result<()> {
        let _ = (node, inputs, changed);
        Ok(())
    }

    /// After a node has run; if it changes the node's parameters it returns true, and the node runs again.
    fn after(&mut self, node: usize, outputs: &Sides<'_>, changed: &mut Parameters) -> Result<bool> {
        let _ = (node, outputs, changed);
        Ok(false)
    }
}

/// Live outputs of one network.
struct Side {
    values: Vec<Vec<Value>>,
    weights: Weights,
}

impl Side {
    fn new(network: &Network, parameters: &Parameters, batches: &[Batch], device: &Device) -> Self {
        let mut values = vec![Vec::new(); network.nodes.len()];
        if let Some(first) = values.first_mut() {
            *first = batches.iter().map(|b| b.to_device(device)).collect();
        }
        Self {
            values,
            weights: Weights::new(parameters, device, false),
        }
    }

    fn run(&mut self, network: &Network, index: usize) -> Result<()> {
        let inputs = network.nodes.get(index).map_or(&[][..], |n| &n.inputs);
        let n = inputs
            .first()
            .and_then(|&i| self.values.get(i))
            .map_or(0, Vec::len);
        let outputs = (0..n).map(|b| {
            let inputs: Vec<&Value> = inputs
                .iter()
                .filter_map(|&i| self.values.get(i)?.get(b))
                .collect();
            Ok(network.apply(index, &self.weights, &inputs, Mode::Evaluate)?.0)
        });
        let outputs: Vec<Value> = outputs.collect::<Result<_>>()?;
        let slot = self.values.get_mut(index);
        *slot.ok_or_else(|| Error::Internal(format!("there is no node {index}")))? = outputs;
        Ok(())
    }

    fn release(&mut self, network: &Network, index: usize, last_uses: &[usize]) {
        for &input in network.nodes.get(index).map_or(&[][..], |n| &n.inputs) {
            if last_uses.get(input) == Some(&index)
                && let Some(values) = self.values.get_mut(input)
            {
                values.clear();
            }
        }
    }

    fn at(&self, index: usize) -> &[Value] {
        self.values.get(index).map_or(&[], Vec::as_slice)
    }
}

/// Runs both networks over all batches. Memory: the live activations of two networks for all examples.
///
/// # Errors
/// What the visitor returns, and as [`Network::apply`].
pub fn lockstep(
    network: &Network,
    original: &Parameters,
    changed: &mut Parameters,
    batches: &[Batch],
    device: &Device,
    visit: &mut dyn Visit,
) -> Result<()> {
    let last_uses = network.last_uses();
    let mut a = Side::new(network, original, batches, device);
    let mut b = Side::new(network, changed, batches, device);
    for (index, node) in network.nodes.iter().enumerate().skip(1) {
        if !node.parameters.is_empty() {
            let inputs: Vec<Sides<'_>> = node
                .inputs
                .iter()
                .map(|&i| Sides {
                    batches,
                    original: a.at(i),
                    changed: b.at(i),
                })
                .collect();
            visit.before(index, &inputs, changed)?;
            b.weights = Weights::new(changed, device, false);
        }
        a.run(network, index)?;
        b.run(network, index)?;
        let outputs = Sides {
            batches,
            original: a.at(index),
            changed: b.at(index),
        };
        if visit.after(index, &outputs, changed)? {
            b.weights = Weights::new(changed, device, false);
            b.run(network, index)?;
        }
        a.release(network, index, &last_uses);
        b.release(network, index, &last_uses);
    }
    Ok(())
}
