//! Pruning with error feedback: it is the plain choice where inputs are independent, and far better where they are not.

#![allow(clippy::unwrap_used, reason = "helpers of tests may fail a test")]

mod support;

use support::gaussian;
use support::layer::{curvature, identity, inputs, moment, output_error};
use tersor_quant::feedback::{FeedbackConfig, Gram, Layer, Problem};

fn config(damping: f64) -> FeedbackConfig {
    FeedbackConfig {
        damping,
        passes: 10,
        ..FeedbackConfig::default()
    }
}

fn n_alive(values: &[f32]) -> usize {
    values.iter().filter(|v| **v != 0.0).count()
}

/// `e^T H e` over all rows.
fn loss(weights: &[f32], values: &[f32], h: &[f32], n: usize) -> f64 {
    let e: Vec<f64> = weights
        .iter()
        .zip(values)
        .map(|(w, v)| f64::from(w - v))
        .collect();
    output_error(&e, h, n)
}

#[test]
fn of_independent_inputs_those_below_the_price_go_and_the_others_stay_as_they_are() {
    let (rows, n, price) = (20, 48, 0.18);
    let gram = identity(n);
    let w = gaussian(rows * n, 1);
    let layer = Layer::new(&w, Gram::new(&gram, n, n).unwrap());
    let pruned = Problem::new(&layer, &config(0.0)).unwrap().prune(price).unwrap();
    for (&w, &v) in w.iter().zip(&pruned) {
        // Half its square is its loss.
        let lost = 0.5 * f64::from(w) * f64::from(w);
        if lost < 0.999 * price {
            assert_eq!(v, 0.0, "{w} loses {lost}");
        } else if lost > 1.001 * price {
            assert!((w - v).abs() < 1e-3, "{w} became {v}");
        }
    }
}

#[test]
fn survivors_make_good_what_is_lost() {
    let (rows, n) = (32, 96);
    let x = inputs(2000, n, 2);
    let (w, gram) = (gaussian(rows * n, 3), moment(&x, &x, n));
    let layer = Layer::new(&w, Gram::new(&gram, n, n).unwrap());
    let h = curvature(&gram, n, 0.01);
    let problem = Problem::new(&layer, &config(0.01)).unwrap();
    let mut before = rows * n + 1;
    for price in [0.005, 0.02, 0.08] {
        let pruned = problem.prune(price).unwrap();
        let n_kept = n_alive(&pruned);
        assert!(
            n_kept < before,
            "{n_kept} at a price of {price}, {before} at a lower one"
        );
        before = n_kept;
        let mut magnitudes: Vec<f32> = w.iter().map(|w| w.abs()).collect();
        magnitudes.sort_by(|a, b| b.total_cmp(a));
        let least = magnitudes[n_kept - 1];
        let largest: Vec<f32> = w.iter().map(|&w| if w.abs() < least { 0.0 } else { w }).collect();
        let [fed, plain] = [&pruned, &largest].map(|values| loss(&w, values, &h, n));
        assert!(fed < 0.35 * plain, "{fed} against {plain} with {n_kept} weights");
    }
}

#[test]
fn nothing_goes_for_nothing_and_zeros_stay() {
    let n = 16;
    let x = inputs(200, n, 4);
    let gram = moment(&x, &x, n);
    let mut w = gaussian(4 * n, 5);
    w[3] = 0.0;
    let layer = Layer::new(&w, Gram::new(&gram, n, n).unwrap());
    let problem = Problem::new(&layer, &config(0.01)).unwrap();
    let free = problem.prune(0.0).unwrap();
    assert_eq!((free[3], n_alive(&free)), (0.0, 4 * n - 1));
    assert!(w.iter().zip(&free).all(|(w, v)| (w - v).abs() < 1e-2));
    assert!(n_alive(&problem.prune(1e6).unwrap()) == 0);
    assert!(problem.prune(-1.0).is_err() && problem.prune(f64::NAN).is_err());
    let zeros = vec![0.0; n];
    let layer = Layer::new(&zeros, Gram::new(&gram, n, n).unwrap());
    assert_eq!(
        Problem::new(&layer, &config(0.01)).unwrap().prune(0.1).unwrap(),
        zeros
    );
}
