//! Times of the library within one process, from a mapped checkpoint to the bytes of a file and from those to a checkpoint
//! in memory: what `bench/peers/nncodec.py` sets beside another library's.
//!
//! `timings NET.safetensors BYTES RUNS` prints one JSON object; seconds are the least of the runs. `RAYON_NUM_THREADS` sets
//! the threads.
#![expect(clippy::print_stdout, reason = "what is measured is printed")]

use std::error::Error;
use std::time::Instant;
use tersor::checkpoint::Checkpoint;
use tersor::codec::{FileReader, Limits};
use tersor::options::{CompressOptions, Target};
use tersor::{Silent, compress, decompress_to_stream};

/// The last result and the seconds of the fastest run.
fn least_time<T>(n_runs: usize, mut f: impl FnMut() -> tersor::Result<T>) -> tersor::Result<(T, f64)> {
    let mut timed = || -> tersor::Result<(T, f64)> {
        let start = Instant::now();
        let result = f()?;
        Ok((result, start.elapsed().as_secs_f64()))
    };
    let (mut result, mut least) = timed()?;
    for _ in 1..n_runs {
        let (again, seconds) = timed()?;
        (result, least) = (again, least.min(seconds));
    }
    Ok((result, least))
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [path, bytes, n_runs] = args.as_slice() else {
        return Err("usage: timings NET.safetensors BYTES RUNS".into());
    };
    let n_runs = n_runs.parse()?;
    let checkpoint = Checkpoint::open(path.as_ref())?;
    let to = |target: Target| {
        let mut options = CompressOptions::default().with_target(target);
        // What is compared is noise.
        options.alike = true;
        compress(&checkpoint, options, &Silent)
    };
    let (found, search_s) = least_time(n_runs, || to(Target::SizeBytes(bytes.parse().unwrap_or(0))))?;
    let (_, encode_s) = least_time(n_runs, || to(Target::Slope(found.report.slope)))?;
    let (_, decode_s) = least_time(n_runs, || {
        let reader = FileReader::new(&found.bytes, Limits::default())?;
        let mut decoded = Vec::with_capacity(found.report.size.bytes as usize + (1 << 16));
        decompress_to_stream(&reader, &mut decoded, &Silent)?;
        Ok(decoded)
    })?;
    let timings = serde_json::json!({
        "bytes": found.bytes.len(),
        "n_trials": found.report.n_trials,
        "search_s": search_s,
        "encode_s": encode_s,
        "decode_s": decode_s,
    });
    println!("{timings}");
    Ok(())
}
