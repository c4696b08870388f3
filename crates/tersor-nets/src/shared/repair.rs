//! Repair of normalisation: scale and shift of every channel changed until its mean and variance are those of the original
//! network on the same images. It takes unlabelled images only and costs the file nothing.

use super::{replace_values, tensor_of, to_parameters};
use crate::examples::Batch;
use crate::gradient::to_vec;
use crate::graph::{Network, Node, Op, Value};
use crate::lockstep::{Sides, Visit, lockstep};
use crate::{Parameters, Result};
use burn::tensor::Device;
use serde::Serialize;
use tersor::Progress;
use tersor_codec::QuantizedCheckpoint;

/// Bounds of the factor on a channel's scale: a channel that hardly varied is not blown up.
const GAIN: std::ops::RangeInclusive<f64> = 0.3..=4.0;
/// Added to variances before they are divided.
const EPSILON: f64 = 1e-8;

/// What was repaired.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct RepairReport {
    /// Batch-norm layers whose scale and shift changed.
    pub n_normalised: usize,
    /// Other layers whose bias took the shift of the mean.
    pub n_biased: usize,
    /// Largest factor on a scale, or its inverse.
    pub largest_gain: f64,
}

/// Mean and variance of each output channel over examples and positions.
fn channel_moments(values: &[Value]) -> Result<Vec<(f64, f64)>> {
    let mut sums: Vec<(f64, f64, f64)> = Vec::new();
    for value in values {
        let (channels, tensor) = match value {
            Value::Image(t) => {
                let [b, c, h, w] = t.dims();
                (c, t.clone().reshape([b, c, h * w]))
            }
            Value::Vectors(t) => {
                let [b, c] = t.dims();
                (c, t.clone().reshape([b, c, 1]))
            }
            Value::Sequence(t) => {
                let [b, l, c] = t.dims();
                (c, t.clone().reshape([b * l, c, 1]))
            }
            Value::Tokens(_) => continue,
        };
        let [b, _, positions] = tensor.dims();
        let elements = to_vec(tensor)?;
        sums.resize(channels, (0.0, 0.0, 0.0));
        for (i, row) in elements
            .chunks_exact(positions.max(1))
            .enumerate()
            .take(b * channels)
        {
            if let Some(sum) = sums.get_mut(i % channels) {
                let (first, second) = row.iter().fold((0.0f64, 0.0f64), |(a, s), &x| {
                    (a + f64::from(x), s + f64::from(x) * f64::from(x))
                });
                sum.0 += row.len() as f64;
                sum.1 += first;
                sum.2 += second;
            }
        }
    }
    let moments = |(n, first, second): (f64, f64, f64)| {
        let mean = first / n.max(1.0);
        (mean, (second / n.max(1.0) - mean * mean).max(0.0))
    };
    Ok(sums.into_iter().map(moments).collect())
}

/// Where repaired values go: takes a parameter and its new values, and leaves in the network what they became.
pub(crate) type Store<'a> = &'a mut dyn FnMut(usize, &[f32], &mut Parameters) -> Result<()>;

