//! Moments that are not what they should be: an error that says what, or a stated outcome.

#![allow(clippy::unwrap_used, reason = "helpers of tests may fail a test")]

mod support;

use support::gaussian;
use support::layer::{inputs, moment, nearest};
use tersor_quant::feedback::{FeedbackConfig, Gram, Layer, MomentError, Problem, step_for_slope};
use tersor_quant::{Error, GridPrices, StaticPrices};

const STEP: f32 = 0.5;

fn refused(values: &[f32], n_in: usize, block: usize) -> MomentError {
    Gram::new(values, n_in, block).unwrap_err()
}

fn problem<'a>(w: &'a [f32], gram: &'a [f32], n: usize, damping: f64) -> Result<Problem<'a>, Error> {
    let config = FeedbackConfig {
        damping,
        ..FeedbackConfig::default()
    };
    Problem::new(&Layer::new(w, Gram::new(gram, n, n)?), &config)
}

/// At a slope, with zero cheap.
fn symbols(problem: &Problem, slope: f64) -> Vec<i32> {
    let bits = (-20..=20).map(|s: i32| 65536 * (1 + s.unsigned_abs())).collect();
    let table = StaticPrices::from_bits(bits);
    let prices = GridPrices::new(&table, -20, 41);
    problem.quantize_static(STEP, slope, &prices).unwrap().symbols
}

#[test]
fn a_wrong_shape_is_refused_with_the_right_one() {
    let message = refused(&[1.0; 5], 3, 2).to_string();
    assert_eq!(
        message,
        "gram has 5 elements, a layer of 3 inputs in blocks of 2 needs 8"
    );
    for (n_in, block) in [(0, 2), (3, 0), (usize::MAX, 2)] {
        assert!(matches!(
            refused(&[1.0; 4], n_in, block),
            MomentError::Shape { .. }
        ));
    }
}

#[test]
fn what_is_not_finite_is_refused_wherever_it_is_read() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for index in 0..4 {
            let mut values = [1.0, 0.1, 0.1, 1.0];
            values[index] = bad;
            let error = refused(&values, 2, 2);
            assert!(matches!(error, MomentError::NotFinite { name: "gram", index: i, .. } if i == index));
        }
    }
    let (w, gram, cross) = ([1.0; 2], [1.0, 0.0, 0.0, 1.0], [1.0, f32::NAN, 0.0, 1.0]);
    let layer = Layer {
        cross: Some(&cross),
        ..Layer::new(&w, Gram::new(&gram, 2, 2).unwrap())
    };
    let error = Problem::new(&layer, &FeedbackConfig::default()).err().unwrap();
    assert!(
        error.to_string().starts_with("cross is NaN at element 1"),
        "{error}"
    );
}

#[test]
fn a_negative_square_is_refused() {
    let error = refused(&[1.0, 0.0, 0.0, -0.5], 2, 2);
    assert_eq!(
        error.to_string(),
        "the diagonal of gram is -5e-1 for 1, a mean of squares is at least 0"
    );
    let (w, gram) = ([1.0; 4], [1.0, 0.0, 0.0, 1.0]);
    for (weights, rows) in [(&[1.0, -1.0][..], 2), (&[1.0, f32::NAN], 2), (&[1.0], 1)] {
        let layer = Layer {
            row_weights: Some(weights),
            ..Layer::new(&w, Gram::new(&gram, 2, 2).unwrap())
        };
        assert!(
            Problem::new(&layer, &FeedbackConfig::default()).is_err(),
            "{rows}"
        );
    }
}

#[test]
fn triangles_that_differ_are_refused_and_so_is_what_damping_cannot_mend() {
    let error = refused(&[1.0, 0.5, 0.4, 1.0], 2, 2);
    assert!(
        matches!(
            error,
            MomentError::Asymmetric {
                row: 0,
                column: 1,
                ..
            }
        ),
        "{error}"
    );
    let error = problem(&[1.0, 1.0], &[1.0, 5.0, 5.0, 1.0], 2, 0.01)
        .err()
        .unwrap();
    assert_eq!(
        error,
        Error::Moment(MomentError::Indefinite { first: 0, last: 1 })
    );
}

#[test]
fn a_singular_matrix_gets_as_much_damping_as_it_takes() {
    let n = 40;
    let x = inputs(10, n, 1);
    let gram = moment(&x, &x, n);
    let w = gaussian(3 * n, 2);
    let some = problem(&w, &gram, n, 0.01).unwrap();
    assert_eq!(some.damping(), 0.01, "enough for rank 10 of 40");
    let none = problem(&w, &gram, n, 0.0).unwrap();
    assert!((1e-6..=1e-3).contains(&none.damping()), "{}", none.damping());
    assert_eq!(symbols(&none, 0.0).len(), 3 * n);
}

#[test]
fn inputs_that_are_always_zero_get_the_cheapest_symbols_at_a_price() {
    let n = 8;
    let x = inputs(100, n, 3);
    let mut gram = moment(&x, &x, n);
    for i in 0..n {
        gram[i * n + 5] = 0.0;
        gram[5 * n + i] = 0.0;
    }
    let w = gaussian(20 * n, 4);
    let found = symbols(&problem(&w, &gram, n, 0.01).unwrap(), 0.1);
    assert!(found.chunks_exact(n).all(|row| row[5] == 0));
    assert!(found.iter().any(|&s| s != 0));
}

#[test]
fn no_inputs_at_all_count_as_independent_ones() {
    let n = 12;
    let (w, gram) = (gaussian(5 * n, 5), vec![0.0; n * n]);
    assert_eq!(
        symbols(&problem(&w, &gram, n, 0.01).unwrap(), 0.0),
        nearest(&w, STEP)
    );
}

#[test]
fn settings_out_of_range_are_refused() {
    let (w, gram) = ([1.0; 2], [1.0, 0.0, 0.0, 1.0]);
    for damping in [-0.1, 1.1, f64::NAN] {
        assert!(matches!(
            problem(&w, &gram, 2, damping),
            Err(Error::Setting { name: "damping", .. })
        ));
    }
    let layer = Layer {
        sensitivity: -1.0,
        ..Layer::new(&w, Gram::new(&gram, 2, 2).unwrap())
    };
    assert!(Problem::new(&layer, &FeedbackConfig::default()).is_err());
    let problem = problem(&w, &gram, 2, 0.01).unwrap();
    for (step, slope) in [
        (0.0, 0.1),
        (-1.0, 0.1),
        (f32::NAN, 0.1),
        (1.0, -0.1),
        (1.0, f64::NAN),
    ] {
        assert!(problem.quantize_iterated(step, slope).is_err(), "{step}, {slope}");
    }
    assert!(matches!(
        problem.quantize_iterated(1e-9, 0.1),
        Err(Error::StepTooSmall { .. })
    ));
}

#[test]
fn the_step_goes_with_the_root_of_the_slope() {
    assert_eq!(step_for_slope(0.0, 1.0), 0.0);
    assert_eq!(step_for_slope(0.025, 0.0), f32::INFINITY);
    assert!(
        (step_for_slope(0.1, 4.0) - 1.0).abs() < 1e-6,
        "0.1 / (0.025 x 4) = 1"
    );
}
