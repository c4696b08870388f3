//! From a state dict to a checkpoint: every tensor is held against the storage that it views.

use super::{
    pickle::Pickle,
    state_dict::{self, Found, StateDict},
    tensor::{Dense, ElementType, StorageRef, TensorRef},
    value::{Arena, Id, Value},
};
use crate::checkpoint::{Checkpoint, CheckpointError, ReadLimits, Storage, View, source::is_row_major};
use std::collections::HashMap;
use tersor_codec::{Dtype, Shard, TensorInfo};

/// Most dimensions of a tensor, as in PyTorch.
const MAX_DIMENSIONS: usize = 64;
/// Dropped entries that a note names.
const MAX_NAMED: usize = 12;

/// The storages of a file: gives the bytes under a key, which the storage says are so long.
pub(super) type FindStorage<'f> = dyn FnMut(&StorageRef<'_>) -> Result<(Storage, u64), CheckpointError> + 'f;

/// Where a pickle is from.
pub(super) struct Origin<'o> {
    pub(super) file: &'o str,
    pub(super) file_bytes: usize,
    pub(super) limits: &'o ReadLimits,
}

/// Takes the weights out of a pickle.
pub(super) fn weights(
    pickle: &Pickle<'_>,
    origin: &Origin<'_>,
    find_storage: &mut FindStorage<'_>,
) -> Result<Checkpoint, CheckpointError> {
    let file = origin.file;
    match find_weights(pickle) {
        Found::Weights(dict) => state_dict(pickle, dict, origin, find_storage),
        Found::Module { class, path } => Err(CheckpointError::unsupported(
            file,
            module_advice(file, &class, &path),
        )),
        Found::Nothing => {
            let what = "it has no state dict: no dict of names and tensors within four levels";
            Err(CheckpointError::unsupported(file, what))
        }
    }
}

/// Which part of a pickle is the weights.
pub(super) fn find_weights(pickle: &Pickle<'_>) -> Found {
    let arena = &pickle.arena;
    let size = |id: Id| match arena.get(id) {
        Value::Tensor(tensor) => claimed_bytes(arena, tensor),
        _ => 0,
    };
    state_dict::find(arena, pickle.root, &size)
}

/// A state dict as a checkpoint.
pub(super) fn state_dict(
    pickle: &Pickle<'_>,
    dict: StateDict,
    origin: &Origin<'_>,
    find_storage: &mut FindStorage<'_>,
) -> Result<Checkpoint, CheckpointError> {
    let mut assembler = Assembler::new(&pickle.arena, origin.file, find_storage);
    assembler.checkpoint.notes = notes(&dict);
    for (name, id) in dict.tensors {
        assembler.push(name, id)?;
    }
    assembler.finish(origin)
}

/// Tensors of a pickle on their way to a checkpoint.
pub(super) struct Assembler<'p, 'a, 'f> {
    arena: &'p Arena<'a>,
    file: &'p str,
    find_storage: &'p mut FindStorage<'f>,
    /// By key: index of a storage, and its bytes.
    storages: HashMap<String, (usize, u64)>,
    checkpoint: Checkpoint,
}

impl<'p, 'a, 'f> Assembler<'p, 'a, 'f> {
    pub(super) fn new(arena: &'p Arena<'a>, file: &'p str, find_storage: &'p mut FindStorage<'f>) -> Self {
        // transformers refuses safetensors that do not say for which framework they are.
        let metadata = vec![("format".to_owned(), "pt".to_owned())];
        Self {
            arena,
            file,
            find_storage,
            storages: HashMap::new(),
            checkpoint: Checkpoint {
                shards: vec![Shard {
                    file_name: String::new(),
                    metadata,
                }],
                is_in_dict_order: true,
                ..Checkpoint::default()
            },
        }
    }

