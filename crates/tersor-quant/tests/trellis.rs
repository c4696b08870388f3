//! Assignment on a trellis, with error feedback and without: symbols are a path, numbers are true, and they cost less than scalar symbols do.

#![allow(clippy::unwrap_used, reason = "helpers of tests may fail a test")]

mod support;

use std::ops::RangeInclusive;
use support::layer::{Counting, curvature, errors, inputs, moment, quadratic};
use support::{laplacian, pruned};
use tersor_quant::feedback::{FeedbackConfig, Gram, Layer, Problem};
use tersor_quant::grid::{Grid, assign_sequential};
use tersor_quant::trellis::{self, States, index, quantizer};
use tersor_quant::{Balance, PRICE_ONE_BIT, SequentialPrice, Source, TrellisPrice};

/// Counts the indices of each quantizer.
#[derive(Clone, Debug, PartialEq)]
struct Turns {
    coders: [Counting; 2],
    state: usize,
    next: usize,
    reach: i32,
}

impl Turns {
    fn new(reach: i32) -> Self {
        let coder = Counting::new(reach / 2 + 1);
        Turns {
            coders: [coder.clone(), coder],
            state: 0,
            next: 0,
            reach,
        }
    }
}

impl SequentialPrice for Turns {
    type Snapshot = Self;

    fn bits(&mut self, position: usize, symbol: i32) -> u32 {
        let q = quantizer(self.state);
        index(q, symbol).map_or(u32::MAX, |index| self.index_bits(position, q, index))
    }

    fn push(&mut self, position: usize, symbol: i32) {
        let q = quantizer(self.state);
        let index = index(q, symbol).unwrap();
        self.push_index(position, q, index);
        self.state = States::Eight.next(self.state, index % 2 != 0);
    }

    fn rewind(&mut self) {
        (self.state, self.next) = (0, 0);
    }

    fn snapshot(&self) -> Self {
        self.clone()
    }

    fn restore(&mut self, snapshot: &Self) {
        self.clone_from(snapshot);
    }

    fn alphabet(&self) -> RangeInclusive<i32> {
        -self.reach..=self.reach
    }
}

impl TrellisPrice for Turns {
    fn index_bits(&mut self, position: usize, quantizer: usize, index: i32) -> u32 {
        assert_eq!(position, self.next, "prices are asked for the next position");
        let coder = &mut self.coders[quantizer];
        coder.rewind();
        coder.bits(0, index)
    }

    fn push_index(&mut self, position: usize, quantizer: usize, index: i32) {
        assert_eq!(position, self.next, "indices are pushed in order");
        let coder = &mut self.coders[quantizer];
        coder.rewind();
        coder.push(0, index);
        self.next += 1;
    }
}

/// Whether symbols follow each other from state 0.
fn is_path(symbols: &[i32]) -> bool {
    let mut state = 0;
    symbols.iter().all(|&symbol| {
        let index = index(quantizer(state), symbol);
        state = States::Eight.next(state, index.unwrap_or(0) % 2 != 0);
        index.is_some()
    })
}

#[test]
fn a_path_with_feedback_costs_less_than_feedback_and_descent() {
    let (rows, n) = (200, 120);
    let x = inputs(500, n, 21);
    let (w, gram) = (laplacian(rows * n, 22), moment(&x, &x, n));
    let layer = Layer::new(&w, Gram::new(&gram, n, n).unwrap());
    let problem = Problem::new(&layer, &FeedbackConfig::default()).unwrap();
    for slope in [0.03, 0.1] {
        // Each at the best of a few steps.
        let least = |steps: [f32; 4], cost: &dyn Fn(f32) -> (f64, f64)| {
            let costs = steps.map(cost);
            costs.into_iter().min_by(|a, b| a.0.total_cmp(&b.0)).unwrap()
        };
        let scalar = least([0.6, 0.9, 1.2, 1.6], &|step| {
            let found = problem.quantize(step, slope, &mut Counting::new(30)).unwrap();
            let last = found.trace.last().unwrap();
            (last.j(slope), last.rate_bits)
        });
        let path = least([0.3, 0.45, 0.6, 0.8], &|step| {
            let found = problem
                .quantize_on_trellis(step, slope, &mut Turns::new(60))
                .unwrap();
            assert!(is_path(&found.symbols));
            assert!(found.trace.windows(2).all(|t| t[1].j(slope) < t[0].j(slope)));
            let last = found.trace.last().unwrap();
            (last.j(slope), last.rate_bits)
        });
        let gain = (scalar.0 - path.0) / slope / w.len() as f64;
        let rate = scalar.1 / w.len() as f64;
        assert!(gain > 0.1, "{gain} bits of {rate}");
    }
}

