//! What a trellis would bring: costs of scalar and of dependent quantization above the bound that no memoryless code can beat
//! (`docs/results/limit.md`).
//!
//! `trellis NET.safetensors [BITS...]` prints a row for each rate of scalar quantization, in bits per weight of the tensors of two or more
//! dimensions, one slope for all of them: the gaps, cost less the bound's over the slope, are in bits per weight.
#![expect(clippy::print_stdout, reason = "what is measured is printed")]

use std::error::Error;
use tersor::checkpoint::Checkpoint;
use tersor_quant::trellis::{self, States};
use tersor_quant::{Source, bound, grid};

/// Rounds of prices and symbols.
const ROUNDS: usize = 8;

/// Distortion and bits of scalar quantization.
fn scalar(source: &Source, slope: f64) -> tersor_quant::Result<(f64, f64)> {
    let step = grid::search_step(source, slope)?.step;
    let report = grid::quantize(source, step, slope, ROUNDS)?.report;
    Ok((report.distortion, report.rate_bits))
}

/// The sum over all tensors.
fn total<T: std::iter::Sum>(
    tensors: &[Vec<f32>],
    f: impl Fn(&Source) -> tersor_quant::Result<T>,
) -> tersor_quant::Result<T> {
    tensors
        .iter()
        .map(|weights| f(&Source::constant(weights, 1.0)))
        .sum()
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let path = args.next().ok_or("usage: trellis NET.safetensors [BITS...]")?;
    let mut rates = args.map(|arg| arg.parse()).collect::<Result<Vec<f64>, _>>()?;
    if rates.is_empty() {
        rates = vec![1.5, 2.0, 3.0, 4.0];
    }
    let checkpoint = Checkpoint::open(path.as_ref())?;
    let mut tensors = vec![];
    for (index, info) in checkpoint.tensors().iter().enumerate() {
        if info.shape.len() > 1 {
            tensors.push(checkpoint.to_f32(index)?.into_owned());
        }
    }
    let n: f64 = tensors.iter().map(|t| t.len() as f64).sum();
    println!("scalar, bits  gap  4 states  8 states");
    for rate in rates {
        // The slope by halving its logarithm's interval.
        let (mut low, mut high) = (-60.0f64, 20.0f64);
        for _ in 0..14 {
            let middle = f64::midpoint(low, high);
            let bits = total(&tensors, |t| Ok(scalar(t, middle.exp2())?.1))?;
            *if bits > rate * n { &mut low } else { &mut high } = middle;
        }
        let slope = high.exp2();
        let least: f64 = total(&tensors, |t| Ok(bound::least_cost(t, slope)?.unwrap_or(f64::NAN)))?;
        let (mut loss, mut bits) = (0.0, 0.0);
        for weights in &tensors {
            let of_tensor = scalar(&Source::constant(weights, 1.0), slope)?;
            (loss, bits) = (loss + of_tensor.0, bits + of_tensor.1);
        }
        let gap = |cost: f64| (cost - least) / slope / n;
        let of = |states| total(&tensors, |t| Ok(trellis::quantize(t, slope, states)?.j(slope)));
        let (four, eight) = (of(States::Four)?, of(States::Eight)?);
        println!(
            "{:.3}  {:.3}  {:.3}  {:.3}",
            bits / n,
            gap(loss + slope * bits),
            gap(four),
            gap(eight)
        );
    }
    Ok(())
}
