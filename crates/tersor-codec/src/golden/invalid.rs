//! Files that break one rule each, with correct checksums wherever the rule lies behind one.

use super::info;
use crate::directory::Directory;
use crate::distribution::{Distribution, Family};
use crate::group::Header;
use crate::range::{Bit, BitCoder, RangeEncoder, TreeModel, UintModel};
use crate::varint::write_varint;
use crate::*;

pub(super) struct Invalid {
    pub(super) name: &'static str,
    pub(super) clause: &'static str,
    pub(super) error: &'static str,
    pub(super) message: &'static str,
    pub(super) file: Vec<u8>,
}

/// Puts a file together from the bytes of its directory and groups.
fn file(directory: &[u8], groups: &[u8], digest: u64) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.push(VERSION);
    out.extend_from_slice(&digest.to_le_bytes());
    write_varint(&mut out, directory.len() as u64);
    out.extend_from_slice(directory);
    let crc = group_crc(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(groups);
    out
}

/// The bytes of a directory, up to the field with which the format is broken.
fn directory_bytes(directory: &Directory) -> Vec<u8> {
    let mut encoder = RangeEncoder::new();
    let _ = Directory::code(&mut encoder, directory, Limits::NONE);
    encoder.finish()
}

/// An encoder that changes one adaptive bit on its way.
struct Flipper {
    encoder: RangeEncoder,
    /// Bits until the one to flip.
    before: usize,
}

impl BitCoder for Flipper {
    fn decide(&mut self, p_one: u32, bit: bool) -> bool {
        let flip = self.before == 0;
        self.before = self.before.wrapping_sub(1);
        self.encoder.decide(p_one, bit ^ flip)
    }

    fn direct(&mut self, n_bits: u32, value: u32) -> Result<u32> {
        self.encoder.direct(n_bits, value)
    }
}

/// The file with the first flip of one bit of the directory that is refused with `message`.
fn flipped(directory: &Directory, message: &str) -> Vec<u8> {
    for before in 0.. {
        let mut flipper = Flipper {
            encoder: RangeEncoder::new(),
            before,
        };
        let written = Directory::code(&mut flipper, directory, Limits::NONE);
        assert!(flipper.before > before, "no flipped bit gives {message:?}");
        let file = file(&flipper.encoder.finish(), &[], 0);
        let error = FileReader::new(&file, Limits::default()).err();
        if written.is_err() && error.is_some_and(|e| e.to_string().contains(message)) {
            return file;
        }
    }
    Vec::new()
}

fn segment(item: usize, len: u64) -> Segment {
    Segment { item, start: 0, len }
}

fn group(coder: Coder, bytes: &[u8], segments: Vec<Segment>) -> GroupEntry {
    GroupEntry {
        coder,
        size_bytes: bytes.len() as u64,
        crc: group_crc(bytes),
        segments,
    }
}

const QUANTIZED: Storage = Storage::Quantized {
    codebook: 0,
    scales: None,
};

fn entry(name: &str, storage: Storage) -> Entry {
    Entry {
        info: info(name, Dtype::F32, &[4]),
        storage,
    }
}

/// A codebook without a zero.
fn plain(n_levels: u32) -> Codebook {
    Codebook::Grid {
        step: 0.5,
        first: 1,
        n_levels,
    }
}

fn directory(entries: Vec<Entry>, codebook: Codebook) -> Directory {
    Directory {
        entries,
        codebooks: vec![codebook],
        shards: vec![Shard::default()],
        ..Directory::default()
    }
}

/// A file of a directory that breaks a rule.
fn of_directory(entries: Vec<Entry>, codebook: Codebook) -> Vec<u8> {
    file(&directory_bytes(&directory(entries, codebook)), &[], 0)
}

fn of_codebook(codebook: Codebook) -> Vec<u8> {
    of_directory(vec![entry("t", QUANTIZED)], codebook)
}

