//! The directory of a file: all but the symbols.
//!
//! One description serves writing and reading: [`Directory::code`] passes every field through a
//! [`BitCoder`], which writes what it is given or returns what it reads. `docs/format.md`, "Directory".

use crate::codebook::{Codebook, MAX_LEVELS, Scales};
use crate::group::MAX_GROUP_ELEMENTS;
use crate::range::{Bit, BitCoder, TreeModel, UintModel};
use crate::text::TextCoder;
use crate::{Coder, Dtype, Error, Limits, Result, Shard, TensorInfo};
use half::f16;
use std::collections::HashSet;

/// Most axes of a tensor.
pub const MAX_AXES: u64 = 64;

/// How a tensor's elements are stored.
#[derive(Clone, Debug, PartialEq)]
pub enum Storage {
    /// As symbols of a codebook.
    Quantized {
        /// Index in [`Directory::codebooks`].
        codebook: usize,
        /// Factors per index of an axis; without them 1.
        scales: Option<Scales>,
    },
    /// Losslessly, as bytes.
    Raw,
    /// Not at all: it equals an earlier tensor.
    Alias {
        /// Index of that tensor.
        target: usize,
        /// Whether both names shared their storage in the checkpoint, rather than merely being equal.
        tied: bool,
    },
}

/// One tensor of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Name, type, shape and shard.
    pub info: TensorInfo,
    /// How its elements are stored.
    pub storage: Storage,
}

/// One file that travels beside the weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobEntry {
    /// Path relative to the checkpoint's folder.
    pub path: String,
    /// Length in bytes.
    pub size_bytes: u64,
}

/// Elements of one item that a group holds. Items are the tensors in order, aliases left out, then the blobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Index of the tensor, or number of tensors plus index of the blob.
    pub item: usize,
    /// First element.
    pub start: u64,
    /// Number of elements.
    pub len: u64,
}

/// One group of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupEntry {
    /// Its coder.
    pub coder: Coder,
    /// Bytes in the file.
    pub size_bytes: u64,
    /// CRC-32C of those bytes.
    pub crc: u32,
    /// What it holds, in order.
    pub segments: Vec<Segment>,
}

/// What a file says about itself before the groups.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Directory {
    /// The tensors, in the checkpoint's order.
    pub entries: Vec<Entry>,
    /// The codebooks that quantized tensors refer to.
    pub codebooks: Vec<Codebook>,
    /// The checkpoint's files of weights; at least one.
    pub shards: Vec<Shard>,
    /// Files that travel beside the weights.
    pub blobs: Vec<BlobEntry>,
    /// The groups, in file order.
    pub groups: Vec<GroupEntry>,
}

/// An f32 of which the lower half is often zero.
struct FloatModel {
    short: Bit,
    bytes: [TreeModel; 2],
}

impl FloatModel {
    fn new() -> Self {
        Self {
            short: Bit::default(),
            bytes: [TreeModel::new(8), TreeModel::new(8)],
        }
    }

    fn code(&mut self, coder: &mut impl BitCoder, value: f32) -> Result<f32> {
        let [a, b, c, d] = value.to_bits().to_be_bytes();
        let short = coder.bit(&mut self.short, c == 0 && d == 0)?;
        let [high, low] = &mut self.bytes;
        let upper = high.code(coder, u32::from(a))? << 8 | low.code(coder, u32::from(b))?;
        let lower = if short {
            0
        } else {
            coder.direct(16, u32::from(c) << 8 | u32::from(d))?
        };
        Ok(f32::from_bits(upper << 16 | lower))
    }
}

/// Memory that each byte of a string may take: the string itself, the set of names, the history, three tables of contexts.
const STRING_BYTE_COST: u64 = 64;

/// The adaptive models of all fields, and what is left of the caller's limits.
struct Fields {
    text: TextCoder,
    count: UintModel,
    dtype: TreeModel,
    n_axes: UintModel,
    same_extent: Bit,
    extent: UintModel,
    shard: UintModel,
    storage: TreeModel,
    codebook: UintModel,
    has_scales: Bit,
    axis: UintModel,
    float: FloatModel,
    kind: TreeModel,
    first: UintModel,
    n_levels: UintModel,
    half: Bit,
    mantissa_bits: UintModel,
    alias: UintModel,
    tied: Bit,
    whole: Bit,
    n_segments: UintModel,
    coder: TreeModel,
    size_bytes: UintModel,
    /// Bytes of memory that may still be taken.
    budget: u64,
    limits: Limits,
}