    /// What was assembled so far.
    pub(super) fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Adds a tensor under a name, and gives its index.
    pub(super) fn push(&mut self, name: String, id: Id) -> Result<usize, CheckpointError> {
        let (arena, file) = (self.arena, self.file);
        let dense = dense(arena, id)
            .map_err(|why| CheckpointError::unsupported(file, format!("tensor {name:?} {why}")))?;
        let in_tensor = |what: String| CheckpointError::corrupt(file, format!("tensor {name:?}: {what}"));
        let Value::Storage(stored) = arena.get(dense.storage) else {
            return Err(in_tensor("it has no storage".into()));
        };
        let (storage, available) = if let Some(&known) = self.storages.get(&*stored.key) {
            known
        } else {
            let (storage, available) = (self.find_storage)(stored)?;
            let known = (self.checkpoint.add_storage(storage), available);
            self.storages.insert(stored.key.clone().into_owned(), known);
            known
        };
        let dtype = match &dense.element {
            ElementType::Known(dtype) => *dtype,
            ElementType::Unknown(kind) => {
                let what = format!(
                    "tensor {name:?} has the type {kind:?}, which is not read; cast it before saving"
                );
                return Err(CheckpointError::unsupported(file, what));
            }
            ElementType::Untyped => return Err(in_tensor("it does not say its type".into())),
        };
        let (shape, view) = view(arena, dense, dtype, stored, (storage, available)).map_err(in_tensor)?;
        self.checkpoint.push(
            TensorInfo {
                name,
                dtype,
                shape,
                shard: 0,
            },
            view,
        );
        Ok(self.checkpoint.tensors.len() - 1)
    }

    /// The checkpoint, if its names differ and it is within the limits.
    pub(super) fn finish(self, origin: &Origin<'_>) -> Result<Checkpoint, CheckpointError> {
        let (mut checkpoint, file) = (self.checkpoint, self.file);
        if let Some(name) = checkpoint.repeated_name() {
            return Err(CheckpointError::corrupt(
                file,
                format!("the tensor name {name:?} occurs twice"),
            ));
        }
        checkpoint.find_aliases();
        let mut budget = origin.limits.budget(origin.file_bytes);
        for (info, _) in checkpoint
            .tensors
            .iter()
            .zip(&checkpoint.aliases)
            .filter(|(_, alias)| alias.is_none())
        {
            budget.take(info.size_bytes().unwrap_or(u64::MAX), file, || {
                format!("tensor {:?}", info.name)
            })?;
        }
        Ok(checkpoint)
    }
}

fn dense<'s>(arena: &'s Arena<'_>, id: Id) -> Result<&'s Dense, &'static str> {
    match arena.get(id) {
        Value::Tensor(tensor) => match &**tensor {
            TensorRef::Dense(dense) => Ok(dense),
            TensorRef::Unusable(why) => Err(why),
        },
        _ => Err("is no tensor"),
    }
}

fn counts(arena: &Arena<'_>, id: Id, what: &str) -> Result<Vec<u64>, String> {
    let items = arena.items(id).ok_or_else(|| format!("its {what} is no tuple"))?;
    if items.len() > MAX_DIMENSIONS {
        return Err(format!(
            "its {what} has {} dimensions; {MAX_DIMENSIONS} are allowed",
            items.len()
        ));
    }
    let count = |&id: &Id| match arena.get(id) {
        Value::Int(n) => u64::try_from(*n).map_err(|_| format!("its {what} has the negative entry {n}")),
        _ => Err(format!("its {what} has an entry that is no integer")),
    };
    items.iter().map(count).collect()
}

/// Bytes of a tensor as it says itself; 0 if it makes no sense.
fn claimed_bytes(arena: &Arena<'_>, tensor: &TensorRef) -> u64 {
    let TensorRef::Dense(dense) = tensor else { return 0 };
    let shape = counts(arena, dense.shape, "shape").unwrap_or_else(|_| vec![0]);
    let elements = shape.iter().fold(1u64, |n, &extent| n.saturating_mul(extent));
    elements.saturating_mul(dense.element.size_bytes().unwrap_or(0))
}

