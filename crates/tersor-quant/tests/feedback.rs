//! Error feedback: what it gains, what it never loses, and that its numbers are true.

#![allow(clippy::unwrap_used, reason = "helpers of tests may fail a test")]

mod support;

use proptest::prelude::*;
use support::layer::{
    Counting, curvature, entropy, errors, identity, inputs, moment, nearest, output_error, outputs, quadratic,
};
use support::{Rng, gaussian, laplacian, pruned};
use tersor_quant::feedback::{FeedbackConfig, Gram, Layer, Problem, Quantized};
use tersor_quant::{GridPrices, RateModel, SequentialPrice, Source, StaticPrices, grid};

const STEP: f32 = 0.8;

fn config(passes: usize) -> FeedbackConfig {
    FeedbackConfig {
        passes,
        ..FeedbackConfig::default()
    }
}

/// Prices that rise with the magnitude, for the levels `-reach ..= reach`.
fn slanted(reach: i32) -> StaticPrices {
    let bits = (-reach..=reach).map(|s: i32| 40_000 + 70_000 * s.unsigned_abs());
    StaticPrices::from_bits(bits.collect())
}

fn free(reach: i32) -> StaticPrices {
    StaticPrices::from_bits(vec![0; 2 * reach as usize + 1])
}

fn quantize(problem: &Problem, slope: f64, table: &StaticPrices) -> Quantized {
    let reach = table.len() / 2;
    let prices = GridPrices::new(table, -(reach as i32), table.len());
    problem.quantize_static(STEP, slope, &prices).unwrap()
}

/// The symbol of least `weight (t - v)^2 + slope * bits` at the prices of `slanted(60)`: all are looked at.
fn cheapest(w: f32, weight: f64, target: f64, slope: f64) -> i32 {
    if w == 0.0 {
        return 0;
    }
    let table = slanted(60);
    let cost = |s: i32| {
        let distance = target - f64::from(STEP * s as f32);
        weight * distance * distance + slope * f64::from(table.bits((s + 60) as u32)) / 65536.0
    };
    (-60..=60).min_by(|&a, &b| cost(a).total_cmp(&cost(b))).unwrap()
}

/// Feedback without blocks: `U` element by element from the last column on, then column after column.
fn plain_feedback(w: &[f32], h: &[f32], n: usize, slope: f64) -> Vec<i32> {
    let mut u = vec![0f64; n * n];
    for k in (0..n).rev() {
        for i in (0..=k).rev() {
            let known: f64 = (k + 1..n).map(|j| u[i * n + j] * u[k * n + j]).sum();
            let rest = f64::from(h[i * n + k]) - known;
            u[i * n + k] = if i == k { rest.sqrt() } else { rest / u[k * n + k] };
        }
    }
    let mut symbols = Vec::new();
    for w in w.chunks_exact(n) {
        let mut errors: Vec<f64> = Vec::new();
        for (k, &w) in w.iter().enumerate() {
            let pivot = u[k * n + k];
            let pushed: f64 = errors.iter().enumerate().map(|(j, e)| e * u[j * n + k]).sum();
            let target = f64::from(w) + pushed / pivot;
            let symbol = cheapest(w, 0.5 * pivot * pivot, target, slope);
            errors.push(f64::from(w) - f64::from(STEP * symbol as f32));
            symbols.push(symbol);
        }
    }
    symbols
}

/// One pass of coordinate descent, with the gradient computed anew for each weight.
fn plain_descent(symbols: &mut [i32], w: &[f32], h: &[f32], n: usize, slope: f64) {
    for (symbols, w) in symbols.chunks_exact_mut(n).zip(w.chunks_exact(n)) {
        for k in 0..n {
            let e = errors(w, symbols, STEP);
            let gradient: f64 = e.iter().zip(&h[k * n..]).map(|(e, &h)| e * f64::from(h)).sum();
            let diagonal = f64::from(h[k * n + k]);
            let target = f64::from(STEP * symbols[k] as f32) + gradient / diagonal;
            symbols[k] = cheapest(w[k], 0.5 * diagonal, target, slope);
        }
    }
}

