//! Symbols of a tensor in a group that is coded with `context`: on grids each is chosen at the price that the coder has for it then.

use crate::design::{Assigner, Coding, assign};
use crate::price::SegmentPrice;
use crate::{Error, Result};
use tersor_codec::{Codebook, ContextPrices, SegmentInput, TensorInfo};
use tersor_quant::grid::{Grid, assign_sequential};
use tersor_quant::{Report, Source, trellis};

/// Passes over a tensor of few elements, where the first learns what the next one uses, and over others, where the whole cost rests after one:
/// what more would bring is in `docs/results/ingredients.md`.
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
    let passes = PASSES[usize::from(source.len() > FEW)];
    choose_in_passes(
        prices,
        (info, start),
        (grid, on_trellis),
        (slope, passes),
        source,
        out,
    )
}

/// The same in so many passes at most.
fn choose_in_passes(
    prices: &mut ContextPrices,
    (info, start): (&TensorInfo, usize),
    (grid, on_trellis): (&Grid, bool),
    (slope, passes): (f64, usize),
    source: &Source<'_>,
    out: &mut [u16],
) -> Result<Report> {
    let before = prices.clone();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::design::grid_codebook;
    use tersor_codec::Dtype;

    /// Sums of twelve uniform numbers less six.
    fn normal(n: usize) -> Vec<f32> {
        let mut state = 7u64;
        let mut uniform = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 40) as f32 / (1 << 24) as f32
        };
        (0..n)
            .map(|_| (0..12).map(|_| uniform()).sum::<f32>() - 6.0)
            .collect()
    }

    /// What the symbols of a square matrix with rows of three magnitudes cost after so many passes at most: distortion and slope times bits.
    fn cost(n: u64, on_trellis: bool, step: f32, passes: usize) -> f64 {
        let mut weights = normal((n * n) as usize);
        for (row, weights) in weights.chunks_mut(n as usize).enumerate() {
            let magnitude = [0.5, 1.0, 2.0][row % 3];
            for w in weights {
                *w *= magnitude;
            }
        }
        let source = Source::constant(&weights, 1.0);
        let info = TensorInfo {
            name: "matrix".into(),
            dtype: Dtype::F32,
            shape: vec![n, n],
            shard: 0,
        };
        let slope = f64::from(step * step) * std::f64::consts::LN_2 / 12.0;
        let step = if on_trellis { 0.64 * step } else { step };
        let grid = Grid::fit(&source, step).unwrap();
        let grid = Grid {
            first: grid.first - 2,
            n_levels: grid.n_levels + 4,
            ..grid
        };
        let (mut prices, mut symbols) = (ContextPrices::new(), vec![0; weights.len()]);
        let (at, on) = ((&info, 0), (&grid, on_trellis));
        let report = choose_in_passes(&mut prices, at, on, (slope, passes), &source, &mut symbols).unwrap();
        let bits = take(&mut prices, (&info.shape, 0), &grid_codebook(&grid), &symbols).unwrap();
        report.distortion + slope * bits
    }

    #[test]
    fn the_cost_rests_after_as_many_passes_as_there_are() {
        println!("elements  trellis  step  cost of more passes");
        for n in [40, 200] {
            for on_trellis in [false, true] {
                for step in [0.5, 1.0, 2.0, 4.0] {
                    let passes = PASSES[usize::from(n * n > FEW as u64)];
                    let [found, settled] = [passes, 8].map(|passes| cost(n, on_trellis, step, passes));
                    let gain = settled / found - 1.0;
                    println!("{:8}  {on_trellis:7}  {step:4}  {:+.3} %", n * n, 100.0 * gain);
                    assert!(gain > -0.01, "{n} {on_trellis} {step}: {gain}");
                }
            }
        }
    }
}