/// The shape of a tensor, and where its elements lie in the storage `index` of `available` bytes.
fn view(
    arena: &Arena<'_>,
    dense: &Dense,
    dtype: Dtype,
    stored: &StorageRef<'_>,
    (index, available): (usize, u64),
) -> Result<(Vec<u64>, View), String> {
    let shape = counts(arena, dense.shape, "shape")?;
    let strides = counts(arena, dense.strides, "strides")?;
    if shape.len() != strides.len() {
        return Err(format!(
            "it has {} extents but {} strides",
            shape.len(),
            strides.len()
        ));
    }
    let offset = arena.int(dense.offset).and_then(|n| u64::try_from(n).ok());
    let offset = offset.ok_or("its storage offset is no count")?;
    let size = dtype.size_bytes() as u64;
    let Some(total) = shape.iter().try_fold(size, |n, &extent| n.checked_mul(extent)) else {
        return Err(format!(
            "the shape {shape:?} has more bytes than 64 bits can count"
        ));
    };
    let unit = stored
        .element
        .size_bytes()
        .ok_or("the storage's type is not known")?;
    let key = &stored.key;
    let declared = stored.n_elements.checked_mul(unit).filter(|&n| n <= available).ok_or_else(|| {
        let n = stored.n_elements;
        format!("its storage {key:?} should have {n} elements of {unit} bytes, the file holds {available} bytes")
    })?;
    let (start, end) = match stored.view {
        None => (0, declared),
        Some((first, n)) => {
            let range = first
                .checked_mul(unit)
                .zip(first.checked_add(n).and_then(|end| end.checked_mul(unit)));
            range
                .filter(|(_, end)| *end <= declared)
                .ok_or("its storage is a view beyond the end of another")?
        }
    };
    let mut steps = shape
        .iter()
        .zip(&strides)
        .map(|(&n, &stride)| n.saturating_sub(1).checked_mul(stride));
    let last = steps.try_fold(offset, |sum, step| sum.checked_add(step?));
    let end_needed = last.and_then(|last| last.checked_add(1)?.checked_mul(size)?.checked_add(start));
    if total > 0 && end_needed.is_none_or(|needed| needed > end) {
        return Err(format!(
            "shape {shape:?}, strides {strides:?} and offset {offset} reach beyond the {} bytes of its storage {key:?}",
            end - start
        ));
    }
    let offset_bytes = if total == 0 { 0 } else { start + offset * size };
    let offset_bytes =
        usize::try_from(offset_bytes).map_err(|_| "its storage exceeds this machine's memory")?;
    let strides = (!is_row_major(&shape, &strides)).then_some(strides);
    Ok((
        shape,
        View {
            storage: index,
            offset_bytes,
            strides,
            swap_bytes: 1,
        },
    ))
}

/// What was taken and what was dropped, in sentences.
fn notes(dict: &StateDict) -> Vec<String> {
    let mut notes = Vec::new();
    let list = |names: &[String]| {
        let named = names
            .iter()
            .take(MAX_NAMED)
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(", ");
        match names.len().checked_sub(MAX_NAMED) {
            Some(more @ 1..) => format!("{named} and {more} more"),
            _ => named,
        }
    };
    if dict.is_lone_tensor {
        notes.push("the file holds one tensor without a name; it is called \"tensor\"".to_owned());
    }
    if !dict.path.is_empty() {
        let path: Vec<_> = dict.path.iter().map(|key| format!("{key:?}")).collect();
        let dropped = if dict.siblings.is_empty() {
            String::new()
        } else {
            format!("; dropped {}", list(&dict.siblings))
        };
        notes.push(format!("took the entry {}{dropped}", path.join(" / ")));
    }
    if !dict.others.is_empty() {
        notes.push(format!(
            "dropped what is no tensor in the state dict: {}",
            list(&dict.others)
        ));
    }
    notes
}

/// How to get a state dict out of a pickled module.
fn module_advice(file: &str, class: &str, path: &[String]) -> String {
    let keys: Vec<_> = path.iter().map(|key| format!("[{key:?}]")).collect();
    let keys = keys.concat();
    let name = file.rsplit(['/', '\\']).next().unwrap_or(file);
    let (stem, extension) = name.rsplit_once('.').unwrap_or((name, ""));
    let out = if extension == "pth" {
        format!("{stem}-weights.pth")
    } else {
        format!("{stem}.pth")
    };
    format!(
        "the weights are inside a pickled module of the class {class:?}, and no code of a checkpoint is ever run; \
         where that class can be imported, and if the file is trusted, convert it with \
         `torch.save(torch.load({name:?}, weights_only=False){keys}.state_dict(), {out:?})`"
    )
}
