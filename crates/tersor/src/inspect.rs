//! What a `.tersor` file holds, without decoding it.

use crate::size::{InputSize, Sharing};
use serde::Serialize;
use std::collections::BTreeSet;
use tersor_codec::{Codebook, Directory, FileReader, GroupEntry, Segment, Storage, VERSION};

/// One tensor of a file.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct InspectTensor {
    /// Name.
    pub name: String,
    /// Element type.
    pub dtype: &'static str,
    /// Shape.
    pub shape: Vec<u64>,
    /// `quantized`, `raw`, or `alias of "NAME"`.
    pub stored: String,
    /// Its codebook in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub codebook: Option<String>,
    /// Levels of its codebook, which other tensors may share; not all need occur.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub levels: Option<usize>,
    /// Scales of its rows, or along another axis.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub n_scales: Option<usize>,
    /// Bytes that it takes in the groups that hold it, where they can be told from those of others: without its entry in the
    /// directory and levels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// First group that holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<usize>,
}

/// One blob of a file.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct InspectBlob {
    /// Path relative to the checkpoint's folder.
    pub path: String,
    /// Length.
    pub bytes: u64,
}

/// What a file holds.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct InspectReport {
    /// Version of the format.
    pub version: u8,
    /// Bytes of the file.
    pub file_bytes: u64,
    /// Bytes before the first group: magic, directory, checksum.
    pub header_bytes: u64,
    /// Bytes of symbols of quantized tensors of two or more dimensions. With a coder other than `context`, of the groups that hold
    /// such tensors: small tensors may share them.
    pub symbol_bytes: u64,
    /// All other bytes.
    pub side_bytes: u64,
    /// What the ratios refer to. The bytes are those that it decodes to: tensors that are stored once count under each of
    /// their names, as in safetensors.
    #[serde(flatten)]
    pub size: InputSize,
    /// [`InputSize::ratio`].
    pub ratio: f64,
    /// [`InputSize::ratio_paper`].
    pub ratio_paper: f64,
    /// [`InputSize::bpw`].
    pub bpw: f64,
    /// Number of tensors.
    pub n_tensors: usize,
    /// XXH64 over the digests of all groups, in hexadecimal.
    pub digest: String,
    /// Coders in use.
    pub coders: Vec<&'static str>,
    /// Number of groups.
    pub n_groups: usize,
    /// The tensors, in order.
    pub tensors: Vec<InspectTensor>,
    /// Files beside the weights.
    pub blobs: Vec<InspectBlob>,
    /// Files of weights; one without a name is a single file.
    pub shards: Vec<String>,
}

fn describe(codebook: &Codebook) -> String {
    match codebook {
        Codebook::Grid {
            step,
            first,
            n_levels,
        } => {
            format!(
                "grid {step:.4e} x {first}..{}",
                i64::from(*first) + i64::from(*n_levels) - 1
            )
        }
        Codebook::Table(levels) => match levels.as_slice() {
            [level] => format!("constant {level}"),
            levels => format!("table of {}", levels.len()),
        },
        Codebook::Mantissa { mantissa_bits, .. } => format!("mantissa of {mantissa_bits} bits"),
        _ => "unknown".into(),
    }
}

/// Elements of a group up to which it is decoded to tell what its tensors take.
const MEASURED_ELEMENTS: u64 = 1 << 21;

/// Bytes of each segment of a group: exact for one alone and where the coder can tell; `None` where segments share what they take.
fn segment_bytes(reader: &FileReader<'_>, index: usize, group: &GroupEntry) -> Option<Vec<f64>> {
    if group.segments.len() == 1 {
        return Some(vec![group.size_bytes as f64]);
    }
    let is_small = group.segments.iter().map(|s| s.len).sum::<u64>() <= MEASURED_ELEMENTS;
    let bits = if is_small {
        reader.segment_bits(index).ok()?
    } else {
        None
    };
    bits.map(|bits| bits.iter().map(|b| b / 8.0).collect())
}

/// What tensors take.
struct Shares {
    /// Of each, without what all of a file have in common; `None` where that cannot be told.
    tensors: Vec<Option<f64>>,
    /// Symbols of quantized tensors of two or more dimensions: a group that holds such a tensor counts whole if its segments cannot
    /// be told apart.
    symbols: u64,
}

