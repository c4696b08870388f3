//! The directory of a file: all but the symbols.
//!
//! One description serves writing and reading: [`Directory::code`] passes every field through a
//! [`BitCoder`], which writes what it is given or returns what it reads. `docs/format.md`, "Directory".

mod codebooks;
mod entries;
mod fields;
mod groups;

use crate::codebook::{Codebook, Scales};
use crate::range::BitCoder;
use crate::{Coder, Error, Limits, Result, Shard, TensorInfo};
use entries::{code_entry, code_shard};
use fields::Fields;
use groups::code_groups;
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