/// A file with one tensor of four elements, whose group has these bytes.
fn of_group(coder: Coder, storage: Storage, codebook: Codebook, bytes: &[u8]) -> Vec<u8> {
    let mut directory = directory(vec![entry("t", storage)], codebook);
    directory.groups = vec![group(coder, bytes, vec![segment(0, 4)])];
    file(&directory_bytes(&directory), bytes, 0)
}

/// The bytes of a group with a header that `write` writes.
fn group_bytes(
    family: Family,
    payload: &[u8],
    write: impl FnOnce(&mut RangeEncoder, &mut Header) -> Result<()>,
) -> Vec<u8> {
    let (mut encoder, mut header) = (RangeEncoder::new(), Header::new(family));
    // What breaks a rule is written before it is refused.
    let _ = write(&mut encoder, &mut header);
    let header = encoder.finish();
    let mut out = Vec::new();
    write_varint(&mut out, header.len() as u64);
    out.extend_from_slice(&header);
    out.extend_from_slice(payload);
    out
}

/// A file with one run of four symbols of this distribution.
fn of_run(coder: Coder, family: Family, distribution: &Distribution, payload: &[u8]) -> Vec<u8> {
    let n = distribution.alphabet();
    let bytes = group_bytes(family, payload, |encoder, header| {
        header
            .distributions
            .code(encoder, n, u64::MAX, Some(distribution))
            .map(drop)
    });
    of_group(coder, QUANTIZED, plain(n as u32), &bytes)
}

fn frequencies(scale_bits: u32, frequencies: &[u32]) -> Distribution {
    Distribution::Frequencies {
        scale_bits,
        frequencies: frequencies.into(),
    }
}

/// A file with four elements of a grid of four levels whose second is zero, coded with gaps in a fixed-length code.
fn of_gaps(gap_bits: u64, n_survivors: u64, n_fillers: u64, payload: &[u8]) -> Vec<u8> {
    let bytes = group_bytes(Family::Fixed, payload, |encoder, header| {
        encoder.bit(&mut header.use_gaps, true)?;
        header.gap_bits.code(encoder, gap_bits)?;
        header.n_survivors.code(encoder, n_survivors)?;
        header.n_gaps.code(encoder, n_fillers)?;
        header
            .distributions
            .code(encoder, 1 << gap_bits, u64::MAX, None)?;
        header.distributions.code(encoder, 3, u64::MAX, None).map(drop)
    });
    let codebook = Codebook::Grid {
        step: 0.5,
        first: -1,
        n_levels: 4,
    };
    of_group(Coder::Fixed, QUANTIZED, codebook, &bytes)
}

/// A raw group of 16 bytes that is this DEFLATE stream.
fn of_deflate(bytes: &[u8]) -> Vec<u8> {
    of_group(Coder::Deflate, Storage::Raw, plain(1), bytes)
}

fn ans(scale: &[u32], words: &[u8]) -> Vec<u8> {
    let states = scale.iter().flat_map(|s| s.to_le_bytes());
    states.chain(words.iter().copied()).collect()
}

fn changed(file: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut file = file.to_vec();
    change(&mut file);
    file
}

pub(super) fn all() -> Vec<Invalid> {
    let mut list = of_the_file();
    list.extend(of_the_directory());
    list.extend(of_shapes_and_groups());
    list.extend(of_codebooks());
    list.extend(of_bits());
    list.extend(of_limits());
    list.extend(of_headers());
    list.extend(of_tables());
    list.extend(of_gap_runs());
    list.extend(of_payloads());
    list.extend(of_context());
    list
}

fn invalid(
    clause: &'static str,
    error: &'static str,
) -> impl Fn(&'static str, &'static str, Vec<u8>) -> Invalid {
    move |name, message, file| Invalid {
        name,
        clause,
        error,
        message,
        file,
    }
}

