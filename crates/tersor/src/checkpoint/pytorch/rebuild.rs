//! The few classes and functions whose results are built here: dicts, tensors, storages.

use super::{
    Flaw,
    tensor::{Dense, ElementType, StorageRef, TensorRef, storage_type, torch_dtype},
    value::{Arena, Id, Value},
};

/// Most wrappers around a tensor (`_rebuild_from_type_v2` of `_rebuild_parameter` of ...).
const MAX_WRAPPERS: usize = 8;

/// What a known class or function gives.
pub(super) enum Made<'a> {
    New(Value<'a>),
    /// One of the values that it was given.
    Same(Id),
}

fn unusable<'a>(why: &'static str) -> Made<'a> {
    Made::New(Value::Tensor(Box::new(TensorRef::Unusable(why))))
}

/// What calling `class` with `args` gives, or `None` if it is not known.
pub(super) fn call<'a>(arena: &Arena<'a>, class: Id, args: Id) -> Option<Made<'a>> {
    let (mut class, mut args) = (class, args);
    for _ in 0..MAX_WRAPPERS {
        let global = arena.global(class)?;
        let items = arena.items(args)?;
        let arg = |i: usize| items.get(i).copied();
        return match (&*global.module, &*global.name) {
            ("collections", "OrderedDict") => Some(Made::New(Value::Dict(match arg(0) {
                None => Vec::new(),
                Some(pairs) => dict_entries(arena, pairs)?,
            }))),
            ("collections", "defaultdict") => Some(Made::New(Value::Dict(match arg(1) {
                None => Vec::new(),
                Some(pairs) => dict_entries(arena, pairs)?,
            }))),
            ("torch", "Size") => arg(0).map(Made::Same),
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Some(tensor(arena, items, None)),
            ("torch._utils", "_rebuild_tensor_v3") => {
                let dtype = arg(6)
                    .and_then(|id| arena.global(id))
                    .filter(|dtype| dtype.module == "torch");
                let Some(dtype) = dtype else {
                    return Some(unusable("does not say its type"));
                };
                Some(tensor(arena, items, Some(torch_dtype(&dtype.name))))
            }
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => {
                arg(0).map(Made::Same)
            }
            ("torch._tensor", "_rebuild_from_type_v2")
            | ("torch._tensor" | "torch._utils", "_rebuild_from_type") => {
                // (function, type, its arguments, state): a tensor with a class or attributes of Python's own.
                (class, args) = (arg(0)?, arg(2)?);
                continue;
            }
            ("torch._utils", name) if name.starts_with("_rebuild") => Some(unusable(other_kind(name))),
            _ => None,
        };
    }
    Some(unusable("is wrapped too deeply"))
}

/// What kind of tensor a function of `torch._utils` makes that is not read.
fn other_kind(function: &str) -> &'static str {
    match function {
        "_rebuild_sparse_tensor" | "_rebuild_sparse_csr_tensor" => "is sparse; save `tensor.to_dense()`",
        "_rebuild_qtensor" => "is quantized; save `tensor.dequantize()`",
        "_rebuild_meta_tensor_no_storage" => "is on the meta device and has no numbers",
        "_rebuild_nested_tensor" => "is nested; save its parts",
        "_rebuild_device_tensor_from_numpy"
        | "_rebuild_device_tensor_from_cpu_tensor"
        | "_rebuild_xla_tensor" => "is on a device of its own kind; save `tensor.cpu()`",
        _ => "is of a kind that is not read; save it as a dense tensor",
    }
}

/// The entries of a dict that is made from a dict or from pairs.
fn dict_entries(arena: &Arena<'_>, from: Id) -> Option<Vec<(Id, Id)>> {
    if let Value::Dict(entries) = arena.get(from) {
        return Some(entries.clone());
    }
    let pair = |&id: &Id| match arena.items(id) {
        Some(&[key, value]) => Some((key, value)),
        _ => None,
    };
    arena.items(from)?.iter().map(pair).collect()
}

/// `(storage, offset, shape, strides, ...)`; with `element`, the storage is untyped.
fn tensor<'a>(arena: &Arena<'a>, args: &[Id], element: Option<ElementType>) -> Made<'a> {
    let &[storage, offset, shape, strides, ..] = args else {
        return unusable("has too few parts");
    };
    let Value::Storage(stored) = arena.get(storage) else {
        return unusable("has no storage in the file; write the file with `torch.save`, not with `pickle`");
    };
    let element = match (element, &stored.element) {
        (Some(element), _) => element,
        (None, ElementType::Untyped) => return unusable("does not say its type"),
        (None, element) => element.clone(),
    };
    Made::New(Value::Tensor(Box::new(TensorRef::Dense(Dense {
        storage,
        element,
        offset,
        shape,
        strides,
    }))))
}

/// A storage from its persistent id: `("storage", type, key, location, elements[, view])`.
pub(super) fn storage<'a>(arena: &Arena<'a>, id: Id) -> Result<Value<'a>, Flaw> {
    let corrupt = |what: &str| Flaw::Corrupt(format!("a storage is described wrongly: {what}"));
    let items = arena.items(id).ok_or_else(|| corrupt("no tuple"))?;
    let &[tag, class, key, _location, n_elements, ref view @ ..] = items else {
        return Err(corrupt("fewer than five parts"));
    };
    if arena.str(tag) != Some("storage") {
        return Err(corrupt("it does not begin with \"storage\""));
    }
    let class = arena
        .global(class)
        .ok_or_else(|| corrupt("its type is no class"))?;
    let element = storage_type(&class.module, &class.name).ok_or_else(|| {
        let name = format!("{}.{}", class.module, class.name);
        Flaw::Unsupported(format!("a storage has the unknown type {name:?}"))
    })?;
    let Value::Str(key) = arena.get(key) else {
        return Err(corrupt("its key is no text"));
    };
    let count = |id: Id| arena.int(id).and_then(|n| u64::try_from(n).ok());
    let n_elements = count(n_elements).ok_or_else(|| corrupt("its number of elements is no count"))?;
    // Old files: (key of the view, offset, elements of the view), or None.
    let view = match view.first().and_then(|&id| arena.items(id)) {
        None => None,
        Some(&[_, offset, n]) => Some(
            count(offset)
                .zip(count(n))
                .ok_or_else(|| corrupt("its view is no pair of counts"))?,
        ),
        Some(_) => return Err(corrupt("its view does not have three parts")),
    };
    Ok(Value::Storage(Box::new(StorageRef {
        key: key.clone(),
        element,
        n_elements,
        view,
    })))
}