impl Fields {
    fn new(limits: Limits) -> Self {
        Self {
            text: TextCoder::new(),
            count: UintModel::default(),
            dtype: TreeModel::new(5),
            n_axes: UintModel::default(),
            same_extent: Bit::default(),
            extent: UintModel::default(),
            shard: UintModel::default(),
            storage: TreeModel::new(2),
            codebook: UintModel::default(),
            has_scales: Bit::default(),
            axis: UintModel::default(),
            float: FloatModel::new(),
            kind: TreeModel::new(3),
            first: UintModel::default(),
            n_levels: UintModel::default(),
            half: Bit::default(),
            mantissa_bits: UintModel::default(),
            alias: UintModel::default(),
            tied: Bit::default(),
            whole: Bit::default(),
            n_segments: UintModel::default(),
            coder: TreeModel::new(4),
            size_bytes: UintModel::default(),
            budget: limits.max_directory_bytes,
            limits,
        }
    }

    /// Takes memory from the budget.
    fn spend(&mut self, n_bytes: u64) -> Result<()> {
        let limit = self.limits.max_directory_bytes;
        self.budget = self.budget.checked_sub(n_bytes).ok_or(Error::LimitExceeded {
            what: "the memory for the directory in bytes",
            needed: limit.saturating_add(1),
            limit,
        })?;
        Ok(())
    }

    fn string(&mut self, coder: &mut impl BitCoder, given: &str) -> Result<String> {
        let string = self.text.code(coder, given, self.budget / STRING_BYTE_COST)?;
        self.spend(64 + STRING_BYTE_COST * string.len() as u64)?;
        Ok(string)
    }
}

fn zigzag(value: i32) -> u64 {
    u64::from((value << 1 ^ value >> 31) as u32)
}

fn unzigzag(value: u64) -> Option<i32> {
    let value = u32::try_from(value).ok()?;
    Some((value >> 1) as i32 ^ -((value & 1) as i32))
}

const STORAGE_QUANTIZED: u32 = 0;
const STORAGE_RAW: u32 = 1;
const STORAGE_ALIAS: u32 = 2;

const KIND_GRID: u32 = 0;
const KIND_TABLE: u32 = 1;
const KIND_MANTISSA: u32 = 2;

impl Directory {
    /// Passes every field through `coder`. When writing, `given` is what is written; when reading, it is ignored.
    pub(crate) fn code(coder: &mut impl BitCoder, given: &Self, limits: Limits) -> Result<Self> {
        let mut fields = Fields::new(limits);
        let mut directory = Self::default();
        let n_shards = fields.count.code(coder, given.shards.len() as u64)?;
        for i in 0..n_shards {
            fields.spend(size_of::<Shard>() as u64)?;
            directory
                .shards
                .push(code_shard(coder, &mut fields, given.shards.get(i as usize))?);
        }
        let n_entries = fields.count.code(coder, given.entries.len() as u64)?;
        let n_blobs = fields.count.code(coder, given.blobs.len() as u64)?;
        let n_items = n_entries.saturating_add(n_blobs);
        if n_items > limits.max_tensors {
            return Err(Error::LimitExceeded {
                what: "the number of tensors",
                needed: n_items,
                limit: limits.max_tensors,
            });
        }
        let mut decoded_bytes = 0u64;
        let mut names = HashSet::new();
        for i in 0..n_entries {
            fields.spend(2 * size_of::<Entry>() as u64)?;
            let entry = code_entry(coder, &mut fields, &mut directory, given, i as usize)?;
            if !names.insert(entry.info.name.clone()) {
                return Err(Error::corrupt(
                    "directory",
                    format!("the name {:?} twice", entry.info.name),
                ));
            }
            let n_bytes = entry.info.size_bytes();
            let n_bytes = n_bytes
                .ok_or_else(|| Error::corrupt("directory", format!("a shape of {:?}", entry.info.shape)))?;
            decoded_bytes = decoded_bytes.saturating_add(n_bytes);
            directory.entries.push(entry);
        }
        for i in 0..n_blobs {
            let blob = given.blobs.get(i as usize);
            let path = fields.string(coder, blob.map_or("", |b| &b.path))?;
            let size_bytes = fields.size_bytes.code(coder, blob.map_or(0, |b| b.size_bytes))?;
            decoded_bytes = decoded_bytes.saturating_add(size_bytes);
            directory.blobs.push(BlobEntry { path, size_bytes });
        }
        if decoded_bytes > limits.max_decoded_bytes {
            let limit = limits.max_decoded_bytes;
            return Err(Error::LimitExceeded {
                what: "the size of the decoded tensors in bytes",
                needed: decoded_bytes,
                limit,
            });
        }
        code_groups(coder, &mut fields, &mut directory, given)?;
        Ok(directory)
    }

