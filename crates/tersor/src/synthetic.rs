//! A checkpoint that the program makes itself, for demonstrations and tests.
//!
//! Its tensors are distributed as those of a trained convolutional network are: bell-shaped with heavier tails than a
//! Gaussian, of a scale that falls with the fan-in and varies from channel to channel, normalisation with positive scales
//! and variances, one tied pair, a counter. Its sensitivities vary log-normally around a mean per tensor.

use crate::checkpoint::Checkpoint;
use crate::{Error, Result};
use tersor_codec::{Dtype, Shard, TensorInfo};

/// A small generator of random numbers (`SplitMix64`; Steele, Lea and Flood 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// Uniform in the open interval from 0 to 1.
    fn unit(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// Standard normal (Box and Muller).
    fn normal(&mut self) -> f64 {
        (-2.0 * self.unit().ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }
}

/// Channels of the layers, input first.
const CHANNELS: [u64; 5] = [3, 32, 64, 128, 128];
const CLASSES: u64 = 100;

fn info(name: String, shape: &[u64]) -> TensorInfo {
    TensorInfo {
        name,
        dtype: Dtype::F32,
        shape: shape.into(),
        shard: 0,
    }
}

/// Calls `add` with every trainable tensor: name, shape, and whether it is a normalisation scale.
fn for_each_trainable(mut add: impl FnMut(String, Vec<u64>)) {
    for (layer, pair) in CHANNELS.windows(2).enumerate() {
        if let [n_in, n_out] = *pair {
            add(format!("layer{layer}.conv.weight"), vec![n_out, n_in, 3, 3]);
            add(format!("layer{layer}.norm.weight"), vec![n_out]);
            add(format!("layer{layer}.norm.bias"), vec![n_out]);
        }
    }
    add("classifier.weight".into(), vec![CLASSES, CHANNELS[4]]);
    add("classifier.bias".into(), vec![CLASSES]);
}

fn bytes(values: impl Iterator<Item = f64>) -> Vec<u8> {
    values.flat_map(|v| (v as f32).to_le_bytes()).collect()
}

/// A checkpoint of about 250,000 parameters, the same for the same seed.
///
/// # Errors
/// None in practice.
pub fn checkpoint(seed: u64) -> Result<Checkpoint> {
    let mut random = Random(seed);
    let mut tensors = Vec::new();
    for_each_trainable(|name, shape| {
        let n: u64 = shape.iter().product();
        let rows = shape.first().copied().unwrap_or(1);
        let row = n / rows;
        let values: Vec<f64> = if name.ends_with("norm.weight") {
            (0..n).map(|_| (0.3 * random.normal()).exp()).collect()
        } else if shape.len() == 1 {
            (0..n).map(|_| 0.2 * random.normal()).collect()
        } else {
            let scale = (2.0 / row as f64).sqrt();
            let mut values = Vec::new();
            for _ in 0..rows {
                let channel = scale * (0.4 * random.normal()).exp();
                // A normal of random scale has heavier tails than one of fixed scale.
                values.extend((0..row).map(|_| channel * random.normal() * (0.4 * random.normal()).exp()));
            }
            values
        };
        if name.ends_with("norm.bias") {
            let running = |end: &str| info(name.replace("bias", end), &shape);
            let variance = bytes((0..n).map(|_| (2.0 * random.normal()).exp()));
            tensors.push((running("running_mean"), bytes((0..n).map(|_| random.normal()))));
            tensors.push((running("running_var"), variance));
        }
        tensors.push((info(name, &shape), bytes(values.into_iter())));
    });
    // A tied pair, and the counter that batch normalisation keeps.
    let tied = tensors
        .iter()
        .find(|t| t.0.name == "classifier.weight")
        .map(|t| t.1.clone())
        .unwrap_or_default();
    tensors.push((info("classifier.tied".into(), &[CLASSES, CHANNELS[4]]), tied));
    let counter = TensorInfo {
        name: "num_batches_tracked".into(),
        dtype: Dtype::I64,
        shape: vec![],
        shard: 0,
    };
    tensors.push((counter, 12_345i64.to_le_bytes().into()));
    let metadata = vec![("format".into(), "pt".into())];
    Ok(Checkpoint::from_tensors(
        tensors,
        vec![Shard {
            file_name: String::new(),
            metadata,
        }],
        Vec::new(),
    )?)
}

/// Sensitivities of the trainable tensors of [`checkpoint`], as a sensitivity file.
///
/// # Errors
/// None in practice.
pub fn sensitivities(seed: u64) -> Result<Checkpoint> {
    let mut random = Random(!seed);
    let mut tensors = Vec::new();
    for_each_trainable(|name, shape| {
        let n: u64 = shape.iter().product();
        // One-dimensional tensors act on whole channels.
        let level = if shape.len() == 1 { 1e-2 } else { 1e-4 } * random.normal().exp();
        tensors.push((
            info(name, &shape),
            bytes((0..n).map(|_| level * random.normal().exp())),
        ));
    });
    Ok(Checkpoint::from_tensors(tensors, Vec::new(), Vec::new())?)
}

/// Writes an in-memory checkpoint as a safetensors file.
///
/// # Errors
/// [`Error::Checkpoint`].
pub fn write(checkpoint: &Checkpoint, path: &std::path::Path) -> Result<()> {
    use crate::checkpoint::{CheckpointWriter, OutputFormat};
    let (tensors, shards) = (checkpoint.tensors(), checkpoint.shards());
    let mut writer = CheckpointWriter::create(
        path,
        OutputFormat::Safetensors,
        tensors,
        shards,
        checkpoint.blobs(),
        true,
    )?;
    for index in 0..tensors.len() {
        writer.write_tensor(&checkpoint.bytes(index)?)?;
    }
    writer.finish().map_err(Error::from)
}
