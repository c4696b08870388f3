//! Uniform cells, with values on the grid or at the means of the cells.
//!
//! # Source
//! Choi, El-Khamy, Lee, "Towards the Limit of Network Quantization", 2017, section 5.3 and appendix A.1; asymptotically
//! optimal before an entropy code (Gish and Pierce 1968). The paper leaves open where cells lie; here one is
//! centred on zero and its value stays exactly zero.

use crate::error::Result;
use crate::fold::{self, GROUPS};
use crate::grid::{self, Grid};
use crate::report::Report;
use crate::rounding::Rounding;
use crate::source::Source;
use crate::span::Span;

/// What stands for the members of a cell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Centres {
    /// The middle of the cell, a multiple of the step: needs no table.
    #[default]
    Grid,
    /// The mean of the members.
    Mean,
    /// Their Hessian-weighted mean: never a larger loss than the others (appendix A.1).
    WeightedMean,
}

/// Settings of [`design`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UniformConfig {
    /// Width of the cells, from 2^-126 to 2^126.
    pub step: f32,
    /// Values of the cells.
    pub centres: Centres,
}

/// Cells of one width from the one of the least weight to that of the greatest.
#[derive(Clone, Debug, PartialEq)]
pub struct Uniform {
    /// Width of the cells.
    pub step: f32,
    /// Index of the first cell: cell `i` is centred on `i * step`.
    pub first: i32,
    /// Number of cells.
    pub n_levels: usize,
    /// Values of all cells, empty ones on the grid, the one around zero exactly 0. With [`Centres::Grid`] they are
    /// `step * (first + symbol) as f32`, one rounding.
    pub levels: Vec<f32>,
}

impl Uniform {
    /// The cells.
    pub const fn grid(&self) -> Grid {
        Grid {
            step: self.step,
            first: self.first,
            n_levels: self.n_levels,
        }
    }
}

impl From<Grid> for Uniform {
    /// Cells with their values on the grid.
    fn from(grid: Grid) -> Self {
        Uniform {
            step: grid.step,
            first: grid.first,
            n_levels: grid.n_levels,
            levels: (0..grid.n_levels as u32).map(|s| grid.value(s)).collect(),
        }
    }
}

/// Lays cells over all weights. One pass for the range, one more for means; `O(n)`.
///
/// A cell whose members all have sensitivity 0 takes their plain mean.
///
/// # Errors
/// [`crate::Error::Setting`] for a step out of range and [`crate::Error::StepTooSmall`] beyond 65,536 cells.
pub fn design(parts: &[Source], config: &UniformConfig) -> Result<Uniform> {
    let grid = Grid::spanning(Span::of(parts), config.step)?;
    Ok(design_on(parts, grid, config.centres))
}

/// [`design`] on a grid that holds all weights: no pass but that for means.
pub fn design_on(parts: &[Source], grid: Grid, centres: Centres) -> Uniform {
    let mut cells = Uniform::from(grid);
    if centres != Centres::Grid {
        let weighted = centres == Centres::WeightedMean;
        for (symbol, mean) in means(parts, &grid, weighted).into_iter().enumerate() {
            if let Some(mean) = mean.filter(|_| symbol as i32 + grid.first != 0) {
                cells.levels[symbol] = mean;
            }
        }
    }
    cells
}

/// Assigns weights to the cells they lie in (not to the nearest of moved centres).
///
/// A weight outside the cells goes to the outermost. On a threshold the even index wins, up to the rounding of
/// `w * (1 / step)` to `f32`.
///
/// # Panics
/// If `out` and the source differ in length, or there is a weight and no cell.
pub fn assign(source: &Source, uniform: &Uniform, out: &mut [u16]) -> Report {
    grid::assign_to(source, &uniform.grid(), &uniform.levels, out)
}

/// Means of the members of each cell, if it has any.
fn means(parts: &[Source], grid: &Grid, weighted: bool) -> Vec<Option<f32>> {
    #[derive(Clone, Copy, Default)]
    struct Cell {
        n: f64,
        w: f64,
        h: f64,
        hw: f64,
    }
    let rounding = Rounding::new(grid.step, grid.first, grid.n_levels);
    let cells = fold::fold(
        parts,
        GROUPS,
        || vec![Cell::default(); grid.n_levels],
        |cells, _, chunk| {
            chunk.for_each(|w, h| {
                let cell = &mut cells[(rounding.index(w) - grid.first) as usize];
                let (w, h) = (f64::from(w), f64::from(h));
                *cell = Cell {
                    n: cell.n + 1.0,
                    w: cell.w + w,
                    h: cell.h + h,
                    hw: cell.hw + h * w,
                };
            });
        },
        |a, b| {
            for (a, b) in a.iter_mut().zip(b) {
                *a = Cell {
                    n: a.n + b.n,
                    w: a.w + b.w,
                    h: a.h + b.h,
                    hw: a.hw + b.hw,
                };
            }
        },
    );
    let mean = |c: Cell| {
        if weighted && c.h > 0.0 {
            c.hw / c.h
        } else {
            c.w / c.n
        }
    };
    cells
        .into_iter()
        .map(|c| (c.n > 0.0).then(|| mean(c) as f32))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn levels(w: &[f32], h: &[f32], centres: Centres) -> Uniform {
        design(&[Source::per_weight(w, h)], &UniformConfig { step: 1.0, centres }).unwrap()
    }

    #[test]
    fn centres_by_hand() {
        let (w, h) = ([-1.2, 0.3, 0.1, 2.8, 3.2], [1.0, 1.0, 1.0, 3.0, 1.0]);
        assert_eq!(levels(&w, &h, Centres::Grid).levels, [-1.0, 0.0, 1.0, 2.0, 3.0]);
        assert_eq!(levels(&w, &h, Centres::Mean).levels, [-1.2, 0.0, 1.0, 2.0, 3.0]);
        assert_eq!(
            levels(&w, &h, Centres::WeightedMean).levels,
            [-1.2, 0.0, 1.0, 2.0, 2.9]
        );
        let uniform = levels(&w, &h, Centres::WeightedMean);
        assert_eq!((uniform.first, uniform.n_levels), (-1, 5));
        let mut out = [9; 5];
        let report = assign(&Source::per_weight(&w, &h), &uniform, &mut out);
        assert_eq!(out, [0, 1, 1, 4, 4]);
        assert_eq!(
            (report.counts.clone(), report.levels_in_use),
            (vec![1, 2, 0, 0, 2], 3)
        );
        let by_hand = 0.5 * (0.09 + 0.01 + 3.0 * 0.01 + 0.09);
        assert!((report.distortion - by_hand).abs() < 1e-6, "{report:?}");
    }

    #[test]
    fn a_cell_without_sensitivity_takes_the_plain_mean() {
        assert_eq!(
            levels(&[2.8, 3.0], &[0.0, 0.0], Centres::WeightedMean).levels,
            [2.9]
        );
    }

    #[test]
    fn a_step_out_of_range_is_refused_with_the_range() {
        let parts = [Source::constant(&[-1.0, 1.0], 1.0)];
        let design = |step| {
            design(
                &parts,
                &UniformConfig {
                    step,
                    centres: Centres::Grid,
                },
            )
        };
        assert_eq!(
            design(0.0).unwrap_err().to_string(),
            "step is 0e0, allowed is a number from 2^-126 to 2^126"
        );
        assert!(design(f32::NAN).is_err());
        let message = design(1e-5).unwrap_err().to_string();
        assert!(message.contains("step 1e-5 needs 200001 levels"), "{message}");
        assert!(design(3.06e-5).is_ok(), "the message names 3.05e-5: {message}");
    }
}
