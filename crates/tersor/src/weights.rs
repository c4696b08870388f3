//! A tensor's elements as f32, without a copy where the file holds them so.

use crate::Result;
use crate::checkpoint::Checkpoint;
use std::borrow::Cow;
use tersor_codec::{Dtype, decode_to_f32};

/// Little-endian bytes of a float tensor as f32; f64 is rounded to nearest. Empty if the type is not a float.
pub(crate) fn to_f32<'a>(bytes: &Cow<'a, [u8]>, dtype: Dtype) -> Cow<'a, [f32]> {
    if dtype == Dtype::F32
        && cfg!(target_endian = "little")
        && let Cow::Borrowed(bytes) = *bytes
        && let Ok(values) = bytemuck::try_cast_slice(bytes)
    {
        return Cow::Borrowed(values);
    }
    Cow::Owned(decode_to_f32(bytes, dtype).unwrap_or_default())
}

/// Elements of tensor `index` as f32.
pub(crate) fn load(checkpoint: &Checkpoint, index: usize) -> Result<Cow<'_, [f32]>> {
    let dtype = checkpoint.tensors().get(index).map_or(Dtype::U8, |t| t.dtype);
    Ok(to_f32(&checkpoint.bytes(index)?, dtype))
}
