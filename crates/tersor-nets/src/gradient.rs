//! One forward and one backward pass.

use crate::examples::Batch;
use crate::graph::{Mode, Network, Observer, Unobserved, Value, Weights};
use crate::loss::Logits;
use crate::{Error, Result};
use burn::tensor::{Tensor, TensorData};

/// Logits of a value, in main memory.
///
/// # Errors
/// [`Error::Input`] if the network ends in images.
pub fn to_logits(value: Value) -> Result<Logits> {
    let kind = value.kind();
    let rows = value.rows().ok_or_else(|| {
        Error::Input(format!(
            "a network that ends in {kind} has no logits; flatten its output"
        ))
    })?;
    let [_, classes] = rows.dims();
    Ok(Logits {
        values: to_vec(rows)?,
        classes,
    })
}

/// A tensor's elements in main memory.
pub(crate) fn to_vec<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>> {
    let values = tensor.try_into_vec_as::<f32>();
    values.map_err(|e| Error::Internal(format!("reading a tensor: {e:?}")))
}

/// Logits of a batch.
///
/// # Errors
/// As [`Network::forward`].
pub fn logits(network: &Network, weights: &Weights, batch: &Batch) -> Result<Logits> {
    let input = batch.to_device(weights.device());
    let output = network.forward(weights, input, Mode::Evaluate, &mut Unobserved)?;
    to_logits(output)
}

/// Gradients of each parameter, flat, in the order of the network's; empty for those that do not train.
pub type Gradients = Vec<Vec<f32>>;

/// Runs a batch forward, and back from the gradient with respect to the logits that `cotangent` makes of them.
///
/// # Errors
/// As [`Network::forward`], and what `cotangent` returns.
pub fn backward(
    network: &Network,
    weights: &Weights,
    batch: &Batch,
    mode: Mode,
    observer: &mut dyn Observer,
    cotangent: impl FnOnce(&Logits) -> Result<Vec<f32>>,
) -> Result<Gradients> {
    let input = batch.to_device(weights.device());
    let output = network.forward(weights, input, mode, observer)?;
    let rows = output
        .rows()
        .ok_or_else(|| Error::Input("a network that ends in images has no loss".into()))?;
    let [n, classes] = rows.dims();
    let logits = Logits {
        values: to_vec(rows.clone())?,
        classes,
    };
    let start = cotangent(&logits)?;
    let start = Tensor::<2>::from_data(TensorData::new(start, [n, classes]), weights.device());
    let answers = (rows * start).sum();
    let loss = match observer.loss() {
        Some(others) => answers + others,
        None => answers,
    };
    let mut gradients = loss.backward();
    let take = |tensor: &Tensor<1>| match tensor.grad_remove(&mut gradients) {
        Some(gradient) => to_vec(gradient),
        None => Ok(Vec::new()),
    };
    weights.tensors().iter().map(take).collect()
}

/// Gradients of a batch's mean loss at its own labels, the network as it is used.
///
/// # Errors
/// As [`Network::forward`].
pub fn mean_loss_gradients(network: &Network, weights: &Weights, batch: &Batch) -> Result<Gradients> {
    backward(
        network,
        weights,
        batch,
        Mode::Evaluate,
        &mut Unobserved,
        |logits| {
            let rows = logits.losses(&batch.labels).losses.len();
            Ok(logits.gradient(&batch.labels, 1.0 / rows.max(1) as f32, 1.0))
        },
    )
}