/// Repairs one layer after seeing its outputs; false if there is nothing to repair.
///
/// # Errors
/// What `store` returns; those of the device.
pub(crate) fn repair_layer(
    node: &Node,
    outputs: &Sides<'_>,
    changed: &mut Parameters,
    report: &mut RepairReport,
    store: Store<'_>,
) -> Result<bool> {
    match (&node.op, node.parameters.as_slice()) {
        (Op::BatchNorm(_), &[scale, shift, _, _]) => {
            let (original, now) = both(outputs)?;
            // y' = g (y - t) + t', with the variance of the original's y and its mean.
            let gain = |(o, n): (&(f64, f64), &(f64, f64))| {
                let gain = ((o.1 + EPSILON) / (n.1 + EPSILON)).sqrt();
                gain.clamp(*GAIN.start(), *GAIN.end())
            };
            let gains: Vec<f64> = original.iter().zip(&now).map(gain).collect();
            let largest = gains.iter().map(|&g| g.max(1.0 / g)).fold(1.0, f64::max);
            report.largest_gain = report.largest_gain.max(largest);
            let old = changed.values(scale).to_vec();
            let scales = old.iter().zip(&gains).map(|(&s, g)| (f64::from(s) * g) as f32);
            store(scale, &scales.collect::<Vec<_>>(), changed)?;
            // The gain that was stored decides the shift.
            let stored = changed.values(scale).to_vec();
            let shifts: Vec<f32> = changed
                .values(shift)
                .iter()
                .zip(stored.iter().zip(&old))
                .zip(original.iter().zip(&now))
                .map(|((&t, (&new, &old)), (o, n))| {
                    let gain = if old == 0.0 {
                        1.0
                    } else {
                        f64::from(new) / f64::from(old)
                    };
                    (o.0 - gain * (n.0 - f64::from(t))) as f32
                })
                .collect();
            store(shift, &shifts, changed)?;
            report.n_normalised += 1;
            Ok(true)
        }
        (Op::Conv(_) | Op::Linear(_), &[_, bias]) => {
            let (original, now) = both(outputs)?;
            let shifted = changed.values(bias).iter().zip(original.iter().zip(&now));
            let shifted: Vec<f32> = shifted
                .map(|(&b, (o, n))| (f64::from(b) + o.0 - n.0) as f32)
                .collect();
            store(bias, &shifted, changed)?;
            report.n_biased += 1;
            Ok(true)
        }
        _ => Ok(false),
    }
}

/// Moments of the original's channels and of the changed network's.
fn both(outputs: &Sides<'_>) -> Result<(Vec<(f64, f64)>, Vec<(f64, f64)>)> {
    Ok((
        channel_moments(outputs.original)?,
        channel_moments(outputs.changed)?,
    ))
}

struct Repair<'a> {
    network: &'a Network,
    quantized: &'a mut QuantizedCheckpoint,
    report: RepairReport,
    progress: &'a dyn Progress,
}

/// Writes new values of a parameter to the file's levels, and what they became to the network.
fn store(
    quantized: &mut QuantizedCheckpoint,
    name: &str,
    parameter: usize,
    values: &[f32],
    changed: &mut Parameters,
) -> Result<()> {
    if let Some(index) = tensor_of(quantized, name) {
        replace_values(quantized, index, values)?;
        let bytes = quantized.dequantize(index)?;
        let dtype = quantized.tensors.get(index).map(|t| t.info.dtype);
        let stored = dtype.and_then(|d| tersor_codec::decode_to_f32(&bytes, d));
        changed
            .values_mut(parameter)
            .copy_from_slice(stored.as_deref().unwrap_or(values));
    }
    Ok(())
}

impl Visit for Repair<'_> {
    fn after(&mut self, index: usize, outputs: &Sides<'_>, changed: &mut Parameters) -> Result<bool> {
        self.progress.advance(1);
        let Some(node) = self.network.nodes.get(index) else {
            return Ok(false);
        };
        let (network, quantized) = (self.network, &mut *self.quantized);
        let mut store = |parameter: usize, values: &[f32], changed: &mut Parameters| {
            let name = network.parameters.get(parameter).map_or("", |p| &p.name);
            store(quantized, name, parameter, values, changed)
        };
        repair_layer(node, outputs, changed, &mut self.report, &mut store)
    }
}

/// Repairs the normalisation of a quantized network in place: batch-norm layers get the original's mean and variance in
/// every channel, layers with a bias its mean. New values take the nearest of the levels that the file has, layer by
/// layer, so that later layers repair what earlier ones could not.
///
/// # Errors
/// As [`Parameters::load`] and [`replace_values`].
pub fn repair(
    network: &Network,
    original: &Parameters,
    quantized: &mut QuantizedCheckpoint,
    batches: &[Batch],
    device: &Device,
    progress: &dyn Progress,
) -> Result<RepairReport> {
    let mut changed = to_parameters(network, quantized)?;
    let mut visitor = Repair {
        network,
        quantized,
        report: RepairReport::default(),
        progress,
    };
    progress.start("repair", network.nodes.len() as u64 - 1);
    lockstep(network, original, &mut changed, batches, device, &mut visitor)?;
    progress.finish();
    Ok(visitor.report)
}
