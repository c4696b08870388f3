//! What is done at each layer while original and quantized network run side by side.

use super::problem::{layer_at, with_problem};
use super::{LayerReport, Pass, Quantized, SequentialOptions};
use crate::graph::{Network, Node};
use crate::lockstep::{Sides, Visit};
use crate::shared::{RepairReport, repair_layer};
use crate::{Error, Parameters, Result};
use std::borrow::Cow;
use tersor::Progress;
use tersor::codec::{Dtype, TensorInfo};
use tersor::feedback::{Prices, Span, quantize, step};

/// Quantizes each convolution and linear layer in view of what reaches it, and repairs what follows.
pub(super) struct Quantize<'a> {
    pub(super) network: &'a Network,
    pub(super) pass: Pass<'a>,
    pub(super) options: &'a SequentialOptions,
    /// Parameters that layers are quantized in; others are left alone.
    pub(super) is_layer: &'a [bool],
    pub(super) quantized: Quantized,
    /// As it was when the first layers were quantized that are asked for.
    pub(super) first: Quantized,
    pub(super) repair: RepairReport,
    pub(super) progress: &'a dyn Progress,
}

impl Quantize<'_> {
    fn layer(
        &mut self,
        node: &Node,
        parameter: usize,
        inputs: &Sides<'_>,
        changed: &mut Parameters,
    ) -> Result<()> {
        let Pass {
            slope,
            original,
            sensitivities,
            scales,
            ..
        } = self.pass;
        let spec = original.specs().get(parameter);
        let spec = spec.ok_or_else(|| Error::Internal(format!("there is no parameter {parameter}")))?;
        let info = TensorInfo {
            name: spec.name.clone(),
            dtype: Dtype::F32,
            shape: spec.shape.iter().map(|&n| n as u64).collect(),
            shard: 0,
        };
        let scales = scales.get(parameter).copied().flatten();
        let weights = match scales {
            Some(scales) => Cow::Owned(scales.divided(original.values(parameter))),
            None => Cow::Borrowed(original.values(parameter)),
        };
        let sensitivity = sensitivities.get(parameter).copied().unwrap_or(1.0);
        let quantized = &mut self.quantized;
        let prices = quantized.prices.as_mut().map_or(Prices::Order0, Prices::Context);
        let (step, mut layer) =
            with_problem(node, (&weights, sensitivity), inputs, self.options, |problem| {
                let span = Span::of_slice(problem.targets());
                let step = step(span, weights.len() as u64, slope, sensitivity);
                Ok((step, quantize(&info, &[problem], step, slope, prices)?))
            })?;
        if let Some(scales) = scales {
            layer = layer.with_scales(scales.clone());
        }
        changed.values_mut(parameter).copy_from_slice(&layer.values());
        quantized.layers.push(LayerReport {
            name: spec.name.clone(),
            n_weights: weights.len(),
            step: f64::from(step),
            n_levels: layer.grid.n_levels,
            loss: layer.report.distortion,
        });
        quantized.symbols.push((spec.name.clone(), layer));
        if quantized.symbols.len() == self.pass.stop {
            self.first = quantized.clone();
        }
        Ok(())
    }
}

impl Visit for Quantize<'_> {
    fn before(&mut self, index: usize, inputs: &[Sides<'_>], changed: &mut Parameters) -> Result<()> {
        match layer_at(self.network, self.is_layer, index, inputs) {
            Some((node, parameter, inputs)) => self.layer(node, parameter, inputs, changed),
            None => Ok(()),
        }
    }

    fn after(&mut self, index: usize, outputs: &Sides<'_>, changed: &mut Parameters) -> Result<bool> {
        self.progress.advance(1);
        let network = self.network;
        match (network.nodes.get(index), self.options.repair) {
            (Some(node), Some(target)) => {
                let mut store = |parameter: usize, values: &[f32], changed: &mut Parameters| {
                    changed.values_mut(parameter).copy_from_slice(values);
                    Ok(())
                };
                repair_layer(node, (outputs, target), changed, &mut self.repair, &mut store)
            }
            _ => Ok(false),
        }
    }
}
