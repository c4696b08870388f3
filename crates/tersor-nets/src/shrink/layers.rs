//! Weights on their grids: steps, symbols, and the size of the file that they make.

use super::freeze::{Frozen, is_weight};
use crate::graph::{Network, Role};
use crate::sensitivity::Diagonal;
use crate::slope::SizeSearch;
use crate::{Error, Parameters, Result, fold};
use std::path::{Path, PathBuf};
use tersor::checkpoint::Checkpoint;
use tersor::codec::{Coder, ContextPrices, Dtype, TensorInfo};
use tersor::feedback::{LayerSymbols, Prices, Source, quantize_plain, step_for_slope};
use tersor::options::{CompressOptions, Target};
use tersor::{Compressor, Silent};

/// Sensitivity of weights that stay: whatever their price, the nearest level is theirs.
const PINNED: f32 = 1e30;
/// How sizes are searched for.
const SEARCH: SizeSearch = SizeSearch {
    max_files: 12,
    close: 0.98,
    gain: 3.0,
    reach: (14.0, 9.0),
    limit: 1.0,
};
/// Bits of a value that is not zero, sign included, and share of the bits of positions that contexts leave.
const VALUE_BITS: f64 = 3.4;
const POSITION_SHARE: f64 = 0.6;
/// Bits of an element of an embedding.
const EMBEDDING_BITS: f64 = 4.0;
/// Share of a file that is weights.
const WEIGHTS_SHARE: f64 = 0.93;

/// A parameter's symbols.
#[derive(Clone, Debug)]
pub(super) struct Symbols {
    pub(super) parameter: usize,
    pub(super) layer: LayerSymbols,
}

/// How many weights go well with a file of some bytes: steps that are fine enough to matter little. Embeddings are not pruned.
pub(super) fn survivors_for(network: &Network, bytes: u64) -> usize {
    let count = |role: Role| -> usize {
        let those = network.parameters.iter().filter(|p| p.role == role);
        those.map(crate::graph::ParameterSpec::len).sum()
    };
    let n = count(Role::Weight);
    let whole = 8.0 * bytes as f64 * WEIGHTS_SHARE;
    let budget = (whole - EMBEDDING_BITS * count(Role::Embedding) as f64).max(whole / 4.0);
    let bits = |keep: f64| {
        let position = POSITION_SHARE * (std::f64::consts::E * n as f64 / keep).log2();
        keep * (VALUE_BITS + position)
    };
    let (mut low, mut high) = (1.0, n.max(1) as f64);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if bits(middle) < budget {
            low = middle;
        } else {
            high = middle;
        }
    }
    low.round() as usize
}

/// All weights of a network, and what their files take.
pub(super) struct Layers<'a> {
    network: &'a Network,
    h: Diagonal,
    /// Mean sensitivity of what is not zero, per parameter.
    means: Vec<f64>,
    steps: Vec<f32>,
    coder: Coder,
    sensitivity: PathBuf,
}

impl<'a> Layers<'a> {
    /// Sensitivities are floored at `floor` times the mean over a tensor's weights that are not zero.
    pub(super) fn new(
        network: &'a Network,
        parameters: &Parameters,
        h: &Diagonal,
        floor: f64,
        coder: Coder,
        sensitivity: &Path,
    ) -> Self {
        let (mut floored, mut means) = (Diagonal::new(), Vec::new());
        for (i, _) in network.parameters.iter().enumerate() {
            let values = h.get(i).map_or(&[][..], Vec::as_slice);
            let alive = values
                .iter()
                .zip(parameters.values(i))
                .filter(|(_, w)| **w != 0.0);
            let (sum, n) = alive.fold((0.0, 0usize), |(sum, n), (h, _)| (sum + f64::from(*h), n + 1));
            let mean = (sum / n.max(1) as f64).max(1e-20);
            means.push(mean * (1.0 + floor));
            floored.push(values.iter().map(|&h| h + (floor * mean) as f32).collect());
        }
        Self {
            network,
            h: floored,
            means,
            steps: vec![0.0; network.parameters.len()],
            coder,
            sensitivity: sensitivity.to_owned(),
        }
    }