fn of_the_file() -> Vec<Invalid> {
    let good = super::example::checkpoint()
        .encode(EncodeOptions::default().with_coder(Coder::Fixed))
        .unwrap();
    let header_len = FileReader::new(&good, Limits::default()).unwrap().header_len();
    let length = usize::from(good[16]);
    let directory = good[17..17 + length].to_vec();
    let groups = &good[header_len..];
    let mut long_varint = good[..16].to_vec();
    long_varint.extend([good[16] | 0x80, 0]);
    long_varint.extend(&directory);
    long_varint.extend(group_crc(&long_varint).to_le_bytes());
    long_varint.extend(groups);
    let mut padded = directory.clone();
    padded.extend([0; 9]);
    let truncated = invalid("1", "Truncated");
    let corrupt = invalid("1", "Corrupt");
    let checksum = invalid("1", "Checksum");
    vec![
        invalid("1", "NotTersor")("magic", "not a .tersor file", changed(&good, |f| f[0] ^= 1)),
        invalid("1", "UnsupportedVersion")("version", "version 2 is not", changed(&good, |f| f[7] = 2)),
        truncated("truncated-magic", "inside header", good[..3].to_vec()),
        truncated("truncated-digest", "inside header", good[..12].to_vec()),
        truncated("truncated-directory", "inside directory", good[..30].to_vec()),
        truncated(
            "truncated-header-crc",
            "inside directory",
            good[..header_len - 1].to_vec(),
        ),
        truncated("truncated-group", "inside group", good[..good.len() - 1].to_vec()),
        corrupt(
            "trailing-byte",
            "1 bytes follow its end",
            changed(&good, |f| f.push(0)),
        ),
        corrupt("long-varint", "shortest form", long_varint),
        checksum(
            "header-crc",
            "in the header",
            changed(&good, |f| f[header_len - 1] ^= 1),
        ),
        checksum(
            "group-crc",
            "group 0",
            changed(&good, |f| *f.last_mut().unwrap() ^= 1),
        ),
        checksum("digest", "the decoded values", file(&directory, groups, 0)),
        invalid("2", "Truncated")(
            "short-directory",
            "inside directory",
            file(&directory[..length - 6], groups, 0),
        ),
        invalid("2", "Corrupt")("padded-directory", "follow its end", file(&padded, groups, 0)),
    ]
}

fn of_the_directory() -> Vec<Invalid> {
    let corrupt = invalid("4", "Corrupt");
    let with = |change: &dyn Fn(&mut Entry)| {
        let mut entry = entry("t", QUANTIZED);
        change(&mut entry);
        of_directory(vec![entry], plain(4))
    };
    let scaled = |axis, values| {
        let scales = Some(Scales { axis, values });
        with(&move |e| {
            e.storage = Storage::Quantized {
                codebook: 0,
                scales: scales.clone(),
            }
        })
    };
    let two = |second: Entry| of_directory(vec![entry("t", Storage::Raw), second], plain(4));
    let mut other_shape = entry(
        "u",
        Storage::Alias {
            target: 0,
            tied: true,
        },
    );
    other_shape.info.shape = vec![2, 2];
    let mut other_type = entry(
        "u",
        Storage::Alias {
            target: 0,
            tied: true,
        },
    );
    other_type.info.dtype = Dtype::I32;
    let chain = ["a", "b", "c"].into_iter().zip([
        Storage::Raw,
        Storage::Alias {
            target: 0,
            tied: true,
        },
        Storage::Alias {
            target: 1,
            tied: true,
        },
    ]);
    vec![
        corrupt(
            "duplicate-name",
            "the name \"t\" twice",
            two(entry("t", Storage::Raw)),
        ),
        corrupt("shard", "in shard 1 of 1", with(&|e| e.info.shard = 1)),
        corrupt("axes", "65 axes", with(&|e| e.info.shape = vec![1; 65])),
        corrupt(
            "alias-of-itself",
            "an alias of tensor 0",
            with(&|e| {
                e.storage = Storage::Alias {
                    target: 0,
                    tied: true,
                }
            }),
        ),
        corrupt(
            "alias-forward",
            "an alias of tensor 2",
            two(entry(
                "u",
                Storage::Alias {
                    target: 2,
                    tied: true,
                },
            )),
        ),
        corrupt("alias-of-another-shape", "an alias of tensor 0", two(other_shape)),
        corrupt("alias-of-another-type", "an alias of tensor 0", two(other_type)),
        corrupt(
            "alias-of-an-alias",
            "an alias of tensor 1",
            of_directory(chain.map(|(n, s)| entry(n, s)).collect(), plain(4)),
        ),
        corrupt("scales-axis", "0 scales on axis 1", scaled(1, vec![])),
        corrupt(
            "scales-negative",
            "a scale of -1",
            scaled(0, vec![1.0, -1.0, 1.0, 1.0]),
        ),
        corrupt(
            "scales-infinite",
            "a scale of inf",
            scaled(0, vec![1.0, f32::INFINITY, 1.0, 1.0]),
        ),
        invalid("4.1", "Corrupt")(
            "quantized-integer",
            "of type I32 quantized",
            with(&|e| e.info.dtype = Dtype::I32),
        ),
    ]
}

