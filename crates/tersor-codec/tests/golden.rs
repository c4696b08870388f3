//! The golden files: what they decode to, why the broken ones are refused, and what becomes of damage.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use serde_json::Value;
use sha2::{Digest, Sha256};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tersor_codec::*;

/// Counts the bytes in use, to see that damaged files do not make a decoder take memory.
///
/// The only unsafe code of these tests: it passes every call on to the system's allocator unchanged.
#[expect(unsafe_code, reason = "an allocator cannot be written without")]
mod counting {
    use std::alloc::{GlobalAlloc, Layout, System};
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    struct Counting;

    #[global_allocator]
    static ALLOCATOR: Counting = Counting;
    static IN_USE: AtomicUsize = AtomicUsize::new(0);
    static PEAK: AtomicUsize = AtomicUsize::new(0);

    // SAFETY: `System` keeps the contract, and counting neither allocates nor unwinds.
    unsafe impl GlobalAlloc for Counting {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            let now = IN_USE.fetch_add(layout.size(), Relaxed) + layout.size();
            PEAK.fetch_max(now, Relaxed);
            // SAFETY: the caller's layout is passed on.
            unsafe { System.alloc(layout) }
        }

        unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
            IN_USE.fetch_sub(layout.size(), Relaxed);
            // SAFETY: the pointer came from `System.alloc` with this layout.
            unsafe { System.dealloc(pointer, layout) }
        }
    }

    /// Most bytes that were in use at once while `f` ran, beyond those before.
    pub(crate) fn peak_bytes(f: impl FnOnce()) -> usize {
        let before = IN_USE.load(Relaxed);
        PEAK.store(before, Relaxed);
        f();
        PEAK.load(Relaxed).saturating_sub(before)
    }
}

/// One test at a time, so that peaks are those of one test.
fn alone() -> MutexGuard<'static, ()> {
    static LOCK: Mutex<()> = Mutex::new(());
    LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Files up to this size are damaged in every bit; of larger ones, and of those that decode to much, every 13th bit is.
const EXHAUSTIVE_BYTES: usize = 1536;

fn stride(file: &[u8]) -> usize {
    let reader = FileReader::new(file, limits()).unwrap();
    let directory = reader.directory();
    let decoded_bytes: u64 = directory.groups.iter().map(|g| directory.decoded_bytes(g)).sum();
    if file.len() <= EXHAUSTIVE_BYTES && decoded_bytes < 1 << 16 {
        1
    } else {
        13
    }
}

/// Most memory that a damaged file of at most 3 kB may take when 1 MiB of decoded bytes are allowed.
const MAX_PEAK_BYTES: usize = 64 << 20;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden")
}

