//! From a network to a file of a given size or slope.

use super::{Pass, Quantized, Sequential, SequentialOptions, quantize};
use crate::examples::Batch;
use crate::graph::{Network, Role};
use crate::shared::to_parameters;
use crate::slope::SizeSearch;
use crate::{Error, Parameters, Result};
use burn::tensor::Device;
use tersor::codec::{Limits, QuantizedCheckpoint};
use tersor::options::{CompressOptions, Target};
use tersor::plan::TensorPlan;
use tersor::{Compressed, Compressor, Progress, RowScales};

/// Most passes over the network.
const MAX_PASSES: usize = 7;
/// Slope with feedback over that of a file of the same size without, to begin with.
const FIRST_GUESS: f64 = 0.45;
/// A file of this share of its size, or more, ends the search for it.
pub(crate) const CLOSE: f64 = 0.99;
/// How sizes are searched for.
const SEARCH: SizeSearch = SizeSearch {
    max_files: MAX_PASSES,
    close: CLOSE,
    gain: 2.8,
    reach: (12.0, 12.0),
    limit: 1.0,
};

/// Where to end up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SequentialTarget {
    /// Loss per bit.
    Slope(f64),
    /// Most bytes of the whole file.
    SizeBytes(u64),
}

/// Everything that passes have in common.
pub(crate) struct Passes<'a> {
    pub(crate) network: &'a Network,
    pub(crate) original: &'a Parameters,
    /// The original without view of data: guesses, embeddings and what is not a layer.
    pub(crate) plain: Compressor<'a>,
    pub(crate) batches: &'a [Batch],
    pub(crate) device: &'a Device,
    pub(crate) options: &'a SequentialOptions,
    /// Layers that are on their levels already, and with how many one wants to go on.
    pub(crate) begun: (&'a Quantized, usize),
    pub(crate) progress: &'a dyn Progress,
}

impl Passes<'_> {
    /// A file at one slope.
    fn at(&self, slope: f64) -> Result<(Sequential, Compressed)> {
        let start = self.start(slope)?;
        let plans = &self.plain.plan().tensors;
        let sensitivities: Vec<f64> = plans.iter().map(TensorPlan::mean_scaled_h).collect();
        let scales: Vec<Option<&RowScales>> = plans.iter().map(TensorPlan::row_scales).collect();
        self.progress.start("layers", self.network.nodes.len() as u64 - 1);
        let found = quantize(
            self.network,
            Pass {
                slope,
                original: self.original,
                changed: &start,
                sensitivities: &sensitivities,
                scales: &scales,
                begun: self.begun.0,
                stop: self.begun.1,
            },
            self.batches,
            self.device,
            self.options,
            self.progress,
        )?;
        self.progress.finish();
        let checkpoint = found.parameters.to_checkpoint()?;
        let compressor = Compressor::with_symbols(
            &checkpoint,
            self.plain.options().clone(),
            found.quantized.symbols.iter().cloned(),
            self.progress,
        )?;
        let compressed = compressor.compress(&Target::Slope(slope), self.progress)?;
        Ok((found, compressed))
    }

    /// The original with embeddings as the file will have them: layers can make up for their errors.
    fn start(&self, slope: f64) -> Result<Parameters> {
        let mut start = self.original.clone();
        let is_embedding = |role| role == Role::Embedding;
        if self.network.parameters.iter().any(|p| is_embedding(p.role)) {
            let plain = self.plain.compress(&Target::Slope(slope), self.progress)?;
            let quantized = QuantizedCheckpoint::decode(&plain.bytes, Limits::default())?;
            let decoded = to_parameters(self.network, &quantized)?;
            for (index, spec) in self.network.parameters.iter().enumerate() {
                if is_embedding(spec.role) {
                    start.values_mut(index).copy_from_slice(decoded.values(index));
                }
            }
        }
        Ok(start)
    }

    /// The best file within a size, and its slope; the search begins at a slope, if one is given.
    pub(crate) fn within(
        &self,
        (bytes, close): (u64, f64),
        start: Option<f64>,
    ) -> Result<(f64, (Sequential, Compressed))> {
        let start = match start {
            Some(start) => start,
            None => {
                FIRST_GUESS
                    * self
                        .plain
                        .compress(&Target::SizeBytes(bytes), self.progress)?
                        .report
                        .slope
            }
        };
        let mut pass = 0;
        let found = SizeSearch { close, ..SEARCH }.run(start, |slope| {
            pass += 1;
            let found = self.at(slope)?;
            let size = found.1.bytes.len();
            self.progress
                .note(&format!("pass {pass}: {size} bytes, slope {slope:.2e}"));
            Ok((size as f64 / bytes as f64, found))
        })?;
        found.ok_or_else(|| {
            Error::Input(format!(
                "no file of at most {bytes} bytes was found in {MAX_PASSES} passes; give a slope, or allow more"
            ))
        })
    }
}

/// Compresses a network layer by layer: `options` say how what is not a layer is quantized, and which coder; its target is
/// passed over. Without a sensitivity file all weights of layers are alike; with one, a layer's weight is its mean.
///
/// # Errors
/// As [`quantize`] and [`Compressor::compress`].
pub fn compress(
    network: &Network,
    original: &Parameters,
    batches: &[Batch],
    device: &Device,
    (target, options): (SequentialTarget, &SequentialOptions),
    compress: &CompressOptions,
    progress: &dyn Progress,
) -> Result<(Sequential, Compressed)> {
    let checkpoint = original.to_checkpoint()?;
    let mut compress = compress.clone().with_coder(Some(options.coder));
    compress.alike = true;
    let plain = Compressor::new(&checkpoint, compress)?;
    let passes = Passes {
        network,
        original,
        plain,
        batches,
        device,
        options,
        begun: (&Quantized::nothing(options.coder), 0),
        progress,
    };
    match target {
        SequentialTarget::Slope(slope) => passes.at(slope),
        SequentialTarget::SizeBytes(bytes) => Ok(passes.within((bytes, CLOSE), None)?.1),
    }
}