    /// Elements of each item that groups hold, in order: index of the item and number of elements.
    pub fn items(&self) -> impl Iterator<Item = (usize, u64)> + '_ {
        let tensors = self
            .entries
            .iter()
            .enumerate()
            .filter(|(_, e)| !matches!(e.storage, Storage::Alias { .. }));
        let blobs = self.blobs.iter().enumerate();
        tensors
            .map(|(i, e)| (i, e.info.n_elements().unwrap_or(0)))
            .chain(blobs.map(|(i, b)| (self.entries.len() + i, b.size_bytes)))
    }

    /// Bytes of one element of an item.
    pub fn item_bytes(&self, item: usize) -> usize {
        self.entries.get(item).map_or(1, |e| e.info.dtype.size_bytes())
    }

    /// Bytes that a group decodes to.
    pub fn decoded_bytes(&self, group: &GroupEntry) -> u64 {
        group
            .segments
            .iter()
            .map(|s| s.len * self.item_bytes(s.item) as u64)
            .sum()
    }
}

fn code_shard(coder: &mut impl BitCoder, fields: &mut Fields, given: Option<&Shard>) -> Result<Shard> {
    let file_name = fields.string(coder, given.map_or("", |s| &s.file_name))?;
    let n = fields
        .count
        .code(coder, given.map_or(0, |s| s.metadata.len() as u64))?;
    let mut metadata = Vec::new();
    for i in 0..n {
        let pair = given.and_then(|s| s.metadata.get(i as usize));
        let key = fields.string(coder, pair.map_or("", |p| &p.0))?;
        metadata.push((key, fields.string(coder, pair.map_or("", |p| &p.1))?));
    }
    Ok(Shard { file_name, metadata })
}

fn code_entry(
    coder: &mut impl BitCoder,
    fields: &mut Fields,
    directory: &mut Directory,
    given: &Directory,
    index: usize,
) -> Result<Entry> {
    let entry = given.entries.get(index);
    let info = entry.map(|e| &e.info);
    let before = directory.entries.last().map(|e| &e.info);
    let name = fields.string(coder, info.map_or("", |i| &i.name))?;
    let dtype = fields.dtype.code(coder, info.map_or(0, |i| i.dtype as u32))?;
    let dtype = Dtype::from_code(u64::from(dtype)).ok_or_else(|| {
        Error::corrupt(
            "directory",
            format!("tensor {name:?} of the unknown element type {dtype}"),
        )
    })?;
    let n_axes = fields
        .n_axes
        .code(coder, info.map_or(0, |i| i.shape.len() as u64))?;
    if n_axes > MAX_AXES {
        return Err(Error::corrupt(
            "directory",
            format!("tensor {name:?} of {n_axes} axes; at most {MAX_AXES} are allowed"),
        ));
    }
    let mut shape = Vec::new();
    for axis in 0..n_axes as usize {
        let extent = info.and_then(|i| i.shape.get(axis)).copied().unwrap_or(0);
        let same = before
            .filter(|b| b.shape.len() as u64 == n_axes)
            .and_then(|b| b.shape.get(axis))
            .copied();
        match same {
            Some(same) if coder.bit(&mut fields.same_extent, extent == same)? => shape.push(same),
            _ => shape.push(fields.extent.code(coder, extent)?),
        }
    }
    fields.spend(8 * n_axes)?;
    let shard = fields.shard.code(coder, info.map_or(0, |i| u64::from(i.shard)))?;
    if shard >= directory.shards.len() as u64 {
        return Err(Error::corrupt(
            "directory",
            format!("tensor {name:?} in shard {shard} of {}", directory.shards.len()),
        ));
    }
    let kind = match entry.map(|e| &e.storage) {
        Some(Storage::Quantized { .. }) => STORAGE_QUANTIZED,
        Some(Storage::Raw) | None => STORAGE_RAW,
        Some(Storage::Alias { .. }) => STORAGE_ALIAS,
    };
    let info = TensorInfo {
        name,
        dtype,
        shape,
        shard: shard as u32,
    };
    let storage = match fields.storage.code(coder, kind)? {
        STORAGE_QUANTIZED => {
            code_quantized(coder, fields, directory, given, &info, entry.map(|e| &e.storage))?
        }
        STORAGE_RAW => Storage::Raw,
        STORAGE_ALIAS => {
            let (target, tied) = match entry.map(|e| &e.storage) {
                Some(Storage::Alias { target, tied }) => (*target, *tied),
                _ => (0, false),
            };
            let target = fields.alias.code(coder, target as u64)?;
            let target = usize::try_from(target).unwrap_or(usize::MAX);
            match directory.entries.get(target) {
                Some(t)
                    if t.info.dtype == info.dtype
                        && t.info.shape == info.shape
                        && !matches!(t.storage, Storage::Alias { .. }) => {}
                _ => {
                    return Err(Error::corrupt(
                        "directory",
                        format!("tensor {:?} an alias of tensor {target}", info.name),
                    ));
                }
            }
            let tied = coder.bit(&mut fields.tied, tied)?;
            Storage::Alias { target, tied }
        }
        other => {
            return Err(Error::corrupt(
                "directory",
                format!("tensor {:?} stored in way {other}", info.name),
            ));
        }
    };
    Ok(Entry { info, storage })
}