#[test]
fn without_correlation_and_price_it_is_nearest_rounding() {
    let (rows, n) = (5, 70);
    let (w, gram) = (gaussian(rows * n, 1), identity(n));
    for passes in [0, 3] {
        let layer = Layer::new(&w, Gram::new(&gram, n, n).unwrap());
        let problem = Problem::new(&layer, &config(passes)).unwrap();
        let found = quantize(&problem, 0.0, &free(20));
        assert_eq!(found.symbols, nearest(&w, STEP));
        assert_eq!(found.trace.len(), 1, "nothing is left to gain");
    }
}

#[test]
fn feedback_halves_the_error_of_the_outputs_and_descent_lowers_it_further() {
    let (rows, n) = (40, 96);
    let x = inputs(2000, n, 2);
    let (w, gram) = (gaussian(rows * n, 3), moment(&x, &x, n));
    let layer = Layer::new(&w, Gram::new(&gram, n, n).unwrap());
    let off = |symbols: &[i32]| output_error(&errors(&w, symbols, STEP), &gram, n);
    let rounded = off(&nearest(&w, STEP));
    let [fed, descended] = [0, 3].map(|passes| {
        let problem = Problem::new(&layer, &config(passes)).unwrap();
        off(&quantize(&problem, 0.0, &free(40)).symbols)
    });
    println!("rounded {rounded:.1}, fed back {fed:.1}, descended {descended:.1}");
    assert!(fed < 0.5 * rounded, "{fed} against {rounded}");
    assert!(descended < 0.97 * fed, "{descended} against {fed}");
}

#[test]
fn at_a_price_it_beats_rate_aware_assignment_without_feedback() {
    let (rows, n) = (64, 96);
    let x = inputs(2000, n, 4);
    let (w, gram) = (laplacian(rows * n, 5), moment(&x, &x, n));
    let h = curvature(&gram, n, 0.01);
    let layer = Layer::new(&w, Gram::new(&gram, n, n).unwrap());
    let problem = Problem::new(&layer, &config(3)).unwrap();
    for slope in [0.01, 0.03, 0.1] {
        let j = |symbols: &[i32]| {
            0.5 * output_error(&errors(&w, symbols, STEP), &h, n) + slope * entropy(symbols)
        };
        let plain = grid::quantize(&Source::constant(&w, 1.0), STEP, slope, 10).unwrap();
        let plain: Vec<i32> = plain
            .symbols
            .iter()
            .map(|&s| plain.grid.first + i32::from(s))
            .collect();
        let found = problem.quantize_iterated(STEP, slope).unwrap();
        let (without, with) = (j(&plain), j(&found.quantized.symbols));
        println!(
            "slope {slope}: {without:.1} without, {with:.1} with, {:?}",
            found.quantized.trace
        );
        assert!(with < 0.85 * without, "{with} against {without} at slope {slope}");
        assert!((found.quantized.trace.last().unwrap().j(slope) - with).abs() < 1e-5 * with);
    }
}

/// Rows are independent at static prices, so the best of 3^4 per row is the best. The inputs are strongly
/// correlated and the steps coarse: harder than a large layer, where errors find many columns to go to.
#[test]
fn it_is_within_a_tenth_of_the_optimum_where_that_can_be_found() {
    let n = 4;
    let table = StaticPrices::from_bits(vec![150_000, 40_000, 150_000]);
    let prices = GridPrices::new(&table, -1, 3);
    let slope = 0.02;
    let (mut found_sum, mut best_sum, mut plain_sum) = (0.0, 0.0, 0.0);
    for seed in 0..200 {
        let x = inputs(12, n, seed);
        let gram = moment(&x, &x, n);
        let h = curvature(&gram, n, 0.01);
        let w: Vec<f32> = gaussian(n, seed + 1000).iter().map(|w| 0.6 * w).collect();
        let j = |symbols: &[i32]| {
            let bits: u32 = symbols.iter().map(|&s| table.bits((s + 1) as u32)).sum();
            0.5 * quadratic(&errors(&w, symbols, STEP), &h) + slope * f64::from(bits) / 65536.0
        };
        let problem = |gram| {
            let layer = Layer::new(&w, Gram::new(gram, n, n).unwrap());
            Problem::new(&layer, &config(10)).unwrap()
        };
        let quantized = |problem: &Problem| problem.quantize_static(STEP, slope, &prices).unwrap().symbols;
        let all = (0..81).map(|i| [i / 27, i / 9 % 3, i / 3 % 3, i % 3].map(|s| s - 1));
        let best = all.map(|symbols| j(&symbols)).fold(f64::INFINITY, f64::min);
        let found = j(&quantized(&problem(&gram)));
        assert!(found >= best * (1.0 - 1e-6), "nothing is below the optimum");
        found_sum += found;
        best_sum += best;
        plain_sum += j(&quantized(&problem(&identity(n))));
    }
    println!("{found_sum:.2} against {best_sum:.2} at best and {plain_sum:.2} without feedback");
    assert!(found_sum < 1.1 * best_sum, "{found_sum} against {best_sum}");
    assert!(plain_sum > 1.25 * best_sum, "{plain_sum} against {best_sum}");
}

