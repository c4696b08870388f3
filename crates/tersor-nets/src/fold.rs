//! Folding batch-norm: running statistics go into scale and shift, and become 0 and 1.

use crate::graph::{Network, Op};
use crate::sensitivity::Diagonal;
use crate::{Parameters, Result};

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
