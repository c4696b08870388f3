//! Arbitrary bytes as a file; and the same bytes with magic, version and checksum of the header put right, so that
//! they reach the directory. All ways to decode must agree, and none may panic or take more memory than allowed.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tersor_codec::{
    Error, FileReader, Limits, MAGIC, QuantizedCheckpoint, VERSION, encode_header, group_crc,
};

fn limits() -> Limits {
    let mut limits = Limits::default().with_max_decoded_bytes(1 << 20);
    limits.max_tensors = 1 << 10;
    limits.max_directory_bytes = 1 << 20;
    limits
}

fn check(file: &[u8]) {
    let Ok(reader) = FileReader::new(file, limits()) else {
        return;
    };
    let verified = reader.verify();
    let checkpoint = QuantizedCheckpoint::decode(file, limits());
    if !matches!(verified, Err(Error::Checksum { .. })) {
        assert_eq!(verified.is_ok(), checkpoint.is_ok(), "{verified:?}");
    }
    let Ok(checkpoint) = checkpoint else { return };
    for index in 0..checkpoint.tensors.len().min(8) {
        assert_eq!(reader.read_item(index), checkpoint.dequantize(index));
    }
    for (index, blob) in checkpoint.blobs.iter().enumerate().take(8) {
        let item = checkpoint.tensors.len() + index;
        assert_eq!(reader.read_item(item).as_ref(), Ok(&blob.bytes));
    }
}

/// The input as a directory and groups, with whatever checksums they need.
fn repaired(data: &[u8]) -> Option<Vec<u8>> {
    let (&length, rest) = data.split_first()?;
    let (directory, groups) = rest.split_at_checked(usize::from(length & 0x7f).min(rest.len()))?;
    let mut file = MAGIC.to_vec();
    file.push(VERSION);
    file.extend_from_slice(&[0; 8]);
    file.push(directory.len() as u8);
    file.extend_from_slice(directory);
    file.extend_from_slice(&group_crc(&file).to_le_bytes());
    file.extend_from_slice(groups);
    Some(file)
}

/// The file with the checksums of its groups put right.
fn with_group_checksums(file: &[u8]) -> Option<Vec<u8>> {
    let reader = FileReader::new(file, limits()).ok()?;
    let mut directory = reader.directory().clone();
    let groups = file.get(reader.header_len()..)?;
    let mut rest = groups;
    for group in &mut directory.groups {
        let (bytes, tail) = rest.split_at_checked(usize::try_from(group.size_bytes).ok()?)?;
        group.crc = group_crc(bytes);
        rest = tail;
    }
    // A directory that a decoder takes can be written, unless one distance to a codebook has two spellings.
    let mut out = encode_header(&directory, reader.digest()).ok()?;
    out.extend_from_slice(groups);
    Some(out)
}

fuzz_target!(|data: &[u8]| {
    check(data);
    for file in [Some(data.to_vec()), repaired(data)].into_iter().flatten() {
        check(&file);
        if let Some(file) = with_group_checksums(&file) {
            check(&file);
        }
    }
});
