//! What the tests of compression share: small checkpoints, their sensitivities, and the way to a file and back.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tersor::checkpoint::{Checkpoint, OutputFormat};
use tersor::options::{CompressOptions, Method, Scope, Target};
use tersor::{Compressed, Compressor, Destination, Result, Silent, decompress, synthetic};
use tersor_codec::{Dtype, FileReader, Limits, TensorInfo, decode_to_f32, encode_f32};

/// A tensor with its bytes.
pub(crate) type Tensor = (TensorInfo, Vec<u8>);

pub(crate) const SCOPES: [Scope; 2] = [Scope::Tensor, Scope::Global];

/// Methods whose rate is set by a slope.
pub(crate) const SLOPED: [Method; 3] = [Method::Grid, Method::Uniform, Method::Ecsq];

/// Reproducible random numbers (`SplitMix64`).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// Uniform in 0..1.
    pub(crate) fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ z >> 31) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Nearly normal, with variance 1: the sum of twelve uniform numbers.
    pub(crate) fn bell(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }
}

/// Bell-shaped numbers of a standard deviation.
pub(crate) fn bell(seed: u64, n: usize, deviation: f64) -> Vec<f32> {
    let mut random = Random(seed);
    (0..n).map(|_| (deviation * random.bell()) as f32).collect()
}

/// A tensor of bytes.
pub(crate) fn raw(name: &str, dtype: Dtype, shape: &[u64], bytes: &[u8]) -> Tensor {
    let info = TensorInfo {
        name: name.into(),
        dtype,
        shape: shape.into(),
        shard: 0,
    };
    (info, bytes.into())
}

/// A tensor of a float type.
pub(crate) fn typed(name: &str, dtype: Dtype, shape: &[u64], values: &[f32]) -> Tensor {
    let element = |&v: &f32| {
        let bits = encode_f32(v, dtype).unwrap().to_le_bytes();
        bits.into_iter().take(dtype.size_bytes())
    };
    let bytes: Vec<u8> = values.iter().flat_map(element).collect();
    raw(name, dtype, shape, &bytes)
}

/// A tensor of f32.
pub(crate) fn f32s(name: &str, shape: &[u64], values: &[f32]) -> Tensor {
    typed(name, Dtype::F32, shape, values)
}

/// A checkpoint of tensors.
pub(crate) fn checkpoint(tensors: Vec<Tensor>) -> Checkpoint {
    Checkpoint::from_tensors(tensors, Vec::new(), Vec::new()).unwrap()
}

/// Two matrices and a bias.
pub(crate) fn small() -> Checkpoint {
    checkpoint(vec![
        f32s("a.weight", &[60, 50], &bell(1, 3000, 0.1)),
        f32s("a.bias", &[60], &bell(2, 60, 0.3)),
        f32s("b.weight", &[40, 60], &bell(3, 2400, 0.1)),
    ])
}

/// A sensitivity file; it lives as long as the folder.
pub(crate) struct SensitivityFile {
    _folder: TempDir,
    pub(crate) path: PathBuf,
}

impl SensitivityFile {
    pub(crate) fn new(tensors: Vec<Tensor>) -> Self {
        Self::of(&checkpoint(tensors))
    }

    pub(crate) fn of(checkpoint: &Checkpoint) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("h.safetensors");
        synthetic::write(checkpoint, &path).unwrap();
        Self {
            _folder: folder,
            path,
        }
    }
}

/// Settings of a method and a scope.
pub(crate) fn options(method: Method, scope: Scope) -> CompressOptions {
    CompressOptions::default().with_method(method).with_scope(scope)
}

/// Compresses, which must succeed.
pub(crate) fn compress(checkpoint: &Checkpoint, options: CompressOptions) -> Compressed {
    try_compress(checkpoint, options).unwrap()
}

pub(crate) fn try_compress(checkpoint: &Checkpoint, options: CompressOptions) -> Result<Compressed> {
    tersor::compress(checkpoint, options, &Silent)
}

/// The message of the error that compression must end with.
pub(crate) fn refusal(checkpoint: &Checkpoint, options: CompressOptions) -> String {
    try_compress(checkpoint, options).unwrap_err().to_string()
}

/// A middling operating point of any method: noise of a share of the energy, or 16 levels.
pub(crate) fn middling(compressor: &Compressor<'_>, noise: f64) -> Target {
    if compressor.options().method.is_clustering() {
        Target::Levels(16)
    } else {
        Target::Slope(compressor.slope_for_noise(noise))
    }
}

/// Decompresses to a file on disk and reads that.
pub(crate) fn decode(file: &[u8]) -> Checkpoint {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("decoded.safetensors");
    let reader = FileReader::new(file, Limits::NONE).unwrap();
    let destination = Destination::Path {
        path: &path,
        format: OutputFormat::Safetensors,
        overwrite: false,
    };
    decompress(&reader, &destination, &Silent).unwrap();
    Checkpoint::from_bytes(std::fs::read(path).unwrap(), "decoded").unwrap()
}

fn index(checkpoint: &Checkpoint, name: &str) -> usize {
    let found = checkpoint.tensors().iter().position(|t| t.name == name);
    found.unwrap_or_else(|| panic!("there is no tensor {name:?}"))
}

/// The bytes of a tensor.
pub(crate) fn bytes(checkpoint: &Checkpoint, name: &str) -> Vec<u8> {
    checkpoint.bytes(index(checkpoint, name)).unwrap().into_owned()
}

/// The elements of a float tensor.
pub(crate) fn floats(checkpoint: &Checkpoint, name: &str) -> Vec<f32> {
    let dtype = checkpoint.tensors()[index(checkpoint, name)].dtype;
    decode_to_f32(&bytes(checkpoint, name), dtype).unwrap()
}

/// Sum of squared errors of one tensor.
pub(crate) fn squared_error(original: &Checkpoint, decoded: &Checkpoint, name: &str) -> f64 {
    let (a, b) = (floats(original, name), floats(decoded, name));
    assert_eq!(a.len(), b.len(), "{name:?}");
    a.iter()
        .zip(&b)
        .map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2))
        .sum()
}

/// Squared error of a tensor as reported.
pub(crate) fn reported_error(compressed: &Compressed, name: &str) -> f64 {
    let tensor = compressed.report.tensors.iter().find(|t| t.name == name).unwrap();
    tensor.squared_error.unwrap_or(0.0)
}

/// Asserts that two numbers agree to a millionth.
pub(crate) fn assert_close(found: f64, expected: f64, what: &str) {
    let apart = (found - expected).abs();
    assert!(
        apart <= 1e-6 * expected.abs() + 1e-30,
        "{what}: {found:e}, expected {expected:e}"
    );
}

/// Asserts names, order, shapes, types, files and metadata.
pub(crate) fn assert_same_layout(original: &Checkpoint, decoded: &Checkpoint) {
    assert_eq!(
        original.tensors(),
        decoded.tensors(),
        "names, order, types and shapes"
    );
    assert_eq!(original.shards(), decoded.shards(), "metadata");
}

/// The folder of real networks, or `None` with one line that says so.
#[expect(clippy::print_stdout, reason = "who runs the tests is told what was skipped")]
pub(crate) fn data_folder() -> Option<PathBuf> {
    let folder = std::env::var_os("TERSOR_DATA").map(PathBuf::from);
    if folder.is_none() {
        println!("skipped: TERSOR_DATA does not name a folder of real networks");
    }
    folder
}

/// A file among the weights of real networks.
pub(crate) fn open(folder: &Path, name: &str) -> Checkpoint {
    Checkpoint::open(&folder.join("weights").join(name)).unwrap()
}
