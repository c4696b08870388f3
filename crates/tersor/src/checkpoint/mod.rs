//! Reading and writing checkpoints: safetensors (one file or sharded), Hugging Face folders, PyTorch state dicts, `.npz`.
//!
//! [`Checkpoint`] gives every format the same face: named tensors in order, their bytes on demand, the files they came
//! from and the files beside them. [`CheckpointWriter`] streams one out and puts it in place only when it is complete.

mod archive;
mod convert;
mod error;
mod folder;
mod limits;
mod mapped;
mod npz;
mod open;
mod paths;
mod pytorch;
mod safetensors;
mod sharded;
mod source;
mod staging;
mod stale;
mod whole;
mod writer;

pub use error::CheckpointError;
pub use limits::ReadLimits;
pub use open::Content;
pub use pytorch::{Moment, TrainedParameter, TrainingCheckpoint};
pub(crate) use staging::StagedFile;
pub use whole::f32_tensor;
pub use writer::{CheckpointWriter, OutputFormat};

use source::{Storage, View};
use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    path::Path,
};
use tersor_codec::{Blob, Shard, TensorInfo};

/// An opened checkpoint. Tensor bytes stay in the mapped file until asked for.
///
/// While one is open, no other process may shorten or rewrite its files.
#[derive(Default)]
pub struct Checkpoint {
    tensors: Vec<TensorInfo>,
    /// Where each tensor's bytes are, parallel to `tensors`.
    views: Vec<View>,
    /// Parallel to `tensors`.
    aliases: Vec<Option<usize>>,
    storages: Vec<Storage>,
    shards: Vec<Shard>,
    blobs: Vec<Blob>,
    notes: Vec<String>,
    /// Whether tensors are in the order of a dict, which for a state dict is that of the model.
    is_in_dict_order: bool,
}

impl Checkpoint {
    /// Opens a file or a folder with the default [`ReadLimits`]. A file's kind is told by its content, and where that
    /// says nothing by its extension.
    pub fn open(path: &Path) -> Result<Self, CheckpointError> {
        Self::open_with(path, &ReadLimits::default())
    }

    /// As [`open`](Self::open), with limits.
    pub fn open_with(path: &Path, limits: &ReadLimits) -> Result<Self, CheckpointError> {
        open::open(path, limits)
    }

    /// Reads a checkpoint of one file from memory, as from standard input. `label` stands for the file name in messages.
    pub fn from_bytes(bytes: Vec<u8>, label: &str) -> Result<Self, CheckpointError> {
        Self::from_bytes_with(bytes, label, &ReadLimits::default())
    }

    /// As [`from_bytes`](Self::from_bytes), with limits.
    pub fn from_bytes_with(
        bytes: Vec<u8>,
        label: &str,
        limits: &ReadLimits,
    ) -> Result<Self, CheckpointError> {
        open::from_file_bytes(bytes.into(), label, None, limits)
    }

    /// Makes a checkpoint of tensors in memory. Without shards, one nameless file is meant.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Misuse`] if a length does not fit its type and shape, a name occurs twice, or a shard does not exist.
    pub fn from_tensors(
        tensors: Vec<(TensorInfo, Vec<u8>)>,
        shards: Vec<Shard>,
        blobs: Vec<Blob>,
    ) -> Result<Self, CheckpointError> {
        let shards = if shards.is_empty() {
            vec![Shard::default()]
        } else {
            shards
        };
        let mut out = Self {
            shards,
            blobs,
            ..Self::default()
        };
        for (info, bytes) in tensors {
            let (name, size) = (&info.name, info.size_bytes());
            if size != Some(bytes.len() as u64) {
                let size = size.map_or("more than 64 bits can count".to_owned(), |n| n.to_string());
                let have = bytes.len();
                return Err(CheckpointError::Misuse(format!(
                    "tensor {name:?} has {have} bytes, its shape needs {size}"
                )));
            }
            if info.shard as usize >= out.shards.len() {
                let (shard, n) = (info.shard, out.shards.len());
                return Err(CheckpointError::Misuse(format!(
                    "tensor {name:?} is in shard {shard}, but there are {n}"
                )));
            }
            let storage = out.add_storage(Storage::Owned(bytes));
            out.push(
                info,
                View {
                    storage,
                    offset_bytes: 0,
                    strides: None,
                    swap_bytes: 0,
                },
            );
        }
        match out.repeated_name() {
            Some(name) => Err(CheckpointError::Misuse(format!(
                "the tensor name {name:?} occurs twice"
            ))),
            None => Ok(out),
        }
    }

