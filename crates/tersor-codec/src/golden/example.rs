//! The worked example of `docs/format.md`.

use super::info;
use crate::*;

/// One tensor "w" of six elements on a grid of four levels.
pub(super) fn checkpoint() -> QuantizedCheckpoint {
    QuantizedCheckpoint {
        tensors: vec![QuantizedTensor {
            info: info("w", Dtype::F32, &[2, 3]),
            data: TensorData::Quantized {
                codebook: 0,
                scales: None,
                symbols: vec![0, 1, 2, 3, 1, 2],
            },
        }],
        codebooks: vec![Codebook::Grid {
            step: 0.5,
            first: -1,
            n_levels: 4,
        }],
        shards: vec![Shard::default()],
        blobs: vec![],
    }
}

#[test]
fn the_documents_example_is_what_the_encoder_writes() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/format.md");
    let document = std::fs::read_to_string(path).unwrap();
    let section = document.split("## 8 Worked example").nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    // Rows of the table: offset, bytes in hexadecimal, meaning.
    let stated: Vec<u8> = section
        .lines()
        .filter_map(|line| {
            line.strip_prefix("| ")?
                .split('|')
                .nth(1)?
                .trim()
                .strip_prefix('`')?
                .strip_suffix('`')
        })
        .flat_map(|hex| hex.split(' ').map(|byte| u8::from_str_radix(byte, 16).unwrap()))
        .collect();
    let options = EncodeOptions::default().with_coder(Coder::Fixed);
    let file = checkpoint().encode(options).unwrap();
    assert_eq!(format!("{stated:02x?}"), format!("{file:02x?}"));
    let values = FileReader::new(&file, Limits::default())
        .unwrap()
        .read_tensor("w")
        .unwrap();
    let values = decode_to_f32(&values, Dtype::F32).unwrap();
    assert_eq!(values, [-0.5, 0.0, 0.5, 1.0, 0.0, 0.5]);
}
