//! A checkpoint as symbols: what lies between quantizing and encoding.

use crate::assemble::{EncodedGroup, assemble, plan_groups};
use crate::codebook::{Codebook, Dequantizer, Scales};
use crate::directory::{BlobEntry, Directory, Entry, GroupEntry, Segment, Storage};
use crate::file::FileReader;
use crate::group::{SegmentOutput, decode_group};
use crate::{Blob, Coder, Error, Limits, Result, Shard, TensorInfo};

/// Elements that a group holds unless told otherwise.
pub const DEFAULT_GROUP_ELEMENTS: u64 = 1 << 20;

/// One tensor of a [`QuantizedCheckpoint`].
#[derive(Clone, Debug, PartialEq)]
pub struct QuantizedTensor {
    /// Name, type, shape and shard.
    pub info: TensorInfo,
    /// Its elements.
    pub data: TensorData,
}

/// Elements of a tensor.
#[derive(Clone, Debug, PartialEq)]
pub enum TensorData {
    /// Symbols of a codebook, in row-major order.
    Quantized {
        /// Index in [`QuantizedCheckpoint::codebooks`].
        codebook: usize,
        /// Factors per index of an axis; without them 1.
        scales: Option<Scales>,
        /// One symbol per element.
        symbols: Vec<u16>,
    },
    /// Little-endian bytes in row-major order.
    Raw(Vec<u8>),
    /// The same as an earlier tensor of the same type and shape.
    Alias {
        /// Index of that tensor.
        target: usize,
        /// Whether both names shared their storage in the checkpoint, rather than merely being equal.
        tied: bool,
    },
}

/// A checkpoint after quantization, before dequantization.
///
/// It is written to and read from a file without touching a weight; fine-tuning of shared values edits it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct QuantizedCheckpoint {
    /// Tensors in the checkpoint's order.
    pub tensors: Vec<QuantizedTensor>,
    /// Codebooks, in the order of their first use.
    pub codebooks: Vec<Codebook>,
    /// Files of weights; at least one if there are tensors.
    pub shards: Vec<Shard>,
    /// Files that travel beside the weights.
    pub blobs: Vec<Blob>,
}

/// How a file is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EncodeOptions {
    /// Coder of groups. Blobs and raw tensors use DEFLATE where that is smaller. Default: [`Coder::Ans`].
    pub coder: Coder,
    /// Elements after which a group ends and into which a large tensor is cut, at most [`MAX_GROUP_ELEMENTS`](crate::MAX_GROUP_ELEMENTS). Default:
    /// [`DEFAULT_GROUP_ELEMENTS`].
    pub group_elements: u64,
}

impl Default for EncodeOptions {
    fn default() -> Self {
        Self {
            coder: Coder::Ans,
            group_elements: DEFAULT_GROUP_ELEMENTS,
        }
    }
}

impl EncodeOptions {
    /// Sets [`coder`](Self::coder).
    #[must_use]
    pub fn with_coder(mut self, coder: Coder) -> Self {
        self.coder = coder;
        self
    }

    /// Sets [`group_elements`](Self::group_elements).
    #[must_use]
    pub fn with_group_elements(mut self, n: u64) -> Self {
        self.group_elements = n;
        self
    }
}

impl QuantizedCheckpoint {
    /// The directory of the file that [`encode`](Self::encode) writes, without groups.
    pub fn directory(&self) -> Directory {
        let storage = |data: &TensorData| match data {
            TensorData::Quantized { codebook, scales, .. } => Storage::Quantized {
                codebook: *codebook,
                scales: scales.clone(),
            },
            TensorData::Raw(_) => Storage::Raw,
            TensorData::Alias { target, tied } => Storage::Alias {
                target: *target,
                tied: *tied,
            },
        };
        Directory {
            entries: self
                .tensors
                .iter()
                .map(|t| Entry {
                    info: t.info.clone(),
                    storage: storage(&t.data),
                })
                .collect(),
            codebooks: self.codebooks.clone(),
            shards: self.shards.clone(),
            blobs: self
                .blobs
                .iter()
                .map(|b| BlobEntry {
                    path: b.path.clone(),
                    size_bytes: b.bytes.len() as u64,
                })
                .collect(),
            groups: Vec::new(),
        }
    }