    pub(super) fn sensitivities(&self) -> &Diagonal {
        &self.h
    }

    /// Gives every weight its symbol, those that stay the one they have, in the order of the file.
    fn quantize(&self, parameters: &Parameters, frozen: &Frozen, slope: f64) -> Result<Vec<Symbols>> {
        let mut context = (self.coder == Coder::Context).then(ContextPrices::new);
        let mut found = Vec::new();
        for (i, spec) in self.network.parameters.iter().enumerate() {
            let (true, Some(h), Some(&step)) = (is_weight(spec.role), self.h.get(i), self.steps.get(i))
            else {
                continue;
            };
            let info = TensorInfo {
                name: spec.name.clone(),
                dtype: Dtype::F32,
                shape: spec.shape.iter().map(|&n| n as u64).collect(),
                shard: 0,
            };
            let h: Vec<f32> = h
                .iter()
                .enumerate()
                .map(|(element, &h)| frozen.at(i, element).map_or(h, |_| PINNED))
                .collect();
            let source = Source::per_weight(parameters.values(i), &h);
            let prices = context.as_mut().map_or(Prices::Order0, Prices::Context);
            let layer = quantize_plain(&info, &source, (step, false), slope, prices)?;
            found.push(Symbols { parameter: i, layer });
        }
        Ok(found)
    }

    /// The file of these symbols, which were chosen at a slope; what is not on a grid of its own takes what is left of the bytes.
    ///
    /// # Errors
    /// [`Error::Size`] if that is not enough.
    pub(super) fn file(
        &self,
        parameters: &Parameters,
        symbols: &[Symbols],
        slope: f64,
        bytes: u64,
    ) -> Result<Vec<u8>> {
        let checkpoint = folded(self.network, parameters)?;
        let (given, options) = (self.named(symbols), self.options());
        fill(&checkpoint, &given, &options, slope, bytes)
    }

    fn named(&self, symbols: &[Symbols]) -> Vec<(String, LayerSymbols)> {
        let name = |i: usize| self.network.parameters.get(i).map_or("", |p| &p.name);
        let named = symbols
            .iter()
            .map(|s| (name(s.parameter).to_owned(), s.layer.clone()));
        named.collect()
    }

    fn options(&self) -> CompressOptions {
        CompressOptions::default()
            .with_sensitivity(&self.sensitivity)
            .with_coder(Some(self.coder))
    }

    /// The file of these symbols, and of the rest at a slope.
    fn compress(&self, parameters: &Parameters, symbols: &[Symbols], slope: f64) -> Result<Vec<u8>> {
        let checkpoint = folded(self.network, parameters)?;
        compress(&checkpoint, &self.named(symbols), &self.options(), slope)
    }

    /// Steps for a slope, each where a bit buys as much loss as the slope says.
    fn set_steps(&mut self, parameters: &Parameters, slope: f64) {
        for (i, (step, mean)) in self.steps.iter_mut().zip(&self.means).enumerate() {
            let largest = parameters.values(i).iter().fold(0.0f32, |m, w| m.max(w.abs()));
            // The largest weight has a level of its own.
            let largest = largest.max(f32::MIN_POSITIVE);
            *step = step_for_slope(slope, *mean).clamp(largest * 1e-4, largest);
        }
    }

    /// Bytes of a file at a slope over those wanted, and its symbols.
    fn size(
        &self,
        parameters: &Parameters,
        frozen: &Frozen,
        slope: f64,
        bytes: u64,
    ) -> Result<(f64, Vec<Symbols>)> {
        let symbols = self.quantize(parameters, frozen, slope)?;
        let file = self.compress(parameters, &symbols, slope)?;
        Ok((file.len() as f64 / bytes as f64, symbols))
    }