fn code_quantized(
    coder: &mut impl BitCoder,
    fields: &mut Fields,
    directory: &mut Directory,
    given: &Directory,
    info: &TensorInfo,
    storage: Option<&Storage>,
) -> Result<Storage> {
    let (index, scales) = match storage {
        Some(Storage::Quantized { codebook, scales }) => (*codebook, scales.as_ref()),
        _ => (0, None),
    };
    if !info.dtype.is_float() {
        return Err(Error::corrupt(
            "directory",
            format!("tensor {:?} of type {} quantized", info.name, info.dtype),
        ));
    }
    // 0: a new codebook; n: the n-th from the end of those so far.
    let n_known = directory.codebooks.len();
    let back = fields
        .codebook
        .code(coder, n_known.saturating_sub(index) as u64)?;
    let codebook = if back == 0 {
        let codebook = code_codebook(coder, fields, given.codebooks.get(index))?;
        codebook
            .check()
            .map_err(|e| Error::corrupt("directory", e.to_string()))?;
        directory.codebooks.push(codebook);
        n_known
    } else {
        let index = usize::try_from(back).ok().and_then(|b| n_known.checked_sub(b));
        index.ok_or_else(|| Error::corrupt("directory", format!("codebook {back} before the first one")))?
    };
    let scales = if coder.bit(&mut fields.has_scales, scales.is_some())? {
        let axis = fields.axis.code(coder, scales.map_or(0, |s| u64::from(s.axis)))?;
        let n = usize::try_from(axis)
            .ok()
            .and_then(|a| info.shape.get(a))
            .copied()
            .unwrap_or(0);
        let mut values = Vec::new();
        for i in 0..n {
            fields.spend(4)?;
            let value = scales
                .and_then(|s| s.values.get(i as usize))
                .copied()
                .unwrap_or(1.0);
            values.push(fields.float.code(coder, value)?);
        }
        let scales = Scales {
            axis: axis.min(MAX_AXES) as u32,
            values,
        };
        scales
            .check(&info.shape)
            .map_err(|e| Error::corrupt("directory", e.to_string()))?;
        Some(scales)
    } else {
        None
    };
    Ok(Storage::Quantized { codebook, scales })
}