    /// The tensors in the order of their file: by data offset in safetensors, as stored in the dict in PyTorch, shard
    /// after shard. Names are unique.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// The earlier tensor that this one is tied to: one with the same elements of the same storage, in the same type
    /// and shape. That one has no alias itself. `None` also beyond the last tensor.
    pub fn alias_of(&self, index: usize) -> Option<usize> {
        self.aliases.get(index).copied().flatten()
    }

    /// A tensor's elements in row-major order, without gaps, little endian.
    ///
    /// Free where the file holds them so; else they are inflated, gathered or swapped anew in each call.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Corrupt`] if a checksum of the file is wrong, [`CheckpointError::Misuse`] if there is no tensor `index`.
    pub fn bytes(&self, index: usize) -> Result<Cow<'_, [u8]>, CheckpointError> {
        let found = self.tensors.get(index).zip(self.views.get(index));
        let Some((info, view)) = found else {
            let n = self.tensors.len();
            return Err(CheckpointError::Misuse(format!(
                "there is no tensor {index}; the checkpoint has {n}"
            )));
        };
        let size = info.size_bytes().and_then(|n| usize::try_from(n).ok());
        let Some((storage, size)) = self.storages.get(view.storage).zip(size) else {
            let name = &info.name;
            return Err(CheckpointError::Misuse(format!(
                "tensor {name:?} exceeds this machine's memory"
            )));
        };
        view.read(storage, &info.shape, info.dtype.size_bytes(), size)
    }

    /// The files of weights, at least one. Where the source was no safetensors, these are what it becomes.
    pub fn shards(&self) -> &[Shard] {
        &self.shards
    }

    /// The files beside the weights that travel with them; empty unless a folder or an index was opened.
    pub fn blobs(&self) -> &[Blob] {
        &self.blobs
    }

    /// What was dropped or changed in reading, one sentence each.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Whether the order of the tensors tells that of the model's parameters: safetensors are written in the order of types and
    /// names, so that names in that order tell nothing.
    pub(crate) fn is_ordered(&self) -> bool {
        self.is_in_dict_order
            || !self
                .tensors
                .is_sorted_by(|a, b| a.dtype != b.dtype || a.name <= b.name)
    }

    fn add_storage(&mut self, storage: Storage) -> usize {
        self.storages.push(storage);
        self.storages.len() - 1
    }

    fn push(&mut self, info: TensorInfo, view: View) {
        self.tensors.push(info);
        self.views.push(view);
        self.aliases.push(None);
    }

    /// Marks tensors that view the same elements of the same storage in the same way.
    fn find_aliases(&mut self) {
        let mut first: HashMap<_, usize> = HashMap::new();
        for (i, (info, view)) in self.tensors.iter().zip(&self.views).enumerate() {
            if info.shape.contains(&0) {
                continue;
            }
            let earlier = *first.entry((info.dtype, &info.shape, view)).or_insert(i);
            if let Some(alias) = self.aliases.get_mut(i) {
                *alias = (earlier != i).then_some(earlier);
            }
        }
    }

    fn repeated_name(&self) -> Option<&str> {
        let mut seen = HashSet::with_capacity(self.tensors.len());
        self.tensors
            .iter()
            .map(|info| info.name.as_str())
            .find(|&name| !seen.insert(name))
    }

    /// Takes over the tensors of another file as the shard `shard`; its own shards and blobs are dropped.
    fn absorb(&mut self, part: Self, shard: u32) {
        let (first_tensor, first_storage) = (self.tensors.len(), self.storages.len());
        self.tensors
            .extend(part.tensors.into_iter().map(|info| TensorInfo { shard, ..info }));
        let views = part.views.into_iter();
        self.views.extend(views.map(|view| View {
            storage: view.storage + first_storage,
            ..view
        }));
        self.aliases.extend(
            part.aliases
                .into_iter()
                .map(|alias| alias.map(|i| i + first_tensor)),
        );
        self.storages.extend(part.storages);
        self.notes.extend(part.notes);
    }
}

impl std::fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Checkpoint")
            .field("tensors", &self.tensors)
            .field("shards", &self.shards)
            .field(
                "blobs",
                &self.blobs.iter().map(|blob| &blob.path).collect::<Vec<_>>(),
            )
            .field("notes", &self.notes)
            .finish_non_exhaustive()
    }
}

/// Threads read tensors of one checkpoint side by side.
const _: fn() = || {
    fn shared<T: Send + Sync>() {}
    shared::<Checkpoint>();
};