fn of_shapes_and_groups() -> Vec<Invalid> {
    let corrupt = invalid("4.3", "Corrupt");
    let grouped = |shape: &[u64], groups: Vec<GroupEntry>| {
        let mut directory = directory(vec![entry("t", QUANTIZED)], plain(4));
        directory.entries[0].info.shape = shape.into();
        directory.groups = groups;
        file(&directory_bytes(&directory), &[], 0)
    };
    let one = |len| group(Coder::Ans, &[], vec![segment(0, len)]);
    let huge = u64::MAX - 1;
    vec![
        invalid("4", "Corrupt")("shape-overflow", "a shape of", grouped(&[huge, huge], vec![])),
        corrupt(
            "group-of-too-many-tensors",
            "a group of 2 tensors",
            grouped(
                &[4],
                vec![group(Coder::Ans, &[], vec![segment(0, 4), segment(1, 4)])],
            ),
        ),
        corrupt(
            "group-of-too-many-elements",
            "a group of 16777217 elements",
            grouped(&[(1 << 24) + 1], vec![one((1 << 24) + 1)]),
        ),
        corrupt(
            "chunk-of-too-many-elements",
            "a group of 16777217 elements",
            grouped(&[1 << 25], vec![one((1 << 24) + 1)]),
        ),
        corrupt(
            "chunk-beyond-its-tensor",
            "a chunk of 3 of 2 elements",
            grouped(&[5], vec![one(3), one(3)]),
        ),
        corrupt(
            "quantized-deflate",
            "a quantized tensor coded with DEFLATE",
            of_group(Coder::Deflate, QUANTIZED, plain(4), &[3, 0]),
        ),
    ]
}

