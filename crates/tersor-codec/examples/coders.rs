//! Codes the symbols of `.tersor` files anew by every coder: `cargo run --release -p tersor-codec --example coders -- FILE...`

#![allow(clippy::print_stdout, reason = "its purpose")]

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use tersor_codec::{Codebook, Coder, EncodeOptions, Limits, QuantizedCheckpoint, TensorData};

/// Longest gap of the paper's code; a longer one is filled up with this.
const LONGEST_GAP: u64 = 127;
/// Bits of a code length in a table.
const LENGTH_BITS: u64 = 5;

/// How often each symbol comes.
type Counts = BTreeMap<i64, u64>;

fn count(counts: &mut Counts, symbol: i64) {
    *counts.entry(symbol).or_default() += 1;
}

/// Bits at the entropy of the counts.
fn entropy(counts: &Counts) -> f64 {
    let n = counts.values().sum::<u64>() as f64;
    let bits = |&c: &u64| c as f64 * (n / c as f64).log2();
    counts.values().map(bits).sum()
}

/// Bits of a Huffman code for the counts: the sum of the weights of its inner nodes.
fn huffman(counts: &Counts) -> u64 {
    let mut nodes: BinaryHeap<Reverse<u64>> = counts.values().map(|&c| Reverse(c)).collect();
    let mut bits = 0;
    while let (Some(Reverse(a)), Some(Reverse(b))) = (nodes.pop(), nodes.pop()) {
        bits += a + b;
        nodes.push(Reverse(a + b));
    }
    bits
}

/// What the symbols of tensors of two or more dimensions take by other codes.
#[derive(Default)]
struct Others {
    n: u64,
    gaps: Counts,
    values: Counts,
    /// Bits at the entropy of each tensor's own counts, tables not counted.
    order_0: f64,
}

impl Others {
    fn new(checkpoint: &QuantizedCheckpoint) -> Self {
        let (mut others, mut gap) = (Self::default(), 0);
        for tensor in checkpoint.tensors.iter().filter(|t| t.info.shape.len() > 1) {
            let TensorData::Quantized {
                symbols, codebook, ..
            } = &tensor.data
            else {
                continue;
            };
            let first = match checkpoint.codebooks.get(*codebook) {
                Some(Codebook::Grid { first, .. }) => i64::from(*first),
                _ => 0,
            };
            let mut counts = Counts::new();
            for &symbol in symbols {
                let value = i64::from(symbol) + first;
                count(&mut counts, value);
                others.n += 1;
                if value != 0 {
                    count(&mut others.values, value);
                    count(&mut others.gaps, gap);
                    gap = 0;
                } else if gap + 1 == LONGEST_GAP as i64 {
                    count(&mut others.gaps, gap + 1);
                    gap = 0;
                } else {
                    gap += 1;
                }
            }
            others.order_0 += entropy(&counts);
        }
        others
    }

    /// Bits of one Huffman code for all gaps between survivors and one for all their values, with their tables.
    fn gaps_and_huffman(&self) -> u64 {
        let tables = (LONGEST_GAP + 1 + self.values.len() as u64) * LENGTH_BITS;
        huffman(&self.gaps) + huffman(&self.values) + tables
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for path in std::env::args().skip(1) {
        let checkpoint = QuantizedCheckpoint::decode(&std::fs::read(&path)?, Limits::default())?;
        let others = Others::new(&checkpoint);
        let n_survivors = others.values.values().sum::<u64>();
        println!(
            "{path}: {n_survivors} of {} weights in tensors of two or more dimensions are not zero",
            others.n
        );
        println!(
            "  entropy of each tensor's counts      {:8.0} bytes",
            others.order_0 / 8.0
        );
        println!(
            "  gaps and Huffman codes of the paper  {:8} bytes",
            others.gaps_and_huffman().div_ceil(8)
        );
        for coder in [Coder::Fixed, Coder::Huffman, Coder::Ans, Coder::Context] {
            let options = EncodeOptions::default().with_coder(coder);
            let file = checkpoint.encode(options)?;
            let name = format!("{coder}, whole file");
            println!("  {name:36} {:8} bytes", file.len());
        }
    }
    Ok(())
}
