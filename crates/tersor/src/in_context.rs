//! Symbols of a tensor in a group that is coded with `context`: on grids each is chosen at the price that the coder has for it then.

use crate::design::{Assigner, Coding, assign};
use crate::price::SegmentPrice;
use crate::{Error, Result};
use tersor_codec::{Codebook, ContextPrices, SegmentInput, TensorInfo};
use tersor_quant::grid::{Grid, assign_sequential};
use tersor_quant::{Report, Source, trellis};

/// Passes over a tensor of few elements, where the first learns what the next one uses, and over others.
const PASSES: [usize; 2] = [2, 1];
/// Elements of a tensor of few.
const FEW: usize = 1 << 14;

/// Turns a tensor from element `start` on into symbols; the coder's state is as it will be behind them.
pub(crate) fn assign_in_context(
    prices: &mut ContextPrices,
    (codebook, coding): (&Codebook, &Coding),
    (info, start): (&TensorInfo, usize),
    source: &Source<'_>,
    out: &mut [u16],
) -> Result<Report> {
    let report = match &coding.assigner {
        Assigner::Grid(grid, _, slope) if grid.n_levels > 1 => {
            choose_in_context(prices, (info, start), (grid, false), *slope, source, out)?
        }
        assigner => assign(assigner, start, source, out).map_err(Error::quantize(&info.name))?,
    };
    take(prices, (&info.shape, start), codebook, out)?;
    Ok(report)
}

/// Chooses symbols on a grid, or on the trellis over it, at the prices of the coder, whose state stays.
pub(crate) fn choose_in_context(
    prices: &mut ContextPrices,
    (info, start): (&TensorInfo, usize),
    (grid, on_trellis): (&Grid, bool),
    slope: f64,
    source: &Source<'_>,
    out: &mut [u16],
) -> Result<Report> {
    let before = prices.clone();
    let passes = PASSES[usize::from(source.len() > FEW)];
    let elements = start..start + source.len();
    let mut price = SegmentPrice::new(prices, &info.shape, elements, (*grid, on_trellis), source.weights)?;
    let report = if on_trellis {
        trellis::assign(source, grid, slope, passes, &mut price, out)
    } else {
        assign_sequential(source, grid, slope, passes, &mut price, out)
    };
    *prices = before;
    report.map_err(Error::quantize(&info.name))
}

/// Codes symbols of a tensor, from element `start` on, as the file will have them; returns their bits.
pub(crate) fn take(
    prices: &mut ContextPrices,
    (shape, start): (&[u64], usize),
    codebook: &Codebook,
    symbols: &[u16],
) -> Result<f64> {
    Ok(prices.take(&SegmentInput::Symbols {
        symbols,
        n_levels: codebook.n_levels(),
        zero: codebook.zero_symbol(),
        shape,
        first: start as u64,
    })?)
}
