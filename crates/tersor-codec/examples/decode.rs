//! Times the decoding of `.tersor` files on one thread, with all checks: `cargo run --release -p tersor-codec --example decode -- FILE...`

#![allow(clippy::print_stdout, reason = "its purpose")]

use std::time::Instant;
use tersor_codec::{FileReader, Limits};

/// Runs of each file.
const RUNS: usize = 15;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for path in std::env::args().skip(1) {
        let file = std::fs::read(&path)?;
        let reader = FileReader::new(&file, Limits::default())?;
        let directory = reader.directory();
        let bytes: u64 = directory.groups.iter().map(|g| directory.decoded_bytes(g)).sum();
        let mut seconds: Vec<f64> = Vec::with_capacity(RUNS);
        for _ in 0..RUNS {
            let start = Instant::now();
            reader.verify()?;
            seconds.push(start.elapsed().as_secs_f64());
        }
        seconds.sort_by(f64::total_cmp);
        // Values of four bytes: of checkpoints in F32, which those of the results are.
        let rate = |seconds: f64| bytes as f64 / 4e6 / seconds;
        println!(
            "{path}: {bytes} bytes decoded, {:.1} million values of four bytes per second at best, {:.1} in the median",
            rate(seconds.iter().copied().fold(f64::INFINITY, f64::min)),
            rate(seconds.get(RUNS / 2).copied().unwrap_or(f64::NAN))
        );
    }
    Ok(())
}