/// Two layers: the first is quantized, so the second sees other inputs than the original did.
#[test]
fn corrected_targets_bring_outputs_back_to_the_original() {
    let (n, hidden, rows, n_samples) = (24, 48, 32, 4000);
    let relu = |x: Vec<f32>| x.into_iter().map(|x| x.max(0.0)).collect::<Vec<f32>>();
    let x = inputs(n_samples, n, 6);
    let (first, second) = (gaussian(hidden * n, 7), gaussian(rows * hidden, 8));
    let coarse: Vec<f32> = nearest(&first, 1.2).iter().map(|&s| 1.2 * s as f32).collect();
    let original = relu(outputs(&x, &first, n));
    let seen = relu(outputs(&x, &coarse, n));
    let wanted = outputs(&original, &second, hidden);
    let (gram, cross) = (moment(&seen, &seen, hidden), moment(&original, &seen, hidden));
    let off = |cross: Option<&[f32]>| {
        let layer = Layer {
            cross,
            ..Layer::new(&second, Gram::new(&gram, hidden, hidden).unwrap())
        };
        let problem = Problem::new(&layer, &config(3)).unwrap();
        let found = quantize(&problem, 0.01, &slanted(40)).symbols;
        let values: Vec<f32> = found.iter().map(|&s| STEP * s as f32).collect();
        let got = outputs(&seen, &values, hidden);
        wanted
            .iter()
            .zip(&got)
            .map(|(a, b)| f64::from(a - b).powi(2))
            .sum::<f64>()
    };
    let (plain, corrected) = (off(None), off(Some(&cross)));
    println!("{:.3} of the error is left", corrected / plain);
    assert!(corrected < 0.8 * plain, "{corrected} against {plain}");
}

#[test]
fn unchanged_inputs_leave_targets_unchanged() {
    let (rows, n) = (33, 70);
    let x = inputs(500, n, 9);
    let (w, gram) = (gaussian(rows * n, 10), moment(&x, &x, n));
    let layer = Layer {
        cross: Some(&gram),
        ..Layer::new(&w, Gram::new(&gram, n, n).unwrap())
    };
    let problem = Problem::new(&layer, &config(0)).unwrap();
    let same = problem
        .targets()
        .iter()
        .zip(&w)
        .all(|(a, b)| (a - b).abs() < 1e-5);
    assert!(same, "W G G^-1 = W");
}