#[test]
fn the_loss_is_the_quadratic_form_and_paths_go_on_from_block_to_block() {
    // More columns than are decided at once, in two diagonal blocks of moments, with zeros that stay.
    let (rows, n, block) = (4, 620, 330);
    let mut gram = vec![0f32; 2 * block * block];
    let mut full = vec![0f32; n * n];
    for (b, seed) in [(0, 31), (1, 32)] {
        let width = block.min(n - b * block);
        let x = inputs(700, width, seed);
        let moments = moment(&x, &x, width);
        for (i, j) in (0..width).flat_map(|i| (0..width).map(move |j| (i, j))) {
            gram[b * block * block + i * block + j] = moments[i * width + j];
            full[(b * block + i) * n + b * block + j] = moments[i * width + j];
        }
    }
    let w = pruned(rows * n, 0.2, 33);
    let row_weights = [1.0, 0.5, 2.0, 0.5];
    let layer = Layer {
        sensitivity: 3.0,
        row_weights: Some(&row_weights),
        ..Layer::new(&w, Gram::new(&gram, n, block).unwrap())
    };
    let config = FeedbackConfig {
        damping: 0.05,
        ..FeedbackConfig::default()
    };
    let problem = Problem::new(&layer, &config).unwrap();
    let (step, slope) = (0.4, 0.05);
    let mut price = Turns::new(200);
    let found = problem.quantize_on_trellis(step, slope, &mut price).unwrap();
    assert!(is_path(&found.symbols));
    let kept = w.iter().zip(&found.symbols).all(|(&w, &s)| w != 0.0 || s == 0);
    assert!(kept && found.symbols.iter().any(|&s| s % 2 != 0));
    let h = curvature(&full, n, 0.05);
    let e = errors(&w, &found.symbols, step);
    let losses = e.chunks_exact(n).zip(row_weights);
    let loss: f64 = losses
        .map(|(e, weight)| 0.5 * 3.0 * f64::from(weight) * quadratic(e, &h))
        .sum();
    let last = found.trace.last().unwrap();
    assert!((last.distortion - loss).abs() < 1e-5 * loss, "{last:?} {loss}");
    // The coder is left as it is after the symbols.
    let mut after = Turns::new(200);
    let mut bits = 0;
    for (i, &symbol) in found.symbols.iter().enumerate() {
        bits += u64::from(after.bits(i, symbol));
        after.push(i, symbol);
    }
    assert_eq!(price, after);
    assert_eq!(last.rate_bits, bits as f64 / 65536.0);
}

#[test]
fn symbols_stay_in_the_alphabet_and_nothing_has_no_symbols() {
    let (rows, n) = (8, 40);
    let x = inputs(200, n, 41);
    let (w, gram) = (laplacian(rows * n, 42), moment(&x, &x, n));
    let layer = Layer::new(&w, Gram::new(&gram, n, n).unwrap());
    let problem = Problem::new(&layer, &FeedbackConfig::default()).unwrap();
    let found = problem
        .quantize_on_trellis(0.1, 1e-3, &mut Turns::new(5))
        .unwrap();
    assert!(is_path(&found.symbols) && found.symbols.iter().all(|s| s.abs() <= 5));
    assert!(
        problem
            .quantize_on_trellis(0.0, 1e-3, &mut Turns::new(5))
            .is_err()
    );
    let none = Problem::new(
        &Layer::new(&[], Gram::new(&gram, n, n).unwrap()),
        &FeedbackConfig::default(),
    );
    let found = none
        .unwrap()
        .quantize_on_trellis(0.1, 1e-3, &mut Turns::new(5))
        .unwrap();
    assert!(found.symbols.is_empty());
}

/// Levels as far as `reach` times the step.
fn levels(step: f32, reach: i32) -> Grid {
    Grid {
        step,
        first: -reach,
        n_levels: 2 * reach as usize + 1,
    }
}

