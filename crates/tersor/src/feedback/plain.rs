//! One tensor without error feedback, at the prices of the coder of its file.

use super::LayerSymbols;
use super::quantize::{Prices, ZERO, lies_on_trellis, trellis_step, with_room};
use crate::design::{GRID_ITERATIONS, grid_codebook};
use crate::in_context::{choose_in_context, take};
use crate::{Error, Result};
use rayon::prelude::*;
use std::ops::Range;
use tersor_codec::{ContextPrices, TensorInfo};
use tersor_quant::grid::{self, Grid};
use tersor_quant::{Source, Span};

/// Levels beyond those of the weights, either way: a share of the errors before can take a weight further out.
const MARGIN: usize = 4;

/// Quantizes a tensor without error feedback: `source` has its weights, and a sensitivity for each. Exact zeros stay zero. `slope` is in
/// loss per bit, the step in units of the weights. Where a trellis is wanted and prices are those of the coder `context`,
/// it is tried with 0.64 of the step, and taken if that costs less: few bits per weight, or many exact zeros, leave paths no choice.
///
/// # Errors
/// As [`quantize`](super::quantize()).
pub fn quantize_plain(
    info: &TensorInfo,
    source: &Source<'_>,
    step: (f32, bool),
    slope: f64,
    prices: Prices<'_>,
) -> Result<LayerSymbols> {
    let whole = 0..source.len();
    quantize_pieces(info, std::slice::from_ref(&whole), source, step, slope, prices)
}

/// The same for a tensor that a file has in pieces, one after the other, which are worked on side by side: the coder begins anew with each,
/// and the one given is as it is behind the last.
pub(super) fn quantize_pieces(
    info: &TensorInfo,
    pieces: &[Range<usize>],
    source: &Source<'_>,
    (step, trellis): (f32, bool),
    slope: f64,
    prices: Prices<'_>,
) -> Result<LayerSymbols> {
    let wrap = || Error::quantize(&info.name);
    let layer = match prices {
        Prices::Order0 => {
            let found = grid::quantize(source, step, slope, GRID_ITERATIONS).map_err(wrap())?;
            LayerSymbols {
                grid: found.grid,
                symbols: found.symbols,
                scales: None,
                report: found.report,
            }
        }
        Prices::Context(prices) => {
            let span = Span::of_slice(source.weights).join(ZERO);
            let levels = Grid::spanning(span, step).map_err(wrap())?;
            let mut best = in_context(info, pieces, source, (levels, false), slope, prices)?;
            if trellis {
                let step = trellis_step(span, source.len() as u64, step);
                let levels = with_room(Grid::spanning(span, step).map_err(wrap())?, MARGIN);
                let found = in_context(info, pieces, source, (levels, true), slope, prices)?;
                if lies_on_trellis(&found.layer) && found.cost < best.cost {
                    best = found;
                }
            }
            *prices = best.after;
            best.layer
        }
    };
    layer.check(info)?;
    Ok(layer)
}

/// Symbols, what they cost, and the coder behind them.
struct Found {
    layer: LayerSymbols,
    /// Predicted loss and slope times bits.
    cost: f64,
    after: ContextPrices,
}

/// Quantizes at the prices of the coder `context` from a state on.
fn in_context(
    info: &TensorInfo,
    pieces: &[Range<usize>],
    source: &Source<'_>,
    (levels, on_trellis): (Grid, bool),
    slope: f64,
    given: &ContextPrices,
) -> Result<Found> {
    let codebook = grid_codebook(&levels);
    let piece = |piece: &Range<usize>| {
        let part = source.slice(piece.clone());
        let mut symbols = vec![0; part.len()];
        let mut prices = given.clone();
        let at = (info, piece.start);
        let report = choose_in_context(&mut prices, at, (&levels, on_trellis), slope, &part, &mut symbols)?;
        let bits = take(&mut prices, (&info.shape, piece.start), &codebook, &symbols)?;
        Ok((symbols, report.distortion, bits, prices))
    };
    let pieces: Vec<_> = pieces.par_iter().map(piece).collect::<Result<_>>()?;
    let loss: f64 = pieces.iter().map(|(_, loss, ..)| loss).sum();
    let bits: f64 = pieces.iter().map(|(_, _, bits, _)| bits).sum();
    let mut after = given.clone();
    let mut symbols = Vec::with_capacity(source.len());
    for (part, .., prices) in pieces {
        symbols.extend(part);
        after = prices;
    }
    Ok(Found {
        layer: LayerSymbols::trimmed(levels, symbols, source.weights, loss),
        cost: loss + slope * bits,
        after,
    })
}