#[test]
fn the_trace_is_the_objective_computed_plainly() {
    let (rows, n, block) = (35, 90, 40);
    let x = inputs(300, n, 11);
    let full = moment(&x, &x, n);
    // Diagonal blocks of 40, 40 and 10, the last one padded.
    let mut gram = vec![0f32; 3 * block * block];
    let mut diagonal_blocks = vec![0f32; n * n];
    for (i, j) in (0..n).flat_map(|i| (0..n).map(move |j| (i, j))) {
        if i / block == j / block {
            gram[i / block * block * block + i % block * block + j % block] = full[i * n + j];
            diagonal_blocks[i * n + j] = full[i * n + j];
        }
    }
    let w = laplacian(rows * n, 12);
    let row_weights: Vec<f32> = (0..rows as u8).map(|r| f32::from(r % 4)).collect();
    let mean = row_weights.iter().sum::<f32>() / rows as f32;
    let layer = Layer {
        sensitivity: 3.0,
        row_weights: Some(&row_weights),
        ..Layer::new(&w, Gram::new(&gram, n, block).unwrap())
    };
    let h = curvature(&diagonal_blocks, n, 0.05);
    let table = slanted(30);
    for passes in [0, 2] {
        let config = FeedbackConfig {
            damping: 0.05,
            ..config(passes)
        };
        let problem = Problem::new(&layer, &config).unwrap();
        let found = quantize(&problem, 0.02, &table);
        let e = errors(&w, &found.symbols, STEP);
        let loss: f64 = e
            .chunks_exact(n)
            .zip(&row_weights)
            .map(|(e, weight)| 0.5 * 3.0 * f64::from(weight / mean) * quadratic(e, &h))
            .sum();
        let bits: u64 = found
            .symbols
            .iter()
            .map(|&s| u64::from(table.bits((s + 30) as u32)))
            .sum();
        let last = found.trace.last().unwrap();
        assert!(
            (last.distortion - loss).abs() < 1e-5 * loss,
            "{last:?} against {loss}"
        );
        assert_eq!(last.rate_bits, bits as f64 / 65536.0);
        assert_eq!(found.trace.len(), passes + 1);
    }
}

#[test]
fn sequential_prices_that_never_move_give_the_same_as_static_ones() {
    let (rows, n, block) = (70, 130, 80);
    let gram: Vec<f32> = [130, 131]
        .iter()
        .flat_map(|&seed| {
            let x = inputs(400, block, seed);
            moment(&x, &x, block)
        })
        .collect();
    let w = pruned(rows * n, 0.3, 13);
    let layer = Layer::new(&w, Gram::new(&gram, n, block).unwrap());
    let problem = Problem::new(&layer, &config(3)).unwrap();
    let table = slanted(30);
    let mut prices = GridPrices::new(&table, -30, 61);
    let parallel = problem.quantize_static(STEP, 0.02, &prices).unwrap();
    let sequential = problem.quantize(STEP, 0.02, &mut prices).unwrap();
    assert_eq!(parallel.symbols, sequential.symbols);
    for (a, b) in parallel.trace.iter().zip(&sequential.trace) {
        assert!((a.distortion - b.distortion).abs() < 1e-12 * a.distortion);
        assert_eq!(a.rate_bits, b.rate_bits);
    }
}

#[test]
fn a_coder_that_learns_is_left_in_the_state_after_the_symbols() {
    let (rows, n) = (40, 60);
    let x = inputs(400, n, 14);
    let (w, gram) = (laplacian(rows * n, 15), moment(&x, &x, n));
    let layer = Layer::new(&w, Gram::new(&gram, n, n).unwrap());
    let slope = 0.05;
    let problem = Problem::new(&layer, &config(6)).unwrap();
    let mut price = Counting::new(15);
    let found = problem.quantize(STEP, slope, &mut price).unwrap();
    let mut anew = Counting::new(15);
    let mut bits = 0;
    for (position, &symbol) in found.symbols.iter().enumerate() {
        bits += u64::from(anew.bits(position, symbol));
        anew.push(position, symbol);
    }
    assert_eq!(anew, price);
    assert_eq!(found.trace.last().unwrap().rate_bits, bits as f64 / 65536.0);
    assert!(
        found.trace.windows(2).all(|t| t[1].j(slope) < t[0].j(slope)),
        "{:?}",
        found.trace
    );
    assert!(found.trace.len() > 1, "descent gains something");

    let blind = problem.quantize(STEP, 0.0, &mut Counting::new(15)).unwrap();
    let j = |q: &Quantized| q.trace.last().unwrap().j(slope);
    assert!(j(&found) < 0.9 * j(&blind), "the price counts");
}