fn multiples(symbols: &[u16], grid: &Grid) -> Vec<i32> {
    symbols.iter().map(|&s| grid.first + i32::from(s)).collect()
}

/// Bits of symbols from a state of the coder on, which is as it is after them then.
fn coded_bits(symbols: &[i32], price: &mut impl SequentialPrice) -> f64 {
    let bits = symbols.iter().enumerate().map(|(i, &symbol)| {
        let bits = f64::from(price.bits(i, symbol));
        price.push(i, symbol);
        bits
    });
    bits.sum::<f64>() / f64::from(PRICE_ONE_BIT)
}

#[test]
fn a_path_without_feedback_costs_less_than_the_cheapest_levels() {
    let w = pruned(24_000, 0.02, 51);
    let h: Vec<f32> = (0..w.len()).map(|i| 1.0 + (i % 3) as f32).collect();
    let source = Source::per_weight(&w, &h);
    let mut symbols = vec![0; w.len()];
    for slope in [0.03, 0.1] {
        let step = tersor_quant::grid::step_for_slope(slope, source.mean_h());
        let grid = levels(step, 60);
        let mut price = Counting::new(60);
        let report = assign_sequential(&source, &grid, slope, 2, &mut price, &mut symbols).unwrap();
        let bits = coded_bits(&multiples(&symbols, &grid), &mut Counting::new(60));
        let scalar = report.distortion + slope * bits;

        let grid = levels(0.64 * step, 90);
        let mut price = Turns::new(90);
        let report = trellis::assign(&source, &grid, slope, 2, &mut price, &mut symbols).unwrap();
        let path = multiples(&symbols, &grid);
        assert!(is_path(&path));
        assert!(
            w.iter().zip(&path).all(|(&w, &s)| w != 0.0 || s == 0),
            "zeros stay"
        );
        let e = errors(&w, &path, grid.step);
        let losses = e.iter().zip(&h).map(|(e, &h)| 0.5 * f64::from(h) * e * e);
        let loss: f64 = losses.sum();
        assert!((report.distortion - loss).abs() < 1e-6 * loss);
        // The coder is left as it is after the symbols.
        let mut after = Turns::new(90);
        let bits = coded_bits(&path, &mut after);
        assert_eq!(price, after);
        let n_kept = w.iter().filter(|w| **w != 0.0).count();
        let gain = (scalar - loss - slope * bits) / slope / n_kept as f64;
        assert!(gain > 0.05, "{gain} bits at {slope}");
    }
}

#[test]
fn each_path_has_sums_of_errors_of_its_own() {
    // Rows of more weights than are decided at once.
    let (rows, n) = (40, 300);
    let w = laplacian(rows * n, 61);
    let plain = Source::constant(&w, 2.0);
    let balance = Balance::new((n, 1), 0.0, 0.5);
    let grid = levels(0.3, 90);
    let sums = |source: Source| {
        let mut symbols = vec![0; w.len()];
        let report = trellis::assign(&source, &grid, 0.05, 1, &mut Turns::new(90), &mut symbols).unwrap();
        let path = multiples(&symbols, &grid);
        assert!(is_path(&path));
        let e = errors(&w, &path, grid.step);
        let rows = e.chunks_exact(n).map(|e| e.iter().sum::<f64>().powi(2));
        (rows.sum::<f64>(), report.distortion)
    };
    let ((before, loss), (after, balanced)) = (sums(plain), sums(plain.balanced(&balance)));
    assert!(after < 0.05 * before, "{after} of {before}");
    assert!(balanced < 1.1 * loss, "{balanced} after {loss}");
}

#[test]
fn a_trellis_needs_zero_among_the_levels() {
    let grid = Grid {
        step: 0.1,
        first: 1,
        n_levels: 3,
    };
    let mut price = Turns::new(5);
    let source = Source::constant(&[0.2], 1.0);
    let assign = |grid: &Grid, slope: f64, price: &mut Turns| {
        trellis::assign(&source, grid, slope, 1, price, &mut [0])
    };
    assert!(assign(&levels(0.1, 5), 0.1, &mut price).is_ok());
    assert!(assign(&levels(0.1, 5), -0.1, &mut price).is_err());
    assert!(assign(&grid, 0.1, &mut price).is_err());
}