fn manifest() -> Value {
    let text = std::fs::read_to_string(folder().join("manifest.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn list(manifest: &Value, key: &str) -> Vec<Value> {
    manifest[key].as_array().unwrap().clone()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap()
}

fn read(value: &Value) -> Vec<u8> {
    std::fs::read(folder().join(text(value, "file"))).unwrap()
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .fold(String::new(), |hex, b| hex + &format!("{b:02x}"))
}

fn limits() -> Limits {
    Limits::default().with_max_decoded_bytes(1 << 20)
}

/// Everything a file decodes to.
#[derive(PartialEq)]
struct Decoded {
    checkpoint: QuantizedCheckpoint,
    items: Vec<Vec<u8>>,
}

/// Decodes a file in every way there is; all must agree.
fn decode(file: &[u8], limits: Limits) -> Result<Decoded> {
    let reader = FileReader::new(file, limits)?;
    let verified = reader.verify();
    let checkpoint = QuantizedCheckpoint::decode(file, limits);
    let n_items = reader.directory().entries.len() + reader.directory().blobs.len();
    let items: Result<Vec<_>> = (0..n_items).map(|item| reader.read_item(item)).collect();
    if !matches!(verified, Err(Error::Checksum { .. })) {
        assert_eq!(verified.is_ok(), checkpoint.is_ok(), "{verified:?}");
        assert_eq!(verified.is_ok(), items.is_ok(), "{verified:?}");
    }
    verified?;
    let (checkpoint, items) = (checkpoint?, items?);
    for (index, bytes) in items.iter().enumerate() {
        let n_tensors = checkpoint.tensors.len();
        if index < n_tensors {
            assert!(checkpoint.dequantize(index).unwrap() == *bytes, "tensor {index}");
        } else {
            assert!(
                checkpoint.blobs[index - n_tensors].bytes == *bytes,
                "blob {index}"
            );
        }
    }
    Ok(Decoded { checkpoint, items })
}

/// Puts right the checksums of the header and of all groups, as far as the file can be parsed.
fn repair(file: &mut [u8]) {
    let mut at = 16;
    let mut length = 0u64;
    while let Some(&byte) = file.get(at) {
        length |= u64::from(byte & 0x7f) << (7 * (at - 16)).min(56);
        at += 1;
        if byte < 0x80 || at == 25 {
            break;
        }
    }
    let Some(end) = usize::try_from(length).ok().and_then(|n| at.checked_add(n)) else {
        return;
    };
    if let (Some(covered), Some(_)) = (file.get(..end), file.get(..end.saturating_add(4))) {
        let crc = group_crc(covered);
        file[end..end + 4].copy_from_slice(&crc.to_le_bytes());
    }
}

/// The file with the bytes of its groups replaced and their checksums put right.
fn with_groups(reader: &FileReader<'_>, groups: &[u8]) -> Vec<u8> {
    let mut directory = reader.directory().clone();
    let mut rest = groups;
    for group in &mut directory.groups {
        let (bytes, tail) = rest.split_at(group.size_bytes as usize);
        group.crc = group_crc(bytes);
        rest = tail;
    }
    let mut file = encode_header(&directory, reader.digest()).unwrap();
    file.extend_from_slice(groups);
    file
}

#[test]
fn every_valid_file_decodes_to_what_the_manifest_says() {
    let _alone = alone();
    for entry in list(&manifest(), "valid") {
        let name = text(&entry, "file");
        let decoded = decode(&read(&entry), Limits::default()).unwrap();
        let (tensors, blobs) = (list(&entry, "tensors"), list(&entry, "blobs"));
        assert_eq!(decoded.items.len(), tensors.len() + blobs.len(), "{name}");
        for (index, stated) in tensors.iter().enumerate() {
            let info = &decoded.checkpoint.tensors[index].info;
            assert_eq!(info.name, text(stated, "name"), "{name}");
            assert_eq!(info.dtype.name(), text(stated, "dtype"), "{name}: {}", info.name);
            assert_eq!(
                serde_json::json!(info.shape),
                stated["shape"],
                "{name}: {}",
                info.name
            );
        }
        for (index, stated) in blobs.iter().enumerate() {
            assert_eq!(
                decoded.checkpoint.blobs[index].path,
                text(stated, "path"),
                "{name}"
            );
        }
        for (bytes, stated) in decoded.items.iter().zip(tensors.iter().chain(&blobs)) {
            assert_eq!(sha256(bytes), text(stated, "sha256"), "{name}: {stated}");
        }
    }
}

#[test]
fn every_broken_file_is_refused_with_its_own_error() {
    let _alone = alone();
    for entry in list(&manifest(), "invalid") {
        let file = read(&entry);
        let error = FileReader::new(&file, Limits::default())
            .and_then(|r| r.verify())
            .expect_err(text(&entry, "file"));
        let variant = format!("{error:?}");
        let (name, message) = (text(&entry, "file"), error.to_string());
        assert!(variant.starts_with(text(&entry, "error")), "{name}: {variant}");
        assert!(message.contains(text(&entry, "message")), "{name}: {message}");
        if message.contains("the decoded values") {
            continue; // only verifying looks at the digest
        }
        let decoded = QuantizedCheckpoint::decode(&file, Limits::default());
        assert_eq!(decoded, Err(error), "{name}");
    }
}

#[test]
fn the_manifest_lists_every_file() {
    let manifest = manifest();
    let listed = list(&manifest, "valid").len() + list(&manifest, "invalid").len();
    let count = |path: PathBuf| {
        let files = std::fs::read_dir(path).unwrap();
        let is_golden = |p: PathBuf| p.extension().is_some_and(|e| e == "tersor");
        files.filter(|f| is_golden(f.as_ref().unwrap().path())).count()
    };
    assert_eq!(listed, count(folder()) + count(folder().join("invalid")));
}

#[test]
fn every_prefix_of_a_golden_file_is_truncated() {
    let _alone = alone();
    for entry in list(&manifest(), "valid") {
        let file = read(&entry);
        for n in 0..file.len() {
            let result = FileReader::new(&file[..n], limits());
            assert!(
                matches!(result, Err(Error::Truncated { .. })),
                "{} bytes of {}: {result:?}",
                n,
                text(&entry, "file")
            );
        }
    }
}

#[test]
fn every_flipped_bit_of_a_golden_file_is_noticed() {
    let _alone = alone();
    for entry in list(&manifest(), "valid") {
        let mut file = read(&entry);
        for bit in (0..file.len() * 8).step_by(stride(&file)) {
            file[bit / 8] ^= 1 << (bit % 8);
            // A CRC finds every single bit, so no flip leaves a file that decodes.
            assert!(
                decode(&file, limits()).is_err(),
                "bit {bit} of {}",
                text(&entry, "file")
            );
            file[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

/// Damages a header behind its checksum, and groups behind theirs.
fn damaged_behind_checksums(file: &[u8], mut check: impl FnMut(&[u8], usize)) {
    let reader = FileReader::new(file, limits()).unwrap();
    let header_bits = reader.header_len() * 8;
    let groups = &file[reader.header_len()..];
    for bit in (0..file.len() * 8).step_by(stride(file)) {
        let damaged = if bit < header_bits {
            let mut damaged = file.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            repair(&mut damaged);
            damaged
        } else {
            let mut groups = groups.to_vec();
            groups[(bit - header_bits) / 8] ^= 1 << (bit % 8);
            with_groups(&reader, &groups)
        };
        check(&damaged, bit);
    }
}

#[test]
fn damage_behind_the_checksums_neither_panics_nor_takes_memory() {
    let _alone = alone();
    for entry in list(&manifest(), "valid") {
        let name = text(&entry, "file");
        let file = read(&entry);
        let original = decode(&file, limits()).map(|d| d.items).unwrap();
        let header_bits = FileReader::new(&file, limits()).unwrap().header_len() * 8;
        damaged_behind_checksums(&file, |damaged, bit| {
            let mut result = None;
            let peak = counting::peak_bytes(|| result = Some(decode(damaged, limits())));
            assert!(peak < MAX_PEAK_BYTES, "bit {bit} of {name}: {peak} bytes");
            // The digest finds what the checksums of groups no longer do.
            if let Some(Ok(decoded)) = result
                && bit >= header_bits
            {
                assert!(decoded.items == original, "bit {bit} of {name}");
            }
        });
    }
}

#[test]
fn broken_files_take_little_memory() {
    let _alone = alone();
    for entry in list(&manifest(), "invalid") {
        let file = read(&entry);
        let peak = counting::peak_bytes(|| drop(decode(&file, limits())));
        // The text of one file is as long as the default limit on directories lets it be.
        let allowed = if text(&entry, "file").contains("limit-text") {
            256 << 20
        } else {
            MAX_PEAK_BYTES
        };
        assert!(peak < allowed, "{}: {peak} bytes", text(&entry, "file"));
    }
}