    /// Encodes all tensors to the bytes of a `.tersor` file.
    ///
    /// # Errors
    /// [`Error::Invalid`] if lengths and shapes, symbols and codebooks or references do not fit.
    pub fn encode(&self, options: EncodeOptions) -> Result<Vec<u8>> {
        let directory = self.directory();
        for tensor in &self.tensors {
            let n = tensor.info.n_elements().and_then(|n| usize::try_from(n).ok());
            let (found, what) = match &tensor.data {
                TensorData::Quantized { symbols, .. } => (Some(symbols.len()), "symbols"),
                TensorData::Raw(bytes) => (
                    bytes.len().checked_div(tensor.info.dtype.size_bytes()),
                    "elements",
                ),
                TensorData::Alias { .. } => (n, "elements"),
            };
            if n != found {
                let found = found.unwrap_or(0);
                return Err(Error::invalid(format!(
                    "tensor {:?} of shape {:?} with {found} {what}",
                    tensor.info.name, tensor.info.shape
                )));
            }
        }
        let kind = |item: usize| {
            matches!(
                self.tensors.get(item).map(|t| &t.data),
                Some(TensorData::Quantized { .. })
            )
        };
        let items: Vec<_> = directory.items().map(|(item, n)| (item, n, kind(item))).collect();
        let groups: Result<Vec<EncodedGroup>> = plan_groups(items, options.group_elements)
            .into_iter()
            .map(|(quantized, segments)| {
                if quantized {
                    self.encode_symbols(segments, options.coder)
                } else {
                    self.encode_raw(segments, options.coder)
                }
            })
            .collect();
        assemble(directory, &groups?)
    }

    fn encode_symbols(&self, segments: Vec<Segment>, coder: Coder) -> Result<EncodedGroup> {
        let mut dequantizers = Vec::new();
        for segment in &segments {
            if let Some(QuantizedTensor {
                info,
                data:
                    TensorData::Quantized {
                        codebook,
                        scales,
                        symbols,
                    },
            }) = self.tensors.get(segment.item)
            {
                let index = *codebook;
                let codebook = self.codebooks.get(index);
                let codebook = codebook
                    .ok_or_else(|| Error::invalid(format!("tensor {:?} with codebook {index}", info.name)))?;
                let part = symbols
                    .get(segment.start as usize..(segment.start + segment.len) as usize)
                    .unwrap_or_default();
                dequantizers.push((
                    part,
                    codebook,
                    Dequantizer::new(codebook, scales.as_ref(), info.dtype, &info.shape)?,
                ));
            }
        }
        let parts: Vec<_> = dequantizers
            .iter()
            .map(|(symbols, codebook, d)| (*symbols, *codebook, d))
            .collect();
        EncodedGroup::symbols(segments, &parts, coder)
    }

    fn encode_raw(&self, segments: Vec<Segment>, coder: Coder) -> Result<EncodedGroup> {
        let part = |s: &Segment| {
            let (bytes, size) = match self.tensors.get(s.item) {
                Some(QuantizedTensor {
                    info,
                    data: TensorData::Raw(bytes),
                }) => (bytes.as_slice(), info.dtype.size_bytes()),
                Some(_) => (&[][..], 1),
                None => (
                    self.blobs
                        .get(s.item - self.tensors.len())
                        .map_or(&[][..], |b| &b.bytes),
                    1,
                ),
            };
            (
                bytes
                    .get(s.start as usize * size..(s.start + s.len) as usize * size)
                    .unwrap_or_default(),
                size,
            )
        };
        let parts: Vec<_> = segments.iter().map(part).collect();
        EncodedGroup::raw(segments, &parts, coder)
    }

