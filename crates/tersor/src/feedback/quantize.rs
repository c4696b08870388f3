//! One tensor with error feedback, at the prices of the coder of its file.

use super::LayerSymbols;
use crate::design::{GRID_ITERATIONS, SMALL, grid_codebook, short, within};
use crate::in_context::take;
use crate::price::SegmentPrice;
use crate::{Error, Result};
use tersor_codec::trellis::FEWEST;
use tersor_codec::{ContextPrices, MAX_LEVELS, TensorInfo};
use tersor_quant::feedback::{Problem, Quantized, step_for_slope};
use tersor_quant::grid::{self, Grid};
use tersor_quant::{GridPrices, Source, Span, StaticPrices, entropy_bits};

/// Levels beyond those of the targets, either way: errors pushed onto a weight can take it further out.
const MARGIN: usize = 4;

/// Rounds of prices and feedback where several parts share their prices: as many as prices settle in without feedback.
const ROUNDS: usize = GRID_ITERATIONS;

/// The step on a trellis, whose quantizers have every other multiple, in those of scalar quantization.
const TRELLIS_STEP: f32 = 0.64;

/// Inputs of a layer from which on it is quantized on a trellis.
const LEAST_ROW: usize = 16;

/// What symbols are priced by.
pub enum Prices<'a> {
    /// Ideal ones for the frequencies of the tensor's own symbols: for the coders `ans`, `huffman` and `fixed`.
    Order0,
    /// Those of the coder `context` in the state that the tensors before have left. The state has learned the tensor afterwards.
    Context(&'a mut ContextPrices),
}

/// The step of a tensor that is quantized with feedback, from the range and the number of its weights and their mean
/// sensitivity: [`step_for_slope`], as far as the weights allow, and short for few weights, since it is stored.
pub fn step(span: Span, n: u64, slope: f64, sensitivity: f64) -> f32 {
    stored(span, n, step_for_slope(slope, sensitivity))
}

/// A step as far as weights in a range allow, and short for few.
fn stored(span: Span, n: u64, step: f32) -> f32 {
    let step = within(span.join(ZERO), step);
    if n < SMALL { short(step) } else { step }
}

/// Zero is a level, whatever the weights.
pub(super) const ZERO: Span = Span { min: 0.0, max: 0.0 };

