//! Folding batch-norm: running statistics go into scale and shift, and become 0 and 1. And back.

use crate::examples::Batch;
use crate::gradient::to_vec;
use crate::graph::{Mode, Network, Node, Observer, Op, Value, Weights};
use crate::sensitivity::Diagonal;
use crate::{Parameters, Result};
use burn::tensor::{Device, Tensor};

/// Brings sensitivities along: with s' = s sqrt(1 + e) / sqrt(v + e), those of scales become h (v + e) / (1 + e). Shifts' stay.
/// To be called before [`fold`], which makes all v 1.
pub fn fold_sensitivities(network: &Network, parameters: &Parameters, h: &mut Diagonal) {
    for node in &network.nodes {
        let (Op::BatchNorm(norm), &[scale, _, _, variance]) = (&node.op, node.parameters.as_slice()) else {
            continue;
        };
        let values = h.get_mut(scale).map_or(&mut [][..], Vec::as_mut_slice);
        for (h, &v) in values.iter_mut().zip(parameters.values(variance)) {
            *h *= ((f64::from(v) + norm.epsilon) / (1.0 + norm.epsilon)) as f32;
        }
    }
}

/// Rewrites every batch-norm layer so that its mean is 0 and its variance 1, and the network computes the same. Names and
/// shapes stay, so the checkpoint loads wherever the original did; constant statistics cost a compressed file nothing.
///
/// With s, t, m, v before and e the layer's epsilon: s' = s sqrt(1 + e) / sqrt(v + e), t' = t - s m / sqrt(v + e).
/// Returns the number of layers.
///
/// # Errors
/// None that a network can cause.
pub fn fold(network: &Network, parameters: &mut Parameters) -> Result<usize> {
    let mut n = 0;
    for node in &network.nodes {
        let (Op::BatchNorm(norm), &[scale, shift, mean, variance]) = (&node.op, node.parameters.as_slice())
        else {
            continue;
        };
        n += 1;
        let means = parameters.values(mean).to_vec();
        let inverse: Vec<f64> = parameters
            .values(variance)
            .iter()
            .map(|&v| 1.0 / (f64::from(v) + norm.epsilon).sqrt())
            .collect();
        let scales = parameters.values(scale).to_vec();
        let shifts = parameters.values_mut(shift).iter_mut().zip(&scales);
        for (((t, s), m), i) in shifts.zip(&means).zip(&inverse) {
            *t = (f64::from(*t) - f64::from(*s) * f64::from(*m) * i) as f32;
        }
        for (s, i) in parameters.values_mut(scale).iter_mut().zip(&inverse) {
            *s = (f64::from(*s) * i * (1.0 + norm.epsilon).sqrt()) as f32;
        }
        parameters.values_mut(mean).fill(0.0);
        parameters.values_mut(variance).fill(1.0);
    }
    Ok(n)
}

/// Means of what each batch-norm layer meets, and of its squares: sums over batches by node, channel by channel.
struct Met {
    sums: Vec<Vec<[f64; 2]>>,
}

impl Observer for Met {
    fn node(&mut self, index: usize, node: &Node, inputs: &[&Value], output: Value) -> Result<Value> {
        if let (Op::BatchNorm(norm), [Value::Image(x)], Some(sums)) =
            (&node.op, inputs, self.sums.get_mut(index))
        {
            let mean = |x: Tensor<4>| to_vec(x.mean_dims(&[0, 2, 3]));
            let means = mean(x.clone())?.into_iter().zip(mean(x.clone().square())?);
            sums.resize(norm.channels, [0.0; 2]);
            for (sum, (mean, square)) in sums.iter_mut().zip(means) {
                *sum = [sum[0] + f64::from(mean), sum[1] + f64::from(square)];
            }
        }
        Ok(output)
    }
}

/// Gives every batch-norm layer the means and variances that it meets in batches of one size as its running statistics, and scale and
/// shift such that the network computes the same: the way back from [`fold`]. Training, which normalises by the statistics of each
/// batch, then begins with the function that the network has.
///
/// With s, t, m, v before, m', v' after and e the layer's epsilon: s' = s sqrt(v' + e) / sqrt(v + e), t' = t + s (m' - m) / sqrt(v + e).
///
/// # Errors
/// As [`Network::forward`].
pub fn unfold(
    network: &Network,
    parameters: &mut Parameters,
    batches: &[Batch],
    device: &Device,
) -> Result<()> {
    let weights = Weights::new(parameters, device, false);
    let mut met = Met {
        sums: vec![Vec::new(); network.nodes.len()],
    };
    for batch in batches {
        network.forward(&weights, batch.to_device(device), Mode::Evaluate, &mut met)?;
    }
    for (node, sums) in network.nodes.iter().zip(&met.sums) {
        let (Op::BatchNorm(norm), &[scale, shift, mean, variance]) = (&node.op, node.parameters.as_slice())
        else {
            continue;
        };
        for (channel, [sum, squares]) in sums.iter().enumerate() {
            let new_mean = sum / batches.len() as f64;
            let new_variance = (squares / batches.len() as f64 - new_mean * new_mean).max(0.0);
            let of = |parameter: usize| f64::from(parameters.values(parameter)[channel]);
            let (s, t, m, v) = (of(scale), of(shift), of(mean), of(variance));
            let factor = s / (v + norm.epsilon).sqrt();
            let new = [
                (scale, factor * (new_variance + norm.epsilon).sqrt()),
                (shift, t + factor * (new_mean - m)),
                (mean, new_mean),
                (variance, new_variance),
            ];
            for (parameter, value) in new {
                parameters.values_mut(parameter)[channel] = value as f32;
            }
        }
    }
    Ok(())
}