/// More rows and columns than a batch and a block.
#[test]
fn one_and_three_threads_agree_in_every_bit() {
    let (rows, n) = (75, 200);
    let x = inputs(300, n, 16);
    let (w, gram) = (laplacian(rows * n, 17), moment(&x, &x, n));
    let layer = Layer {
        cross: Some(&gram),
        ..Layer::new(&w, Gram::new(&gram, n, n).unwrap())
    };
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| {
            let problem = Problem::new(&layer, &config(3)).unwrap();
            let targets: Vec<u32> = problem.targets().iter().map(|t| t.to_bits()).collect();
            (targets, problem.quantize_iterated(STEP, 0.05).unwrap())
        })
    };
    assert_eq!(run(1), run(3));
}

#[test]
fn zeros_stay_zero_unless_that_is_not_wanted() {
    let (rows, n) = (20, 50);
    let x = inputs(400, n, 18);
    let (w, gram) = (pruned(rows * n, 0.5, 19), moment(&x, &x, n));
    let moved = |keep_zeros| {
        let layer = Layer {
            cross: Some(&gram),
            ..Layer::new(&w, Gram::new(&gram, n, n).unwrap())
        };
        let config = FeedbackConfig {
            keep_zeros,
            ..config(3)
        };
        let problem = Problem::new(&layer, &config).unwrap();
        let found = quantize(&problem, 0.0, &free(30)).symbols;
        w.iter()
            .zip(&found)
            .filter(|&(&w, &s)| w == 0.0 && s != 0)
            .count()
    };
    assert_eq!(moved(true), 0);
    assert!(moved(false) > 0, "errors would move them");
}

#[test]
fn symbols_stay_in_the_alphabet() {
    let (rows, n) = (20, 50);
    let x = inputs(100, n, 20);
    let (w, gram) = (gaussian(rows * n, 21), moment(&x, &x, n));
    let layer = Layer::new(&w, Gram::new(&gram, n, n).unwrap());
    let problem = Problem::new(&layer, &config(2)).unwrap();
    let table = free(1);
    for first in [-1, 1, -7] {
        let prices = GridPrices::new(&table, first, 3);
        let found = problem.quantize_static(STEP, 0.01, &prices).unwrap();
        assert!(found.symbols.iter().all(|s| (first..first + 3).contains(s)));
    }
}

#[test]
fn with_much_caution_feedback_does_not_look_at_prices() {
    let (rows, n) = (10, 80);
    let x = inputs(300, n, 22);
    let (w, gram) = (gaussian(rows * n, 23), moment(&x, &x, n));
    let layer = Layer::new(&w, Gram::new(&gram, n, n).unwrap());
    let fed = |caution, slope| {
        let config = FeedbackConfig { caution, ..config(0) };
        let problem = Problem::new(&layer, &config).unwrap();
        quantize(&problem, slope, &slanted(40)).symbols
    };
    assert_eq!(fed(1e9, 0.1), fed(1.0, 0.0));
    assert_ne!(fed(1.0, 0.1), fed(1.0, 0.0));
}

/// Prices of a large layer settle on some of its rows, those of a small one on all.
#[test]
fn prices_settled_on_a_sample_serve_as_well_as_those_of_all_rows() {
    let (rows, n, part) = (40_000, 16, 10_000);
    let x = inputs(1000, n, 24);
    let (w, gram) = (laplacian(rows * n, 25), moment(&x, &x, n));
    let j_per_weight = |w: &[f32]| {
        let layer = Layer::new(w, Gram::new(&gram, n, n).unwrap());
        let problem = Problem::new(&layer, &config(1)).unwrap();
        let found = problem.quantize_iterated(STEP, 0.05).unwrap().quantized;
        found.trace.last().unwrap().j(0.05) / w.len() as f64
    };
    let (all, few) = (j_per_weight(&w), j_per_weight(&w[..part * n]));
    assert!((all / few - 1.0).abs() < 0.01, "{all} against {few}");
}