fn of_codebooks() -> Vec<Invalid> {
    let corrupt = invalid("4.2", "Corrupt");
    let grid = |step, first, n_levels| {
        of_codebook(Codebook::Grid {
            step,
            first,
            n_levels,
        })
    };
    let mantissa = |mantissa_bits, first| {
        of_codebook(Codebook::Mantissa {
            mantissa_bits,
            first,
            n_levels: 2,
        })
    };
    vec![
        corrupt(
            "codebook-of-no-levels",
            "a codebook of 0 levels",
            of_codebook(Codebook::Table(vec![])),
        ),
        corrupt(
            "codebook-of-too-many-levels",
            "a codebook of 65537 levels",
            grid(1.0, 1, 65537),
        ),
        corrupt("step-zero", "a grid of step 0", grid(0.0, 0, 2)),
        corrupt("step-negative", "a grid of step -1", grid(-1.0, 0, 2)),
        corrupt("step-not-a-number", "a grid of step NaN", grid(f32::NAN, 0, 2)),
        corrupt("step-infinite", "a grid of step inf", grid(f32::INFINITY, 0, 2)),
        corrupt("grid-beyond-f32", "beyond f32's range", grid(3e38, 1, 2)),
        corrupt(
            "grid-inexact",
            "a grid that reaches 16777217 steps",
            grid(1.0, 1 << 24, 2),
        ),
        corrupt(
            "level-infinite",
            "a level of -inf",
            of_codebook(Codebook::Table(vec![1.0, f32::NEG_INFINITY])),
        ),
        corrupt(
            "level-not-a-number",
            "a level of NaN",
            of_codebook(Codebook::Table(vec![0.1, f32::NAN])),
        ),
        corrupt("mantissa-infinite", "not finite f32", mantissa(2, 1019)),
        corrupt("mantissa-bits", "24 mantissa bits", mantissa(24, 0)),
    ]
}

fn of_bits() -> Vec<Invalid> {
    let mut c64 = directory(vec![entry("t", Storage::Raw)], plain(4));
    c64.entries[0].info.dtype = Dtype::C64;
    let alias = directory(
        vec![
            entry("t", Storage::Raw),
            entry(
                "u",
                Storage::Alias {
                    target: 0,
                    tied: true,
                },
            ),
        ],
        plain(4),
    );
    let mantissa = Codebook::Mantissa {
        mantissa_bits: 2,
        first: 500,
        n_levels: 2,
    };
    let mantissa = directory(vec![entry("t", QUANTIZED)], mantissa);
    let coded = |coder| {
        let mut directory = directory(vec![entry("t", Storage::Raw)], plain(4));
        directory.groups = vec![group(coder, &[], vec![segment(0, 4)])];
        directory
    };
    let case = |clause, error, name, message, directory: &Directory| {
        invalid(clause, error)(name, message, flipped(directory, message))
    };
    vec![
        case(
            "3",
            "Corrupt",
            "name-not-utf-8",
            "a name that is not UTF-8",
            &alias,
        ),
        case("4", "Corrupt", "storage", "stored in way 3", &alias),
        case(
            "4",
            "Corrupt",
            "codebook-before-the-first",
            "before the first one",
            &mantissa,
        ),
        case("4.1", "Corrupt", "element-type", "unknown element type 17", &c64),
        case(
            "4.2",
            "Corrupt",
            "codebook-kind",
            "a codebook of kind 3",
            &mantissa,
        ),
        case(
            "4.3",
            "UnknownCoder",
            "coder-unknown",
            "coder number 5",
            &coded(Coder::Deflate),
        ),
    ]
}

fn of_limits() -> Vec<Invalid> {
    let limit = invalid("7", "LimitExceeded");
    let mut huge = directory(vec![entry("t", QUANTIZED)], plain(4));
    huge.entries[0].info.shape = vec![1 << 20, 1 << 20];
    let mut counts = RangeEncoder::new();
    let mut model = UintModel::default();
    for count in [0, 1 << 40, 0] {
        model.code(&mut counts, count).unwrap();
    }
    let long = Directory {
        shards: vec![Shard {
            file_name: "a".repeat(4_300_000),
            metadata: vec![],
        }],
        ..Directory::default()
    };
    vec![
        limit(
            "limit-decoded-bytes",
            "is 4398046511104, above the limit",
            file(&directory_bytes(&huge), &[], 0),
        ),
        limit(
            "limit-tensors",
            "is 1099511627776, above the limit",
            file(&counts.finish(), &[], 0),
        ),
        limit(
            "limit-text",
            "the length of a string",
            file(&directory_bytes(&long), &[], 0),
        ),
    ]
}

