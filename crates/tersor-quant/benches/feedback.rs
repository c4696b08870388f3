//! Seconds that error feedback takes, and memory, on one layer: 4,096 x 4,096, or `TERSOR_BENCH_ROWS` x
//! `TERSOR_BENCH_INPUTS`.
//!
//! Each part runs once: it takes long enough to be measured so. `TERSOR_BENCH_SMOKE=1` shrinks the layer, to see
//! that the bench runs. Threads: `RAYON_NUM_THREADS`.

#![expect(clippy::expect_used, reason = "a bench that cannot run should say so")]
#![expect(clippy::print_stdout, reason = "it reports")]

use std::time::Instant;

use tersor_quant::feedback::{FeedbackConfig, Gram, Layer, Problem, Quantized, step_for_slope};
use tersor_quant::trellis::{States, index, quantizer};
use tersor_quant::{GridPrices, SequentialPrice, Source, StaticPrices, TrellisPrice, grid};

/// `SplitMix64`.
struct Rng(u64);

impl Rng {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (((z ^ (z >> 31)) >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * self.uniform().ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }
}

/// A number from the environment.
fn setting(name: &str, otherwise: usize) -> usize {
    let given = std::env::var(name).ok();
    given.map_or(otherwise, |v| v.parse().expect("a number"))
}

/// Moments of inputs with neighbours of correlation 0.9, scales that differ, and a common part.
fn gram(n: usize, rng: &mut Rng) -> Vec<f32> {
    let scales: Vec<f64> = (0..n).map(|_| (0.5 * rng.normal()).exp()).collect();
    let decay: Vec<f64> = (0..n).map(|i| 0.2 + 0.9f64.powi(i as i32)).collect();
    let element = |i: usize, j: usize| (scales[i] * scales[j] * decay[i.abs_diff(j)]) as f32;
    (0..n * n).map(|i| element(i / n, i % n)).collect()
}

fn timed<T>(what: &str, f: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = f();
    println!("{what:<44} {:8.2} s", start.elapsed().as_secs_f64());
    result
}

/// Bits per weight and the objective, stage by stage.
fn report(quantized: &Quantized, slope: f64) {
    let n = quantized.symbols.len() as f64;
    for stage in &quantized.trace {
        let (bpw, j) = (stage.rate_bits / n, stage.j(slope));
        println!("    {bpw:.3} bits per weight, objective {j:.1}");
    }
}

/// Prices on a trellis that do not move: a bit, and one and a half for each index from zero.
#[derive(Clone, Copy, Default)]
struct Slanted {
    state: usize,
}

impl Slanted {
    /// The quantizer whose turn it is, and the index of a multiple there, if it has it.
    fn index(self, symbol: i32) -> (usize, Option<i32>) {
        let turn = quantizer(self.state);
        (turn, index(turn, symbol))
    }
}

impl SequentialPrice for Slanted {
    type Snapshot = Self;

    fn bits(&mut self, position: usize, symbol: i32) -> u32 {
        let (turn, index) = self.index(symbol);
        index.map_or(u32::MAX, |index| self.index_bits(position, turn, index))
    }

    fn push(&mut self, _: usize, symbol: i32) {
        let odd = self.index(symbol).1.is_some_and(|index| index % 2 != 0);
        self.state = States::Eight.next(self.state, odd);
    }

    fn rewind(&mut self) {
        self.state = 0;
    }

    fn snapshot(&self) -> Self {
        *self
    }

    fn restore(&mut self, snapshot: &Self) {
        *self = *snapshot;
    }
}

impl TrellisPrice for Slanted {
    fn index_bits(&mut self, _: usize, _: usize, index: i32) -> u32 {
        65_536 + 98_304 * index.unsigned_abs()
    }

    fn push_index(&mut self, _: usize, _: usize, _: i32) {}
}

fn main() {
    let smoke = std::env::var_os("TERSOR_BENCH_SMOKE").is_some();
    let size = if smoke { 192 } else { 4096 };
    let rows = setting("TERSOR_BENCH_ROWS", size);
    let n = setting("TERSOR_BENCH_INPUTS", size);
    println!("{rows} x {n}, {} threads", rayon::current_num_threads());

    let mut rng = Rng(1);
    let w: Vec<f32> = (0..rows * n).map(|_| rng.normal() as f32).collect();
    let gram = gram(n, &mut rng);
    let layer = Layer::new(&w, Gram::new(&gram, n, n).expect("moments"));
    let slope = 0.02;
    let step = step_for_slope(slope, layer.sensitivity);

    let config = FeedbackConfig::default();
    let problem = timed("factor", || Problem::new(&layer, &config)).expect("a layer");
    let start = grid::quantize(&Source::constant(&w, 1.0), step, slope, 3).expect("a step in range");
    let mut table = vec![0; start.grid.n_levels + 8];
    table[4..start.grid.n_levels + 4].copy_from_slice(&start.report.counts);
    let table = StaticPrices::from_counts(&table);
    let mut prices = GridPrices::new(&table, start.grid.first - 4, table.len());
    let quantized = timed("feedback and 3 passes, static prices", || {
        problem.quantize_static(step, slope, &prices)
    });
    report(&quantized.expect("a step in range"), slope);
    let quantized = timed("feedback and 3 passes, iterated prices", || {
        problem.quantize_iterated(step, slope)
    });
    report(&quantized.expect("a step in range").quantized, slope);
    let quantized = timed("feedback and 3 passes, row after row", || {
        problem.quantize(step, slope, &mut prices)
    });
    report(&quantized.expect("a step in range"), slope);
    let quantized = timed("feedback on a trellis", || {
        problem.quantize_on_trellis(step * 0.5, slope, &mut Slanted::default())
    });
    report(&quantized.expect("a step in range"), slope);
    drop(problem);

    let layer = Layer {
        cross: Some(&gram),
        ..layer
    };
    timed("factor, factor and targets for cross moments", || {
        Problem::new(&layer, &config)
    })
    .expect("a layer");
    if let Ok(status) = std::fs::read_to_string("/proc/self/status") {
        let peak = status.lines().find(|line| line.starts_with("VmHWM"));
        println!(
            "peak memory, {:.0} MiB of it inputs: {}",
            (w.len() + gram.len()) as f64 / 262_144.0,
            peak.unwrap_or_default()
        );
    }
}
