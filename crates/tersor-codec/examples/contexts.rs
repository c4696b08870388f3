//! What the coder `context` gains from where symbols are: what those of `.tersor` files take in other orders, each of which hides something from
//! it. `cargo run --release -p tersor-codec --example contexts -- FILE...`, of files made with
//! `--no-trellis`: in another order the symbols of a path lie on none.

#![allow(clippy::print_stdout, reason = "its purpose")]

use tersor_codec::{
    Coder, Limits, QuantizedCheckpoint, QuantizedTensor, SegmentInput, TensorData, encode_group,
};

/// Rows of channels of kernels.
#[derive(Clone, Copy)]
struct Shape {
    rows: usize,
    channels: usize,
    taps: usize,
}

/// Numbers of xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % n.max(1)
    }

    fn shuffle<T>(&mut self, values: &mut [T]) {
        for i in (1..values.len()).rev() {
            values.swap(i, self.below(i + 1));
        }
    }

    /// Numbers below `n` in a random order.
    fn order(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        self.shuffle(&mut order);
        order
    }
}

/// The symbols of a tensor in another order.
type Change = fn(&[u16], Shape, &mut Random) -> Vec<u16>;

/// Those at row, channel and tap, as `from` has them.
fn arranged(symbols: &[u16], shape: Shape, from: impl Fn(usize, usize, usize) -> [usize; 3]) -> Vec<u16> {
    let Shape { rows, channels, taps } = shape;
    let places = (0..rows).flat_map(|r| (0..channels).flat_map(move |c| (0..taps).map(move |t| (r, c, t))));
    let place = |(r, c, t)| {
        let [r, c, t] = from(r, c, t);
        (r * channels + c) * taps + t
    };
    places.filter_map(|at| symbols.get(place(at)).copied()).collect()
}

fn rows(symbols: &[u16], shape: Shape, random: &mut Random) -> Vec<u16> {
    let order = random.order(shape.rows);
    arranged(symbols, shape, |r, c, t| [order[r], c, t])
}

fn channels(symbols: &[u16], shape: Shape, random: &mut Random) -> Vec<u16> {
    let order = random.order(shape.channels);
    arranged(symbols, shape, |r, c, t| [r, order[c], t])
}

/// Runs of so many symbols, each shuffled within itself.
fn runs(symbols: &[u16], size: usize, random: &mut Random) -> Vec<u16> {
    let mut symbols = symbols.to_vec();
    symbols
        .chunks_mut(size.max(1))
        .for_each(|run| random.shuffle(run));
    symbols
}

fn within_kernels(symbols: &[u16], shape: Shape, random: &mut Random) -> Vec<u16> {
    runs(symbols, shape.taps, random)
}

fn within_rows(symbols: &[u16], shape: Shape, random: &mut Random) -> Vec<u16> {
    runs(symbols, shape.channels * shape.taps, random)
}

fn within_columns(symbols: &[u16], shape: Shape, random: &mut Random) -> Vec<u16> {
    let orders: Vec<Vec<usize>> = (0..shape.channels * shape.taps)
        .map(|_| random.order(shape.rows))
        .collect();
    arranged(symbols, shape, |r, c, t| [orders[c * shape.taps + t][r], c, t])
}

fn everywhere(symbols: &[u16], _: Shape, random: &mut Random) -> Vec<u16> {
    runs(symbols, symbols.len(), random)
}

const CHANGES: [(&str, Change); 6] = [
    ("rows in another order", rows),
    ("channels in another order", channels),
    ("kernels shuffled, each within itself", within_kernels),
    ("rows shuffled, each within itself", within_rows),
    ("columns shuffled, each within itself", within_columns),
    ("tensors shuffled, each within itself", everywhere),
];

/// Symbols of a tensor of two or more dimensions, and what is known of them beforehand.
struct Matrix {
    extents: Vec<u64>,
    symbols: Vec<u16>,
    n_levels: usize,
    zero: Option<u16>,
}

impl Matrix {
    fn all(checkpoint: &QuantizedCheckpoint) -> Vec<Self> {
        let matrix = |tensor: &QuantizedTensor| {
            let TensorData::Quantized {
                codebook, symbols, ..
            } = &tensor.data
            else {
                return None;
            };
            let codebook = checkpoint.codebooks.get(*codebook)?;
            Some(Self {
                extents: tensor.info.shape.clone(),
                symbols: symbols.clone(),
                n_levels: codebook.n_levels(),
                zero: codebook.zero_symbol(),
            })
        };
        let tensors = checkpoint.tensors.iter().filter(|t| t.info.shape.len() > 1);
        tensors.filter_map(matrix).collect()
    }

    fn segment(&self) -> SegmentInput<'_> {
        SegmentInput::Symbols {
            symbols: &self.symbols,
            n_levels: self.n_levels,
            zero: self.zero,
            shape: &self.extents,
            first: 0,
        }
    }

    fn shape(&self) -> Shape {
        let size = |extents: &[u64]| extents.iter().product::<u64>() as usize;
        let (rows, columns) = self.extents.split_at(1);
        let (channels, kernel) = columns.split_at(columns.len().min(1));
        Shape {
            rows: size(rows),
            channels: size(channels),
            taps: size(kernel),
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for path in std::env::args().skip(1) {
        let checkpoint = QuantizedCheckpoint::decode(&std::fs::read(&path)?, Limits::default())?;
        let matrices = Matrix::all(&checkpoint);
        let n: usize = matrices.iter().map(|m| m.symbols.len()).sum();
        println!("{path}: {n} symbols of tensors of two or more dimensions");
        let group = |matrices: &[Matrix], coder| {
            let segments: Vec<SegmentInput<'_>> = matrices.iter().map(Matrix::segment).collect();
            encode_group(&segments, coder).map(|bytes| bytes.len())
        };
        let all = group(&matrices, Coder::Context)?;
        let say = |what: &str, bytes: usize| {
            let more = 100.0 * (bytes as f64 / all as f64 - 1.0);
            println!("  {what:38} {bytes:9} bytes {more:+6.1} %");
        };
        say("as they are", all);
        for (what, change) in CHANGES {
            let mut random = Random(0x9e37_79b9_7f4a_7c15);
            let changed = matrices.iter().map(|m| Matrix {
                symbols: change(&m.symbols, m.shape(), &mut random),
                extents: m.extents.clone(),
                ..*m
            });
            say(what, group(&changed.collect::<Vec<_>>(), Coder::Context)?);
        }
        let apart = matrices
            .iter()
            .map(|m| group(std::slice::from_ref(m), Coder::Context));
        say("each tensor by itself", apart.sum::<Result<usize, _>>()?);
        say("the coder ans", group(&matrices, Coder::Ans)?);
    }
    Ok(())
}