fn of_headers() -> Vec<Invalid> {
    let uniform = Distribution::Uniform { n: 4 };
    let good = group_bytes(Family::Fixed, &[0b0001_1011], |encoder, header| {
        header
            .distributions
            .code(encoder, 4, u64::MAX, Some(&uniform))
            .map(drop)
    });
    let of = |bytes: &[u8]| of_group(Coder::Fixed, QUANTIZED, plain(4), bytes);
    let mut long_varint = vec![good[0] | 0x80, 0];
    long_varint.extend(&good[1..]);
    let mut padded = vec![good[0] + 9];
    padded.extend(&good[1..=usize::from(good[0])]);
    padded.extend([0; 9]);
    padded.extend(&good[good.len() - 1..]);
    let truncated = invalid("5", "Truncated");
    let corrupt = invalid("5", "Corrupt");
    vec![
        truncated("group-of-no-bytes", "inside group", of(&[])),
        truncated(
            "group-header-beyond-the-group",
            "inside group header",
            of(&[9, 1, 2]),
        ),
        corrupt("group-long-varint", "shortest form", of(&long_varint)),
        corrupt("group-padded-header", "corrupt group header", of(&padded)),
    ]
}

fn of_tables() -> Vec<Invalid> {
    let corrupt = invalid("5", "Corrupt");
    let explicit = invalid("5.1", "Corrupt");
    let of = |coder, family, distribution: &Distribution| of_run(coder, family, distribution, &[0; 8]);
    let huffman = |lengths: &[u8]| {
        of(
            Coder::Huffman,
            Family::Huffman,
            &Distribution::Lengths(lengths.into()),
        )
    };
    let ans = |scale_bits, f: &[u32]| of(Coder::Ans, Family::Ans, &frequencies(scale_bits, f));
    let reuse = {
        let mut encoder = RangeEncoder::new();
        TreeModel::new(2).code(&mut encoder, 3).unwrap();
        UintModel::default().code(&mut encoder, 0).unwrap();
        let header = encoder.finish();
        let mut bytes = vec![header.len() as u8];
        bytes.extend(header);
        of_group(Coder::Ans, QUANTIZED, plain(4), &bytes)
    };
    // Two tensors with alphabets of 2 and 4; the table of the first is reused for the second.
    let other_alphabet = {
        let lengths = Distribution::Lengths(vec![1, 1]);
        let bytes = group_bytes(Family::Huffman, &[0; 8], |encoder, header| {
            header.distributions.code(encoder, 2, u64::MAX, Some(&lengths))?;
            header
                .distributions
                .code(encoder, 4, u64::MAX, Some(&lengths))
                .map(drop)
        });
        let second = Storage::Quantized {
            codebook: 1,
            scales: None,
        };
        let mut directory = directory(vec![entry("t", QUANTIZED), entry("u", second)], plain(2));
        directory.codebooks.push(plain(4));
        directory.groups = vec![group(Coder::Huffman, &bytes, vec![segment(0, 4), segment(1, 4)])];
        file(&directory_bytes(&directory), &bytes, 0)
    };
    // 65 tables over 65536 symbols, each with all weight on one symbol.
    let too_many = {
        let n = 1 << 16;
        let bytes = group_bytes(Family::Ans, &[0, 0, 1, 0], |encoder, header| {
            for i in 0..65 {
                let mut table = vec![0; n];
                table[i] = 256;
                header
                    .distributions
                    .code(encoder, n, u64::MAX, Some(&frequencies(8, &table)))?;
            }
            Ok(())
        });
        let entries = (0..65).map(|i| entry(&format!("t{i}"), QUANTIZED)).collect();
        let mut directory = directory(entries, plain(n as u32));
        for entry in &mut directory.entries {
            entry.info.shape = vec![256];
        }
        let segments = (0..65).map(|i| segment(i, 256)).collect();
        directory.groups = vec![group(Coder::Ans, &bytes, segments)];
        file(&directory_bytes(&directory), &bytes, 0)
    };
    vec![
        corrupt(
            "constant-outside",
            "symbol 4 in an alphabet of 4",
            of(
                Coder::Fixed,
                Family::Fixed,
                &Distribution::Constant { n: 4, symbol: 4 },
            ),
        ),
        corrupt(
            "fixed-with-a-table",
            "a table in a group of fixed-length codes",
            of(Coder::Fixed, Family::Huffman, &Distribution::Lengths(vec![2; 4])),
        ),
        corrupt("reuse-before-the-first", "table 0 before the first one", reuse),
        corrupt(
            "reuse-of-another-alphabet",
            "a table of 2 symbols reused for an alphabet of 4",
            other_alphabet,
        ),
        explicit("too-many-tables", "tables of more than 4194304 symbols", too_many),
        explicit(
            "table-for-few-symbols",
            "a table of 4096 entries for 4 symbols",
            ans(12, &[4093, 1, 1, 1]),
        ),
        explicit("huffman-overfull", "exceeds its total", huffman(&[1, 2, 1])),
        explicit(
            "huffman-underfull",
            "does not use up its total",
            huffman(&[2, 2, 2]),
        ),
        explicit("ans-overfull", "exceeds its total", ans(8, &[200, 100])),
        explicit("ans-underfull", "does not use up its total", ans(8, &[100, 100])),
        explicit(
            "ans-scale",
            "frequencies of 17 bits",
            ans(17, &[1 << 16, 1 << 16]),
        ),
    ]
}