/// Quantizes a tensor with error feedback.
///
/// Where a trellis is wanted and prices are those of the coder `context`, which knows about it, a layer of one part and at least 16 inputs
/// goes on it, with 0.64 of the step.
/// `parts` are the problems of the tensor's groups, one after the other; one, but for grouped convolutions. `slope` is in loss per
/// bit, the step in units of the weights. The predicted loss of the report is that of the problems: `1/2 s e^T H e`.
///
/// # Errors
/// [`Error::Options`] if the parts are not the elements of the tensor or a level is beyond its type; [`Error::Quantize`] for a step
/// or slope out of range.
pub fn quantize(
    info: &TensorInfo,
    parts: &[Problem<'_>],
    step: f32,
    slope: f64,
    prices: Prices<'_>,
) -> Result<LayerSymbols> {
    let weights: Vec<f32> = parts.iter().flat_map(Problem::weights).copied().collect();
    if info.n_elements() != Some(weights.len() as u64) {
        return Err(Error::Options(format!(
            "tensor {:?} of shape {:?} is given as {} weights",
            info.name,
            info.shape,
            weights.len()
        )));
    }
    let wrap = || Error::quantize(&info.name);
    let layer = match prices {
        Prices::Order0 => {
            let found = at_order_0(parts, step, slope).map_err(wrap())?;
            LayerSymbols::of_multiples(step, &found.multiples, &weights, found.loss)
        }
        Prices::Context(prices) => {
            let layer = in_context(info, parts, (step, slope), &weights, prices)?;
            learn(prices, &info.shape, &layer)?;
            layer
        }
    };
    layer.check(info)?;
    Ok(layer)
}

/// Codes a tensor as the file will have it.
fn learn(prices: &mut ContextPrices, shape: &[u64], layer: &LayerSymbols) -> Result<()> {
    take(prices, (shape, 0), &grid_codebook(&layer.grid), &layer.symbols)?;
    Ok(())
}

/// Multiples of the step, part after part, and their loss.
#[derive(Default)]
struct Found {
    multiples: Vec<i32>,
    loss: f64,
}

impl Found {
    fn add(&mut self, quantized: Quantized) {
        self.loss += quantized.trace.last().map_or(0.0, |stage| stage.distortion);
        self.multiples.extend(quantized.symbols);
    }
}

/// Quantizes at the prices of the coder `context` from a state on, on a trellis if that can gain.
fn in_context(
    info: &TensorInfo,
    parts: &[Problem<'_>],
    (step, slope): (f32, f64),
    weights: &[f32],
    given: &ContextPrices,
) -> Result<LayerSymbols> {
    let wrap = || Error::quantize(&info.name);
    if let [part] = parts
        && fits_trellis(info, part)
    {
        let span = Span::of_slice(part.weights()).join(Span::of_slice(part.targets()));
        let step = trellis_step(span, part.weights().len() as u64, step);
        let alphabet = alphabet(parts, (step, 2 * MARGIN)).map_err(wrap())?;
        let found = at_context(info, parts, (alphabet, true), slope, given.clone())?;
        let layer = LayerSymbols::of_multiples(step, &found.multiples, weights, found.loss);
        if lies_on_trellis(&layer) {
            return Ok(layer);
        }
    }
    let alphabet = alphabet(parts, (step, MARGIN)).map_err(wrap())?;
    let found = at_context(info, parts, (alphabet, false), slope, given.clone())?;
    Ok(LayerSymbols::of_multiples(
        step,
        &found.multiples,
        weights,
        found.loss,
    ))
}

/// Whether a layer is quantized on a trellis: its tensor is no vector, and its rows are long enough for paths to part and meet.
fn fits_trellis(info: &TensorInfo, part: &Problem<'_>) -> bool {
    part.wants_trellis() && info.shape.len() > 1 && part.n_in() >= LEAST_ROW
}

/// The step on a trellis, as far as numbers in a range allow, and short for few.
pub(super) fn trellis_step(span: Span, n: u64, step: f32) -> f32 {
    stored(span, n, TRELLIS_STEP * step)
}

/// Whether symbols are taken to lie on a trellis, which those with few that are not zero are not.
pub(super) fn lies_on_trellis(layer: &LayerSymbols) -> bool {
    let zeros = layer.grid.zero_symbol();
    let n_zeros = layer.report.counts.get(zeros).copied().unwrap_or(0);
    layer.report.n - n_zeros >= FEWEST as u64
}

/// The levels that targets reach, zero, and some more.
fn alphabet(parts: &[Problem<'_>], (step, margin): (f32, usize)) -> tersor_quant::Result<Grid> {
    let targets = parts.iter().map(|part| Span::of_slice(part.targets()));
    let grid = Grid::spanning(targets.fold(ZERO, Span::join), step)?;
    Ok(with_room(grid, margin))
}

/// As many more levels on either side, as far as there can be so many.
pub(super) fn with_room(grid: Grid, margin: usize) -> Grid {
    let room = margin.min((MAX_LEVELS - grid.n_levels) / 2);
    Grid {
        first: grid.first - room as i32,
        n_levels: grid.n_levels + 2 * room,
        ..grid
    }
}

fn at_context(
    info: &TensorInfo,
    parts: &[Problem<'_>],
    (alphabet, on_trellis): (Grid, bool),
    slope: f64,
    mut prices: ContextPrices,
) -> Result<Found> {
    let mut found = Found::default();
    for part in parts {
        let start = found.multiples.len();
        let elements = start..start + part.weights().len();
        let levels = (alphabet, on_trellis);
        let mut price = SegmentPrice::new(&mut prices, &info.shape, elements, levels, part.targets())?;
        let quantized = if on_trellis {
            part.quantize_on_trellis(alphabet.step, slope, &mut price)
        } else {
            part.quantize(alphabet.step, slope, &mut price)
        };
        found.add(quantized.map_err(Error::quantize(&info.name))?);
    }
    Ok(found)
}

/// One part settles its own prices; several share those of all their symbols, which a table is made of.
fn at_order_0(parts: &[Problem<'_>], step: f32, slope: f64) -> tersor_quant::Result<Found> {
    let mut found = Found::default();
    if let [part] = parts {
        found.add(part.quantize_iterated(step, slope)?.quantized);
        return Ok(found);
    }
    let alphabet = alphabet(parts, (step, MARGIN))?;
    let mut counts = start_counts(parts, alphabet, slope)?;
    let mut least = f64::INFINITY;
    for _ in 0..ROUNDS {
        let table = StaticPrices::from_counts(&counts);
        let prices = GridPrices::new(&table, alphabet.first, alphabet.n_levels);
        let mut next = Found::default();
        for part in parts {
            next.add(part.quantize_static(step, slope, &prices)?);
        }
        counts.fill(0);
        for multiple in &next.multiples {
            if let Some(count) = counts.get_mut((multiple - alphabet.first) as usize) {
                *count += 1;
            }
        }
        let j = next.loss + slope * entropy_bits(&counts);
        if j >= least {
            break;
        }
        (least, found) = (j, next);
    }
    Ok(found)
}

/// Frequencies of rate-aware assignment without feedback, all parts together.
fn start_counts(parts: &[Problem<'_>], alphabet: Grid, slope: f64) -> tersor_quant::Result<Vec<u64>> {
    let mut counts = vec![0; alphabet.n_levels];
    let mut prices = None;
    for _ in 0..GRID_ITERATIONS {
        let mut next = vec![0; alphabet.n_levels];
        for part in parts {
            let source = Source::constant(part.targets(), part.sensitivity() as f32);
            let report = grid::cost(&source, &alphabet, prices.as_ref(), slope)?;
            next.iter_mut().zip(&report.counts).for_each(|(sum, n)| *sum += n);
        }
        prices = Some(StaticPrices::from_counts(&next));
        counts = next;
    }
    Ok(counts)
}
