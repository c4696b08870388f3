//! The file as a whole: magic, version, digest, directory, checksum, groups. `docs/format.md`, "File".

use crate::codebook::{Codebook, Dequantizer};
use crate::directory::{Directory, Entry, Segment, Storage};
use crate::group::{SegmentOutput, decode_group, measure_group};
use crate::range::{RangeDecoder, RangeEncoder};
use crate::varint::{read_varint, write_varint};
use crate::{Coder, Error, Limits, Result};
use xxhash_rust::xxh64::xxh64;

/// First bytes of every file.
pub const MAGIC: [u8; 7] = [0x8f, b'T', b'E', b'R', b'S', b'O', b'R'];
/// Version that this crate writes and reads.
pub const VERSION: u8 = 1;
/// Bytes before the length of the directory: magic, version, digest.
const PREFIX_LEN: usize = MAGIC.len() + 1 + 8;

/// XXH64 of the bytes that a group decodes to.
pub fn group_digest(decoded: &[u8]) -> u64 {
    xxh64(decoded, 0)
}

/// The digest of a file: XXH64 of the digests of its groups, each as eight little-endian bytes.
pub fn file_digest(groups: impl IntoIterator<Item = u64>) -> u64 {
    let bytes: Vec<u8> = groups.into_iter().flat_map(u64::to_le_bytes).collect();
    xxh64(&bytes, 0)
}

/// CRC-32C of a group's bytes.
pub fn group_crc(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes)
}

/// Everything of a file but the groups' bytes.
///
/// # Errors
/// [`Error::Invalid`] if the directory breaks a rule of the format.
pub fn encode_header(directory: &Directory, digest: u64) -> Result<Vec<u8>> {
    let mut encoder = RangeEncoder::new();
    let written =
        Directory::code(&mut encoder, directory, Limits::NONE).map_err(|e| Error::invalid(e.to_string()))?;
    if written != *directory {
        return Err(Error::invalid(
            "a directory whose groups or codebooks are not in order",
        ));
    }
    let bytes = encoder.finish();
    let mut out = Vec::with_capacity(PREFIX_LEN + 10 + bytes.len() + 4);
    out.extend_from_slice(&MAGIC);
    out.push(VERSION);
    out.extend_from_slice(&digest.to_le_bytes());
    write_varint(&mut out, bytes.len() as u64);
    out.extend_from_slice(&bytes);
    let crc = crc32c::crc32c(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    Ok(out)
}

/// A file in memory, or mapped, with its directory read and checked.
#[derive(Debug)]
pub struct FileReader<'a> {
    directory: Directory,
    digest: u64,
    header_len: usize,
    /// Bytes of each group.
    groups: Vec<&'a [u8]>,
}

impl<'a> FileReader<'a> {
    /// Reads the directory of a file. The groups are looked at only when they are decoded.
    ///
    /// # Errors
    /// Every way in which the bytes are not one whole file, or ask for more than `limits` allow.
    pub fn new(bytes: &'a [u8], limits: Limits) -> Result<Self> {
        let magic_len = bytes.len().min(MAGIC.len());
        if bytes.get(..magic_len) != MAGIC.get(..magic_len) {
            return Err(Error::NotTersor {
                found: bytes.get(..magic_len).unwrap_or_default().to_vec(),
            });
        }
        let part = "header";
        let version = *bytes.get(MAGIC.len()).ok_or(Error::Truncated { part })?;
        if version != VERSION {
            return Err(Error::UnsupportedVersion {
                found: version,
                supported: VERSION,
            });
        }
        let rest = bytes.get(MAGIC.len() + 1..).unwrap_or_default();
        let (digest, rest) = rest.split_first_chunk::<8>().ok_or(Error::Truncated { part })?;
        let len_bytes = rest.get(..rest.len().min(9)).unwrap_or_default();
        let (directory_len, _) = match read_varint(len_bytes) {
            Some(found) => found,
            None if len_bytes.len() < 9 && len_bytes.iter().all(|b| b & 0x80 != 0) => {
                return Err(Error::Truncated { part });
            }
            None => {
                return Err(Error::corrupt(
                    "header",
                    "a length of the directory that is not in its shortest form",
                ));
            }
        };
        let n_len_bytes = len_bytes.iter().take_while(|b| **b & 0x80 != 0).count() + 1;
        let rest = rest.get(n_len_bytes..).unwrap_or_default();
        let split = usize::try_from(directory_len)
            .ok()
            .and_then(|n| rest.split_at_checked(n));
        let (directory_bytes, rest) = split.ok_or(Error::Truncated { part: "directory" })?;
        let (crc, mut rest) = rest
            .split_first_chunk::<4>()
            .ok_or(Error::Truncated { part: "directory" })?;
        let header_len = bytes.len() - rest.len();
        let covered = bytes.get(..header_len - 4).unwrap_or_default();
        if crc32c::crc32c(covered) != u32::from_le_bytes(*crc) {
            return Err(Error::Checksum {
                part: "the header".into(),
            });
        }
        let mut decoder = RangeDecoder::new(directory_bytes, "directory")?;
        let directory = Directory::code(&mut decoder, &Directory::default(), limits)?;
        decoder.finish()?;
        let mut groups = Vec::with_capacity(directory.groups.len());
        for group in &directory.groups {
            let split = usize::try_from(group.size_bytes)
                .ok()
                .and_then(|n| rest.split_at_checked(n));
            let (group, tail) = split.ok_or(Error::Truncated { part: "group" })?;
            groups.push(group);
            rest = tail;
        }
        if !rest.is_empty() {
            return Err(Error::corrupt(
                "file",
                format!("{} bytes follow its end", rest.len()),
            ));
        }
        Ok(Self {
            directory,
            digest: u64::from_le_bytes(*digest),
            header_len,
            groups,
        })
    }