    /// Chooses all steps such that the file has a size: the slope that they are for.
    ///
    /// # Errors
    /// [`Error::Size`] if no steps give such a file.
    pub(super) fn choose_steps(&mut self, parameters: &Parameters, bytes: u64) -> Result<f64> {
        let frozen = Frozen::zeros(self.network, parameters);
        let mut energies: Vec<f64> = Vec::new();
        for (i, spec) in self.network.parameters.iter().enumerate() {
            let values = parameters.values(i);
            let alive = values.iter().filter(|w| **w != 0.0).count().max(1);
            let square: f64 = values.iter().map(|w| f64::from(*w) * f64::from(*w)).sum();
            let mean = self.means.get(i).copied().unwrap_or(0.0);
            if is_weight(spec.role) {
                energies.push(mean * square / alive as f64);
            }
        }
        energies.sort_unstable_by(f64::total_cmp);
        // Steps of about a third of the deviation of the median layer.
        let start = energies.get(energies.len() / 2).copied().unwrap_or(1.0) * 0.0058;
        let at = |layers: &mut Self, slope: f64| {
            layers.set_steps(parameters, slope);
            layers.size(parameters, &frozen, slope, bytes)
        };
        let (slope, _) = search(start, 1.0, |slope| at(self, slope))?;
        self.set_steps(parameters, slope);
        Ok(slope)
    }

    /// The slope at which, on the steps there are, the file has a size, and its symbols; a small slope if even that takes no more, and
    /// the one that makes the smallest file if that has at most `limit` bytes.
    ///
    /// # Errors
    /// [`Error::Size`] if no slope gives such a file.
    pub(super) fn fit(
        &self,
        parameters: &Parameters,
        frozen: &Frozen,
        slope: f64,
        (bytes, limit): (u64, u64),
    ) -> Result<(f64, Vec<Symbols>)> {
        let limit = limit as f64 / bytes as f64;
        search(slope, limit, |slope| self.size(parameters, frozen, slope, bytes))
    }
}

/// The checkpoint of a network with its normalisation folded.
pub(super) fn folded(network: &Network, parameters: &Parameters) -> Result<Checkpoint> {
    let mut folded = parameters.clone();
    fold(network, &mut folded)?;
    folded.to_checkpoint()
}

/// The file of these symbols, and of the rest of a checkpoint at a slope.
fn compress(
    checkpoint: &Checkpoint,
    symbols: &[(String, LayerSymbols)],
    options: &CompressOptions,
    slope: f64,
) -> Result<Vec<u8>> {
    let given = symbols.iter().cloned();
    let compressor = Compressor::with_symbols(checkpoint, options.clone(), given, &Silent)?;
    Ok(compressor.compress(&Target::Slope(slope), &Silent)?.bytes)
}

/// The file of these symbols, in which the rest takes what is left of the bytes; the slope is where to begin.
///
/// # Errors
/// [`Error::Size`] if that is not enough.
pub(super) fn fill(
    checkpoint: &Checkpoint,
    symbols: &[(String, LayerSymbols)],
    options: &CompressOptions,
    slope: f64,
    bytes: u64,
) -> Result<Vec<u8>> {
    let at = |slope: f64| {
        let file = compress(checkpoint, symbols, options, slope)?;
        Ok((file.len() as f64 / bytes as f64, file))
    };
    Ok(search(slope, 1.0, at)?.1)
}

/// The slope of the file of a size, in units of what is wanted, just below 1, and what came with it; the smallest up to `limit` will do.
fn search<T>(start: f64, limit: f64, size: impl FnMut(f64) -> Result<(f64, T)>) -> Result<(f64, T)> {
    let found = SizeSearch { limit, ..SEARCH }.run(start.max(1e-30), size)?;
    found.ok_or_else(|| {
        Error::Size("no file of this size was found; allow more bytes, or let fewer weights remain".into())
    })
}