impl Shares {
    fn new(reader: &FileReader<'_>) -> Self {
        let directory = reader.directory();
        let mut tensors = vec![Some(0.0); directory.entries.len()];
        let mut symbols = 0.0;
        let is_weights = |s: &Segment| {
            let entry = directory.entries.get(s.item);
            entry.is_some_and(|e| e.info.shape.len() > 1 && matches!(e.storage, Storage::Quantized { .. }))
        };
        for (index, group) in directory.groups.iter().enumerate() {
            let bytes = segment_bytes(reader, index, group);
            if bytes.is_none() && group.segments.iter().any(is_weights) {
                symbols += group.size_bytes as f64;
            }
            for (at, segment) in group.segments.iter().enumerate() {
                let bytes = bytes.as_ref().and_then(|b| b.get(at)).copied();
                if let (Some(bytes), true) = (bytes, is_weights(segment)) {
                    symbols += bytes;
                }
                if let Some(sum) = tensors.get_mut(segment.item) {
                    *sum = sum.zip(bytes).map(|(sum, bytes)| sum + bytes);
                }
            }
        }
        Self {
            tensors,
            symbols: symbols as u64,
        }
    }
}

/// What the ratios of a file refer to, without its original.
pub fn size(directory: &Directory) -> InputSize {
    let sharing = |storage: &Storage| match storage {
        Storage::Alias { tied: true, .. } => Sharing::Tied,
        Storage::Alias { tied: false, .. } => Sharing::Equal,
        _ => Sharing::Own,
    };
    InputSize::of(directory.entries.iter().map(|e| (&e.info, sharing(&e.storage))))
}

/// Describes a file of so many bytes.
pub fn inspect(reader: &FileReader<'_>, file_bytes: u64) -> InspectReport {
    let directory = reader.directory();
    let size = size(directory);
    let shares = Shares::new(reader);
    let tensors = directory.entries.iter().enumerate().map(|(index, entry)| {
        let (codebook, scales) = match &entry.storage {
            Storage::Quantized { codebook, scales } => (directory.codebooks.get(*codebook), scales.as_ref()),
            Storage::Raw | Storage::Alias { .. } => (None, None),
        };
        InspectTensor {
            name: entry.info.name.clone(),
            dtype: entry.info.dtype.name(),
            shape: entry.info.shape.clone(),
            stored: match &entry.storage {
                Storage::Quantized { .. } => "quantized".into(),
                Storage::Raw => "raw".into(),
                Storage::Alias { target, .. } => {
                    format!(
                        "alias of {:?}",
                        directory.entries.get(*target).map_or("", |e| &e.info.name)
                    )
                }
            },
            codebook: codebook.map(describe),
            levels: codebook.map(Codebook::n_levels),
            n_scales: scales.map(|scales| scales.values.len()),
            bytes: shares
                .tensors
                .get(index)
                .copied()
                .flatten()
                .map(|b| b.round() as u64),
            group: directory
                .groups
                .iter()
                .position(|g| g.segments.iter().any(|s| s.item == index)),
        }
    });
    let coders: BTreeSet<&'static str> = directory.groups.iter().map(|g| g.coder.name()).collect();
    InspectReport {
        version: VERSION,
        file_bytes,
        header_bytes: reader.header_len() as u64,
        symbol_bytes: shares.symbols,
        side_bytes: file_bytes.saturating_sub(shares.symbols),
        ratio: size.ratio(file_bytes),
        ratio_paper: size.ratio_paper(file_bytes),
        bpw: size.bpw(file_bytes),
        size,
        n_tensors: directory.entries.len(),
        digest: format!("{:016x}", reader.digest()),
        coders: coders.into_iter().collect(),
        n_groups: directory.groups.len(),
        tensors: tensors.collect(),
        blobs: directory
            .blobs
            .iter()
            .map(|b| InspectBlob {
                path: b.path.clone(),
                bytes: b.size_bytes,
            })
            .collect(),
        shards: directory.shards.iter().map(|s| s.file_name.clone()).collect(),
    }
}
