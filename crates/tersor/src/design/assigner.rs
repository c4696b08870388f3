//! How the elements of a tensor become symbols.

use crate::feedback::LayerSymbols;
use crate::fine;
use std::sync::Arc;
use tersor_codec::Codebook;
use tersor_quant::{Report, Source, StaticPrices, ecsq, grid, uniform};

/// How the elements of a tensor become symbols.
#[derive(Clone, Debug)]
pub(crate) enum Assigner {
    /// Rate-aware on a grid.
    Grid(grid::Grid, StaticPrices, f64),
    /// The cell that holds the element.
    Cells(uniform::Uniform),
    /// The nearest level; exact zeros to the reserved one.
    Nearest(Vec<f32>, Option<u16>),
    /// Rate-aware among free levels.
    Ecsq(ecsq::Ecsq, f64),
    /// Rounded to some mantissa bits.
    Mantissa { mantissa_bits: u32, first: u32 },
    /// Always the same symbol.
    Constant,
    /// Symbols that are known: given from outside, or found with error feedback.
    Symbols(Arc<LayerSymbols>),
}

/// Counts and loss of a source.
pub(super) fn cost(assigner: &Assigner, source: &Source<'_>) -> tersor_quant::Result<Report> {
    assign(assigner, 0, source, &mut vec![0; source.len()])
}

/// Turns a source into symbols: a tensor from element `start` on.
pub(crate) fn assign(
    assigner: &Assigner,
    start: usize,
    source: &Source<'_>,
    out: &mut [u16],
) -> tersor_quant::Result<Report> {
    match assigner {
        Assigner::Grid(grid, prices, slope) => grid::assign(source, grid, prices, *slope, out),
        Assigner::Cells(cells) => Ok(uniform::assign(source, cells, out)),
        Assigner::Nearest(levels, zero) => tersor_quant::assign_nearest(source, levels, *zero, out),
        Assigner::Ecsq(found, slope) => ecsq::assign(source, found, *slope, out),
        Assigner::Mantissa { mantissa_bits, first } => {
            Ok(fine::assign_mantissa(source, *mantissa_bits, *first, out))
        }
        Assigner::Constant => {
            out.fill(0);
            Ok(Report::new(vec![source.len() as u64], 0.0, 0.0))
        }
        Assigner::Symbols(layer) => Ok(layer.part(start, source.weights, out)),
    }
}

pub(super) fn codebook_of(assigner: &Assigner) -> Codebook {
    match assigner {
        Assigner::Grid(grid, ..) => grid_codebook(grid),
        Assigner::Cells(cells) => {
            let grid = cells.grid();
            let on_grid = cells.levels.iter().zip(0..).all(|(&l, s)| l == grid.value(s));
            if on_grid {
                grid_codebook(&grid)
            } else {
                Codebook::Table(cells.levels.clone())
            }
        }
        Assigner::Nearest(levels, _) => Codebook::Table(levels.clone()),
        Assigner::Ecsq(found, _) => Codebook::Table(found.levels.clone()),
        Assigner::Symbols(layer) => grid_codebook(&layer.grid),
        Assigner::Mantissa { .. } | Assigner::Constant => Codebook::Table(vec![0.0]),
    }
}

/// The grid as a codebook; one level at least, so that an empty tensor has one.
pub(crate) fn grid_codebook(grid: &grid::Grid) -> Codebook {
    Codebook::Grid {
        step: grid.step,
        first: grid.first,
        n_levels: grid.n_levels.max(1) as u32,
    }
}