fn of_gap_runs() -> Vec<Invalid> {
    let corrupt = invalid("5", "Corrupt");
    vec![
        // Gaps of 2 bits, then survivors of 2 bits.
        corrupt("gap-bits-0", "gaps of 0 bits", of_gaps(0, 1, 0, &[])),
        corrupt("gap-bits-13", "gaps of 13 bits", of_gaps(13, 1, 0, &[])),
        corrupt(
            "gaps-of-too-many-survivors",
            "5 gaps of 2 bits for 4 elements",
            of_gaps(2, 5, 0, &[]),
        ),
        corrupt(
            "gaps-beyond-the-tensor",
            "place 2 of 2 survivors in 4 elements",
            of_gaps(2, 2, 0, &[0b1010_0000]),
        ),
        corrupt(
            "gaps-end-with-a-filler",
            "place 1 of 1 survivors",
            of_gaps(2, 1, 1, &[0b0011_0000]),
        ),
        corrupt(
            "gaps-of-too-few-survivors",
            "place 0 of 1 survivors",
            of_gaps(2, 1, 0, &[0b1100_0000]),
        ),
    ]
}

fn of_payloads() -> Vec<Invalid> {
    let fixed =
        |n, payload: &[u8]| of_run(Coder::Fixed, Family::Fixed, &Distribution::Uniform { n }, payload);
    let half = frequencies(8, &[128, 128]);
    let of_ans = |payload: &[u8]| of_run(Coder::Ans, Family::Ans, &half, payload);
    let start = 1 << 16;
    // Four times symbol 0 from 2^16: x -> x / 2, then a refill each.
    let bits = invalid("5.2", "Corrupt");
    let lanes = invalid("5.3", "Corrupt");
    let deflate = invalid("5", "Corrupt");
    let stream = |n: usize| miniz_oxide::deflate::compress_to_vec(&vec![7; n], 9);
    let mut trailing = stream(16);
    trailing.push(0);
    let whole = stream(16);
    vec![
        bits(
            "fixed-symbol-outside",
            "a symbol outside its alphabet of 3",
            fixed(3, &[0b0001_1011]),
        ),
        bits(
            "fixed-padding",
            "padding bits that are not zero",
            fixed(2, &[0b0101_0001]),
        ),
        bits(
            "fixed-trailing-byte",
            "1 bytes follow its end",
            fixed(4, &[0b0001_1011, 0]),
        ),
        invalid("5.2", "Truncated")("fixed-truncated", "inside group", fixed(4, &[])),
        lanes(
            "ans-state-small",
            "an ANS state out of range",
            of_ans(&ans(&[start - 1], &[])),
        ),
        lanes(
            "ans-half-word",
            "half a word at its end",
            of_ans(&ans(&[start], &[0])),
        ),
        lanes(
            "ans-end-state",
            "does not end where it began",
            of_ans(&ans(&[start << 8], &[])),
        ),
        lanes(
            "ans-trailing-word",
            "words follow its end",
            of_ans(&ans(&[start << 4], &[0, 0])),
        ),
        invalid("5.3", "Truncated")("ans-without-states", "inside group", of_ans(&[0, 0, 1])),
        invalid("5.3", "Truncated")("ans-truncated", "inside group", of_ans(&ans(&[start], &[]))),
        deflate("deflate-long", "more than 16 bytes", of_deflate(&stream(17))),
        deflate(
            "deflate-short",
            "15 bytes where 16 were expected",
            of_deflate(&stream(15)),
        ),
        deflate(
            "deflate-trailing-byte",
            "1 bytes follow its end",
            of_deflate(&trailing),
        ),
        deflate("deflate-broken", "breaks its rules", of_deflate(&[0xff; 9])),
        invalid("5", "Truncated")(
            "deflate-truncated",
            "inside group",
            of_deflate(&whole[..whole.len() - 1]),
        ),
    ]
}

