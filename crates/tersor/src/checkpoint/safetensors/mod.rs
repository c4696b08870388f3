//! The safetensors format: a length, a JSON header, the tensors' bytes.

mod header;
mod read;
mod write;

pub(super) use header::StringMap;
pub(super) use read::read;
pub(super) use write::{Layout, header_bytes};

/// Bytes before the header: its length as a little-endian u64.
const LENGTH_BYTES: usize = 8;
/// Longest header, as in the reference implementation.
const MAX_HEADER_BYTES: usize = 100_000_000;
/// The writer pads the header with spaces to a multiple of this, as the reference implementation does.
const HEADER_ALIGNMENT: usize = 8;
/// The key of the file's own metadata in the header.
const METADATA_KEY: &str = "__metadata__";

/// Whether a file looks like safetensors: a plausible header length and a JSON object.
pub(super) fn detect(bytes: &[u8]) -> bool {
    let Some((length, rest)) = bytes.split_first_chunk::<LENGTH_BYTES>() else {
        return false;
    };
    u64::from_le_bytes(*length) <= MAX_HEADER_BYTES as u64 && rest.first() == Some(&b'{')
}
