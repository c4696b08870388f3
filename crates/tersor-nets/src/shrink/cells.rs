//! Weights behind the cells of a grid with a dead zone.
//!
//! # Source
//! G. Sullivan, "Efficient scalar quantization of exponential and Laplacian random variables", 1996.

use rayon::prelude::*;
use tersor::feedback::LayerSymbols;
use tersor_quant::grid::Grid;

/// Where the magnitude 1 begins, in steps, unless a size asks for more or less.
pub(super) const START: f32 = 0.6;
/// Weights begin at least so far inside the cells that they are put in, in steps: at the edge, the noise of a few steps would undo what
/// error feedback has chosen.
const INSIDE: f32 = 0.2;

/// The weights of a layer, and what they are rounded to.
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) name: String,
    /// Index among the parameters.
    pub(super) parameter: usize,
    /// Distance of levels.
    step: f32,
    /// The largest magnitude, in steps.
    most: u16,
    /// Where the magnitude 1 begins, in steps; every further one begins a step later.
    start: f32,
    /// The weights, in steps.
    free: Vec<f32>,
}

impl Layer {
    /// Weights in the cells of their symbols, as near to where they were as these allow.
    pub(super) fn new(parameter: usize, name: &str, weights: &[f32], rounded: &LayerSymbols) -> Self {
        let grid = &rounded.grid;
        let multiples: Vec<i32> = rounded
            .symbols
            .iter()
            .map(|&s| grid.first + i32::from(s))
            .collect();
        let most = multiples.iter().map(|m| m.unsigned_abs()).max().unwrap_or(0);
        let inside = |(w, &multiple): (&f32, &i32)| {
            let (w, magnitude) = (w / grid.step, multiple.unsigned_abs() as f32);
            let end = START + magnitude - INSIDE;
            if multiple == 0 {
                return w.clamp(-end, end);
            }
            let sign = multiple.signum() as f32;
            sign * (sign * w).clamp(START + magnitude - 1.0 + INSIDE, end)
        };
        Self {
            name: name.to_owned(),
            parameter,
            step: grid.step,
            most: most.min(u16::MAX.into()) as u16,
            start: START,
            free: weights.iter().zip(&multiples).map(inside).collect(),
        }
    }

    /// Widens or narrows the cell of zero.
    pub(super) fn set_start(&mut self, start: f32) {
        self.start = start;
    }

    /// The multiple of the step that a weight, in steps, is rounded to.
    fn round(&self, w: f32) -> i32 {
        let magnitude = (w.abs() - self.start + 1.0).floor().clamp(0.0, self.most.into());
        magnitude.copysign(w) as i32
    }

    /// Weights from outside.
    pub(super) fn set(&mut self, weights: &[f32]) {
        self.free.clear();
        self.free.extend(weights.iter().map(|w| w / self.step));
    }

    /// Writes the weights.
    pub(super) fn free(&self, weights: &mut [f32]) {
        for (out, w) in weights.iter_mut().zip(&self.free) {
            *out = w * self.step;
        }
    }

    /// Writes what they are rounded to.
    pub(super) fn rounded(&self, weights: &mut [f32]) {
        for (out, &w) in weights.iter_mut().zip(&self.free) {
            *out = self.step * self.round(w) as f32;
        }
    }

    /// Moves the weights as what they were rounded to has moved, and rounds it again.
    pub(super) fn moved(&mut self, weights: &mut [f32]) {
        let mut free = std::mem::take(&mut self.free);
        let most = f32::from(self.most) + self.start;
        let each = |(out, w): (&mut f32, &mut f32)| {
            let moved = *w + *out / self.step - self.round(*w) as f32;
            *w = moved.clamp(-most, most);
            *out = self.step * self.round(*w) as f32;
        };
        weights.par_iter_mut().zip(&mut free).for_each(each);
        self.free = free;
    }

    /// The symbols of what they are rounded to; the squared error of the report is that of `weights`.
    pub(super) fn symbols(&self, weights: &[f32]) -> LayerSymbols {
        let most = i32::from(self.most);
        let grid = Grid {
            step: self.step,
            first: -most,
            n_levels: 2 * usize::from(self.most) + 1,
        };
        let symbol = |&w: &f32| (self.round(w) + most) as u16;
        LayerSymbols::new(grid, self.free.iter().map(symbol).collect(), weights, 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: f32 = 0.25;

    fn weights() -> Vec<f32> {
        (-500..500).map(|i| (i as f32 / 250.0).powi(3) / 4.0).collect()
    }

    /// On the nearest levels.
    fn layer() -> Layer {
        let weights = weights();
        let most = 8;
        let grid = Grid {
            step: STEP,
            first: -most,
            n_levels: 17,
        };
        let symbol = |w: &f32| ((w / STEP).round() as i32 + most) as u16;
        let symbols = weights.iter().map(symbol).collect();
        Layer::new(0, "w", &weights, &LayerSymbols::new(grid, symbols, &weights, 0.0))
    }

    fn rounded(layer: &Layer) -> Vec<f32> {
        let mut rounded = weights();
        layer.rounded(&mut rounded);
        rounded
    }

    #[test]
    fn weights_begin_in_the_cells_of_their_symbols() {
        let layer = layer();
        for (w, rounded) in weights().iter().zip(rounded(&layer)) {
            assert_eq!((w / STEP).round() * STEP, rounded, "{w}");
        }
        let mut free = weights();
        layer.free(&mut free);
        for (w, free) in weights().iter().zip(free) {
            assert!((w - free).abs() < 0.5 * STEP, "{w} went to {free}");
        }
    }

    #[test]
    fn a_wider_cell_makes_more_of_them_zero() {
        let mut layer = layer();
        layer.set(&weights());
        layer.set_start(0.5);
        for (w, rounded) in weights().iter().zip(rounded(&layer)) {
            assert!((w - rounded).abs() <= 0.5 * STEP + 1e-6, "{w} {rounded}");
        }
        layer.set_start(0.9);
        for (w, rounded) in weights().iter().zip(rounded(&layer)) {
            assert_eq!(rounded == 0.0, w.abs() < 0.9 * STEP, "{w} {rounded}");
        }
        // The symbols say the same.
        let symbols = layer.symbols(&weights());
        let values = symbols.symbols.iter().map(|&s| symbols.grid.value(s.into()));
        assert!(values.eq(rounded(&layer)));
    }

    #[test]
    fn what_moves_a_level_moves_the_weight_behind_it() {
        let mut layer = layer();
        let before = layer.free.clone();
        let mut values = rounded(&layer);
        for v in &mut values {
            *v += 0.1 * STEP;
        }
        layer.moved(&mut values);
        for (after, before) in layer.free.iter().zip(&before).filter(|(_, b)| **b < 8.0) {
            assert!((after - before - 0.1).abs() < 1e-4, "{after} {before}");
        }
        assert_eq!(values, rounded(&layer));
    }
}