#[test]
fn an_empty_layer_has_no_symbols() {
    let layer = Layer::new(&[], Gram::new(&[1.0], 1, 1).unwrap());
    let problem = Problem::new(&layer, &config(3)).unwrap();
    let found = problem.quantize_iterated(STEP, 0.1).unwrap();
    assert_eq!(found.quantized.symbols, []);
    assert_eq!(
        problem
            .quantize(STEP, 0.1, &mut Counting::new(1))
            .unwrap()
            .symbols,
        []
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn passes_of_descent_never_cost_more(
        seed in 0u64..1000, rows in 1usize..6, n in 1usize..80, slope in 0f64..0.3, zeros in 0f64..0.6,
    ) {
        let x = inputs(n / 2 + 2, n, seed);
        let (w, gram) = (pruned(rows * n, zeros, seed + 1), moment(&x, &x, n));
        let layer = Layer::new(&w, Gram::new(&gram, n, n).unwrap());
        let problem = Problem::new(&layer, &config(0)).unwrap();
        let mut last = quantize(&problem, slope, &slanted(60)).trace[0].j(slope);
        for passes in 1..5 {
            let problem = Problem::new(&layer, &config(passes)).unwrap();
            let trace = quantize(&problem, slope, &slanted(60)).trace;
            let j = trace.last().unwrap().j(slope);
            prop_assert!(j <= last * (1.0 + 1e-12), "{j} after {passes} passes, {last} before");
            last = j;
        }
    }

    #[test]
    fn blocked_stages_are_those_of_a_plain_implementation(
        seed in 0u64..1000, rows in 1usize..4, n in 1usize..200, slope in 0f64..0.3,
    ) {
        let x = inputs(n / 2 + 2, n, seed);
        let (w, gram) = (pruned(rows * n, 0.1, seed + 1), moment(&x, &x, n));
        let layer = Layer::new(&w, Gram::new(&gram, n, n).unwrap());
        let h = curvature(&gram, n, 0.01);
        let mut plain = plain_feedback(&w, &h, n, slope);
        for passes in [0, 1] {
            if passes > 0 {
                plain_descent(&mut plain, &w, &h, n, slope);
            }
            let problem = Problem::new(&layer, &config(passes)).unwrap();
            let found = quantize(&problem, slope, &slanted(60)).symbols;
            prop_assert_eq!(&found, &plain, "after {} passes", passes);
        }
    }

    #[test]
    fn iterated_prices_never_cost_more_and_are_those_of_the_symbols(
        seed in 0u64..1000, rows in 1usize..20, n in 1usize..40, slope in 0f64..0.2, offset in -2f32..2.0,
    ) {
        let x = inputs(2 * n, n, seed);
        let mut rng = Rng::new(seed);
        let w: Vec<f32> = (0..rows * n).map(|_| rng.laplacian() as f32 + offset).collect();
        let gram = moment(&x, &x, n);
        let layer = Layer::new(&w, Gram::new(&gram, n, n).unwrap());
        let found = Problem::new(&layer, &config(4)).unwrap().quantize_iterated(STEP, slope).unwrap();
        let trace = &found.quantized.trace;
        prop_assert!(trace.windows(2).all(|t| t[1].j(slope) < t[0].j(slope)), "{trace:?}");
        let bits = entropy(&found.quantized.symbols);
        prop_assert!((trace.last().unwrap().rate_bits - bits).abs() <= 1e-9 * bits);
        let mut prices = GridPrices::new(&found.prices, found.first, found.prices.len());
        let priced: f64 = found.quantized.symbols.iter().map(|&s| f64::from(prices.bits(0, s)) / 65536.0).sum();
        prop_assert!((priced - bits).abs() <= 1e-4 * bits + 1e-9);
    }

    #[test]
    fn sequential_descent_never_costs_more(seed in 0u64..1000, n in 1usize..40, slope in 0f64..0.2) {
        let x = inputs(2 * n, n, seed);
        let (w, gram) = (laplacian(20 * n, seed + 1), moment(&x, &x, n));
        let layer = Layer::new(&w, Gram::new(&gram, n, n).unwrap());
        let problem = Problem::new(&layer, &config(4)).unwrap();
        let trace = problem.quantize(STEP, slope, &mut Counting::new(40)).unwrap().trace;
        prop_assert!(trace.windows(2).all(|t| t[1].j(slope) < t[0].j(slope)), "{trace:?}");
    }
}