fn code_codebook(
    coder: &mut impl BitCoder,
    fields: &mut Fields,
    given: Option<&Codebook>,
) -> Result<Codebook> {
    let kind = match given {
        Some(Codebook::Grid { .. }) | None => KIND_GRID,
        Some(Codebook::Table(_)) => KIND_TABLE,
        Some(Codebook::Mantissa { .. }) => KIND_MANTISSA,
    };
    fields.spend(size_of::<Codebook>() as u64)?;
    let kind = fields.kind.code(coder, kind)?;
    let n_levels = fields
        .n_levels
        .code(coder, given.map_or(0, |c| c.n_levels() as u64))?;
    if n_levels == 0 || n_levels > MAX_LEVELS as u64 {
        return Err(Error::corrupt(
            "directory",
            format!("a codebook of {n_levels} levels"),
        ));
    }
    let n_levels = n_levels as u32;
    match kind {
        KIND_GRID => {
            let (step, first) = if let Some(Codebook::Grid { step, first, .. }) = given {
                (*step, *first)
            } else {
                (1.0, 0)
            };
            let step = fields.float.code(coder, step)?;
            let first = unzigzag(fields.first.code(coder, zigzag(first))?);
            let first =
                first.ok_or_else(|| Error::corrupt("directory", "a grid that starts beyond 32 bits"))?;
            Ok(Codebook::Grid {
                step,
                first,
                n_levels,
            })
        }
        KIND_TABLE => {
            let levels = if let Some(Codebook::Table(levels)) = given {
                levels.as_slice()
            } else {
                &[]
            };
            fields.spend(4 * u64::from(n_levels))?;
            let half = coder.bit(
                &mut fields.half,
                levels
                    .iter()
                    .all(|&l| f16::from_f32(l).to_f32().to_bits() == l.to_bits()),
            )?;
            let mut table = Vec::new();
            for i in 0..n_levels as usize {
                let level = levels.get(i).copied().unwrap_or(0.0);
                table.push(if half {
                    f16::from_bits(coder.direct(16, u32::from(f16::from_f32(level).to_bits()))? as u16)
                        .to_f32()
                } else {
                    f32::from_bits(coder.direct(32, level.to_bits())?)
                });
            }
            Ok(Codebook::Table(table))
        }
        KIND_MANTISSA => {
            let (bits, first) = match given {
                Some(Codebook::Mantissa {
                    mantissa_bits, first, ..
                }) => (*mantissa_bits, *first),
                _ => (0, 0),
            };
            let mantissa_bits = fields.mantissa_bits.code(coder, u64::from(bits))?.min(24) as u32;
            let first = fields.first.code(coder, u64::from(first))?;
            let first =
                u32::try_from(first).map_err(|_| Error::corrupt("directory", "a level beyond 32 bits"))?;
            Ok(Codebook::Mantissa {
                mantissa_bits,
                first,
                n_levels,
            })
        }
        other => Err(Error::corrupt("directory", format!("a codebook of kind {other}"))),
    }
}

fn code_groups(
    coder: &mut impl BitCoder,
    fields: &mut Fields,
    directory: &mut Directory,
    given: &Directory,
) -> Result<()> {
    let items: Vec<(usize, u64)> = directory.items().collect();
    fields.spend(16 * items.len() as u64)?;
    let mut items = items.into_iter().peekable();
    // Elements of the item at hand that earlier groups hold.
    let mut start = 0u64;
    while let Some(&(item, n)) = items.peek() {
        let group = given.groups.get(directory.groups.len());
        let chunk = group.and_then(|g| g.segments.first()).filter(|s| s.len < n);
        fields.spend(size_of::<GroupEntry>() as u64)?;
        let mut segments = Vec::new();
        let mut n_elements = 0u64;
        if start == 0 && coder.bit(&mut fields.whole, chunk.is_none())? {
            let count = group.map_or(1, |g| g.segments.len() as u64);
            let count = fields
                .n_segments
                .code(coder, count.saturating_sub(1))?
                .saturating_add(1);
            for _ in 0..count {
                let (item, len) = items.next().ok_or_else(|| {
                    Error::corrupt(
                        "directory",
                        format!("a group of {count} tensors, more than there are"),
                    )
                })?;
                fields.spend(size_of::<Segment>() as u64)?;
                segments.push(Segment { item, start: 0, len });
                n_elements = n_elements.saturating_add(len);
            }
        } else {
            let len = group.and_then(|g| g.segments.first()).map_or(1, |s| s.len);
            let len = fields
                .n_segments
                .code(coder, len.saturating_sub(1))?
                .saturating_add(1);
            if len > n - start {
                return Err(Error::corrupt(
                    "directory",
                    format!("a chunk of {len} of {} elements", n - start),
                ));
            }
            fields.spend(4 * size_of::<Segment>() as u64)?;
            segments.push(Segment { item, start, len });
            n_elements = len;
            start += len;
            if start == n {
                start = 0;
                items.next();
            }
        }
        if n_elements > MAX_GROUP_ELEMENTS {
            return Err(Error::corrupt(
                "directory",
                format!("a group of {n_elements} elements; at most 2^24 are allowed"),
            ));
        }
        let code = fields.coder.code(coder, group.map_or(0, |g| g.coder as u32))?;
        let size_bytes = fields.size_bytes.code(coder, group.map_or(0, |g| g.size_bytes))?;
        let crc = coder.direct(32, group.map_or(0, |g| g.crc))?;
        directory.groups.push(GroupEntry {
            coder: Coder::from_code(u64::from(code))?,
            size_bytes,
            crc,
            segments,
        });
    }
    Ok(())
}
