//! Symbols of a tensor in a group that is coded with `context`: on grids each is chosen at the price that the coder has for it then.

use crate::design::{Assigner, Coding, assign, grid_codebook};
use crate::price::SegmentPrice;
use crate::{Error, Result};
use tersor_codec::{Codebook, ContextPrices, SegmentInput, TensorInfo};
use tersor_quant::grid::assign_sequential;
use tersor_quant::{Report, Source};

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
    let wrap = Error::quantize(&info.name);
    let report = match &coding.assigner {
        Assigner::Grid(grid, _, slope) if grid_codebook(grid) == *codebook && grid.n_levels > 1 => {
            let before = prices.clone();
            let mut price = SegmentPrice::new(prices, &info.shape, start..start + source.len(), *grid)?;
            let passes = PASSES[usize::from(source.len() > FEW)];
            let found = assign_sequential(source, grid, *slope, passes, &mut price, out).map_err(wrap)?;
            *prices = before;
            found
        }
        assigner => assign(assigner, start, source, out).map_err(wrap)?,
    };
    prices.take(&SegmentInput::Symbols {
        symbols: out,
        n_levels: codebook.n_levels(),
        zero: codebook.zero_symbol(),
        shape: &info.shape,
        first: start as u64,
    })?;
    Ok(report)
}