fn of_context() -> Vec<Invalid> {
    let corrupt = invalid("6", "Corrupt");
    // The codebook has no zero, so the centre comes first; 2 k stands for k, 2 k - 1 for -k.
    let of_centre = |code| {
        let mut encoder = RangeEncoder::new();
        UintModel::default().code(&mut encoder, code).unwrap();
        of_group(Coder::Context, QUANTIZED, plain(4), &encoder.finish())
    };
    // With a zero, a bit tells that the centre is another symbol.
    let of_own_centre = {
        let mut encoder = RangeEncoder::new();
        encoder.bit(&mut Bit::default(), true).unwrap();
        UintModel::default().code(&mut encoder, 2 * 65535).unwrap();
        let codebook = Codebook::Grid {
            step: 1.0,
            first: -2,
            n_levels: 5,
        };
        of_group(Coder::Context, QUANTIZED, codebook, &encoder.finish())
    };
    // Then the mean, of which the one before the first is 32.
    let of_mean = |code| {
        let mut encoder = RangeEncoder::new();
        UintModel::default().code(&mut encoder, 2).unwrap();
        UintModel::default().code(&mut encoder, code).unwrap();
        of_group(Coder::Context, QUANTIZED, plain(4), &encoder.finish())
    };
    let segment = SegmentInput::Symbols {
        symbols: &[3, 0, 2, 1],
        n_levels: 4,
        zero: None,
        shape: &[4],
        first: 0,
    };
    let mut trailing = encode_group(&[segment], Coder::Context).unwrap();
    trailing.extend([0; 9]);
    vec![
        corrupt("context-centre-above", "the centre 4 of 4 levels", of_centre(8)),
        corrupt("context-centre-below", "the centre -1 of 4 levels", of_centre(1)),
        corrupt(
            "context-own-centre",
            "the centre 65535 of 5 levels",
            of_own_centre,
        ),
        corrupt("context-mean-above", "a mean of 49 half octaves", of_mean(34)),
        corrupt("context-mean-below", "a mean of -1 half octaves", of_mean(65)),
        corrupt(
            "context-trailing-bytes",
            "follow its end",
            of_group(Coder::Context, QUANTIZED, plain(4), &trailing),
        ),
        invalid("6", "Truncated")(
            "context-truncated",
            "inside group",
            of_group(Coder::Context, Storage::Raw, plain(1), &[0x5a]),
        ),
    ]
}
