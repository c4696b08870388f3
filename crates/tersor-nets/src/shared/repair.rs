//! Repair of normalisation: scale and shift of every channel changed until it is like the original network's on the same
//! images. It takes unlabelled images only and costs the file nothing.

use super::{replace_values, tensor_of, to_parameters};
use crate::examples::Batch;
use crate::gradient::to_vec;
use crate::graph::{Network, Node, Op, Value};
use crate::lockstep::{Sides, Visit, lockstep};
use crate::sensitivity::filled;
use crate::{Parameters, Result};
use burn::tensor::{Device, Tensor};
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

/// What scale and shift of a batch-norm channel are chosen for. Biases without batch-norm always take the shift of the
/// mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Match {
    /// The original's mean; the scale stays.
    Mean,
    /// The original's mean and variance: where errors are noise that later layers see like signal.
    Moments,
    /// Least squares from the original's outputs, image by image: where layers are made for least squares already.
    LeastSquares,
}

/// One output channel over examples and positions, in both networks.
#[derive(Clone, Copy, Debug, Default)]
struct Channel {
    n: f64,
    original: f64,
    now: f64,
    original_squared: f64,
    now_squared: f64,
    product: f64,
}

impl Channel {
    fn add(&mut self, original: &[f32], now: &[f32]) {
        self.n += now.len() as f64;
        for (&o, &n) in original.iter().zip(now) {
            let (o, n) = (f64::from(o), f64::from(n));
            self.original += o;
            self.now += n;
            self.original_squared += o * o;
            self.now_squared += n * n;
            self.product += o * n;
        }
    }

    fn means(&self) -> (f64, f64) {
        let n = self.n.max(1.0);
        (self.original / n, self.now / n)
    }

    /// The factor on the channel's deviations from its mean.
    fn gain(&self, target: Match) -> f64 {
        let (n, (o, c)) = (self.n.max(1.0), self.means());
        let variance = (self.now_squared / n - c * c).max(0.0) + EPSILON;
        let gain = match target {
            Match::Mean => 1.0,
            Match::Moments => (((self.original_squared / n - o * o).max(0.0) + EPSILON) / variance).sqrt(),
            Match::LeastSquares => (self.product / n - o * c + EPSILON) / variance,
        };
        gain.clamp(*GAIN.start(), *GAIN.end())
    }
}

/// A value as `[examples, channels, positions]`; of sequences each position but those of padding is an example.
fn channels_of(value: &Value, batch: &Batch) -> Option<Tensor<3>> {
    match value {
        Value::Image(t) => {
            let [b, c, h, w] = t.dims();
            Some(t.clone().reshape([b, c, h * w]))
        }
        Value::Vectors(t) => {
            let [b, c] = t.dims();
            Some(t.clone().reshape([b, c, 1]))
        }
        Value::Sequence(t) => {
            let [b, l, c] = t.dims();
            let rows = filled(t.clone().reshape([b * l, c]), batch);
            Some(rows.unsqueeze_dim(2))
        }
        Value::Tokens(_) => None,
    }
}

/// Statistics of each output channel.
fn channels(outputs: &Sides<'_>) -> Result<Vec<Channel>> {
    let mut channels = Vec::new();
    let sides = outputs.original.iter().zip(outputs.changed);
    for ((original, now), batch) in sides.zip(outputs.batches) {
        let (Some(original), Some(now)) = (channels_of(original, batch), channels_of(now, batch)) else {
            continue;
        };
        let [_, n_channels, positions] = now.dims();
        channels.resize(n_channels, Channel::default());
        let (original, now) = (to_vec(original)?, to_vec(now)?);
        let rows = original
            .chunks_exact(positions.max(1))
            .zip(now.chunks_exact(positions.max(1)));
        for (i, (original, now)) in rows.enumerate() {
            if let Some(channel) = channels.get_mut(i % n_channels.max(1)) {
                channel.add(original, now);
            }
        }
    }
    Ok(channels)
}

/// Where repaired values go: takes a parameter and its new values, and leaves in the network what they became.
pub(crate) type Store<'a> = &'a mut dyn FnMut(usize, &[f32], &mut Parameters) -> Result<()>;

/// Repairs one layer after seeing its outputs; false if there is nothing to repair.
///
/// # Errors
/// What `store` returns; those of the device.
pub(crate) fn repair_layer(
    node: &Node,
    (outputs, target): (&Sides<'_>, Match),
    changed: &mut Parameters,
    report: &mut RepairReport,
    store: Store<'_>,
) -> Result<bool> {
    match (&node.op, node.parameters.as_slice()) {
        (Op::BatchNorm(_), &[scale, shift, _, _]) => {
            let channels = channels(outputs)?;
            // y' = g (y - t) + t', with the mean of the original's y.
            let gains: Vec<f64> = channels.iter().map(|c| c.gain(target)).collect();
            let largest = gains.iter().map(|&g| g.max(1.0 / g)).fold(1.0, f64::max);
            report.largest_gain = report.largest_gain.max(largest);
            let old = changed.values(scale).to_vec();
            if target != Match::Mean {
                let scales = old.iter().zip(&gains).map(|(&s, g)| (f64::from(s) * g) as f32);
                store(scale, &scales.collect::<Vec<_>>(), changed)?;
            }
            // The gain that was stored decides the shift.
            let stored = changed.values(scale).to_vec();
            let shifts: Vec<f32> = changed
                .values(shift)
                .iter()
                .zip(stored.iter().zip(&old))
                .zip(&channels)
                .map(|((&t, (&new, &old)), channel)| {
                    let gain = if old == 0.0 {
                        1.0
                    } else {
                        f64::from(new) / f64::from(old)
                    };
                    let (original, now) = channel.means();
                    (original - gain * (now - f64::from(t))) as f32
                })
                .collect();
            store(shift, &shifts, changed)?;
            report.n_normalised += 1;
            Ok(true)
        }
        (Op::Conv(_) | Op::Linear(_), &[_, bias]) => {
            let channels = channels(outputs)?;
            let shifted = changed.values(bias).iter().zip(&channels);
            let shifted: Vec<f32> = shifted
                .map(|(&b, channel)| {
                    let (original, now) = channel.means();
                    (f64::from(b) + original - now) as f32
                })
                .collect();
            store(bias, &shifted, changed)?;
            report.n_biased += 1;
            Ok(true)
        }
        _ => Ok(false),
    }
}

struct Repair<'a> {
    network: &'a Network,
    quantized: &'a mut QuantizedCheckpoint,
    target: Match,
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
        repair_layer(
            node,
            (outputs, self.target),
            changed,
            &mut self.report,
            &mut store,
        )
    }
}

/// Repairs the normalisation of a quantized network in place: batch-norm layers match the original in every channel,
/// layers with a bias take its mean. New values take the nearest of the levels that the file has, layer by
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
    target: Match,
    progress: &dyn Progress,
) -> Result<RepairReport> {
    let mut changed = to_parameters(network, quantized)?;
    let mut visitor = Repair {
        network,
        quantized,
        target,
        report: RepairReport::default(),
        progress,
    };
    progress.start("repair", network.nodes.len() as u64 - 1);
    lockstep(network, original, &mut changed, batches, device, &mut visitor)?;
    progress.finish();
    Ok(visitor.report)
}
