//! Tensors and storages as a pickle describes them, before they are held against the file.

use super::value::Id;
use std::borrow::Cow;
use tersor_codec::Dtype;

/// Element type: one that tersor knows, or the name of one that it does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ElementType {
    Known(Dtype),
    Unknown(String),
    /// A storage of bytes; the tensor says what they are.
    Untyped,
}

impl ElementType {
    /// Bytes of one element of a storage of this type.
    pub(super) fn size_bytes(&self) -> Option<u64> {
        match self {
            Self::Known(dtype) => Some(dtype.size_bytes() as u64),
            Self::Untyped => Some(1),
            Self::Unknown(name) => match name.as_str() {
                "complex128" => Some(16),
                "complex32" | "qint32" => Some(4),
                "qint8" | "quint8" | "quint4x2" | "quint2x4" => Some(1),
                _ => None,
            },
        }
    }
}

/// The type of a class such as `torch.FloatStorage`.
pub(super) fn storage_type(module: &str, name: &str) -> Option<ElementType> {
    if !matches!(module, "torch" | "torch.cuda" | "torch.storage") {
        return None;
    }
    Some(ElementType::Known(match name {
        "DoubleStorage" => Dtype::F64,
        "FloatStorage" => Dtype::F32,
        "HalfStorage" => Dtype::F16,
        "BFloat16Storage" => Dtype::Bf16,
        "LongStorage" => Dtype::I64,
        "IntStorage" => Dtype::I32,
        "ShortStorage" => Dtype::I16,
        "CharStorage" => Dtype::I8,
        "ByteStorage" => Dtype::U8,
        "BoolStorage" => Dtype::Bool,
        "ComplexFloatStorage" => Dtype::C64,
        "UntypedStorage" => return Some(ElementType::Untyped),
        "ComplexDoubleStorage" => return Some(ElementType::Unknown("complex128".into())),
        "QInt8Storage" => return Some(ElementType::Unknown("qint8".into())),
        "QUInt8Storage" => return Some(ElementType::Unknown("quint8".into())),
        "QInt32Storage" => return Some(ElementType::Unknown("qint32".into())),
        "QUInt4x2Storage" => return Some(ElementType::Unknown("quint4x2".into())),
        "QUInt2x4Storage" => return Some(ElementType::Unknown("quint2x4".into())),
        other => return other.strip_suffix("Storage").map(unknown),
    }))
}

/// The type that `torch.NAME` is.
pub(super) fn torch_dtype(name: &str) -> ElementType {
    ElementType::Known(match name {
        "float64" | "double" => Dtype::F64,
        "float32" | "float" => Dtype::F32,
        "float16" | "half" => Dtype::F16,
        "bfloat16" => Dtype::Bf16,
        "float8_e4m3fn" => Dtype::F8E4m3,
        "float8_e5m2" => Dtype::F8E5m2,
        "float8_e8m0fnu" => Dtype::F8E8m0,
        "int64" | "long" => Dtype::I64,
        "int32" | "int" => Dtype::I32,
        "int16" | "short" => Dtype::I16,
        "int8" => Dtype::I8,
        "uint64" => Dtype::U64,
        "uint32" => Dtype::U32,
        "uint16" => Dtype::U16,
        "uint8" => Dtype::U8,
        "bool" => Dtype::Bool,
        "complex64" | "cfloat" => Dtype::C64,
        other => return unknown(other),
    })
}

/// A name from the file, cut: it is kept for every tensor that has it.
fn unknown(name: &str) -> ElementType {
    const MAX_CHARS: usize = 32;
    ElementType::Unknown(name.chars().take(MAX_CHARS).collect())
}

/// A storage that the file holds under a key.
#[derive(Debug, Clone)]
pub(super) struct StorageRef<'a> {
    pub(super) key: Cow<'a, str>,
    pub(super) element: ElementType,
    pub(super) n_elements: u64,
    /// First element and length within the keyed storage, in old files that store views of storages.
    pub(super) view: Option<(u64, u64)>,
}

/// A tensor: a strided view of a storage, or why it is none that is read.
#[derive(Debug)]
pub(super) enum TensorRef {
    Dense(Dense),
    /// What kind of tensor it is, as in "is sparse".
    Unusable(&'static str),
}

/// A strided view of a storage, by the arena's ids of its parts: they are read only if the tensor is wanted.
#[derive(Debug)]
pub(super) struct Dense {
    /// A [`StorageRef`].
    pub(super) storage: Id,
    /// What the storage holds, or what the tensor says that it holds.
    pub(super) element: ElementType,
    /// In elements.
    pub(super) offset: Id,
    pub(super) shape: Id,
    /// In elements.
    pub(super) strides: Id,
}