    /// Reads the symbols of a file without dequantizing them.
    ///
    /// # Errors
    /// As [`FileReader::new`] and [`FileReader::decode_group`].
    pub fn decode(file: &[u8], limits: Limits) -> Result<Self> {
        let reader = FileReader::new(file, limits)?;
        let directory = reader.directory();
        let mut result = Self {
            codebooks: directory.codebooks.clone(),
            shards: directory.shards.clone(),
            ..Self::default()
        };
        for entry in &directory.entries {
            let n = entry.info.n_elements().unwrap_or(0) as usize;
            let data = match &entry.storage {
                Storage::Quantized { codebook, scales } => TensorData::Quantized {
                    codebook: *codebook,
                    scales: scales.clone(),
                    symbols: vec![0; n],
                },
                Storage::Raw => TensorData::Raw(vec![0; n * entry.info.dtype.size_bytes()]),
                Storage::Alias { target, tied } => TensorData::Alias {
                    target: *target,
                    tied: *tied,
                },
            };
            result.tensors.push(QuantizedTensor {
                info: entry.info.clone(),
                data,
            });
        }
        for blob in &directory.blobs {
            result.blobs.push(Blob {
                path: blob.path.clone(),
                bytes: vec![0; blob.size_bytes as usize],
            });
        }
        for (index, group) in directory.groups.iter().enumerate() {
            result.decode_into(&reader, index, group)?;
        }
        Ok(result)
    }

    fn decode_into(&mut self, reader: &FileReader<'_>, index: usize, group: &GroupEntry) -> Result<()> {
        let bytes = reader.group_bytes(index)?;
        // The segments of a group are consecutive items: walk tensors and blobs once, in order.
        let (Some(first), n_tensors) = (group.segments.first().map(|s| s.item), self.tensors.len()) else {
            return Ok(());
        };
        let mut outputs = Vec::with_capacity(group.segments.len());
        let mut segments = group.segments.iter().peekable();
        for (item, tensor) in self.tensors.iter_mut().enumerate().skip(first) {
            let Some(segment) = segments.next_if(|s| s.item == item) else {
                continue;
            };
            let (start, end) = (segment.start as usize, (segment.start + segment.len) as usize);
            outputs.push(match &mut tensor.data {
                TensorData::Quantized {
                    codebook, symbols, ..
                } => {
                    let codebook = self
                        .codebooks
                        .get(*codebook)
                        .ok_or_else(|| Error::corrupt("directory", "a codebook"))?;
                    let out = symbols.get_mut(start..end).unwrap_or_default();
                    SegmentOutput::Symbols {
                        out,
                        n_levels: codebook.n_levels(),
                        zero: codebook.zero_symbol(),
                        shape: &tensor.info.shape,
                        first: segment.start,
                    }
                }
                TensorData::Raw(bytes) => {
                    let item_bytes = tensor.info.dtype.size_bytes();
                    SegmentOutput::Raw {
                        out: bytes
                            .get_mut(start * item_bytes..end * item_bytes)
                            .unwrap_or_default(),
                        item_bytes,
                    }
                }
                TensorData::Alias { .. } => continue,
            });
        }
        for (i, blob) in self
            .blobs
            .iter_mut()
            .enumerate()
            .skip(first.saturating_sub(n_tensors))
        {
            let Some(segment) = segments.next_if(|s| s.item == n_tensors + i) else {
                continue;
            };
            let range = segment.start as usize..(segment.start + segment.len) as usize;
            outputs.push(SegmentOutput::Raw {
                out: blob.bytes.get_mut(range).unwrap_or_default(),
                item_bytes: 1,
            });
        }
        decode_group(bytes, group.coder, &mut outputs)
    }

    /// Little-endian bytes of a tensor's values.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the index, the codebook or the scales do not fit.
    pub fn dequantize(&self, index: usize) -> Result<Vec<u8>> {
        let tensor = self
            .tensors
            .get(index)
            .ok_or_else(|| Error::invalid(format!("tensor {index} of {}", self.tensors.len())))?;
        match &tensor.data {
            TensorData::Raw(bytes) => Ok(bytes.clone()),
            TensorData::Alias { target, .. } if *target < index => self.dequantize(*target),
            TensorData::Alias { target, .. } => {
                Err(Error::invalid(format!("tensor {index} an alias of {target}")))
            }
            TensorData::Quantized {
                codebook,
                scales,
                symbols,
            } => {
                let codebook = self
                    .codebooks
                    .get(*codebook)
                    .ok_or_else(|| Error::invalid("a codebook that is not there"))?;
                let dequantizer =
                    Dequantizer::new(codebook, scales.as_ref(), tensor.info.dtype, &tensor.info.shape)?;
                let mut out = vec![0; symbols.len() * dequantizer.size_bytes()];
                dequantizer.write(0, symbols, &mut out);
                Ok(out)
            }
        }
    }
}
