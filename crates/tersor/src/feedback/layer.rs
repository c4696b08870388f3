//! A tensor that is quantized already.

use crate::scales::RowScales;
use crate::{Error, Result};
use tersor_codec::{Dtype, TensorInfo, decode_to_f32, encode_f32};
use tersor_quant::Report;
use tersor_quant::grid::Grid;

/// Symbols of a tensor on a grid, and what they cost.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerSymbols {
    /// The levels.
    pub grid: Grid,
    /// One per element, in row-major order, each below `grid.n_levels`.
    pub symbols: Vec<u16>,
    /// Scales of the rows, if the symbols are those of weights over them.
    pub scales: Option<RowScales>,
    /// Counts, squared error, and the predicted loss as whoever chose the symbols sees it.
    pub report: Report,
}

impl LayerSymbols {
    /// Symbols with their squared error against the weights. `loss`: the predicted loss increase, in the unit of the
    /// sensitivities.
    ///
    /// # Panics
    /// If weights and symbols differ in number.
    pub fn new(grid: Grid, symbols: Vec<u16>, weights: &[f32], loss: f64) -> Self {
        assert_eq!(symbols.len(), weights.len(), "a symbol for each weight");
        let report = report(&grid, &symbols, weights, loss);
        LayerSymbols {
            grid,
            symbols,
            scales: None,
            report,
        }
    }

    /// The same for weights that have been divided by these.
    #[must_use]
    pub fn with_scales(mut self, scales: RowScales) -> Self {
        self.scales = Some(scales);
        self
    }

    /// What the symbols stand for: a value for each element.
    pub fn values(&self) -> Vec<f32> {
        let level = |&symbol: &u16| self.grid.value(symbol.into());
        let levels: Vec<f32> = self.symbols.iter().map(level).collect();
        match &self.scales {
            Some(scales) => scales.multiplied(&levels),
            None => levels,
        }
    }

    /// Multiples of a step, on the smallest grid that holds them and zero, which a trellis counts from.
    pub(super) fn of_multiples(step: f32, multiples: &[i32], weights: &[f32], loss: f64) -> Self {
        let first = multiples.iter().min().map_or(0, |&m| m.min(0));
        let last = multiples.iter().max().map_or(0, |&m| m.max(0));
        let grid = Grid {
            step,
            first,
            n_levels: (last - first) as usize + 1,
        };
        let symbols = multiples.iter().map(|m| (m - first) as u16).collect();
        Self::new(grid, symbols, weights, loss)
    }

    /// Symbols on a grid of which only the levels in use, and those up to zero, are kept.
    pub(super) fn trimmed(grid: Grid, mut symbols: Vec<u16>, weights: &[f32], loss: f64) -> Self {
        let zero = grid.zero_symbol() as u16;
        let (first, last) = symbols
            .iter()
            .fold((zero, zero), |(a, b), &s| (a.min(s), b.max(s)));
        for symbol in &mut symbols {
            *symbol -= first;
        }
        let grid = Grid {
            step: grid.step,
            first: grid.first + i32::from(first),
            n_levels: usize::from(last - first) + 1,
        };
        Self::new(grid, symbols, weights, loss)
    }

    /// Copies the symbols from `start` on, and tells what they cost: their share of the loss, by number.
    pub(crate) fn part(&self, start: usize, weights: &[f32], out: &mut [u16]) -> Report {
        let symbols = self.symbols.get(start..start + out.len()).unwrap_or_default();
        if symbols.len() == out.len() {
            out.copy_from_slice(symbols);
        }
        let share = symbols.len() as f64 / self.symbols.len().max(1) as f64;
        report(&self.grid, symbols, weights, self.report.distortion * share)
    }

    /// Refuses what a file cannot hold, or would not decode to numbers.
    pub(crate) fn check(&self, info: &TensorInfo) -> Result<()> {
        let refuse = |what: String| {
            Err(Error::Options(format!(
                "symbols of tensor {:?}: {what}",
                info.name
            )))
        };
        if !info.dtype.is_float() {
            return refuse(format!("it is of type {}; only floats are quantized", info.dtype));
        }
        if info.n_elements() != Some(self.symbols.len() as u64) {
            let n = self.symbols.len();
            return refuse(format!(
                "{n} for the shape {:?}; there must be one per element",
                info.shape
            ));
        }
        let n_levels = self.grid.n_levels;
        crate::design::grid_codebook(&self.grid).check()?;
        if let Some(bad) = self.symbols.iter().find(|&&s| usize::from(s) >= n_levels) {
            return refuse(format!(
                "there is {bad}, the grid has levels 0 to {}",
                n_levels.max(1) - 1
            ));
        }
        if let Some(scales) = &self.scales {
            let n_rows = info.shape.first().copied().unwrap_or(1);
            let scales = scales.values();
            if scales.len() as u64 != n_rows || !scales.iter().all(|s| s.is_finite() && *s > 0.0) {
                return refuse(format!(
                    "{} scales; there must be a positive one for each of {n_rows} rows",
                    scales.len()
                ));
            }
            let is_finite = |&value: &f32| rounded(value, info.dtype).is_finite();
            if !self.values().iter().all(is_finite) {
                return refuse(format!(
                    "a level times its scale is not a finite {}; choose other steps",
                    info.dtype
                ));
            }
        }
        for symbol in [0, n_levels.max(1) as u32 - 1] {
            let level = self.grid.value(symbol);
            if !rounded(level, info.dtype).is_finite() {
                return refuse(format!(
                    "the level {level:e} is not a finite {}; choose other steps",
                    info.dtype
                ));
            }
        }
        Ok(())
    }
}

/// A number in an element type.
pub(crate) fn rounded(level: f32, dtype: Dtype) -> f32 {
    let bytes = encode_f32(level, dtype).unwrap_or(0).to_le_bytes();
    let values = bytes
        .get(..dtype.size_bytes())
        .and_then(|bytes| decode_to_f32(bytes, dtype));
    values.and_then(|v| v.first().copied()).unwrap_or(level)
}

fn report(grid: &Grid, symbols: &[u16], weights: &[f32], loss: f64) -> Report {
    let mut counts = vec![0; grid.n_levels];
    let mut squared_error = 0.0;
    for (&symbol, &w) in symbols.iter().zip(weights) {
        if let Some(count) = counts.get_mut(usize::from(symbol)) {
            *count += 1;
        }
        let error = f64::from(w) - f64::from(grid.value(symbol.into()));
        squared_error += error * error;
    }
    Report::new(counts, loss, squared_error)
}
