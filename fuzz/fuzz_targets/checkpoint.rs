//! Arbitrary bytes as a file of weights: the readers of safetensors, npz and PyTorch archives may refuse them, but not
//! panic or take more memory than allowed, and what they list they can read.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tersor::checkpoint::{Checkpoint, ReadLimits};

fuzz_target!(|data: &[u8]| {
    let limits = ReadLimits::default()
        .with_max_expanded_bytes(1 << 20)
        .with_max_blob_bytes(1 << 20);
    let Ok(checkpoint) = Checkpoint::from_bytes_with(data.to_vec(), "fuzzed", &limits) else {
        return;
    };
    for (index, tensor) in checkpoint.tensors().iter().enumerate() {
        if let Ok(bytes) = checkpoint.bytes(index) {
            assert_eq!(Some(bytes.len() as u64), tensor.size_bytes(), "{tensor:?}");
        }
        if let Some(target) = checkpoint.alias_of(index) {
            assert!(target < index, "tensor {index} is an alias of {target}");
        }
    }
});