    /// The directory.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Digest of all decoded bytes that the file states.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// Bytes before the first group.
    pub fn header_len(&self) -> usize {
        self.header_len
    }

    /// Bytes of a group, checked against its CRC.
    pub(crate) fn group_bytes(&self, index: usize) -> Result<&'a [u8]> {
        let (Some(bytes), Some(entry)) = (self.groups.get(index), self.directory.groups.get(index)) else {
            return Err(Error::invalid(format!("group {index} of {}", self.groups.len())));
        };
        if group_crc(bytes) != entry.crc {
            let name = entry.segments.first().map_or("", |s| self.item_name(s.item));
            return Err(Error::Checksum {
                part: format!("group {index}, which begins with {name:?}"),
            });
        }
        Ok(bytes)
    }

    fn item_name(&self, item: usize) -> &str {
        let blob = || {
            self.directory
                .blobs
                .get(item - self.directory.entries.len())
                .map(|b| b.path.as_str())
        };
        self.directory
            .entries
            .get(item)
            .map(|e| e.info.name.as_str())
            .or_else(blob)
            .unwrap_or("")
    }

    /// Decodes a group to the bytes of its tensors and blobs, one after the other, and returns their digest.
    ///
    /// All groups in order give the bytes of all tensors but aliases, and then of all blobs.
    ///
    /// # Errors
    /// [`Error::Checksum`], [`Error::Corrupt`] or [`Error::Truncated`] for damaged bytes; [`Error::Invalid`] if `out` has not
    /// [`Directory::decoded_bytes`] bytes.
    pub fn decode_group(&self, index: usize, out: &mut [u8]) -> Result<u64> {
        let bytes = self.group_bytes(index)?;
        let Some(group) = self.directory.groups.get(index) else {
            return Ok(0);
        };
        if self.directory.decoded_bytes(group) != out.len() as u64 {
            return Err(Error::invalid(format!(
                "a buffer of {} bytes for group {index}",
                out.len()
            )));
        }
        let mut dequantizers = Vec::with_capacity(group.segments.len());
        for segment in &group.segments {
            dequantizers.push(self.dequantizer(segment)?);
        }
        let mut rest = &mut *out;
        let mut outputs = Vec::with_capacity(group.segments.len());
        for (segment, dequantizer) in group.segments.iter().zip(&dequantizers) {
            let item_bytes = self.directory.item_bytes(segment.item);
            let (out, tail) = rest
                .split_at_mut_checked(segment.len as usize * item_bytes)
                .ok_or(Error::Truncated { part: "group" })?;
            rest = tail;
            outputs.push(match dequantizer {
                Some((dequantizer, codebook)) => SegmentOutput::Values {
                    out,
                    dequantizer,
                    first: segment.start,
                    n_levels: codebook.n_levels(),
                    zero: codebook.zero_symbol(),
                },
                None => SegmentOutput::Raw { out, item_bytes },
            });
        }
        decode_group(bytes, group.coder, &mut outputs)?;
        Ok(group_digest(out))
    }

    /// Bits that each segment of a group takes, found by decoding it; `None` with coders whose tables segments share.
    ///
    /// # Errors
    /// As [`decode_group`](Self::decode_group).
    pub fn segment_bits(&self, index: usize) -> Result<Option<Vec<f64>>> {
        let Some(group) = self
            .directory
            .groups
            .get(index)
            .filter(|g| g.coder == Coder::Context)
        else {
            return Ok(None);
        };
        let bytes = self.group_bytes(index)?;
        let mut symbols: Vec<Vec<u16>> = Vec::with_capacity(group.segments.len());
        let mut raw: Vec<Vec<u8>> = Vec::with_capacity(group.segments.len());
        for segment in &group.segments {
            let (n, item_bytes) = (segment.len as usize, self.directory.item_bytes(segment.item));
            let quantized = self.codebook(segment.item).is_some();
            symbols.push(vec![0; if quantized { n } else { 0 }]);
            raw.push(vec![0; if quantized { 0 } else { n * item_bytes }]);
        }
        let mut outputs = Vec::with_capacity(group.segments.len());
        for ((segment, symbols), raw) in group.segments.iter().zip(&mut symbols).zip(&mut raw) {
            let entry = self.directory.entries.get(segment.item);
            outputs.push(match (self.codebook(segment.item), entry) {
                (Some(codebook), Some(entry)) => SegmentOutput::Symbols {
                    out: symbols,
                    n_levels: codebook.n_levels(),
                    zero: codebook.zero_symbol(),
                    shape: &entry.info.shape,
                    first: segment.start,
                },
                _ => SegmentOutput::Raw {
                    out: raw,
                    item_bytes: self.directory.item_bytes(segment.item),
                },
            });
        }
        measure_group(bytes, group.coder, &mut outputs)
    }

    /// The codebook of an item, if it is a quantized tensor.
    fn codebook(&self, item: usize) -> Option<&Codebook> {
        match self.directory.entries.get(item).map(|e| &e.storage) {
            Some(Storage::Quantized { codebook, .. }) => self.directory.codebooks.get(*codebook),
            _ => None,
        }
    }

    fn dequantizer(&self, segment: &Segment) -> Result<Option<(Dequantizer<'_>, &Codebook)>> {
        let Some(Entry {
            info,
            storage: Storage::Quantized { codebook, scales },
        }) = self.directory.entries.get(segment.item)
        else {
            return Ok(None);
        };
        let codebook = self.directory.codebooks.get(*codebook);
        let codebook = codebook.ok_or_else(|| Error::corrupt("directory", "a codebook that is not there"))?;
        Ok(Some((
            Dequantizer::new(codebook, scales.as_ref(), info.dtype, &info.shape)?,
            codebook,
        )))
    }

    /// Index of a tensor's entry.
    ///
    /// # Errors
    /// [`Error::NoSuchTensor`].
    pub fn find(&self, name: &str) -> Result<usize> {
        let found = self.directory.entries.iter().position(|e| e.info.name == name);
        found.ok_or_else(|| Error::NoSuchTensor { name: name.into() })
    }

    /// Decodes one tensor, reading only the groups that hold it.
    ///
    /// # Errors
    /// As [`decode_group`](Self::decode_group), and [`Error::NoSuchTensor`].
    pub fn read_tensor(&self, name: &str) -> Result<Vec<u8>> {
        self.read_item(self.find(name)?)
    }

    /// Decodes one item: a tensor by the index of its entry (an alias gives what it stands for), or a blob by the number
    /// of entries plus its index.
    ///
    /// # Errors
    /// As [`decode_group`](Self::decode_group).
    pub fn read_item(&self, item: usize) -> Result<Vec<u8>> {
        let item = match self.directory.entries.get(item).map(|e| &e.storage) {
            Some(Storage::Alias { target, .. }) => *target,
            _ => item,
        };
        let mut bytes = Vec::new();
        for (index, group) in self.directory.groups.iter().enumerate() {
            let size = |s: &Segment| s.len as usize * self.directory.item_bytes(s.item);
            if group.segments.iter().any(|s| s.item == item) {
                let mut out = vec![0; self.directory.decoded_bytes(group) as usize];
                self.decode_group(index, &mut out)?;
                let start: usize = group
                    .segments
                    .iter()
                    .take_while(|s| s.item != item)
                    .map(size)
                    .sum();
                let len: usize = group.segments.iter().filter(|s| s.item == item).map(size).sum();
                bytes.extend_from_slice(out.get(start..start + len).unwrap_or_default());
            }
        }
        Ok(bytes)
    }

    /// Decodes every group and checks all checksums and the digest.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn verify(&self) -> Result<()> {
        let mut digests = Vec::with_capacity(self.groups.len());
        for (index, group) in self.directory.groups.iter().enumerate() {
            let mut out = vec![0; self.directory.decoded_bytes(group) as usize];
            digests.push(self.decode_group(index, &mut out)?);
        }
        self.check_digest(digests)
    }

    /// Checks the digests of all groups, in order, against the file's digest.
    ///
    /// # Errors
    /// [`Error::Checksum`].
    pub fn check_digest(&self, groups: impl IntoIterator<Item = u64>) -> Result<()> {
        if file_digest(groups) == self.digest {
            Ok(())
        } else {
            Err(Error::Checksum {
                part: "the decoded values".into(),
            })
        }
    }
}
