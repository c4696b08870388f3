//! From a network to a file of a given size or slope.

use super::{Pass, Sequential, SequentialOptions, quantize};
use crate::examples::Batch;
use crate::graph::{Network, Role};
use crate::shared::to_parameters;
use crate::{Error, Parameters, Result};
use burn::tensor::Device;
use tersor::codec::{Limits, QuantizedCheckpoint};
use tersor::options::{CompressOptions, Target};
use tersor::{Compressed, Compressor, Progress, Secant};

/// A file this close to the wanted size is kept.
const CLOSE: f64 = 0.99;
/// Share of the size that is aimed at.
const AIM: f64 = 0.995;
/// Most passes over the network.
const MAX_PASSES: usize = 7;
/// Slope with feedback over that of a file of the same size without, to begin with.
const FIRST_GUESS: f64 = 0.45;
/// Change of the logarithm of the slope per change of that of the size, to begin with.
const GAIN: f64 = 2.8;

/// Where to end up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SequentialTarget {
    /// Loss per bit.
    Slope(f64),
    /// Most bytes of the whole file.
    SizeBytes(u64),
}

/// Everything that passes have in common.
struct Passes<'a> {
    network: &'a Network,
    original: &'a Parameters,
    /// The original without view of data: guesses, embeddings and what is not a layer.
    plain: Compressor<'a>,
    sensitivities: Vec<f64>,
    batches: &'a [Batch],
    device: &'a Device,
    options: &'a SequentialOptions,
    progress: &'a dyn Progress,
}

impl Passes<'_> {
    /// A file at one slope.
    fn at(&self, slope: f64) -> Result<(Sequential, Compressed)> {
        let start = self.start(slope)?;
        self.progress.start("layers", self.network.nodes.len() as u64 - 1);
        let found = quantize(
            self.network,
            Pass {
                slope,
                original: self.original,
                changed: &start,
                sensitivities: &self.sensitivities,
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
            found.symbols.iter().cloned(),
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

    /// The best file within a size.
    fn within(&self, bytes: u64) -> Result<(Sequential, Compressed)> {
        let plain = self.plain.compress(&Target::SizeBytes(bytes), self.progress)?;
        let mut x = (FIRST_GUESS * plain.report.slope).ln();
        let mut secant = Secant::falling((x - 12.0, x + 12.0), GAIN);
        let mut best: Option<(Sequential, Compressed)> = None;
        for pass in 1..=MAX_PASSES {
            let found = self.at(x.exp())?;
            let size = found.1.bytes.len() as f64 / bytes as f64;
            self.progress.note(&format!(
                "pass {pass}: {} bytes, slope {:.2e}",
                found.1.bytes.len(),
                x.exp()
            ));
            let larger = |best: &(Sequential, Compressed)| found.1.bytes.len() > best.1.bytes.len();
            if size <= 1.0 && best.as_ref().is_none_or(larger) {
                best = Some(found);
            }
            if (CLOSE..=1.0).contains(&size) {
                break;
            }
            secant.add(x, size.ln() - AIM.ln());
            match secant.next(x) {
                Some(next) => x = next,
                None => break,
            }
        }
        best.ok_or_else(|| {
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
    let plain = Compressor::new(&checkpoint, compress.clone().with_coder(Some(options.coder)))?;
    let passes = Passes {
        network,
        original,
        sensitivities: plain.plan().tensors.iter().map(|t| t.mean_h).collect(),
        plain,
        batches,
        device,
        options,
        progress,
    };
    match target {
        SequentialTarget::Slope(slope) => passes.at(slope),
        SequentialTarget::SizeBytes(bytes) => passes.within(bytes),
    }
}
